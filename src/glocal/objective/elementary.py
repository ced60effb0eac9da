"""What the compiled passes are made of: the compiler, and e^x and log (1 + a) in the type of x.

The functions of numpy run on one number at a time. For float32 there are polynomials here, which
the compiler applies to many numbers at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numba
import numpy as np
from numba.extending import overload, register_jitable

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
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": _FAST}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no writable folder: compile once in each process
        return numba.njit(**options)(function)


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
    return _single_exp if x == numba.float32 else lambda x: np.exp(x)  # noqa: PLW0108


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
    t = max(x * np.float32(1.4426950408889634), np.float32(-126))
    n = np.float32(np.floor(t + np.float32(0.5)))
    f = t - n
    p = np.float32(1.5403530e-4)
    p = p * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1.0)
    bits = np.int32(np.int32(n) + np.int32(127)) << np.int32(23)
    return p * np.int32(bits).view(np.float32)


@register_jitable(inline="always")
@no_type_check
def _single_log1p(a):
    """Log (1 + a) in float32, to 2 ulp for a in [0, 2].

    The result is 2 artanh u with u = a / (a + 2), computed as a polynomial in u² times u.
    """
    u = a / (a + np.float32(2))
    v = u * u
    p = np.float32(0.36614650)
    p = p * v + np.float32(0.16294468)
    p = p * v + np.float32(0.29389385)
    p = p * v + np.float32(0.39950472)
    p = p * v + np.float32(0.66667745)
    p = p * v + np.float32(2)
    return p * u
