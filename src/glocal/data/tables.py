"""Tables of text or JSON with the titles of their columns, and rows of numbers without titles."""

from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.names import object_name, positions_of
from glocal.errors import DataError
from glocal.files import PathLike, decoded, ending, naming, read_npy, reading
from glocal.similarity import Labels, Mask, Numbers, Objects, Values

if TYPE_CHECKING:
    import pandas as pd

TABLES = frozenset({".csv", ".tsv"})
"""Extensions of tables, which may hold features or labels in columns."""
NAME_TITLES = ("image", "file", "file_name", "filename", "path", "name", "id")
"""The titles of a column that names rows, the most certain first."""
SHAPES = (
    ("a", "b", "c", "odd"),
    ("a", "b", "odd"),
    ("reference", "closer", "farther"),
    ("reference", "left", "right", "chosen"),
)
"""The columns that a table of answers may have; a fourth one names one of the three before it."""
DETAILS = ("person", "seconds", "weight")
"""The columns that a table of answers may have besides."""
_TEXT_TITLES = {*NAME_TITLES, "index", "item", "object"}
_EMPTY_TEXTS = ("NA", "N/A", "NaN", "nan", "null", "None")  # an empty cell, as programs write it
_NO_SEPARATOR = "\x1f"  # a character of no text: the table has one column
_MISSING = -1  # the index of an object whose cell is empty
_UNLISTED = -(1 << 62)  # an index that no table holds
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
            table = parse_csv(text_of_table(file), dtype=str, na_values=missing, header=0)
        if table.empty:
            raise ValueError("it has no row below the titles")
        table = table.fillna("").apply(lambda column: column.str.strip())
        return table.rename(columns=str.strip)


def column_of_table(table: pd.DataFrame, title: str) -> pd.Series:
    """Return the column with this title, or raise a DataError that lists the titles."""
    if title not in table:
        raise DataError(f"there is no column {title!r}; the table has {listed(table)}.")
    return table[title]


def counts_rows(texts: Sequence[str], first: int) -> bool:
    """Whether texts are the numbers of their rows, counted from `first`; empty ones are."""
    return [*texts] == [*map(str, range(first, first + len(texts)))]


def as_integers(texts: Sequence[str]) -> Numbers | None:
    """Texts as integers; None if any of them is not an integer."""
    if not all(map(_INTEGER.fullmatch, {*texts})):
        return None
    return np.array([int(text.partition(".")[0]) for text in texts], dtype=np.int64)


# rows of numbers


def has_titles(path: PathLike) -> bool:
    """Whether a file of answers is a table: JSON, or text whose first line is not all numbers."""
    if ending(path) in (".json", ".npy"):
        return ending(path) == ".json"
    with reading(path, "answers", "Save it as CSV, or with numpy.save.") as file:
        return not all(map(is_number, first_cells(text_of_table(file))))


def read_numbers(path: PathLike, *, what: str) -> np.ndarray:
    """Read numbers from ``.npy``, or from text as (lines, columns); integers stay integers.

    Blanks or one kind of tabs, semicolons and commas separate the numbers of a line.

    Raises
    ------
    FileError
        If the file is missing or damaged, or its rows are not numbers or differ in length.
    """
    if ending(path) == ".npy":
        return np.array(read_npy(path, what=what))
    with reading(path, what, "Save it with numpy.save, or as lines of numbers.") as file:
        return rows_of_numbers(text_of_table(file))


def read_list(path: PathLike, *, what: str) -> np.ndarray:
    """Read a list of numbers, written one per line or all on one line."""
    numbers = read_numbers(path, what=what)
    return numbers.reshape(-1) if numbers.ndim == 2 and 1 in numbers.shape else numbers


# answers


class AnswerTable(NamedTuple):
    """The arguments of `Answers.from_array` that a table of answers holds."""

    array: Objects
    kind: str
    names: Sequence[str] | None
    weights: Values | None
    person: Labels | None
    seconds: Values | None
    catch_passed: Mask | None
    catch_person: Labels | None


def read_answers(
    path: PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
    base: int = 0,
) -> tuple[AnswerTable, dict[str, int]]:
    r"""Read the answers of a table, and the number of rows left out for each reason.

    A table, of text or JSON (`read_table`), has the titles a, b and odd; or a, b, c and odd, which
    names one of them; or reference, closer and farther; or reference, left, right and chosen, which
    names left or right. It may have person, seconds and weight too. Other columns are ignored.

    A row that shows an object twice, and so has one right answer, is no answer but a catch trial:
    two equal objects and another, or an alternative that is the reference.

    Parameters
    ----------
    path : path
    columns : mapping
        The title in the file for each of these titles that the file does not have.
    names : sequence of str or None
        The objects in the order of their indices. None numbers names in alphabetical order.
    base : int
        0 or 1: the index of the first object if objects are integers.

    Raises
    ------
    FileError
        If the file is missing, damaged, or not a table.
    DataError
        If the titles are others, `chosen` or `odd` names another object, or no answer is left.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp(), "answers.csv")
    >>> _ = file.write_text("reference,left,right,chosen\negg,ball,cup,ball\n")
    >>> table, dropped = read_answers(file)
    >>> table.array.tolist(), table.names
    ([[2, 0, 1]], ['ball', 'cup', 'egg'])
    """
    with naming(path):
        # NA is no empty cell if an object is called so
        table = read_table(path, what="answers", names=[*map(object_name, names or ())])
        table = _renamed(table, columns or {})
        shape = _shape(table)
        has_reference = shape[0] == "reference"
        cells, names = _indices(table[[*shape]].to_numpy(dtype=np.str_), names, base)
        objects = cells[:, :3]
        is_missing = (objects == _MISSING).any(axis=1)
        has_no_choice = (cells == _MISSING).any(axis=1)
        is_unlisted = (cells == _UNLISTED).any(axis=1)
        is_complete = ~has_no_choice & ~is_unlisted
        if len(shape) == 4:
            objects = _ordered_by_choice(objects, cells[:, 3], is_complete, has_reference)
        first, second, third = objects.T
        is_repeated = (first == second) | (first == third) | (second == third)
        are_all_equal = (first == second) & (second == third)
        is_catch = is_complete & is_repeated & ~are_all_equal
        if has_reference:
            is_catch &= second != third
        is_left, dropped = _without(
            {
                "an object that is not in the list of object ids": is_unlisted,
                "an object is missing (empty, NA, None, nan or null)": is_missing,
                "no answer": has_no_choice,
                "catch trial": is_catch,
                "equal alternatives": is_repeated,
            }
        )
        person = _people(table)
        seconds = _numbers_in(table, "seconds")
        weights = _numbers_in(table, "weight")
        has_catch_trials = bool(is_catch.any())
        answers = AnswerTable(
            array=objects[is_left],
            kind="anchor" if has_reference else "odd-one-out",
            names=names,
            weights=None if weights is None else weights[is_left],
            person=None if person is None else person[is_left],
            seconds=None if seconds is None else np.where(seconds < 0, np.nan, seconds)[is_left],
            catch_passed=(first == second)[is_catch] if has_catch_trials else None,
            catch_person=person[is_catch] if has_catch_trials and person is not None else None,
        )
        return answers, dropped


def _renamed(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with the titles of answers in place of those of the file."""
    titles = dict.fromkeys([title for shape in SHAPES for title in shape] + [*DETAILS])
    for role, column in columns.items():
        if role not in titles:
            raise DataError(f"{role!r} is not a role of a column; roles are {', '.join(titles)}.")
        column_of_table(table, column)
    role_of = {column: role for role, column in columns.items()}
    replaced = [role for role in columns if role in table and role not in role_of]
    return table.drop(columns=replaced).rename(columns=role_of)


def _shape(table: pd.DataFrame) -> tuple[str, ...]:
    """The columns of the answers; a DataError unless the titles are those of one kind."""
    shapes = [shape for shape in SHAPES if {*shape} <= {*table}]
    if len({shape[0] for shape in shapes}) != 1:
        needed = "; or ".join(", ".join(shape) for shape in SHAPES)
        raise DataError(
            f"the table has the titles {listed(table)}; answers have {needed}. Rename columns: "
            "glocal data import --column ROLE=COLUMN, or columns={'ROLE': 'COLUMN'} in Python. "
            "docs/data.md has recipes for tables of other shapes."
        )
    return shapes[0]


def _indices(
    texts: Shaped[np.ndarray, "n m"], names: Sequence[str] | None, base: int
) -> tuple[Objects, Sequence[str] | None]:
    """The objects as integers, `_MISSING` or `_UNLISTED`, and the list of their names."""
    distinct, member = np.unique(texts, return_inverse=True)
    filled = [text for text in distinct.tolist() if text]
    numbers = as_integers(filled)
    are_listed = names is not None and not base and {*filled} <= {*names}
    if numbers is not None and not are_listed:
        index_of = dict(zip(filled, numbers.tolist(), strict=True))
    elif base:
        raise DataError("the objects of the trials are names, not numbers; leave out `base=1`.")
    else:
        names = filled if names is None else names
        index_of = positions_of(filled, names, "object ids")
    index_of[""] = _MISSING
    indices = [index_of.get(text, _UNLISTED) for text in distinct.tolist()]
    return np.array(indices)[member].reshape(texts.shape), names


def _ordered_by_choice(
    shown: Objects, chosen: Numbers, is_complete: Mask, has_reference: bool
) -> Objects:
    """The objects in the order of `Answers`: the odd one last, the closer one second."""
    is_chosen = shown == chosen[:, None]
    if has_reference:
        is_chosen[:, 0] = False
    is_wrong = is_complete & ~is_chosen.any(axis=1)
    if is_wrong.any():
        raise DataError(
            f"the choice in row {is_wrong.argmax()} is none of the objects that could be chosen, "
            f"and so in {is_wrong.sum()} of {len(shown)} rows; it must be written as one of them."
        )
    position = is_chosen.argmax(axis=1)
    # the columns in the order of `Answers`, for a choice in each of the three columns
    orders = np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]])
    if has_reference:
        orders = np.array([[0, 1, 2], [0, 1, 2], [0, 2, 1]])
    return np.take_along_axis(shown, orders[position], axis=1)


def _without(reasons: Mapping[str, Mask]) -> tuple[Mask, dict[str, int]]:
    """The rows that no reason excludes, and how many each excludes that none before it does.

    Raises
    ------
    DataError
        If all rows are excluded.
    """
    is_excluded = np.zeros(len(next(iter(reasons.values()))), dtype=bool)
    dropped = {}
    for reason, applies in reasons.items():
        if n := int((applies & ~is_excluded).sum()):
            dropped[reason] = n
        is_excluded |= applies
    if is_excluded.all():
        counts = "; ".join(f"{n} × {reason}" for reason, n in dropped.items())
        raise DataError(f"no answer is left of {len(is_excluded)} trials: {counts}.")
    return ~is_excluded, dropped


def _people(table: pd.DataFrame) -> Labels | None:
    """Who gave each answer: integers if all are; None without such a column."""
    if "person" not in table:
        return None
    texts = table["person"].to_numpy(dtype=np.str_)
    numbers = as_integers(texts.tolist())
    return texts if numbers is None else numbers


def _numbers_in(table: pd.DataFrame, title: str) -> Values | None:
    """The numbers of a column, NaN for an empty cell; None without such a column."""
    if title not in table:
        return None
    try:
        # NOTE pd.to_numeric of pandas 2 may be wrong in the last digit
        return table[title].replace("", "nan").to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(
            f"the column {title!r} must hold numbers ({error}). Write a decimal comma as a point."
        ) from error


# the text of a table


def text_of_table(file: Path) -> str:
    """The text of a file, in which each line closes the quotation marks that it opens."""
    text = decoded(file)
    if "\0" in text:  # pandas before 3 reads such a cell as empty
        raise ValueError("it holds bytes of value 0, which text never contains")
    if '"' in text:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.count('"') % 2:
                raise ValueError(f"line {number} has a quotation mark that no other closes")
    return text


def _read_records(file: Path) -> pd.DataFrame:
    import pandas as pd

    records = json.loads(decoded(file))
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise ValueError("it must hold a list of records, one for each answer")
    table = pd.DataFrame(records, dtype=object)
    return table.where(table.notna(), "").astype(str)


def parse_csv(text: str, **options: Any) -> pd.DataFrame:
    """The cells of a text, read by pandas with these options."""
    import pandas as pd

    separator = _separator(text)
    with warnings.catch_warnings():
        # pandas truncates longer rows with this warning
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            io.StringIO(text),
            sep=separator or _NO_SEPARATOR,
            index_col=False,
            keep_default_na="dtype" not in options,  # but for numbers
            skipinitialspace=True,
            skip_blank_lines=separator is not None,
            **options,
        )


def _separator(text: str) -> str | None:
    """The most frequent mark of the first line that may separate cells; None without one."""
    first_line = text.partition("\n")[0]
    mark = max("\t;,", key=first_line.count)
    return mark if mark in first_line else None


def first_cells(text: str) -> list[str]:
    """The cells of the first line."""
    first_line = text.partition("\n")[0]
    return [cell.strip().strip('"') for cell in first_line.split(_separator(text))]


def rows_of_numbers(text: str) -> np.ndarray:
    """The numbers of a text without titles, as integers if they are."""
    separator = _separator(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # numpy warns of a file without numbers
        warnings.simplefilter("error", DeprecationWarning)  # and of 1.5 that is read as 1
        lines = text.split("\n")
        with contextlib.suppress(ValueError, OverflowError, UserWarning):
            return np.loadtxt(lines, dtype=np.int64, delimiter=separator, ndmin=2)
        return np.loadtxt(lines, dtype=np.float64, delimiter=separator, ndmin=2)


def is_number(cell: str) -> bool:
    """Whether a cell holds nothing but numbers."""
    try:
        [*map(float, cell.split())]
    except ValueError:
        return False
    return bool(cell)


def names_rows(title: str) -> bool:
    """Whether the title of a column says that it names the rows."""
    # pandas writes an index without a title
    return title.lower() in _TEXT_TITLES or not title or title.startswith("Unnamed: ")


def listed(titles: Iterable[object]) -> str:
    """The first dozen of titles, and whether there are more."""
    texts = [*map(str, titles)]
    return ", ".join(texts[:12]) + (", …" if len(texts) > 12 else "")
