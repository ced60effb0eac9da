"""Representational similarity analysis: whether people and a model find the same pairs alike."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from glocal.data.rdm import check_rdms
from glocal.errors import CollapseWarning, DataError, ParameterError
from glocal.evaluation.intervals import Units
from glocal.results import PEOPLE, Score
from glocal.similarity import joined, one_point, tie_tolerance, unit_rows

KERNELS = ("cosine", "correlation", "dot")
_GROUPS = 50  # of more objects some are left out together: the error hardly changes


@dataclass(frozen=True, kw_only=True)
class RSA:
    """Agreement of one embedding with human dissimilarities.

    `spearman` is the correlation over pairs of objects, averaged over people, NaN if the embedding is collapsed; `low`
    and `high` its 95 % interval over objects and people; `ceiling` bounds what any model can reach, (lower, upper),
    None for a single RDM. `units` hold what each person and object, or group of objects, contributes.
    """

    spearman: float
    low: float | None
    high: float | None
    ceiling: tuple[float, float] | None
    kernel: str
    n_objects: int
    n_people: int
    units: Units | None = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The correlation, and the ceiling that people set."""
        first = Score("rsa", f"spearman_{self.kernel}", self.spearman, self.low, self.high, self.n_objects)
        names = zip(("lower", "upper"), self.ceiling or (), strict=False)
        return first, *(Score("rsa", f"ceiling_{name}", v, n=self.n_objects, transform=PEOPLE) for name, v in names)


def rsa(
    Z: Float[np.ndarray, "n p"],
    rdms: Float[np.ndarray, "*people n n"],
    *,
    kernel: str = "cosine",
) -> RSA:
    """Correlate the dissimilarities of an embedding with people's.

    Pairs are the upper triangle; a pair of NaN is left out for that person. A correlation over pairs is not a mean over
    independent items, since each object is in n - 1 pairs. The jackknife makes it one: with ρ the correlation with one
    person and ρ(i) that without object i,

        u_i = ρ + (n - 1) (mean_j ρ(j) - ρ(i)),        mean_i u_i = ρ,

    and the variance of the mean of the u_i is the jackknife's; with several people they are crossed with these
    (`two_way_estimate`), and differences of two models are paired in them. Of more than 50 objects every 50th is left
    out together.

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
    ParameterError
        An unknown kernel.

    Warns
    -----
    CollapseWarning
        All objects are at (nearly) one point: the correlation is NaN.

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
    human, model = rdms[:, first, second], pair_dissimilarities(Z, kernel)
    ceiling = noise_ceiling(human) if people > 1 else None
    if model.max() == model.min() or one_point(np.asarray(Z, dtype=np.float64)):
        warnings.warn(
            "collapse: all objects are at one point, so that no pair is more alike than another and RSA is undefined.",
            CollapseWarning,
            stacklevel=2,
        )
        return RSA(
            spearman=np.nan, low=None, high=None, ceiling=ceiling, kernel=kernel, n_objects=n, n_people=people,
            units=None,
        )  # fmt: skip
    groups = min(n, _GROUPS)
    values = np.empty((people, groups))
    for person, one in enumerate(human):
        known = ~np.isnan(one)
        x, y = codes(model[known]), codes(one[known])
        group = first[known] % groups, second[known] % groups
        kept = [(group[0] != g) & (group[1] != g) for g in range(groups)]
        without = np.array([_of_codes(x[part], y[part]) for part in kept])
        whole = _of_codes(x, y)
        without[np.isnan(without)] = whole  # what is left of very few objects may not vary: it then says nothing
        values[person] = whole + (groups - 1) * (without.mean() - without)
    units = Units(values=values)
    found = units.estimate()
    low, high = found.interval()
    return RSA(
        spearman=found.mean, low=low, high=high, ceiling=ceiling, kernel=kernel, n_objects=n, n_people=people,
        units=units,
    )  # fmt: skip


def model_rdm(Z: Float[np.ndarray, "n p"], kernel: str = "cosine") -> Float[np.ndarray, "n n"]:
    """1 - similarity of every pair of rows, with a diagonal of 0.

    The similarity is the cosine, the Pearson correlation across the dimensions, or the dot product.

    Examples
    --------
    >>> model_rdm(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    if kernel not in KERNELS:
        raise ParameterError(f"kernel is {kernel!r}; allowed are {', '.join(KERNELS)}.")
    Z = np.asarray(Z, dtype=np.float64)
    Z = Z - Z.mean(axis=1, keepdims=True) if kernel == "correlation" else Z
    rows = Z if kernel == "dot" else unit_rows(Z)
    rdm: np.ndarray = 1 - rows @ rows.T
    np.fill_diagonal(rdm, 0.0)
    return rdm


def pair_dissimilarities(Z: Float[np.ndarray, "n p"], kernel: str = "cosine") -> Float[np.ndarray, " pairs"]:
    """The upper triangle of `model_rdm`, row by row; entries that differ by no more than rounding are made equal."""
    pairs = model_rdm(Z, kernel)[np.triu_indices(len(Z), 1)]
    largest = float(np.square(Z, dtype=np.float64).sum(axis=1).max()) if kernel == "dot" else 1.0
    return joined(pairs, tie_tolerance(Z.shape[1], largest))


def spearman(x: Float[np.ndarray, " k"], y: Float[np.ndarray, " k"]) -> float:
    """Spearman's correlation where both are known; NaN where one of the two does not vary."""
    known = ~np.isnan(x) & ~np.isnan(y)
    return _of_codes(codes(x[known]), codes(y[known]))


def codes(values: Float[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """The place of each value among the different ones: sorted once, ranked in every subset without sorting."""
    return np.unique(values, return_inverse=True)[1]


def _of_codes(x: Int[np.ndarray, " k"], y: Int[np.ndarray, " k"]) -> float:
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return float("nan")
    counts = np.bincount(x), np.bincount(y)
    ranks = [(np.cumsum(count) - (count - 1) / 2)[code] for count, code in zip(counts, (x, y), strict=True)]
    return float(np.corrcoef(ranks)[0, 1])


def noise_ceiling(human: Float[np.ndarray, "people pairs"]) -> tuple[float, float]:
    """The mean correlation of each person with the mean of the others' ranks (lower), and of all people's (upper).

    The lower bound is cautious, the upper one optimistic; NaN pairs are left out. Nili et al. (2014).
    """
    from scipy.stats import rankdata

    ranks = np.full(human.shape, np.nan)
    for rank, one in zip(ranks, human, strict=True):
        rank[~np.isnan(one)] = rankdata(one[~np.isnan(one)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)  # pairs that no other person has
        others = [np.nanmean(np.delete(ranks, person, axis=0), axis=0) for person in range(len(human))]
        lower = [spearman(*pair) for pair in zip(others, human, strict=True)]
        upper = [spearman(np.nanmean(ranks, axis=0), one) for one in human]
        return float(np.nanmean(lower)), float(np.nanmean(upper))
