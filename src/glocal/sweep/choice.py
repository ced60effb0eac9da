"""From the points of a sweep to a choice: means over folds, the front, and one setting with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

SETTING = ("method", "lmbda", "mix", "alpha", "tau", "eta")
METRICS = ("accuracy_cosine", "loss", "neighbours_kept")
# From chance to what people reach among each other agreement rises by a third: all neighbours are worth about as much.
EXCHANGE = 0.3
_RULE = re.compile(r"exchange|loss|(?P<metric>agreement|neighbours_kept)\s*>=\s*(?P<bound>\d*\.?\d+)")


def means_over_folds(points: Sequence[dict[str, Any]], folds: int) -> pd.DataFrame:
    """One row for each setting that has scores on every fold; none for one whose optimum is W = 0, or that diverged.

    A row has the setting, mean and standard error (``…_se``) of each metric over folds, the evaluations and seconds of
    all folds, and whether all have converged.
    """
    import pandas as pd

    table = pd.DataFrame(points)
    setting = [name for name in SETTING if name in table]
    groups = table.assign(converged=table["status"] == "converged").groupby(setting, dropna=False, sort=False)
    parts = [groups[list(METRICS)].mean(), groups[list(METRICS)].sem().add_suffix("_se")]
    means = parts[0].join([parts[1], groups[["evaluations", "seconds"]].sum(), groups[["converged"]].all()])
    scored = groups["accuracy_cosine"].count() == folds
    order = [*setting, *(name for metric in METRICS for name in (metric, f"{metric}_se"))]
    return means[scored].reset_index()[[*order, "evaluations", "seconds", "converged"]]


def pareto_front(means: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats: agreement (accuracy_cosine) against neighbours kept, best agreement last.

    A row is dropped if another is at least as good in both and better in one. Of several that are equal in both, the
    one with the smallest alpha stays.
    """
    ordered = means.sort_values(
        ["accuracy_cosine", "neighbours_kept", "alpha"], ascending=[False, False, True], na_position="first"
    )
    kept = ordered["neighbours_kept"]
    return ordered[kept > kept.shift().cummax().fillna(-1.0)].iloc[::-1]


def check_rule(rule: str) -> re.Match[str]:
    """Raise a ParameterError unless `choose` knows the rule."""
    match = _RULE.fullmatch(rule.strip())
    if match is None:
        raise ParameterError(
            f"select is {rule!r}; allowed are exchange, loss, and a constraint: 'neighbours_kept>=0.9' or "
            "'agreement>=0.5'."
        )
    return match


def choose(means: pd.DataFrame, rule: str = "exchange") -> tuple[int, str]:
    """The label of one row by a rule, and the reason in words. Ties go to the smallest alpha.

    Parameters
    ----------
    means : DataFrame
        The frame of `means_over_folds`; the row of the original features, if present, cannot be chosen.
    rule : str
        ``"exchange"``: the largest agreement + 0.3 × neighbours kept. ``"loss"``: the smallest held-out loss, as the
        authors do. ``"neighbours_kept>=0.9"``: the best agreement among settings that keep so many neighbours;
        ``"agreement>=0.5"``: the most neighbours kept among those that agree so much.

    Raises
    ------
    ParameterError
        An unknown rule, no setting to choose from, or none that satisfies the constraint.
    """
    match = check_rule(rule)
    fitted = means[means["method"] != "original"].sort_values("alpha", kind="stable", na_position="first")
    if not len(fitted):
        raise ParameterError(
            "no setting has been scored on every fold, so there is nothing to choose from. If points.jsonl says that "
            "optima are trivial (W = 0), lower lmbda; if it says that fits diverged, lower eta."
        )
    if match["metric"]:
        axes = {"accuracy_cosine": "agreement", "neighbours_kept": "share of neighbours kept"}
        metric, goal = axes if match["metric"] == "agreement" else reversed(axes)
        satisfied = fitted[fitted[metric] >= float(match["bound"])]
        if not len(satisfied):
            raise ParameterError(
                f"no setting has {match[0]}; the nearest reaches {fitted[metric].max():.4f}. Relax it, or widen the "
                "grid: a larger lmbda keeps more neighbours."
            )
        best = int(satisfied[goal].idxmax())
        told = f"the largest {axes[goal]} ({satisfied[goal].max():.4f})"
        return best, f"{told} among {len(satisfied)} settings with {match[0]}"
    if match[0] == "loss":
        return int(fitted["loss"].idxmin()), f"smallest mean held-out loss, {fitted['loss'].min():.4f} nats"
    worth = means["accuracy_cosine"] + EXCHANGE * means["neighbours_kept"]
    best = int(worth[fitted.index].idxmax())
    reason = f"largest agreement + {EXCHANGE:g} × neighbours kept, {worth[best]:.3f}"
    for before in worth[means["method"] == "original"]:
        reason += f" ({before:.3f} of the original features)"
    return best, reason
