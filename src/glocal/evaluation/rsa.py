"""Representational similarity analysis: whether people and a model find the same pairs alike."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float

from glocal.data.rdm import check_rdms
from glocal.errors import CollapseWarning, DataError, ParameterError
from glocal.evaluation.model_rdm import pair_dissimilarities
from glocal.evaluation.rank_correlation import PairTable
from glocal.evaluation.result import Units
from glocal.evaluation.structure.collapse import one_point
from glocal.results import PEOPLE, Score

_FEWEST = 40  # replicates
MOST = 200  # more objects are left out some at a time: the time grows with their number cubed, the error hardly changes
_BLOCK_NUMBERS = 1 << 18


@dataclass(frozen=True)
class NoiseCeiling:
    """Bounds of the agreement that the best possible model reaches: `lower` is cautious, `upper` optimistic."""

    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True)
class RSA:
    """Agreement of one embedding with human dissimilarities.

    `spearman` and `pearson` are correlations over pairs of objects, averaged over people; NaN if the embedding is
    collapsed. `low` and `high` are the 95 % interval of `spearman`, `pearson_low` and `pearson_high` that of `pearson`
    (None if not asked for, or not defined). `ceiling` and `pearson_ceiling` bound what any model can reach (None with
    one RDM). `tables` holds the pairs of objects for each person, none if the embedding is collapsed.
    """

    spearman: float = np.nan
    pearson: float = np.nan
    low: float | None = None
    high: float | None = None
    pearson_low: float | None = None
    pearson_high: float | None = None
    ceiling: NoiseCeiling | None
    pearson_ceiling: NoiseCeiling | None
    kernel: str
    n_objects: int
    n_people: int
    tables: tuple[PairTable, ...] = field(default=(), repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Both correlations, and the ceiling of Spearman's that people set."""
        task, n = "rsa", self.n_objects
        people = () if self.ceiling is None else (("lower", self.ceiling.lower), ("upper", self.ceiling.upper))
        return (
            Score(task, f"spearman_{self.kernel}", self.spearman, self.low, self.high, n),
            Score(task, f"pearson_{self.kernel}", self.pearson, self.pearson_low, self.pearson_high, n),
            *(Score(task, f"ceiling_{name}", value, n=n, transform=PEOPLE) for name, value in people),
        )

    @property
    def units(self) -> Units | None:
        """What each person and object, or group of objects, contributes to Spearman's correlation."""
        return Units(values=object_values(self.tables, self.n_objects)) if self.tables else None


def rsa(
    Z: Float[np.ndarray, "n p"],
    rdms: Float[np.ndarray, "*people n n"],
    *,
    kernel: Annotated[str, "cosine, correlation, dot or choice: how the model's pairs are compared."] = "cosine",
    replicates: Annotated[int, "Bootstrap replicates; 0 for no interval."] = 1000,
    seed: Annotated[int, "Seed of the bootstrap."] = 42,
    on_replicate: Callable[[int], None] | None = None,
) -> RSA:
    """Correlate the dissimilarities of an embedding with people's.

    Pairs are the upper triangle; a pair of NaN is left out for that person. Model dissimilarities that differ by no
    more than rounding (`tie_tolerance`) are tied, as odd-one-out choices are.

    The interval is by bootstrap: objects are drawn again with replacement, pairs of an object with itself are
    dropped, ranks are taken anew; with several people they are drawn again too. It is a percentile interval.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not, of the objects of the RDMs.
    rdms : (n, n) or (people, n, n) real array
        Human dissimilarities, symmetric, with a diagonal of 0; NaN where a pair is missing.
    kernel : {"cosine", "correlation", "dot", "choice"}
        The kernel that computes the model's dissimilarities; see `model_rdm`.
    replicates : int
        Bootstrap replicates, at least 40; 0 for no interval.
    seed : int
    on_replicate : function of int, or None
        Called with the number of replicates done.

    Returns
    -------
    RSA

    Raises
    ------
    DataError
        RDMs that `check_rdms` refuses, or about another number of objects than Z has rows.
    ParameterError
        An unknown kernel or too few replicates.

    Warns
    -----
    CollapseWarning
        All objects are at (nearly) one point: the correlations are NaN.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4; Nili et al. (2014), PLoS Comput. Biol.
    10:e1003553 (noise ceiling); Schütt et al. (2023), eLife 12:e82566 (bootstrap over objects and people).

    Examples
    --------
    >>> Z = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [1.0, -2.0]])
    >>> rdm = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    >>> found = rsa(Z, rdm, replicates=0)
    >>> round(found.spearman, 3), found.low, found.ceiling
    (0.939, None, None)
    """
    if replicates and replicates < _FEWEST:
        raise ParameterError(f"replicates is {replicates}; allowed are 0 (no interval) and {_FEWEST} or more.")
    rdms = check_rdms(np.asarray(rdms))
    people, n, _ = rdms.shape
    if len(Z) != n:
        raise DataError(f"the RDM is about {n} objects but there are {len(Z)} rows of features; they must be the same.")
    human = rdms[:, *np.triu_indices(n, 1)]
    ceiling, pearson_ceiling = (
        noise_ceiling(human, method) if people > 1 else None for method in ("spearman", "pearson")
    )
    about: dict[str, Any] = {
        "ceiling": ceiling, "pearson_ceiling": pearson_ceiling, "kernel": kernel, "n_objects": n, "n_people": people,
    }  # fmt: skip
    x = pair_dissimilarities(Z, kernel)
    if x.max() == x.min() or one_point(np.asarray(Z, dtype=np.float64)):
        warnings.warn(
            "collapse: all objects are at one point, so that no pair is more alike than another and RSA is undefined.",
            CollapseWarning,
            stacklevel=2,
        )
        return RSA(**about)
    tables = tuple(PairTable.of(x, y, n) for y in human)
    values = np.mean([table.correlations(np.ones((1, n)))[:, 0] for table in tables], axis=0)
    low, high = _interval(tables, n, replicates, seed, on_replicate)
    spearman, pearson = (float(value) for value in values)
    return RSA(
        spearman=spearman, pearson=pearson, low=low[0], high=high[0], pearson_low=low[1], pearson_high=high[1],
        tables=tables, **about,
    )  # fmt: skip


def _interval(
    tables: Sequence[PairTable], n: int, replicates: int, seed: int, on_replicate: Callable[[int], None] | None
) -> tuple[list[float | None], list[float | None]]:
    """Ends of the percentile intervals of (spearman, pearson)."""
    rng = np.random.default_rng(seed)
    people = len(tables)
    block = max(1, _BLOCK_NUMBERS // tables[0].size)
    parts = []
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        counts = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        share = rng.multinomial(people, np.full(people, 1 / people), size=size).T / people
        parts.append(sum(table.correlations(counts) * part for table, part in zip(tables, share, strict=True)))
        if on_replicate is not None:
            on_replicate(start + size)
    low: list[float | None] = [None, None]
    high: list[float | None] = [None, None]
    for which, drawn in enumerate(np.concatenate(parts, axis=1) if parts else []):
        # with a handful of objects some replicates hold too few different ones for a correlation
        defined = drawn[np.isfinite(drawn)]
        if len(defined) >= _FEWEST:
            low[which], high[which] = (float(end) for end in np.quantile(defined, (0.025, 0.975)))
    return low, high


def noise_ceiling(human: Float[np.ndarray, "people pairs"], method: str = "spearman") -> NoiseCeiling:
    """The mean correlation of each person with the average person.

    upper: with the mean over all people, the person included; lower: with the mean over the others. Before
    averaging, people are rank-transformed for Spearman and brought to mean 0 and standard deviation 1 for Pearson.

    Parameters
    ----------
    human : (people, pairs) float
        Upper triangles of the RDMs of at least two people; NaN pairs are left out.
    method : {"spearman", "pearson"}

    Returns
    -------
    NoiseCeiling
        NaN if no person shares varying pairs with the others.

    References
    ----------
    Nili et al. (2014), PLoS Comput. Biol. 10:e1003553.
    """
    from scipy.stats import rankdata

    scaled = np.array(human, dtype=np.float64)
    for person in scaled:
        known = ~np.isnan(person)
        values = person[known]
        # ranks stay whole numbers, so that equal mean ranks stay tied
        person[known] = rankdata(values) if method == "spearman" else (values - values.mean()) / values.std()

    def agreement(person: int, others: np.ndarray) -> float:
        counts = (~np.isnan(others)).sum(axis=0)
        average = np.where(counts > 0, np.nansum(others, axis=0) / np.maximum(counts, 1), np.nan)
        known = ~np.isnan(human[person]) & ~np.isnan(average)
        a, b = human[person][known], average[known]
        if len(a) < 2 or a.max() == a.min() or b.max() == b.min():
            return np.nan
        if method == "spearman":
            a, b = rankdata(a), rankdata(b)
        return float(np.corrcoef(a, b)[0, 1])

    upper = [agreement(person, scaled) for person in range(len(human))]
    lower = [agreement(person, np.delete(scaled, person, axis=0)) for person in range(len(human))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return NoiseCeiling(float(np.nanmean(lower)), float(np.nanmean(upper)))


def object_values(tables: Sequence[PairTable], n: int, *, max_groups: int = MOST) -> Float[np.ndarray, "people g"]:
    """A value for each person and object, whose mean over objects and people is the Spearman correlation of `rsa`.

    A correlation over pairs is not a mean over independent items, since each object is in n - 1 pairs. The jackknife
    makes it one: with ρ_p the correlation with person p and ρ_p(i) that without object i,

        u_pi = ρ_p + (n - 1) (mean_j ρ_p(j) - ρ_p(i)),        mean_i u_pi = ρ_p,

    and the variance of the mean of the u_pi over i is the jackknife's. Differences of two models on the same objects
    and people are paired in these values (`paired_difference`: people × objects). Of more than `max_groups` objects
    every `max_groups`-th is left out together: g = min(n, max_groups) groups take the place of n objects.

    Parameters
    ----------
    tables : sequence of PairTable
        The pairs of the n objects, the model beside each person: `RSA.tables`.
    n : int
    max_groups : int
        At least 2. The time grows with it and with n²; the error hardly depends on it.

    References
    ----------
    Efron & Stein (1981), Ann. Stat. 9:586; Schütt et al. (2023), eLife 12:e82566 (objects and people both vary).
    """
    groups = min(n, max_groups)
    kept = np.arange(n) % groups != np.arange(groups)[:, None]
    values = np.empty((len(tables), groups))
    for person, table in enumerate(tables):
        step = max(1, _BLOCK_NUMBERS // table.size)
        blocks = [kept[start : start + step].astype(np.float64) for start in range(0, groups, step)]
        without = np.concatenate([table.correlations(counts)[0] for counts in blocks])
        whole = table.correlations(np.ones((1, n)))[0, 0]
        # with very few objects, what is left without one may not vary: it then says nothing
        without = np.where(np.isnan(without), whole, without)
        values[person] = whole + (groups - 1) * (without.mean() - without)
    return values
