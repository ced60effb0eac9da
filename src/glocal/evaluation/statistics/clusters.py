"""Means over answers, which depend on each other through their objects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.evaluation.statistics.estimate import Estimate

_MOST_CELLS = 1 << 26
_LEAST_DISJOINT = 0.1


def triplet_interval(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t 3"],
    weights: Float[np.ndarray, " t"] | None = None,
) -> tuple[float, float]:
    """95 % interval of a (weighted) mean over answers, in which answers that share an object are dependent.

    It is meant for a fixed transform and speaks of new objects and new answers from where these came from.

    Parameters
    ----------
    values : (t,) float
        The credit of each answer, a fraction.
    answers : (t, 3) integers
    weights : (t,) float or None

    Returns
    -------
    low, high : float
        Those of `triplet_estimate`, clipped to [0, 1].
    """
    low, high = triplet_estimate(values, answers, weights).interval()
    return max(0.0, low), min(1.0, high)


def triplet_estimate(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t 3"],
    weights: Float[np.ndarray, " t"] | None = None,
) -> Estimate:
    """The (weighted) mean of a value over answers, and its error where answers that share an object are dependent.

    The cluster-robust variance for data indexed by sets of objects: with e the weighted deviations from the mean,

        Var = Σ over pairs of answers sharing at least one object of e_t e_t' / ((Σ w)² q)
            = [Σ_objects E_i² - Σ_pairs E_ij² + Σ_sets E_ijk²] / ((Σ w)² q)

    where E_i, E_ij and E_ijk sum e over the answers that contain the object, the pair, the set (inclusion and
    exclusion). q is the share of (weighted) pairs of answers that share nothing: deviations are from the mean of the
    same answers, so the sum falls short of its target by just that factor (for answers that share no object
    it is the usual 1 - 1/t). Answers treated as independent would give an error that is too small.

    Parameters
    ----------
    values : (t,) float
        Any value of each answer: a credit, or the difference of two.
    answers : (t, 3) integers
    weights : (t,) float or None

    Returns
    -------
    Estimate
        Its degrees of freedom are the number of objects named, less 1.

    References
    ----------
    Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political Analysis 23:564.
    """
    w = np.ones(len(values)) if weights is None else weights
    total = float(w.sum())
    mean = float(w @ values) / total
    e = w * (values - mean)
    shared, overlap, objects = _shared_sums(answers, e, w)
    # the estimate can fall below that of independent answers, or below 0, in small samples
    variance = max(shared, float(e @ e)) / max(1 - overlap / total**2, _LEAST_DISJOINT)
    return Estimate(mean, float(np.sqrt(variance)) / total, objects - 1.0)


def _shared_sums(answers: np.ndarray, e: np.ndarray, w: np.ndarray) -> tuple[float, float, int]:
    """Σ e_t e_t' and Σ w_t w_t' over the pairs of answers that share an object, and the number of objects named."""
    n = int(answers.max()) + 1
    a, b, c = np.ascontiguousarray(answers.T, dtype=np.int64)
    i, k = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    j = a + b + c - i - k
    found = []
    order, starts = _groups((i * n + j) * n + k) if n < 2_000_000 else (np.arange(len(i)), np.arange(len(i)))
    pairs = [i * n + j, i * n + k, j * n + k]
    for values in (e, w):
        by_object = sum(np.bincount(column, values, minlength=n) for column in (i, j, k))
        if n * n <= _MOST_CELLS:
            by_pair = sum(np.bincount(pair, values, minlength=n * n) for pair in pairs)
        else:
            pair_order, pair_starts = _groups(np.concatenate(pairs))
            by_pair = np.add.reduceat(np.tile(values, 3)[pair_order], pair_starts)
        by_set = np.add.reduceat(values[order], starts)
        found.append(float(np.square(by_object).sum() - np.square(by_pair).sum() + np.square(by_set).sum()))
    return found[0], found[1], int(np.count_nonzero(by_object))


def _groups(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order that brings equal keys together, and where each group starts in it."""
    order = np.argsort(keys)
    ordered = keys[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
