"""What a sweep ends with: the tables, the choice and its reason, the choice refitted on all objects."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import Arm, Loop, fit
from glocal.aligner.problem import Problem
from glocal.errors import DataError, FileError
from glocal.files import atomic_write
from glocal.options import options_of
from glocal.results import to_json
from glocal.solver import best_scale
from glocal.sweep.run import SweepPlan
from glocal.sweep.selection import METRICS, choose, means_over_folds, pareto_front, setting_of
from glocal.sweep.store import PointStore
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Outcome:
    """See the attributes of `glocal.sweep.Sweep`."""

    results: pd.DataFrame
    means: pd.DataFrame
    front: pd.DataFrame
    best: dict[str, Any]
    rule: str
    reason: str
    transform: LinearTransform

    def save(self, folder: Path) -> None:
        """Write ``transform.npz``, ``front.csv`` and ``means.csv``, each atomically."""
        self.transform.save(folder / "transform.npz")
        for name, table in (("front.csv", self.front), ("means.csv", self.means)):
            with atomic_write(folder / name) as stream:
                stream.write(table.to_csv(index=False).encode())


def conclude(plan: SweepPlan, store: PointStore, rule: str, exchange: float | None = None) -> Outcome:
    """Average the points of a finished sweep, choose by the rule, refit the choice on everything.

    Parameters
    ----------
    plan, store
        Of the sweep.
    rule, exchange
        As in `choose`.

    Returns
    -------
    Outcome
    """
    import pandas as pd

    rows = store.rows()
    means = means_over_folds(rows, plan.folds)
    original = _original(store.original(), means)
    choice = choose(means, rule, exchange, original)
    best = choice.setting
    front = pareto_front(means)
    front.insert(0, "chosen", [_same(line, best) for _, line in front.iterrows()])
    original_line = pd.DataFrame([original], columns=front.columns).astype(object)
    front = pd.concat([original_line, front.astype(object)], ignore_index=True)
    transform = _held(store.folder / "transform.npz", best) or _refit(plan, best)
    record = {
        "rule": choice.rule, "reason": choice.reason, "folds": plan.folds, "seed": plan.data.fit.seed, "best": best,
    }  # fmt: skip
    lines = front.astype(object).where(front.notna(), None).to_dict("records")
    meta = {**transform.meta, "sweep": {**record, "front": lines}}
    transform = LinearTransform(transform.weights, transform.bias, transform.mean, transform.std, meta)
    return Outcome(pd.DataFrame(rows), means, front, best, choice.rule, choice.reason, transform)


def _held(path: Path, best: dict[str, Any]) -> LinearTransform | None:
    """The refit of the same choice that this folder holds already, if this version wrote it whole."""
    try:
        held = LinearTransform.load(path)
    except (FileError, DataError):  # there is none yet, or it is damaged: it is written anew
        return None
    version = ((held.meta.get("fit") or {}).get("provenance") or {}).get("version")
    same = (held.meta.get("sweep") or {}).get("best") == json.loads(to_json(best))
    return held if same and version == __version__ else None


def _refit(plan: SweepPlan, best: dict[str, Any]) -> LinearTransform:
    """The choice on all objects; an exact fit to the tolerance of a single one."""
    data, solver = plan.data.fit, plan.solver
    if best["alpha"] == 1:  # every scaled identity is optimal: the one that fits the answers best
        loss = Problem.build(data, None, solver.dtype, solver.device).loss
        W = best_scale(loss) * np.eye(data.features.dimensions, dtype=np.float32)
        return LinearTransform(
            W, None, data.scalars.mean, data.scalars.std, {"fit": {"method": "glocal", "alpha": 1.0}}
        )
    names = [name for name in options_of(Arm) if best.get(name) is not None]
    arm = Arm(**{name: best[name] for name in names}, squared=plan.squared)
    if isinstance(solver, Loop):
        solver = replace(solver, profile=replace(solver.profile, eta=best["eta"]))
    else:
        solver = replace(solver, tol=None)
    return fit(data, arm, solver).transform


def _same(line: Any, best: dict[str, Any]) -> bool:
    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return all(plain(line[name]) == best[name] for name in setting_of(best))


def _original(rows: list[dict[str, Any]], means: pd.DataFrame) -> dict[str, Any]:
    """The untransformed features, with means and standard errors over folds like the settings."""
    line: dict[str, Any] = {"chosen": False, "method": "original"}
    for metric in METRICS:
        values = np.array([row[metric] for row in rows if row.get(metric) is not None], dtype=float)
        if len(values) and metric in means:
            line[metric] = values.mean()
            line[f"{metric}_se"] = values.std(ddof=1) / math.sqrt(len(values))
    return line
