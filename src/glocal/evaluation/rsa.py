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
    human = rdms[:, *np.triu_indices(n, 1)]  # (people, pairs)
    model = model_rdm(Z, kernel)
    ceiling = noise_ceiling(human) if len(human) > 1 else None
    units = CrossedValues(values=np.empty((0, 0)))
    bounded: Bounded = (np.nan, None, None)
    if model.max() == model.min() or one_point(Z):
        warn(
            "collapse: all objects are at one point, so that no pair is more alike than another "
            "and RSA is undefined.",
            CollapseWarning,
        )
    else:
        values = np.stack([_jackknife(model, rdm, n) for rdm in human])
        units = CrossedValues(values=values, limits=CORRELATION)
        bounded = units.bounded()
    score = partial(Score, "rsa", n=n)
    scores = [score(f"spearman_{kernel}", *bounded)]
    for name, bound in zip(("lower", "upper"), ceiling or (), strict=False):
        scores.append(score(f"ceiling_{name}", bound, transform=PEOPLE))
    return Result.from_scores(scores, units, kernel, ceiling=ceiling, kernel=kernel)


def _jackknife(model: Values, human: Values, n: int) -> Float[np.ndarray, " groups"]:
    """The u_i of `rsa` for each object, or group of objects, and one person."""
    groups = min(n, _MAX_GROUPS)
    is_known = ~np.isnan(human)
    levels = _levels(model[is_known], human[is_known])
    members = np.stack(np.triu_indices(n, 1))[:, is_known] % groups
    correlation = _rank_correlation(levels)
    remaining = ((members != group).all(axis=0) for group in range(groups))
    correlations = np.array([_rank_correlation(levels[:, part]) for part in remaining])
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
        raise ParameterError(f"`kernel` is {kernel!r}; it must be {' or '.join(KERNELS)}.")
    Z = finite(Z)
    tolerance = pair_tolerance(Z, "dot" if kernel == "dot" else "cosine")
    if kernel == "correlation":
        Z = Z - Z.mean(axis=1, keepdims=True)
    rows = Z if kernel == "dot" else unit_rows(Z)
    return snap_ties((1 - rows @ rows.T)[np.triu_indices(len(Z), 1)], tolerance)


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
    return np.stack([np.unique(values, return_inverse=True)[1] for values in (x, y)])


def _rank_correlation(levels: Int[np.ndarray, "2 k"]) -> float:
    """Spearman's correlation of values that `_levels` has numbered."""
    if not levels.size or not np.ptp(levels, axis=1).all():
        return np.nan
    ranks = []
    for level in levels:
        counts = np.bincount(level)
        ranks.append((np.cumsum(counts) - counts / 2)[level])  # equal values have their mean rank
    return float(np.corrcoef(ranks)[0, 1])


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
        bounds = []
        for person, rdm in enumerate(human):
            others = np.delete(ranks, person, axis=0)
            bounds.append([spearman(np.nanmean(part, axis=0), rdm) for part in (others, ranks)])
        lower, upper = np.nanmean(bounds, axis=0).tolist()
    return lower, upper
