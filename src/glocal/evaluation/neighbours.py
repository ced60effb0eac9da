"""Each image's nearest neighbours by cosine, ties at the last place shared, and how many of them a transform keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, ParameterError
from glocal.evaluation.collapse import collapsed
from glocal.similarity import tie_tolerance, unit_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BLOCK = 1024
_BLOCK_NUMBERS = 1 << 24  # 128 MB of cosines at a time


def cosine_blocks(Z: Float[np.ndarray, "n p"]) -> Iterator[tuple[slice, Float[np.ndarray, "b n"]]]:
    """Yield (images, their cosines to all images) a block of images at a time; -inf of an image to itself."""
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    step = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(1, len(rows))))
    for start in range(0, len(rows), step):
        part = slice(start, min(start + step, len(rows)))
        S = rows[part] @ rows.T
        S[np.arange(len(S)), np.arange(part.start, part.stop)] = -np.inf
        yield part, S


def neighbourhoods(Z: Float[np.ndarray, "n p"], k: int = 10) -> csr_array:
    """P_k(j | i), (n, n) sparse: the probability that j is among the k nearest to i if ties come in random order.

    It is 1 or 0, and s / t for each of the t images that are tied for the last s places. Cosines within `tie_tolerance`
    of the k-th largest are tied with it.

    Raises
    ------
    ParameterError
        k outside 1 … n - 1.
    """
    from scipy.sparse import csr_array, vstack

    n, tolerance, blocks = len(Z), tie_tolerance(Z.shape[1]), []
    if not 1 <= k < n:
        raise ParameterError(f"k is {k} but {n} images allow 1 to {n - 1} neighbours.")
    for _, S in cosine_blocks(Z):
        last = np.partition(S, -k, axis=1)[:, -k]
        i, j = np.nonzero(last[:, None] - tolerance <= S)
        sure = S[i, j] > last[i] + tolerance
        share = (k - np.bincount(i, sure)) / np.bincount(i, ~sure)
        blocks.append(csr_array((np.where(sure, 1.0, share[i]), (i, j)), shape=S.shape))
    return vstack(blocks, format="csr")


def kept_by_image(
    X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10, *, before: csr_array | None = None
) -> Float[np.ndarray, " n"]:
    """The share of its k nearest neighbours that each image keeps: 1/k Σ_j min( P_k(j | i; X), P_k(j | i; Z) ).

    Without ties it is |N_k(i; X) ∩ N_k(i; Z)| / k. Candidates are exactly the rows given: the value depends on how many
    they are, so state their number beside it. A rotation keeps all, on any processor; what has
    collapsed keeps what chance keeps.

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features before and after the transform, the same images in the same order.
    k : int
        1 to n - 1.
    before : sparse array or None
        ``neighbourhoods(X, k)``, so that it is found once for many transforms; None finds it.

    Raises
    ------
    DataError
        Other images after than before.
    """
    if len(X) != len(Z):
        raise DataError(
            f"there are {len(X)} rows before the transform and {len(Z)} after; they must be the same images."
        )
    before = neighbourhoods(X, k) if before is None else before
    kept: np.ndarray = before.minimum(neighbourhoods(Z, k)).sum(axis=1) / k
    return np.full(len(X), k / (len(X) - 1)) if collapsed(X) or collapsed(Z) else kept


def neighbours_kept(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10) -> float:
    """The mean of `kept_by_image`; with cosines it is also the mutual nearest-neighbour alignment of X and Z."""
    return float(kept_by_image(X, Z, k).mean())


def neighbours(Z: Float[np.ndarray, "n p"], k: int = 10) -> Int[np.ndarray, "n k"]:
    """The k nearest rows of every row, nearest first, for pictures."""
    return np.concatenate([np.argsort(-S, axis=1, kind="stable")[:, :k] for _, S in cosine_blocks(Z)])
