"""Sweeps as points of a front and as slices through the choice; sweeps of the same data share a front."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glocal.report.run import Run, SweepRun

_SETTING = ("alpha", "lmbda", "tau", "mix", "eta")
_SIGNS = {"alpha": "α", "lmbda": "λ", "tau": "τ", "mix": "mix", "eta": "η"}
_IN_WORDS = {"mix": "share of the scaled identity"}
_NUMBERS = (
    "accuracy_cosine", "accuracy_dot", "loss", "local_loss", "neighbours_kept", "accuracy_1nn", "evaluations",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Front:
    """Sweeps of the same data: points for `front_chart`, slices (sweep, parameter, rows) for `slice_chart`."""

    title: str
    points: list[dict[str, Any]]
    slices: list[tuple[str, str, list[dict[str, Any]]]]


def fronts(run: Run) -> list[Front]:
    """One front for each data set that was swept; an unfinished sweep has no means yet."""
    groups: dict[str, list[SweepRun]] = {}
    for sweep in run.sweeps:
        groups.setdefault(json.dumps(sweep.config.get("data", sweep.name), sort_keys=True), []).append(sweep)
    return [
        Front(", ".join(sweep.name for sweep in sweeps), front_points(sweeps), _slices(sweeps))
        for sweeps in groups.values()
    ]


def front_points(sweeps: Sequence[SweepRun]) -> list[dict[str, Any]]:
    """The settings of sweeps of the same data, each with its means over folds, and the original features.

    A point has number, sweep, method, bias, settings (name and value), accuracy, accuracy_low, accuracy_high, kept,
    kept_low, kept_high, scores, front, chosen, label; low and high are one standard error away.
    """
    found: list[dict[str, Any]] = []
    for place, sweep in enumerate(sweeps):
        if sweep.means is None or not {"accuracy_cosine", "neighbours_kept"} <= set(sweep.means):
            continue
        on_front = set() if sweep.front is None else {_key(row) for row in sweep.front.to_dict("records")}
        chosen = None if sweep.chosen is None else _key(sweep.chosen)
        lines = [
            _point(row, sweep, _key(row) in on_front, _key(row) == chosen) for row in sweep.means.to_dict("records")
        ]
        before = sweep.original
        if before is not None and place == 0:
            lines.append(_point(before, sweep, True, False))
        found += lines
    return [{**point, "number": number} for number, point in enumerate(found)]


def _point(row: dict[Any, Any], sweep: SweepRun, front: bool, chosen: bool) -> dict[str, Any]:
    settings = {name: _plain(row.get(name)) for name in _SETTING}
    numbers = {name: _plain(row[name]) for name in _NUMBERS if name in row}
    accuracy, kept = numbers["accuracy_cosine"], numbers["neighbours_kept"]
    at_accuracy, at_kept = (_plain(row.get(f"{name}_se")) or 0.0 for name in ("accuracy_cosine", "neighbours_kept"))
    return {
        "sweep": sweep.name, "method": str(row["method"]), "bias": str(row.get("bias")), "front": front,
        "settings": {axis_title(name): value for name, value in settings.items() if value is not None},
        "chosen": chosen, "accuracy": accuracy, "kept": kept, "accuracy_low": accuracy - at_accuracy,
        "accuracy_high": accuracy + at_accuracy, "kept_low": kept - at_kept, "kept_high": kept + at_kept,
        "converged": str(row.get("converged")) != "False", "scores": numbers,
        "path": kept if str(row["method"]) == "glocal" else settings["lmbda"],
        "label": f"{', '.join(setting(row))}: accuracy {accuracy:.3f}, kept {kept:.3f}{', chosen' if chosen else ''}",
    }  # fmt: skip


def setting(row: dict[Any, Any]) -> list[str]:
    """A setting in words: its method, and what it has of α, λ, τ and η; the mix where it is not 1."""
    values = {name: _plain(row.get(name)) for name in _SETTING}
    told = {name: value for name, value in values.items() if value is not None and (name, value) != ("mix", 1)}
    return [str(row["method"]), *(f"{_SIGNS[name]} {value:g}" for name, value in told.items())]


def axis_title(parameter: str) -> str:
    """What stands at the axis of a setting: its sign or words, and its name."""
    return f"{_IN_WORDS.get(parameter, _SIGNS[parameter])} ({parameter})"


def _slices(sweeps: Sequence[SweepRun]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """The points that differ from the choice in one parameter alone, for every parameter with several values."""
    found: list[tuple[str, str, list[dict[str, Any]]]] = []
    for sweep in sweeps:
        best = sweep.chosen
        if best is None:
            continue
        for name in _SETTING:
            rest = [other for other in ("method", "bias", *_SETTING) if other != name]
            rows = [
                {
                    "value": row.get(name), "fold": str(row["fold"]), "accuracy": row["accuracy_cosine"],
                    "kept": _plain(row.get("neighbours_kept")), "sweep": sweep.name,
                }
                for row in sweep.points.to_dict("records")
                if _plain(row.get(name)) is not None
                and _plain(row["accuracy_cosine"]) is not None  # a diverged fit has no scores
                and all(_same(row.get(other), best.get(other)) for other in rest)
            ]  # fmt: skip
            if len({row["value"] for row in rows}) > 1:
                found.append((sweep.name, name, rows))
    return found


def _key(row: dict[Any, Any]) -> tuple[Any, ...]:
    return (str(row.get("method")), str(row.get("bias")), *(_plain(row.get(name)) for name in _SETTING))


def _same(one: Any, other: Any) -> bool:
    return _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value
