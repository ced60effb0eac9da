"""What each object contributes to an RSA correlation, so that two models can be compared object by object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from glocal.evaluation.rank_correlation import PairTable

MOST = 200  # more objects are left out some at a time: the time grows with their number cubed, the error hardly changes
_BLOCK_NUMBERS = 1 << 18


def object_values(tables: Sequence[PairTable], n: int) -> Float[np.ndarray, "people g"]:
    """A value for each person and object, whose mean over objects and people is the Spearman correlation of `rsa`.

    A correlation over pairs is not a mean over independent items, since each object is in n - 1 pairs. The jackknife
    makes it one: with ρ_p the correlation with person p and ρ_p(i) that without object i,

        u_pi = ρ_p + (n - 1) (mean_j ρ_p(j) - ρ_p(i)),        mean_i u_pi = ρ_p,

    and the variance of the mean of the u_pi over i is the jackknife's. Differences of two models on the same objects
    and people are paired in these values (`paired_difference`: people × objects). Of more than `MOST` objects every
    `MOST`-th is left out together, g = min(n, `MOST`) groups in place of n objects.

    Parameters
    ----------
    tables : sequence of PairTable
        The pairs of the n objects, the model beside each person: `RSA.tables`.
    n : int

    References
    ----------
    Efron & Stein (1981), Ann. Stat. 9:586; Schütt et al. (2023), eLife 12:e82566 (objects and people both vary).
    """
    groups = min(n, MOST)
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
