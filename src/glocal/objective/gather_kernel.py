"""The pass over all answers on a CPU without any n × n matrix, compiled: two products of rows in place of many passes.

Answer by answer in plain torch, every row read becomes a temporary of its own, and its sums scatter into the gradient.
Here G + Gᵀ is a sparse matrix whose entries have fixed places. One pass over the answers, ordered by their first
object, computes the similarities that they read and leaves the residuals in those places. A second one, over the rows
of the gradient, adds up the rows that belong there. No two threads write to one row, so the sum does not depend on how
many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float

from glocal.objective.choice_kernel import compiled
from glocal.objective.part import Part

_FAST = {"contract", "nsz", "arcp", "reassoc"}


@compiled(nogil=True, fastmath=_FAST, error_model="numpy")
@no_type_check
def _residuals(Z, objects, pairs, weights, residuals, first, last):
    """Write the softmax residuals of answers first..last-1 and return the sum of their losses.

    Z: (n, p); objects: (t, m) int32; pairs: (k, 2), the chosen pair first; weights: (t,) float64; residuals: (t, k).
    """
    k, p = len(pairs), Z.shape[1]
    s = np.empty(k, np.float64)
    total = 0.0
    for a in range(first, last):
        highest = -np.inf
        for c in range(k):
            x, y = Z[objects[a, pairs[c, 0]]], Z[objects[a, pairs[c, 1]]]
            dot = Z.dtype.type(0)
            for d in range(p):
                dot += x[d] * y[d]
            s[c] = dot
            highest = max(highest, s[c])
        others, chosen = 0.0, s[0] - highest
        for c in range(1, k):
            s[c] = np.exp(s[c] - highest)
            others += s[c]
        above = others if chosen == 0 else np.exp(chosen) + (others - 1)  # z - 1, not swallowed by the 1
        z = 1 + above
        total += weights[a] * (np.log1p(above) - chosen)
        residuals[a, 0] = -weights[a] * others / z
        for c in range(1, k):
            residuals[a, c] = weights[a] * s[c] / z
    return total


@compiled(nogil=True, fastmath=_FAST, error_model="numpy")
@no_type_check
def _product(Y, starts, columns, places, residuals, GY, first, last):
    """Rows first..last-1 of (G + Gᵀ) Y: row i sums the residuals at `places` times the rows `columns` of Y."""
    r = Y.shape[1]
    for i in range(first, last):
        row = GY[i]
        row[:] = 0
        for e in range(starts[i], starts[i + 1]):
            slope, y = residuals[places[e]], Y[columns[e]]
            for d in range(r):
                row[d] += slope * y[d]


class GatherKernel:
    """L and (G + Gᵀ) Y from the rows of the embedding, in memory linear in objects and answers."""

    def __init__(
        self, parts: Sequence[Part], weights: Float[np.ndarray, " t"] | None, total_weight: float, n: int, threads: int
    ) -> None:
        self._pool, self._threads = ThreadPoolExecutor(threads), threads
        self._answers, ends, size = [], [], 0
        for part in parts:
            order = np.argsort(part.objects[:, 0], kind="stable")
            objects, pairs = np.ascontiguousarray(part.objects[order], dtype=np.int32), np.array(part.pairs)
            own = np.ones(len(order)) if weights is None else weights[part.rows][order]
            self._answers.append((objects, pairs, own / total_weight, slice(size, size + len(order) * len(pairs))))
            ends.append(objects[:, pairs].reshape(-1, 2))
            size += len(order) * len(pairs)
        both = np.concatenate(ends)
        rows = np.concatenate([both[:, 0], both[:, 1]])
        order = np.argsort(rows, kind="stable")
        self._columns = np.concatenate([both[:, 1], both[:, 0]])[order]
        self._places = np.where(order < size, order, order - size).astype(np.int64 if size >= 2**31 else np.int32)
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
        self._bounds = np.searchsorted(self._starts, np.linspace(0, 2 * size, threads + 1)[1:-1])
        self._size, self._n = size, n

    def __call__(
        self, Z: Float[np.ndarray, "n p"], Y: Float[np.ndarray, "n r"]
    ) -> tuple[float, Float[np.ndarray, "n r"]]:
        """L and (G + Gᵀ) Y."""
        residuals, GY, value = np.empty(self._size, dtype=Z.dtype), np.empty_like(Y), 0.0
        for objects, pairs, weights, places in self._answers:
            own = residuals[places].reshape(len(objects), len(pairs))
            bounds = np.linspace(0, len(objects), self._threads + 1).astype(np.int64)
            value += sum(self._share(bounds, _residuals, Z, objects, pairs, weights, own))
        bounds = np.concatenate([[0], self._bounds, [self._n]])
        self._share(bounds, _product, Y, self._starts, self._columns, self._places, residuals, GY)
        return value, GY

    def _share(self, bounds: np.ndarray, function: Callable[..., float | None], *arrays: np.ndarray) -> list[Any]:
        """Call a pass once for each thread, on the rows between two bounds."""
        jobs = [self._pool.submit(function, *arrays, first, last) for first, last in pairwise(bounds)]
        return [job.result() for job in jobs]
