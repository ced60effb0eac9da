"""Tables of systems that name their columns themselves: salmon's responses, the votes of NIGHTS, jsPsych's trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import listed
from glocal.data.importers.columns import (
    LIST,
    Table,
    bounded,
    from_table,
    n_rows,
    read_table,
    selected,
    shown_in,
)
from glocal.data.importers.trials import Imported, Options, whole_numbers
from glocal.errors import DataError, FileError
from glocal.files import PathLike, read_lines
from glocal.jobs.leaving import read_json

_MOST_TARGETS = 1 << 20  # an index in a damaged file may be any number
SALMON = ("head", "left", "right", "winner")
NIGHTS = ("ref_path", "left_path", "right_path", "left_vote", "right_vote")


def read_salmon(path: PathLike, options: Options) -> Imported:
    """The responses that salmon lets one download; objects are named as the pictures, or the texts, that were shown."""
    table = _with_columns(SALMON, path, "salmon's responses")
    names = _salmon_names(table) if options.names is None else options.names
    rows = selected(table, str(path), options.where)
    left, right, winner = (_as_numbers(rows[name]) for name in ("left", "right", "winner"))
    strange = (winner != left) & (winner != right) & (rows["winner"] != "")
    if strange.all():
        raise DataError(f"{path}: the winner of none of {len(strange)} rows is left or right, as salmon writes it.")
    kept = {name: cells[~strange] for name, cells in rows.items()}
    kept["loser"] = np.where(winner == left, rows["right"], rows["left"])[~strange]
    columns = {"reference": "head", "closer": "winner", "farther": "loser"}
    found = from_table(kept, str(path), replace(options, columns=columns, where={}, names=names))
    counts = {
        "another kind of row": n_rows(table) - n_rows(rows),
        "a winner that is neither left nor right": int(strange.sum()),
    }
    return replace(found, dropped={reason: n for reason, n in counts.items() if n} | found.dropped)


def read_nights(path: PathLike, options: Options) -> Imported:
    """DreamSim's ``data.csv``: both pictures of a row are answers, weighted by their votes."""
    return from_table(_with_columns(NIGHTS, path, "the tables of NIGHTS"), str(path), options)


def read_jspsych(path: PathLike, options: Options) -> Imported:
    """Trials of jsPsych as JSON: one list, a list for each person, or a JSON text on each line."""
    return from_table(_jspsych_table(bounded(path)), str(path), options)


def _with_columns(columns: Sequence[str], path: PathLike, what: str) -> Table:
    table = read_table(path)
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}, which {what} have; it has {listed(list(table))}.")
    return table


def _salmon_names(table: Table) -> list[str] | None:
    """What was shown for each index: the file of a picture, or its text."""
    shown: dict[int, str] = {}
    for role in ("head", "left", "right"):
        column = next((table[f"{role}_{kind}"] for kind in ("filename", "html") if f"{role}_{kind}" in table), None)
        numbers = whole_numbers(table[role])
        if column is None or numbers is None:
            return None
        shown.update(zip(numbers.tolist(), map(shown_in, column), strict=True))
    n = max(shown, default=-1) + 1
    return [shown.get(i, f"target {i}") for i in range(n)] if n <= _MOST_TARGETS else None


def _as_numbers(cells: np.ndarray) -> np.ndarray:
    """Indices as integers, so that 3 is 3.0; texts where any is none."""
    numbers = whole_numbers(cells)
    return cells if numbers is None else numbers


def _jspsych_table(path: Path) -> Table:
    fix = "Save it with jsPsych.data.get().json()."
    try:
        value = read_json(path, what="jsPsych", fix=fix)
    except FileError:
        value = _json_lines(path, fix)
    if isinstance(value, dict):
        value = value.get("trials", value.get("data", [value]))
    blocks = value if isinstance(value, list) and value and all(isinstance(part, list) for part in value) else [value]
    trials = [
        ({LIST: i} if len(blocks) > 1 else {}) | trial
        for i, block in enumerate(blocks)
        for trial in (block if isinstance(block, list) else [])
        if isinstance(trial, dict)
    ]
    if not trials:
        raise FileError(f"jsPsych file {path} holds no list of trials. {fix}")
    keys = dict.fromkeys(key for trial in trials for key in trial)
    table = {}
    for key in keys:
        table[key] = np.empty(len(trials), dtype=object)
        table[key][:] = [trial.get(key) for trial in trials]
    return table


def _json_lines(path: Path, fix: str) -> list[Any]:
    """The values of a file with one JSON text on each line, as servers collect them."""
    try:
        return [json.loads(line) for line in read_lines(path, what="jsPsych") if line]
    except ValueError as error:
        raise FileError(f"jsPsych file {path} is not JSON. {fix}") from error
