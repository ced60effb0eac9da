"""Intervals that respect what answers share: the objects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_Z95 = 1.959963984540054


def triplet_interval(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t 3"],
    weights: Float[np.ndarray, " t"] | None = None,
) -> tuple[float, float]:
    """95 % interval of a (weighted) mean over answers, in which answers that share an object are dependent.

    The cluster-robust variance for data indexed by sets of objects: with e the weighted deviations from the mean,

        Var = Σ over pairs of answers sharing at least one object of e_t e_t' / (Σ w)²
            = [Σ_objects E_i² - Σ_pairs E_ij² + Σ_sets E_ijk²] / (Σ w)²

    where E_i, E_ij and E_ijk sum e over the answers that contain the object, the pair, the set (inclusion and
    exclusion). Answers treated as independent would give intervals that are too narrow.

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

    References
    ----------
    Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political Analysis 23:564.
    """
    w = np.ones(len(values)) if weights is None else weights
    total = float(w.sum())
    mean = float(w @ values) / total
    e = w * (values - mean)
    n = int(answers.max()) + 1
    i, j, k = np.sort(answers.astype(np.int64), axis=1).T
    by_object = sum(np.bincount(column, e, minlength=n) for column in (i, j, k))
    pairs = np.concatenate([i * n + j, i * n + k, j * n + k])
    by_pair = _sums(pairs, np.tile(e, 3))
    by_set = _sums((i * n + j) * n + k, e) if n < 2_000_000 else e
    shared = float(np.square(by_object).sum() - np.square(by_pair).sum() + np.square(by_set).sum())
    # the estimate can fall below that of independent answers, or below 0, in small samples
    variance = max(shared, float(e @ e)) / total**2
    half = _Z95 * float(np.sqrt(variance))
    return max(0.0, mean - half), min(1.0, mean + half)


def _sums(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of `values` over equal `keys`."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sums: np.ndarray = np.add.reduceat(values[order], starts)
    return sums
