"""Representational similarity analysis: the correlation of human and model dissimilarities."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from glocal.data.rdm import check_rdms
from glocal.errors import CollapseWarning, DataError, ParameterError, warn
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import CORRELATION, Bounded, CrossedValues, pseudo_values
from glocal.scores import PEOPLE, Score
from glocal.similarity import (
    Embedding,
    Values,
    finite,
    one_point,
    pair_tolerance,
    snap_ties,
    unit_rows,
)

KERNELS = ("cosine", "correlation", "dot")
_MAX_GROUPS = 50  # groups that the jackknife leaves out; more would hardly change the error


def rsa(Z: Embedding, rdms: Float[np.ndarray, "*people n n"], *, kernel: str = "cosine") -> Result:
    """Correlate the dissimilarities of an embedding with human dissimilarities.

    Pairs are the upper triangle. A pair of NaN is left out for that person. A correlation over
    pairs is not a mean over independent items, because each object is in n - 1 pairs. The jackknife
    turns it into such a mean: with ρ the correlation with one person and ρ(i) the correlation
    without object i, the `pseudo_values` are

        u_i = ρ + (n - 1) (mean_j ρ(j) - ρ(i)),        mean_i u_i = ρ.

    With several people, the u_i form a table of people and objects (`CrossedValues`).
    Differences of two models are paired in the u_i. If there are more than 50 objects, they are
    left out in 50 groups, and n is the number of groups. If all objects are at (nearly) one point,
    the correlation is NaN and a CollapseWarning is issued.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not, of the objects of the RDMs.
    rdms : (n, n) or (people, n, n) real array
        Human dissimilarities, symmetric, with a diagonal of 0; NaN where a pair is missing.
    kernel : {"cosine", "correlation", "dot"}
        See `model_rdm`.

    Returns
    -------
    Result
        ``spearman``, the mean correlation over people, with ``low`` and ``high``, its 95 % interval
        over objects and people; ``ceiling``, the (lower, upper) bound of the correlation that any
        model can reach, None for a single RDM; ``kernel``; ``n`` objects.

    Raises
    ------
    DataError
        If `check_rdms` refuses the RDMs, their number of objects is not the number of rows of Z, or
        Z holds NaN or infinity.
    ParameterError
        If the kernel is unknown.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4; Nili et al. (2014), PLoS
    Comput. Biol. 10:e1003553 (noise ceiling); Efron & Stein (1981), Ann. Stat. 9:586; Schütt et al.
    (2023), eLife 12:e82566 (objects and people both vary).

    Examples
    --------
    >>> Z = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, -2.0]])
    >>> rdm = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> agreement = rsa(Z, rdm)
    >>> round(agreement.spearman, 3), agreement.ceiling
    (0.939, None)
    """
    Z = finite(Z)
    rdms = check_rdms(np.asarray(rdms))
    n = rdms.shape[-1]
    if len(Z) != n:
        raise DataError(
            f"the RDM is about {n} objects but there are {len(Z)} rows of features; they must be "
            "the same objects."
        )
    first_objects, second_objects = np.triu_indices(n, 1)
    human = rdms[:, first_objects, second_objects]  # (people, pairs)
    model = model_rdm(Z, kernel)
    ceiling = None
    if len(human) > 1:
        ceiling = noise_ceiling(human)
    no_values = np.empty((0, 0))
    units = CrossedValues(values=no_values)
    bounded = Bounded(np.nan, None, None)
    is_constant = model.max() == model.min()
    if is_constant or one_point(Z):
        warn(
            "collapse: all objects are at one point, so that no pair is more alike than another "
            "and RSA is undefined.",
            CollapseWarning,
        )
    else:
        values_of_people = [_jackknife(model, rdm, n) for rdm in human]
        units = CrossedValues(
            values=np.stack(values_of_people),
            limits=CORRELATION,
        )
        bounded = units.bounded()
    score = partial(Score, "rsa", n=n)
    scores = [score(f"spearman_{kernel}", *bounded)]
    if ceiling is not None:
        lower, upper = ceiling
        scores.append(score("ceiling_lower", lower, transform=PEOPLE))
        scores.append(score("ceiling_upper", upper, transform=PEOPLE))
    return Result.from_scores(
        scores,
        units,
        kernel,
        ceiling=ceiling,
        kernel=kernel,
    )


def _jackknife(model: Values, human: Values, n: int) -> Float[np.ndarray, " groups"]:
    """The u_i of `rsa` for each object, or group of objects, and one person."""
    n_groups = min(n, _MAX_GROUPS)
    is_known = ~np.isnan(human)
    levels = _levels(model[is_known], human[is_known])
    pairs = np.stack(np.triu_indices(n, 1))
    groups_of_pairs = pairs[:, is_known] % n_groups
    correlation = _rank_correlation(levels)
    correlations = np.empty(n_groups)
    for group in range(n_groups):
        is_remaining = (groups_of_pairs != group).all(axis=0)
        correlations[group] = _rank_correlation(levels[:, is_remaining])
    return pseudo_values(correlation, correlations)


def model_rdm(Z: Embedding, kernel: str = "cosine") -> Float[np.ndarray, " pairs"]:
    """1 - similarity of every pair of rows.

    The pairs are the upper triangle, row by row, in the order of scipy's `squareform`. The
    similarity is the cosine, the Pearson correlation across the dimensions, or the dot product.
    Entries that differ by no more than rounding are made equal.

    Examples
    --------
    >>> model_rdm(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])).tolist()
    [1.0, 0.0, 1.0]
    """
    if kernel not in KERNELS:
        kernels = " or ".join(KERNELS)
        raise ParameterError(f"`kernel` is {kernel!r}; it must be {kernels}.")
    Z = finite(Z)
    rows = Z
    if kernel == "correlation":
        rows = Z - Z.mean(axis=1, keepdims=True)
    if kernel == "dot":
        tolerance = pair_tolerance(Z, "dot")
    else:
        tolerance = pair_tolerance(Z, "cosine")
        rows = unit_rows(rows)
    distances = 1 - rows @ rows.T
    upper_triangle = np.triu_indices(len(Z), 1)
    return snap_ties(distances[upper_triangle], tolerance)


def spearman(x: Values, y: Values) -> float:
    """Spearman's correlation over the pairs that are known in both; NaN if one does not vary."""
    is_known = ~np.isnan(x) & ~np.isnan(y)
    return _rank_correlation(_levels(x[is_known], y[is_known]))


def _levels(x: Values, y: Values) -> Int[np.ndarray, "2 n"]:
    """Number the distinct values of each array in ascending order.

    scipy would sort the values again for each part of the pairs, which takes a minute and a half
    per person for 1,854 objects. Here values are sorted once, and `_rank_correlation` counts the
    ranks of a part.
    """
    _, levels_of_x = np.unique(x, return_inverse=True)
    _, levels_of_y = np.unique(y, return_inverse=True)
    return np.stack([levels_of_x, levels_of_y])


def _rank_correlation(levels: Int[np.ndarray, "2 k"]) -> float:
    """Spearman's correlation of values that `_levels` has numbered."""
    if levels.size == 0:
        return np.nan
    varies = np.ptp(levels, axis=1) > 0
    if not varies.all():
        return np.nan
    ranks = []
    for level in levels:
        counts = np.bincount(level)
        mean_ranks = np.cumsum(counts) - counts / 2  # of equal values
        ranks.append(mean_ranks[level])
    correlations = np.corrcoef(ranks)
    return float(correlations[0, 1])


def noise_ceiling(human: Float[np.ndarray, "people pairs"]) -> tuple[float, float]:
    """The lower and the upper bound of the correlation that a model can reach (Nili et al. 2014).

    The lower, cautious bound is the mean correlation of each person with the mean ranks of the
    others. The upper, optimistic bound is the mean correlation with the mean ranks of all people.
    NaN pairs are left out.
    """
    from scipy.stats import rankdata

    ranks = rankdata(human, axis=1, nan_policy="omit")
    with warnings.catch_warnings():
        # the warning is about pairs that no other person has
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        mean_ranks = np.nanmean(ranks, axis=0)
        lower_bounds = []
        upper_bounds = []
        for person, rdm in enumerate(human):
            ranks_of_others = np.delete(ranks, person, axis=0)
            mean_of_others = np.nanmean(ranks_of_others, axis=0)
            lower_bounds.append(spearman(mean_of_others, rdm))
            upper_bounds.append(spearman(mean_ranks, rdm))
        bounds = np.nanmean([lower_bounds, upper_bounds], axis=1)
    lower, upper = bounds.tolist()
    return lower, upper
