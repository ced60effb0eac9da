"""Which answers and which local images meet in which step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True, eq=False)
class Step:
    """What one device reads in one step.

    `answers` are its rows of the batch, `batch` the size of the whole batch over all devices; `block` is the number of
    a fixed block of local images, or the rows of images drawn, or None without a local term.
    """

    answers: Int[np.ndarray, " m"]
    batch: int
    block: int | Int[np.ndarray, " k"] | None


def epoch_steps(
    n_answers: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    devices: int = 1,
    n_blocks: int = 0,
    images: tuple[int, int] | None = None,
) -> list[Step]:
    """The steps of one epoch: shuffled answers zipped with blocks of local images, the shorter of the two repeated.

    An epoch has as many steps as the longer of the two needs for one pass; what is repeated is shuffled anew in each
    pass. The batches of answers do not depend on the number of devices D: device r of D takes answers r, r + D, …
    of each batch. Each device takes a whole block of images, so that a step uses `devices` blocks.

    Parameters
    ----------
    n_answers, batch_size : int
        The last batch of a pass may be smaller.
    seed, epoch : int
        The shuffling depends on these two alone, so that any epoch can be reproduced without the earlier ones.
    rank, devices : int
        Which device, of how many.
    n_blocks : int
        Fixed blocks of local images; 0 without a local term.
    images : (n, size) or None
        Draw blocks of this size from n images in place of fixed ones.

    Returns
    -------
    list of Step
    """
    local = images is not None or n_blocks > 0
    drawn = (n_blocks if images is None else -(-images[0] // images[1])) if local else 0
    length = max(-(-n_answers // batch_size), -(-drawn // devices))
    batches = _repeated(n_answers, batch_size, (seed, epoch, 0))
    if not local:
        blocks: Iterator[int | np.ndarray | None] = iter([None] * length)
    elif images is None:
        blocks = (int(number[0]) for number in _repeated(n_blocks, 1, (seed, epoch, 1)))
    else:
        blocks = _repeated(*images, (seed, epoch, 1), smallest=2)
    mine = islice(blocks, rank if local else 0, None, devices if local else 1)
    return [
        Step(batch[rank::devices], len(batch), block)
        for batch, block in zip(islice(batches, length), islice(mine, length), strict=True)
    ]


def _repeated(n: int, size: int, seed: tuple[int, ...], smallest: int = 1) -> Iterator[np.ndarray]:
    """Passes over 0 … n-1 in pieces, each pass in an order of its own; pieces below `smallest` are left out."""
    for number in count():
        order = np.random.default_rng([*seed, number]).permutation(n)
        for start in range(0, n, size):
            if min(size, n - start) >= smallest:
                yield order[start : start + size]
