"""Captions as inputs: one line of a text file, one row of features."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from glocal.errors import DataError
from glocal.extract.source import Item, Source
from glocal.files import PathLike, read_lines


def open_captions(path: PathLike) -> Source:
    """The captions of a UTF-8 text file, one a line, in its order; the names of the rows are the captions.

    Raises
    ------
    FileError
        Missing, empty or not UTF-8.
    DataError
        A line between others is empty: row i would not be line i.
    """
    lines = read_lines(path, what="captions")
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"captions {path} line {number} is empty. Fill or remove it: row i is line i.")
    items = [Item(line, len(line.encode()), partial(str.encode, line)) for line in lines]
    return Source(items, bytes.decode, "lines of the file", str(Path(path)))
