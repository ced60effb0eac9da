"""One pass over the answers: similarities, the softmax of each, and its part of the gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from glocal.objective.threads import Workers

_CHUNK_ANSWERS = 1 << 13  # whose numbers stay in the second-level cache
NO_PRODUCT = np.empty(0)


class AnswerSums(NamedTuple):
    """The sums over all answers at the similarities mS.

    `loss` is L in nats, `slope` dL/dm · m, `curvature` d²L/dm² · m² (the mean variance of an
    answer's similarities under its softmax), and `product` (G + Gᵀ) Y with G = ∂L/∂(mS), empty
    without Y.
    """

    loss: float
    slope: float
    curvature: float
    product: np.ndarray

    @property
    def entropy(self) -> float:
        """The mean entropy of the model's choices, nats."""
        return self.loss - self.slope


class NumpyPass:
    """The pass over few answers in numpy: gather from S, softmax, scatter to G.

    `shares` are weights that sum to 1, in the dtype of the computation; n is the number of rows of
    X.
    """

    def __init__(
        self,
        objects: Int[np.ndarray, "t m"],
        pairs: Int[np.ndarray, "k 2"],
        shares: Float[np.ndarray, " t"],
        n: int,
        workers: Workers,
    ) -> None:
        low, high = np.sort(objects.T[pairs.T].astype(np.int64), axis=0)  # each (k, t)
        self._shares = shares
        self._workers = workers
        self._n = n
        self._upper = low * n + high  # positions in the flat S
        self._lower = high * n + low

    def similarities(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "k t"]:
        """The similarities of the candidate pairs of each answer."""
        return self._workers.gram(Z).ravel()[self._upper]

    def __call__(
        self, s: Float[np.ndarray, "k t"], m: float, Y: Float[np.ndarray, "n r"] | None = None
    ) -> AnswerSums:
        """Pass over the answers at the similarities ms."""
        loss, slope, curvature, residuals = _softmax_pass(s, m, self._shares)
        if Y is None:
            return AnswerSums(loss, slope, curvature, NO_PRODUCT)
        G = np.zeros((self._n, self._n), s.dtype)  # G + Gᵀ
        for positions in (self._upper, self._lower):
            np.add.at(G.reshape(-1), positions.ravel(), residuals.ravel())
        return AnswerSums(loss, slope, curvature, self._workers.product(G, Y))


def _softmax_pass(
    s: Float[np.ndarray, "k t"], m: float, shares: Float[np.ndarray, " t"]
) -> tuple[float, float, float, Float[np.ndarray, "k t"]]:
    """Loss, slope and curvature at the similarities ms, and ∂L/∂(ms); row 0 is the chosen pair."""
    loss = slope = curvature = 0.0
    residuals = np.empty_like(s)
    for start in range(0, s.shape[1], _CHUNK_ANSWERS):
        chunk = slice(start, start + _CHUNK_ANSWERS)
        w = shares[chunk]
        d = (s[1:, chunk] - s[0, chunk]) * s.dtype.type(m)
        highest = np.maximum(d.max(axis=0), 0)
        q = np.exp(d - highest)
        others = q.sum(axis=0)
        # z - 1, not swallowed by the 1
        excess = np.where(highest > 0, np.exp(-highest) + (others - 1), others)
        q /= 1 + excess
        mean = np.einsum("kt,kt->t", q, d)
        variance = np.einsum("kt,kt,kt->t", q, d, d) - mean * mean
        loss += float(np.sum((np.log1p(excess) + highest) * w, dtype=np.float64))
        slope += float(np.sum(mean * w, dtype=np.float64))
        curvature += float(np.sum(variance * w, dtype=np.float64))
        np.multiply(q, w, out=residuals[1:, chunk])
        np.negative(residuals[1:, chunk].sum(axis=0), out=residuals[0, chunk])
    return loss, slope, curvature, residuals
