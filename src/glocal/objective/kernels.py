"""The passes over many answers, compiled: through the Gram matrix, or from the rows of the embedding.

In numpy every step of a pass reads and writes all answers, its scattered additions run on one core and in float64. Here
a chunk of a thousand answers stays in the first-level cache, and each thread adds to a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int
from numba.core import types
from numba.extending import intrinsic, overload

from glocal.objective.passes import NOTHING, Pass
from glocal.objective.threads import Workers

_CHUNK = 1024
_ROWS = 128  # answers whose rows stay in the second-level cache
_FAST = {"contract", "nsz", "arcp", "reassoc", "nnan", "ninf"}  # inputs are finite: the caller checks
_TILES = 32


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` that keeps its machine code on disk where some folder is writable."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        except RuntimeError:  # numba finds no folder to keep it in: compile once a process
            return numba.njit(nogil=True, error_model="numpy", **options)(function)

    return decorate


@intrinsic
def _float_from_bits(_typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


def _exp(x: float) -> float:
    """e^x for x <= 0; in float32 to 2 ulp and never below 2^-126: 2^n · 2^f with |f| <= 1/2, a polynomial in f."""
    raise NotImplementedError


@overload(_exp, inline="always")
@no_type_check
def _exp_of_type(x):
    def single(x):
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

    return single if x == types.float32 else lambda x: np.exp(x)  # noqa: PLW0108 - numba compiles functions of its own


def _log1p(a: float) -> float:
    """Log (1 + a); in float32 for a in [0, 2] to 2 ulp, 2 artanh u, u = a / (a + 2), a polynomial in u² times u."""
    raise NotImplementedError


@overload(_log1p, inline="always")
@no_type_check
def _log1p_of_type(a):
    def single(a):
        u = a / (a + np.float32(2))
        v = u * u
        p = np.float32(0.36614650)
        p = p * v + np.float32(0.16294468)
        p = p * v + np.float32(0.29389385)
        p = p * v + np.float32(0.39950472)
        p = p * v + np.float32(0.66667745)
        p = p * v + np.float32(2)
        return p * u

    return single if a == types.float32 else lambda a: np.log1p(a)  # noqa: PLW0108


@cache
def _softmax(k: int) -> Callable[..., None]:
    """The compiled softmax of answers with k candidate pairs; the compiler knows k and unrolls the loops over them."""

    @compiled(fastmath=_FAST)
    @no_type_check
    def softmax(x, m, shares, start, size, found):
        """Replace the similarities x, (k, size), of answers from `start` on by their residuals at mx.

        found: (3,) float64, to which value, along and bend are added.
        """
        zero, one = x.dtype.type(0), x.dtype.type(1)
        value, along, bend = zero, zero, zero
        for a in range(size):
            highest = x[0, a]
            for j in range(1, k):
                highest = max(highest, x[j, a])
            y, others, mean, square = (x[0, a] - highest) * m, zero, zero, zero
            for j in range(1, k):
                d = (x[j, a] - highest) * m
                x[j, a] = _exp(d)
                others += x[j, a]
                mean += x[j, a] * d
                square += x[j, a] * (d * d)
            # z - 1, without the rounding that would swallow the small losses of clear answers
            own = _exp(y)
            above = others if y == zero else own + (others - one)
            w, z = shares[start + a], one / (one + above)
            mean, square = (mean + own * y) * z, (square + own * (y * y)) * z
            value += w * ((_log1p(above) if k <= 3 else np.log1p(above)) - y)
            along += w * (mean - y)
            bend += w * (square - mean * mean)
            r = w * z
            x[0, a] = -others * r
            for j in range(1, k):
                x[j, a] *= r
        found[0] += value
        found[1] += along
        found[2] += bend

    return softmax


@cache
def _from_gram(k: int) -> Callable[..., None]:
    """The compiled pass over answers with k candidate pairs from a Gram matrix."""
    softmax = _softmax(k)

    @compiled(fastmath=_FAST)
    @no_type_check
    def from_gram(S, m, G, places, shares, found, first, last):
        """Write the residuals of answers first..last-1 at the similarities mS to G, unless that is empty.

        S, G: (n²,); places: (t, k) int32, positions in the upper triangle, the chosen pair first; shares: (t,).
        """
        G[:] = 0
        x = np.empty((k, _CHUNK + 16), S.dtype)  # NOTE rows 4096 bytes apart would share places in the cache
        for start in range(first, last, _CHUNK):
            size = min(_CHUNK, last - start)
            for a in range(size):
                for j in range(k):
                    x[j, a] = S[places[start + a, j]]
            softmax(x, m, shares, start, size, found)
            if len(G):
                for a in range(size):
                    for j in range(k):
                        G[places[start + a, j]] += x[j, a]

    return from_gram


@cache
def _from_rows(k: int) -> Callable[..., None]:
    """The compiled pass over answers with k candidate pairs from the rows of the embedding."""
    softmax = _softmax(k)

    @compiled(fastmath=_FAST)
    @no_type_check
    def from_rows(Z, m, Y, GY, ends, shares, found, first, last):
        """Write what answers first..last-1 add to (G + Gᵀ) Y at the similarities mZZᵀ to GY, unless that is empty.

        Z: (n, q); Y, GY: (n, r); ends: (t, k, 2) int32, the chosen pair first; shares: (t,).
        """
        GY[:] = 0
        x = np.empty((k, _ROWS), Z.dtype)
        for start in range(first, last, _ROWS):
            size = min(_ROWS, last - start)
            for a in range(size):
                for j in range(k):
                    u, v, dot = Z[ends[start + a, j, 0]], Z[ends[start + a, j, 1]], Z.dtype.type(0)
                    for i in range(Z.shape[1]):
                        dot += u[i] * v[i]
                    x[j, a] = dot
            softmax(x, m, shares, start, size, found)
            if len(GY):
                for a in range(size):
                    for j in range(k):
                        u, v, r = ends[start + a, j, 0], ends[start + a, j, 1], x[j, a]
                        for i in range(Y.shape[1]):
                            GY[u, i] += r * Y[v, i]
                            GY[v, i] += r * Y[u, i]

    return from_rows


class Compiled:
    """The pass through the Gram matrix, over answers ordered so that the touched parts of S and G stay in cache.

    Parameters are those of numpy's pass; each thread keeps an n × n gradient of its own.
    """

    def __init__(
        self, objects: Int[np.ndarray, "t m"], pairs: Int[np.ndarray, "k 2"], shares: Float[np.ndarray, " t"], n: int,
        workers: Workers,
    ) -> None:  # fmt: skip
        threads = workers.threads
        order = cache_order(objects, n)
        self._shares, self._places = shares[order], np.empty((len(order), len(pairs)), np.int32)
        for place, (i, j) in enumerate(pairs):
            first, second = objects[order, i].astype(np.int32), objects[order, j].astype(np.int32)
            self._places[:, place] = np.minimum(first, second) * np.int32(n) + np.maximum(first, second)
        self._workers = workers
        self._gradients = np.zeros((threads, n, n), shares.dtype)
        self._bounds, self._run = np.linspace(0, len(order), threads + 1).astype(np.int64), _from_gram(len(pairs))

    def similarities(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n n"]:
        """S."""
        return self._workers.gram(Z)

    def __call__(self, S: Float[np.ndarray, "n n"], m: float, Y: Float[np.ndarray, "n r"] | None = None) -> Pass:
        """Pass over the answers at the similarities mS."""
        threads, scale = self._workers.threads, S.dtype.type(m)
        found = np.zeros((threads, 3))
        G = np.empty((threads, 0), S.dtype) if Y is None else self._gradients.reshape(threads, -1)

        def run(i: int) -> None:
            self._run(S.ravel(), scale, G[i], self._places, self._shares, found[i], *self._bounds[i : i + 2])

        self._workers.map(run, range(threads))
        value, along, bend = map(float, found.sum(axis=0))
        if Y is None:
            return Pass(value, along, bend, NOTHING)
        upper = self._gradients[0] if threads == 1 else self._gradients.sum(axis=0)
        return Pass(value, along, bend, self._workers.product(upper + upper.T, Y))


class Gathered:
    """The pass from the rows of the embedding, in memory linear in objects and answers.

    Parameters are those of `Compiled`; each thread keeps a product (G + Gᵀ) Y of its own.
    """

    def __init__(
        self, objects: Int[np.ndarray, "t m"], pairs: Int[np.ndarray, "k 2"], shares: Float[np.ndarray, " t"], n: int,
        workers: Workers,
    ) -> None:  # fmt: skip
        order = np.argsort(objects[:, 0], kind="stable")
        self._ends, self._shares = objects[order][:, pairs].astype(np.int32), shares[order]
        self._bounds = np.linspace(0, len(order), workers.threads + 1).astype(np.int64)
        self._workers, self._run = workers, _from_rows(len(pairs))

    def similarities(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n q"]:
        """The rows, whose dot products are taken answer by answer."""
        return np.ascontiguousarray(Z)

    def __call__(self, Z: Float[np.ndarray, "n q"], m: float, Y: Float[np.ndarray, "n r"] | None = None) -> Pass:
        """Pass over the answers at the similarities mZZᵀ."""
        threads, scale = self._workers.threads, Z.dtype.type(m)
        found, Y = np.zeros((threads, 3)), Z[:0] if Y is None else np.ascontiguousarray(Y)
        GY = np.empty((threads, *Y.shape), Z.dtype)

        def run(i: int) -> None:
            self._run(Z, scale, Y, GY[i], self._ends, self._shares, found[i], *self._bounds[i : i + 2])

        self._workers.map(run, range(threads))
        value, along, bend = map(float, found.sum(axis=0))
        for i in range(1, threads):
            GY[0] += GY[i]
        return Pass(value, along, bend, GY[0])


def cache_order(objects: Int[np.ndarray, "t m"], n: int) -> Int[np.ndarray, " t"]:
    """Order answers by the tiles of 128 objects (more above 4096 objects) that their sorted triple lies in."""
    a, b, c = ((objects[:, i] // max(128, -(-n // _TILES))).astype(np.uint16) for i in range(3))
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    return np.argsort((low * _TILES + (a + b + c - low - high)) * _TILES + high, kind="stable")
