"""The columns of a table of answers: their roles, their cells, and the question of each trial."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from glocal.data.tables import column_of_table, json_text
from glocal.errors import DataError, ParameterError
from glocal.similarity import Labels, Mask, Numbers, Values

if TYPE_CHECKING:
    import pandas as pd

ROLES: dict[str, tuple[str, ...]] = {
    "reference": ("reference", "ref", "anchor", "head", "target", "center", "query", "ref_path"),
    "closer": ("closer", "close", "nearest", "near", "winner"),
    "farther": ("farther", "far", "loser"),
    "left": ("left", "left_path"),
    "right": ("right", "right_path"),
    "choices": ("choices",),
    "a": ("a", "image1", "image_1"),
    "b": ("b", "image2", "image_2"),
    "c": ("c", "image3", "image_3"),
    "stimuli": ("stimuli", "images"),
    "odd": ("odd", "odd_one", "odd_one_out"),
    "chosen": ("chosen", "choice", "answer", "response", "selected"),
    "left_votes": ("left_votes", "left_vote"),
    "right_votes": ("right_votes", "right_vote"),
    # the last title stands for the person if a JSON file has several lists of trials
    "person": (
        "person",
        "puid",
        "participant",
        "participant_id",
        "subject",
        "subject_id",
        "worker_id",
        "rater",
        "list_of_trials",
    ),
    "seconds": ("seconds", "response_seconds", "response_time"),
    "milliseconds": ("milliseconds", "rt", "rt_ms"),
    "weight": ("weight", "weights"),
}
"""The titles that the column of a role may have."""
# roles of the columns that show the candidates of a trial: the first whose columns exist are read
_CANDIDATE_ROLES: tuple[tuple[str, ...], ...] = (("a", "b", "c"), ("a", "b", "odd"), ("stimuli",))
_ROLES_BESIDE_A_REFERENCE: tuple[tuple[str, ...], ...] = (
    ("closer", "farther"),
    ("choices",),
    ("left", "right"),
    ("a", "b"),
)
_RESHAPED = {
    ("rating", "similarity", "dissimilarity", "distance", "score"): "Compare ratings of pairs "
    "first, by the recipe in docs/data.md.",
    ("trial", "trial_id", "trial_number", "question"): "If each row is one stimulus of a trial, "
    "make one row of a trial first: table.groupby(TRIAL)[STIMULUS].agg(list), sorted "
    "with the odd one last.",
}
"""What to do with a table that has one of these titles and no answers."""
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.0*)?")  # 007 and 1_0 are names


Texts = Shaped[np.ndarray, "n k"]
"""The texts of some columns of n trials."""


class Question(NamedTuple):
    """The objects of each trial as texts, in the order of `Answers`, and which trials have a pick.

    `columns` holds the columns of each role. `interpretation` records how the columns and the picks
    were read.
    """

    kind: str
    shown: Shaped[np.ndarray, "n m"]
    is_answered: Mask
    columns: dict[str, list[str]]
    interpretation: dict[str, Any]


def read_question(
    table: pd.DataFrame, stated: Mapping[str, str], place_base: int | None
) -> Question:
    """Read the kind of the trials, the objects that they showed, and the picks."""
    if place_base not in (None, 0, 1):
        raise ParameterError(f"`place_base` is {place_base}; it must be 0 or 1.")
    columns = _columns_of_roles(table, stated)
    roles, picks = _roles_of_question(table, columns)
    shown_columns = [column for role in ("reference", *roles) for column in columns.get(role, ())]
    table = _without_decimals(table, {*shown_columns, *picks})
    shown = np.concatenate([texts_in_column(table, column) for column in shown_columns], axis=1)
    n_shown = shown.shape[1]
    if n_shown < 3:
        raise DataError(f"it shows {n_shown} objects in each trial; an answer needs three or more.")
    interpretation: dict[str, Any] = {
        "columns": {role: ", ".join(titles) for role, titles in columns.items()}
    }
    n_fixed = int("reference" in columns)
    is_answered = (shown != "").all(axis=1)
    for column in picks:
        texts = texts_in_column(table, column)[:, 0]
        picked, interpretation["picked"] = _picked(texts, shown[:, n_fixed:], roles, place_base)
        is_answered &= picked >= 0
        shown = _in_order(shown, picked, n_fixed)
    return Question(_kind(n_fixed, n_shown), shown, is_answered, columns, interpretation)


def _in_order(shown: Texts, picked: Numbers, n_fixed: int) -> Texts:
    """Order the columns as in `Answers`: the odd one last, or the pick after the reference."""
    rank = (np.arange(shown.shape[1]) == n_fixed + picked[:, None]).astype(np.int64)
    if n_fixed:
        rank = 2 - rank
        rank[:, 0] = 0  # the reference
    return np.take_along_axis(shown, rank.argsort(axis=1, kind="stable"), axis=1)


def _kind(n_fixed: int, n_shown: int) -> str:
    """The kind of trials that show so many objects, `n_fixed` (0 or 1) of them a reference."""
    if not n_fixed:
        return "odd-one-out"
    return "anchor" if n_shown == 3 else "nearest-of-n"


def _roles_of_question(
    table: pd.DataFrame, columns: Mapping[str, list[str]]
) -> tuple[tuple[str, ...], list[str]]:
    """The roles of the candidates, and the column of the pick unless order or votes state it."""
    picks = [columns[role][0] for role in ("closer", "odd", "chosen") if role in columns]
    is_answered = bool(picks) or columns.keys() >= {"left_votes", "right_votes"}
    has_reference = "reference" in columns
    for roles in _ROLES_BESIDE_A_REFERENCE if has_reference else _CANDIDATE_ROLES:
        if is_answered and columns.keys() >= {*roles}:
            return roles, [] if roles[-1] in ("odd", "farther") else picks[:1]
    titles = {title.lower() for title in table}
    advice = "".join(f" {fix}" for marks, fix in _RESHAPED.items() if titles & {*marks})
    recognised = [f"{', '.join(titles)} as {role}" for role, titles in columns.items()]
    raise DataError(
        f"it has the columns {', '.join(list(table)[:12])} (of which it reads "
        f"{'; '.join(recognised) or 'none'}); answers need a, b "
        "and odd, or a, b, c (or stimuli) and odd, or reference, closer and farther, or reference, "
        "left and right (or choices) and chosen. State the column of each role: glocal data import "
        f"--column ROLE=COLUMN, or columns={{'ROLE': 'COLUMN'}} in Python.{advice}"
    )


def _without_decimals(table: pd.DataFrame, columns: set[str]) -> pd.DataFrame:
    """Write 104.0 as 104 if all cells are whole numbers; pandas adds .0 beside an empty cell."""
    cells = {cell for column in columns for cell in table[column].unique()}
    if not all(map(INTEGER.fullmatch, cells - {""})):
        return table
    whole_of = {cell: cell.partition(".")[0] for cell in cells}
    return table.assign(**{column: table[column].map(whole_of) for column in columns})


def _columns_of_roles(table: pd.DataFrame, stated: Mapping[str, str]) -> dict[str, list[str]]:
    """Find the columns of each role: those that are stated, else one with a known title."""
    if unknown := stated.keys() - ROLES.keys():
        allowed = ", ".join(ROLES)
        raise DataError(f"{unknown.pop()!r} is not a role of a column; roles are {allowed}.")
    columns = {role: re.split(r"\s*,\s*", text.strip()) for role, text in stated.items()}
    stated_columns = [column for titles in columns.values() for column in titles]
    for column in stated_columns:
        column_of_table(table, column)
    column_of = {
        re.sub(r"\W+", "_", column).strip("_").lower(): column
        for column in reversed([*table])
        if column not in stated_columns
    }
    for role, titles in ROLES.items():
        matches = [column_of[title] for title in titles if title in column_of]
        columns[role] = columns.get(role, matches[:1])
    return {role: columns[role] for role in ROLES if columns[role]}


def texts_in_column(table: pd.DataFrame, column: str) -> Texts:
    """The cells of a column as texts; a list fills as many columns as the longest list needs."""
    import pandas as pd

    # most tables repeat few names many times
    member, distinct = pd.factorize(column_of_table(table, column))
    padded = [*zip_longest(*map(parts_of_cell, distinct), fillvalue="")]
    return np.array(padded, dtype=np.str_).T[member]


def parts_of_cell(cell: str) -> list[str]:
    """The parts of a cell that holds a JSON list, or the cell itself; of HTML, the image source.

    >>> parts_of_cell('["egg", "<img src=img/cup.png>"]'), parts_of_cell(" egg")
    (['egg', 'img/cup.png'], ['egg'])
    """
    if cell.startswith("["):
        with contextlib.suppress(ValueError):
            return [parts_of_cell(json_text(part))[0] for part in json.loads(cell)] or [""]
    source = re.search(r"""\ssrc\s*=\s*["']?([^"'\s>]+)""", cell[:1000]) if "<" in cell else None
    return [source[1] if source else cell.strip()]


def _picked(
    texts: Labels,
    objects: Texts,
    roles: Sequence[str],
    place_base: int | None,
) -> tuple[Numbers, str]:
    """The column of the alternatives that was picked, -1 for none, and how cells state it.

    A cell holds the object that was picked, the name of its column, if each of the `roles` has one,
    or its place.
    """
    import pandas as pd

    # a row with a missing candidate is another kind of trial, which answers another question
    is_answered = (texts != "") & (objects != "").all(axis=1)
    readings = {"object": objects == texts[:, None]}
    if not readings["object"][is_answered].any(axis=1).all():
        if len(roles) == objects.shape[1]:
            readings["name of its column"] = np.char.lower(texts)[:, None] == np.array(roles)
        places = pd.to_numeric(texts, errors="coerce")[:, None] - np.arange(objects.shape[1])
        for base in (0, 1) if place_base is None else (place_base,):
            readings[f"place counted from {base}"] = places == base
    forms = [
        form for form, is_picked in readings.items() if is_picked[is_answered].any(axis=1).all()
    ]
    if not forms:
        row = int(np.flatnonzero(is_answered & ~readings["object"].any(axis=1))[0])
        raise DataError(
            f"in trial {row}, {texts[row][:60]!r} was picked among "
            f"{', '.join(objects[row])[:200]}; it must be one of these objects, the name of its "
            "column, or its place counted from 0 or 1."
        )
    if forms[0].startswith("place") and len(forms) == 2:
        raise DataError(
            f"the places that were picked, {', '.join(np.unique(texts[is_answered]))}, may "
            "be counted from 0 or from 1. State which: `place_base=0` or `place_base=1`."
        )
    return np.where(is_answered, readings[forms[0]].argmax(axis=1), -1), forms[0]


def as_integers(texts: list[str]) -> Numbers | None:
    """Texts as integers; None if any of them is not an integer."""
    if not all(map(INTEGER.fullmatch, {*texts})):
        return None
    return np.array([int(text.partition(".")[0]) for text in texts], dtype=np.int64)


def numbers_in_column(table: pd.DataFrame, column: str) -> Values:
    """The numbers of a column, NaN for an empty cell."""
    try:
        # NOTE pd.to_numeric of pandas 2 may be wrong in the last digit
        return table[column].replace("", "nan").to_numpy(dtype=np.float64)
    except ValueError as error:
        hint = " Write a decimal comma as a point." if "," in str(error) else ""
        raise DataError(f"the column {column!r} must hold numbers ({error}).{hint}") from error
