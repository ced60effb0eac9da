"""Tables with named columns: which column says what was shown, what was picked, by whom and how fast."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import listed, whole
from glocal.data.importers.trials import Imported, Options, Trials, answers_in, real_numbers, whole_numbers
from glocal.errors import DataError, FileError
from glocal.files import PathLike
from glocal.jobs.leaving import existing_file

Table = dict[str, np.ndarray]
Roles = Mapping[str, Sequence[str]]

_MOST_BYTES = 1 << 30
_HTML = 1000  # characters that are searched for the source of what is shown
_FIX = "Save it as CSV with a first line that names its columns."
NONE = ["NA", "N/A", "NaN", "nan", "null", "None"]
_YES = {"1", "true", "yes", "catch"}

LIST = "list_of_trials"  # its number stands for a person where a file has several and nothing else tells people apart
# what a column may be called; the first name is the role itself, those with a number go on: farther, farther2, …
ALIASES: dict[str, tuple[str, ...]] = {
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
    "rating": ("rating", "similarity", "dissimilarity"),
    "person": ("person", "puid", "participant", "participant_id", "subject", "subject_id", "worker_id", "rater", LIST),
    "seconds": ("seconds", "response_seconds", "response_time"),
    "milliseconds": ("milliseconds", "rt", "rt_ms"),
    "weight": ("weight", "weights"),
    "catch": ("catch", "is_catch", "catch_trial"),
}


def read_csv(path: PathLike, options: Options) -> Imported:
    """Any table; which column plays which role is told, or taken from the names in `ALIASES`."""
    return from_table(read_table(path), str(path), options)


def from_table(table: Table, source: str, options: Options) -> Imported:
    """The answers in a table of named columns."""
    found = roles_in(table, source, options.columns)
    rows = selected(table, source, options.where)
    understood = {role: ", ".join(names) for role, names in found.items()}
    result = answers_in(_trials(rows, source, found), options, {"columns": understood})
    others = n_rows(table) - n_rows(rows)
    return replace(result, dropped=({"another kind of row": others} if others else {}) | result.dropped)


def n_rows(table: Table) -> int:
    """The number of rows."""
    return len(next(iter(table.values())))


def read_table(path: PathLike) -> Table:
    """The columns of a CSV file as texts; commas, semicolons or tabs between, quotes as spreadsheets write them."""
    import pandas as pd

    path = bounded(path)
    with whole(path, "CSV table", _FIX, what="answers"):
        with path.open(encoding="utf-8-sig") as stream:
            first = stream.readline(1 << 20)
        separator = max(",;\t", key=first.count)
        frame = pd.read_csv(
            path, sep=separator, dtype=str, na_values=NONE, keep_default_na=False, encoding="utf-8-sig"
        ).fillna("")
        if not len(frame):
            raise FileError(f"answers file {path} has no row below its first line. {_FIX}")
        return {str(name).strip(): frame[name].str.strip().to_numpy(dtype=object) for name in frame.columns}


def roles_in(table: Table, source: str, given: Mapping[str, str]) -> dict[str, list[str]]:
    """Which columns play which role: as told, else by name."""
    found: dict[str, list[str]] = {}
    for role, text in given.items():
        if role not in ALIASES:
            raise DataError(f"there is no role {role!r} of a column; roles are {', '.join(ALIASES)}.")
        found[role] = [part.strip() for part in text.split(",")]
        missing = [name for name in found[role] if name not in table]
        if missing:
            raise DataError(f"{source} has no column {missing[0]!r}; it has {listed(list(table))}.")
    taken = {name for names in found.values() for name in names}
    plain = {re.sub(r"\W+", "_", name).strip("_").lower(): name for name in reversed(table) if name not in taken}
    for role in ALIASES.keys() - found.keys():
        alias = next((alias for alias in ALIASES[role] if alias in plain), None)
        if alias:
            found[role] = [plain[alias], *(plain[more] for i in range(2, 100) if (more := f"{alias}{i}") in plain)]
    return {role: found[role] for role in ALIASES if role in found}


def selected(table: Table, source: str, where: Mapping[str, str]) -> Table:
    """The rows in which each of these columns has that value."""
    keep = np.ones(n_rows(table), dtype=bool)
    for name, value in where.items():
        if name not in table:
            raise DataError(f"{source} has no column {name!r}; it has {listed(list(table))}.")
        cells = np.array([_text(cell) for cell in table[name]], dtype=object)
        keep &= cells == value
        if not (cells == value).any():
            held = listed(sorted({str(cell)[:40] for cell in cells}))
            raise DataError(f"{source} has no row in which {name} is {value!r}; it has {held}.")
    return {name: cells[keep] for name, cells in table.items()}


def shown_in(text: str) -> str:
    """The source of the picture, sound or video that HTML shows; any other text as it is.

    >>> shown_in('<img src="img/egg.png" width=200>'), shown_in("egg")
    ('img/egg.png', 'egg')
    """
    found = re.search(r"""\ssrc\s*=\s*["']?([^"'\s>]+)""", text[:_HTML]) if "<" in text else None
    return found[1] if found else text


def person_of(table: Table, roles: Roles) -> np.ndarray | None:
    """Who gave each answer: integers if all are."""
    if "person" not in roles:
        return None
    cells = np.array([_text(cell) for cell in table[roles["person"][0]]], dtype=np.str_)
    numbers = None if (cells == "").any() else whole_numbers(cells)
    return cells if numbers is None else numbers


def flagged(table: Table, roles: Roles) -> np.ndarray | None:
    """Which rows a column says to be catch trials."""
    if "catch" not in roles:
        return None
    return np.array([_text(cell).lower() in _YES for cell in table[roles["catch"][0]]], dtype=bool)


def _trials(table: Table, source: str, roles: Roles) -> Trials:
    asked, kind, picks, words = _question(table, source, roles)
    if asked.shape[1] < 3:
        raise DataError(f"{source} shows {asked.shape[1]} things in each trial; an answer is about three or more.")
    n = len(asked)
    votes = None
    if "left_votes" in roles and "right_votes" in roles and kind == "anchor":
        votes, picked = _votes(table, roles), np.ones(n, dtype=np.int64)
    elif isinstance(picks, int):
        picked = np.full(n, picks)
    else:
        picked = _picked(np.array([_text(cell) for cell in picks], dtype=object), asked, kind, source, words)

    def numbers(role: str, scale: float = 1.0) -> np.ndarray | None:
        if role not in roles:
            return None
        cells = np.array([_text(cell) for cell in table[roles[role][0]]], dtype=object)
        return real_numbers(cells, role) * scale

    seconds = numbers("seconds")
    return Trials(
        kind,
        asked,
        picked,
        votes,
        person=person_of(table, roles),
        seconds=numbers("milliseconds", 1e-3) if seconds is None else seconds,
        weights=numbers("weight"),
        catch=flagged(table, roles),
    )


def _question(table: Table, source: str, roles: Roles) -> tuple[np.ndarray, str, Any, list[str]]:
    """The objects of each trial, their kind, the column or cells of what was picked, and words for the columns."""

    def cells(*names: str) -> np.ndarray:
        return _spread([table[column] for name in names for column in roles[name]])

    has = roles.keys()
    picks = next((table[roles[role][0]] for role in ("odd", "chosen") if role in has), None)
    if "reference" not in has:
        if "odd" in has and {"a", "b"} <= has and "c" not in has:
            return cells("a", "b", "odd"), "odd-one-out", 2, []
        sets: tuple[tuple[str, ...], ...] = (("a", "b", "c"), ("stimuli",))
        for names in sets:
            if set(names) <= has and picks is not None:
                return cells(*names), "odd-one-out", picks, ["a", "b", "c"]
    elif {"closer", "farther"} <= has:
        return _anchored(cells("reference", "closer", "farther"), 1, [])
    else:
        sets = (("choices",), ("left", "right"), ("a", "b"))
        for names in sets:
            picked = table[roles["closer"][0]] if "closer" in has else picks
            if set(names) <= has and (picked is not None or {"left_votes", "right_votes"} <= has):
                return _anchored(cells("reference", *names), picked, ["", *names] if len(names) == 2 else [])
    raise DataError(
        f"{source} has the columns {listed(list(table))}; answers need a, b and odd, or a, b, c (or stimuli) and odd, "
        "or reference, closer and farther, or reference, left and right (or choices) and chosen. Say which column is "
        "which with --column ROLE=COLUMN."
    )


def _anchored(asked: np.ndarray, picks: Any, words: list[str]) -> tuple[np.ndarray, str, Any, list[str]]:
    return asked, "anchor" if asked.shape[1] == 3 else "nearest-of-n", picks, words


def _spread(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Columns of cells side by side as texts; a cell that is a list, or JSON of one, is as many columns."""
    import pandas as pd

    blocks = []
    for column in columns:
        try:
            of, distinct = pd.factorize(column, use_na_sentinel=False)  # most tables name few objects often
        except TypeError:  # lists
            of, distinct = np.arange(len(column)), column
        lists = [[shown_in(text) for text in _list(cell)] for cell in distinct]
        width = max(map(len, lists), default=1)
        blocks.append(np.array([[*cells, *[""] * (width - len(cells))] for cells in lists], dtype=np.str_)[of])
    return np.concatenate(blocks, axis=1)


def _list(cell: object) -> list[str]:
    if isinstance(cell, str) and cell.startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            return [str(cell)]
    return [_text(one) for one in cell] if isinstance(cell, list) else [_text(cell)]


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell is None else str(int(cell)) if isinstance(cell, bool) else json.dumps(cell)


def _picked(cells: np.ndarray, asked: np.ndarray, kind: str, source: str, words: list[str]) -> np.ndarray:
    """The column of what was picked: the cell holds the object, its place from 0 or 1, or a word such as left."""
    first = 0 if kind == "odd-one-out" else 1
    cells = np.where((asked != "").sum(axis=1) < 3, "", cells)  # rows of another kind answer other questions
    given = cells != ""
    texts = np.array([shown_in(cell) for cell in cells], dtype=np.str_)
    offered = texts[:, None] == asked
    offered[:, :first] = False
    if (offered.any(axis=1) | ~given).all():
        return np.where(given, offered.argmax(axis=1), -1)
    lowered = np.char.lower(texts)
    if words and np.isin(lowered[given], words[first:]).all():
        return np.where(given, np.array([words.index(text) if text else -1 for text in lowered]), -1)
    places, n = whole_numbers(texts), asked.shape[1] - first
    if places is not None and given.any():
        low, high = int(places[given].min()), int(places[given].max())
        base = 0 if low >= 0 and high < n else 1 if low >= 1 and high <= n else None
        if base is not None:
            return np.where(given, places + first - base, -1)
    row = int(np.flatnonzero(given & ~offered.any(axis=1))[0])
    or_words = f", or {' or '.join(words[first:])}" if words else ""
    raise DataError(
        f"{source}: in trial {row} {texts[row][:60]!r} was picked among {', '.join(asked[row, first:])[:200]}; it must "
        f"be one of these objects, its place counted from 0 or 1{or_words}."
    )


def _votes(table: Table, roles: Roles) -> np.ndarray:
    """Votes for both alternatives; where these are shares (they sum to 1) of a number of votes, the product."""
    sides = [real_numbers(table[roles[role][0]], role) for role in ("left_votes", "right_votes")]
    votes = np.nan_to_num(np.stack(sides, axis=1), nan=0.0)
    if "votes" in roles:
        number = np.nan_to_num(real_numbers(table[roles["votes"][0]], "votes"), nan=0.0)
        total = votes.sum(axis=1)
        share = np.isclose(total, 1, atol=1e-3)
        wrong = ~share & ~np.isclose(total, number)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"trial {row} has votes {votes[row].tolist()} of {number[row]:g}; they must sum to 1 or to that number."
            )
        votes = np.where(share[:, None], votes * number[:, None], votes)
    return votes


def bounded(path: PathLike) -> Path:
    """The path of a file that is there and small enough to be read at once."""
    path = existing_file(path, what="answers")
    if path.stat().st_size > _MOST_BYTES:
        raise FileError(
            f"answers file {path} has more than {_MOST_BYTES} bytes, the most that is read. Cut it in parts."
        )
    return path
