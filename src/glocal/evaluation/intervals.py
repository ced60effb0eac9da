"""Means, their uncertainty, and comparisons of arms: one jackknife for scores that share parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from glocal.errors import DataError
from glocal.results import DIFFERENCE, PEOPLE, Score
from glocal.similarity import row_slices

Limits = tuple[float, float]
Bounded = tuple[float, float | None, float | None]
"""A value, and the low and the high end of its interval, if it has one."""
FRACTION: Limits = (0.0, 1.0)
CORRELATION: Limits = (-1.0, 1.0)
_ROUNDING = 16 * 2.0**-52  # equal scores differ from their rounded mean by some eps
_MAX_OBJECTS_FOR_SUBSETS = 9  # of an answer, all of whose 2^m subsets are counted
_MIN_UNRELATED_SHARE = 0.1  # of pairs of answers
_BLOCK = 256  # answers that are compared with all others at a time


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard `error`, known with `freedom` degrees of freedom.

    `error` is None where it cannot be estimated, and then there is no interval: a single score, or
    a single cluster of dependent scores, does not show how another would turn out, and equal scores
    show no spread. Interval and p-value are of one Student's t distribution: the 95 % interval
    leaves 0 out exactly where p < 0.05.
    """

    mean: float
    error: float | None
    freedom: float

    @classmethod
    def of(cls, mean: float, variance: float, freedom: float, values: np.ndarray) -> Estimate:
        """From the variance of the mean.

        There is no error where that is only the rounding of the values.
        """
        error = float(max(variance, 0.0)) ** 0.5
        is_spread = freedom > 0 and error > _ROUNDING * np.abs(values).max()
        return cls(mean, error if is_spread else None, freedom)

    @property
    def half(self) -> float:
        """Half the width of the interval; 0 without one."""
        from scipy.special import stdtrit

        return 0.0 if self.error is None else float(stdtrit(self.freedom, 0.975)) * self.error

    def interval(self, limits: Limits = (-math.inf, math.inf)) -> tuple[float | None, float | None]:
        """The 95 % interval, cut at the limits of what the score can be, such as `FRACTION`.

        Student's t has no limits: near 1 its interval goes beyond what a fraction can be. Cutting
        it loses no coverage.
        """
        if self.error is None:
            return None, None
        lowest, highest = limits
        return max(self.mean - self.half, lowest), min(self.mean + self.half, highest)

    def bounded(self, limits: Limits) -> Bounded:
        """The mean with its interval."""
        return self.mean, *self.interval(limits)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of 0: 1 if it is exactly 0, else None without an error."""
        from scipy.special import stdtr

        if self.mean == 0:
            return 1.0
        if self.error is None:
            return None
        return 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error))


@dataclass(frozen=True, eq=False, kw_only=True)
class Units:
    """The values whose (weighted) mean is the score of an arm, and what they share.

    ========================= ============================================ ==================
    values                    dependent through                            estimate
    ========================= ============================================ ==================
    (t,) with `answers`       the objects that the answers name, or the    `answer_estimate`
                              persons who gave them (`clusters`)
    (draws, classes)          draws and classes                            `two_way_estimate`
    (n,) with `clusters`      their cluster, for example a class           `mean_estimate`
    (n,)                      nothing                                      `mean_estimate`
    ========================= ============================================ ==================

    `weights` are those of the answers, or of the classes of a table.

    Examples
    --------
    >>> a = Units(values=np.array([0.6, 0.8, 0.7, 0.7]))
    >>> b = Units(values=np.array([0.5, 0.6, 0.6, 0.6]))
    >>> round(a.minus(b).mean, 3), a.minus(b).interval()[0] > 0
    (0.125, True)
    """

    values: Float[np.ndarray, "*shape"]
    answers: Int[np.ndarray, "t m"] | None = None
    weights: Float[np.ndarray, " w"] | None = None
    clusters: Shaped[np.ndarray, " n"] | None = None

    def estimate(self) -> Estimate:
        """The mean of the values.

        Raises
        ------
        DataError
            No value, one that is not finite, a weight below 0, or no weight above 0.
        """
        values = self.values
        weights = self.weights
        if weights is not None and not (weights.min(initial=0) >= 0 and weights.any()):
            raise DataError("weights of scores must be at least 0, and one of them above 0.")
        if values.ndim not in (1, 2) or not values.size or not np.isfinite(values).all():
            raise DataError(
                f"scores have shape {values.shape}; each answer, or draw and class, needs a "
                "finite one."
            )
        if self.answers is not None:
            return answer_estimate(values, self.answers, weights, self.clusters)
        if values.ndim == 2:
            return two_way_estimate(values, weights)
        return mean_estimate(values, self.clusters)

    def minus(self, baseline: Units) -> Estimate:
        """How much higher this arm scores than the baseline on the same items.

        Its `p` is the p-value of no difference.
        """
        if self.values.shape != baseline.values.shape:
            raise DataError(
                f"the two arms have scores of shape {self.values.shape} and "
                f"{baseline.values.shape}; both need one for each answer, or each draw and class, "
                "of the same data in the same order."
            )
        return replace(self, values=self.values - baseline.values).estimate()


def mean_estimate(
    values: Float[np.ndarray, " n"], clusters: Shaped[np.ndarray, " n"] | None = None
) -> Estimate:
    """The mean of scores, of which those of one cluster (a class, a person) are dependent.

    A class may be easy or hard as a whole: another draw of classes then moves the mean by more than
    another draw of images does. The variance is that of leaving out one cluster (`share_variance`),
    not less than that of independent scores. What else a score was computed from (candidates,
    gallery) counts as fixed.
    """
    mean = float(values.mean())
    variance, freedom = share_variance(values - mean)
    if clusters is not None:
        _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
        deviations = np.bincount(codes, values - mean) / sizes
        of_clusters, freedom = share_variance(deviations, sizes / len(values))
        variance = max(variance, of_clusters)
    return Estimate.of(mean, variance, freedom, values)


def share_variance(
    deviations: Float[np.ndarray, "*rows k"], shares: Float[np.ndarray, " k"] | None = None
) -> tuple[float, float]:
    """The variance of a mean of k independent parts with these or equal shares, summed over rows.

    Without part c a mean that has the share w_c of it moves by w_c e_c / (1 - w_c), so that the
    jackknife's variance is

        Var = (k - 1) / k Σ_c (w_c e_c / (1 - w_c))²,

    for equal shares Σ e² / (k (k - 1)). In the usual cluster-robust form, k / (k - 1) Σ (w_c e_c)²,
    a large part hides its own deviation by drawing the mean to itself, and intervals are too
    narrow.

    Returns
    -------
    variance : float
        0 for a single part.
    freedom : float
        Degrees of freedom: the effective number of parts 1 / Σ w² (Kish) less 1, at least 1; 0 for
        a single part.

    References
    ----------
    MacKinnon, Nielsen & Webb (2023), J. Appl. Econometrics 38:671 (CV3, the jackknife); Kish
    (1965), Survey Sampling; Carter, Schnepel & Steigerwald (2017), Rev. Econ. Stat. 99:698, on the
    effective number of clusters.
    """
    k = deviations.shape[-1]
    if k < 2:
        return 0.0, 0.0
    if shares is None:
        shares = np.full(k, 1 / k)
    shifts = deviations * (shares / (1 - shares))
    variance = (k - 1) / k * float(np.square(shifts).sum())
    return variance, max(1 / float(shares @ shares) - 1, 1.0)


def two_way_estimate(
    scores: Float[np.ndarray, "draws classes"], weights: Float[np.ndarray, " classes"] | None = None
) -> Estimate:
    """The (weighted) mean of a (draws × classes) table, for new draws and new classes.

    With a_d the weighted mean of draw d, ā_c the mean of class c and ā that of all, the two-way
    analysis of variance gives for equal weights

        Var = Σ_d (a_d - ā)² / (D (D-1)) + Σ_c (ā_c - ā)² / (K (K-1))
              - Σ_dc (x_dc - a_d - ā_c + ā)² / (D (D-1) K (K-1))

    since both margins contain the noise of the cells once; it is not less than any of the three.
    With weights (the test images of each class) the sums over classes are those of
    `share_variance`, and classes without weight are left out. Degrees of freedom are
    Satterthwaite's, at least those of the smaller margin.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, ch. 4; Owen (2007), Ann. Appl. Stat.
    1:386, for why one-way intervals of crossed data are too narrow.
    """
    if weights is None:
        weights = np.ones(scores.shape[1])
    scores = scores[:, weights > 0]  # (draws, classes)
    shares = weights[weights > 0] / weights.sum()
    mean = float(np.mean(scores @ shares))
    variances, freedoms = _two_way_parts(scores - mean, shares)
    variance = max(variances @ (1, 1, -1), *variances)
    freedom = min(filter(None, freedoms[:2]), default=0.0)
    spread = np.sum(variances**2 / np.where(freedoms > 0, freedoms, np.inf))
    if spread:
        freedom = max(variance**2 / spread, freedom)
    return Estimate.of(mean, variance, freedom, scores)


def _two_way_parts(
    deviations: Float[np.ndarray, "draws classes"], shares: Float[np.ndarray, " classes"]
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """The variances among draws, among classes and among cells apart from both; their freedom."""
    draws = len(deviations)
    by_draw = deviations @ shares
    by_class = deviations.mean(axis=0)
    among_draws, draw_freedom = share_variance(by_draw)
    among_classes, class_freedom = share_variance(by_class, shares)
    among_cells, _ = share_variance(deviations - by_draw[:, None] - by_class, shares)
    among_cells /= draws * max(draws - 1, 1)
    freedoms = [draw_freedom, class_freedom, draw_freedom * class_freedom]
    return np.array([among_draws, among_classes, among_cells]), np.array(freedoms)


def answer_estimate(
    values: Float[np.ndarray, " t"],
    answers: Int[np.ndarray, "t m"],
    weights: Float[np.ndarray, " t"] | None = None,
    persons: Shaped[np.ndarray, " t"] | None = None,
) -> Estimate:
    """The (weighted) mean of a value over answers.

    Answers that share an object, or a person, are dependent. The cluster-robust variance for data
    indexed by sets of objects is, with e the weighted deviations from the mean,

        Var = Σ over pairs of answers sharing at least one object of e_t e_t' / ((Σ w)² q),

    not less than that of independent questions. q is the share of pairs of answers that share
    nothing: deviations are from the mean of the same answers, so that the sum falls short of its
    target by just that factor. It is taken as at least 0.1: a smaller share rests on so few pairs
    that to divide by it would only multiply their noise. There is no error where no two answers are
    without a common object. Where persons are known, the jackknife's over persons takes its place
    if its interval is wider. Answers treated as independent would give an error that is too small.

    References
    ----------
    Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political
    Analysis 23:564.
    """
    w = np.ones(len(values)) if weights is None else weights
    total = float(w.sum())
    mean = float(w @ values) / total
    e = w * (values - mean)
    any_object, all_objects = _sums_over_pairs(answers, np.stack([e, w]))
    unrelated_share = 1 - any_object[1] / total**2
    freedom = 0.0
    if unrelated_share > 1e-12:
        freedom = len(np.unique(answers[w > 0])) - 1.0
    variance = max(any_object[0], all_objects[0])
    variance = variance / max(unrelated_share, _MIN_UNRELATED_SHARE) / total**2
    over_objects = Estimate.of(mean, variance, freedom, values)
    if persons is None or over_objects.error is None:
        return over_objects
    codes = np.unique(persons[w > 0], return_inverse=True)[1]
    sums = np.bincount(codes, w[w > 0])
    variance, freedom = share_variance(np.bincount(codes, e[w > 0]) / sums, sums / total)
    over_persons = Estimate.of(mean, variance, freedom, values)
    return max(over_objects, over_persons, key=lambda estimate: estimate.half)


def _sums_over_pairs(
    answers: Int[np.ndarray, "t m"], values: Float[np.ndarray, "v t"]
) -> tuple[Float[np.ndarray, " v"], Float[np.ndarray, " v"]]:
    """Σ e_t e_t' over the pairs of answers that share any object, and all of them, for each row e.

    By inclusion and exclusion over the subsets of objects: with E_s the sum of e over the answers
    that contain subset s, that of any object is Σ_s (-1)^(|s|+1) E_s². Answers of more than nine
    objects have too many subsets: they are compared in pairs.
    """
    m = answers.shape[1]
    ordered = np.sort(answers, axis=1)
    all_objects = _squared_subset_sums(ordered, m, values)
    if m > _MAX_OBJECTS_FOR_SUBSETS:
        return _sums_pair_by_pair(answers, values), all_objects
    squares = [_squared_subset_sums(ordered, size, values) for size in range(1, m)]
    squares.append(all_objects)
    return np.sum(squares[::2], axis=0) - np.sum(squares[1::2], axis=0), all_objects


def _squared_subset_sums(
    ordered: Int[np.ndarray, "t m"], size: int, values: Float[np.ndarray, "v t"]
) -> Float[np.ndarray, " v"]:
    """Σ_s E_s² over the subsets of a size, for each row of the values; objects are in order."""
    n = int(ordered.max()) + 1
    columns = list(combinations(range(ordered.shape[1]), size))
    subsets = np.concatenate([ordered[:, chosen] for chosen in columns])
    if n**size < 1 << 62:  # one integer a subset sorts much faster than a row
        subsets = subsets.astype(np.int64) @ np.int64(n) ** np.arange(size)
    if n**size > 1 << 24:
        subsets = np.unique(subsets, axis=0, return_inverse=True)[1].reshape(-1)
    sums = [np.bincount(subsets, np.tile(e, len(columns))) for e in values]
    return np.array([E @ E for E in sums])


def _sums_pair_by_pair(
    answers: Int[np.ndarray, "t m"], values: Float[np.ndarray, "v t"]
) -> Float[np.ndarray, " v"]:
    """Σ e_t e_t' over the pairs of answers that share an object, for each row of the values."""
    from scipy.sparse import csr_array

    t, m = answers.shape
    row_starts = np.arange(0, t * m + 1, m)
    incidence = csr_array((np.ones(t * m, bool), answers.ravel(), row_starts))  # (answers, objects)
    sums = np.zeros(len(values))
    for block in row_slices(t, _BLOCK):
        shared = incidence[block] @ incidence.T  # (block, answers): whether they share an object
        sums += np.einsum("vt,tv->v", values[:, block], shared @ values.T)
    return sums


def holm(p: Sequence[float]) -> list[float]:
    """Holm's p-values, which keep the chance of any false claim among all below the level.

    With p sorted ascending the k-th of m becomes max over j ≤ k of min(1, (m - j + 1) p_j).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, steps))
    return corrected.tolist()


@runtime_checkable
class EvaluationResult(Protocol):
    """What the command line, a suite and a report use of any evaluation."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """All rows; the first stands for the result in tables, those of people have `people`."""

    @property
    def units(self) -> Units | None:
        """What two arms are paired in: their mean is the first score. None where undefined."""


@dataclass(frozen=True, eq=False)
class KeptResult:
    """A result reduced to its scores and units."""

    scores: tuple[Score, ...]
    units: Units | None


def compared(
    results: Mapping[str, EvaluationResult], pairs: Iterable[tuple[str, str]]
) -> list[Score]:
    """The rows of arms that were scored on the same data.

    First come the rows of each arm, then those of people once, then the differences. The row of a
    pair (arm, baseline) is the first score of the arm less that of the baseline, in paired units;
    there is none where one of them has no units.
    """
    rows = [
        replace(row, transform=arm)
        for arm, result in results.items()
        for row in result.scores
        if row.transform != PEOPLE
    ]
    rows += [row for row in next(iter(results.values())).scores if row.transform == PEOPLE]
    for arm, baseline in pairs:
        units = results[arm].units
        baseline_units = results[baseline].units
        if units is None or baseline_units is None:
            continue
        score = results[arm].scores[0]
        difference = units.minus(baseline_units)
        lowest, highest = CORRELATION if score.metric.startswith("spearman") else FRACTION
        value, low, high = difference.bounded((lowest - highest, highest - lowest))
        row = replace(
            score,
            metric=score.metric + DIFFERENCE,
            value=value,
            low=low,
            high=high,
            p=difference.p,
            transform=arm,
            settings={**score.settings, "baseline": baseline},
        )
        rows.append(row)
    return rows
