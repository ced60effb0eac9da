"""From points to a choice: means over folds, the Pareto front, and one setting with its reason."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

SETTING = ["method", "bias", "alpha", "lmbda", "tau", "mix", "eta"]
METRICS = ["accuracy_cosine", "accuracy_dot", "loss", "local_loss", "neighbours_kept", "accuracy_1nn"]
STRAIGHT = 0.1  # of the scaled axes: a front that rises less above its chord has no knee to speak of
# From chance to what people reach among each other agreement rises by a third: all neighbours are worth about as much.
EXCHANGE = 0.3
_SHORT = {"agreement": "accuracy_cosine"}  # as the tables have it
_LESS_IS_BETTER = ("loss", "local_loss")
_CONSTRAINT = re.compile(r"^\s*(?:constraint[\s:]+)?([a-z_0-9]+)\s*(>=|<=)\s*([-+0-9.eE]+)\s*$")


@dataclass(frozen=True)
class Choice:
    """A setting with its means, the rule that chose it, and why."""

    setting: dict[str, Any]
    rule: str
    reason: str


def setting_of(columns: Iterable[str]) -> list[str]:
    """The names that make up a setting, of those that are there: only the mini-batch solver has an eta."""
    present = set(columns)
    return [name for name in SETTING if name in present]


def means_over_folds(rows: list[dict[str, Any]], folds: int) -> pd.DataFrame:
    """One line for each setting that all folds have finished: mean and standard error over folds of each metric.

    A setting that diverged on some fold, or whose optimum there is W = 0, has no mean and no line.

    Columns: the setting, each metric, ``<metric>_se``, evaluations (sum), converged (all), seconds (sum).
    """
    import pandas as pd

    table = pd.DataFrame([{"mix": 1.0, **row} for row in rows])  # rows from before there was a mix
    names = setting_of(table)
    table = table.drop_duplicates(subset=["fold", *names])
    groups = table.groupby(names, dropna=False, sort=False)
    lines = []
    for setting, group in groups:
        if len(group) < folds or group["accuracy_cosine"].isna().any():
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


def choose(
    table: pd.DataFrame, rule: str, exchange: float | None = None, original: dict[str, Any] | None = None
) -> Choice:
    """One setting by a rule, and the reason in words.

    Parameters
    ----------
    table : DataFrame
        Of `means_over_folds`.
    rule : str
        ``"front-knee"``: the point of the front farthest above the chord between its two ends after both axes are
        scaled to [0, 1], ties to the smaller alpha. Where that is at most 0.1 the front is nearly straight and its knee
        arbitrary: then an exchange chooses. ``"val-loss"``: the smallest mean held-out loss. A constraint such as
        ``"neighbours_kept>=0.9"`` or ``"agreement>=0.5"`` (accuracy_cosine): among the settings that satisfy it, the
        best agreement, or the most neighbours kept if the constraint is on agreement or loss.
    exchange : float or None
        The agreement that all neighbours are worth: the largest agreement + exchange × neighbours_kept is chosen, in
        place of the knee. None: only of a nearly straight front, by 0.3.
    original : dict or None
        The means of the untransformed features: an exchange by which they are worth more than the choice says so.

    Raises
    ------
    ParameterError
        An unknown rule or metric, a constraint that no setting satisfies, or a rule beside an exchange.
    """
    check_rule(rule, exchange)
    if not len(table):
        raise ParameterError(
            "no setting has been scored on every fold, so there is nothing to choose from. If points.jsonl says that "
            "fits diverged, lower eta; if it says that their optimum is W = 0, lower lmbda."
        )
    if rule == "val-loss":
        best = table.sort_values(["loss", "alpha"], na_position="first").iloc[0]
        return Choice(_plain(best), rule, f"smallest mean held-out loss, {best['loss']:.4f} nats")
    if rule != "front-knee":
        return _constrained(table, rule)
    front = pareto_front(table)
    if exchange is not None:
        return _exchanged(front, exchange, original)
    if len(front) == 1:
        return Choice(_plain(front.iloc[0]), rule, "the only setting on the front")
    above = _above_chord(front)
    height = above.max() / math.sqrt(2)
    if height <= STRAIGHT:
        choice = _exchanged(front, EXCHANGE, original)
        straight = (
            f"the front is nearly straight (no setting lies more than {height:.3f} of the scaled axes above the chord "
            "between its ends), so that its knee is arbitrary and an exchange chooses: "
        )
        return Choice(choice.setting, choice.rule, straight + choice.reason)
    where = f"of {len(front)} settings on the front, farthest above the chord between its ends"
    return Choice(_plain(_first(front, above)), rule, f"{where} (by {height:.3f} of the scaled axes)")


def check_rule(rule: str, exchange: float | None = None) -> None:
    """Raise a ParameterError unless `choose` knows the rule and the exchange."""
    if exchange is not None:
        if rule != "front-knee":
            raise ParameterError(f"select is {rule!r} and an exchange is given too; leave one of them out.")
        if not (exchange > 0 and math.isfinite(exchange)):
            raise ParameterError(f"exchange is {exchange}; allowed is a finite number above 0.")
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


def _above_chord(front: pd.DataFrame) -> np.ndarray:
    """How far each setting of a front of several lies above the chord between its ends, along either scaled axis."""
    agreement, kept = front["accuracy_cosine"].to_numpy(), front["neighbours_kept"].to_numpy()
    x = (agreement - agreement[0]) / (agreement[-1] - agreement[0])
    y = (kept - kept[-1]) / (kept[0] - kept[-1])
    return x + y - 1  # the chord runs from (0, 1) to (1, 0)


def _exchanged(front: pd.DataFrame, exchange: float, original: dict[str, Any] | None) -> Choice:
    worth = (front["accuracy_cosine"] + exchange * front["neighbours_kept"]).to_numpy()
    best = _plain(_first(front, worth))
    reason = (
        f"largest agreement + {exchange:g} × neighbours kept ({worth.max():.3f}) of {len(front)} settings on the "
        f"front: a tenth of the neighbours is worth {exchange / 10:g} of agreement"
    )
    if original is not None:
        before = original["accuracy_cosine"] + exchange * original["neighbours_kept"]
        than = "less" if worth.max() < before else "more"
        reason += f"; by this exchange the choice is worth {than} than the original features ({before:.3f})"
    return Choice(best, f"exchange {exchange:g}", reason)


def _first(front: pd.DataFrame, value: np.ndarray) -> pd.Series[Any]:
    """The setting of the largest value, of several the one with the smallest alpha."""
    alpha = front["alpha"].fillna(0).to_numpy()
    ties = np.flatnonzero(value >= value.max() - 1e-12)
    return front.iloc[int(ties[alpha[ties].argmin()])]


def _constrained(table: pd.DataFrame, rule: str) -> Choice:
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
    why = f"the best {goal} ({best[goal]:.4f}) among {len(satisfied)} settings with {metric} {sign} {bound:g}"
    return Choice(_plain(best), rule, why)


def _plain(row: pd.Series[Any]) -> dict[str, Any]:
    """A table row as a dict of plain values, NaN as None."""
    values = {str(key): value.item() if hasattr(value, "item") else value for key, value in row.items()}
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in values.items()}
