"""Tables of answers, CSV or JSON: which column says what was shown, what was picked, and by whom; a table written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.data.answers import Answers
from glocal.data.features import object_name
from glocal.data.tables import COLUMNS, NONE, json_text, read_table, read_trials
from glocal.errors import DataError
from glocal.files import PathLike, write_text

if TYPE_CHECKING:
    import pandas as pd

# what the column of a role may be called; those with a number go on: farther, farther2, …
ROLES: dict[str, tuple[str, ...]] = {
    "reference": ("reference", "ref", "anchor", "head", "target", "center", "query", "ref_path"),
    "closer": ("closer", "close", "nearest", "near", "winner"),
    "farther": ("farther", "far", "loser"),
    "left": ("left", "left_path"),
    "right": ("right", "right_path"),
    "choices": ("choices",),
    "a": ("a", "image1"),
    "b": ("b", "image2"),
    "c": ("c", "image3"),
    "stimuli": ("stimuli", "images"),
    "odd": ("odd", "odd_one_out"),
    "chosen": ("chosen", "choice", "answer", "response", "selected"),
    "left_votes": ("left_votes", "left_vote"),
    "right_votes": ("right_votes", "right_vote"),
    "votes": ("votes",),
    "person": (
        *("person", "puid", "participant", "participant_id", "subject", "subject_id", "worker_id", "rater"),
        "list_of_trials",  # its number stands for a person where a JSON file has several and nothing else tells them
    ),
    "seconds": ("seconds", "response_seconds", "response_time"),
    "milliseconds": ("milliseconds", "rt", "rt_ms"),
    "weight": ("weight", "weights"),
}
# the roles of the columns that show the objects of a trial; the first whose columns are there
_SHOWN = (
    *(("a", "b", "c"), ("a", "b", "odd"), ("stimuli",), ("reference", "closer", "farther")),
    *(("reference", "choices"), ("reference", "left", "right"), ("reference", "a", "b")),
)
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.0*)?")  # 007 and 1_0 are names
_NOBODY, _NOT_LISTED = -1, -2


@dataclass(frozen=True, eq=False)
class Imported:
    """Answers, how many trials were left out for which reason, and how the file was interpreted."""

    answers: Answers
    dropped: dict[str, int] = field(default_factory=dict)
    understood: dict[str, Any] = field(default_factory=dict)


def import_table(
    path: PathLike,
    *,
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
    names: Sequence[str] | None = None,
    base: int = 0,
) -> Imported:
    r"""Read answers from a table: CSV with commas, semicolons or tabs between, or JSON as jsPsych writes it.

    A trial is about a, b and the odd one; or a, b, c (or a list of stimuli) and which of them is odd; or a reference,
    the closer and the farther ones; or a reference, left and right (or a list of choices), and what was picked or the
    votes for both. What was picked is the object itself, the name of its column, or its place, counted from 0 or 1. Of
    a ranking, in several columns of the closer ones or as a list of what was picked, the first choice is read.

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

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> table = Path(tempfile.mkdtemp(), "answers.csv")
    >>> _ = table.write_text("anchor,left,right,chosen\negg,ball,cup,ball\ncup,egg,ball,egg\n")
    >>> found = import_table(table).answers
    >>> found.objects.tolist(), found.names
    ([[2, 0, 1], [1, 2, 0]], ('ball', 'cup', 'egg'))
    """
    table = read_trials(path) if Path(path).suffix.lower() == ".json" else read_table(path, what="answers")
    n_read = len(table)
    for name, value in (where or {}).items():
        table = table[_cells(table, name, path)[:, 0] == value]
        if table.empty:
            raise DataError(f"{path} has no row in which {name} is {value!r}.")
    roles = _roles(table, columns or {}, path)
    kind, shown, picked = _question(table, roles, path)
    objects, listed = _indices(shown, names, base)
    ordered = _in_order(kind, objects, picked)
    catch, passed, useless = _catch(kind, ordered)
    known, votes = _known(table, roles, path), _votes(table, roles, path)
    reasons = {
        "an object that is not in the list of object ids": (objects == _NOT_LISTED).any(axis=1),
        "an object is missing, or one too many": (objects == _NOBODY).any(axis=1),
        "no answer": picked < 0,
        "no vote": np.zeros(len(table), dtype=bool) if votes is None else votes.sum(axis=1) == 0,
    }
    caught = catch & sifted(reasons)[0] & (votes is None)
    taken, dropped = sifted(reasons | {"catch trial": catch, "equal alternatives": useless})
    if len(table) < n_read:
        dropped = {"another kind of row": n_read - len(table), **dropped}
    of_answers = {name: values[taken] for name, values in known.items()}
    if votes is not None:
        of_answers["counts"] = votes[taken]
    if caught.any():
        of_answers["catch_passed"] = passed[caught]
        of_answers["catch_person"] = known["person"][caught] if "person" in known else None
    answers = Answers.from_array(ordered[taken], base=base, kind=kind, names=listed, **of_answers)
    return Imported(answers, dropped, {"columns": {role: ", ".join(of) for role, of in roles.items()}})


def sifted(reasons: Mapping[str, Bool[np.ndarray, " t"]]) -> tuple[Bool[np.ndarray, " t"], dict[str, int]]:
    """Which trials no reason speaks against, and how many each leaves out first; a DataError where none is left."""
    left, dropped = np.ones(len(next(iter(reasons.values()))), dtype=bool), {}
    for reason, rows in reasons.items():
        if n := int((left & rows).sum()):
            dropped[reason] = n
        left &= ~rows
    if not left.any():
        told = "; ".join(f"{n} × {reason}" for reason, n in dropped.items()) or "the file has none"
        raise DataError(f"no answer is left of {len(left)} trials: {told}.")
    return left, dropped


def to_csv(answers: Answers, path: PathLike) -> None:
    """Write a table of answers: a, b, odd, or reference, closer, farther, farther2, …; then weight, person and seconds.

    Raises
    ------
    DataError
        A name of an object would not come back from a table as it is.
    """
    import pandas as pd

    width, names = answers.objects.shape[1], answers.names
    titles = COLUMNS.get(answers.kind, COLUMNS["anchor"]) + tuple(f"farther{i}" for i in range(2, width - 1))
    shown = answers.objects if names is None else np.array(names, dtype=object)[answers.objects]
    used = [] if names is None else [names[i] for i in answers.named().tolist()]
    changed = [name for name in used if _parts(name) != [name] or name in ("", *NONE)]
    if changed or (used and all(map(_WHOLE.fullmatch, used))):
        raise DataError(
            f"an object is named {(changed or used)[0]!r}, which a table would change. Save .npz, or rename it."
        )
    known = {"weight": answers.weights, "person": answers.person, "seconds": answers.seconds}
    table = pd.DataFrame(shown, columns=titles)
    table = table.assign(**{name: values for name, values in known.items() if values is not None})
    write_text(path, table.to_csv(index=False))


def _roles(table: pd.DataFrame, given: Mapping[str, str], path: PathLike) -> dict[str, list[str]]:
    """Which columns play which role: as stated, else by name."""
    found = {role: [part.strip() for part in text.split(",")] for role, text in given.items()}
    if unknown := found.keys() - ROLES.keys():
        raise DataError(f"{unknown.pop()!r} is not a role of a column; roles are {', '.join(ROLES)}.")
    stated = [name for names in found.values() for name in names]
    for name in stated:
        _cells(table, name, path)  # says so where there is no such column
    plain = {re.sub(r"\W+", "_", name).strip("_").lower(): name for name in reversed([*table]) if name not in stated}
    for role in ROLES.keys() - found.keys():
        if alias := next((alias for alias in ROLES[role] if alias in plain), None):
            found[role] = [plain[alias], *(plain[more] for i in range(2, 100) if (more := f"{alias}{i}") in plain)]
    return {role: found[role] for role in ROLES if role in found}


def _question(
    table: pd.DataFrame, roles: dict[str, list[str]], path: PathLike
) -> tuple[str, Shaped[np.ndarray, "t m"], Int[np.ndarray, " t"]]:
    """The kind, the objects of each trial as texts, and the column of the one that was picked."""
    star = "reference" in roles
    names = next((names for names in _SHOWN if ("reference" in names) == star and set(names) <= roles.keys()), ())
    pick = next((roles[role][0] for role in ("closer", "odd", "chosen") if role in roles), None)
    voted = {"left_votes", "right_votes"} <= roles.keys()
    if not names or not (pick or voted):
        raise DataError(
            f"{path} has the columns {', '.join(list(table)[:12])}; answers need a, b and odd, or a, b, c (or stimuli) "
            "and odd, or reference, closer and farther, or reference, left and right (or choices) and chosen. State "
            "which column is which: columns={ROLE: COLUMN}."
        )
    shown = np.concatenate([_cells(table, column, path) for name in names for column in roles[name]], axis=1)
    if shown.shape[1] < 3:
        raise DataError(f"{path} shows {shown.shape[1]} things in each trial; an answer is about three or more.")
    shows = np.count_nonzero(shown != "", axis=1)
    most = max(3, int(np.bincount(shows[shows >= 3], minlength=4).argmax()))  # else one trial with more would drop all
    shown = np.where((shows > most)[:, None], "", shown)[:, :most]
    if names[-1] in ("odd", "farther") or pick is None:
        picked = np.full(len(table), 2 if names[-1] == "odd" else 1)
    else:
        words = [*names[star:]] if len(names) > 2 else []
        picked = star + _picked(_cells(table, pick, path)[:, 0], shown[:, star:], words, path)
    kind = "odd-one-out" if not star else "anchor" if shown.shape[1] == 3 else "nearest-of-n"
    return kind, shown, np.where((shown != "").all(axis=1), picked, -1)


def _cells(table: pd.DataFrame, name: str, path: PathLike) -> Shaped[np.ndarray, "t k"]:
    """The cells of a column as texts, those that are lists in as many columns as the longest needs."""
    import pandas as pd

    if name not in table:
        raise DataError(f"{path} has no column {name!r}; it has {', '.join(list(table)[:12])}.")
    member, distinct = pd.factorize(table[name])  # most tables name few objects often
    return np.array([*zip_longest(*map(_parts, distinct), fillvalue="")], dtype=np.str_).T[member]


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
    texts: Shaped[np.ndarray, " t"], offered: Shaped[np.ndarray, "t k"], words: list[str], path: PathLike
) -> Int[np.ndarray, " t"]:
    """Which of what was offered was picked: a cell holds the object, the name of its column, or its place."""
    import pandas as pd

    given = (texts != "") & (offered != "").all(axis=1)  # rows of another kind answer other questions
    columns = np.arange(offered.shape[1])
    place = pd.to_numeric(texts, errors="coerce")[:, None]
    is_object = offered == texts[:, None]
    is_column = np.char.lower(texts)[:, None] == np.array(words or [""])
    for is_picked in (is_object, is_column, place == columns, place == columns + 1):
        if is_picked[given].any(axis=1).all():
            return np.where(given, is_picked.argmax(axis=1), -len(columns))  # below 0 beside a reference, too
    row = int(np.flatnonzero(given & ~is_object.any(axis=1))[0])
    raise DataError(
        f"{path}: in trial {row} {texts[row][:60]!r} was picked among {', '.join(offered[row])[:200]}; it must be one "
        "of these objects, the name of its column, or its place counted from 0 or 1."
    )


def _in_order(kind: str, objects: Int[np.ndarray, "t m"], picked: Int[np.ndarray, " t"]) -> Int[np.ndarray, "t m"]:
    """The columns in the order of `Answers`: the odd one last, or the picked one after the reference."""
    column = np.arange(objects.shape[1])
    chosen = column == picked[:, None]
    rank = chosen.astype(int) if kind == "odd-one-out" else np.where(column == 0, 0, np.where(chosen, 1, 2))
    return np.take_along_axis(objects, np.argsort(rank, axis=1, kind="stable"), axis=1)


def _catch(
    kind: str, ordered: Int[np.ndarray, "t m"]
) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
    """Which trials have one right answer, whether it was given, and which have equal objects that teach nothing.

    The right answer is the third object beside two equal ones, or the alternative that is the reference itself.
    """
    repeats = np.count_nonzero(np.diff(np.sort(ordered, axis=1), axis=1) == 0, axis=1)
    known = repeats == 1
    if kind != "odd-one-out":
        known &= (ordered[:, 1:] == ordered[:, :1]).any(axis=1)
    return known, ordered[:, 0] == ordered[:, 1], (repeats > 0) & ~known


def _indices(
    shown: Shaped[np.ndarray, "t m"], names: Sequence[str] | None, base: int
) -> tuple[Int[np.ndarray, "t m"], Sequence[str] | None]:
    """Objects as integers, -1 where there is none, -2 where a name is not in the list; and the list of their names."""
    distinct, member = np.unique(shown, return_inverse=True)
    texts, numbers = distinct.tolist(), _integers(distinct)
    if numbers is not None and not (names is not None and not base and {*texts} - {""} <= {*names}):
        if numbers.min() < _NOBODY:
            raise DataError(f"a trial names object {numbers.min()}; indices of objects must be at least 0.")
        return numbers[member.reshape(shown.shape)], names
    if base:
        raise DataError("the objects of the trials are names, not numbers; leave out base=1.")
    listed = [text for text in texts if text] if names is None else list(names)
    place = {object_name(name): i for i, name in enumerate(listed)} if names is not None else {}
    place |= {name: i for i, name in enumerate(listed)} | {"": _NOBODY}
    found = np.array([place.get(text, place.get(object_name(text), _NOT_LISTED)) for text in texts])
    if found.max() < 0:
        raise DataError(f"none of the names in the trials (first {texts[-1]!r}) is in the list of object ids.")
    return found[member.reshape(shown.shape)], listed


def _integers(texts: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"] | None:
    """Texts as integers, empty ones as -1; None if any of them is not an integer."""
    if not all(map(_WHOLE.fullmatch, {*texts.tolist()} - {""})):
        return None
    return np.array([int(text.partition(".")[0]) if text else _NOBODY for text in texts.tolist()])


def _known(table: pd.DataFrame, roles: dict[str, list[str]], path: PathLike) -> dict[str, Any]:
    """Persons, integers if all are, seconds, of which a negative one is none, and weights: what the columns have."""
    found: dict[str, Any] = {}
    for role, name, scale in (("milliseconds", "seconds", 1e-3), ("seconds", "seconds", 1), ("weight", "weights", 1)):
        if role in roles:
            values = scale * _numbers(table, roles[role][0], path)
            found[name] = np.where(values < 0, np.nan, values) if name == "seconds" else values
    if "person" in roles:
        person = _cells(table, roles["person"][0], path)[:, 0]
        numbers = None if (person == "").any() else _integers(person)
        found["person"] = person if numbers is None else numbers
    return found


def _numbers(table: pd.DataFrame, name: str, path: PathLike) -> Float[np.ndarray, " t"]:
    import pandas as pd

    try:
        # NOTE pd.to_numeric of pandas 2 may miss a text's number by its last digit
        return table[name].replace("", "nan").to_numpy(dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path}: the column {name!r} must hold numbers ({error}).") from error


def _votes(table: pd.DataFrame, roles: dict[str, list[str]], path: PathLike) -> Float[np.ndarray, "t 2"] | None:
    """Votes for both alternatives, if there are any; where they are shares of a number (they sum to 1), the product."""
    if not {"left_votes", "right_votes"} <= roles.keys():
        return None
    columns = [roles[role][0] for role in ("left_votes", "right_votes", "votes") if role in roles]
    left, right, *number = (np.nan_to_num(_numbers(table, column, path)) for column in columns)
    votes = np.stack([left, right], axis=1)
    if number:
        shares = np.isclose(left + right, 1, atol=1e-3)
        votes[shares] *= number[0][shares, None]
    return votes
