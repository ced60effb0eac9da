"""Representational similarity analysis: whether people and a model find the same pairs alike."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from glocal.data.rdm import check_rdms
from glocal.errors import CollapseWarning, DataError, ParameterError
from glocal.evaluation.intervals import Units
from glocal.results import PEOPLE, Score
from glocal.similarity import joined, one_point, pair_tolerance, unit_rows

KERNELS = ("cosine", "correlation", "dot")
_GROUPS = 50  # of more objects some are left out together: the error hardly changes


@dataclass(frozen=True, kw_only=True)
class RSA:
    """Agreement of one embedding with human dissimilarities.

    `spearman` is the mean over people, NaN if the embedding is collapsed; `low` and `high` its 95 % interval over
    objects and people; `ceiling` bounds what any model can reach, (lower, upper), None for a single RDM. `units` hold
    what each person and object, or group of objects, contributes.
    """

    spearman: float
    low: float | None
    high: float | None
    ceiling: tuple[float, float] | None
    kernel: str
    n_objects: int
    units: Units | None = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The correlation, and the ceiling that people set."""
        first = Score("rsa", f"spearman_{self.kernel}", self.spearman, self.low, self.high, self.n_objects)
        names = zip(("lower", "upper"), self.ceiling or (), strict=False)
        return first, *(Score("rsa", f"ceiling_{name}", v, n=self.n_objects, transform=PEOPLE) for name, v in names)


def rsa(Z: Float[np.ndarray, "n p"], rdms: Float[np.ndarray, "*people n n"], *, kernel: str = "cosine") -> RSA:
    """Correlate the dissimilarities of an embedding with people's.

    Pairs are the upper triangle; a pair of NaN is left out for that person. A correlation over pairs is not a mean over
    independent items, since each object is in n - 1 pairs. The jackknife makes it one: with ρ the correlation with one
    person and ρ(i) that without object i,

        u_i = ρ + (n - 1) (mean_j ρ(j) - ρ(i)),        mean_i u_i = ρ,

    and the variance of the mean of the u_i is the jackknife's; with several people they are crossed with these
    (`two_way_estimate`), and differences of two models are paired in them. Of more than 50 objects every 50th is left
    out together. Where all objects are at (nearly) one point the correlation is NaN, with a CollapseWarning.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not, of the objects of the RDMs.
    rdms : (n, n) or (people, n, n) real array
        Human dissimilarities, symmetric, with a diagonal of 0; NaN where a pair is missing.
    kernel : {"cosine", "correlation", "dot"}
        See `model_rdm`.

    Raises
    ------
    DataError
        RDMs that `check_rdms` refuses, or about another number of objects than Z has rows.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4; Nili et al. (2014), PLoS Comput. Biol.
    10:e1003553 (noise ceiling); Efron & Stein (1981), Ann. Stat. 9:586; Schütt et al. (2023), eLife 12:e82566 (objects
    and people both vary).

    Examples
    --------
    >>> Z = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, -2.0]])
    >>> rdm = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> found = rsa(Z, rdm)
    >>> round(found.spearman, 3), found.ceiling
    (0.939, None)
    """
    rdms = check_rdms(np.asarray(rdms))
    people, n, _ = rdms.shape
    if len(Z) != n:
        raise DataError(f"the RDM is about {n} objects but there are {len(Z)} rows of features; they must be the same.")
    first, second = np.triu_indices(n, 1)
    human, model = rdms[:, first, second], model_rdm(Z, kernel)
    told: dict[str, Any] = {"kernel": kernel, "n_objects": n, "ceiling": noise_ceiling(human) if people > 1 else None}
    if model.max() == model.min() or one_point(np.asarray(Z, dtype=np.float64)):
        warnings.warn(
            "collapse: all objects are at one point, so that no pair is more alike than another and RSA is undefined.",
            CollapseWarning,
            stacklevel=2,
        )
        return RSA(spearman=np.nan, low=None, high=None, units=None, **told)
    groups = min(n, _GROUPS)
    values = np.empty((people, groups))
    for person, one in enumerate(human):
        whole, *without = spearman(model, one, ((first % groups != g) & (second % groups != g) for g in range(groups)))
        left = np.where(np.isnan(without), whole, without)  # what is left of very few objects may not vary
        values[person] = whole + (groups - 1) * (left.mean() - left)
    units = Units(values=values)
    found = units.estimate()
    low, high = found.interval()
    return RSA(spearman=found.mean, low=low, high=high, units=units, **told)


def model_rdm(Z: Float[np.ndarray, "n p"], kernel: str = "cosine") -> Float[np.ndarray, " pairs"]:
    """1 - similarity of every pair of rows: the upper triangle, row by row, as scipy's `squareform` takes it.

    The similarity is the cosine, the Pearson correlation across the dimensions, or the dot product. Entries that differ
    by no more than rounding are made equal.

    Examples
    --------
    >>> model_rdm(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])).tolist()
    [1.0, 0.0, 1.0]
    """
    if kernel not in KERNELS:
        raise ParameterError(f"`kernel` is {kernel!r}; allowed are {', '.join(KERNELS)}.")
    Z = np.asarray(Z, dtype=np.float64)
    tolerance = pair_tolerance(Z, "dot" if kernel == "dot" else "cosine")
    Z = Z - Z.mean(axis=1, keepdims=True) if kernel == "correlation" else Z
    rows = Z if kernel == "dot" else unit_rows(Z)
    return joined((1 - rows @ rows.T)[np.triu_indices(len(Z), 1)], tolerance)


def spearman(
    x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"], parts: Iterable[Bool[np.ndarray, " k"]] = ()
) -> Float[np.ndarray, " parts"]:
    """Spearman's correlation where both are known, then that of each part of them; NaN where one does not vary.

    scipy would sort anew for each part, a minute and a half a person for 1,854 objects. Here values are sorted once:
    in a part the mean rank of equal values is counted.
    """
    known, found = ~np.isnan(x) & ~np.isnan(y), []
    places = np.stack([np.unique(values[known], return_inverse=True)[1] for values in (x, y)])
    for part in chain([np.ones(len(x), dtype=bool)], parts):
        inside = places[:, part[known]]
        varied = inside.size > 0 and np.ptp(inside, axis=1).all()
        counts = [np.bincount(place) for place in inside]
        ranks = [(np.cumsum(n) - (n - 1) / 2)[place] for n, place in zip(counts, inside, strict=True)]
        found.append(np.corrcoef(ranks)[0, 1] if varied else np.nan)
    return np.array(found)


def noise_ceiling(human: Float[np.ndarray, "people pairs"]) -> tuple[float, float]:
    """The mean correlation of each person with the mean of the others' ranks (lower), and of all people's (upper).

    The lower bound is cautious, the upper one optimistic; NaN pairs are left out. Nili et al. (2014).
    """
    from scipy.stats import rankdata

    ranks = rankdata(human, axis=1, nan_policy="omit")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)  # pairs that no other person has
        others = [np.nanmean(np.delete(ranks, person, axis=0), axis=0) for person in range(len(human))]
        lower = [spearman(*pair) for pair in zip(others, human, strict=True)]
        upper = [spearman(np.nanmean(ranks, axis=0), one) for one in human]
        return float(np.nanmean(lower)), float(np.nanmean(upper))
