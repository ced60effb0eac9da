"""The best scale of a transform, and the λ from which on this scale is 0."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from glocal.objective import ChoiceLoss, Objective
from glocal.similarity import Values

_MIN_MEAN_SQUARE = 1e-2  # least mean squared length of the scaled rows that is searched
_MAX_LOG_SCALE_ERROR = 1e-2  # largest error of log c²
_MAX_LOG_SCALE_STEP = 40  # from the start to the largest log c² that is searched
_MAX_LOG_DISTANCE_OF_ZERO = 0.1  # from the smallest log c² that is searched
_MIN_CURVATURE = 1e-300  # keeps a division finite
_MAX_BISECTIONS = 60


def identity_scale(objective: Objective, lengths: Values | None = None) -> tuple[float, bool]:
    """The c > 0 for which cI minimises an objective, and whether it is essentially 0.

    With `lengths` l it is the c of c diag(l), with nearly the penalty of cI. L_local is the same
    for every c, and R(cI) = (1 - mix) p c². L_global is convex in m = c², so that c follows from
    the root of one increasing derivative. If the root is at 0 (the features have no information
    about the answers), a small scale is returned, since W = 0 is stationary.
    """
    X = objective.choices.X
    if lengths is not None:
        X = X * lengths
    sums_at = objective.choices.at(X)
    penalty_slope = objective.lmbda * (1 - objective.mix) * X.shape[1]
    penalty_slope /= objective.global_weight

    def slopes(m: float) -> tuple[float, float]:
        sums = sums_at(m)
        slope = sums.slope / m + penalty_slope
        curvature = sums.curvature / m
        return slope, curvature

    squares = np.sum(X * X, dtype=np.float64)
    mean_square = float(squares) / len(X)
    start = math.log(1 / mean_square)
    lowest = math.log(_MIN_MEAN_SQUARE / mean_square)
    highest = start + _MAX_LOG_SCALE_STEP
    m = increasing_root(slopes, start, lowest, highest)
    distance = math.log(m) - lowest
    is_zero = distance < _MAX_LOG_DISTANCE_OF_ZERO
    return m**0.5, is_zero


def increasing_root(
    slopes: Callable[[float], tuple[float, float]],
    start: float,
    low: float,
    high: float,
) -> float:
    """The m > 0 at which an increasing derivative f'(m) is 0, to about half a percent.

    Newton's method in log m begins at `start` and stays inside the bracket from `low` to `high`,
    all in log m. `slopes` maps m to f'(m) and m f''(m).
    """
    log_m = start
    step = math.inf
    while abs(step) > _MAX_LOG_SCALE_ERROR / 2 and high - low > _MAX_LOG_SCALE_ERROR:
        slope, curvature = slopes(math.exp(log_m))
        if slope < 0:
            low = log_m
        else:
            high = log_m
        newton_step = -slope / max(curvature, _MIN_CURVATURE)
        newton_step = min(2.0, newton_step)
        target = log_m + max(-2.0, newton_step)
        step = target - log_m
        is_inside = low < target < high
        middle = (low + high) / 2
        log_m = target if is_inside else middle
    return math.exp(log_m)


def lambda_max(choices: ChoiceLoss, mix: float = 0.0) -> float:
    """The smallest λ whose optimum is W = 0.

    Let a_i be the eigenvalues of sym ∂L/∂M at M = 0. For `naive` (`mix` 0) the result is -min a_i,
    or 0 if this is negative. For 0 < mix < 1 the slope at M = 0 toward W² is smallest if W has the
    same eigenvectors. With eigenvalues w of W, the optimum is W = 0 if

        Σ (a_i + λ) w_i² - λ mix (Σ w_i)² / p  ≥  0 for all w
        ⟺     λ > -min a_i  and  λ mix Σ 1 / (a_i + λ) ≤ p

    `choices` are the loss of the answers, whose precision becomes float64, and `mix` is the mix of
    the penalty, 0 to below 1.
    """
    choices = choices.double()
    p = choices.X.shape[1]
    zero = np.zeros((p, 1), choices.X.dtype)
    _, dM = choices.derivatives(zero)
    a = np.linalg.eigvalsh(dM)
    lowest = float(a[0])
    low = max(0.0, -lowest)
    if mix == 0:
        return low
    high = low / (1 - mix)  # at this λ every λ mix / (a_i + λ) is at most 1
    for _ in range(_MAX_BISECTIONS):
        middle = (low + high) / 2
        inverses = 1 / (a + middle)
        is_trivial = middle * mix * float(inverses.mean()) <= 1
        if is_trivial:
            high = middle
        else:
            low = middle
    return high
