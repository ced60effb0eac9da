"""Where to start: the best scaled identity; and the λ from which on there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from glocal.objective import ChoiceLoss

_SMALLEST = 1e-2  # of the mean squared norm after scaling: no smaller scale is looked for
_CLOSE = 1e-2  # in log c²


def best_scale(choices: ChoiceLoss, Z: Float[np.ndarray, "n q"], cost: float = 0.0) -> tuple[float, bool]:
    """The c > 0 that minimises L_global of c Z plus c² · `cost`, to about half a percent, and whether it is all but 0.

    L is convex in m = c², so this is the root of one increasing derivative: Newton's method in log m, kept inside a
    bracket. Where the root is at 0 (features without information about the answers) a small scale is returned, since
    W = 0 is stationary.

    Parameters
    ----------
    choices : ChoiceLoss
    Z : (n, q) array
        An embedding of the objects; X for the scale of the identity.
    cost : float
        What the penalty adds to dL/dm: λ (1 - mix) p for the identity, λ ‖V‖² for columns V.
    """
    derivatives, mean_square = choices.along_scales(Z), float(np.sum(Z * Z, dtype=np.float64)) / len(Z)
    low, high = math.log(_SMALLEST / mean_square), math.log(1 / mean_square) + 40
    at, step = math.log(1 / mean_square), math.inf
    while abs(step) > _CLOSE / 2 and high - low > _CLOSE:
        slope, bend = derivatives(math.exp(at))
        slope += cost
        low, high = (at, high) if slope < 0 else (low, at)
        fall = -slope / max(bend * math.exp(at), 1e-300)
        new = at + max(-2.0, min(2.0, fall))
        step, at = new - at, new if low < new < high else (low + high) / 2
    return math.exp(at / 2), at - math.log(_SMALLEST / mean_square) < 0.1


def lambda_max(choices: ChoiceLoss, mix: float = 0.0) -> float:
    """The smallest λ whose optimum is W = 0.

    With a_i the eigenvalues of sym ∂L/∂M at M = 0, that of `naive` (`mix` 0) is -min a_i, or 0 if that is negative.
    With 0 < mix < 1 the slope at M = 0 toward W² is smallest where W shares these eigenvectors, with eigenvalues w:

        Σ (a_i + λ) w_i² - λ mix (Σ w_i)² / p  ≥  0 for all w     ⟺     λ > -min a_i  and  λ mix Σ 1 / (a_i + λ) ≤ p

    Parameters
    ----------
    choices : ChoiceLoss
        In float64.
    mix : float
        Mix of the penalty, 0 to below 1.
    """
    a = np.linalg.eigvalsh(choices.slopes(np.zeros((choices.X.shape[1], 1), choices.X.dtype)).M)
    low = max(0.0, -float(a[0]))
    high = low / (1 - mix)  # there λ mix / (a_i + λ) is at most 1 for every i; without mix, or at 0, it is low itself
    for _ in range(60 if mix else 0):
        middle = (low + high) / 2
        trivial = middle * mix * float((1 / (a + middle)).mean()) <= 1
        low, high = (low, middle) if trivial else (middle, high)
    return high


def symmetric_start(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """(W Wᵀ)^½: W rotated so that similarities and norm stay and no penalty grows."""
    U, singular, _ = np.linalg.svd(W.astype(np.float64))
    root = (U * singular) @ U.T
    return ((root + root.T) / 2).astype(W.dtype)


def is_definite(W: Float[np.ndarray, "p p"]) -> bool:
    """Whether a symmetric W, or -W, is positive definite; else (W Wᵀ)^½ has no larger penalty."""
    try:
        np.linalg.cholesky((-W if np.trace(W) < 0 else W).astype(np.float64))
    except np.linalg.LinAlgError:
        return False
    return True
