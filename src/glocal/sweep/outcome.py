"""What a sweep ends with: the tables, the choice and its reason, the choice refitted on all objects."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.aligner.fit import fit_arm
from glocal.aligner.problem import Problem
from glocal.files import atomic_write
from glocal.solver import best_scale
from glocal.sweep.run import Plan
from glocal.sweep.selection import METRICS, choose, means_over_folds, pareto_front, setting_of
from glocal.sweep.store import Store
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
    reason: str
    transform: LinearTransform

    def save(self, folder: Path) -> None:
        """Write ``transform.npz``, ``front.csv`` and ``means.csv``, each atomically."""
        self.transform.save(folder / "transform.npz")
        for name, table in (("front.csv", self.front), ("means.csv", self.means)):
            with atomic_write(folder / name) as stream:
                stream.write(table.to_csv(index=False).encode())


def conclude(plan: Plan, store: Store, rule: str) -> Outcome:
    """Average the points of a finished sweep, choose by the rule, refit the choice on everything.

    Parameters
    ----------
    plan, store
        Of the sweep.
    rule : str
        As in `choose`.

    Returns
    -------
    Outcome
    """
    import pandas as pd

    rows = store.rows()
    means = means_over_folds(rows, plan.folds)
    best, reason = choose(means, rule)
    front = pareto_front(means)
    front.insert(0, "chosen", [_same(line, best) for _, line in front.iterrows()])
    front = pd.concat([_original(store.original(), front), front.astype(object)], ignore_index=True)
    transform = _refit(plan, best)
    record = {"rule": rule, "reason": reason, "folds": plan.folds, "seed": plan.settings.seed, "best": best}
    lines = front.astype(object).where(front.notna(), None).to_dict("records")
    meta = {**transform.meta, "sweep": {**record, "front": lines}}
    transform = LinearTransform(transform.weights, transform.bias, transform.mean, transform.std, meta)
    return Outcome(pd.DataFrame(rows), means, front, best, reason, transform)


def _refit(plan: Plan, best: dict[str, Any]) -> LinearTransform:
    data, settings = plan.data, plan.settings
    if best["alpha"] == 1:  # every scaled identity is optimal: the one that fits the answers best
        scalars = data.features.standardization
        problem = Problem.build(data.features, data.triplets, None, scalars, settings)
        W = best_scale(problem.loss) * np.eye(data.features.dimensions, dtype=np.float32)
        return LinearTransform(W, None, scalars.mean, scalars.std, {"fit": {"method": "glocal", "alpha": 1.0}})
    glocal = best["method"] == "glocal"
    more: dict[str, Any] = {"dtype": settings.dtype}
    if glocal:
        more |= {
            "local_features": data.local, "alpha": best["alpha"], "tau": best["tau"],
            "block_size": settings.block_size, "local_blocks": settings.local_blocks,
        }  # fmt: skip
    profile = replace(settings.profile, eta=best["eta"]) if "eta" in best else settings.profile
    return fit_arm(
        data.features, data.triplets, method=best["method"], lmbda=best["lmbda"], bias=bool(best["bias"]),
        mix=best["mix"], seed=settings.seed, device=settings.device,
        max_evaluations=settings.max_evaluations, local_standardized=plan.local_standardized, profile=profile, **more,
    ).transform  # fmt: skip


def _same(line: Any, best: dict[str, Any]) -> bool:
    def plain(value: Any) -> Any:
        return None if isinstance(value, float) and math.isnan(value) else value

    return all(plain(line[name]) == best[name] for name in setting_of(best))


def _original(rows: list[dict[str, Any]], front: pd.DataFrame) -> pd.DataFrame:
    """The row of the untransformed features, with means and standard errors over folds like the others."""
    import pandas as pd

    line: dict[str, Any] = {"chosen": False, "method": "original"}
    for metric in METRICS:
        values = np.array([row[metric] for row in rows if row.get(metric) is not None], dtype=float)
        if len(values) and metric in front:
            line[metric] = values.mean()
            line[f"{metric}_se"] = values.std(ddof=1) / math.sqrt(len(values))
    return pd.DataFrame([line], columns=front.columns).astype(object)
