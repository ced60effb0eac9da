"""Intervals of means over answers, which depend on each other through their objects."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

_MOST_CELLS = 1 << 26


def triplet_interval(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t 3"],
    weights: Float[np.ndarray, " t"] | None = None,
) -> tuple[float, float]:
    """95 % interval of a (weighted) mean over answers, in which answers that share an object are dependent.

    mean ± 1.96 √Var with the variance of `triplet_variance`. It is meant for a fixed transform and speaks of new
    objects and new answers from where these came from.

    Parameters
    ----------
    values : (t,) float
        The credit of each answer, a fraction.
    answers : (t, 3) integers
    weights : (t,) float or None

    Returns
    -------
    low, high : float
        Clipped to [0, 1].
    """
    mean, variance = triplet_variance(values, answers, weights)
    half = NormalDist().inv_cdf(0.975) * float(np.sqrt(variance))
    return max(0.0, mean - half), min(1.0, mean + half)


def triplet_variance(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t 3"],
    weights: Float[np.ndarray, " t"] | None = None,
) -> tuple[float, float]:
    """The (weighted) mean of a value over answers, and its variance where answers that share an object are dependent.

    The cluster-robust variance for data indexed by sets of objects: with e the weighted deviations from the mean,

        Var = Σ over pairs of answers sharing at least one object of e_t e_t' / (Σ w)²
            = [Σ_objects E_i² - Σ_pairs E_ij² + Σ_sets E_ijk²] / (Σ w)²

    where E_i, E_ij and E_ijk sum e over the answers that contain the object, the pair, the set (inclusion and
    exclusion). Answers treated as independent would give a variance that is too small.

    Parameters
    ----------
    values : (t,) float
        Any value of each answer: a credit, or the difference of two.
    answers : (t, 3) integers
    weights : (t,) float or None

    Returns
    -------
    mean, variance : float

    References
    ----------
    Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political Analysis 23:564.
    """
    total = float(len(values)) if weights is None else float(weights.sum())
    mean = float(values.mean() if weights is None else weights @ values / total)
    e = values - mean if weights is None else weights * (values - mean)
    n = int(answers.max()) + 1
    a, b, c = np.ascontiguousarray(answers.T, dtype=np.int64)
    i, k = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    j = a + b + c - i - k
    by_object = sum(np.bincount(column, e, minlength=n) for column in (i, j, k))
    if n * n <= _MOST_CELLS:
        by_pair = sum(np.bincount(first * n + second, e, minlength=n * n) for first, second in ((i, j), (i, k), (j, k)))
    else:
        by_pair = _sums(np.concatenate([i * n + j, i * n + k, j * n + k]), np.tile(e, 3))
    by_set = _sums((i * n + j) * n + k, e) if n < 2_000_000 else e
    shared = float(np.square(by_object).sum() - np.square(by_pair).sum() + np.square(by_set).sum())
    # the estimate can fall below that of independent answers, or below 0, in small samples
    return mean, max(shared, float(e @ e)) / total**2


def _sums(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of `values` over equal `keys`."""
    order = np.argsort(keys)
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sums: np.ndarray = np.add.reduceat(values[order], starts)
    return sums
