"""Symmetric matrices: as vectors, as starts, and their products."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from glocal.similarity import Square, Values, Weights


class Vectors:
    """Convert symmetric matrices to vectors of their upper triangles.

    The triangle halves the memory and time of the recursion. Its off-diagonal entries are
    multiplied by √2, so that dot products equal the dot products of the matrices.
    """

    def __init__(self, p: int, dtype: np.dtype) -> None:
        i, j = np.triu_indices(p)
        is_diagonal = i == j
        weights = np.where(is_diagonal, 1, math.sqrt(2))
        self._p = p
        self._upper = i * p + j
        self._lower = j * p + i
        self._weights = weights.astype(dtype)

    def pack(self, A: Square) -> Values:
        """The vector of the symmetric part of a matrix."""
        flat = A.ravel()
        twice_symmetric = flat[self._upper] + flat[self._lower]
        half_weights = self._weights / 2
        return twice_symmetric * half_weights

    def unpack(self, x: Values) -> Square:
        """The matrix of a vector."""
        p = self._p
        entries = x / self._weights
        A = np.empty((p, p), x.dtype)
        flat = A.reshape(-1)
        flat[self._upper] = entries
        flat[self._lower] = entries
        return A

    def diagonal(self, moments: Float[np.ndarray, " p"] | None) -> Values:
        """The initial inverse Hessian, by the second moments of the objects."""
        s = moments
        if s is None:
            s = np.ones(self._p)
        s = s.astype(self._weights.dtype)
        column = s[:, None]
        means = (column + s) / 2
        inverses = 1 / (means + 3)
        flat = inverses.ravel()
        return flat[self._upper]


def symmetric_start(W: Weights) -> Square:
    """(W Wᵀ)^½: a rotation of W that keeps similarities and norm, and raises no penalty."""
    double_W = W.astype(np.float64)
    U, singular, _ = np.linalg.svd(double_W, full_matrices=False)
    scaled_U = U * singular
    root = scaled_U @ U.T
    symmetric = (root + root.T) / 2
    return symmetric.astype(W.dtype)


def is_definite(W: Square) -> bool:
    """Whether a symmetric W, or -W, is positive definite.

    If not, the penalty of (W Wᵀ)^½ is no larger.
    """
    double_W = W.astype(np.float64)
    is_negative = np.trace(W) < 0
    if is_negative:
        double_W = -double_W
    try:
        np.linalg.cholesky(double_W)
    except np.linalg.LinAlgError:
        return False
    return True


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """⟨x, y⟩ of arrays in C order, as a Python number.

    A NumPy float64 would turn float32 arrays into float64.
    """
    product = np.dot(x.ravel(), y.ravel())
    return float(product)


def norm(x: np.ndarray) -> float:
    """‖x‖_F."""
    square = dot(x, x)
    return math.sqrt(square)
