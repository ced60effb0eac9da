"""Text and ``.npy`` files of numbers, and tables whose first line names the columns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from glocal.arrays import read_npy
from glocal.errors import DataError
from glocal.files import PathLike, reading

_SEPARATORS = str.maketrans(",;", "  ")


def read_numbers(path: PathLike, *, what: str) -> np.ndarray:
    """Read numbers from ``.npy``, or from text as (lines, columns); integers stay integers.

    Blanks, commas or semicolons lie between the numbers of a line.

    Raises
    ------
    FileError
        Missing, damaged, or something other than rows of numbers.
    """
    if Path(path).suffix.lower() == ".npy":
        return np.array(read_npy(path, what=what))
    with reading(path, what, "Save it with numpy.save, or as lines of numbers.") as file:
        lines = [line.translate(_SEPARATORS) for line in _lines(file)]
        try:
            return np.loadtxt(lines, dtype=np.int64, ndmin=2)
        except (ValueError, OverflowError):
            return np.loadtxt(lines, dtype=np.float64, ndmin=2)


def read_list(path: PathLike, *, what: str) -> np.ndarray:
    """A list of numbers, written down the lines or along one line."""
    numbers = read_numbers(path, what=what)
    return numbers.reshape(-1) if numbers.ndim == 2 and 1 in numbers.shape else numbers


def read_table(path: PathLike, *, what: str) -> dict[str, list[str]]:
    """The columns of a table by the names in its first line; cells are texts without the blanks around them.

    Tabs lie between the cells, or else semicolons, commas or blanks, whichever of these comes first in the first line.

    Raises
    ------
    FileError
        Missing, or not readable text.
    DataError
        A repeated name, or a row with another number of cells.
    """
    with reading(path, what, "Save it as UTF-8 text.") as file:
        lines = _lines(file)
        separator = next((one for one in "\t;," if one in lines[0]), None)
        if separator is None:
            lines = [" ".join(line.split()) for line in lines]
        cells = csv.reader(lines, delimiter=separator or " ", skipinitialspace=True, strict=True)
        header, *rows = [[cell.strip() for cell in row] for row in cells]
    if len(set(header)) < len(header):
        raise DataError(f"{path} names a column twice in its first line ({', '.join(header)[:80]}); names must differ.")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(
                f"{path}: row {number} after the first line has {len(row)} cells ({', '.join(row)[:80]}) but the first "
                f"line names {len(header)} columns."
            )
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _lines(file: Path) -> list[str]:
    """The lines of a text that hold anything, of which there must be one."""
    lines = [line for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    if not lines:
        raise ValueError("it has no lines")
    return lines


def names_columns(path: PathLike) -> bool:
    """Whether the first line of a text names columns, which it does where its first cell is no number."""
    with reading(path, "table") as file, file.open("rb") as stream:
        first = stream.readline(4096).decode("utf-8-sig", errors="replace").strip()
    cells = first.translate(_SEPARATORS).split()
    try:
        float(cells[0] if cells else "nan")
    except ValueError:
        return first.replace("\t", " ").isprintable()
    return False
