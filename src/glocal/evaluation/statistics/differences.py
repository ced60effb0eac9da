"""Arms compared on the same answers, or on the same draws and classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from glocal.errors import DataError
from glocal.evaluation.statistics.clusters import answer_estimate
from glocal.evaluation.statistics.means import Estimate, mean_estimate, two_way_estimate


@dataclass(frozen=True)
class PairedDifference:
    """How much higher arm a scores than arm b on the same items.

    `difference` is the (weighted) mean of a - b, which is that of a less that of b; `low` and `high` are its interval
    and `p` the two-sided p-value of no difference, None where they cannot be estimated (`Estimate`); `n` is the
    number of answers or cells.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int


def paired_difference(
    values_a: Float[np.ndarray, "*shape"],
    values_b: Float[np.ndarray, "*shape"],
    *,
    answers: Int[np.ndarray, "t m"] | None = None,
    weights: Float[np.ndarray, " w"] | None = None,
    clusters: Shaped[np.ndarray, " n"] | None = None,
    level: float = 0.95,
) -> PairedDifference:
    """The mean of a - b with an interval and a p-value that respect what the scores share.

    Value, interval and p-value are of one estimate of that mean: the interval leaves 0 out exactly where p is below
    1 - level. The estimate is the one that a single arm's mean has:

    ========================= ============================================ ==================
    scores                    dependent through                            estimate
    ========================= ============================================ ==================
    (t,) with `answers`       the objects that the answers name, or the    `answer_estimate`
                              persons who gave them (`clusters`)
    (draws, classes)          draws and classes                            `two_way_estimate`
    (n,) with `clusters`      their cluster, for example a class           `mean_estimate`
    (n,)                      nothing                                      `mean_estimate`
    ========================= ============================================ ==================

    Parameters
    ----------
    values_a, values_b : (t,), (draws, classes) or (n,) float
        The scores of the two arms on the same items in the same order.
    answers : (t, m) integers or None
    weights : (t,) or (classes,) float or None
        Of the answers, or of the classes of a table (their test images).
    clusters : (n,) array or None
        Which cluster each score of a list belongs to; of answers, who gave each.
    level : float
        Confidence in (0, 1).

    Raises
    ------
    DataError
        Different shapes, more than two axes, no score, NaN or infinity, or weights or clusters that do not fit.
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
    found = _estimate(values, answers, weights, clusters)
    low, high = found.interval(level)
    return PairedDifference(found.mean, low, high, found.p, values.size)


def _estimate(
    values: np.ndarray, answers: np.ndarray | None, weights: np.ndarray | None, clusters: np.ndarray | None
) -> Estimate:
    """The estimate of a mean that fits what its scores share."""
    if clusters is not None and clusters.shape != values.shape:
        raise DataError("clusters are of a list of scores; give each score one.")
    if answers is not None:
        if values.shape != (len(answers),):
            raise DataError(f"there are {len(answers)} answers but the scores have shape {values.shape}.")
        return answer_estimate(values, answers, weights, clusters)[0]
    if values.ndim == 2:
        return two_way_estimate(values, weights)
    if weights is not None:
        raise DataError("weights belong to answers, or to the classes of a table; give the answers too.")
    return mean_estimate(values, clusters)


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
