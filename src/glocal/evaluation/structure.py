"""What a transform does to the structure of features: the neighbours that images keep, and all pairs of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from glocal.errors import DataError, ParameterError
from glocal.evaluation.intervals import Units
from glocal.evaluation.rsa import model_rdm, spearman
from glocal.results import Score
from glocal.similarity import collapsed, tie_tolerance, unit_rows, unless_collapsed

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_BLOCK = 1024
_BLOCK_NUMBERS = 1 << 24  # 128 MB of cosines at a time
_MOST = 2000  # images whose dissimilarities are compared


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What stays of the structure of n images under a transform.

    `neighbours_kept` is that of `k` neighbours, with its 95 % interval over images (the candidates fixed; images share
    them, so that it is a little narrow; None where all are equal). `cka` (debiased) and `rdm_spearman` are 1 for
    embeddings equal up to rotation and scale and about 0 for unrelated ones. `units` hold the share that each image
    keeps.
    """

    neighbours_kept: float
    low: float | None
    high: float | None
    cka: float
    rdm_spearman: float
    k: int
    n: int
    units: Units = field(repr=False, compare=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Neighbours kept, and both measures of all pairs."""
        settings = {"k": self.k}
        return (
            Score("structure", "neighbours_kept", self.neighbours_kept, self.low, self.high, self.n, settings=settings),
            Score("structure", "cka", self.cka, n=self.n, settings=settings),
            Score("structure", "rdm_spearman", self.rdm_spearman, n=self.n, settings=settings),
        )


def structure(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], *, k: int = 10, seed: int = 42) -> Structure:
    """Measure what a transform does to global and local structure: `neighbours_kept`, `cka` and `rdm_spearman`.

    Where one side is a single point every measure is that of chance, k/(n-1) and 0, with a CollapseWarning.

    Parameters
    ----------
    X, Z : (n, p) and (n, q) real arrays
        Standardized features before and after the transform, the same images in the same order; at least 4.
    k : int
        Neighbours, below n.
    seed : int
        Of the sample that `rdm_spearman` compares.
    """
    (X,), (Z,) = unless_collapsed(X), unless_collapsed(Z)
    units = Units(values=kept_by_image(X, Z, k))
    low, high = units.estimate().interval(fraction=True)
    return Structure(
        neighbours_kept=float(units.values.mean()), low=low, high=high, cka=cka(X, Z),
        rdm_spearman=rdm_spearman(X, Z, seed), k=k, n=len(X), units=units,
    )  # fmt: skip


def neighbours_kept(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10) -> float:
    """The mean of `kept_by_image`; with cosines it is also the mutual nearest-neighbour alignment of X and Z."""
    return float(kept_by_image(X, Z, k).mean())


def kept_by_image(
    X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], k: int = 10, *, before: csr_array | None = None
) -> Float[np.ndarray, " n"]:
    """The share of its k nearest neighbours that each image keeps: 1/k Σ_j min( P_k(j | i; X), P_k(j | i; Z) ).

    Without ties it is |N_k(i; X) ∩ N_k(i; Z)| / k. Candidates are exactly the rows given: the value depends on how many
    they are, so state their number beside it. A rotation keeps all, on any processor; what has collapsed keeps what
    chance keeps. `before` is ``neighbourhoods(X, k)`` where it is known from other transforms of the same images.

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
        raise ParameterError(f"`k` is {k} but {n} images allow 1 to {n - 1} neighbours.")
    for S in _cosine_blocks(Z):
        last = np.partition(S, -k, axis=1)[:, -k]
        i, j = np.nonzero(last[:, None] - tolerance <= S)
        sure = S[i, j] > last[i] + tolerance
        share = (k - np.bincount(i, sure)) / np.bincount(i, ~sure)
        blocks.append(csr_array((np.where(sure, 1.0, share[i]), (i, j)), shape=S.shape))
    return vstack(blocks, format="csr")


def neighbours(Z: Float[np.ndarray, "n p"], k: int = 10) -> Int[np.ndarray, "n k"]:
    """The k nearest rows of every row, nearest first, for pictures."""
    return np.concatenate([np.argsort(-S, axis=1, kind="stable")[:, :k] for S in _cosine_blocks(Z)])


def cka(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"]) -> float:
    """Debiased linear CKA, from p × q products, so that memory does not grow with the number of images squared.

        CKA = HSIC(X, Z) / √(HSIC(X, X) HSIC(Z, Z)),
        HSIC = ‖ZᵀX‖² - Σ a_i b_i + (Σ K̃)(Σ L̃) / ((n-1)(n-2)) - 2 / (n-2) · Σ_i K̃_i L̃_i,

    columns centred, a_i = ‖x_i‖², b_i = ‖z_i‖² and K̃_i, L̃_i the row sums of the Gram matrices without their diagonals.
    It is 1 for embeddings equal up to rotation, scale and shift, 0 on average for unrelated ones, whatever their
    dimensions (plain CKA rises towards 1 with them), and 0 if one is constant. At least 4 images.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), ICML; Song et al. (2012), JMLR 13:1393, Eq. 4; Nguyen, Raghu & Kornblith
    (2021), ICLR.
    """
    n = len(X)
    if n < 4:
        raise DataError(f"there are {n} images; the debiased CKA needs at least 4.")
    X, Z = X - X.mean(axis=0), Z - Z.mean(axis=0)

    def hsic(A: np.ndarray, B: np.ndarray) -> float:
        a, b = np.square(A).sum(axis=1), np.square(B).sum(axis=1)
        K, L = A @ A.sum(axis=0) - a, B @ B.sum(axis=0) - b
        return float(np.square(A.T @ B).sum() - a @ b + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K @ L))

    scale = hsic(X, X) * hsic(Z, Z)
    return hsic(X, Z) / scale**0.5 if scale > 0 else 0.0


def rdm_spearman(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], seed: int = 42) -> float:
    """Spearman correlation of the cosines of all pairs before and after, of at most 2000 images drawn with the seed.

    0 if one side is constant.
    """
    rows = np.sort(np.random.RandomState(seed).permutation(len(X))[:_MOST])
    return float(np.nan_to_num(spearman(model_rdm(X[rows]), model_rdm(Z[rows]))[0]))


def _cosine_blocks(Z: Float[np.ndarray, "n p"]) -> Iterator[Float[np.ndarray, "b n"]]:
    """Yield the cosines of some images to all, a block of images at a time; -inf of an image to itself."""
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    step = max(1, min(_BLOCK, _BLOCK_NUMBERS // max(1, len(rows))))
    for start in range(0, len(rows), step):
        S = rows[start : start + step] @ rows.T
        np.fill_diagonal(S[:, start:], -np.inf)
        yield S
