"""Read and write files whole, or raise an error that gives the reason in one sentence.

Arrays are never unpickled. A file that would take far more memory than disk space is rejected.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import secrets
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from glocal.errors import DataError, FileError, GLocalError, ParameterError, one_line

PathLike = str | os.PathLike[str]
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
_ABANDONED_SECONDS = 3600  # a file that is being written has changed since
_MAX_INFLATED_BYTES = 1 << 28  # larger contents only up to 100 times the size of the file


@contextlib.contextmanager
def reading(path: PathLike, what: str, fix: str = "Copy or write it again.") -> Iterator[Path]:
    """Turn any error while a file is read into a FileError of one sentence.

    `what` is the role of the file in that sentence, e.g. ``"features"``, and `fix` tells the user
    what to do if the file is damaged. Pipes and devices, which may have no end, are refused.

    Raises
    ------
    FileError
        The file is missing, empty, a folder, a pipe, unreadable or damaged.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            kind = "folder. Name the file inside it"
            if not path.is_dir():
                kind = "pipe or a device. Save its content as a file, and name that"
            raise FileError(f"{what} file {path} is a {kind}.")
        if ending(path) in WORKBOOKS and path.is_file():
            raise FileError(f"{what} file {path} is a workbook. Save its sheet as 'CSV UTF-8'.")
        if path.is_file() and not path.stat().st_size:
            raise FileError(f"{what} file {path} is empty. {fix}")
        path.open("rb").close()
        yield path
    except GLocalError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"{what} file {path} does not exist. Check the path.") from error
    except MemoryError as error:
        raise FileError(
            f"{what} file {path} does not fit in memory. Save it as .npy, which is read in pieces."
        ) from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{what} file {path} is not text in UTF-8 (byte {error.start} is "
            f"{error.object[error.start]:#x}), perhaps in cp1252 or UTF-16. Save it in UTF-8; in "
            "Excel as 'CSV UTF-8'."
        ) from error
    except Exception as error:  # damaged bytes can raise any kind of error in a decoder
        if isinstance(error, OSError) and error.filename is not None:
            raise FileError(
                f"{what} file {path} cannot be read: {error.strerror}. Check path and permissions."
            ) from error
        raise FileError(
            f"{what} file {path} is damaged ({one_line(error)[:160]}). {fix}"
        ) from error


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Begin the message of a DataError with the path of the file that caused it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Turn an OSError while `path` is written into a FileError of one sentence."""
    try:
        yield
    except GLocalError:
        raise
    except OSError as error:
        raise FileError(
            f"cannot write {path}: {error.strerror or one_line(error)}. Choose another path."
        ) from error


@contextlib.contextmanager
def atomic_write(path: PathLike) -> Iterator[BinaryIO]:
    """Write to a hidden file in the same folder, flush it to disk, then move it into place.

    A killed process, a full disk or an exception leaves the previous file whole. What a killed
    process had begun is removed when the file is next written, an hour later or more. A symbolic
    link is followed, and a device or a pipe is written to directly.
    """
    path = Path(path)
    with writing(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
            return
        path = Path(os.path.realpath(path))
        _remove_abandoned(path)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:  # before the file exists: an interruption may come right after
            with partial.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _remove_abandoned(path: Path) -> None:
    """Remove the hidden files that killed processes left while they wrote to `path`."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):  # it was moved in this moment, or is another user's
            if time.time() - partial.stat().st_mtime > _ABANDONED_SECONDS:
                partial.unlink()


def ending(path: PathLike) -> str:
    """The ending of a file name in lower case, with its dot: ``.npz`` for ``T.NPZ``."""
    return Path(path).suffix.lower()


def writable_target(path: PathLike, *, what: str = "output", endings: Sequence[str] = ()) -> Path:
    """Check, before hours of work, that `path` can be written and has one of the `endings`."""
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{what} {path} is a folder. Name a file inside it.")
    if path.exists() and not path.is_file():  # a device or a pipe
        return path
    if endings and ending(path) not in endings:
        suffix = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise ParameterError(f"{what} {path} {suffix}; it must end in {' or '.join(endings)}.")
    parent = Path(os.path.realpath(path)).parent
    if not parent.is_dir():
        raise FileError(
            f"{what} folder {parent} does not exist. Create it first: mkdir -p {parent}."
        )
    if not os.access(parent, os.W_OK):
        raise FileError(
            f"cannot write {path}: no permission to write to {parent}. Choose another folder."
        )
    return path


def file_name(name: str) -> str:
    """The name of a file for what a user named: without blanks, for shells and addresses.

    >>> file_name("keep 0.8")
    'keep-0.8'
    """
    return name.replace(" ", "-")


def make_folder(path: PathLike) -> Path:
    """Create an output folder with its parents."""
    with writing(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def read_text(path: PathLike, *, what: str) -> str:
    """Read the text of a file in UTF-8."""
    with reading(path, what, "Save it as UTF-8.") as file:
        return decoded(file)


def decoded(file: Path) -> str:
    """The text of a file in UTF-8, with a byte order mark or without."""
    return file.read_text("utf-8-sig")


def read_lines(path: PathLike, *, what: str) -> tuple[str, ...]:
    """Read the lines of a UTF-8 file, stripped and without empty lines at the end."""
    text = read_text(path, what=what).rstrip()
    lines = text.split("\n") if text else []  # splitlines() would split at U+2028 too
    return tuple(line.strip() for line in lines)


def read_object(
    path: PathLike, *, what: str, fix: str = "Copy or write it again."
) -> dict[str, Any]:
    """Read the tables of a ``.toml`` file, or the object of a JSON file."""
    with reading(path, what, fix) as file:
        parse = tomllib.loads if ending(file) == ".toml" else json.loads
        value = parse(decoded(file))
        if not isinstance(value, dict):
            raise ValueError("it must hold one object")
        return value


def read_npy(
    path: PathLike, *, what: str, fix: str = "Write it again with numpy.save(path, array)."
) -> np.ndarray:
    """Open a ``.npy`` file as a read-only memory map.

    Raises
    ------
    FileError
        The file is missing, damaged, truncated or pickled.
    """
    with reading(path, what, fix) as file:
        with file.open("rb") as stream:
            promised = _promised_bytes(stream)
        if file.stat().st_size < promised:
            raise ValueError(
                f"its header promises {promised} bytes, but it has {file.stat().st_size}"
            )
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        return _check_text(array)


def read_npz(
    path: PathLike, *, what: str, fix: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` archive by name.

    Only these arrays are decompressed. A missing `optional` array is left out.

    Raises
    ------
    FileError
        The file is missing, damaged or pickled, or lacks one of the `required` arrays.
    """
    with reading(path, what, fix) as file, zipfile.ZipFile(file) as archive:
        sizes = {
            name.removesuffix(".npy"): archive.getinfo(name).file_size
            for name in archive.namelist()
        }
        if missing := [name for name in required if name not in sizes]:
            raise FileError(
                f"{what} file {file} has no {' and '.join(missing)} "
                f"(it has {', '.join(sizes)}). {fix}"
            )
        names = [name for name in (*required, *optional) if name in sizes]
        sizes_of_names = [sizes[name] for name in names]
        check_inflated(file, sum(sizes_of_names))
        arrays = {}
        for name in names:
            with archive.open(f"{name}.npy") as stream:
                array = npy_format.read_array(stream, allow_pickle=False)
                arrays[name] = _check_text(array)
                if stream.read():  # the checksum is compared at the end of the stream
                    raise ValueError(f"{name} has bytes after its last value")
        return arrays


def check_inflated(path: Path, size: int) -> None:
    """Raise a ValueError for a file that would take far more memory than disk space."""
    stored_size = path.stat().st_size
    limit = max(_MAX_INFLATED_BYTES, 100 * stored_size)
    if size > limit:
        raise ValueError(f"it would expand to {size} bytes, more than 100 times its size")


def write_text(path: PathLike, text: str, *, errors: str = "strict") -> None:
    """Write a text as UTF-8, whole or not at all; `errors` as in `str.encode`."""
    with atomic_write(path) as stream:
        stream.write(text.encode(errors=errors))


def write_npz(path: PathLike, arrays: dict[str, Any], *, level: int = 1) -> None:
    """Write the arrays that are not None to an archive, whole or not at all.

    The `level` of compression is 0 to 9; 0 writes the arrays as they are.
    """
    present = {name: array for name, array in arrays.items() if array is not None}
    with (
        atomic_write(path) as stream,
        # level 1 takes an eighth of the time of the default, for a tenth more bytes
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive,
    ):
        for name, array in present.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy_format.write_array(member, np.asanyarray(array), allow_pickle=False)


def write_npy(path: PathLike, array: np.ndarray) -> None:
    """Write an array, whole or not at all."""
    with atomic_write(path) as stream:
        np.save(stream, array, allow_pickle=False)


def array_sha256(array: Any) -> str:
    """Hash the dtype, shape and values of an array, in memory or memory-mapped."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    first_row = array[:1]
    row_bytes = max(1, first_row.nbytes)
    step = max(1, (1 << 24) // row_bytes)
    for start in range(0, array.shape[0], step):
        rows = array[start : start + step]
        contiguous = np.ascontiguousarray(rows)
        digest.update(contiguous.data)
    return digest.hexdigest()


def file_sha256(path: PathLike) -> str:
    """Hash the bytes of a file, as ``sha256sum`` does."""
    with reading(path, "input") as file, file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _promised_bytes(stream: Any) -> int:
    """Return the size of a whole ``.npy`` stream by its header.

    Raises ValueError if the header describes pickled objects, or an array that cannot exist.
    """
    if npy_format.read_magic(stream) == (1, 0):
        shape, _, dtype = npy_format.read_array_header_1_0(stream)
    else:
        shape, _, dtype = npy_format.read_array_header_2_0(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never loaded")
    if min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"no array has the shape {str(shape)[:80]} and type {dtype}")
    return stream.tell() + dtype.itemsize * math.prod(shape)


def _check_text(array: np.ndarray) -> np.ndarray:
    """Return the array, or raise ValueError if its text holds code points beyond Unicode."""
    if array.dtype.kind == "U" and array.size:
        code_point = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        codes = np.ascontiguousarray(array).view(code_point)
        if codes.max() > sys.maxunicode:
            raise ValueError(f"its text holds the code {codes.max()}, which is no character")
    return array
