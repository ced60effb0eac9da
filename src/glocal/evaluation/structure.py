"""What a transform does to each image's neighbours."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, ParameterError
from glocal.similarity import unit_rows

_BLOCK = 1024


def neighbours(Z: Float[np.ndarray, "n p"], k: int = 10) -> Int[np.ndarray, "n k"]:
    """The k nearest rows by cosine of every row, itself excluded, in no particular order; blocked and exact."""
    n = len(Z)
    if not 1 <= k < n:
        raise ParameterError(f"k is {k} but {n} images allow 1 to {n - 1} neighbours.")
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    nearest = np.empty((n, k), dtype=np.int64)
    for start in range(0, n, _BLOCK):
        similarity = rows[start : start + _BLOCK] @ rows.T
        similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))] = -np.inf
        nearest[start : start + _BLOCK] = np.argpartition(-similarity, k - 1, axis=1)[:, :k]
    return nearest


def neighbours_kept(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10) -> float:
    """Share of each image's k nearest neighbours that the transform keeps, averaged over images.

    mean_i |N_k(i; X) ∩ N_k(i; Z)| / k, by cosine, candidates are exactly the rows given: the value depends on how
    many they are, so state their number beside it.

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features (``transform.standardization(features)``) before and after the transform, the same images
        in the same order.
    k : int
        1 to n - 1.

    Returns
    -------
    float
        A fraction: 1 if every neighbourhood is unchanged.
    """
    if len(X) != len(Z):
        raise DataError(
            f"there are {len(X)} rows before the transform and {len(Z)} after; they must be the same images."
        )
    return shared_neighbours(neighbours(X, k), neighbours(Z, k))


def shared_neighbours(before: Int[np.ndarray, "n k"], after: Int[np.ndarray, "n k"]) -> float:
    """The mean share of the indices in each row of `before` that also stand in that row of `after`."""
    offset = np.arange(len(before))[:, None] * len(before)
    return float(np.isin(before + offset, after + offset).mean())
