"""Tables of answers, CSV or JSON: what each trial showed, what was picked and by whom."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.data.answers import Answers
from glocal.data.features import object_name
from glocal.data.tables import COLUMNS, NONE, json_text, read_table, read_trials
from glocal.errors import DataError
from glocal.files import PathLike, write_text

if TYPE_CHECKING:
    import pandas as pd

# what the column of a role may be called; further ones have a number: farther, farther2, …
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
    "odd": ("odd", "odd_one_out"),
    "chosen": ("chosen", "choice", "answer", "response", "selected"),
    "left_votes": ("left_votes", "left_vote"),
    "right_votes": ("right_votes", "right_vote"),
    "votes": ("votes",),
    "person": (
        *("person", "puid", "participant", "participant_id", "subject", "subject_id"),
        *("worker_id", "rater"),
        "list_of_trials",  # stands for a person where a JSON file has several lists
    ),
    "seconds": ("seconds", "response_seconds", "response_time"),
    "milliseconds": ("milliseconds", "rt", "rt_ms"),
    "weight": ("weight", "weights"),
}
# roles of the columns that show the objects of a trial: the first whose columns exist are read
_SHOWN_ROLES = (
    ("a", "b", "c"),
    ("a", "b", "odd"),
    ("stimuli",),
    ("reference", "closer", "farther"),
    ("reference", "choices"),
    ("reference", "left", "right"),
    ("reference", "a", "b"),
)
_STUDY_IMAGES = ("image_1", "image_2", "image_3")
_STUDY_COLUMNS = frozenset((*_STUDY_IMAGES, "choice", "kind", "source"))
"""Columns of the table that ``glocal collect export --csv`` writes."""
# what that table has before names that a spreadsheet would take for formulas
_FORMULA_GUARD = r"^'(?=[=+\-@])"
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.0*)?")  # 007 and 1_0 are names
_MISSING = -1
_UNLISTED = -2


@dataclass(frozen=True, eq=False)
class Imported:
    """Answers, how many trials were left out for which reason, and how the file was read."""

    answers: Answers
    dropped: dict[str, int] = field(default_factory=dict)
    interpretation: dict[str, Any] = field(default_factory=dict)


class _Question(NamedTuple):
    """What each trial showed, as texts, and the column of what was picked, -1 for nothing."""

    kind: str
    shown: Shaped[np.ndarray, "t m"]
    picked: Int[np.ndarray, " t"]
    picked_as: str | None


class _CatchTrials(NamedTuple):
    """Which trials have one right answer, whether it was given, and which test nobody."""

    is_catch: Bool[np.ndarray, " t"]
    passed: Bool[np.ndarray, " t"]
    has_equal_alternatives: Bool[np.ndarray, " t"]


def import_table(
    path: PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
    base: int = 0,
    place_base: int | None = None,
) -> Imported:
    r"""Read answers from a table: CSV with commas, semicolons or tabs, or JSON of jsPsych.

    A trial is about a, b and the odd one; or a, b, c (or a list of stimuli) and which of them is
    odd; or a reference, the closer and the farther ones; or a reference, left and right (or a list
    of choices), and what was picked or the votes for both. What was picked is the object itself,
    the name of its column, or its place. Of a ranking, in several columns of the closer ones or as
    a list of what was picked, the first choice is read. The table that ``glocal collect export
    --csv`` writes is read as it is.

    A trial with two equal objects has one right answer: it is kept apart, as a catch trial.

    Parameters
    ----------
    path : path
    columns : mapping
        Role → column, where columns are not called as `ROLES` says; several with commas between.
    where : mapping
        Column → the value that rows must have in it.
    names : sequence of str or None
        The objects in the order of their indices. None numbers names in alphabetical order.
    base : int
        0 or 1: the index of the first object, where objects are numbers.
    place_base : int or None
        0 or 1: the number of the first place, where places were picked. None recognises it by a
        pick of the first place counted from 0, or of the last counted from 1.

    Raises
    ------
    FileError
        Missing, damaged, or no table.
    DataError
        Columns that make no answers, a pick that was not offered, places that may be counted from 0
        or from 1, or no answer left.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> table = Path(tempfile.mkdtemp(), "answers.csv")
    >>> _ = table.write_text("anchor,left,right,chosen\negg,ball,cup,ball\ncup,egg,ball,egg\n")
    >>> answers = import_table(table).answers
    >>> answers.objects.tolist(), answers.names
    ([[2, 0, 1], [1, 2, 0]], ('ball', 'cup', 'egg'))
    """
    is_json = Path(path).suffix.lower() == ".json"
    table = read_trials(path) if is_json else read_table(path, what="answers")
    rows = _select(table, where or {}, path)
    roles, question = _interpret(rows, columns or {}, place_base, path)
    objects, listed = _indices(question.shown, names, base)
    details = _details(rows, roles, path)
    invalid = _invalid(objects, question.picked, details.get("counts"))
    ordered = _in_order(question.kind, objects, question.picked)
    catch = _catch_trials(question.kind, ordered)
    kept, dropped, of_answers = _sift(invalid, catch, details)
    if len(rows) < len(table):
        dropped = {"filtered out by where": len(table) - len(rows), **dropped}
    answers = Answers.from_array(
        ordered[kept], base=base, kind=question.kind, names=listed, **of_answers
    )
    return Imported(answers, dropped, _interpretation(roles, question))


def keep_valid(
    reasons: Mapping[str, Bool[np.ndarray, " t"]],
) -> tuple[Bool[np.ndarray, " t"], dict[str, int]]:
    """Which trials no reason excludes, and how many each excludes first.

    Raises
    ------
    DataError
        All trials are excluded.
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


def to_csv(answers: Answers, path: PathLike) -> None:
    """Write a table of answers.

    Its columns are a, b and odd, or reference, closer, farther, farther2, and so on. Columns of
    weight, person and seconds follow, where they are known.

    Raises
    ------
    DataError
        A name of an object would not come back from a table as it is.
    """
    import pandas as pd

    further = [f"farther{i}" for i in range(2, answers.objects.shape[1] - 1)]
    titles = [*COLUMNS.get(answers.kind, COLUMNS["anchor"]), *further]
    shown = answers.objects
    if answers.names is not None:
        _check_names([answers.names[i] for i in answers.named().tolist()])
        shown = np.array(answers.names, dtype=object)[answers.objects]
    table = pd.DataFrame(shown, columns=titles)
    details = {"weight": answers.weights, "person": answers.person, "seconds": answers.seconds}
    for title, values in details.items():
        if values is not None:
            table[title] = values
    write_text(path, table.to_csv(index=False))


def _check_names(names: Sequence[str]) -> None:
    """Raise a DataError for names of objects that a table would change."""
    changed = [name for name in names if _parts(name) != [name] or name in ("", *NONE)]
    if not changed and names and all(map(_INTEGER.fullmatch, names)):
        changed = list(names)
    if changed:
        raise DataError(
            f"an object is named {changed[0]!r}, which a table would change. Save .npz, or rename "
            "it."
        )


def _sift(
    invalid: Mapping[str, Bool[np.ndarray, " t"]],
    catch: _CatchTrials,
    details: Mapping[str, np.ndarray],
) -> tuple[Bool[np.ndarray, " t"], dict[str, int], dict[str, Any]]:
    """Which trials are answers, how many are not by reason, and the details of those that are.

    The details include the results of catch trials, which votes do not have.
    """
    no_test = {"catch trial": catch.is_catch, "equal alternatives": catch.has_equal_alternatives}
    kept, dropped = keep_valid({**invalid, **no_test})
    of_answers: dict[str, Any] = {name: values[kept] for name, values in details.items()}
    is_result = catch.is_catch & keep_valid(invalid)[0]
    if "counts" not in details and is_result.any():
        of_answers["catch_passed"] = catch.passed[is_result]
        if "person" in details:
            of_answers["catch_person"] = details["person"][is_result]
    return kept, dropped, of_answers


def _interpretation(roles: Mapping[str, list[str]], question: _Question) -> dict[str, Any]:
    """How the table was read: the columns of each role, and how picks are stated."""
    interpretation: dict[str, Any] = {
        "columns": {role: ", ".join(titles) for role, titles in roles.items()}
    }
    if question.picked_as is not None:
        interpretation["picked"] = question.picked_as
    return interpretation


def _interpret(
    table: pd.DataFrame, stated: Mapping[str, str], place_base: int | None, path: PathLike
) -> tuple[dict[str, list[str]], _Question]:
    """The columns of each role, and what the trials asked."""
    is_study = _STUDY_COLUMNS.issubset(table)
    if is_study:
        table = _with_chosen_images(table)
    roles = _roles(table, stated, path)
    if is_study and (table["kind"] == "anchor").all():
        roles = _with_reference(roles)
    return roles, _question(table, roles, place_base, path)


def _select(table: pd.DataFrame, where: Mapping[str, str], path: PathLike) -> pd.DataFrame:
    """The rows that have the stated values."""
    for column, value in where.items():
        table = table[_cells(table, column, path)[:, 0] == value]
        if table.empty:
            raise DataError(f"{path} has no row in which {column} is {value!r}.")
    return table


def _with_chosen_images(table: pd.DataFrame) -> pd.DataFrame:
    """The table of a study with names as they were, and the image chosen for its place from 1."""
    import pandas as pd

    images = table[[*_STUDY_IMAGES]].replace(_FORMULA_GUARD, "", regex=True)
    place = pd.to_numeric(table["choice"], errors="coerce").fillna(0).astype(int).to_numpy()
    chosen = np.full(len(table), "", dtype=object)
    for number, image in enumerate(_STUDY_IMAGES, start=1):
        chosen = np.where(place == number, images[image], chosen)
    return table.assign(**images, choice=chosen)


def _with_reference(roles: dict[str, list[str]]) -> dict[str, list[str]]:
    """The roles of a study in which the first image is the reference of the two others."""
    renamed = {"a": "reference", "b": "left", "c": "right"}
    return {renamed.get(role, role): titles for role, titles in roles.items()}


def _roles(table: pd.DataFrame, stated: Mapping[str, str], path: PathLike) -> dict[str, list[str]]:
    """Which columns play which role: as stated, else by name."""
    roles = {role: re.split(r"\s*,\s*", text.strip()) for role, text in stated.items()}
    if unknown := roles.keys() - ROLES.keys():
        allowed = ", ".join(ROLES)
        raise DataError(f"{unknown.pop()!r} is not a role of a column; roles are {allowed}.")
    stated_columns = [column for titles in roles.values() for column in titles]
    for column in stated_columns:
        _check_column(table, column, path)
    column_of: dict[str, str] = {}
    for column in table:
        if column not in stated_columns:
            column_of.setdefault(_normalised(column), column)
    for role in ROLES.keys() - roles.keys():
        alias = next((alias for alias in ROLES[role] if alias in column_of), None)
        if alias is not None:
            numbered = [f"{alias}{number}" for number in range(2, 100)]
            further = [column_of[name] for name in numbered if name in column_of]
            roles[role] = [column_of[alias], *further]
    return {role: roles[role] for role in ROLES if role in roles}


def _normalised(title: str) -> str:
    """The title of a column in lower case, with underscores between its words."""
    return re.sub(r"\W+", "_", title).strip("_").lower()


def _question(
    table: pd.DataFrame, roles: dict[str, list[str]], place_base: int | None, path: PathLike
) -> _Question:
    """The kind of the trials, what they showed, and which column was picked."""
    has_reference = "reference" in roles
    readable = [
        shown_roles
        for shown_roles in _SHOWN_ROLES
        if ("reference" in shown_roles) == has_reference and roles.keys() >= {*shown_roles}
    ]
    pick_role = next((role for role in ("closer", "odd", "chosen") if role in roles), None)
    is_answered = pick_role is not None or roles.keys() >= {"left_votes", "right_votes"}
    if not readable or not is_answered:
        raise DataError(
            f"{path} has the columns {', '.join(list(table)[:12])}; answers need a, b and odd, or "
            "a, b, c (or stimuli) and odd, or reference, closer and farther, or reference, left "
            "and right (or choices) and chosen. State the column of each role: glocal data import "
            "--column ROLE=COLUMN, in Python columns={'ROLE': 'COLUMN'}."
        )
    shown_roles = readable[0]
    shown = _shown(table, [column for role in shown_roles for column in roles[role]], path)
    picked_as = None
    if shown_roles[-1] == "odd":
        picked = np.full(len(table), 2)
    elif shown_roles[-1] == "farther" or pick_role is None:
        picked = np.full(len(table), 1)
    else:
        first = int(has_reference)
        words = shown_roles[first:] if len(shown_roles) > 2 else ()
        picks = _cells(table, roles[pick_role][0], path)[:, 0]
        place, picked_as = _picked(picks, shown[:, first:], words, place_base, path)
        picked = np.where(place >= 0, place + first, -1)
    picked = np.where((shown != "").all(axis=1), picked, -1)
    return _Question(_kind(has_reference, shown.shape[1]), shown, picked, picked_as)


def _kind(has_reference: bool, width: int) -> str:
    """The kind of answers of trials that show so many objects."""
    if not has_reference:
        return "odd-one-out"
    return "anchor" if width == 3 else "nearest-of-n"


def _shown(
    table: pd.DataFrame, columns: Iterable[str], path: PathLike
) -> Shaped[np.ndarray, "t m"]:
    """The objects of each trial as texts, in as many columns as most trials need."""
    shown = np.concatenate([_cells(table, column, path) for column in columns], axis=1)
    if shown.shape[1] < 3:
        raise DataError(
            f"{path} shows {shown.shape[1]} things in each trial; an answer is about three or more."
        )
    numbers = np.count_nonzero(shown != "", axis=1)
    usual = int(np.bincount(numbers[numbers >= 3], minlength=4).argmax())
    width = max(3, usual)  # the largest number instead would drop all for one trial with more
    return np.where((numbers > width)[:, None], "", shown)[:, :width]


def _check_column(table: pd.DataFrame, column: str, path: PathLike) -> None:
    """Raise a DataError where the table has no such column."""
    if column not in table:
        existing = ", ".join(list(table)[:12])
        raise DataError(f"{path} has no column {column!r}; it has {existing}.")


def _cells(table: pd.DataFrame, column: str, path: PathLike) -> Shaped[np.ndarray, "t k"]:
    """The cells of a column as texts, lists in as many columns as the longest needs."""
    import pandas as pd

    _check_column(table, column, path)
    member, distinct = pd.factorize(table[column])  # most tables name few objects often
    padded = [*zip_longest(*map(_parts, distinct), fillvalue="")]
    return np.array(padded, dtype=np.str_).T[member]


def _parts(cell: str) -> list[str]:
    """The parts of a cell that is a JSON list, or the cell; of HTML the source of what it shows.

    >>> _parts('["egg", "<img src=img/cup.png>"]'), _parts(" egg"), _parts("[egg")
    (['egg', 'img/cup.png'], ['egg'], ['[egg'])
    """
    try:
        parts = json.loads(cell) if cell.startswith("[") else None
    except ValueError:
        parts = None
    if parts is not None:
        return [_parts(json_text(part))[0] for part in parts] or [""]
    source = re.search(r"""\ssrc\s*=\s*["']?([^"'\s>]+)""", cell[:1000]) if "<" in cell else None
    return [source[1] if source else cell.strip()]


def _picked(
    texts: Shaped[np.ndarray, " t"],
    offered: Shaped[np.ndarray, "t k"],
    column_words: Sequence[str],
    place_base: int | None,
    path: PathLike,
) -> tuple[Int[np.ndarray, " t"], str]:
    """Which offered column was picked, -1 for none, and what the cells hold that say so."""
    import pandas as pd

    # rows with a candidate missing are another kind of trial, and answer other questions
    is_answered = (texts != "") & (offered != "").all(axis=1)
    columns = np.arange(offered.shape[1])
    places = pd.to_numeric(texts, errors="coerce")[:, None]
    is_object = offered == texts[:, None]
    readings = {
        "object": is_object,
        "name of its column": np.char.lower(texts)[:, None] == np.array(column_words or ("",)),
        "place counted from 0": places == columns,
        "place counted from 1": places == columns + 1,
    }
    if place_base is not None:
        del readings[f"place counted from {1 - place_base}"]
    fitting = [
        name for name, is_picked in readings.items() if is_picked[is_answered].any(axis=1).all()
    ]
    if not fitting:
        row = int(np.flatnonzero(is_answered & ~is_object.any(axis=1))[0])
        raise DataError(
            f"{path}: in trial {row} {texts[row][:60]!r} was picked among "
            f"{', '.join(offered[row])[:200]}; it must be one of these objects, the name of its "
            "column, or its place counted from 0 or 1."
        )
    if len(fitting) == 2 and fitting[0].startswith("place"):
        raise DataError(
            f"{path}: the places that were picked, {', '.join(np.unique(texts[is_answered]))}, may "
            "be counted from 0 or from 1. State which: `place_base=0` or `place_base=1`."
        )
    is_picked = readings[fitting[0]]
    return np.where(is_answered, is_picked.argmax(axis=1), -1), fitting[0]


def _in_order(
    kind: str, objects: Int[np.ndarray, "t m"], picked: Int[np.ndarray, " t"]
) -> Int[np.ndarray, "t m"]:
    """The columns in the order of `Answers`: the odd one last, or the pick after the reference."""
    column = np.arange(objects.shape[1])
    is_picked = column == picked[:, None]
    if kind == "odd-one-out":
        rank = is_picked.astype(int)
    else:
        rank = np.where(is_picked, 1, 2)
        rank[:, 0] = 0
    return np.take_along_axis(objects, np.argsort(rank, axis=1, kind="stable"), axis=1)


def _catch_trials(kind: str, ordered: Int[np.ndarray, "t m"]) -> _CatchTrials:
    """Find the trials that show an object twice.

    One answer is right where it is the third object beside two equal ones, or the alternative that
    is the reference itself.
    """
    repeats = np.count_nonzero(np.diff(np.sort(ordered, axis=1), axis=1) == 0, axis=1)
    is_catch = repeats == 1
    if kind != "odd-one-out":
        is_catch &= (ordered[:, 1:] == ordered[:, :1]).any(axis=1)
    return _CatchTrials(is_catch, ordered[:, 0] == ordered[:, 1], (repeats > 0) & ~is_catch)


def _indices(
    shown: Shaped[np.ndarray, "t m"], names: Sequence[str] | None, base: int
) -> tuple[Int[np.ndarray, "t m"], Sequence[str] | None]:
    """Objects as integers, -1 for none, -2 for a name that is not listed; and the list of names."""
    distinct, member = np.unique(shown, return_inverse=True)
    texts = distinct.tolist()
    numbers = _integers(distinct)
    are_listed = names is not None and not base and {*texts} - {""} <= {*names}
    if numbers is not None and not are_listed:
        if numbers.min() < _MISSING:
            raise DataError(
                f"a trial names object {numbers.min()}; indices of objects must be at least 0."
            )
        return numbers[member.reshape(shown.shape)], names
    if base:
        raise DataError("the objects of the trials are names, not numbers; leave out `base=1`.")
    if names is None:
        listed = [text for text in texts if text]
        index_of = {name: index for index, name in enumerate(listed)}
    else:
        listed = list(names)
        index_of = {object_name(name): index for index, name in enumerate(listed)}
        index_of |= {name: index for index, name in enumerate(listed)}
    index_of[""] = _MISSING
    indices = [index_of.get(text, index_of.get(object_name(text), _UNLISTED)) for text in texts]
    if max(indices) < 0:
        raise DataError(
            f"none of the names in the trials (first {texts[-1]!r}) is in the list of object ids."
        )
    return np.array(indices)[member.reshape(shown.shape)], listed


def _integers(texts: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"] | None:
    """Texts as integers, empty ones as -1; None if any of them is not an integer."""
    if not all(map(_INTEGER.fullmatch, {*texts.tolist()} - {""})):
        return None
    return np.array([int(text.partition(".")[0]) if text else _MISSING for text in texts.tolist()])


def _invalid(
    objects: Int[np.ndarray, "t m"],
    picked: Int[np.ndarray, " t"],
    votes: Float[np.ndarray, "t 2"] | None,
) -> dict[str, Bool[np.ndarray, " t"]]:
    """Which trials are no answers, by reason."""
    reasons = {
        "an object that is not in the list of object ids": (objects == _UNLISTED).any(axis=1),
        "an object is missing, or one too many": (objects == _MISSING).any(axis=1),
        "no answer": picked < 0,
    }
    if votes is not None:
        reasons["no vote"] = votes.sum(axis=1) == 0
    return reasons


def _details(
    table: pd.DataFrame, roles: dict[str, list[str]], path: PathLike
) -> dict[str, np.ndarray]:
    """The other arguments of `Answers.from_array` for each trial: what the columns say.

    A negative time is unknown.
    """
    details: dict[str, np.ndarray] = {}
    votes = _votes(table, roles, path)
    if votes is not None:
        details["counts"] = votes
    if "seconds" in roles or "milliseconds" in roles:
        role = "seconds" if "seconds" in roles else "milliseconds"
        seconds = _numbers(table, roles[role][0], path) * (1 if role == "seconds" else 1e-3)
        details["seconds"] = np.where(seconds < 0, np.nan, seconds)
    if "weight" in roles:
        details["weights"] = _numbers(table, roles["weight"][0], path)
    if "person" in roles:
        person = _cells(table, roles["person"][0], path)[:, 0]
        numbers = None if (person == "").any() else _integers(person)
        details["person"] = person if numbers is None else numbers
    return details


def _numbers(table: pd.DataFrame, column: str, path: PathLike) -> Float[np.ndarray, " t"]:
    """The numbers of a column, NaN for an empty cell."""
    try:
        # NOTE pd.to_numeric of pandas 2 may miss a text's number by its last digit
        return table[column].replace("", "nan").to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: the column {column!r} must hold numbers ({error}).") from error


def _votes(
    table: pd.DataFrame, roles: dict[str, list[str]], path: PathLike
) -> Float[np.ndarray, "t 2"] | None:
    """The votes for both alternatives; shares (which sum to 1) times the number of votes."""
    if not roles.keys() >= {"left_votes", "right_votes"}:
        return None
    sides = [_numbers(table, roles[role][0], path) for role in ("left_votes", "right_votes")]
    votes = np.nan_to_num(np.stack(sides, axis=1))
    if "votes" in roles:
        number = np.nan_to_num(_numbers(table, roles["votes"][0], path))
        are_shares = np.isclose(votes.sum(axis=1), 1, atol=1e-3)
        votes[are_shares] *= number[are_shares, None]
    return votes
