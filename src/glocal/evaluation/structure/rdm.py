"""Correlation of the dissimilarities of all pairs of images before and after a transform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.evaluation.model_rdm import pair_dissimilarities
from glocal.evaluation.rank_correlation import PairTable

_MOST = 2000


class RdmCorrelation(NamedTuple):
    """Correlations of two dissimilarity matrices over the pairs of `n` images."""

    spearman: float
    pearson: float
    n: int


def rdm_correlation(
    X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], *, most: int = _MOST, seed: int = 42
) -> RdmCorrelation:
    """Spearman and Pearson correlation between the upper triangles of 1 - cos(x_i, x_j) and of 1 - cos(z_i, z_j).

    Of more than `most` images a random sample drawn with the seed is compared, since the pairs are their square; the
    number compared is part of the result. Dissimilarities that differ by no more than rounding are tied, as in `rsa`.
    A constant matrix correlates 0 with any other.
    """
    if len(X) > most:
        rows = np.sort(np.random.RandomState(seed).permutation(len(X))[:most])
        X, Z = X[rows], Z[rows]
    n = len(X)
    table = PairTable.of(pair_dissimilarities(X), pair_dissimilarities(Z), n)
    spearman, pearson = np.nan_to_num(table.correlations(np.ones((1, n)))[:, 0])
    return RdmCorrelation(float(spearman), float(pearson), n)
