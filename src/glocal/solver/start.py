"""Where to start: the best scaled identity, a soft-thresholded gradient for `naive`, or a given transform."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import ChoiceLoss, Penalty

_STEP = 2.0  # in log c²
_TOLERANCE = 1e-2
_SMALLEST = 1e-2  # of the mean squared norm after scaling: no smaller scale is looked for


@dataclass(frozen=True, eq=False)
class State:
    """Where a fit starts, or stands: W, b, and pairs of steps and gradient changes of a neighbouring problem."""

    W: Float[Tensor, "p q"]
    b: Float[Tensor, " q"] | None = None
    curvature: tuple[tuple[Tensor, Tensor, float], ...] = ()

    def to(self, like: Tensor) -> State:
        """The same where `like` is, in its dtype."""
        pairs = tuple((step.to(like), change.to(like), rho) for step, change, rho in self.curvature)
        return State(self.W.to(like), None if self.b is None else self.b.to(like), pairs)


def best_scale(loss: ChoiceLoss, penalty: Penalty | None = None, lmbda: float = 0.0) -> float:
    """The c > 0 that minimises L_global(cI), plus λR(cI) if a penalty is given.

    L is convex in c², so this is the root of one increasing derivative, found on the Gram matrix of X alone. Where the
    root is at 0 (features without information about the answers) a small scale is returned, since W = 0 is stationary.

    Parameters
    ----------
    loss : ChoiceLoss
    penalty, lmbda : Penalty or None, float
        That of `global` and `glocal` vanishes on scaled identities where its `mix` is 1.

    Returns
    -------
    float
        c, to about half a percent.
    """
    return scale_of(loss, loss.X, 0.0 if penalty is None else lmbda, penalty, loss.X.shape[1])


def knows_nothing(loss: ChoiceLoss, scale: float) -> bool:
    """Whether the best scale is the smallest one tried: the untransformed features say nothing about the answers."""
    return scale**2 * float(torch.sum(loss.X * loss.X, dtype=torch.float64)) <= 1.1 * _SMALLEST * len(loss.X)


def scale_of(
    loss: ChoiceLoss, Z: Float[Tensor, "n q"], lmbda: float, penalty: Penalty | None, squared_norm: float
) -> float:
    """The c > 0 that minimises L_global of c·Z plus λR of a transform whose squared norm is c²·`squared_norm`."""
    slope_of = loss.along_scales(Z)
    mean_square = float(torch.sum(Z * Z, dtype=torch.float64)) / len(Z)

    def derivative(log_m: float) -> float:
        m = math.exp(log_m)
        slope = slope_of(m)
        if penalty is not None and penalty.kind == "squared-norm":
            slope += lmbda * squared_norm
        elif penalty is not None and penalty.kind == "scaled-identity":  # Z is of a scaled identity
            slope += lmbda * (1 - penalty.mix) * squared_norm
        elif penalty is not None and penalty.kind == "norm":
            slope += lmbda * math.sqrt(squared_norm / m) / 2
        return slope

    smallest, largest = math.log(_SMALLEST / mean_square), math.log(1 / mean_square) + 20 * _STEP
    low = high = math.log(1 / mean_square)
    at_low = at_high = derivative(low)
    while at_low > 0 and low > smallest:
        high, at_high = low, at_low
        low -= _STEP
        at_low = derivative(low)
    while at_high < 0 and high < largest:
        low, at_low = high, at_high
        high += _STEP
        at_high = derivative(high)
    if at_low > 0 or at_high < 0:
        return math.exp(max(low, smallest) / 2 if at_low > 0 else high / 2)
    side = 0
    while high - low > _TOLERANCE:  # regula falsi with the Illinois rule
        rise = at_high - at_low  # 0 where both are below the smallest number: any point between will do
        middle = (low * at_high - high * at_low) / rise if rise > 0 else (low + high) / 2
        middle = min(max(middle, low + _TOLERANCE / 4), high - _TOLERANCE / 4)
        value = derivative(middle)
        if value < 0:
            low, at_low = middle, value
            at_high *= 0.5 if side == -1 else 1.0
            side = -1
        else:
            high, at_high = middle, value
            at_low *= 0.5 if side == 1 else 1.0
            side = 1
    return math.exp((low + high) / 4)


def symmetric_start(
    W: Float[Tensor, "p p"], b: Float[Tensor, " p"] | None
) -> tuple[Float[Tensor, "p p"], Float[Tensor, " p"] | None]:
    """Rotate (W, b) to (WQ, bQ) with WQ = (W Wᵀ)^½: same similarities, same norm, no larger penalty."""
    if torch.allclose(W, W.T, rtol=1e-5, atol=1e-6 * float(W.abs().max())):
        symmetric = (W.double() + W.double().T) / 2
        if not int(torch.linalg.cholesky_ex(symmetric).info):  # positive definite: it is (W Wᵀ)^½ already
            return symmetric.to(W), b
    U, singular, Vh = torch.linalg.svd(W.double())
    root = (U * singular) @ U.T
    rotated = None if b is None else (b.double() @ Vh.T @ U.T).to(b)
    return ((root + root.T) / 2).to(W), rotated
