"""Files that hold more than they should: choose the features in them, and say in one sentence what is wrong."""

from __future__ import annotations

import contextlib
import lzma
import os
import pickle
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from glocal.errors import DataWarning, FileError, GLocalError
from glocal.files import one_line
from glocal.jobs.leaving import existing_file, unreadable

KEY = "features"
RECORD_FILE = "record.json"
NAMES_FILE = "file_names.txt"
MENDED = ".fixed"
"""What the stem of a file ends with that was mended: ``features.fixed.npy``, with names in ``file_names.fixed.txt``."""
NUMBERS = "fiuV"  # V: bfloat16, for which numpy has no type
_INFLATED = 1 << 28  # bytes: what a file may inflate to, however small it is
_PROPORTION = 100  # real features compress by less; zlib compresses zeros by 1000
_LISTED = 6
DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error, zipfile.BadZipFile, lzma.LZMAError, pickle.UnpicklingError),
    *(SyntaxError, tokenize.TokenError, MemoryError),
)

Held = Mapping[str, tuple[tuple[int, ...], bool]]
"""What a file holds: name → (shape, whether it is numbers)."""


def mended_name(path: Path, ending: str | None = None) -> Path:
    """Where the mended content of a file is written: beside it, with another ending if one is given."""
    return path.with_name(f"{path.stem.removesuffix(MENDED)}{MENDED}{path.suffix if ending is None else ending}")


def choose(path: Path, held: Held) -> str:
    """Name the features: `features`, or else the only 2-d array of numbers with more than one element."""
    if KEY in held:
        return KEY
    matrices = [name for name, (shape, number) in held.items() if number and len(shape) == 2 and prod(shape) > 1]
    if len(matrices) == 1:
        return matrices[0]
    found = listed([f"{name} {shape}" for name, (shape, _) in held.items()]) or "no arrays"
    raise FileError(
        f"features file {path} has no array named {KEY!r} and {len(matrices) or 'no'} 2-d arrays of numbers to choose "
        f"from (it holds {found}). Save one (n, p) matrix in it, named {KEY!r}."
    )


@contextlib.contextmanager
def whole(
    path: Path, kind: str, fix: str, *errors: type[Exception], what: str = "features", folder: bool = False
) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file or `folder` into one sentence.

    `kind` is what it should be, `fix` what to do where it is not, `errors` those of the library that are none of
    Python's own, `what` the role of the file.
    """
    if not folder:
        existing_file(path, what=what)
    elif not path.is_dir():
        wrong = f"is a file, not a {kind}. Unpack it" if path.exists() else "does not exist. Check the path"
        raise FileError(f"{what} file {path} {wrong}.")
    try:
        next(path.iterdir(), None) if folder else path.open("rb").close()
    except OSError as error:
        raise unreadable(path, what, error) from error
    try:
        yield
    except GLocalError:
        raise
    except MemoryError as error:
        raise FileError(
            f"{what} file {path} does not fit in memory ({one_line(error)}). Save it as .npy, read in pieces."
        ) from error
    except DAMAGE + errors as error:
        raise FileError(f"{what} file {path} is not a whole {kind} ({one_line(error)[:160]}). {fix}") from error


def refuse_inflated(declared: int, stored: int, *, piece: int | None = None) -> None:
    """Raise a ValueError for more bytes of values than 256 MB and 100 times what is stored, before they cost anything.

    Rows of equal values compress without limit: where values are read in pieces of up to 256 MB, `piece` bytes each,
    an array is refused above the memory of this machine only, and warned of below.
    """
    if declared <= inflated_at_most(stored):
        return
    said = f"declares {declared} bytes of values and stores {stored}, less than a hundredth"
    if piece is None or piece > _INFLATED or declared > _memory():
        raise ValueError(f"it {said}")
    warnings.warn(f"a features file {said}. Is it whole?", DataWarning, stacklevel=5)


def inflated_at_most(stored: int) -> int:
    """The most bytes of values that so many stored ones may stand for."""
    return max(_INFLATED, _PROPORTION * stored)


def warn_unwritten(path: Path, lost: int, of: int, pieces: str, fill: object) -> None:
    """Warn of stored pieces of an HDF5 or zarr array that are not there.

    Both libraries read them as the fill value, without a word: pieces of that value alone need not be stored, and look
    like lost ones.
    """
    if lost:
        warnings.warn(
            f"features file {path} lacks {lost} of {of} {pieces}, which are read as {fill}. "
            f"If they do not hold {fill} alone, copy or write it again.",
            DataWarning,
            stacklevel=5,
        )


def grid(shape: tuple[int, ...], piece: tuple[int, ...]) -> tuple[int, ...]:
    """How many pieces an array has along each axis."""
    return tuple(-(-length // step) for length, step in zip(shape, piece, strict=True))


def _memory() -> int:
    """Bytes of memory that this machine has; 32 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 35


def check_members(path: Path, what: str, required: Sequence[str], held: Collection[str], fix: str) -> None:
    """Raise a FileError that names the required arrays which a file does not hold."""
    missing = [name for name in required if name not in held]
    if missing:
        found = listed(sorted(held)) or "nothing"
        raise FileError(f"{what} file {path} has no {' and '.join(missing)} (it has {found}). {fix}")


def listed(names: Sequence[str]) -> str:
    """Some names in a sentence, and how many there are besides."""
    more = [f"{len(names) - _LISTED} more"] * (len(names) > _LISTED)
    return ", ".join([*names[:_LISTED], *more])


def pickled(path: Path, fix: str, *, what: str = "features") -> FileError:
    """The sentence for a file that needs unpickling, which runs whatever code it carries."""
    return FileError(f"{what} file {path} holds pickled Python objects, which are never loaded. {fix}")


def native(matrix: Any) -> np.ndarray:
    """Rows one after another in memory, in the byte order of this machine; a copy only if they are not yet."""
    array = np.asarray(matrix)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
