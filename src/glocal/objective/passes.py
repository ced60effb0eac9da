"""One pass over the answers: their similarities, the softmax of each, and what it adds to the gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.objective.threads import Workers

_CHUNK = 1 << 13  # answers whose numbers stay in the second-level cache
NOTHING = np.empty(0)


class Pass(NamedTuple):
    """The result of one pass over the answers at the similarities mS.

    `value` is L, `along` dL/dm · m, `bend` d²L/dm² · m² (the mean variance of an answer's similarities under its
    softmax), and `product` (G + Gᵀ) Y with G = ∂L/∂(mS), empty if no Y was given.
    """

    value: float
    along: float
    bend: float
    product: np.ndarray


class Plain:
    """The pass over few answers in numpy: gather from S, softmax, scatter to G.

    `shares` are weights that sum to 1, in the dtype of the computation; n is the number of rows of X.
    """

    def __init__(
        self, objects: Int[np.ndarray, "t m"], pairs: Int[np.ndarray, "k 2"], shares: Float[np.ndarray, " t"], n: int,
        workers: Workers,
    ) -> None:  # fmt: skip
        low, high = np.sort(objects.T[pairs.T].astype(np.int64), axis=0)  # each (k, t)
        self._shares, self._workers, self._places = shares, workers, low * n + high
        self._mirrored, self._G = high * n + low, np.empty((n, n), shares.dtype)

    def similarities(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "k t"]:
        """The similarities of the candidate pairs of each answer."""
        return self._workers.gram(Z).ravel()[self._places]

    def __call__(self, s: Float[np.ndarray, "k t"], m: float, Y: Float[np.ndarray, "n r"] | None = None) -> Pass:
        """Pass over the answers at the similarities ms."""
        value, along, bend, residuals = softmax_pass(s, m, self._shares)
        if Y is None:
            return Pass(value, along, bend, NOTHING)
        self._G.fill(0)
        for places in (self._places, self._mirrored):
            np.add.at(self._G.reshape(-1), places.ravel(), residuals.ravel())
        return Pass(value, along, bend, self._workers.product(self._G, Y))


def softmax_pass(
    s: Float[np.ndarray, "k t"], m: float, shares: Float[np.ndarray, " t"]
) -> tuple[float, float, float, Float[np.ndarray, "k t"]]:
    """Value, along and bend of a `Pass` at the similarities ms, and ∂L/∂(ms); row 0 is the chosen pair."""
    value = along = bend = 0.0
    residuals = np.empty_like(s)
    for start in range(0, s.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        w, d = shares[part], (s[1:, part] - s[0, part]) * s.dtype.type(m)
        highest = np.maximum(d.max(axis=0), 0)
        q = np.exp(d - highest)
        others = q.sum(axis=0)
        above = np.where(highest > 0, np.exp(-highest) + (others - 1), others)  # z - 1, not swallowed by the 1
        q /= 1 + above
        mean = np.einsum("kt,kt->t", q, d)
        value += float(np.sum((np.log1p(above) + highest) * w, dtype=np.float64))
        along += float(np.sum(mean * w, dtype=np.float64))
        bend += float(np.sum((np.einsum("kt,kt,kt->t", q, d, d) - mean * mean) * w, dtype=np.float64))
        np.multiply(q, w, out=residuals[1:, part])
        np.negative(residuals[1:, part].sum(axis=0), out=residuals[0, part])
    return value, along, bend, residuals
