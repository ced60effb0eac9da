"""Variances of means whose values share objects, people or clusters."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.data.people import asked_once, different_rows
from glocal.similarity import Labels, Numbers, Objects, Values

ObjectColumns = Int[np.ndarray, "m t"]
"""The objects of answers, ascending in each answer; one row for each place in the answer."""
ValueRows = Float[np.ndarray, "v n"]
"""Several values of each answer, one row for each kind of value."""
ValueSums = Float[np.ndarray, " v"]
"""One sum for each kind of value."""
_MAX_ENTRIES_PER_OBJECT = 8  # a larger table of all subsets would be mostly empty
_MIN_UNRELATED_SHARE = 0.1  # smallest share of unrelated pairs by which a variance is divided
_ROUNDING = 1e-12  # a smaller share of unrelated pairs is none


class Variance(NamedTuple):
    """The variance of a mean, and its degrees of `freedom`, which are 0 if it is not known."""

    value: float
    freedom: float


class _RelatedSums(NamedTuple):
    """Sums over pairs of answers: of their products and of their weights.

    `products` and `weight` are over pairs that share an object, and `question_products` over pairs
    that share all objects.
    """

    products: float
    weight: float
    question_products: float


def share_variance(
    deviations: Float[np.ndarray, "*rows k"], shares: Values | None = None
) -> Variance:
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
    n_parts = deviations.shape[-1]
    if n_parts < 2:
        return Variance(0.0, 0.0)
    if shares is None:
        shares = np.full(n_parts, 1 / n_parts)
    weights_of_deviations = shares / (1 - shares)
    shifts = deviations * weights_of_deviations
    squared_shifts = np.square(shifts)
    sum_of_squares = float(squared_shifts.sum())
    variance = (n_parts - 1) / n_parts * sum_of_squares
    effective_parts = 1 / float(shares @ shares)
    freedom = max(effective_parts - 1, 1.0)
    return Variance(variance, freedom)


def satterthwaite(variance: float, parts: Values, freedoms: Values) -> float:
    """The degrees of freedom of a variance that is made of parts: Var² / Σ part² / freedom."""
    divisors = np.where(freedoms > 0, freedoms, np.inf)
    terms = parts**2 / divisors
    spread = float(np.sum(terms))
    if not spread:
        return 0.0
    return variance**2 / spread


def clusters_variance(clusters: Labels, deviations: Values, weights: Values) -> Variance:
    """The variance over clusters of weighted deviations, and its degrees of freedom."""
    is_weighted = weights > 0
    _, codes = np.unique(clusters[is_weighted], return_inverse=True)
    cluster_weights = np.bincount(codes, weights[is_weighted])
    cluster_deviations = np.bincount(codes, deviations[is_weighted])
    total_weight = float(weights.sum())
    shares = cluster_weights / total_weight
    return share_variance(cluster_deviations / cluster_weights, shares)


def objects_variance(objects: Objects, deviations: Values, weights: Values) -> Variance:
    """The variance over objects of weighted deviations, and its degrees of freedom.

    `glocal.evaluation.intervals.ObjectValues` has the formula.
    """
    sums = _related_sums(objects, deviations, weights)
    total_weight = float(weights.sum())
    squared_weight = total_weight**2
    related_share = sums.weight / squared_weight
    unrelated_share = 1 - related_share
    freedom = 0.0
    if unrelated_share > _ROUNDING:
        weighted_objects = objects[weights > 0]
        answers_per_object = np.bincount(weighted_objects.ravel())
        n_objects = np.count_nonzero(answers_per_object)
        freedom = n_objects - 1.0
    products = max(sums.products, sums.question_products)
    variance = products / squared_weight
    divisor = max(unrelated_share, _MIN_UNRELATED_SHARE)
    return Variance(float(variance / divisor), freedom)


def _related_sums(objects: Objects, deviations: Values, weights: Values) -> _RelatedSums:
    """Sum products of deviations, and of weights, over pairs of answers that share any object.

    The sum uses inclusion and exclusion over the subsets of objects: with E_s the sum of the
    deviations of the answers that contain subset s, it is Σ_s (-1)^(|s|+1) E_s². The same sum of
    the weights gives the share of unrelated pairs.
    """
    columns = np.sort(objects, axis=1).T.astype(np.int64, order="C")
    values = np.stack([deviations, weights])
    objects_an_answer = len(columns)
    sizes = range(1, objects_an_answer)
    sums_by_size = [_squared_subset_sums(columns, size, values) for size in sizes]
    question_sums = _squared_question_sums(columns, values)
    sums_by_size.append(question_sums)
    exponents = np.arange(objects_an_answer)
    signs = (-1.0) ** exponents
    products, weight = signs @ np.array(sums_by_size)
    return _RelatedSums(products, weight, question_sums[0])


def _squared_question_sums(columns: ObjectColumns, values: ValueRows) -> ValueSums:
    """Σ_s E_s² over the sets of all objects; answers to questions asked once are not sorted."""
    objects_an_answer = len(columns)
    is_alone = asked_once(columns.T)
    # the squares have no name: a named array of this size would stay in memory until the end
    single_sums = np.square(values[:, is_alone]).sum(axis=1)
    others = np.flatnonzero(~is_alone)
    other_values = values[:, others]
    other_columns = columns[:, others]
    return single_sums + _squared_subset_sums(other_columns, objects_an_answer, other_values)


def _subset_numbers(columns: ObjectColumns, size: int) -> list[Numbers]:
    """Number the subsets of this size: one array for each choice of places in the answers."""
    n_objects = int(columns.max(initial=0)) + 1
    subsets = list(combinations(columns, size))
    max_entries = _MAX_ENTRIES_PER_OBJECT * columns.size
    if n_objects**size > max_entries:
        tables = [np.stack(subset, axis=1) for subset in subsets]
        rows = np.concatenate(tables)
        _, numbers = different_rows(rows)
        return np.split(numbers, len(subsets))
    all_numbers = []
    for first, *others in subsets:
        number = first
        for column in others:
            number = number * n_objects + column
        all_numbers.append(number)
    return all_numbers


def _squared_subset_sums(columns: ObjectColumns, size: int, values: ValueRows) -> ValueSums:
    """Σ_s E_s² over the subsets of this size, for each row of `values`."""
    subsets = _subset_numbers(columns, size)
    largest = [int(numbers.max(initial=0)) for numbers in subsets]
    n_subsets = max(largest) + 1
    sums = np.zeros((len(values), n_subsets))
    for numbers in subsets:
        for row, row_values in enumerate(values):
            sums[row] += np.bincount(numbers, row_values, n_subsets)
    return np.einsum("vs,vs->v", sums, sums)
