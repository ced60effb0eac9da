"""The principal axes of the objects, in which a fit is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glocal.similarity import Embedding, Rows, Square, Values, Weights

_MIN_LENGTH = 0.1  # of an axis at the start of a fit, which must not be singular


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes U (p, r) of the objects, and the second moments (r,) along them: W → UᵀWU.

    With fewer rows than columns U spans the rows of the objects and local images. Outside this span
    no loss depends on W, so that the penalty alone determines it. There W = cI with
    c = mix t / (p - mix q), t = tr UᵀWU and q = p - r (c = 0 for `naive`, mix 0). The remaining
    penalty is the penalty of UᵀWU with the share mix r / (p - mix q), which is 1 for mix 1.

    If the features are not centred, their mean is a large part of the second moment of an axis or
    two, and tells no answers apart. The `spreads` (r,), the geometric means of the second moments
    and the variances, measure how much the objective changes with the length of an axis. All arrays
    are float64.
    """

    U: Weights
    moments: Values
    spreads: Values

    @classmethod
    def from_rows(cls, X: Embedding, blocks: Sequence[Rows]) -> Axes:
        """The principal axes of the rows of X, in the span of X and of the local images."""
        X = X.astype(np.float64)
        n, p = X.shape
        n_local = sum(map(len, blocks))
        n_rows = n + n_local
        span = None
        if n_rows < p:
            rows = np.concatenate([X, *blocks])
            span, _ = np.linalg.qr(rows.T)
            X = X @ span
        second_moments = X.T @ X / n
        moments, U = np.linalg.eigh(second_moments)
        moments = np.maximum(moments, 0)
        mean = X.mean(axis=0)
        means = mean @ U
        variances = moments - means**2
        variances = np.maximum(variances, 0)
        products = moments * variances
        spreads = np.sqrt(products)
        if span is not None:
            U = span @ U
        return cls(U, moments, spreads)

    def leading(self, count: int) -> Axes:
        """The axes with the largest second moments, at most `count`."""
        leading = slice(-count, None)
        U = self.U[:, leading]
        moments = self.moments[leading]
        spreads = self.spreads[leading]
        return Axes(U, moments, spreads)

    @property
    def lengths(self) -> Values:
        """The lengths of the axes at the start of a fit, which turn second moments to spreads."""
        ones = np.ones_like(self.moments)
        is_positive = self.moments > 0
        shares = np.divide(self.spreads, self.moments, out=ones, where=is_positive)
        lengths = np.sqrt(shares)
        return np.maximum(lengths, _MIN_LENGTH)

    def back(self, W: Float[np.ndarray, "r r"], mix: float) -> Square:
        """Return W on the original columns, in float32 as in transform files."""
        p, r = self.U.shape
        q = p - r
        U = self.U
        W = W.astype(np.float64)
        full = U @ W @ U.T
        if q > 0:
            t = np.trace(W)
            divisor = p - mix * q
            c = mix * t / divisor
            identity = np.eye(p)
            inside = U @ U.T
            outside = identity - inside
            full += c * outside
        doubled = full + full.T
        symmetric = doubled / 2
        return symmetric.astype(np.float32)
