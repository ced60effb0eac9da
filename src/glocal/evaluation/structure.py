"""The structure of features that a transform preserves: neighbours, and all pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import ItemValues
from glocal.scores import KEPT, Score
from glocal.similarity import (
    Embedding,
    Numbers,
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
Cosines = Float[np.ndarray, "n _"]
"""The cosines of a block of rows with all rows."""
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
        rows = _sample(n_images)
        X = X[rows]
        Z = Z[rows]
    X = finite(X, "features before the transform")
    (X,) = zeros_if_collapsed(X)
    Z = finite(Z, "features after the transform")
    (Z,) = zeros_if_collapsed(Z)
    n = len(X)
    kept = kept_neighbours(X, Z, k)
    value = cka(X, Z)
    settings = {"k": k}
    score = Score("structure", "cka", value, n=n, settings=settings)
    scores = [*kept.scores, score]
    return Result.from_scores(scores, kept.units, n_images=n_images)


def _sample(n_images: int) -> Numbers:
    """The images of a random sample, which a DataWarning reports."""
    warn(
        f"{MAX_IMAGES:,} of {n_images:,} images are compared with each other, a random sample; "
        "an image keeps more neighbours among fewer.",
        DataWarning,
    )
    rng = np.random.default_rng(0)
    images = rng.choice(n_images, MAX_IMAGES, replace=False)
    return np.sort(images)


def kept_neighbours(
    X: Embedding, Z: Embedding, k: int = 10, *, before: csr_array | None = None
) -> Result:
    """The first score of `structure` alone; `before` as in `kept_by_image`."""
    shares = kept_by_image(X, Z, k, before=before)
    units = ItemValues(values=shares)
    value, low, high = units.bounded()
    n = len(X)
    settings = {"k": k}
    score = Score("structure", KEPT, value, low, high, n, settings=settings)
    return Result((score,), units)


def neighbours_kept(X: Embedding, Z: Embedding, k: int = 10) -> float:
    """The mean of `kept_by_image` over all images.

    With cosines, it is also the mutual nearest-neighbour alignment of X and Z.
    """
    X = finite(X)
    Z = finite(Z)
    shares = kept_by_image(X, Z, k)
    return float(shares.mean())


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
    after = neighbourhoods(Z, k)
    common = before.minimum(after)
    n_common: Values = common.sum(axis=1)
    if is_collapsed(X) or is_collapsed(Z):
        n = len(X)
        chance = k / (n - 1)
        return np.full(n, chance)
    return n_common / k


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
    from scipy.sparse import vstack

    n = len(Z)
    if not 1 <= k < n:
        raise ParameterError(f"`k` is {k} but {n} images allow 1 to {n - 1} neighbours.")
    n_columns = Z.shape[1]
    tolerance = tie_tolerance(n_columns)
    blocks = []
    for _, S in cosine_blocks(Z):
        block = _neighbourhoods_of_block(S, k, tolerance)
        blocks.append(block)
    return vstack(blocks, format="csr")


def _neighbourhoods_of_block(S: Cosines, k: int, tolerance: float) -> csr_array:
    """P_k(j | i) of the images i of a block."""
    from scipy.sparse import csr_array

    ascending = np.partition(S, -k, axis=1)
    kth_largest = ascending[:, -k]
    lowest = kth_largest - tolerance
    is_near = lowest[:, None] <= S
    i, j = np.nonzero(is_near)
    cosines = S[i, j]
    highest_tied = kth_largest + tolerance
    is_nearer = cosines > highest_tied[i]
    n_nearer = np.bincount(i, is_nearer)
    n_tied = np.bincount(i, ~is_nearer)
    n_places = k - n_nearer
    tied_share = n_places / n_tied
    P = np.where(is_nearer, 1.0, tied_share[i])
    places = (i, j)
    return csr_array((P, places), shape=S.shape)


def neighbours(Z: Embedding, k: int) -> Neighbours:
    """The k nearest rows of every row, nearest first, for display."""
    blocks = []
    for _, S in cosine_blocks(Z):
        block = _nearest_of_block(S, k)
        blocks.append(block)
    return np.concatenate(blocks)


def _nearest_of_block(S: Cosines, k: int) -> Neighbours:
    """The k nearest rows of each row of a block, nearest first."""
    distances = -S
    order = np.argsort(distances, axis=1, kind="stable")
    nearest = order[:, :k]
    return nearest.copy()  # the slice would keep all n places of every row in memory


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
    x_mean = X.mean(axis=0)
    z_mean = Z.mean(axis=0)
    X = X - x_mean
    Z = Z - z_mean
    hsic_x = _hsic(X, X)
    hsic_z = _hsic(Z, Z)
    product = hsic_x * hsic_z
    if product <= 0:
        return 0.0
    scale = product**0.5
    return _hsic(X, Z) / scale


def _hsic(X: Embedding, Z: Embedding) -> float:
    """HSIC as in `cka`, for centred columns."""
    n = len(X)
    a = np.square(X).sum(axis=1)
    b = np.square(Z).sum(axis=1)
    K = _row_sums(X, a)
    L = _row_sums(Z, b)
    # the p × q products have no name, which would keep them in memory
    products = np.square(X.T @ Z).sum()
    diagonal = a @ b
    K_sum = K.sum()
    L_sum = L.sum()
    n_pairs = (n - 1) * (n - 2)
    totals = K_sum * L_sum / n_pairs
    weight = 2 / (n - 2)
    row_products = K @ L
    row_sums = weight * row_products
    hsic = products - diagonal + totals - row_sums
    return float(hsic)


def _row_sums(X: Embedding, squared_lengths: Values) -> Values:
    """The row sums of the Gram matrix of X, without its diagonal."""
    column_sums = X.sum(axis=0)
    row_sums = X @ column_sums
    return row_sums - squared_lengths
