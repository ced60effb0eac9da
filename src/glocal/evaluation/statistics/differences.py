"""Arms compared on the same answers, or on the same draws and classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, ParameterError
from glocal.evaluation.statistics.clusters import triplet_estimate
from glocal.evaluation.statistics.crossed import two_way_estimate


@dataclass(frozen=True)
class PairedDifference:
    """How much arm a scores above arm b on the same things.

    `difference` is the mean of a - b, `low` and `high` its interval, `p` the two-sided p-value of no difference, `n`
    the number of answers or cells.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """One of several arms against the baseline.

    `paired` is the comparison by itself; `p_holm` the p-value corrected for the number of arms; `low` and `high`
    hold for all arms at once with 95 % confidence.
    """

    paired: PairedDifference
    p_holm: float
    low: float
    high: float


def paired_difference(
    values_a: Float[np.ndarray, "*shape"],
    values_b: Float[np.ndarray, "*shape"],
    *,
    answers: Int[np.ndarray, "t 3"] | None = None,
    weights: Float[np.ndarray, " t"] | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """The mean of a - b with an interval and a p-value that respect what the scores share.

    With `answers`, values are credits of odd-one-out answers, dependent through their objects (`triplet_estimate`).
    Without, they are a (draws, classes) table, dependent through both (`two_way_estimate`), or one list of independent
    scores.

    Parameters
    ----------
    values_a, values_b : (t,) or (draws, classes) float
        The scores of the two arms on the same answers, or draws and classes, in the same order.
    answers : (t, 3) integers or None
    weights : (t,) float or None
        Weights of the answers.
    level : float
        Confidence in (0, 1).

    Raises
    ------
    DataError
        Different shapes, more than two axes, no score, NaN or infinity, or weights without answers.
    ParameterError
        A level outside (0, 1).

    Examples
    --------
    >>> found = paired_difference(np.array([0.6, 0.8, 0.7, 0.7]), np.array([0.5, 0.6, 0.6, 0.6]))
    >>> round(found.difference, 3), found.low > 0
    (0.125, True)
    """
    if values_a.shape != values_b.shape or values_a.ndim not in (1, 2):
        raise DataError(
            f"the two arms have scores of shape {values_a.shape} and {values_b.shape}; "
            "both need one score for each answer, or a (draws, classes) table, of the same things in the same order."
        )
    values = np.asarray(values_a, dtype=np.float64) - values_b
    if not values.size or not np.isfinite(values).all():
        raise DataError("the scores to compare are none, or hold NaN or infinity; every answer or cell needs a score.")
    if answers is None:
        if weights is not None:
            raise DataError("weights belong to answers; give the answers too.")
        estimate = two_way_estimate(values.reshape(1, -1) if values.ndim == 1 else values)
    elif values.shape != (len(answers),):
        raise DataError(f"there are {len(answers)} answers but the scores have shape {values.shape}.")
    else:
        estimate = triplet_estimate(values, answers, weights)
    low, high = estimate.interval(level)
    return PairedDifference(estimate.mean, low, high, estimate.p, values.size)


def compare(
    arms: Mapping[str, Float[np.ndarray, "*shape"]],
    baseline: str,
    *,
    answers: Int[np.ndarray, "t 3"] | None = None,
    weights: Float[np.ndarray, " t"] | None = None,
) -> dict[str, Comparison]:
    """Each arm against the baseline, corrected for their number.

    p-values by Holm's steps; simultaneous 95 % intervals by Bonferroni, at level 1 - 0.05 / (number of arms). Both hold
    however the arms depend on each other, which they do: they are scored on the same things.

    Parameters
    ----------
    arms : name → (t,) or (draws, classes) float
        With the baseline among them.
    baseline : str
    answers, weights
        As in `paired_difference`.

    Raises
    ------
    ParameterError
        The baseline is no arm, or the only one.

    References
    ----------
    Holm (1979), Scand. J. Stat. 6:65.
    """
    others = [name for name in arms if name != baseline]
    if baseline not in arms or not others:
        raise ParameterError(f"the baseline {baseline!r} must be one of at least two arms; given are {sorted(arms)}.")

    def against(name: str, level: float) -> PairedDifference:
        return paired_difference(arms[name], arms[baseline], answers=answers, weights=weights, level=level)

    alone = {name: against(name, 0.95) for name in others}
    together = {name: against(name, 1 - 0.05 / len(others)) for name in others}
    corrected = holm([found.p for found in alone.values()])
    return {
        name: Comparison(alone[name], p, together[name].low, together[name].high)
        for name, p in zip(others, corrected, strict=True)
    }


def holm(p: Sequence[float]) -> list[float]:
    """Holm's p-values, which keep the chance of any false claim among all below the level.

    With p sorted ascending the k-th of m becomes max over j ≤ k of min(1, (m - j + 1) p_j).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(steps)
    return [float(value) for value in corrected]
