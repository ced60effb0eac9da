"""Means, their uncertainty, and comparisons of arms, with a jackknife for dependent scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from glocal.data.people import asked_once
from glocal.errors import DataError
from glocal.evaluation.student import student_quantile, student_tail
from glocal.results import DIFFERENCE, PEOPLE, Score
from glocal.similarity import row_slices

Limits = tuple[float, float]
Bounded = tuple[float, float | None, float | None]
"""A value and the two ends of its interval, which are None if it has no interval."""
FRACTION: Limits = (0.0, 1.0)
CORRELATION: Limits = (-1.0, 1.0)
_ROUNDING = 16 * 2.0**-52  # relative; equal scores differ from their rounded mean by a few eps
_MAX_OBJECTS_FOR_SUBSETS = 9  # objects of an answer up to which all of their 2^m subsets are summed
_MAX_ENTRIES_PER_OBJECT = 8  # a larger table of all subsets would be mostly empty
_MIN_UNRELATED_SHARE = 0.1  # smallest share of unrelated pairs by which a variance is divided
_BLOCK = 256  # answers that are compared with all others at a time


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard `error`, and the degrees of `freedom` of this error.

    `error` is None if it cannot be estimated, and then there is no interval. A single score, or a
    single cluster of dependent scores, does not show how another would turn out, and equal scores
    show no spread. The interval and the p-value come from the same Student's t distribution, so
    that the 95 % interval excludes 0 exactly if p < 0.05.
    """

    mean: float
    error: float | None
    freedom: float

    @classmethod
    def of(cls, mean: float, variance: float, freedom: float, values: np.ndarray) -> Estimate:
        """Create an estimate from the variance of the mean.

        The error is None if it is only the rounding of the values.
        """
        error = float(max(variance, 0.0)) ** 0.5
        is_spread = freedom > 0 and error > _ROUNDING * np.abs(values).max()
        return cls(mean, error if is_spread else None, freedom)

    @property
    def half(self) -> float:
        """Half the width of the interval, or 0 if there is none."""
        return 0.0 if self.error is None else student_quantile(self.freedom) * self.error

    def interval(self, limits: Limits = (-math.inf, math.inf)) -> tuple[float | None, float | None]:
        """The 95 % interval, cut at the limits of the range of the score, such as `FRACTION`.

        Student's t distribution is unbounded, so that the interval of a fraction near 1 would
        extend beyond 1. Cutting the interval loses no coverage.
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
        """Two-sided p-value of a mean of 0: 1 if the mean is 0, else None without an error."""
        if self.mean == 0:
            return 1.0
        if self.error is None:
            return None
        return 2 * student_tail(abs(self.mean) / self.error, self.freedom)


@dataclass(frozen=True, eq=False, kw_only=True)
class Units:
    """The values whose (weighted) mean is the score of an arm, and how they depend on each other.

    ========================= ============================================ ==================
    values                    dependent through                            estimate
    ========================= ============================================ ==================
    (t,) with `answers`       the objects that the answers name, or the    `answer_estimate`
                              persons who gave them (`clusters`)
    (draws, classes)          draws and classes                            `two_way_estimate`
    (n,) with `clusters`      their cluster, for example a class           `mean_estimate`
    (n,)                      nothing                                      `mean_estimate`
    ========================= ============================================ ==================

    `weights` are the weights of the answers, or of the classes.

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
        """Estimate the mean of the values.

        Raises
        ------
        DataError
            If there is no value, a value is not finite, a weight is below 0, or no weight is above
            0.
        """
        values = self.values
        weights = self.weights
        if weights is not None and not (weights.min(initial=0) >= 0 and weights.any()):
            raise DataError("weights of scores must be at least 0, and one of them above 0.")
        if values.ndim not in (1, 2) or not values.size or not np.isfinite(values).all():
            raise DataError(
                f"scores have shape {values.shape}; each answer, or draw and class, needs a "
                "finite score."
            )
        if self.answers is not None:
            return answer_estimate(values, self.answers, weights, self.clusters)
        if values.ndim == 2:
            return two_way_estimate(values, weights)
        return mean_estimate(values, self.clusters)

    def minus(self, baseline: Units) -> Estimate:
        """Estimate the score of this arm minus that of the baseline on the same items.

        The `p` of the estimate is the p-value of no difference.
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
    """Estimate the mean of scores that are dependent within a cluster (a class, a person).

    A class may be easy or hard as a whole, so that another draw of classes moves the mean by more
    than another draw of images does. The variance is that of leaving out one cluster
    (`share_variance`), but not less than that of independent scores. Everything else that the
    scores depend on (candidates, gallery) counts as fixed.
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

    Leaving out part c, with share w_c and deviation e_c, moves the mean by w_c e_c / (1 - w_c), so
    that the jackknife variance is

        Var = (k - 1) / k Σ_c (w_c e_c / (1 - w_c))²,

    which for equal shares is Σ e² / (k (k - 1)). In the usual cluster-robust form, k / (k - 1)
    Σ (w_c e_c)², a large part hides its own deviation by drawing the mean towards itself, and
    intervals are too narrow.

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
    """Estimate the (weighted) mean of a (draws × classes) table, for new draws and new classes.

    With a_d the weighted mean of draw d, ā_c the mean of class c and ā the overall mean, the
    two-way analysis of variance gives for equal weights

        Var = Σ_d (a_d - ā)² / (D (D-1)) + Σ_c (ā_c - ā)² / (K (K-1))
              - Σ_dc (x_dc - a_d - ā_c + ā)² / (D (D-1) K (K-1))

    because both margins contain the noise of the cells once. The variance is not less than any of
    the three terms. With weights (the test images of each class), the sums over classes are those
    of `share_variance`, and classes without weight are left out. The degrees of freedom are
    Satterthwaite's, but at least those of the smaller margin.

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
    """The variances of draws, classes and their interaction, and their degrees of freedom."""
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
    """Estimate the (weighted) mean of a value over answers.

    Answers that share an object, or a person, are dependent. Treating them as independent would
    give an error that is too small. With e the weighted deviations from the mean, the
    cluster-robust variance for data indexed by sets of objects is

        Var = Σ over pairs of answers sharing at least one object of e_t e_t' / ((Σ w)² q),

    but not less than that of independent questions. q is the share of pairs of answers without a
    common object. Because the deviations are from the mean of the same answers, the sum falls short
    of its target by just this factor. q is taken as at least 0.1: a smaller share rests on so few
    pairs that dividing by it would only multiply their noise. The error is None if every two
    answers have a common object. If persons are known and the interval of the jackknife over
    persons is wider, that estimate is returned.

    References
    ----------
    Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political
    Analysis 23:564.
    """
    w = np.ones(len(values)) if weights is None else weights / weights.mean()
    total = float(w.sum())
    mean = float(w @ values) / total
    e = w * (values - mean)
    any_object, all_objects = _sums_over_pairs(answers, np.stack([e, w]))
    unrelated_share = 1 - any_object[1] / total**2
    freedom = 0.0
    if unrelated_share > 1e-12:
        is_named = np.zeros(int(answers.max()) + 1, dtype=bool)
        is_named[answers[w > 0]] = True
        freedom = np.count_nonzero(is_named) - 1.0
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
    """Σ e_t e_t' over the pairs of answers that share any object, and over those that share all.

    Both sums are computed for each row e of `values`. The first uses inclusion and exclusion over
    the subsets of objects: with E_s the sum of e over the answers that contain subset s, it is
    Σ_s (-1)^(|s|+1) E_s². Answers of more than nine objects have too many subsets and are compared
    pair by pair.
    """
    m = answers.shape[1]
    columns = np.sort(answers, axis=1).T.astype(np.int64, order="C")
    rest_rows = np.flatnonzero(~asked_once(answers))
    rest = values[:, rest_rows]
    all_objects = np.einsum("vt,vt->v", values, values) - np.einsum("vt,vt->v", rest, rest)
    all_objects += _squared_subset_sums(columns[:, rest_rows], m, rest)
    if m > _MAX_OBJECTS_FOR_SUBSETS:
        return _sums_pair_by_pair(answers, values), all_objects
    squares = [_squared_subset_sums(columns, size, values) for size in range(1, m)]
    squares.append(all_objects)
    return np.sum(squares[::2], axis=0) - np.sum(squares[1::2], axis=0), all_objects


def _squared_subset_sums(
    columns: Int[np.ndarray, "m t"], size: int, values: Float[np.ndarray, "v t"]
) -> Float[np.ndarray, " v"]:
    """Σ_s E_s² over the subsets of this size, for each row of `values`; objects are ascending."""
    n = int(columns.max(initial=0)) + 1
    chosen = list(combinations(columns, size))
    if n**size < 1 << 62:  # one integer per subset sorts much faster than a row
        subsets = [reduce(lambda number, column: number * n + column, part) for part in chosen]
    else:
        subsets = [np.stack(part, axis=1) for part in chosen]
    if n**size > _MAX_ENTRIES_PER_OBJECT * columns.size:
        numbers = np.unique(np.concatenate(subsets), axis=0, return_inverse=True)[1]
        subsets = np.split(numbers.reshape(-1), len(subsets))
    n_subsets = max(int(numbers.max(initial=0)) for numbers in subsets) + 1
    sums = np.zeros((len(values), n_subsets))
    for numbers in subsets:
        for row, e in enumerate(values):
            sums[row] += np.bincount(numbers, e, n_subsets)
    return np.einsum("vs,vs->v", sums, sums)


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
    """Holm's adjusted p-values, which control the probability of any false positive among all.

    With p in ascending order, the k-th of m becomes max over j ≤ k of min(1, (m - j + 1) p_j).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    steps = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, steps))
    return corrected.tolist()


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The result of an evaluation: ``result.accuracy`` is the value of that name.

    Parameters
    ----------
    scores : tuple of Score
        All rows; tables show the first one, and rows of people have the transform `PEOPLE`.
    units : Units
        The values by which two arms are paired, with the first score as their mean; empty if that
        score is undefined.
    values : mapping
        The values by their names in JSON, which are attributes too. Arrays stay out of JSON.
    """

    scores: tuple[Score, ...]
    units: Units
    values: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})
        if name not in values:
            raise AttributeError(f"this result has no {name!r}; it has {', '.join(values)}")
        return values[name]

    def __repr__(self) -> str:
        return f"Result({', '.join(f'{name}={value!r}' for name, value in self.record().items())})"

    def record(self) -> dict[str, Any]:
        """The values for JSON, without arrays."""
        return {
            name: value.record() if isinstance(value, Result) else value
            for name, value in self.values.items()
            if not isinstance(value, np.ndarray)
        }


def compared(results: Mapping[str, Result], pairs: Iterable[tuple[str, str]]) -> list[Score]:
    """The score rows of arms that were scored on the same data, and of their differences.

    The rows of each arm come first, then the rows of people once, then the differences. The row of
    a pair (arm, baseline) is the first score of the arm minus that of the baseline, in paired
    units. It is left out if one of the two is undefined.
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
        if not (units.values.size and baseline_units.values.size):
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
