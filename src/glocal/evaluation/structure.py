"""The structure of features that a transform preserves: neighbours, and all pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import ItemValues
from glocal.scores import Score
from glocal.similarity import (
    Embedding,
    Values,
    cosine_blocks,
    finite,
    is_collapsed,
    tie_tolerance,
    zeros_if_collapsed,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Neighbours = Int[np.ndarray, "n k"]
"""The k nearest rows of every row, nearest first."""
MAX_IMAGES = 20_000
"""Of more images a random sample of this size is compared."""
MIN_IMAGES = 4
"""With fewer images, debiased CKA is not defined."""


def structure(X: Embedding, Z: Embedding, *, k: int = 10) -> Result:
    """Measure how a transform changes local and global structure.

    The measures are `neighbours_kept` and `cka`. If X or Z is a single point, both are at chance,
    which is k/(n-1) or 0, and a CollapseWarning is issued. Of more than `MAX_IMAGES` images, a
    random sample is compared, which a DataWarning says.

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features of at least 4 images before and after the transform, in the same
        order.
    k : int
        Number of neighbours, below n.

    Returns
    -------
    Result
        ``neighbours_kept``, the mean share of its ``k`` nearest neighbours that an image keeps,
        with ``low`` and ``high``, its 95 % interval over ``n`` images with fixed candidates (a
        little too narrow because images share candidates; None if all shares are equal); ``cka``
        (debiased), which is 1 for embeddings that are equal up to rotation and scale; ``n_images``,
        the number before a sample of ``n`` was drawn.

    Raises
    ------
    DataError
        If X or Z holds NaN or infinity, or they have fewer than `MIN_IMAGES` rows or another number
        of rows than each other.
    ParameterError
        If k is outside 1 … n - 1.
    """
    n_images = len(X)
    if n_images != len(Z) or n_images < MIN_IMAGES:
        raise DataError(
            f"there are {n_images} images before the transform and {len(Z)} after it; give the "
            f"same images, at least {MIN_IMAGES}."
        )
    if n_images > MAX_IMAGES:
        warn(
            f"{MAX_IMAGES:,} of {n_images:,} images are compared with each other, a random sample; "
            "an image keeps more neighbours among fewer.",
            DataWarning,
        )
        rows = np.sort(np.random.default_rng(0).choice(n_images, MAX_IMAGES, replace=False))
        X = X[rows]
        Z = Z[rows]
    (X,) = zeros_if_collapsed(finite(X, "features before the transform"))
    (Z,) = zeros_if_collapsed(finite(Z, "features after the transform"))
    kept = kept_neighbours(X, Z, k)
    other = Score("structure", "cka", cka(X, Z), n=len(X), settings={"k": k})
    return Result.from_scores((*kept.scores, other), kept.units, n_images=n_images)


def kept_neighbours(
    X: Embedding, Z: Embedding, k: int = 10, *, before: csr_array | None = None
) -> Result:
    """The first score of `structure` alone; `before` as in `kept_by_image`."""
    units = ItemValues(values=kept_by_image(X, Z, k, before=before))
    bounded = units.bounded()
    score = Score("structure", "neighbours_kept", *bounded, n=len(X), settings={"k": k})
    return Result((score,), units)


def neighbours_kept(X: Embedding, Z: Embedding, k: int = 10) -> float:
    """The mean of `kept_by_image` over all images.

    With cosines, it is also the mutual nearest-neighbour alignment of X and Z.
    """
    return float(kept_by_image(finite(X), finite(Z), k).mean())


def kept_by_image(
    X: Embedding, Z: Embedding, k: int = 10, *, before: csr_array | None = None
) -> Values:
    """The share of its k nearest neighbours that each image keeps.

        1/k Σ_j min( P_k(j | i; X), P_k(j | i; Z) ),

    which without ties is |N_k(i; X) ∩ N_k(i; Z)| / k. The candidates are exactly the rows of X. The
    value depends on their number, so report it with the value. A rotation keeps all neighbours, on
    any processor, and collapsed features keep the share that chance keeps. `before` is
    ``neighbourhoods(X, k)``, if it has been computed already.

    Raises
    ------
    ParameterError
        If k is outside 1 … n - 1.
    """
    if before is None:
        before = neighbourhoods(X, k)
    kept: np.ndarray = before.minimum(neighbourhoods(Z, k)).sum(axis=1) / k
    if is_collapsed(X) or is_collapsed(Z):
        return np.full(len(X), k / (len(X) - 1))
    return kept


def neighbourhoods(Z: Embedding, k: int = 10) -> csr_array:
    """P_k(j | i): the probability that j is among the k nearest to i, with ties in random order.

    The result is a sparse (n, n) array. An entry is 1 or 0, or s / t for each of the t images that
    are tied for the last s places. Cosines within `tie_tolerance` of the k-th largest are tied with
    it.

    Raises
    ------
    ParameterError
        If k is outside 1 … n - 1.
    """
    from scipy.sparse import csr_array, vstack

    n = len(Z)
    if not 1 <= k < n:
        raise ParameterError(f"`k` is {k} but {n} images allow 1 to {n - 1} neighbours.")
    tolerance = tie_tolerance(Z.shape[1])
    blocks = []
    for _, S in cosine_blocks(Z):
        kth_largest = np.partition(S, -k, axis=1)[:, -k]
        i, j = np.nonzero(kth_largest[:, None] - tolerance <= S)
        is_nearer = S[i, j] > kth_largest[i] + tolerance
        tied_share = (k - np.bincount(i, is_nearer)) / np.bincount(i, ~is_nearer)
        P = np.where(is_nearer, 1.0, tied_share[i])
        blocks.append(csr_array((P, (i, j)), shape=S.shape))
    return vstack(blocks, format="csr")


def neighbours(Z: Embedding, k: int) -> Neighbours:
    """The k nearest rows of every row, nearest first, for display."""
    # a copy, since a slice would keep all n places of every row in memory
    nearest = [np.argsort(-S, axis=1, kind="stable")[:, :k].copy() for _, S in cosine_blocks(Z)]
    return np.concatenate(nearest)


def cka(X: Embedding, Z: Embedding) -> float:
    """Debiased linear CKA.

        CKA = HSIC(X, Z) / √(HSIC(X, X) HSIC(Z, Z)),
        HSIC = ‖ZᵀX‖² - Σ a_i b_i + (Σ K̃)(Σ L̃) / ((n-1)(n-2)) - 2 / (n-2) · Σ_i K̃_i L̃_i,

    with centred columns, a_i = ‖x_i‖², b_i = ‖z_i‖², and K̃_i, L̃_i the row sums of the Gram
    matrices without their diagonals. It is 1 for embeddings that are equal up to rotation, scale
    and shift, and 0 on average for unrelated ones, whatever their dimensions (plain CKA rises
    towards 1 with the dimensions). It is 0 if one embedding is constant, and needs at least 4
    images. It is computed from p × q products, so that memory does not grow with the square of the
    number of images.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), ICML; Song et al. (2012), JMLR 13:1393, Eq. 4; Nguyen,
    Raghu & Kornblith (2021), ICLR.
    """
    X = finite(X)
    Z = finite(Z)
    X = X - X.mean(axis=0)
    Z = Z - Z.mean(axis=0)
    scale = _hsic(X, X) * _hsic(Z, Z)
    return _hsic(X, Z) / scale**0.5 if scale > 0 else 0.0


def _hsic(X: Embedding, Z: Embedding) -> float:
    """HSIC as in `cka`, for centred columns."""
    n = len(X)
    a = np.square(X).sum(axis=1)
    b = np.square(Z).sum(axis=1)
    K = X @ X.sum(axis=0) - a  # (n,): row sums
    L = Z @ Z.sum(axis=0) - b
    products = np.square(X.T @ Z).sum() - a @ b
    return float(products + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K @ L))
