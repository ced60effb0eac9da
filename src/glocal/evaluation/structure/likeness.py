"""How alike two embeddings of the same images are: CKA, their dissimilarities, the divergence of neighbourhoods."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.data.splits import local_blocks
from glocal.errors import DataError, ParameterError
from glocal.evaluation.model_rdm import pair_dissimilarities
from glocal.evaluation.rank_correlation import PairTable
from glocal.similarity import unit_rows

_IMAGES = 256  # at a time
_MOST = 2000  # images whose dissimilarities are compared
# below this share of the uncentred squares what is left after centring is rounding
_NOTHING = 1e-20


def linear_cka(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], *, debiased: bool = False) -> float:
    """Linear CKA, from p × q products, so that memory does not grow with the number of images squared.

        CKA = ‖Zᵀ X‖²_F / (‖Xᵀ X‖_F ‖Zᵀ Z‖_F),     columns of X and Z centred.

    Plain CKA rises towards 1 for any two embeddings of more dimensions than images; `debiased` replaces each product
    ‖Zᵀ X‖² by the unbiased estimate of HSIC, which is 0 on average for unrelated embeddings (n > 3):

        HSIC = [ ‖ZᵀX‖² - Σ a_i b_i + (Σ K̃)(Σ L̃) / ((n-1)(n-2)) - 2 / (n-2) · Σ_i K̃_i L̃_i ] / (n (n-3)),

    with a_i = ‖x_i‖², b_i = ‖z_i‖² and K̃_i, L̃_i the row sums of the Gram matrices without their diagonals.

    Returns
    -------
    float
        1 for embeddings equal up to rotation, scale and shift; 0 if one of them is constant; debiased it can be
        slightly below 0.

    Raises
    ------
    DataError
        Fewer than 4 images, debiased.

    References
    ----------
    Kornblith, Norouzi, Lee & Hinton (2019), ICML; Song et al. (2012), JMLR 13:1393, Eq. 4; Nguyen, Raghu & Kornblith
    (2021), ICLR.
    """
    if debiased and len(X) < 4:
        raise DataError(f"there are {len(X)} images; the debiased CKA needs at least 4.")
    X, Z = (np.asarray(A, dtype=np.float64) for A in (X, Z))
    before, after = (float(np.vdot(A, A)) for A in (X, Z))
    X, Z = (A - A.mean(axis=0) for A in (X, Z))
    if np.vdot(X, X) <= _NOTHING * before or np.vdot(Z, Z) <= _NOTHING * after:
        return 0.0
    product = _hsic if debiased else _squares
    scale = product(X, X) * product(Z, Z)
    return product(X, Z) / scale**0.5 if scale > 0 else 0.0


def local_cka(X: Float[np.ndarray, "n p"], Z: Float[np.ndarray, "n q"], before: Int[np.ndarray, "n k"]) -> float:
    """Mean over images of the CKA of their neighbourhoods, 1 where the arrangement inside each one stays.

    The neighbourhood of an image is the image and its k neighbours before the transform; its two Gram matrices of unit
    rows are U-centred (row and column means taken out, diagonal 0) and compared by their cosine, which is the debiased
    CKA of k + 1 images. The plain CKA would be near 1 for any two embeddings, since k is far below p. It is 0
    on average for unrelated arrangements; at least 3 neighbours.

    References
    ----------
    Székely & Rizzo (2014), Ann. Statist. 42:2382 (U-centring).
    """
    X, Z = unit_rows(np.asarray(X, dtype=np.float64)), unit_rows(np.asarray(Z, dtype=np.float64))
    inside = np.concatenate([np.arange(len(before))[:, None], before], axis=1)
    total = 0.0
    for start in range(0, len(inside), _IMAGES):
        K, L = (_u_centred(A[inside[start : start + _IMAGES]]) for A in (X, Z))
        scale = np.sqrt((K * K).sum((1, 2)) * (L * L).sum((1, 2)))
        total += float(((K * L).sum((1, 2)) / np.where(scale > 0, scale, 1)).sum())
    return total / len(inside)


def _squares(X: np.ndarray, Z: np.ndarray) -> float:
    return float(np.square(Z.T @ X).sum())


def _hsic(X: np.ndarray, Z: np.ndarray) -> float:
    n = len(X)
    a, b = np.square(X).sum(axis=1), np.square(Z).sum(axis=1)
    K, L = X @ X.sum(axis=0) - a, Z @ Z.sum(axis=0) - b
    value = _squares(X, Z) - a @ b + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K @ L)
    return float(value) / (n * (n - 3))


def _u_centred(rows: Float[np.ndarray, "b m p"]) -> Float[np.ndarray, "b m m"]:
    """U-centred Gram matrices of b groups of m rows."""
    K = rows @ rows.transpose(0, 2, 1)
    m = K.shape[1]
    diagonal = np.arange(m)
    K[:, diagonal, diagonal] = 0
    sums = K.sum(axis=2)
    K -= (sums[:, :, None] + sums[:, None, :]) / (m - 2)
    K += sums.sum(axis=1)[:, None, None] / ((m - 1) * (m - 2))
    K[:, diagonal, diagonal] = 0
    return K


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


def divergence(
    X: Float[np.ndarray, "n p"],
    Z: Float[np.ndarray, "n q"],
    *,
    tau: float = 0.25,
    block_size: int = 1024,
    seed: int = 42,
) -> float:
    """Mean over images of KL(P_i ‖ Q_i), in nats, inside blocks of images.

        P_i = softmax_{j≠i}( cos(x_i, x_j) / τ ),     Q_i = softmax_{j≠i}( cos(z_i, z_j) / τ )

    It is L_local less the mean entropy of the teacher P, so 0 where no cosine changes. The blocks are those that a fit
    makes of these images with this block size and seed; the value depends on their size.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 4 and 5.
    """
    if not (np.isfinite(tau) and tau > 0):
        raise ParameterError(f"tau is {tau}; it must be a temperature above 0.")
    total = 0.0
    for rows in local_blocks(len(X), block_size, seed):
        log_p, log_q = _log_softmax(X[rows], tau), _log_softmax(Z[rows], tau)
        total += float(np.sum(np.exp(log_p) * (log_p - log_q)))
    return max(0.0, total / len(X))


def _log_softmax(Z: np.ndarray, tau: float) -> np.ndarray:
    """(m, m - 1) log probabilities of the other rows of a block."""
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    m = len(rows)
    logits = (rows @ rows.T)[~np.eye(m, dtype=bool)].reshape(m, m - 1) / tau
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits
