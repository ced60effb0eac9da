"""As many threads as the size of a problem calls for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator

_GRAIN = 5e8  # operations of one evaluation that keep a thread busy, about 10 ms
_lock = threading.Lock()
_inside: list[int] = []  # the number of threads there was before, once for each fit that runs


def work_of(n: int, p: int, answers: int, blocks: Iterable[int] = ()) -> float:
    """Operations of one evaluation of the objective, roughly: n objects, p dimensions, blocks of so many images.

    >>> f"{work_of(n=360, p=64, answers=60_000, blocks=[900]):.1e}"
    '3.1e+08'
    """
    sizes = list(blocks)
    products = sum(rows * p * p + rows * rows * p for rows in (n, *sizes))
    return 4.0 * products + 50.0 * (answers + sum(m * m for m in sizes))


@contextlib.contextmanager
def threads_for(work: float) -> Iterator[int]:
    """Give torch one thread per half a billion operations of an evaluation, and restore its number at the end.

    Threads of a small product mostly wait for each other. Where another process has a core, each product waits for a
    thread that does not run: a fit of milliseconds then takes a hundred times as long. Alone, one thread more would
    have saved milliseconds. Yields the number of threads.
    """
    import torch

    with _lock:
        _inside.append(_inside[0] if _inside else torch.get_num_threads())
    chosen = max(1, min(_inside[0], int(work / _GRAIN)))
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        with _lock:  # NOTE of fits at the same time the first found what all go back to
            torch.set_num_threads(_inside.pop())
