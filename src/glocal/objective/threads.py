"""A pool of threads around single-threaded BLAS.

After every product the threads of OpenBLAS spin for about 25 ms while they wait for the next one.
On a machine with other work a fit then takes twice the processor time, and each product waits for
a thread that is not running.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import ThreadpoolController

from glocal.similarity import Embedding, row_slices

_MIN_OPERATIONS_PER_THREAD = 5e8  # operations of one evaluation, about 10 ms
_GRAM_BLOCK_ROWS = 256


_LIMIT = SimpleNamespace(lock=threading.Lock(), n_fits=0, threads=1, limits=None)
"""The limit of BLAS that the running fits share, and the number of threads before it."""


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[int]:
    """Limit BLAS to one thread, and yield the number of threads that it had.

    Users, joblib and Dask set this number when fits share a machine. The limit applies to the whole
    process. Of several fits at the same time, the first sets the limit and the last restores the
    number.
    """
    with _LIMIT.lock:
        if not _LIMIT.n_fits:
            blas = _blas()
            threads = [library["num_threads"] for library in blas.info()]
            _LIMIT.threads = min(threads, default=1)
            _LIMIT.limits = blas.limit(limits=1)
        _LIMIT.n_fits += 1
    try:
        yield _LIMIT.threads
    finally:
        with _LIMIT.lock:
            _LIMIT.n_fits -= 1
            if not _LIMIT.n_fits:
                _LIMIT.limits.restore_original_limits()


@cache
def _blas() -> ThreadpoolController:
    """The BLAS libraries, numpy's among them; to find them takes longer than a small fit."""
    return ThreadpoolController().select(user_api="blas")


class Workers:
    """Threads for products and for passes over rows, inside `single_threaded_blas`.

    One thread needs no pool. Several threads form a pool, and another process makes a pool of its
    own, within its limit.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def __reduce__(self) -> tuple[Callable[[int], Workers], tuple[int]]:
        arguments = (self.threads,)
        return _limited_workers, arguments

    @classmethod
    def from_sizes(
        cls,
        shape: tuple[int, ...],
        answers: int,
        blocks: Iterable[int],
        max_threads: int,
    ) -> Workers:
        """Use one thread for each half a billion operations of an evaluation, within a maximum.

        `shape` is the shape of X, and `blocks` are the numbers of local images in each block.
        """
        n, p = shape
        sizes = list(blocks)
        products = 0
        for rows in (n, *sizes):
            products += rows * p * p
            products += rows * rows * p
        cosines = sum(m * m for m in sizes)
        operations = 4.0 * products
        operations += 50.0 * (answers + cosines)
        useful_threads = int(operations / _MIN_OPERATIONS_PER_THREAD)
        threads = min(max_threads, useful_threads)
        return cls(max(1, threads))

    def map(self, function: Callable[..., Any], *pieces: Iterable[Any]) -> list[Any]:
        """Call a function on each piece, and return the results in order."""
        pool = self._pool
        if pool is None:
            return list(map(function, *pieces))
        results = pool.map(function, *pieces)
        return list(results)

    def product(
        self,
        A: Float[np.ndarray, "a b"],
        B: Float[np.ndarray, "b c"],
    ) -> Float[np.ndarray, "a c"]:
        """The product A B; each thread computes some of its rows."""
        if self._pool is None:
            return A @ B
        n_rows = len(A)
        shape = n_rows, B.shape[1]
        C = np.empty(shape, A.dtype)
        rows_per_thread = -(-n_rows // self.threads)

        def multiply(rows: slice) -> None:
            np.matmul(A[rows], B, out=C[rows])

        slices = row_slices(n_rows, rows_per_thread)
        self.map(multiply, slices)
        return C

    def gram(self, Z: Embedding) -> Float[np.ndarray, "n n"]:
        """The upper triangle of Z Zᵀ, in whole blocks; the other entries are undefined."""
        n = len(Z)
        S = np.empty((n, n), Z.dtype)

        def multiply(rows: slice) -> None:
            upper = S[rows, rows.start :]
            later = Z[rows.start :]
            np.matmul(Z[rows], later.T, out=upper)

        slices = row_slices(n, _GRAM_BLOCK_ROWS)
        self.map(multiply, slices)
        return S


def _limited_workers(threads: int) -> Workers:
    """So many workers, or as many as this process allows."""
    with single_threaded_blas() as max_threads:
        return Workers(min(threads, max_threads))
