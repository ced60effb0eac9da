"""The compiled loops of the passes over many answers.

In numpy every step of a pass reads and writes all answers, and the scattered additions run on one
core and in float64. Here a chunk of a thousand answers stays in the first-level cache, and each
thread adds to its own gradient. The functions are global, because numba never finds a cached
closure over another compiled function again: each process would compile it again, and leave another
file. numpy's functions for e^x and log (1 + a) run on one number at a time. For float32 there are
polynomials here, which the compiler applies to many numbers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, no_type_check

import numba
import numpy as np
from numba.extending import overload, register_jitable

_CHUNK_ANSWERS = 1024  # answers whose similarities stay in the first-level cache
_CHUNK_PADDING = 16  # NOTE rows 4096 bytes apart would compete for the same lines of the cache
_GATHERED_ANSWERS = 128  # answers whose rows stay in the second-level cache
_ZERO = np.float32(0)  # a Python number would turn float32 into float64
_ONE = np.float32(1)
_TWO = np.float32(2)
_HALF = np.float32(0.5)
_LOG2_E = np.float32(1.4426950408889634)
_LEAST_EXPONENT = np.float32(-126)
_EXPONENT_BIAS = np.int32(127)
_MANTISSA_BITS = np.int32(23)
_POWER_0 = np.float32(1.0)  # 2^f is about the sum of _POWER_k f^k for |f| <= 1/2
_POWER_1 = np.float32(6.9314718e-1)
_POWER_2 = np.float32(2.4022651e-1)
_POWER_3 = np.float32(5.5504109e-2)
_POWER_4 = np.float32(9.6181291e-3)
_POWER_5 = np.float32(1.3333558e-3)
_POWER_6 = np.float32(1.5403530e-4)
_ARTANH_1 = np.float32(2)  # 2 artanh u is about the sum of _ARTANH_k u^k for 0 <= u <= 1/2
_ARTANH_3 = np.float32(0.66667745)
_ARTANH_5 = np.float32(0.39950472)
_ARTANH_7 = np.float32(0.29389385)
_ARTANH_9 = np.float32(0.16294468)
_ARTANH_11 = np.float32(0.36614650)
_FAST = {  # inputs are finite: the caller checks
    "contract",
    "nsz",
    "arcp",
    "reassoc",
    "nnan",
    "ninf",
}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with ``numba.njit``, and cache the machine code on disk if a folder is writable."""
    compiler = partial(
        numba.njit,
        nogil=True,
        error_model="numpy",
        fastmath=_FAST,
    )
    try:
        return compiler(cache=True)(function)
    except RuntimeError:  # numba finds no writable folder: compile once in each process
        return compiler()(function)


@no_type_check
def exp(x):
    """e^x for x <= 0."""
    return np.exp(x)


@no_type_check
def log1p(a, k):
    """Log (1 + a) for a in [0, len(k) - 1]."""
    return np.log1p(a)


@overload(exp, inline="always")
@no_type_check
def _exp_of_type(x):
    if x == numba.float32:
        return _single_exp
    return lambda x: np.exp(x)  # noqa: PLW0108


@overload(log1p, inline="always")
@no_type_check
def _log1p_of_type(a, k):
    if a == numba.float32 and len(k) <= 3:
        return lambda a, k: _single_log1p(a)
    return lambda a, k: np.log1p(a)


@no_type_check
def _single_exp(x):
    """e^x for x <= 0 in float32, to 2 ulp and never below 2^-126.

    The result is 2^n · 2^f with |f| <= 1/2, where 2^f is a polynomial in f.
    """
    t = max(x * _LOG2_E, _LEAST_EXPONENT)
    nearest = np.floor(t + _HALF)
    n = np.float32(nearest)
    f = t - n
    p = _POWER_6
    p = p * f + _POWER_5
    p = p * f + _POWER_4
    p = p * f + _POWER_3
    p = p * f + _POWER_2
    p = p * f + _POWER_1
    p = p * f + _POWER_0
    exponent = np.int32(n) + _EXPONENT_BIAS
    bits = np.int32(exponent) << _MANTISSA_BITS
    power = np.int32(bits).view(np.float32)
    return p * power


@register_jitable(inline="always")
@no_type_check
def _single_log1p(a):
    """Log (1 + a) in float32, to 2 ulp for a in [0, 2].

    The result is 2 artanh u with u = a / (a + 2), computed as a polynomial in u² times u.
    """
    u = a / (a + _TWO)
    v = u * u
    p = _ARTANH_11
    p = p * v + _ARTANH_9
    p = p * v + _ARTANH_7
    p = p * v + _ARTANH_5
    p = p * v + _ARTANH_3
    p = p * v + _ARTANH_1
    return p * u


@compiled
@no_type_check
def _softmax(x, m, shares, start, size, sums, pairs):
    """Replace the similarities x, (k, size), of answers from `start` on by residuals at y = mx.

    With q the softmax of y, w the weight of an answer, and pair 0 chosen, the residuals are
    w (q_j - [j = 0]), and these are added to sums, (3,) float64:

        loss       w (log Σ exp y_j - y_0)
        slope      w (Σ q_j y_j - y_0), the slope of the loss in log m
        curvature  w (Σ q_j y_j² - (Σ q_j y_j)²)

    pairs: a tuple of k numbers. Its length is known to the compiler, which unrolls the loops over
    j.
    """
    loss = slope = curvature = _ZERO
    for a in range(size):
        highest = x[0, a]
        for j in range(1, len(pairs)):
            highest = max(highest, x[j, a])
        y = (x[0, a] - highest) * m
        others = mean = square = _ZERO
        for j in range(1, len(pairs)):
            d = (x[j, a] - highest) * m
            x[j, a] = exp(d)
            others += x[j, a]
            mean += x[j, a] * d
            square += x[j, a] * (d * d)
        # the sum of the softmax minus 1: adding the 1 first would round small losses away
        chosen = exp(y)
        excess = others if y == _ZERO else chosen + (others - _ONE)
        w = shares[start + a]
        z = _ONE / (_ONE + excess)
        mean += chosen * y
        mean *= z
        square += chosen * (y * y)
        square *= z
        loss += w * (log1p(excess, pairs) - y)
        slope += w * (mean - y)
        curvature += w * (square - mean * mean)
        z *= w  # from here on the factor of the residuals
        x[0, a] = -others * z
        for j in range(1, len(pairs)):
            x[j, a] *= z
    sums[0] += loss
    sums[1] += slope
    sums[2] += curvature


@compiled
@no_type_check
def gram_pass(S, m, positions, shares, G, sums, first, last, pairs):
    """Write the residuals of answers first..last-1 at the similarities mS to G, if not empty.

    S, G: (n²,); positions: (t, k) int32 in the upper triangle of S, the chosen pair first;
    shares: (t,).
    """
    G[:] = 0
    k = len(pairs)
    shape = k, _CHUNK_ANSWERS + _CHUNK_PADDING
    x = np.empty(shape, S.dtype)
    for start in range(first, last, _CHUNK_ANSWERS):
        size = min(_CHUNK_ANSWERS, last - start)
        for a in range(size):
            answer = start + a
            for j in range(k):
                position = positions[answer, j]
                x[j, a] = S[position]
        _softmax(x, m, shares, start, size, sums, pairs)
        if len(G):
            for a in range(size):
                answer = start + a
                for j in range(k):
                    position = positions[answer, j]
                    G[position] += x[j, a]


@compiled
@no_type_check
def gathered_pass(Z, m, ends, shares, GY, sums, first, last, pairs, Y):
    """Write the contribution of answers first..last-1 to (G + Gᵀ) Y to GY, if not empty.

    The similarities are mZZᵀ. Z: (n, q); Y, GY: (n, r); ends: (t, k, 2) int32, the chosen pair
    first; shares: (t,).
    """
    GY[:] = 0
    k = len(pairs)
    x = np.empty((k, _GATHERED_ANSWERS), Z.dtype)
    for start in range(first, last, _GATHERED_ANSWERS):
        size = min(_GATHERED_ANSWERS, last - start)
        for a in range(size):
            answer = start + a
            for j in range(k):
                u = Z[ends[answer, j, 0]]
                v = Z[ends[answer, j, 1]]
                dot = Z.dtype.type(0)
                for i in range(Z.shape[1]):
                    dot += u[i] * v[i]
                x[j, a] = dot
        _softmax(x, m, shares, start, size, sums, pairs)
        if len(GY):
            for a in range(size):
                answer = start + a
                for j in range(k):
                    u = ends[answer, j, 0]
                    v = ends[answer, j, 1]
                    r = x[j, a]
                    for i in range(Y.shape[1]):
                        GY[u, i] += r * Y[v, i]
                        GY[v, i] += r * Y[u, i]
