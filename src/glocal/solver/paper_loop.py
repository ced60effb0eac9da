"""The authors' procedure on torch and Lightning: answers in mini-batches zipped with local images, stopped early.

It follows the scripts published with Muttenthaler et al. (2023), NeurIPS; docs/method.md goes through them line by
line. For the optimum of an objective use the exact solver, which is some hundred times faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import numpy as np
import torch
from jaxtyping import Float, Int
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.nn import functional

from glocal.errors import DivergedError

START = 1e-3  # W begins as this times the identity, and every entry of b as this
_PIECE = 1 << 14  # answers that are looked at together where all are
Step = tuple[np.ndarray, np.ndarray | None]
"""The rows of the answers and of the local images that one step sees."""


class Epoch(list[Step]):
    """The steps of an epoch. NOTE Lightning would take a plain list for several loaders."""


class LoopData(NamedTuple):
    """What is fitted, or what the stopping rule watches: answers as rows of X, their weights, and local images."""

    answers: Int[np.ndarray, "t m"]
    weights: Float[np.ndarray, " t"] | None
    images: Float[np.ndarray, "k p"] | None


def loss_of_neighbours(X: Tensor, Z: Tensor, tau: float) -> Tensor:
    """The mean over images of the cross-entropy of softmaxes of their cosines to the others over τ, teacher X."""
    others = ~torch.eye(len(X), dtype=torch.bool, device=X.device)

    def logits(rows: Tensor) -> Tensor:
        rows = functional.normalize(rows, dim=1)
        return (rows @ rows.T)[others].view(len(X), -1) / tau

    return functional.cross_entropy(logits(Z), logits(X).softmax(dim=1))


def epoch_steps(n_answers: int, batch_size: int, n_images: int, block_size: int, seed: tuple[int, ...]) -> Epoch:
    """An epoch: answers zipped with local images, the shorter list repeated; each pass is shuffled anew.

    The order depends on `seed` alone. The last piece of a pass is smaller, and one image alone has no neighbours.
    """

    def passes(n: int, size: int, which: int, smallest: int) -> Iterator[np.ndarray]:
        for number in count():
            order = np.random.default_rng([*seed, which, number]).permutation(n)
            yield from (order[s : s + size] for s in range(0, n, size) if min(size, n - s) >= smallest)

    length = max(math.ceil(n_answers / batch_size), math.ceil(n_images / block_size))
    images: Iterator[np.ndarray | None] = passes(n_images, block_size, 1, 2) if n_images else iter([None] * length)
    return Epoch(islice(zip(passes(n_answers, batch_size, 0, 1), images, strict=False), length))


class Procedure(lightning.LightningModule):
    """W, and b if it is learned, on their way; `at` has the fields of `Arm` and `PaperLoop`, block size and seed."""

    def __init__(
        self, X: Tensor, pairs: Sequence[tuple[int, int]], fitted: LoopData, watched: LoopData, at: Any
    ) -> None:
        super().__init__()
        self.pairs, self.at, self.data = pairs, at, {"fitted": fitted, "watched": watched}
        self.W = torch.nn.Parameter(START * torch.eye(X.shape[1], dtype=X.dtype))
        self.b = torch.nn.Parameter(torch.full_like(X[0], START)) if at.bias else None
        self.register_buffer("X", X)
        self.epochs = self.steps = 0
        self.watched: dict[str, float] = {}
        self.on_epoch: Callable[[int, dict[str, float]], None] | None = None

    def forward(self, rows: Tensor) -> Tensor:
        """Map standardized rows."""
        return rows @ self.W if self.b is None else rows @ self.W + self.b

    def penalty(self) -> Tensor:
        """‖W‖, of `naive`, which its script does not square; else mix ‖W - cI‖² + (1 - mix) ‖W‖², c = tr W / p."""
        if self.at.method == "naive":
            return self.W.square().sum() if self.at.squared else self.W.norm()
        rest = self.W - self.W.trace() / len(self.W) * torch.eye(len(self.W)).to(self.W)
        return self.at.mix * rest.square().sum() + (1 - self.at.mix) * self.W.square().sum()

    def objective(self, parts: Mapping[str, Any]) -> Any:
        """(1-α) L_global + α L_local + λ R of these parts."""
        alpha = self.at.alpha if "local" in parts else 0.0
        return (1 - alpha) * parts["global"] + alpha * parts.get("local", 0.0) + self.at.lmbda * parts["penalty"]

    def loss(self, name: str, rows: np.ndarray) -> Tensor:
        """Σ w ℓ / t on t answers, ℓ = -log softmax of the dot products of the candidate pairs at the first of them.

        The weights are over their mean, so that batches average to all answers.
        """
        answers, weights, _ = self.data[name]
        objects, member = np.unique(answers[rows], return_inverse=True)
        z = self(self.get_buffer("X")[objects])[torch.as_tensor(member.reshape(len(rows), -1), device=self.device)]
        logits = torch.stack([(z[:, i] * z[:, j]).sum(1) for i, j in self.pairs], dim=1)
        w = np.ones(len(rows)) if weights is None else weights[rows] / weights.mean()
        return (torch.as_tensor(w).to(self.W) * (logits.logsumexp(1) - logits[:, 0])).mean()

    def local_loss(self, name: str, rows: np.ndarray) -> Tensor:
        """L_local on some images, one block."""
        images = torch.as_tensor(self.data[name].images[rows]).to(self.W)  # type: ignore[index]
        return loss_of_neighbours(images, self(images), self.at.tau)

    def train_dataloader(self) -> Epoch:
        """The steps of this epoch."""
        answers, _, images = self.data["fitted"]
        n_images, order = 0 if images is None else len(images), (self.at.seed, self.current_epoch)
        return epoch_steps(len(answers), self.at.batch_size, n_images, self.at.block_size, order)

    def training_step(self, step: Step, number: int) -> Tensor:
        """The objective on a batch of answers and a block of local images."""
        parts = {"global": self.loss("fitted", step[0]), "penalty": self.penalty()}
        if step[1] is not None:
            parts["local"] = self.local_loss("fitted", step[1])
        value: Tensor = self.objective(parts)
        if not torch.isfinite(value):
            raise DivergedError(f"the loss is not finite at eta {self.at.eta:g}. Lower eta.", self.global_step)
        return value

    def on_train_epoch_start(self) -> None:
        """Forget a stop before `min_epochs`: a later gain renews the patience, as in the scripts' Lightning."""
        self.trainer.should_stop = False

    def on_train_epoch_end(self) -> None:
        """Look at L_global + L_local of the watched fold, whatever α, without penalty."""
        self.epochs, self.steps, self.watched = self.current_epoch + 1, self.global_step, self.parts("watched")
        self.log("watched", sum(self.watched.values()))
        if self.on_epoch is not None:
            self.on_epoch(self.steps, self.watched)

    def configure_optimizers(self) -> Any:
        """SGD with momentum, or Adam; over all epochs the learning rate climbs from a third of eta to eta."""
        kind: Any = partial(torch.optim.SGD, momentum=0.9) if self.at.optimiser == "sgd" else torch.optim.Adam
        optimiser = kind(self.parameters(), self.at.eta)
        return [optimiser], [torch.optim.lr_scheduler.LinearLR(optimiser, total_iters=self.at.max_epochs)]

    @torch.no_grad()
    def parts(self, name: str) -> dict[str, float]:
        """L_global on all answers that are fitted, or watched, and L_local on all images in blocks."""
        answers, _, images = self.data[name]
        found = {"global": _mean(lambda rows: self.loss(name, rows), len(answers), _PIECE)}
        if images is not None:
            found["local"] = _mean(lambda rows: self.local_loss(name, rows), len(images), self.at.block_size)
        return found

    def walk(self, options: Mapping[str, Any]) -> bool:
        """Let Lightning's ``Trainer`` fit, with these `options`; whether the stopping rule ended it, not the epochs."""
        stopping = EarlyStopping("watched", self.at.min_delta, self.at.patience, check_on_train_epoch_end=True)
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = lightning.Trainer(**{
            **dict.fromkeys(off, False), **options, "callbacks": [stopping, *options.get("callbacks", ())],
            "max_epochs": self.at.max_epochs, "min_epochs": self.at.min_epochs, "gradient_clip_val": 1.0,
            "reload_dataloaders_every_n_epochs": 1,
        })  # fmt: skip
        try:
            trainer.fit(self)
        except SystemExit as ended:  # NOTE how Lightning passes an interrupt on
            raise KeyboardInterrupt from ended
        return bool(self.epochs >= self.at.min_epochs and stopping.wait_count >= self.at.patience)


def _mean(loss: Callable[[np.ndarray], Tensor], n: int, size: int) -> float:
    """The mean of a loss over rows 0 … n - 1, in nearly equal pieces of at most `size`."""
    pieces = np.array_split(np.arange(n), math.ceil(n / size))
    return sum(float(loss(rows)) * len(rows) for rows in pieces) / n
