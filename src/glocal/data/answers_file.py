"""Files of answers: an archive that describes itself, an array, or lines of text; read as plain arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from glocal.arrays import read_npy
from glocal.data.container import listed
from glocal.data.npz import read_npz
from glocal.errors import DataError, DataWarning, FileError
from glocal.files import PathLike, atomic_write, one_line, read_lines
from glocal.jobs.leaving import existing_file

COLUMNS = {"odd-one-out": ("a", "b", "odd"), "anchor": ("reference", "closer", "farther")}
"""The names of columns by which a text says its kind."""

_MEMBERS = ("counts", "weights", "person", "seconds", "kind", "names", "catch_passed", "catch_person")
_SEPARATORS = str.maketrans(",;", "  ")


def read_answers(path: PathLike, *, what: str = "triplets") -> dict[str, Any]:
    """The arrays of a file of answers by their names.

    These are `answers`, and of `counts`, `weights`, `person`, `seconds`, `kind`, `names`, `catch_passed` and
    `catch_person` those that the file has.

    Raises
    ------
    FileError
        Missing, unreadable or damaged.
    DataError
        A table whose columns do not hold answers.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        return _from_archive(path, what)
    found = None if suffix == ".npy" else _named_columns(path, what)
    return {"answers": read_numbers(path, what=what)} if found is None else found


def write_answers(path: PathLike, arrays: dict[str, Any]) -> None:
    """Write answers atomically: all of them to ``.npz``, ``arrays["answers"]`` alone to anything else."""
    with atomic_write(path) as stream:
        if Path(path).suffix.lower() == ".npz":
            kept = {name: array for name, array in arrays.items() if array is not None}
            np.savez_compressed(stream, allow_pickle=False, **kept)
        else:
            np.save(stream, arrays["answers"], allow_pickle=False)


def read_numbers(path: PathLike, *, what: str) -> np.ndarray:
    """Read numbers from ``.npy`` or from text, (lines, columns); integers stay integers."""
    path = existing_file(path, what=what)
    if Path(path).suffix.lower() == ".npy":
        return np.array(read_npy(path, what=what))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"{what} file {path} is neither .npy nor readable text ({one_line(error)}). "
            "Save it with numpy.save or as lines of numbers."
        ) from error
    if not text.strip():
        raise FileError(f"{what} file {path} is empty. Write it again.")
    lines = text.translate(_SEPARATORS).splitlines()
    for dtype in (np.int64, np.float64):
        try:
            return np.loadtxt(lines, dtype=dtype, ndmin=2)
        except (ValueError, OverflowError) as error:
            failure = error
    raise FileError(f"{what} file {path} holds something other than rows of numbers ({one_line(failure)}).")


def read_list(path: PathLike, *, what: str) -> np.ndarray:
    """A list of numbers, written down the lines or along one line."""
    numbers = read_numbers(path, what=what)
    return numbers.reshape(-1) if numbers.ndim == 2 and 1 in numbers.shape else numbers


def _from_archive(path: PathLike, what: str) -> dict[str, Any]:
    fix = "Write it with Answers.save, or numpy.savez(path, answers=…, kind=…)."
    found: dict[str, Any] = read_npz(path, what=what, fix=fix, required=("answers",), optional=_MEMBERS)
    for name in ("kind", "names"):
        if name in found and (found[name].dtype.kind != "U" or found[name].ndim > 1):
            raise DataError(f"{path}: {name} holds {found[name].dtype} values; it must be text. {fix}")
    if "kind" in found:
        found["kind"] = " and ".join(np.unique(found["kind"]).tolist())
    if "names" in found:
        found["names"] = np.atleast_1d(found["names"]).tolist()
    return found


def _cells_of(line: str) -> list[str]:
    """The cells of one line of a table: between commas or semicolons, or else between blanks."""
    row = line.replace(";", ",")
    cells = row.split(",") if "," in row else row.split()
    return [cell.strip().strip('"') for cell in cells]


def header_of(line: str) -> list[str] | None:
    """The names of columns that a line holds, in small letters; None for a line of numbers."""
    cells = _cells_of(line)
    try:
        float(cells[0] if cells else "nan")
    except ValueError:
        return [cell.lower() for cell in cells]
    return None


def _named_columns(path: PathLike, what: str) -> dict[str, Any] | None:
    """The answers of a text whose first line names its columns; None for any other file."""
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as stream:
        first = stream.readline(4096).decode("utf-8-sig", errors="replace")
    header = header_of(first)
    if header is None or not first.strip().isprintable():
        return None
    kind = next((kind for kind, names in COLUMNS.items() if set(names) <= set(header)), None)
    if kind is None or len(set(header)) < len(header):
        raise DataError(
            f"{path} has the columns {listed([name[:40] for name in header])}; answers need a, b and odd "
            "(or reference, closer and farther), once each, and may have person and seconds. Name them so in the first "
            "line."
        )
    objects = COLUMNS[kind]
    others = [name for name in header if name not in (*objects, "person", "seconds")]
    if others:
        read = f"{', '.join(objects[:-1])} and {objects[-1]}"
        warnings.warn(f"{path}: {', '.join(others)} is not read; {read} are.", DataWarning, stacklevel=4)
    rows = [(line, _cells_of(line)) for line in read_lines(path, what=what)[1:] if line]
    answers, seconds = np.empty((len(rows), 3), dtype=np.int64), np.empty(len(rows))
    for number, (line, cells) in enumerate(rows):
        try:
            answers[number] = [int(cells[header.index(name)]) for name in objects]
            seconds[number] = float(cells[header.index("seconds")]) if "seconds" in header else 0
            if len(cells) != len(header):
                raise ValueError
        except (ValueError, IndexError, OverflowError) as error:
            raise DataError(
                f"{path}: answer {number} is {line!r}; it must be {', '.join(header)}, "
                f"with {', '.join(objects)} as integers."
            ) from error
    found: dict[str, Any] = {"answers": answers, "kind": kind}
    if "seconds" in header:
        found["seconds"] = seconds
    if "person" in header:
        found["person"] = np.array([cells[header.index("person")] for _, cells in rows], dtype=np.str_)
    return found
