"""The columns of a table of answers: their roles, their cells, and the question of each trial."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

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
# roles of the columns that show the objects of a trial: the first entry whose columns exist is read
_SHOWN_ROLES: tuple[tuple[str, ...], ...] = (
    ("a", "b", "c"),
    ("a", "b", "odd"),
    ("stimuli",),
    ("reference", "closer", "farther"),
    ("reference", "choices"),
    ("reference", "left", "right"),
    ("reference", "a", "b"),
)
_RESHAPED = {
    ("rating", "similarity", "dissimilarity", "distance", "score"): "For ratings of pairs, write "
    "a matrix, table.pivot_table(index=FIRST, columns=SECOND, values=RATING).to_csv('matrix.csv'), "
    "and import it with --values similarity or dissimilarity.",
    ("trial", "trial_id", "trial_number", "question"): "If each row is one stimulus of a trial, "
    "make one row of a trial first: table.groupby(TRIAL)[STIMULUS].agg(list), sorted "
    "with the odd one last.",
}
"""What to do with a table that has one of these titles and no answers."""
MISSING = -1
"""The index of an object whose cell is empty."""
INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.0*)?")  # 007 and 1_0 are names


Texts = Shaped[np.ndarray, "n k"]
"""The texts of some columns of n trials."""


class Question(NamedTuple):
    """The objects that each trial showed, as texts, and the column of the pick, or -1 for none.

    `columns` holds the columns of each role. `interpretation` records how the columns and the picks
    were read.
    """

    kind: str
    shown: Shaped[np.ndarray, "n m"]
    picked: Numbers
    columns: dict[str, list[str]]
    interpretation: dict[str, Any]


def read_question(
    table: pd.DataFrame, stated: Mapping[str, str], place_base: int | None
) -> Question:
    """Read the kind of the trials, the objects that they showed, and the column of each pick."""
    if place_base not in (None, 0, 1):
        raise ParameterError(f"`place_base` is {place_base}; it must be 0 or 1.")
    roles = _roles(table, stated)
    shown_roles, pick_role = _roles_of_question(table, roles)
    shown_columns = [column for role in shown_roles for column in roles[role]]
    table = _without_decimals(table, {*shown_columns, *roles.get(pick_role or "", ())})
    texts_of_columns = [texts_in_column(table, column) for column in shown_columns]
    shown = np.concatenate(texts_of_columns, axis=1)
    n_shown = shown.shape[1]
    if n_shown < 3:
        raise DataError(f"it shows {n_shown} objects in each trial; an answer needs three or more.")
    interpretation: dict[str, Any] = {"columns": {role: ", ".join(roles[role]) for role in roles}}
    n_fixed = int("reference" in roles)
    picked = np.full(len(table), 1 if n_fixed else 2)  # as closer and odd stand
    if pick_role is not None and shown_roles[-1] not in ("odd", "farther"):
        texts = texts_in_column(table, roles[pick_role][0])[:, 0]
        names = shown_roles[n_fixed:] if len(shown_roles) == n_shown else ()
        picked, interpretation["picked"] = _picked(texts, shown[:, n_fixed:], names, place_base)
        picked[picked >= 0] += n_fixed
    picked[(shown == "").any(axis=1)] = -1
    return Question(_kind(n_fixed, n_shown), shown, picked, roles, interpretation)


def _kind(n_fixed: int, n_shown: int) -> str:
    """The kind of trials that show so many objects, `n_fixed` (0 or 1) of them a reference."""
    if not n_fixed:
        return "odd-one-out"
    return "anchor" if n_shown == 3 else "nearest-of-n"


def _roles_of_question(
    table: pd.DataFrame, roles: Mapping[str, list[str]]
) -> tuple[tuple[str, ...], str | None]:
    """The roles of the columns that show objects, and that of the pick, None if there are votes."""
    pick_role = next((role for role in ("closer", "odd", "chosen") if role in roles), None)
    for shown_roles in _SHOWN_ROLES:
        has_same_reference = ("reference" in shown_roles) == ("reference" in roles)
        is_answered = pick_role is not None or roles.keys() >= {"left_votes", "right_votes"}
        if is_answered and has_same_reference and roles.keys() >= {*shown_roles}:
            return shown_roles, pick_role
    titles = {title.lower() for title in table}
    advice = "".join(f" {fix}" for marks, fix in _RESHAPED.items() if titles & {*marks})
    raise DataError(
        f"it has the columns {', '.join(list(table)[:12])}{_in_words(roles)}; answers need a, b "
        "and odd, or a, b, c (or stimuli) and odd, or reference, closer and farther, or reference, "
        "left and right (or choices) and chosen. State the column of each role: glocal data import "
        f"--column ROLE=COLUMN, or columns={{'ROLE': 'COLUMN'}} in Python.{advice}"
    )


def _in_words(roles: Mapping[str, list[str]]) -> str:
    """The roles that were recognised, for a message."""
    pairs = [f"{', '.join(titles)} as {role}" for role, titles in roles.items()]
    return f" (of which {'; '.join(pairs)})" if pairs else ""


def _without_decimals(table: pd.DataFrame, columns: set[str]) -> pd.DataFrame:
    """Write 104.0 as 104 if all cells are whole numbers; pandas adds .0 beside an empty cell."""
    cells = {cell for column in columns for cell in table[column].unique()}
    if not all(map(INTEGER.fullmatch, cells - {""})):
        return table
    whole_of = {cell: cell.partition(".")[0] for cell in cells}
    return table.assign(**{column: table[column].map(whole_of) for column in columns})


def _roles(table: pd.DataFrame, stated: Mapping[str, str]) -> dict[str, list[str]]:
    """Find the columns of each role: those that are stated, else those with a known title."""
    roles = {role: re.split(r"\s*,\s*", text.strip()) for role, text in stated.items()}
    if unknown := roles.keys() - ROLES.keys():
        allowed = ", ".join(ROLES)
        raise DataError(f"{unknown.pop()!r} is not a role of a column; roles are {allowed}.")
    stated_columns = [column for titles in roles.values() for column in titles]
    for column in stated_columns:
        column_of_table(table, column)
    column_of = {
        re.sub(r"\W+", "_", column).strip("_").lower(): column
        for column in reversed([*table])
        if column not in stated_columns
    }
    for role in ROLES.keys() - roles.keys():
        titles = [column_of[title] for title in ROLES[role] if title in column_of]
        if titles:
            roles[role] = titles[:1]
    return {role: roles[role] for role in ROLES if role in roles}


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
    try:
        parts = json.loads(cell) if cell.startswith("[") else None
    except ValueError:
        parts = None
    if parts is not None:
        return [parts_of_cell(json_text(part))[0] for part in parts] or [""]
    source = re.search(r"""\ssrc\s*=\s*["']?([^"'\s>]+)""", cell[:1000]) if "<" in cell else None
    return [source[1] if source else cell.strip()]


def _picked(
    texts: Labels,
    objects: Texts,
    names: Sequence[str],
    place_base: int | None,
) -> tuple[Numbers, str]:
    """The column of the alternatives that was picked, -1 for none, and how cells state it.

    A cell holds the object that was picked, the name of its column, if `names` are known, or its
    place.
    """
    # a row with a missing candidate is another kind of trial, which answers another question
    is_answered = (texts != "") & (objects != "").all(axis=1)
    form = "object"
    is_picked = objects == texts[:, None]
    if names and not _is_stated(is_picked, is_answered):
        form = "name of its column"
        is_picked = np.char.lower(texts)[:, None] == np.array(names)
    if not _is_stated(is_picked, is_answered):
        base, is_picked = _picked_places(texts, objects, is_answered, place_base)
        form = f"place counted from {base}"
    return np.where(is_answered, is_picked.argmax(axis=1), -1), form


def _is_stated(is_picked: Bool[np.ndarray, "n k"], is_answered: Mask) -> bool:
    """Whether each answered trial has a pick."""
    return bool(is_picked[is_answered].any(axis=1).all())


def _picked_places(
    texts: Labels,
    objects: Texts,
    is_answered: Mask,
    place_base: int | None,
) -> tuple[int, Bool[np.ndarray, "n k"]]:
    """The number of the first place, and whether each place was picked."""
    import pandas as pd

    places = pd.to_numeric(texts, errors="coerce")[:, None] - np.arange(objects.shape[1])
    bases = [
        base
        for base in (0, 1)
        if place_base in (None, base) and _is_stated(places == base, is_answered)
    ]
    if not bases:
        is_offered = (objects == texts[:, None]).any(axis=1)
        row = int(np.flatnonzero(is_answered & ~is_offered)[0])
        raise DataError(
            f"in trial {row}, {texts[row][:60]!r} was picked among "
            f"{', '.join(objects[row])[:200]}; it must be one of these objects, the name of its "
            "column, or its place counted from 0 or 1."
        )
    if len(bases) == 2:
        raise DataError(
            f"the places that were picked, {', '.join(np.unique(texts[is_answered]))}, may "
            "be counted from 0 or from 1. State which: `place_base=0` or `place_base=1`."
        )
    return bases[0], places == bases[0]


def as_integers(texts: Labels) -> Numbers | None:
    """Texts as integers, empty ones as -1; None if any of them is not an integer."""
    if not all(map(INTEGER.fullmatch, {*texts.tolist()} - {""})):
        return None
    return np.array([int(text.partition(".")[0]) if text else MISSING for text in texts.tolist()])


def numbers_in_column(table: pd.DataFrame, column: str) -> Values:
    """The numbers of a column, NaN for an empty cell."""
    try:
        # NOTE pd.to_numeric of pandas 2 may be wrong in the last digit
        return table[column].replace("", "nan").to_numpy(dtype=np.float64)
    except ValueError as error:
        hint = " Write a decimal comma as a point." if "," in str(error) else ""
        raise DataError(f"the column {column!r} must hold numbers ({error}).{hint}") from error
