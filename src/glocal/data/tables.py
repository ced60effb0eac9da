"""Read numbers from text and ``.npy`` files, and tables: text with column titles, or JSON."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.names import object_name
from glocal.errors import DataError
from glocal.files import (
    PathLike,
    decoded,
    ending,
    naming,
    read_npy,
    reading,
    text_encoding,
)

if TYPE_CHECKING:
    import pandas as pd

_EMPTY_TEXTS = ("NA", "N/A", "NaN", "nan", "null", "None")
"""The texts that stand for an empty cell of a table."""
TABLES = frozenset({".csv", ".tsv"})
"""Extensions of tables, which may hold features or labels in columns."""
NAME_TITLES = ("image", "file", "file_name", "filename", "path", "name", "id")
"""The titles of a column that names rows, the most certain first."""
_TEXT_TITLES = {*NAME_TITLES, "index", "item", "object", ""}  # pandas leaves one empty
_BLANKS = r"\s+"
_NO_SEPARATOR = "\x1f"  # a character of no text: the table has one column
_SEPARATORS = str.maketrans(",;", "  ")


def read_numbers(path: PathLike, *, what: str) -> np.ndarray:
    """Read numbers from ``.npy``, or from text as (lines, columns); most integers stay integers.

    Blanks, commas or semicolons separate the numbers of a line.

    Raises
    ------
    FileError
        If the file is missing or damaged, or its rows are not numbers or differ in length.
    """
    if ending(path) == ".npy":
        return np.array(read_npy(path, what=what))
    with reading(path, what, "Save it with numpy.save, or as lines of numbers.") as file:
        delimiter = _separator(_first_line(file))
        with contextlib.suppress(ValueError, OverflowError, UserWarning):
            return _loadtxt(file, np.int64, delimiter=delimiter, encoding=text_encoding(file))
        lines = decoded(file).translate(_SEPARATORS).split("\n")
        return _loadtxt(lines, np.float64)


def _loadtxt(lines: Any, dtype: type, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # numpy warns of a file without numbers
        warnings.simplefilter("error", DeprecationWarning)  # and of 1.5 that is read as 1
        return np.loadtxt(lines, dtype=dtype, ndmin=2, **options)


def read_list(path: PathLike, *, what: str) -> np.ndarray:
    """Read a list of numbers, written one per line or all on one line."""
    numbers = read_numbers(path, what=what)
    return numbers.reshape(-1) if numbers.ndim == 2 and 1 in numbers.shape else numbers


def has_titles(path: PathLike) -> bool:
    """Whether a file of answers or similarities is a table: JSON, or text with column titles."""
    if ending(path) in (".json", ".npy"):
        return ending(path) == ".json"
    with reading(path, "answers") as file:
        return _are_titles(_cells(_first_line(file, errors="replace")))


def read_table(
    path: PathLike, *, what: str, names: Sequence[str] | None = None, blanks: bool = True
) -> pd.DataFrame:
    """Read the cells of a table as text under its column titles, with ``""`` for an empty cell.

    A ``.json`` file holds one list of trials, one list per person, or one JSON text per line. In
    text, NA, N/A, NaN, nan, null and None stand for an empty cell unless `names` has
    them, and the separator is the tab, semicolon or comma, whichever is most frequent in the first
    line. If the first line has none of them, `blanks` separate columns or, if not, there is only
    one. Blanks around a cell are removed.

    Raises
    ------
    FileError
        If the file is missing or is not readable text, has no row below the first line, or has a
        row with more cells than the first line.
    """
    with reading(path, what, "Save it as CSV with a first line that names its columns.") as file:
        if ending(file) == ".json":
            return _read_json(file)
        separator = _separator(_first_line(file))
        table = _read_csv(
            file,
            separator or (_BLANKS if blanks else _NO_SEPARATOR),
            dtype=str,
            na_values=[*{*_EMPTY_TEXTS} - {*(names or ())}],
            keep_default_na=False,
            skip_blank_lines=bool(separator or blanks),
        )
        if table.empty:
            raise ValueError("it has no row below the first line")
        table = table.fillna("").apply(lambda column: column.str.strip())
        return table.rename(columns=lambda title: str(title).strip())


def column_of_table(table: pd.DataFrame, title: str) -> pd.Series:
    """Return the column with this title, or raise a DataError that lists the titles."""
    if title not in table:
        titles = ", ".join(list(table)[:12])
        raise DataError(f"there is no column {title!r}; the table has {titles}.")
    return table[title]


def holds_names(column: pd.Series) -> bool:
    """Whether a column seems to name rows: its texts differ, and its title or ending says so.

    Numbers that count the rows in order are no names.
    """
    texts = column.tolist()
    if not column.is_unique or any(counts_rows(texts, first) for first in (0, 1)):
        return False
    are_images = all(object_name(text) != text.rpartition("/")[2] for text in texts)
    return are_images or str(column.name).lower() in _TEXT_TITLES


def counts_rows(texts: Sequence[str], first: int) -> bool:
    """Whether texts are the numbers of their rows, counted from `first`; empty ones are."""
    return [*texts] == [*map(str, range(first, first + len(texts)))]


class NamedRows(NamedTuple):
    """A matrix (n, p), and the names of its rows if the file holds them."""

    matrix: Shaped[np.ndarray, "..."]
    names: tuple[str, ...] | None


def read_named_rows(path: PathLike) -> NamedRows:
    """Read the numbers of a table, and the names of its rows if a column holds names.

    A column holds names if its title says so (``name``, ``id``, ``file``, …), if it has no title
    although others have one, or if it holds anything other than numbers. A first line without
    titles is read as a row.

    Raises
    ------
    FileError
        If the file is missing, is not readable text, or is not a table.
    DataError
        If several columns hold names, or a row has no name.
    """
    with reading(path, "features", "Save it as CSV, or the (n, p) matrix with numpy.save.") as file:
        first_line = _first_line(file)
        if "\0" in first_line:  # pandas before 3 reads such a cell as empty
            raise ValueError("it holds bytes of value 0, which text never contains")
        if re.search("[;\t]", first_line):
            _refuse_decimal_commas(re.split("[;\t]", first_line))
        titles = _cells(first_line)
        # pandas numbers columns 0, 1, 2, …, perhaps after those of names
        numbers = [title for title in titles if _is_number(title)]
        are_titles = (len(numbers) > 2 and counts_rows(numbers, 0)) or _are_titles(titles)
        # what names rows stays text: also the row numbers that pandas writes under an empty title
        named = [i for i, title in enumerate(titles) if title.lower() in _TEXT_TITLES]
        table = _read_csv(
            file,
            _separator(first_line) or _BLANKS,
            header=0 if are_titles else None,
            converters=dict.fromkeys(named if are_titles else (), str),
            low_memory=False,
        )
        _refuse_decimal_commas(table.iloc[0])
        features = table.select_dtypes("number")
        if not features.shape[1]:
            raise ValueError("none of its columns holds numbers")
    matrix = features.to_numpy()
    texts = table.drop(columns=features.columns)
    if not texts.shape[1]:
        return NamedRows(matrix, None)
    names = texts.iloc[:, 0].fillna("").astype(str).str.strip()
    with naming(path):
        if texts.shape[1] > 1:
            raise DataError(
                f"it has {texts.shape[1]} columns of names or text "
                f"({', '.join(map(str, texts.columns[:5]))}); features have at most one. Remove "
                "the others."
            )
        if (names == "").any():
            raise DataError(f"row {(names == '').argmax()} has no name in {names.name!r}.")
    return NamedRows(matrix, None if counts_rows(names.tolist(), 0) else tuple(names))


def _first_line(file: Path, errors: str = "strict") -> str:
    with file.open(encoding=text_encoding(file), errors=errors, newline="") as stream:
        return stream.readline(1 << 22)


def _separator(line: str) -> str | None:
    """The separator of the cells of a line: the most frequent mark, or None for blanks."""
    mark = max(",;\t", key=line.count)
    return mark if mark in line else None


def _read_csv(file: Path, separator: str, **options: Any) -> pd.DataFrame:
    import pandas as pd

    with warnings.catch_warnings():
        # pandas truncates longer rows with this warning
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file,
            sep=separator,
            index_col=False,
            encoding=text_encoding(file),
            skipinitialspace=True,
            **options,
        )


def _refuse_decimal_commas(cells: Iterable[object]) -> None:
    """Raise a ValueError for a number such as 1,5."""
    for cell in cells:
        if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", str(cell)):
            raise ValueError(f"{str(cell).strip()} has a decimal comma; write a point")


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(_separator(line))]


def _are_titles(cells: list[str]) -> bool:
    """Whether a line holds titles: text from its first cell on, or the title of a name column."""
    if len(cells) < 2:
        return False
    if cells[0].lower() in _TEXT_TITLES:
        return True
    return not _is_number(cells[0]) and not all(map(_is_number, cells[1:]))


def _is_number(cell: str) -> bool:
    """Whether a cell holds nothing but numbers."""
    try:
        [*map(float, cell.split())]
    except ValueError:
        return False
    return True


def _read_json(file: Path) -> pd.DataFrame:
    import pandas as pd

    text = decoded(file)
    try:
        value = json.loads(text)
    except ValueError:  # servers append a JSON text for each person
        value = [json.loads(line) for line in text.splitlines() if line.strip()]
    blocks = value if all(isinstance(part, list) for part in value) else [value]
    trials = [trial for block in blocks for trial in block]
    if not trials or not all(isinstance(trial, dict) for trial in trials):
        raise ValueError("it must be a list of trials, or one list per participant, of objects")
    table = pd.DataFrame(trials, dtype=object)
    if len(blocks) > 1:
        table["list_of_trials"] = np.repeat(range(len(blocks)), list(map(len, blocks)))
    return table.where(table.notna(), "").map(json_text).rename(columns=str)


def json_text(value: Any) -> str:
    """The text of a JSON value as a table would hold it."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    return str(int(value) if isinstance(value, bool) else value).strip()
