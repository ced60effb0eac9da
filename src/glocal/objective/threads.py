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
            _LIMIT.threads = min((library["num_threads"] for library in blas.info()), default=1)
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
        return _limited_workers, (self.threads,)

    @classmethod
    def from_sizes(
        cls, shape: tuple[int, ...], answers: int, blocks: Iterable[int], max_threads: int
    ) -> Workers:
        """Use one thread for each half a billion operations of an evaluation, within a maximum.

        `shape` is the shape of X, and `blocks` are the numbers of local images in each block.
        """
        n, p = shape
        sizes = list(blocks)
        products = sum(rows * p * p + rows * rows * p for rows in (n, *sizes))
        operations = 4.0 * products + 50.0 * (answers + sum(m * m for m in sizes))
        threads = min(max_threads, int(operations / _MIN_OPERATIONS_PER_THREAD))
        return cls(max(1, threads))

    def map(self, function: Callable[..., Any], *pieces: Iterable[Any]) -> list[Any]:
        """Call a function on each piece, and return the results in order."""
        if self._pool is None:
            return list(map(function, *pieces))
        return list(self._pool.map(function, *pieces))

    def product(
        self, A: Float[np.ndarray, "a b"], B: Float[np.ndarray, "b c"]
    ) -> Float[np.ndarray, "a c"]:
        """The product A B; each thread computes some of its rows."""
        if self._pool is None:
            return A @ B
        C = np.empty((len(A), B.shape[1]), A.dtype)
        slices = row_slices(len(A), -(-len(A) // self.threads))
        self.map(lambda rows: np.matmul(A[rows], B, out=C[rows]), slices)
        return C

    def gram(self, Z: Embedding) -> Float[np.ndarray, "n n"]:
        """The upper triangle of Z Zᵀ, in whole blocks; the other entries are undefined."""
        S = np.empty((len(Z), len(Z)), Z.dtype)
        self.map(
            lambda rows: np.matmul(Z[rows], Z[rows.start :].T, out=S[rows, rows.start :]),
            row_slices(len(Z), _GRAM_BLOCK_ROWS),
        )
        return S


def _limited_workers(threads: int) -> Workers:
    """So many workers, or as many as this process allows."""
    with single_threaded_blas() as max_threads:
        return Workers(min(threads, max_threads))
