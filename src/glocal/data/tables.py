"""Tables of text or JSON with the titles of their columns, and rows of numbers without titles."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import DataError
from glocal.files import PathLike, decoded, ending, read_npy, reading
from glocal.similarity import Numbers

if TYPE_CHECKING:
    import pandas as pd

TABLES = frozenset({".csv", ".tsv"})
"""Extensions of tables, which may hold features or labels in columns."""
NAME_TITLES = ("image", "file", "file_name", "filename", "path", "name", "id")
"""The titles of a column that names rows, the most certain first."""
_TEXT_TITLES = {*NAME_TITLES, "index", "item", "object"}
_EMPTY_TEXTS = ("NA", "N/A", "NaN", "nan", "null", "None")  # an empty cell, as programs write it
_MAX_TITLES = 12  # of more titles, messages list these
_ENCODING = "utf-8-sig"  # UTF-8, with a byte order mark or without
_NO_SEPARATOR = "\x1f"  # a character of no text: the table has one column
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.0*)?")  # 007 and 1_0 are names


def read_table(path: PathLike, *, what: str, names: Collection[str] = ()) -> pd.DataFrame:
    """Read the cells of a table as texts under its titles, with ``""`` for an empty cell.

    A text is separated by tabs, semicolons or commas, whichever is most frequent in its first line,
    or else has one column. A ``.json`` file is a list of records. In a text NA, N/A, NaN, nan, null
    and None stand for an empty cell, unless they are among `names`. Blanks around a cell are
    removed.

    Raises
    ------
    FileError
        If the file is missing, is not readable text, has no row, has a row with more cells than
        titles, or has a quotation mark that no other closes on its line.
    """
    fix = "Save it as CSV with a first line of titles, or as a JSON list of records."
    with reading(path, what, fix) as file:
        if ending(file) == ".json":
            table = _read_records(file)
        else:
            missing = [text for text in _EMPTY_TEXTS if text not in names]
            table = parse_csv(file, header=0, dtype=str, na_values=missing)
        if table.empty:
            raise ValueError("it has no row below the titles")
        filled = table.fillna("")
        stripped = filled.apply(lambda column: column.str.strip())
        return stripped.rename(columns=str.strip)


def column_of_table(table: pd.DataFrame, title: str) -> pd.Series:
    """Return the column with this title, or raise a DataError that lists the titles."""
    if title not in table:
        raise DataError(f"there is no column {title!r}; the table has {listed(table)}.")
    return table[title]


def counts_rows(texts: Sequence[str], first: int) -> bool:
    """Whether texts are the numbers of their rows, counted from `first`; empty ones are."""
    return all(text == str(number) for number, text in enumerate(texts, start=first))


def as_integers(texts: Sequence[str]) -> Numbers | None:
    """Texts as integers; None if any of them is not an integer."""
    distinct = set(texts)
    if not all(map(_INTEGER.fullmatch, distinct)):
        return None
    integers = []
    for text in texts:
        digits, _, _ = text.partition(".")
        integers.append(int(digits))
    return np.array(integers, dtype=np.int64)


# rows of numbers


def has_titles(path: PathLike) -> bool:
    """Whether a file of answers is a table: JSON, or text whose first line is not all numbers."""
    if ending(path) in (".json", ".npy"):
        return ending(path) == ".json"
    fix = "Save it as CSV, or with numpy.save."
    with reading(path, "answers", fix) as file:
        line = first_line(file)
        cells = first_cells(line)
        return not all(map(is_number, cells))


def read_numbers(path: PathLike, *, what: str) -> np.ndarray:
    """Read numbers from ``.npy``, or from text as (lines, columns); integers stay integers.

    Blanks or one kind of tabs, semicolons and commas separate the numbers of a line.

    Raises
    ------
    FileError
        If the file is missing or damaged, or its rows are not numbers or differ in length.
    """
    if ending(path) == ".npy":
        numbers = read_npy(path, what=what)
        return np.array(numbers)
    fix = "Save it with numpy.save, or as lines of numbers."
    with reading(path, what, fix) as file:
        return rows_of_numbers(file)


def read_list(path: PathLike, *, what: str) -> np.ndarray:
    """Read a list of numbers, written one per line or all on one line."""
    numbers = read_numbers(path, what=what)
    squeezed = numbers.squeeze()
    return np.atleast_1d(squeezed)


# the text of a table


def first_line(file: Path) -> str:
    """The first line of a text."""
    with file.open(encoding=_ENCODING) as stream:
        line = stream.readline(1 << 22)
    if "\0" in line:  # pandas before 3 reads such a cell as empty
        raise ValueError("it holds bytes of value 0, which text never contains")
    return line


def _check_lines(file: Path) -> None:
    """Raise a ValueError unless each line closes the quotation marks that it opens."""
    with file.open("rb") as stream:  # decoding takes several times as long
        for number, line in enumerate(stream, start=1):
            n_marks = line.count(b'"')
            if n_marks % 2:
                raise ValueError(f"line {number} has a quotation mark that no other closes")


def _read_records(file: Path) -> pd.DataFrame:
    import pandas as pd

    text = decoded(file)
    records = json.loads(text)
    is_list = isinstance(records, list)
    if not is_list or not all(isinstance(record, dict) for record in records):
        raise ValueError("it must hold a list of records, one for each answer")
    table = pd.DataFrame(records, dtype=object)
    is_filled = table.notna()
    filled = table.where(is_filled, "")
    return filled.astype(str)


def parse_csv(file: Path, **options: Any) -> pd.DataFrame:
    """The cells of a text, read by pandas with these options."""
    import pandas as pd

    line = first_line(file)
    separator = separator_of(line)
    _check_lines(file)
    with warnings.catch_warnings():
        # pandas truncates longer rows with this warning
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file,
            sep=separator or _NO_SEPARATOR,
            encoding=_ENCODING,
            index_col=False,
            keep_default_na="dtype" not in options,  # but for numbers
            skipinitialspace=True,
            skip_blank_lines=separator is not None,
            **options,
        )


def separator_of(line: str) -> str | None:
    """The most frequent mark of a line that may separate cells; None without one."""
    mark = max("\t;,", key=line.count)
    return mark if mark in line else None


def first_cells(line: str) -> list[str]:
    """The cells of the first line."""
    separator = separator_of(line)
    stripped = map(str.strip, line.split(separator))
    return [cell.strip('"') for cell in stripped]


def rows_of_numbers(file: Path) -> np.ndarray:
    """The numbers of a text without titles, as integers if they are."""
    line = first_line(file)
    options: Any = {
        "delimiter": separator_of(line),
        "encoding": _ENCODING,
        "ndmin": 2,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # numpy warns of a file without numbers
        warnings.simplefilter("error", DeprecationWarning)  # and of 1.5 that is read as 1
        with contextlib.suppress(ValueError, OverflowError, UserWarning):
            return np.loadtxt(file, dtype=np.int64, **options)
        return np.loadtxt(file, dtype=np.float64, **options)


def is_number(cell: str) -> bool:
    """Whether a cell holds nothing but numbers."""
    try:
        for part in cell.split():
            float(part)
    except ValueError:
        return False
    return bool(cell)


def names_rows(title: str) -> bool:
    """Whether the title of a column says that it names the rows."""
    # pandas writes an index without a title
    is_index = not title or title.startswith("Unnamed: ")
    return is_index or title.lower() in _TEXT_TITLES


def listed(titles: Iterable[object]) -> str:
    """The first dozen of titles, and whether there are more."""
    texts = list(map(str, titles))
    shown = texts[:_MAX_TITLES]
    if len(texts) > len(shown):
        shown.append("…")
    return ", ".join(shown)
