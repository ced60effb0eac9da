"""Correlation of the dissimilarities of all pairs of images before and after a transform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.evaluation.model_rdm import pair_dissimilarities

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
    n = len(X)
    if n > most:
        rows = np.sort(np.random.RandomState(seed).permutation(n)[:most])
        X, Z = X[rows], Z[rows]
    from scipy.stats import rankdata

    before, after = pair_dissimilarities(X), pair_dissimilarities(Z)
    return RdmCorrelation(_pearson(rankdata(before), rankdata(after)), _pearson(before, after), len(X))


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 1e-14 * len(a) else 0.0
