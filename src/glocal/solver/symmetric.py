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
        self._p = p
        self._upper = i * p + j
        self._lower = j * p + i
        self._weights = np.where(i == j, 1, math.sqrt(2)).astype(dtype)

    def pack(self, A: Square) -> Values:
        """The vector of the symmetric part of a matrix."""
        flat = A.ravel()
        return (flat[self._upper] + flat[self._lower]) * (self._weights / 2)

    def unpack(self, x: Values) -> Square:
        """The matrix of a vector."""
        flat = np.empty(self._p**2, x.dtype)
        flat[self._upper] = x / self._weights
        flat[self._lower] = flat[self._upper]
        return flat.reshape(self._p, self._p)

    def diagonal(self, moments: Float[np.ndarray, " p"] | None) -> Values:
        """The initial inverse Hessian, by the second moments of the objects."""
        s = np.ones(self._p) if moments is None else moments
        s = s.astype(self._weights.dtype)[:, None]
        return (1 / ((s + s.T) / 2 + 3)).ravel()[self._upper]


def symmetric_start(W: Weights) -> Square:
    """(W Wᵀ)^½: a rotation of W that keeps similarities and norm, and raises no penalty."""
    U, singular, _ = np.linalg.svd(W.astype(np.float64), full_matrices=False)
    root = (U * singular) @ U.T
    return ((root + root.T) / 2).astype(W.dtype)


def is_definite(W: Square) -> bool:
    """Whether a symmetric W, or -W, is positive definite.

    If not, the penalty of (W Wᵀ)^½ is no larger.
    """
    try:
        np.linalg.cholesky((-W if np.trace(W) < 0 else W).astype(np.float64))
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
    return math.sqrt(dot(x, x))
