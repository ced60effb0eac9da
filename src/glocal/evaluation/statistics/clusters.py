"""Means over answers, which depend on each other through their objects."""

from __future__ import annotations

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int, Shaped

from glocal.evaluation.statistics.means import Estimate, share_variance

_MOST_CELLS = 1 << 26
_LEAST_DISJOINT = 0.1
_SETS_CHUNK = 512
_NO_PAIR = 1e-12  # a share of pairs below this is rounding


def answer_estimate(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t m"],
    weights: Float[np.ndarray, " t"] | None = None,
    persons: Shaped[np.ndarray, " t"] | None = None,
) -> tuple[Estimate, str]:
    """The mean over answers with the larger of two errors, and through what its answers depend on each other.

    Answers depend through the objects that they share (`triplet_estimate`) and through the person who gave them. Where
    persons are known the variance of the mean over persons is that of the jackknife which leaves out one of them
    (`share_variance`, a person's share being that of the weights). The estimate with the wider interval is returned,
    with ``"objects"`` or ``"persons"``.
    """
    by_object = triplet_estimate(values, answers, weights)
    if persons is None or by_object.error is None:
        return by_object, "objects"
    _, codes = np.unique(persons, return_inverse=True)
    w = np.ones(len(values)) if weights is None else weights
    sums = np.bincount(codes, w)
    deviations = np.bincount(codes, w * (values - by_object.mean))[sums > 0] / sums[sums > 0]
    variance, freedom = share_variance(deviations, sums[sums > 0] / sums.sum())
    by_person = Estimate.of_variance(by_object.mean, float(variance.sum()), freedom, float(np.abs(values).max()))
    wider = by_person.error is not None and _width(by_person) > _width(by_object)
    return (by_person, "persons") if wider else (by_object, "objects")


def _width(estimate: Estimate) -> float:
    low, high = estimate.interval()
    return 0.0 if low is None or high is None else high - low


def triplet_estimate(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t m"],
    weights: Float[np.ndarray, " t"] | None = None,
    *,
    max_pairs: float = 2e9,
) -> Estimate:
    """The (weighted) mean of a value over answers, and its error where answers that share an object are dependent.

    The cluster-robust variance for data indexed by sets of objects: with e the weighted deviations from the mean,

        Var = Σ over pairs of answers sharing at least one object of e_t e_t' / ((Σ w)² q)
            = [Σ_objects E_i² - Σ_pairs E_ij² + Σ_sets E_ijk²] / ((Σ w)² q)

    where E_i, E_ij and E_ijk sum e over the answers that contain the object, the pair, the set (inclusion and
    exclusion; with other numbers of objects than three the first sum is taken pair by pair). q is the share of
    (weighted) pairs of answers that share nothing: deviations are from the mean of the same answers, so the sum falls
    short of its target by just that factor (for answers that share no object it is the usual 1 - 1/t). Var is not less
    than Σ_sets E_ijk² / ((Σ w)² q). Answers treated as independent would give an error that is too small.

    Parameters
    ----------
    values : (t,) float
        Any value of each answer: a credit, or the difference of two.
    answers : (t, m) integers
        The objects of each answer; -1 is none.
    weights : (t,) float or None
    max_pairs : float
        Pairs of sets of other than three objects that are looked at one by one. Where more share an object, the error
        is an upper bound.

    Returns
    -------
    Estimate
        Its degrees of freedom are the number of objects named, less 1. Without an error where the answers are one
        cluster, no two of them without a common object (one answer; any answers about five objects), or all values
        are equal.

    References
    ----------
    Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political Analysis 23:564.
    """
    total = float(len(values) if weights is None else weights.sum())
    mean = float(values.sum() if weights is None else weights @ values) / total
    e = values - mean if weights is None else weights * (values - mean)
    (shared, by_set), (overlap, _), objects = _shared_sums(answers, e, weights, max_pairs)
    # the estimate can fall below that of independent sets, or below 0, in small samples
    least = float(by_set @ by_set) if len(by_set) > 1 else float(e @ e)
    disjoint = 1 - overlap / total**2
    variance = max(shared, least) / max(disjoint, _LEAST_DISJOINT) / total**2
    freedom = objects - 1.0 if disjoint > _NO_PAIR else 0.0
    return Estimate.of_variance(mean, variance, freedom, float(np.abs(values).max()))


def _shared_sums(
    answers: np.ndarray, e: np.ndarray, weights: np.ndarray | None, max_pairs: float
) -> tuple[tuple[float, np.ndarray], tuple[float, np.ndarray], int]:
    """Sums over the pairs of answers that share an object, and the number of objects named.

    For e and for the weights: Σ e_t e_t', and the sums of e over the answers to each set of three.
    """
    n = int(answers.max()) + 1
    if answers.shape[1] != 3:
        return _pairwise_sums(answers, e, weights, n, max_pairs)
    a, b, c = np.ascontiguousarray(answers.T, dtype=np.int64)
    i, k = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    j = a + b + c - i - k
    sides = ((i, j), (i, k), (j, k))
    cells = [first * n + second for first, second in sides] if n * n <= _MOST_CELLS else []
    order, starts = _groups(n, i, j, k)
    found = []
    for values in (e, weights):
        by_object = np.sum([np.bincount(column, values, minlength=n) for column in (i, j, k)], axis=0)
        if cells:
            by_pair = np.sum([np.bincount(cell, values, minlength=n * n) for cell in cells], axis=0)
        else:
            by_pair = _sums(
                None if values is None else np.tile(values, 3),
                *_groups(n, *(np.concatenate(column) for column in zip(*sides, strict=True))),
            )
        by_set = _sums(values, order, starts)
        found.append((float(by_object @ by_object - by_pair @ by_pair + by_set @ by_set), by_set))
    return found[0], found[1], int(np.count_nonzero(by_object))


def _pairwise_sums(
    answers: np.ndarray, e: np.ndarray, weights: np.ndarray | None, n: int, max_pairs: float
) -> tuple[tuple[float, np.ndarray], tuple[float, np.ndarray], int]:
    """The same for answers with any number of objects, from the sets of objects that share one.

    Where these are too many each pair of answers counts once for every object that it shares, which is too often: the
    error is too large then, not too small.
    """
    order, starts = _groups(n + 1, *(np.sort(answers, axis=1) + 1).T)
    sets = answers[order[starts]]
    there = sets >= 0
    rows = np.repeat(np.arange(len(sets)), there.sum(axis=1))
    B = scipy.sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, sets[there])), shape=(len(sets), n))
    named = np.asarray(B.sum(axis=0), dtype=np.float64).reshape(-1)
    by_set = [_sums(values, order, starts).astype(np.float64) for values in (e, weights)]
    if float(named @ named) > max_pairs:
        shared = [float(np.square(B.T @ sums).sum()) for sums in by_set]
    else:
        shared = [0.0, 0.0]
        for start in range(0, len(sets), _SETS_CHUNK):
            meets = B[start : start + _SETS_CHUNK] @ B.T
            meets.data[:] = 1
            for place, sums in enumerate(by_set):
                shared[place] += float(sums[start : start + _SETS_CHUNK] @ (meets @ sums))
    return (shared[0], by_set[0]), (shared[1], by_set[1]), int(np.count_nonzero(named))


def _sums(values: np.ndarray | None, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The sum of the values of each group, or its size."""
    if values is None:
        return np.diff(starts, append=len(order))
    sums: np.ndarray = np.add.reduceat(values[order], starts)
    return sums


def _groups(n: int, *columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order that brings equal rows of the columns together, and where each group starts in it."""
    small = [column.astype(np.min_scalar_type(n)) for column in columns]  # two bytes are sorted by radix, quickly
    order = np.lexsort(small)
    changes = np.zeros(len(order), dtype=bool)
    changes[0] = True
    for column in small:
        ordered = column[order]
        changes[1:] |= ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(changes)
