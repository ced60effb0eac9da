"""Means and their uncertainty: how the values behind a score depend on each other."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

from glocal.data.people import asked_once, different_rows
from glocal.similarity import Labels, Objects, Values

Limits = tuple[float, float]
Bounded = tuple[float, float | None, float | None]
"""A value and the two ends of its interval, which are None if it has no interval."""
FRACTION: Limits = (0.0, 1.0)
CORRELATION: Limits = (-1.0, 1.0)
_ROUNDING = 16 * 2.0**-52  # relative; equal scores differ from their rounded mean by a few eps
_MAX_OBJECTS = 9  # of an answer; all of their 2^m subsets are summed
_MAX_ENTRIES_PER_OBJECT = 8  # a larger table of all subsets would be mostly empty
_MIN_UNRELATED_SHARE = 0.1  # smallest share of unrelated pairs by which a variance is divided


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
    def from_variance(
        cls, mean: float, variance: float, freedom: float, values: np.ndarray
    ) -> Estimate:
        """Create an estimate from the variance of the mean.

        The error is None if it is only the rounding of the values.
        """
        error = float(max(variance, 0.0)) ** 0.5
        is_spread = freedom > 0 and error > _ROUNDING * np.abs(values).max()
        return cls(mean, error if is_spread else None, freedom)

    def interval(
        self, limits: Limits = (-math.inf, math.inf), level: float = 0.95
    ) -> tuple[float | None, float | None]:
        """The interval of a level, cut at the limits of the range of the score, such as `FRACTION`.

        Student's t distribution is unbounded, so that the interval of a fraction near 1 would
        extend beyond 1. Cutting the interval loses no coverage.
        """
        if self.error is None:
            return None, None
        from scipy.special import stdtrit  # here, because its import takes 0.2 s

        half = -float(stdtrit(self.freedom, (1 - level) / 2)) * self.error
        lowest, highest = limits
        return max(self.mean - half, lowest), min(self.mean + half, highest)

    def bounded(self, limits: Limits = FRACTION) -> Bounded:
        """The mean with its interval."""
        return self.mean, *self.interval(limits)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of 0: 1 if the mean is 0, else None without an error."""
        if self.mean == 0:
            return 1.0
        if self.error is None:
            return None
        from scipy.special import stdtr

        return 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error))


@dataclass(frozen=True, eq=False, kw_only=True)
class Units(ABC):
    """The values whose (weighted) mean is the score of an arm, and how they depend on each other.

    Each kind of dependence is a class: `ItemValues`, `CrossedValues`, `ObjectValues`, and
    `glocal.evaluation.episodes.EpisodeValues`. The score lies within the `limits`.

    Examples
    --------
    >>> a = ItemValues(values=np.array([0.6, 0.8, 0.7, 0.7]))
    >>> b = ItemValues(values=np.array([0.5, 0.6, 0.6, 0.6]))
    >>> round(a.minus(b).mean, 3), a.minus(b).interval()[0] > 0
    (0.125, True)
    """

    values: Float[np.ndarray, "*shape"]
    limits: Limits = FRACTION

    @abstractmethod
    def estimate(self) -> Estimate:
        """Estimate the mean of the values."""

    def bounded(self) -> Bounded:
        """The score with its interval."""
        return self.estimate().bounded(self.limits)

    def minus(self, baseline: Units) -> Estimate:
        """Estimate how much higher the score of this arm is than the baseline's, item by item.

        The `p` of the estimate is the p-value of no difference.
        """
        return replace(self, values=self.values - baseline.values).estimate()


class ItemValues(Units):
    """One value for each of n independent items, or `pseudo_values`."""

    def estimate(self) -> Estimate:
        """Estimate the mean for other items (`mean_estimate`)."""
        return mean_estimate(self.values)


class CrossedValues(Units):
    """A table of values, (people, objects), which vary with people and with objects."""

    def estimate(self) -> Estimate:
        """Estimate the mean of the table for other people and other objects.

        With the means x̄_p of a person, x̄_o of an object and x̄ of all, the two-way analysis of
        variance gives

            Var = Σ_p (x̄_p - x̄)² / (P (P-1)) + Σ_o (x̄_o - x̄)² / (O (O-1))
                  - Σ_po (x_po - x̄_p - x̄_o + x̄)² / (P (P-1) O (O-1))

        because both margins contain the noise of the cells once. The variance is not less than any
        of the three terms. The degrees of freedom are Satterthwaite's, but at least those of the
        smaller margin.

        References
        ----------
        Searle, Casella & McCulloch (1992), Variance Components, ch. 4; Owen (2007), Ann. Appl.
        Stat. 1:386, for why one-way intervals of crossed data are too narrow.
        """
        table = self.values
        n_people = len(table)
        mean = float(table.mean())
        by_person = table.mean(axis=1) - mean
        by_object = table.mean(axis=0) - mean
        among_people, person_freedom = share_variance(by_person)
        among_objects, object_freedom = share_variance(by_object)
        among_cells, _ = share_variance(table - mean - by_person[:, None] - by_object)
        among_cells /= n_people * max(n_people - 1, 1)
        variances = np.array([among_people, among_objects, among_cells])
        freedoms = np.array([person_freedom, object_freedom, person_freedom * object_freedom])
        variance = max(variances @ (1, 1, -1), *variances)
        smaller_margin = min(filter(None, freedoms[:2]), default=0.0)
        freedom = max(satterthwaite(variance, variances, freedoms), smaller_margin)
        return Estimate.from_variance(mean, variance, freedom, table)


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectValues(Units):
    """One value for each answer, which varies with the objects that the answer names.

    `weights` and `persons` hold the weight of each answer and who gave it, if they are known.
    """

    objects: Objects
    weights: Values | None = None
    persons: Labels | None = None

    def estimate(self) -> Estimate:
        """Estimate the weighted mean over answers.

        Answers that share an object, or a person, are dependent. Treating them as independent would
        give an error that is too small. With e the weighted deviations from the mean, the
        cluster-robust variance for data indexed by sets of objects is

            Var = Σ over pairs of answers sharing at least one object of e_t e_t' / ((Σ w)² q),

        but not less than with independent questions. q is the share of pairs of answers without
        a common object. Because the deviations are from the mean of the same answers, the sum falls
        short of its target by just this factor. q is taken as at least 0.1: a smaller share rests
        on so few pairs that dividing by it would only multiply their noise. The error is None if
        every two answers have a common object, or answers have more than nine objects, whose
        subsets are too many to sum. If persons are known, the jackknife variance over persons is
        added, less the variance of independent answers Σ e² / (Σ w)², which both contain, if it is
        more than this. The degrees of freedom are then Satterthwaite's.

        References
        ----------
        Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political
        Analysis 23:564.
        """
        w = np.ones(len(self.values)) if self.weights is None else self.weights
        w = w / w.mean()
        mean = float(w @ self.values) / float(w.sum())
        if self.objects.shape[1] > _MAX_OBJECTS:
            return Estimate(mean, None, 0.0)
        e = w * (self.values - mean)
        variance, freedom = _over_objects(self.objects, e, w)
        if self.persons is not None and freedom:
            of_persons, person_freedom = _over_clusters(self.persons, e, w)
            of_persons -= float(e @ e) / float(w.sum()) ** 2
            if of_persons > 0:
                parts = np.array([variance, of_persons])
                variance = float(parts.sum())
                freedom = satterthwaite(variance, parts, np.array([freedom, person_freedom]))
        return Estimate.from_variance(mean, variance, freedom, self.values)


def mean_estimate(values: Values, clusters: Labels | None = None) -> Estimate:
    """Estimate the mean of scores that are dependent within a cluster (a question).

    The variance comes from leaving out one cluster (`share_variance`), and is not less than with
    independent scores. Everything else that the scores depend on counts as fixed.
    """
    mean = float(values.mean())
    variance, freedom = share_variance(values - mean)
    if clusters is not None:
        of_clusters, freedom = _over_clusters(clusters, values - mean, np.ones(len(values)))
        variance = max(variance, of_clusters)
    return Estimate.from_variance(mean, variance, freedom, values)


def pseudo_values(mean: float, *left_out: Float[np.ndarray, " _"]) -> Float[np.ndarray, " groups"]:
    """Values with this mean, whose error, if they were independent, is a jackknife's over groups.

    Each array has the score without each group of one kind of items (queries, gallery rows), NaN
    where it is undefined. With θ_g the score without group g of G, and θ̄ their mean, the jackknife
    variance is the sum over kinds of (G - 1)/G Σ_g (θ_g - θ̄)². For one kind, the values are the
    usual pseudo-values mean + (G - 1)(θ̄ - θ_g). Differences of two arms are paired in them.

    References
    ----------
    Efron & Stein (1981), Ann. Stat. 9:586.
    """
    shifts = []
    for scores in left_out:
        without = np.where(np.isnan(scores), mean, scores)
        shifts.append((without.mean() - without) * (1 - 1 / len(without)) ** 0.5)
    groups = sum(map(len, shifts))
    return mean + np.concatenate(shifts) * (groups * (groups - 1)) ** 0.5


def share_variance(
    deviations: Float[np.ndarray, "*rows k"], shares: Values | None = None
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


def satterthwaite(variance: float, parts: Values, freedoms: Values) -> float:
    """The degrees of freedom of a variance that is made of parts: Var² / Σ part² / freedom."""
    spread = float(np.sum(parts**2 / np.where(freedoms > 0, freedoms, np.inf)))
    return variance**2 / spread if spread else 0.0


def _over_objects(objects: Objects, e: Values, w: Values) -> tuple[float, float]:
    """The variance of `ObjectValues` over objects, and its degrees of freedom.

    The sum over pairs of answers that share any object uses inclusion and exclusion over the
    subsets of objects: with E_s the sum of e over the answers that contain subset s, it is
    Σ_s (-1)^(|s|+1) E_s². The same sum of the weights gives the share of unrelated pairs.
    """
    columns = np.sort(objects, axis=1).T.astype(np.int64, order="C")
    values = np.stack([e, w])
    sizes = range(1, len(columns))
    by_size = [_squared_subset_sums(columns, size, values) for size in sizes]
    of_questions = _squared_question_sums(columns, values)
    by_size.append(of_questions)
    signs = (-1.0) ** np.arange(len(columns))
    products_of_related, weight_of_related = signs @ np.array(by_size)
    squared_total = float(w.sum()) ** 2
    unrelated_share = 1 - weight_of_related / squared_total
    freedom = 0.0
    if unrelated_share > 1e-12:
        n_objects = np.count_nonzero(np.bincount(objects[w > 0].ravel()))
        freedom = n_objects - 1.0
    variance = max(products_of_related, of_questions[0]) / squared_total
    return float(variance / max(unrelated_share, _MIN_UNRELATED_SHARE)), freedom


def _over_clusters(clusters: Labels, e: Values, w: Values) -> tuple[float, float]:
    """The variance over clusters of weighted deviations e, and its degrees of freedom."""
    codes = np.unique(clusters[w > 0], return_inverse=True)[1]
    sums = np.bincount(codes, w[w > 0])
    return share_variance(np.bincount(codes, e[w > 0]) / sums, sums / float(w.sum()))


def _squared_question_sums(
    columns: Int[np.ndarray, "m t"], values: Float[np.ndarray, "v n"]
) -> Float[np.ndarray, " v"]:
    """Σ_s E_s² over the sets of all objects; answers to questions asked once are not sorted."""
    is_alone = asked_once(columns.T)
    of_single = np.square(values[:, is_alone]).sum(axis=1)
    others = np.flatnonzero(~is_alone)
    return of_single + _squared_subset_sums(columns[:, others], len(columns), values[:, others])


def _squared_subset_sums(
    columns: Int[np.ndarray, "m t"], size: int, values: Float[np.ndarray, "v n"]
) -> Float[np.ndarray, " v"]:
    """Σ_s E_s² over the subsets of this size, for each row of `values`; objects are ascending."""
    n = int(columns.max(initial=0)) + 1
    parts = list(combinations(columns, size))
    if n**size > _MAX_ENTRIES_PER_OBJECT * columns.size:
        rows = np.concatenate([np.stack(part, axis=1) for part in parts])
        subsets = np.split(different_rows(rows)[1], len(parts))
    else:
        subsets = [reduce(lambda number, column: number * n + column, part) for part in parts]
    n_subsets = max(int(numbers.max(initial=0)) for numbers in subsets) + 1
    sums = np.zeros((len(values), n_subsets))
    for numbers in subsets:
        for row, e in enumerate(values):
            sums[row] += np.bincount(numbers, e, n_subsets)
    return np.einsum("vs,vs->v", sums, sums)
