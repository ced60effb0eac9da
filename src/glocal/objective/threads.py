"""Threads of our own around single-threaded BLAS.

OpenBLAS's threads spin for some 25 ms after every product while they wait for the next one: on a machine with other
work a fit then takes twice the processor time, and each product waits for a thread that does not run.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_info, threadpool_limits

_GRAIN = 5e8  # operations of one evaluation that keep a thread busy, about 10 ms
_BLOCK = 256  # rows of a Gram matrix that are computed at once
_lock = threading.Lock()
_running: list[
    tuple[threadpool_limits, int]
] = []  # one entry for each running fit: the limits, the threads before


@contextlib.contextmanager
def blas_alone() -> Iterator[int]:
    """Limit BLAS to one thread; yield the number it had, which users, joblib and Dask set where fits share a machine.

    The limit is one of the whole process. Of several fits at the same time the first sets it, and the last restores
    what the first found.
    """
    with _lock:
        if not _running:
            most = [
                library["num_threads"]
                for library in threadpool_info()
                if library["user_api"] == "blas"
            ]
            _running.append((threadpool_limits(1, user_api="blas"), min(most, default=1)))
        else:
            _running.append(_running[0])
    try:
        yield _running[0][1]
    finally:
        with _lock:
            limits, _ = _running.pop()
            if not _running:
                limits.restore_original_limits()


class Workers:
    """A number of threads for products and for passes over rows, inside `blas_alone`; one thread works in place."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    @classmethod
    def of(cls, shape: tuple[int, ...], answers: int, blocks: Iterable[int], most: int) -> Workers:
        """One thread for each half a billion operations of an evaluation, at most `most`.

        `shape` is of X, and `blocks` are the numbers of local images in each block.
        """
        (n, p), sizes = shape, list(blocks)
        products = sum(rows * p * p + rows * rows * p for rows in (n, *sizes))
        work = 4.0 * products + 50.0 * (answers + sum(m * m for m in sizes))
        return cls(max(1, min(most, int(work / _GRAIN))))

    def map(self, function: Callable[..., Any], *pieces: Iterable[Any]) -> list[Any]:
        """Call a function for each piece."""
        return list((map if self._pool is None else self._pool.map)(function, *pieces))

    def product(
        self, A: Float[np.ndarray, "a b"], B: Float[np.ndarray, "b c"]
    ) -> Float[np.ndarray, "a c"]:
        """A B, each thread some rows."""
        if self._pool is None:
            return A @ B
        C = np.empty((len(A), B.shape[1]), A.dtype)
        self.map(
            lambda rows: np.matmul(A[rows], B, out=C[rows]),
            runs(len(A), -(-len(A) // self.threads)),
        )
        return C

    def gram(self, Z: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n n"]:
        """Z Zᵀ, computed for i <= j up to whole blocks; the rest is left as it is."""
        S = np.empty((len(Z), len(Z)), Z.dtype)
        self.map(
            lambda rows: np.matmul(Z[rows], Z[rows.start :].T, out=S[rows, rows.start :]),
            runs(len(Z), _BLOCK),
        )
        return S


def runs(n: int, size: int) -> list[slice]:
    """Cut 0..n-1 into runs of a size."""
    return [slice(start, min(start + size, n)) for start in range(0, n, max(size, 1))]
