"""The pass over all answers on a CPU in float32, compiled: gather, softmax residuals, scatter.

Plain torch needs an index and a value tensor of every intermediate, tens of megabytes each, and its scattered additions
run on one core. Here a chunk of a thousand answers stays in the first-level cache, its exponentials are vector loops,
and each thread adds to a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int
from numba.core import types
from numba.extending import intrinsic

from glocal.objective.part import Part

_CHUNK = 1024
_FAST = {"contract", "nsz", "arcp", "reassoc", "nnan", "ninf"}  # inputs are finite: the caller checks
_TILES = 32


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` that keeps its machine code on disk where some folder is writable."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba finds no folder to keep it in: compile once a process
            return numba.njit(**options)(function)

    return decorate


@intrinsic
def _float_from_bits(_typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@numba.njit(inline="always")
@no_type_check
def _exp(x):
    """e^x for x <= 0 to 2 ulp: 2^n · 2^f with |f| <= 1/2 and a degree-6 polynomial; never below 2^-126."""
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
    return p * _float_from_bits(np.int32(np.int32(n) + np.int32(127)) << np.int32(23))


@numba.njit(inline="always")
@no_type_check
def _log1p(a):
    """Log (1 + a) for a in [0, 2] to 2 ulp: 2 artanh u, u = a / (a + 2), a polynomial of degree 5 in u² times u."""
    u = a / (a + np.float32(2))
    v = u * u
    p = np.float32(0.36614650)
    p = p * v + np.float32(0.16294468)
    p = p * v + np.float32(0.29389385)
    p = p * v + np.float32(0.39950472)
    p = p * v + np.float32(0.66667745)
    p = p * v + np.float32(2)
    return p * u


@cache
def _pass_of(k: int, weighted: bool) -> Callable[..., float]:
    """The compiled pass over answers with k candidate pairs; the compiler knows k and unrolls the loops over them."""

    @compiled(nogil=True, fastmath=_FAST, error_model="numpy")
    @no_type_check
    def one_pass(S, G, pairs, weights, first, last):
        """Add the residuals of answers first..last-1 to G and return the sum of their losses.

        S, G: (n²,) float32, the Gram matrix and its gradient, upper triangle; pairs: (t, k) int32 positions in them,
        the chosen pair first; weights: (t,) float32, or empty for 1 each.
        """
        x = np.empty((k, _CHUNK + 16), np.float32)  # NOTE rows 4096 bytes apart would share places in the cache
        total = 0.0
        for start in range(first, last, _CHUNK):
            m = min(_CHUNK, last - start)
            for c in range(m):
                for j in range(k):
                    x[j, c] = S[pairs[start + c, j]]
            chunk_total = np.float32(0)
            for c in range(m):
                highest = x[0, c]
                for j in range(1, k):
                    highest = max(highest, x[j, c])
                y, others = x[0, c] - highest, np.float32(0)
                for j in range(1, k):
                    x[j, c] = _exp(x[j, c] - highest)
                    others += x[j, c]
                # z - 1, without the rounding that would swallow the small losses of clear answers
                above = others if y == 0 else _exp(y) + (others - np.float32(1))
                w = weights[start + c] if weighted else np.float32(1)
                chunk_total += w * ((_log1p(above) if k <= 3 else np.log1p(above)) - y)
                r = w / (np.float32(1) + above)
                x[0, c] = -others * r
                for j in range(1, k):
                    x[j, c] *= r
            total += chunk_total
            for c in range(m):
                for j in range(k):
                    G[pairs[start + c, j]] += x[j, c]
        return total

    return one_pass


class ChoiceKernel:
    """All answers of one fit, ordered so that the touched parts of S and G stay in cache.

    The objects of the `parts` are rows of the embedding, which has `n`. Each thread keeps an n × n gradient of its own.
    """

    def __init__(self, parts: Sequence[Part], weights: Float[np.ndarray, " t"] | None, n: int, threads: int) -> None:
        self._parts = [_ordered(part, weights, n, threads) for part in parts]
        self._gradients = [np.zeros((n, n), dtype=np.float32) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads)

    def __call__(self, S: Float[np.ndarray, "n n"]) -> tuple[float, Float[np.ndarray, "n n"]]:
        """Sum of the losses, and ∂/∂S in the upper triangle; the array is reused by the next call."""
        flat = S.reshape(-1)
        jobs = [self._pool.submit(self._share, flat, number) for number in range(len(self._gradients))]
        total = sum(job.result() for job in jobs)
        first, *others = self._gradients
        for other in others:
            np.add(first, other, out=first)
        return total, first

    def _share(self, S: np.ndarray, number: int) -> float:
        G = self._gradients[number]
        G.fill(0)
        return sum(
            float(
                _pass_of(positions.shape[1], len(weights) > 0)(
                    S, G.reshape(-1), positions, weights, *bounds[number : number + 2]
                )
            )
            for positions, weights, bounds in self._parts
        )


def _ordered(part: Part, weights: np.ndarray | None, n: int, threads: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in S, weights and the bounds of each thread, for answers in the order of the cache."""
    order = cache_order(part.objects[:, :3], n)
    columns = part.objects[order].T
    positions = np.empty((len(order), len(part.pairs)), dtype=np.int32)
    for place, (i, j) in enumerate(part.pairs):
        first, second = columns[i], columns[j]
        positions[:, place] = np.minimum(first, second) * np.int32(n) + np.maximum(first, second)
    own = np.empty(0, np.float32) if weights is None else weights[part.rows][order].astype(np.float32)
    return positions, own, np.linspace(0, len(order), threads + 1).astype(np.int64)


def cache_order(answers: Int[np.ndarray, "t 3"], n: int) -> Int[np.ndarray, " t"]:
    """Order answers by the tiles of 128 objects (more above 4096 objects) that their sorted triple lies in."""
    size = max(128, -(-n // _TILES))
    tile = (np.arange(n) // size).astype(np.uint16)
    a, b, c = (tile[column] for column in answers.T)
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    middle = a + b + c - low - high
    return np.argsort((low * _TILES + middle) * _TILES + high, kind="stable")
