"""The steps of an epoch: which answers meet which block of local images, and the objective on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, count, islice

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty, weighted

_KEPT_BLOCKS = 64  # blocks whose teachers are kept; with 1024 images each that is 256 MB


@dataclass(frozen=True, eq=False)
class Step:
    """The answers of a batch, and the number of a fixed block of local images, or the rows of images drawn."""

    answers: Int[np.ndarray, " m"]
    block: int | Int[np.ndarray, " k"] | None


def epoch_steps(
    n_answers: int, batch_size: int, *, seed: int, epoch: int, n_blocks: int = 0, images: tuple[int, int] | None = None
) -> list[Step]:
    """The steps of one epoch: shuffled answers zipped with blocks of local images, the shorter of the two repeated.

    An epoch has as many steps as the longer of the two needs for one pass; what is repeated is shuffled anew in each
    pass. The shuffling depends on seed and epoch alone, so that any epoch can be reproduced without the earlier ones.
    `images` (n, size) draws blocks of this size from n images in place of the `n_blocks` fixed ones.
    """
    drawn = n_blocks if images is None else -(-images[0] // images[1])
    length = max(-(-n_answers // batch_size), drawn)
    batches = _repeated(n_answers, batch_size, (seed, epoch, 0))
    blocks: Iterator[int | np.ndarray | None] = iter([None] * length)
    if images is not None:
        blocks = _repeated(*images, (seed, epoch, 1), smallest=2)
    elif n_blocks > 0:
        blocks = (int(number[0]) for number in _repeated(n_blocks, 1, (seed, epoch, 1)))
    return [Step(batch, block) for batch, block in islice(zip(batches, blocks, strict=False), length)]


def _repeated(n: int, size: int, seed: tuple[int, ...], smallest: int = 1) -> Iterator[np.ndarray]:
    """Passes over 0 … n-1 in pieces, each pass in an order of its own; pieces below `smallest` are left out."""
    for number in count():
        order = np.random.default_rng([*seed, number]).permutation(n)
        for start in range(0, n, size):
            if min(size, n - start) >= smallest:
                yield order[start : start + size]


@dataclass(frozen=True, eq=False)
class SampledObjective:
    """(1-α) L_global + α L_local + λ R on mini-batches.

    With a batch B of answers, the mean weight w̄ of all answers, and a block of local images, the objective of a step
    is

        f = (1-α) / (|B| w̄) Σ_B w ℓ + α L_local(block) + λ R(W),

    the whole objective in expectation, and where batch and block are everything. All three terms are those of the exact
    solver. `images` are the local ones, block after block, of so many `sizes`; None without a local term, whatever α.
    """

    answers: ChoiceLoss
    penalty: Penalty
    lmbda: float
    images: Float[Tensor, "N p"] | None = None
    sizes: tuple[int, ...] = ()
    alpha: float = 0.0
    tau: float = 1.0
    _local: LocalLoss | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.images is not None:
            object.__setattr__(self, "_local", LocalLoss(self._blocks(self.images)[:_KEPT_BLOCKS], self.tau))

    @property
    def whole(self) -> Objective:
        """The objective on all answers and the first 64 blocks of local images."""
        return weighted(self.answers, self._local, self.alpha, self.lmbda, self.penalty)

    def of(self, step: Step) -> Objective:
        """The objective of one step."""
        terms: list[tuple[float, ChoiceLoss | LocalLoss | Penalty]] = [(self.lmbda, self.penalty)]
        part = self.answers.batch(step.answers)
        share = part.total_weight / (len(step.answers) * self.answers.total_weight / self.answers.n_answers)
        if share > 0:
            terms.append(((1 - self.alpha if self._local is not None else 1.0) * share, part))
        if self.images is not None and step.block is not None:
            terms.append((self.alpha, self._block(self.images, step.block)))
        return Objective(tuple(terms))

    def _blocks(self, images: Float[Tensor, "N p"]) -> tuple[Tensor, ...]:
        """Views of the fixed blocks."""
        return tuple(torch.tensor_split(images, list(accumulate(self.sizes[:-1]))))

    def _block(self, images: Float[Tensor, "N p"], drawn: int | np.ndarray) -> LocalLoss:
        if isinstance(drawn, np.ndarray):
            return LocalLoss([images[torch.as_tensor(drawn, device=images.device)]], self.tau)
        if self._local is not None and drawn < _KEPT_BLOCKS:
            return self._local.block(drawn)
        return LocalLoss([self._blocks(images)[drawn]], self.tau)
