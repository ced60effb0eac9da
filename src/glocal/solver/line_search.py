"""A step length by the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

_DECREASE = 1e-4
_CURVATURE = 0.9

Point = TypeVar("Point")


@dataclass(frozen=True)
class Trial(Generic[Point]):
    """One step length t with f, the slope f'(t) along the direction, and whatever the caller attached."""

    t: float
    f: float
    slope: float
    point: Point | None


def strong_wolfe(
    along: Callable[[float], Trial[Point]],
    start: Trial[Point],
    t: float,
    *,
    noise: float,
    max_trials: int = 20,
) -> Trial[Point] | None:
    """Find t with f(t) ≤ f(0) + c₁ t f'(0) and |f'(t)| ≤ c₂ |f'(0)|, c₁ = 1e-4, c₂ = 0.9; None if no t lowered f.

    Bracketing and zooming with safeguarded cubic interpolation from the first length `t`; `start` is at t = 0 and goes
    downward. `noise` is the rounding error of f: differences below it do not decide, so that the search still ends
    close to the optimum, where f is flat to its last bits.

    Nocedal & Wright (2006), Numerical Optimization, algorithms 3.5 and 3.6.
    """
    low, high = start, None
    for _ in range(max_trials):
        trial = along(t)
        lowered = trial.f <= start.f + _DECREASE * t * start.slope + noise
        if not math.isfinite(trial.f) or not lowered or (low.t > 0 and trial.f >= low.f + noise):
            high = trial
        elif abs(trial.slope) <= _CURVATURE * abs(start.slope):
            return trial
        else:
            if trial.slope * ((high.t if high else math.inf) - low.t) >= 0:
                high = low
            low = trial
        t = _inside(low, high) if high else min(_cubic(start, low) or 2 * low.t, 4 * low.t)
        if not high:
            t = max(t, 1.5 * low.t)
        elif abs(high.t - low.t) <= 1e-10 * max(low.t, high.t):
            break
    return low if low.t > 0 else None


def _inside(low: Trial[Point], high: Trial[Point]) -> float:
    """The cubic's minimum between two trials, kept a tenth of the bracket away from its ends."""
    width = high.t - low.t
    t = _cubic(low, high) if math.isfinite(high.f) else low.t
    if t is None:
        t = low.t + 0.5 * width
    nearest, farthest = sorted((low.t + 0.1 * width, high.t - 0.1 * width))
    return min(max(t, nearest), farthest)


def _cubic(first: Trial[Point], second: Trial[Point]) -> float | None:
    """The minimum of the cubic through two values and slopes, None where it has none."""
    h = second.t - first.t
    if h == 0:
        return None
    a = first.slope + second.slope - 3 * (second.f - first.f) / h
    inside = a * a - first.slope * second.slope
    if inside < 0 or not math.isfinite(inside):
        return None
    root = math.copysign(math.sqrt(inside), h)
    denominator = second.slope - first.slope + 2 * root
    if denominator == 0:
        return None
    t = second.t - h * (second.slope + root - a) / denominator
    return t if t > 0 else None
