"""From points to a choice: means over folds, the Pareto front, and one setting with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

SETTING = ["method", "bias", "alpha", "lmbda", "tau", "mix", "eta"]
METRICS = ["accuracy_cosine", "accuracy_dot", "loss", "local_loss", "neighbours_kept", "accuracy_1nn"]
_SHORT = {"agreement": "accuracy_cosine"}  # as the tables have it
_LESS_IS_BETTER = ("loss", "local_loss")
_CONSTRAINT = re.compile(r"^\s*(?:constraint[\s:]+)?([a-z_0-9]+)\s*(>=|<=)\s*([-+0-9.eE]+)\s*$")


def setting_of(columns: Iterable[str]) -> list[str]:
    """The names that make up a setting, of those that are there: only the mini-batch solver has an eta."""
    present = set(columns)
    return [name for name in SETTING if name in present]


def means_over_folds(rows: list[dict[str, Any]], folds: int) -> pd.DataFrame:
    """One line for each setting that all folds have finished: mean and standard error over folds of each metric.

    A setting that diverged on some fold has no mean and no line.

    Columns: the setting, each metric, ``<metric>_se``, evaluations (sum), converged (all), seconds (sum).
    """
    import pandas as pd

    table = pd.DataFrame([{"mix": 1.0, **row} for row in rows])  # rows from before there was a mix
    names = setting_of(table)
    table = table.drop_duplicates(subset=["fold", *names])
    groups = table.groupby(names, dropna=False, sort=False)
    lines = []
    for setting, group in groups:
        if len(group) < folds or ("status" in group and (group["status"] == "diverged").any()):
            continue
        line: dict[str, Any] = dict(zip(names, setting, strict=True))
        for metric in METRICS:
            if metric not in group or group[metric].isna().all():
                continue
            values = group[metric].astype(float)
            line[metric] = values.mean()
            line[f"{metric}_se"] = values.std(ddof=1) / np.sqrt(len(values))
        line["evaluations"] = int(group["evaluations"].sum())
        line["converged"] = bool(group["converged"].all())
        line["seconds"] = float(group["seconds"].sum())
        lines.append(line)
    return pd.DataFrame(lines)


def pareto_front(table: pd.DataFrame) -> pd.DataFrame:
    """The settings that no other beats: agreement (accuracy_cosine) against neighbours_kept, best agreement last.

    A setting is dropped if another is at least as good in both and better in one. Of several that are equal in
    both, the one with the smaller alpha stays.
    """
    ordered = table.sort_values(setting_of(table)[2:], na_position="first")
    ordered = ordered.drop_duplicates(subset=["accuracy_cosine", "neighbours_kept"])
    agreement, kept = ordered["accuracy_cosine"].to_numpy(), ordered["neighbours_kept"].to_numpy()
    at_least = (agreement[None] >= agreement[:, None]) & (kept[None] >= kept[:, None])
    better = (agreement[None] > agreement[:, None]) | (kept[None] > kept[:, None])
    return ordered[~(at_least & better).any(axis=1)].sort_values("accuracy_cosine", kind="stable")


def choose(table: pd.DataFrame, rule: str) -> tuple[dict[str, Any], str]:
    """One setting by a rule, and the reason in words.

    Parameters
    ----------
    table : DataFrame
        Of `means_over_folds`.
    rule : str
        ``"val-loss"``: the smallest mean held-out loss. ``"front-knee"``: the point of the front farthest above the
        chord between its two ends after both axes are scaled to [0, 1], ties to the smaller alpha. A constraint such
        as ``"neighbours_kept>=0.8"`` or ``"agreement>=0.5"`` (accuracy_cosine): among the settings that satisfy it, the
        best agreement, or the most neighbours kept if the constraint is on agreement or loss.

    Raises
    ------
    ParameterError
        An unknown rule or metric, or a constraint that no setting satisfies.
    """
    if not len(table):
        raise ParameterError(
            "no setting has been scored on every fold, so there is nothing to choose from. If points.jsonl says that "
            "fits diverged, lower eta."
        )
    if rule == "val-loss":
        best = table.sort_values(["loss", "alpha"], na_position="first").iloc[0]
        return _plain(best), f"smallest mean held-out loss, {best['loss']:.4f} nats"
    if rule == "front-knee":
        return _knee(pareto_front(table))
    return _constrained(table, rule)


def check_rule(rule: str) -> None:
    """Raise a ParameterError unless `choose` knows the rule."""
    if rule in ("val-loss", "front-knee"):
        return
    match = _CONSTRAINT.match(rule)
    if match is None:
        raise ParameterError(
            f"select is {rule!r}; allowed are val-loss, front-knee and a constraint such as 'neighbours_kept>=0.8'."
        )
    if _SHORT.get(match[1], match[1]) not in METRICS:
        raise ParameterError(f"the constraint names {match[1]!r}; allowed are {', '.join([*_SHORT, *METRICS])}.")
    try:
        float(match[3])
    except ValueError as error:
        raise ParameterError(f"the constraint has {match[3]!r} where a number is needed.") from error


def _knee(front: pd.DataFrame) -> tuple[dict[str, Any], str]:
    agreement, kept = front["accuracy_cosine"].to_numpy(), front["neighbours_kept"].to_numpy()
    if len(front) == 1:
        return _plain(front.iloc[0]), "the only setting on the front"
    x = (agreement - agreement[0]) / (agreement[-1] - agreement[0])
    y = (kept - kept[-1]) / (kept[0] - kept[-1])
    above = x + y - 1  # the chord runs from (0, 1) to (1, 0)
    alpha = front["alpha"].fillna(0).to_numpy()
    ties = np.flatnonzero(above >= above.max() - 1e-12)
    best = int(ties[alpha[ties].argmin()])
    where = f"of {len(front)} settings on the front, farthest above the chord between its ends"
    return _plain(front.iloc[best]), f"{where} (by {above[best] / np.sqrt(2):.3f} of the scaled axes)"


def _constrained(table: pd.DataFrame, rule: str) -> tuple[dict[str, Any], str]:
    check_rule(rule)
    match = _CONSTRAINT.match(rule)
    assert match is not None
    metric, sign, bound = _SHORT.get(match[1], match[1]), match[2], float(match[3])
    if metric not in table:
        raise ParameterError(f"the constraint names {metric}, which this sweep has not scored.")
    satisfied = table[table[metric] >= bound if sign == ">=" else table[metric] <= bound]
    if not len(satisfied):
        reached = table[metric].max() if sign == ">=" else table[metric].min()
        raise ParameterError(f"no setting has {metric} {sign} {bound:g}; the nearest reaches {reached:.4f}. Relax it.")
    goal = "accuracy_cosine" if metric in ("neighbours_kept", "local_loss", "accuracy_1nn") else "neighbours_kept"
    best = satisfied.sort_values([goal, "alpha"], ascending=[False, True], na_position="first").iloc[0]
    return _plain(
        best
    ), f"the best {goal} ({best[goal]:.4f}) among {len(satisfied)} settings with {metric} {sign} {bound:g}"


def _plain(row: pd.Series[Any]) -> dict[str, Any]:
    """A table row as a dict of plain values, NaN as None."""
    values = {str(key): value.item() if hasattr(value, "item") else value for key, value in row.items()}
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in values.items()}
