"""Sweeps as points of a front and as slices through the choice; sweeps of the same data share a front."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glocal.report.loading import MEASURED, Run, SweepRun
from glocal.report.words import AGREEMENT, KEPT, axis_title, metric_words, plain, setting_words
from glocal.suite.table import main_rows
from glocal.sweep.choice import pareto_front

_SETTING = ("alpha", "lmbda", "tau", "mix", "eta")
_AXES = ("accuracy_cosine", "neighbours_kept")


@dataclass(frozen=True)
class Front:
    """Sweeps of the same data: points for `front_chart`, slices (sweep, parameter, rows) for `slice_chart`."""

    title: str
    points: list[dict[str, Any]]
    slices: list[tuple[str, str, list[dict[str, Any]]]]
    reason: str | None = None

    @property
    def original(self) -> dict[str, Any] | None:
        """The point of the untransformed features."""
        return next((point for point in self.points if point["method"] == "original"), None)

    @property
    def choice(self) -> dict[str, Any] | None:
        """The chosen point; of several that of glocal."""
        chosen = [point for point in self.points if point["chosen"]]
        return min(chosen, key=lambda point: point["method"] != "glocal", default=None)


def fronts(run: Run) -> list[Front]:
    """One front for each data set that was swept; an unfinished sweep has no means yet."""
    groups: dict[str, list[SweepRun]] = {}
    for sweep in run.sweeps:
        groups.setdefault(json.dumps(sweep.config.get("data", sweep.name), sort_keys=True), []).append(sweep)
    found = [
        Front(", ".join(sweep.name for sweep in sweeps), front_points(sweeps), _slices(sweeps), _reason(sweeps))
        for sweeps in groups.values()
    ]
    return found or arm_fronts(run)


def arm_fronts(run: Run) -> list[Front]:
    """The arms of a suite as points, for each network whose agreement and neighbours were both measured."""
    main = main_rows(run.rows)
    axes = [main[main["metric"].isin(metrics)] for metrics in (AGREEMENT, (KEPT,))]
    if not all(map(len, axes)):
        return []
    agreement, kept = (
        {
            (row["network"], row["transform"]): row
            for row in rows[rows["task"] == rows["task"].iloc[0]].to_dict("records")
        }
        for rows in axes
    )
    found = []
    for network in dict.fromkeys(network for network, _ in agreement):
        pairs = [
            (arm, row, kept[network, arm])
            for (at, arm), row in agreement.items()
            if at == network and (at, arm) in kept
        ]
        points = [_arm_point(run, arm, agreed, held, number) for number, (arm, agreed, held) in enumerate(pairs)]
        if len(points) > 1:
            found.append(Front(network, points, []))
    return found


def _arm_point(run: Run, arm: str, agreement: dict[Any, Any], kept: dict[Any, Any], number: int) -> dict[str, Any]:
    ends = {
        f"{name}_{end}": row["value"] if plain(row[end]) is None else row[end]
        for name, row in (("accuracy", agreement), ("kept", kept))
        for end in ("low", "high")
    }
    plans = (suite["plan"]["arms"].get(arm) for suite in run.suites.values())
    settings = next((dict(plan) for plan in plans if plan), {})
    return {
        "number": number, "sweep": str(agreement["network"]), "method": "original" if arm == run.baseline else arm,
        "name": arm, "bias": str(settings.get("bias", False)), "settings": settings, "front": True, "strong": True,
        "chosen": False, "accuracy": agreement["value"], "kept": kept["value"], "converged": True, **ends,
        "scores": {metric_words(str(row["metric"])): row["value"] for row in (agreement, kept)},
        "label": f"{arm}: agreement {agreement['value']:.3f}, kept {kept['value']:.3f}",
    }  # fmt: skip


def front_points(sweeps: Sequence[SweepRun]) -> list[dict[str, Any]]:
    """The settings of sweeps of the same data, each with its means over folds, and the original features.

    A point has number, sweep, method, bias, settings (name and value), accuracy, accuracy_low, accuracy_high, kept,
    kept_low, kept_high, scores, front, strong, chosen, name, label; low and high are one standard error away. `front`
    says whether it is on the front of its sweep, `strong` whether it is on that of its arm.
    """
    found: list[dict[str, Any]] = []
    for place, sweep in enumerate(sweeps):
        if sweep.means is None or not set(_AXES) <= set(sweep.means):
            continue
        on_front = set() if sweep.front is None else {_key(row) for row in sweep.front.to_dict("records")}
        chosen = None if sweep.chosen is None else _key(sweep.chosen)
        fitted = sweep.means["method"] != "original"
        measured = sweep.means[sweep.means[list(_AXES)].notna().all(axis=1) & fitted]
        lines = [_point(row, sweep, _key(row) in on_front, _key(row) == chosen) for row in measured.to_dict("records")]
        before = sweep.original
        if before is not None and place == 0 and not {None} & {plain(before.get(axis)) for axis in _AXES}:
            lines.append(_point(before, sweep, True, False))
        found += lines
    strong = _on_fronts_of_arms(found)
    return [{**point, "number": number, "strong": number in strong} for number, point in enumerate(found)]


def _on_fronts_of_arms(points: Sequence[dict[str, Any]]) -> set[int]:
    """The numbers of the points that no other of the same arm beats."""
    import pandas as pd

    if not points:
        return set()
    columns = {"accuracy": "accuracy_cosine", "kept": "neighbours_kept"}
    table = pd.DataFrame(points)[["method", "bias", "alpha", *columns]].rename(columns=columns)
    return {number for _, arm in table.groupby("method") for number in pareto_front(arm).index}


def _reason(sweeps: Sequence[SweepRun]) -> str | None:
    reasons = [sweep.meta.get("sweep", {}).get("reason") for sweep in sweeps]
    return str(reasons[0]) if len(reasons) == 1 and reasons[0] else None


def _point(row: dict[Any, Any], sweep: SweepRun, front: bool, chosen: bool) -> dict[str, Any]:
    settings = {name: plain(row.get(name)) for name in _SETTING}
    numbers = {name: plain(row[name]) for name in MEASURED if name in row}
    name = ", ".join(setting_words(row))
    accuracy, kept = numbers["accuracy_cosine"], numbers["neighbours_kept"]
    at_accuracy, at_kept = (plain(row.get(f"{name}_se")) or 0.0 for name in ("accuracy_cosine", "neighbours_kept"))
    return {
        "sweep": sweep.name, "method": str(row["method"]), "bias": str(row.get("bias")), "front": front,
        "alpha": settings["alpha"], "name": name,
        "settings": {axis_title(name): value for name, value in settings.items() if value is not None},
        "chosen": chosen, "accuracy": accuracy, "kept": kept, "accuracy_low": accuracy - at_accuracy,
        "accuracy_high": accuracy + at_accuracy, "kept_low": kept - at_kept, "kept_high": kept + at_kept,
        "converged": str(row.get("converged")) != "False",
        "scores": {metric_words(name): value for name, value in numbers.items()},
        "label": f"{name}: agreement {accuracy:.3f}, kept {kept:.3f}{', chosen' if chosen else ''}",
    }  # fmt: skip


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
                    "kept": plain(row.get("neighbours_kept")), "sweep": sweep.name,
                }
                for row in sweep.points.to_dict("records")
                if plain(row.get(name)) is not None
                and plain(row["accuracy_cosine"]) is not None  # a diverged fit has no scores
                and all(_same(row.get(other), best.get(other)) for other in rest)
            ]  # fmt: skip
            if len({row["value"] for row in rows}) > 1:
                found.append((sweep.name, name, rows))
    return found


def _key(row: dict[Any, Any]) -> tuple[Any, ...]:
    return (str(row.get("method")), str(row.get("bias")), *(plain(row.get(name)) for name in _SETTING))


def _same(one: Any, other: Any) -> bool:
    return plain(one) == plain(other)
