"""The trials of a table, CSV or JSON: the objects, the pick and the person of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.columns import (
    Question,
    as_integers,
    numbers_in_column,
    read_question,
    texts_in_column,
)
from glocal.data.names import object_name, positions_of
from glocal.data.tables import read_table
from glocal.errors import DataError
from glocal.files import PathLike, naming
from glocal.similarity import Mask, Objects, Values

if TYPE_CHECKING:
    import pandas as pd

_MISSING = -1  # the index of an object whose cell is empty
_UNLISTED = -(1 << 62)  # an index that no table holds


class Trials(NamedTuple):
    """The arguments of `Answers.from_array`, and how the file was read.

    `dropped` has the number of trials that were left out, by reason.
    """

    arguments: dict[str, Any]
    dropped: dict[str, int]
    interpretation: dict[str, Any]


def read_trials(
    path: PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
    base: int = 0,
    place_base: int | None = None,
) -> Trials:
    r"""Read answers from a table: CSV with commas, semicolons or tabs, or JSON of jsPsych.

    A trial has columns for one of the following: a, b and the odd one; a, b, c (or a list of
    stimuli) and which of them is odd; a reference, the closer and the farther objects; or a
    reference, left and right (or a list of choices), and the pick or the votes for both. A pick is
    the object itself, the name of its column, or its place; of a list of picks, the first is read.
    The table that ``glocal collect export --csv`` writes is read without further arguments.

    A trial that shows an object twice, and therefore has one right answer, is not an answer but a
    catch trial.

    Parameters
    ----------
    path : path
    columns : mapping
        The column of each role, if its title is not among those of
        `glocal.data.columns.ROLES`; several columns are separated by commas.
    where : mapping
        The value that rows must have in each of these columns.
    names : sequence of str or None
        The objects in the order of their indices. None numbers names in alphabetical order, and
        reads NA, None, nan and null as empty cells.
    base : int
        0 or 1: the index of the first object if objects are numbers.
    place_base : int or None
        0 or 1: the number of the first place if picks are places. None infers it from a pick of the
        first place counted from 0, or of the last place counted from 1.

    Raises
    ------
    FileError
        If the file is missing, damaged, or not a table.
    ParameterError
        If `place_base` is neither 0 nor 1.
    DataError
        If the columns do not make answers, a pick was not offered, places may be counted from 0 or
        from 1, or no answer is left.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> table = Path(tempfile.mkdtemp(), "answers.csv")
    >>> _ = table.write_text("anchor,left,right,chosen\negg,ball,cup,ball\ncup,egg,ball,egg\n")
    >>> arguments = read_trials(table).arguments
    >>> arguments["array"].tolist(), arguments["names"]
    ([[2, 0, 1], [1, 2, 0]], ['ball', 'cup', 'egg'])
    """
    with naming(path):
        # NA is no empty cell if an object is called so
        table = read_table(path, what="answers", names=[*map(object_name, names or ())])
        rows = table
        for column, value in (where or {}).items():
            rows = rows[texts_in_column(rows, column)[:, 0] == value]
            if rows.empty:
                raise DataError(f"it has no row in which {column} is {value!r}.")
        question = read_question(rows, columns or {}, place_base)
        trials = _trials(question, _details(rows, question.columns), names, base)
        if n_filtered := len(table) - len(rows):
            trials.dropped["filtered out by where"] = n_filtered
        return trials


def _trials(
    question: Question,
    details: Mapping[str, np.ndarray],
    names: Sequence[str] | None,
    base: int,
) -> Trials:
    """The answers among the trials, with their details, and the catch trials.

    A catch trial repeats an object and has one right answer: the object that differs from two equal
    ones, or the alternative that equals the reference. If it was given, the first two objects are
    equal. Other repeats have no right answer.
    """
    objects, listed = _indices(question.shown, names, base)
    repeats = np.count_nonzero(np.diff(np.sort(objects, axis=1), axis=1) == 0, axis=1)
    is_catch = (repeats == 1) & (objects >= 0).all(axis=1) & question.is_answered
    if question.kind != "odd-one-out":
        is_catch &= (objects[:, 1:] == objects[:, :1]).any(axis=1)
    excluded = {
        "an object that is not in the list of object ids": (objects == _UNLISTED).any(axis=1),
        "an object is missing (empty, NA, None, nan or null)": (objects == _MISSING).any(axis=1),
        "no answer": ~question.is_answered,
    }
    if "counts" in details:
        excluded["no vote"] = details["counts"].sum(axis=1) == 0
    excluded |= {"catch trial": is_catch, "equal alternatives": repeats > 0}
    kept, dropped = keep_valid(excluded)
    arguments: dict[str, Any] = {name: values[kept] for name, values in details.items()}
    if "counts" not in details and is_catch.any():  # votes are not those of one person
        arguments["catch_passed"] = (objects[:, 0] == objects[:, 1])[is_catch]
        if "person" in details:
            arguments["catch_person"] = details["person"][is_catch]
    arguments |= {"array": objects[kept], "base": base, "kind": question.kind, "names": listed}
    return Trials(arguments, dropped, question.interpretation)


def keep_valid(
    reasons: Mapping[str, Mask],
) -> tuple[Mask, dict[str, int]]:
    """Return the mask of the trials that no reason excludes, and the numbers of the others.

    A trial counts for the first reason that excludes it.

    Raises
    ------
    DataError
        If all trials are excluded.
    """
    kept = np.ones(len(next(iter(reasons.values()))), dtype=bool)
    dropped = {}
    for reason, excluded in reasons.items():
        if n := int((kept & excluded).sum()):
            dropped[reason] = n
        kept &= ~excluded
    if not kept.any():
        counts = "; ".join(f"{n} × {reason}" for reason, n in dropped.items())
        raise DataError(
            f"no answer is left of {len(kept)} trials: {counts or 'the file has none'}."
        )
    return kept, dropped


def _indices(
    shown: Shaped[np.ndarray, "n m"], names: Sequence[str] | None, base: int
) -> tuple[Objects, Sequence[str] | None]:
    """Return the objects as integers, and the list of names.

    An empty cell is -1, and a name that is not listed is `_UNLISTED`.
    """
    distinct, member = np.unique(shown, return_inverse=True)
    texts = [text for text in distinct.tolist() if text]
    numbers = as_integers(texts)
    are_listed = names is not None and not base and {*texts} <= {*names}
    if numbers is not None and not are_listed:
        index_of = dict(zip(texts, numbers.tolist(), strict=True))
    elif base:
        raise DataError("the objects of the trials are names, not numbers; leave out `base=1`.")
    else:
        names = texts if names is None else names
        index_of = positions_of(texts, names, "object ids")
    index_of[""] = _MISSING
    indices = [index_of.get(text, _UNLISTED) for text in distinct.tolist()]
    return np.array(indices)[member], names


def _details(table: pd.DataFrame, roles: dict[str, list[str]]) -> dict[str, np.ndarray]:
    """Read the other arguments of `Answers.from_array`; a negative time counts as unknown."""

    def numbers(role: str) -> Values:
        return numbers_in_column(table, roles[role][0])

    details: dict[str, np.ndarray] = {}
    if roles.keys() >= {"left_votes", "right_votes"}:
        votes = np.stack([numbers("left_votes"), numbers("right_votes")], axis=1)
        details["counts"] = np.nan_to_num(votes)
    for role, unit in (("milliseconds", 1e-3), ("seconds", 1)):
        if role in roles:
            seconds = numbers(role) * unit
            details["seconds"] = np.where(seconds < 0, np.nan, seconds)
    if "weight" in roles:
        details["weights"] = numbers("weight")
    if "person" in roles:
        person = texts_in_column(table, roles["person"][0])[:, 0]
        codes = as_integers(person.tolist())
        details["person"] = person if codes is None else codes
    return details
