"""The objective of one step: the terms of the whole one on a few answers and one block of local images."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty, weighted
from glocal.solver.minibatch.batches import Step

_KEPT_BLOCKS = 64  # blocks whose teachers are kept; with 1024 images each that is 256 MB


@dataclass(frozen=True, eq=False)
class SampledObjective:
    """(1-α) L_global + α L_local + λ R on mini-batches.

    With a batch B of answers, of which this device reads B_r, D devices, the mean weight w̄ of all answers, and a block
    of local images, the objective of a step is

        f_r = (1-α) · D / (|B| w̄) Σ_{B_r} w ℓ + α L_local(block) + λ R(W).

    Its mean over devices has the expectation of the whole objective, and is the whole objective where batch and
    block are everything. All three terms are those of the exact solver.

    Parameters
    ----------
    answers : ChoiceLoss
        All answers.
    penalty : Penalty
    lmbda : float
        λ ≥ 0.
    images : (N, p) tensor or None
        Local images, block after block; None without a local term, whatever α.
    sizes : tuple of int
        Images in each fixed block.
    alpha, tau : float
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
            blocks = self._blocks()[:_KEPT_BLOCKS]
            object.__setattr__(self, "_local", LocalLoss(blocks, self.tau))

    @property
    def whole(self) -> Objective:
        """The objective on all answers and the first 64 blocks of local images."""
        return weighted(self.answers, self._local, self.alpha, self.lmbda, self.penalty)

    def of(self, step: Step, devices: int = 1) -> Objective:
        """The objective of one step on one device."""
        terms: list[tuple[float, ChoiceLoss | LocalLoss | Penalty]] = [(self.lmbda, self.penalty)]
        if len(step.answers):  # NOTE the last batch may hold fewer answers than there are devices
            part = self.answers.batch(step.answers)
            mean_weight = self.answers.total_weight / self.answers.n_answers
            share = devices * part.total_weight / (step.batch * mean_weight)
            if share > 0:
                terms.append(((1 - self.alpha if self._local is not None else 1.0) * share, part))
        if step.block is not None:
            terms.append((self.alpha, self._block(step.block)))
        return Objective(tuple(terms))

    def _blocks(self) -> tuple[Tensor, ...]:
        """Views of the fixed blocks."""
        return () if self.images is None else tuple(torch.tensor_split(self.images, list(accumulate(self.sizes[:-1]))))

    def _block(self, drawn: object) -> LocalLoss:
        assert self._local is not None
        assert self.images is not None
        if not isinstance(drawn, int):
            return LocalLoss([self.images[torch.as_tensor(drawn, device=self.images.device)]], self.tau)
        if drawn < _KEPT_BLOCKS:
            return self._local.block(drawn)
        return LocalLoss([self._blocks()[drawn]], self.tau)
