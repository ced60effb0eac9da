"""The dissimilarities of objects in a model: 1 - similarity under one of several kernels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.errors import ParameterError
from glocal.similarity import joined, tie_tolerance, unit_rows

KERNELS = ("cosine", "correlation", "dot", "choice")

_SPAN = 600.0  # exp of a smaller range of similarities neither overflows nor vanishes in float64


def model_rdm(Z: Float[np.ndarray, "n p"], kernel: str = "cosine") -> Float[np.ndarray, "n n"]:
    """1 - similarity of every pair of rows.

    - `cosine`: z_i · z_j / (‖z_i‖ ‖z_j‖)
    - `correlation`: Pearson correlation of z_i and z_j across the dimensions
    - `dot`: z_i · z_j
    - `choice`: the mean over third objects k of exp S_ij / (exp S_ij + exp S_ik + exp S_jk), S = Z Zᵀ

    `choice` is the probability that the pair is found the most similar one beside a random third object of the same
    set: what an exhaustively sampled odd-one-out experiment measures (Hebart et al. 2020). It takes n³ steps.

    Parameters
    ----------
    Z : (n, p) real array
        Standardized features, transformed or not.
    kernel : {"cosine", "correlation", "dot", "choice"}

    Returns
    -------
    (n, n) float64
        Symmetric, with a diagonal of 0.

    Raises
    ------
    ParameterError
        An unknown kernel.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Front. Syst. Neurosci. 2:4; Hebart, Zheng, Pereira & Baker (2020),
    Nat. Hum. Behav. 4:1173.

    Examples
    --------
    >>> model_rdm(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    return _dissimilarities(Z, kernel)[0]


def pair_dissimilarities(Z: Float[np.ndarray, "n p"], kernel: str = "cosine") -> Float[np.ndarray, " pairs"]:
    """The upper triangle of `model_rdm`, row by row; entries that differ by no more than rounding are made equal."""
    rdm, tolerance = _dissimilarities(Z, kernel)
    return joined(rdm[np.triu_indices(len(rdm), 1)], tolerance)


def _dissimilarities(Z: Float[np.ndarray, "n p"], kernel: str) -> tuple[Float[np.ndarray, "n n"], float]:
    """`model_rdm`, and the difference up to which two of its entries are tied: `tie_tolerance`.

    That of a share of choices is the one of the dot products, to which it is less than twice as sensitive, and of its
    own sum over third objects.
    """
    if kernel not in KERNELS:
        raise ParameterError(f"kernel is {kernel!r}; allowed are {', '.join(KERNELS)}.")
    Z = np.asarray(Z, dtype=np.float64)
    if kernel == "correlation":
        Z = Z - Z.mean(axis=1, keepdims=True)
    rows = unit_rows(Z) if kernel in ("cosine", "correlation") else Z
    S = rows @ rows.T
    tolerance = tie_tolerance(Z.shape[1], np.abs(S).max(initial=0.0))
    if kernel == "choice":
        S = _choice_share(S)
        tolerance = 2 * tolerance + tie_tolerance(len(S))
    np.fill_diagonal(rdm := 1 - (S + S.T) / 2, 0.0)
    return rdm, tolerance


def _choice_share(S: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    n = len(S)
    share = np.zeros((n, n))
    narrow = bool(np.ptp(S) < _SPAN)
    E = np.exp(S - S.max()) if narrow else S
    for i in range(n - 1):
        pair = S[i, i + 1 :, None]
        if narrow:
            ratio = 1 / (1 + (E[i] + E[i + 1 :]) / E[i, i + 1 :, None])
        else:
            with np.errstate(over="ignore"):  # exp of a large difference is infinite, and its share rightly 0
                ratio = 1 / (1 + np.exp(S[i] - pair) + np.exp(S[i + 1 :] - pair))
        ratio[:, i] = 0.0
        ratio[np.arange(n - 1 - i), np.arange(i + 1, n)] = 0.0  # the third object is neither of the pair
        share[i, i + 1 :] = share[i + 1 :, i] = ratio.sum(axis=1) / max(1, n - 2)
    return share
