"""Each image's nearest neighbours by cosine, and how many of them a transform keeps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, ParameterError
from glocal.evaluation.structure.collapse import collapsed
from glocal.similarity import unit_rows

_BLOCK = 1024


def cosine_blocks(Z: Float[np.ndarray, "n p"]) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """Yield (images, their cosines to all images) a block of images at a time; -inf of an image to itself."""
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, min(start + _BLOCK, len(rows)))
        S = rows[part] @ rows.T
        S[np.arange(len(S)), np.arange(part.start, part.stop)] = -np.inf
        yield part, S


def neighbours(Z: Float[np.ndarray, "n p"], k: int = 10) -> Int[np.ndarray, "n k"]:
    """The k nearest rows by cosine of every row, itself excluded, nearest first; blocked and exact."""
    n = len(Z)
    if not 1 <= k < n:
        raise ParameterError(f"k is {k} but {n} images allow 1 to {n - 1} neighbours.")
    nearest = np.empty((n, k), dtype=np.int64)
    for part, S in cosine_blocks(Z):
        found = np.argpartition(-S, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(S, found, axis=1), axis=1, kind="stable")
        nearest[part] = np.take_along_axis(found, order, axis=1)
    return nearest


def neighbours_kept(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10) -> float:
    """Share of each image's k nearest neighbours that the transform keeps, averaged over images.

    mean_i |N_k(i; X) ∩ N_k(i; Z)| / k, by cosine, candidates are exactly the rows given: the value depends on how
    many they are, so state their number beside it. This is also the mutual nearest-neighbour alignment of X and Z that
    Huh et al. (2024) measure between networks. Where one of the two is collapsed its neighbours are arbitrary, and the
    value is that of chance, k / (n - 1).

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

    References
    ----------
    Huh, Cheung, Wang & Isola (2024), The Platonic representation hypothesis, arXiv 2405.07987, appendix A.
    """
    if len(X) != len(Z):
        raise DataError(
            f"there are {len(X)} rows before the transform and {len(Z)} after; they must be the same images."
        )
    kept = shared_neighbours(neighbours(X, k), neighbours(Z, k))
    return k / (len(X) - 1) if collapsed(X) or collapsed(Z) else kept


def shared_neighbours(before: Int[np.ndarray, "n k"], after: Int[np.ndarray, "n k"]) -> float:
    """The mean share of the indices in each row of `before` that also stand in that row of `after`."""
    return float(shared_by_image(before, after).mean())


def shared_by_image(before: Int[np.ndarray, "n k"], after: Int[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
    """The share of the indices in each row of `before` that also stand in that row of `after`."""
    n = max(int(before.max()), int(after.max())) + 1
    offset = np.arange(len(before))[:, None] * n
    shared: np.ndarray = np.isin(before + offset, after + offset).mean(axis=1)
    return shared
