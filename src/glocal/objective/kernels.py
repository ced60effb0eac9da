"""The passes over many answers, compiled: from the Gram matrix, or from rows of the embedding.

In numpy every step of a pass reads and writes all answers, its scattered additions run on one core
and in float64. Here a chunk of a thousand answers stays in the first-level cache, and each thread
adds to a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int
from numba.core import types
from numba.extending import intrinsic, overload

from glocal.objective.passes import NO_PRODUCT, AnswerSums
from glocal.objective.threads import Workers

_CHUNK_ANSWERS = 1024  # whose similarities stay in the first-level cache
_CHUNK_PADDING = 16  # NOTE rows 4096 bytes apart would share places in the cache
_GATHERED_ANSWERS = 128  # whose rows stay in the second-level cache
_FAST = {
    "contract",
    "nsz",
    "arcp",
    "reassoc",
    "nnan",
    "ninf",
}  # inputs are finite: the caller checks
_TILES = 32  # along each axis of the Gram matrix
_MIN_TILE_OBJECTS = 128


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``numba.njit`` that keeps its machine code on disk where some folder is writable."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": _FAST}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder for it: compile once in each process
        return numba.njit(**options)(function)


@intrinsic
def _float_from_bits(_typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


def _exp(x: float) -> float:
    """e^x for x <= 0; in float32 to 2 ulp and never below 2^-126.

    It is 2^n · 2^f with |f| <= 1/2, a polynomial in f.
    """
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

    if x == types.float32:
        return single
    return lambda x: np.exp(x)  # noqa: PLW0108 - numba compiles Python functions only


def _log1p(a: float) -> float:
    """Log (1 + a); in float32 to 2 ulp for a in [0, 2].

    It is 2 artanh u with u = a / (a + 2), a polynomial in u² times u.
    """
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

    if a == types.float32:
        return single
    return lambda a: np.log1p(a)  # noqa: PLW0108


@cache
def _softmax(k: int) -> Callable[..., None]:
    """The compiled softmax over k candidate pairs; the compiler unrolls the loops over k."""

    @_compiled
    @no_type_check
    def softmax(x, m, shares, start, size, sums):
        """Replace the similarities x, (k, size), of answers from `start` on by residuals at mx.

        sums: (3,) float64, to which loss, slope and curvature are added.
        """
        zero = x.dtype.type(0)
        unity = x.dtype.type(1)
        loss = slope = curvature = zero
        for a in range(size):
            highest = x[0, a]
            for j in range(1, k):
                highest = max(highest, x[j, a])
            y = (x[0, a] - highest) * m
            others = mean = square = zero
            for j in range(1, k):
                d = (x[j, a] - highest) * m
                x[j, a] = _exp(d)
                others += x[j, a]
                mean += x[j, a] * d
                square += x[j, a] * (d * d)
            # z - 1, without the rounding that would swallow the small losses of clear answers
            chosen = _exp(y)
            excess = others if y == zero else chosen + (others - unity)
            w = shares[start + a]
            z = unity / (unity + excess)
            mean = (mean + chosen * y) * z
            square = (square + chosen * (y * y)) * z
            loss += w * ((_log1p(excess) if k <= 3 else np.log1p(excess)) - y)
            slope += w * (mean - y)
            curvature += w * (square - mean * mean)
            r = w * z
            x[0, a] = -others * r
            for j in range(1, k):
                x[j, a] *= r
        sums[0] += loss
        sums[1] += slope
        sums[2] += curvature

    return softmax


@cache
def _gram_pass(k: int) -> Callable[..., None]:
    """The compiled pass over answers with k candidate pairs from a Gram matrix."""
    softmax = _softmax(k)

    @_compiled
    @no_type_check
    def gram_pass(S, m, positions, shares, G, sums, first, last):
        """Write the residuals of answers first..last-1 at the similarities mS to G, if not empty.

        S, G: (n²,); positions: (t, k) int32, in the upper triangle of S, the chosen pair first;
        shares: (t,).
        """
        G[:] = 0
        x = np.empty((k, _CHUNK_ANSWERS + _CHUNK_PADDING), S.dtype)
        for start in range(first, last, _CHUNK_ANSWERS):
            size = min(_CHUNK_ANSWERS, last - start)
            for a in range(size):
                for j in range(k):
                    x[j, a] = S[positions[start + a, j]]
            softmax(x, m, shares, start, size, sums)
            if len(G):
                for a in range(size):
                    for j in range(k):
                        G[positions[start + a, j]] += x[j, a]

    return gram_pass


@cache
def _gathered_pass(k: int) -> Callable[..., None]:
    """The compiled pass over answers with k candidate pairs from the rows of the embedding."""
    softmax = _softmax(k)

    @_compiled
    @no_type_check
    def gathered_pass(Z, m, Y, ends, shares, GY, sums, first, last):
        """Write the part of answers first..last-1 in (G + Gᵀ) Y to GY, if not empty.

        The similarities are mZZᵀ. Z: (n, q); Y, GY: (n, r); ends: (t, k, 2) int32, the chosen pair
        first; shares: (t,).
        """
        GY[:] = 0
        x = np.empty((k, _GATHERED_ANSWERS), Z.dtype)
        for start in range(first, last, _GATHERED_ANSWERS):
            size = min(_GATHERED_ANSWERS, last - start)
            for a in range(size):
                for j in range(k):
                    u = Z[ends[start + a, j, 0]]
                    v = Z[ends[start + a, j, 1]]
                    dot = Z.dtype.type(0)
                    for i in range(Z.shape[1]):
                        dot += u[i] * v[i]
                    x[j, a] = dot
            softmax(x, m, shares, start, size, sums)
            if len(GY):
                for a in range(size):
                    for j in range(k):
                        u = ends[start + a, j, 0]
                        v = ends[start + a, j, 1]
                        r = x[j, a]
                        for i in range(Y.shape[1]):
                            GY[u, i] += r * Y[v, i]
                            GY[v, i] += r * Y[u, i]

    return gathered_pass


class _ThreadedPass:
    """A compiled pass: each thread has some of the answers, in this order, and an output."""

    def __init__(
        self, order: Int[np.ndarray, " t"], shares: Float[np.ndarray, " t"], workers: Workers
    ) -> None:
        self._shares = shares[order]
        self._workers = workers
        self._bounds = np.linspace(0, len(order), workers.threads + 1).astype(np.int64)

    def _sums(self, kernel: Callable[..., None], outputs: np.ndarray) -> AnswerSums:
        """The sums without a product, while `kernel` fills the outputs of the threads."""
        sums = np.zeros((len(outputs), 3))

        def run(i: int) -> None:
            kernel(outputs[i], sums[i], self._bounds[i], self._bounds[i + 1])

        self._workers.map(run, range(len(outputs)))
        loss, slope, curvature = map(float, sums.sum(axis=0))
        return AnswerSums(loss, slope, curvature, NO_PRODUCT)


class CompiledPass(_ThreadedPass):
    """The pass from the Gram matrix, with the answers in an order that keeps S and G in the cache.

    Parameters are those of `NumpyPass`; each thread adds to an n × n gradient of its own.
    """

    def __init__(
        self,
        objects: Int[np.ndarray, "t m"],
        pairs: Int[np.ndarray, "k 2"],
        shares: Float[np.ndarray, " t"],
        n: int,
        workers: Workers,
    ) -> None:
        order = _cache_order(objects, n)
        super().__init__(order, shares, workers)
        self._positions = np.empty((len(order), len(pairs)), np.int32)
        for k, (i, j) in enumerate(pairs):
            first = objects[order, i].astype(np.int32)
            second = objects[order, j].astype(np.int32)
            rows = np.minimum(first, second)
            self._positions[:, k] = rows * np.int32(n) + np.maximum(first, second)
        self._run = _gram_pass(len(pairs))

    def similarities(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n n"]:
        """S."""
        return self._workers.gram(Z)

    def __call__(
        self, S: Float[np.ndarray, "n n"], m: float, Y: Float[np.ndarray, "n r"] | None = None
    ) -> AnswerSums:
        """Pass over the answers at the similarities mS."""
        size = 0 if Y is None else S.size
        G = np.empty((self._workers.threads, size), S.dtype)  # ∂L/∂S of each thread
        kernel = partial(self._run, S.ravel(), S.dtype.type(m), self._positions, self._shares)
        sums = self._sums(kernel, G)
        if Y is None:
            return sums
        upper = (G[0] if len(G) == 1 else G.sum(axis=0)).reshape(S.shape)
        return sums._replace(product=self._workers.product(upper + upper.T, Y))


class GatheredPass(_ThreadedPass):
    """The pass from the rows of the embedding, in memory linear in objects and answers.

    Parameters are those of `NumpyPass`; each thread adds to a product (G + Gᵀ) Y of its own.
    """

    def __init__(
        self,
        objects: Int[np.ndarray, "t m"],
        pairs: Int[np.ndarray, "k 2"],
        shares: Float[np.ndarray, " t"],
        n: int,
        workers: Workers,
    ) -> None:
        order = np.argsort(objects[:, 0], kind="stable")
        super().__init__(order, shares, workers)
        self._ends = objects[order][:, pairs].astype(np.int32)
        self._run = _gathered_pass(len(pairs))

    def similarities(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n q"]:
        """The rows, whose dot products are taken answer by answer."""
        return np.ascontiguousarray(Z)

    def __call__(
        self, Z: Float[np.ndarray, "n q"], m: float, Y: Float[np.ndarray, "n r"] | None = None
    ) -> AnswerSums:
        """Pass over the answers at the similarities mZZᵀ."""
        Y = Z[:0] if Y is None else np.ascontiguousarray(Y)
        GY = np.empty((self._workers.threads, *Y.shape), Z.dtype)
        kernel = partial(self._run, Z, Z.dtype.type(m), Y, self._ends, self._shares)
        sums = self._sums(kernel, GY)
        for i in range(1, len(GY)):
            GY[0] += GY[i]
        return sums._replace(product=GY[0])


def _cache_order(objects: Int[np.ndarray, "t m"], n: int) -> Int[np.ndarray, " t"]:
    """Order answers by the tiles of their sorted triple: 128 objects each, more above 4096."""
    size = max(_MIN_TILE_OBJECTS, -(-n // _TILES))
    a, b, c = (objects[:, :3] // size).astype(np.uint16).T
    low = np.minimum(np.minimum(a, b), c)
    high = np.maximum(np.maximum(a, b), c)
    middle = a + b + c - low - high
    return np.argsort((low * _TILES + middle) * _TILES + high, kind="stable")
