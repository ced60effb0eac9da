"""Answers in tables of text or JSON: what each row shows, which object was chosen, and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.names import object_name, positions_of
from glocal.data.tables import as_integers, column_of_table, listed, read_table
from glocal.errors import DataError
from glocal.files import PathLike, naming
from glocal.similarity import Labels, Mask, Numbers, Objects, Values

if TYPE_CHECKING:
    import pandas as pd

SHAPES = (
    ("a", "b", "c", "odd"),
    ("a", "b", "odd"),
    ("reference", "closer", "farther"),
    ("reference", "left", "right", "chosen"),
)
"""The columns that a table of answers may have; a fourth one names one of the three before it."""
DETAILS = ("person", "seconds", "weight")
"""The columns that a table of answers may have besides."""
_ORDERS_OF_ODD_ONES = ((1, 2, 0), (0, 2, 1), (0, 1, 2))
_ORDERS_OF_ALTERNATIVES = ((0, 1, 2), (0, 1, 2), (0, 2, 1))
_MISSING = -1  # the index of an object whose cell is empty
_UNLISTED = -(1 << 62)  # an index that no table holds


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
        object_names = [object_name(name) for name in names or ()]
        table = read_table(path, what="answers", names=object_names)
        table = _renamed(table, columns or {})
        rows = _read_rows(table, names, base)
        is_catch = rows.catch_trials()
        reasons = {
            **rows.absences,
            "catch trial": is_catch,
            "equal alternatives": rows.repeats(),
        }
        is_answer, dropped = _without(reasons)
        person = _people(table)
        seconds = _numbers_in(table, "seconds")
        if seconds is not None:
            seconds = np.where(seconds < 0, np.nan, seconds)
        weights = _numbers_in(table, "weight")
        catch_passed = catch_person = None
        if is_catch.any():
            first, second = rows.objects[is_catch, :2].T
            catch_passed = first == second
            catch_person = _selected(person, is_catch)
        answers = AnswerTable(
            array=rows.objects[is_answer],
            kind=rows.kind,
            names=rows.names,
            weights=_selected(weights, is_answer),
            person=_selected(person, is_answer),
            seconds=_selected(seconds, is_answer),
            catch_passed=catch_passed,
            catch_person=catch_person,
        )
        return answers, dropped


class _Rows(NamedTuple):
    """The three objects of each row of a table, in the order of `Answers`.

    `absences` has the rows where an object or the choice is absent, for each reason.
    """

    objects: Objects
    kind: str
    names: Sequence[str] | None
    absences: dict[str, Mask]

    def repeats(self) -> Mask:
        """The rows that show an object twice or three times."""
        first, second, third = self.objects.T
        is_first_again = (first == second) | (first == third)
        is_second_again = second == third
        return is_first_again | is_second_again

    def catch_trials(self) -> Mask:
        """The rows that show an object twice and have one right answer."""
        first, second, third = self.objects.T
        are_equal = (first == second) & (second == third)
        is_catch = self.repeats() & ~are_equal
        if self.kind == "anchor":
            is_catch &= second != third
        return is_catch & _is_complete(self.absences)


def _read_rows(table: pd.DataFrame, names: Sequence[str] | None, base: int) -> _Rows:
    """The objects in the rows of a table; a choice beside three objects orders them."""
    shape = _shape(table)
    texts = table[[*shape]].to_numpy(dtype=np.str_)
    cells, names = _indices(texts, names, base)
    objects = cells[:, :3]
    is_unlisted = cells == _UNLISTED
    is_missing = cells == _MISSING
    lacks_object = is_missing[:, :3]
    absences = {
        "an object that is not in the list of object ids": is_unlisted.any(axis=1),
        "an object is missing (empty, NA, None, nan or null)": lacks_object.any(axis=1),
        "no answer": is_missing.any(axis=1),
    }
    has_reference = shape[0] == "reference"
    if len(shape) > 3:
        chosen = cells[:, 3]
        is_complete = _is_complete(absences)
        objects = _ordered_by_choice(objects, chosen, is_complete, has_reference)
    kind = "anchor" if has_reference else "odd-one-out"
    return _Rows(objects, kind, names, absences)


def _is_complete(absences: Mapping[str, Mask]) -> Mask:
    """The rows where nothing is absent."""
    masks = list(absences.values())
    is_absent = np.logical_or.reduce(masks)
    return ~is_absent


def _selected(values: np.ndarray | None, rows: Mask) -> np.ndarray | None:
    """The values of some rows; None without values."""
    return None if values is None else values[rows]


def _renamed(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The table with roles as titles."""
    titles = chain(*SHAPES, DETAILS)
    roles = list(dict.fromkeys(titles))
    for role, column in columns.items():
        if role not in roles:
            raise DataError(f"{role!r} is not a role of a column; roles are {', '.join(roles)}.")
        column_of_table(table, column)
    role_of = {column: role for role, column in columns.items()}
    # a column that has the title of a role, and no role, gives way
    replaced = set(columns) - set(role_of)
    others = [title for title in table if title not in replaced]
    selected = table[others]
    return selected.rename(columns=role_of)


def _shape(table: pd.DataFrame) -> tuple[str, ...]:
    """The columns of the answers; a DataError unless the table has them for one kind."""
    titles = set(table)
    shapes = [shape for shape in SHAPES if titles.issuperset(shape)]
    first_titles = {shape[0] for shape in shapes}
    if len(first_titles) != 1:
        alternatives = [", ".join(shape) for shape in SHAPES]
        needed = "; or ".join(alternatives)
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
    unique_texts, member = np.unique(texts, return_inverse=True)
    distinct = unique_texts.tolist()
    filled = [text for text in distinct if text]
    numbers = as_integers(filled)
    are_names = False
    if names is not None and not base:  # with a base, numbers are indices even if they are names
        are_names = set(names).issuperset(filled)
    if numbers is not None and not are_names:
        pairs = zip(filled, numbers.tolist(), strict=True)
        index_of = dict(pairs)
    elif base:
        raise DataError("the objects of the trials are names, not numbers; leave out `base=1`.")
    else:
        names = filled if names is None else names
        index_of = positions_of(filled, names, "object ids")
    index_of[""] = _MISSING
    indices = [index_of.get(text, _UNLISTED) for text in distinct]
    index_of_member = np.array(indices)
    objects = index_of_member[member]
    return objects.reshape(texts.shape), names


def _ordered_by_choice(
    shown: Objects, chosen: Numbers, is_complete: Mask, has_reference: bool
) -> Objects:
    """The objects in the order of `Answers`: the odd one last, the closer one second."""
    is_chosen = shown == chosen[:, None]
    if has_reference:
        is_chosen[:, 0] = False
    has_choice = is_chosen.any(axis=1)
    is_wrong = is_complete & ~has_choice
    if is_wrong.any():
        raise DataError(
            f"the choice in row {is_wrong.argmax()} is none of the objects that could be chosen, "
            f"and so in {is_wrong.sum()} of {len(shown)} rows; it must be written as one of them."
        )
    position = is_chosen.argmax(axis=1)
    # the columns in the order of `Answers`, for a choice in each of the three columns
    orders = _ORDERS_OF_ALTERNATIVES if has_reference else _ORDERS_OF_ODD_ONES
    columns = np.array(orders)[position]
    return np.take_along_axis(shown, columns, axis=1)


def _without(reasons: Mapping[str, Mask]) -> tuple[Mask, dict[str, int]]:
    """The rows that no reason excludes, and how many each excludes that none before it does.

    Raises
    ------
    DataError
        If all rows are excluded.
    """
    masks = list(reasons.values())
    n_rows = len(masks[0])
    is_excluded = np.zeros(n_rows, dtype=bool)
    dropped = {}
    for reason, applies in reasons.items():
        n_before = int(is_excluded.sum())
        is_excluded |= applies
        n_excluded = int(is_excluded.sum())
        if n_excluded > n_before:
            dropped[reason] = n_excluded - n_before
    if is_excluded.all():
        parts = [f"{n} × {reason}" for reason, n in dropped.items()]
        counts = "; ".join(parts)
        raise DataError(f"no answer is left of {n_rows} trials: {counts}.")
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
        cells = table[title].replace("", "nan")
        return cells.to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(
            f"the column {title!r} must hold numbers ({error}). Write a decimal comma as a point."
        ) from error
