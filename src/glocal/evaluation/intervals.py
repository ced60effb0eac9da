"""Means and their uncertainty: how the values behind a score depend on each other."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.evaluation.variances import (
    Variance,
    clusters_variance,
    objects_variance,
    satterthwaite,
    share_variance,
)
from glocal.similarity import Labels, Objects, Values

Limits = tuple[float, float]
FRACTION: Limits = (0.0, 1.0)
CORRELATION: Limits = (-1.0, 1.0)
_ROUNDING = 16 * 2.0**-52  # relative; equal scores differ from their rounded mean by a few eps
_MAX_OBJECTS = 9  # of an answer; all of their 2^m subsets are summed


class Bounded(NamedTuple):
    """A value and the two ends of its interval, which are None if it has no interval."""

    value: float
    low: float | None
    high: float | None


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
        variance = max(variance, 0.0)
        error = float(variance) ** 0.5
        if freedom > 0:
            rounding = _ROUNDING * np.abs(values).max()
            if error > rounding:
                return cls(mean, error, freedom)
        return cls(mean, None, freedom)

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

        tail = (1 - level) / 2
        quantile = -float(stdtrit(self.freedom, tail))
        half_width = quantile * self.error
        lowest, highest = limits
        low = max(self.mean - half_width, lowest)
        high = min(self.mean + half_width, highest)
        return low, high

    def bounded(self, limits: Limits = FRACTION) -> Bounded:
        """The mean with its interval."""
        low, high = self.interval(limits)
        return Bounded(self.mean, low, high)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of 0: 1 if the mean is 0, else None without an error."""
        if self.mean == 0:
            return 1.0
        if self.error is None:
            return None
        from scipy.special import stdtr

        t = -abs(self.mean) / self.error
        tail = float(stdtr(self.freedom, t))
        return 2 * tail


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
        estimate = self.estimate()
        return estimate.bounded(self.limits)

    def minus(self, baseline: Units) -> Estimate:
        """Estimate how much higher the score of this arm is than the baseline's, item by item.

        The `p` of the estimate is the p-value of no difference.
        """
        differences = self.values - baseline.values
        paired = replace(self, values=differences)
        return paired.estimate()


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
        of the three terms. The degrees of freedom are Satterthwaite's, but not fewer than the
        smaller margin has.

        References
        ----------
        Searle, Casella & McCulloch (1992), Variance Components, ch. 4; Owen (2007), Ann. Appl.
        Stat. 1:386, for why one-way intervals of crossed data are too narrow.
        """
        table = self.values
        mean = float(table.mean())
        by_person = table.mean(axis=1) - mean
        by_object = table.mean(axis=0) - mean
        interaction = table - mean - by_person[:, None] - by_object
        variance, freedom = _crossed_variance(by_person, by_object, interaction)
        return Estimate.from_variance(mean, variance, freedom, table)


def _crossed_variance(
    person_deviations: Float[np.ndarray, " people"],
    object_deviations: Float[np.ndarray, " objects"],
    interaction: Float[np.ndarray, "people objects"],
) -> Variance:
    """The variance of `CrossedValues`, from the deviations of the margins and of the cells."""
    people = share_variance(person_deviations)
    objects = share_variance(object_deviations)
    cells = share_variance(interaction)
    n_people = len(person_deviations)
    n_pairs_of_people = n_people * max(n_people - 1, 1)
    of_cells = cells.value / n_pairs_of_people
    cell_freedom = people.freedom * objects.freedom
    variances = np.array([people.value, objects.value, of_cells])
    freedoms = np.array([people.freedom, objects.freedom, cell_freedom])
    without_noise_twice = variances @ (1, 1, -1)
    variance = max(without_noise_twice, *variances)
    freedom = satterthwaite(variance, variances, freedoms)
    margins = [margin.freedom for margin in (people, objects) if margin.freedom]
    smaller_margin = min(margins, default=0.0)
    return Variance(variance, max(freedom, smaller_margin))


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
        subsets are too many to sum. If people are known, the jackknife variance over people is
        added, less the variance of independent answers Σ e² / (Σ w)², which both contain, if it is
        more than this. The degrees of freedom are then Satterthwaite's.

        References
        ----------
        Fafchamps & Gubert (2007), J. Dev. Econ. 83:326; Aronow, Samii & Assenova (2015), Political
        Analysis 23:564.
        """
        weights = self.weights
        if weights is None:
            weights = np.ones(len(self.values))
        weights = weights / weights.mean()
        mean = float(weights @ self.values) / float(weights.sum())
        objects_an_answer = self.objects.shape[1]
        if objects_an_answer > _MAX_OBJECTS:
            return Estimate(mean, None, 0.0)
        deviations = weights * (self.values - mean)
        variance = objects_variance(self.objects, deviations, weights)
        if self.persons is not None and variance.freedom:
            of_persons = clusters_variance(self.persons, deviations, weights)
            total_weight = float(weights.sum())
            independent = float(deviations @ deviations) / total_weight**2
            variance = _with_persons(variance, of_persons, independent)
        return Estimate.from_variance(mean, variance.value, variance.freedom, self.values)


def _with_persons(
    of_objects: Variance, of_persons: Variance, of_independent_answers: float
) -> Variance:
    """The sum of the variances over objects and people.

    Both contain the variance of independent answers, which counts once.
    """
    excess = of_persons.value - of_independent_answers
    if excess > 0:
        parts = np.array([of_objects.value, excess])
        freedoms = np.array([of_objects.freedom, of_persons.freedom])
        variance = float(parts.sum())
        freedom = satterthwaite(variance, parts, freedoms)
        return Variance(variance, freedom)
    return of_objects


def mean_estimate(values: Values, clusters: Labels | None = None) -> Estimate:
    """Estimate the mean of scores that are dependent within a cluster (a question).

    The variance comes from leaving out one cluster (`share_variance`), and is not less than with
    independent scores. Everything else that the scores depend on counts as fixed.
    """
    mean = float(values.mean())
    deviations = values - mean
    variance, freedom = share_variance(deviations)
    if clusters is not None:
        weights = np.ones(len(values))
        of_clusters = clusters_variance(clusters, deviations, weights)
        variance = max(variance, of_clusters.value)
        freedom = of_clusters.freedom
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
        is_unknown = np.isnan(scores)
        scores_without = np.where(is_unknown, mean, scores)
        deviations = scores_without.mean() - scores_without
        remaining_share = 1 - 1 / len(scores)
        shifts.append(deviations * remaining_share**0.5)
    all_shifts = np.concatenate(shifts)
    n_groups = len(all_shifts)
    n_pairs = n_groups * (n_groups - 1)
    return mean + all_shifts * n_pairs**0.5
