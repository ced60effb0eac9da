"""The tail and the quantile of Student's t distribution, without the slow import of scipy."""

from __future__ import annotations

import math
from functools import lru_cache

_PRECISION = 1e-14  # relative; factors of the fraction nearer to 1 change no digit that matters
_MAX_TERMS = 100_000  # a fraction for ν degrees of freedom needs about √ν terms


def student_tail(t: float, freedom: float) -> float:
    """The probability of a value above t ≥ 0: I_x(ν/2, 1/2) / 2 with x = ν / (ν + t²).

    References
    ----------
    Abramowitz & Stegun (1964), Handbook of Mathematical Functions, 26.5.2, 26.5.8, 26.7.1.
    """
    if not t:
        return 0.5
    if t * t < 2 * freedom / (freedom + 1):  # here the fraction converges faster from the other end
        return 0.5 - 0.5 * _incomplete_beta(t * t / (freedom + t * t), 0.5, freedom / 2)
    return 0.5 * _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


@lru_cache(maxsize=1024)
def student_quantile(freedom: float, tail: float = 0.025) -> float:
    """The t that is exceeded with this probability, by Newton's method on logarithms of both."""
    norm = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    log_t = math.log(2)
    for _ in range(50):
        t = math.exp(log_t)
        exceeded = student_tail(t, freedom)
        kernel = (freedom + 1) / 2 * math.log1p(t * t / freedom)
        density = math.exp(norm - kernel) / math.sqrt(freedom * math.pi)
        step = math.log(exceeded / tail) * exceeded / (t * density)
        log_t += step
        if abs(step) < 1e-12:
            break
    return math.exp(log_t)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, a continued fraction by Lentz's method."""
    fraction = numerator_ratio = 1.0
    denominator_ratio = 0.0
    for j in range(1, _MAX_TERMS):
        m = j // 2
        if j % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        numerator_ratio = 1 + term / numerator_ratio
        denominator_ratio = 1 / (1 + term * denominator_ratio)
        factor = numerator_ratio * denominator_ratio
        fraction *= factor
        if abs(factor - 1) < _PRECISION:
            break
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / (a * fraction)
