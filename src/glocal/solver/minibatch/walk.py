"""The Lightning module of a mini-batch fit: one step, one epoch, and what a checkpoint keeps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import lightning.pytorch as lightning
import torch
from jaxtyping import Float
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from glocal.errors import DivergedError
from glocal.files import atomic_write
from glocal.objective import Evaluation, Objective
from glocal.solver.minibatch.sampled import SampledObjective, Step, epoch_steps
from glocal.solver.minibatch.training import Stopping, Training

CHECKPOINT_KEY = "glocal"


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all.

    NOTE: Lightning writes to the folder of temporary files and moves, which copies where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; a FileError, and the earlier one, where it cannot be written."""
        with atomic_write(path) as stream:
            torch.save(checkpoint, stream)


class HandGradient(torch.autograd.Function):
    """An objective as a node of autograd whose gradient is the one that it returns by hand."""

    @staticmethod
    def forward(ctx: Any, W: Tensor, b: Tensor | None, objective: Callable[..., Evaluation]) -> Tensor:
        """The value."""
        at = objective(W, b)
        ctx.save_for_backward(at.dW, at.db)
        return W.new_tensor(at.value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """The gradients of W and b."""
        dW, db = ctx.saved_tensors
        return gradients[0] * dW, None if db is None else gradients[0] * db, None


class Steps:
    """The steps of one epoch as what a trainer calls a loader: a list would be taken for several loaders."""

    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)


class Walk(lightning.LightningModule):
    """W and b on their way through the epochs; `minimise_by_batches` says what the arguments are."""

    best_W: Tensor
    best_b: Tensor

    def __init__(
        self,
        sampled: SampledObjective,
        start: tuple[Float[Tensor, "p p"], Float[Tensor, " p"] | None],
        training: Training,
        seed: int,
        watched: Objective | None,
        kept_with: dict[str, Any],
        on_epoch: Callable[[int, Evaluation], None] | None,
    ) -> None:
        super().__init__()
        W, b = start
        self.W = torch.nn.Parameter(W.clone())
        self.b = None if b is None else torch.nn.Parameter(b.clone())
        if training.kept == "best":
            self.register_buffer("best_W", W.clone())
            self.register_buffer("best_b", None if b is None else b.clone())
        self.sampled, self.training_settings, self.watched = sampled, training, watched
        self.seed, self.kept_with, self.on_epoch = seed, kept_with, on_epoch
        self.stopping = Stopping(training.min_epochs, training.patience, training.min_delta)
        self.steps = 0

    @property
    def found(self) -> tuple[Tensor, Tensor | None]:
        """W and b as the settings keep them."""
        best = self.training_settings.kept == "best"
        W, b = (self.best_W, self.best_b) if best else (self.W, self.b)
        return W.detach().clone(), None if b is None else b.detach().clone()

    def train_dataloader(self) -> Steps:
        """The steps of the current epoch."""
        settings, sampled = self.training_settings, self.sampled
        images = None
        if settings.reshuffled and len(sampled.sizes) > 1:  # one block of all images is the same in any order
            images = (sum(sampled.sizes), max(sampled.sizes))
        return Steps(
            epoch_steps(
                sampled.answers.n_answers,
                settings.batch_size,
                seed=self.seed,
                epoch=self.current_epoch,
                n_blocks=len(sampled.sizes),
                images=images,
            )
        )

    def transfer_batch_to_device(self, batch: Step, device: torch.device, dataloader_idx: int) -> Step:
        """Steps hold row numbers only, which stay on the CPU."""
        return batch

    def training_step(self, batch: Step, batch_idx: int) -> Tensor:
        """Value of the objective of one step, with its gradient behind it."""
        evaluations: list[Evaluation] = []

        def objective(W: Tensor, b: Tensor | None) -> Evaluation:
            evaluations.append(self.sampled.of(batch)(W, b))
            return evaluations[0]

        loss: Tensor = HandGradient.apply(self.W, self.b, objective)  # type: ignore[no-untyped-call]
        if not math.isfinite(evaluations[0].value):
            raise DivergedError(
                f"the mini-batch solver diverged in epoch {self.current_epoch + 1} at eta "
                f"{self.training_settings.eta:g}: the loss is not finite. Lower eta.",
                self.trainer.global_step,
            )
        if self.trainer.logger is not None:
            parts = {f"train_{name}": part for name, part in evaluations[0].parts.items()}
            self.log_dict({"train_objective": evaluations[0].value, **parts}, batch_size=len(batch.answers))
        return loss

    def on_train_start(self) -> None:
        """A walk that had ended when its checkpoint was written stays ended."""
        self.trainer.should_stop = self.stopping.ended

    def on_train_epoch_end(self) -> None:
        """Look at the watched loss, remember the best weights, and end the walk where the rule says so."""
        self.steps = self.trainer.global_step
        W, b = self.W.detach(), None if self.b is None else self.b.detach()
        whole = None if self.on_epoch is None else self.sampled.whole(W, b)
        at = self.watched(W, b) if self.watched is not None else self.sampled.whole(W, b) if whole is None else whole
        self.stopping = self.stopping.after(at.value)
        if self.stopping.fell and self.training_settings.kept == "best":
            self.best_W.copy_(W)
            if b is not None:
                self.best_b.copy_(b)
        if self.trainer.logger is not None:
            self.log_dict({"watched": at.value, **{f"watched_{name}": part for name, part in at.parts.items()}})
        if self.on_epoch is not None and whole is not None:
            self.on_epoch(self.steps, whole)
        if self.stopping.ended:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> Any:
        """The optimiser, with a learning rate that changes between epochs."""
        settings, parameters = self.training_settings, list(self.parameters())
        if settings.optimiser == "sgd":
            optimiser: torch.optim.Optimizer = torch.optim.SGD(parameters, lr=settings.eta, momentum=settings.momentum)
        elif settings.optimiser == "adam":
            optimiser = torch.optim.Adam(parameters, lr=settings.eta)
        else:
            optimiser = torch.optim.AdamW(parameters, lr=settings.eta)

        def rate(epoch: int) -> float:  # NOTE of a bound method the checkpoint would try to keep the attributes
            return settings.rate(epoch)

        return [optimiser], [torch.optim.lr_scheduler.LambdaLR(optimiser, rate)]

    def get_extra_state(self) -> dict[str, Any]:
        """Where the stopping rule stands; part of the state, so that checkpoints hand it on."""
        return {"stopping": dataclasses.asdict(self.stopping), "steps": self.steps}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the stopping rule up again."""
        self.stopping, self.steps = Stopping(**state["stopping"]), state["steps"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what identifies the fit."""
        checkpoint[CHECKPOINT_KEY] = self.kept_with
