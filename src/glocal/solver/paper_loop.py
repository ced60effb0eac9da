"""The authors' procedure on torch and Lightning: mini-batches of answers and images, stopped early.

It follows the scripts published with Muttenthaler et al. (2023), NeurIPS; docs/method.md
("Fidelity") compares the two line by line. To find the optimum of an objective, use the exact
solver, which is about a hundred times faster.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice, repeat
from typing import Any, Literal, NamedTuple, TypeVar

import lightning.pytorch as lightning
import numpy as np
import torch
from jaxtyping import Real
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.nn import functional

from glocal.data.answers import Answers
from glocal.errors import DivergedError
from glocal.objective import Evaluation
from glocal.solver.result import Counter

START = 1e-3
"""W starts as this multiple of the identity, and every entry of b as this number."""
_MAX_GRADIENT_NORM = 1.0
_CHUNK_ANSWERS = 1 << 14  # answers in memory at once, when a loss is computed over all of them
Term = TypeVar("Term", float, Tensor)
"""The value of a term of the objective."""
Step = tuple[np.ndarray, np.ndarray | None]
"""The rows of the answers and of the local images that one step uses."""


class Epoch(list[Step]):
    """The steps of an epoch. NOTE Lightning would treat a plain list as several loaders."""


class LoopData(NamedTuple):
    """The fitted or the watched data: answers as rows of X, and local images for `glocal`."""

    answers: Answers
    images: Real[np.ndarray, "k p"]


def epoch_steps(
    n_answers: int,
    batch_size: int,
    n_images: int,
    block_size: int,
    seed: tuple[int, ...],
) -> Epoch:
    """The steps of an epoch: answers zipped with local images.

    The shorter list is repeated in a new order. The order depends only on `seed`. The last part of
    a pass may be smaller. A single image would have no neighbours, and is left out.
    """

    def passes(n: int, size: int, stream: int, min_size: int) -> Iterator[np.ndarray]:
        for number in count():
            generator = np.random.default_rng([*seed, stream, number])
            order = generator.permutation(n)
            for start in range(0, n, size):
                rows = order[start : start + size]
                if len(rows) >= min_size:
                    yield rows

    n_batches = math.ceil(n_answers / batch_size)
    n_blocks = math.ceil(n_images / block_size)
    length = max(n_batches, n_blocks)
    answers = passes(n_answers, batch_size, 0, 1)
    images: Iterator[np.ndarray | None] = repeat(None)
    if n_images:
        images = passes(n_images, block_size, 1, 2)
    steps = zip(answers, images, strict=False)
    return Epoch(islice(steps, length))


@dataclass(frozen=True)
class LoopSettings:
    """The objective of a fit, and the procedure.

    Parameters
    ----------
    method, alpha, lmbda, tau, mix
        As in `glocal.ObjectiveSettings`.
    eta, optimiser, bias, batch_size, max_epochs
        As in `glocal.PaperLoop`.
    block_size, seed : int
        The number of local images in a step, and the seed of the order of answers and images.
    min_epochs, patience, min_delta
        The loop ends after at least `min_epochs` epochs, as soon as the watched loss has not fallen
        by `min_delta` nats for `patience` epochs.
    squared : bool
        Whether `naive` penalises ‖W‖², as in the paper, instead of ‖W‖, as in its script.
    """

    method: str
    alpha: float
    lmbda: float
    tau: float
    mix: float
    eta: float
    optimiser: Literal["sgd", "adam"]
    bias: bool
    batch_size: int
    block_size: int
    seed: int
    max_epochs: int
    min_epochs: int
    patience: int
    min_delta: float = 1e-4
    squared: bool = False


class Procedure(lightning.LightningModule):
    """The fit of W, and of b if it is learned.

    Parameters
    ----------
    X : (n, p) tensor
        Standardized features of the objects.
    fitted, watched : LoopData
    settings : LoopSettings
    counter : Counter
        Counts the steps, and reports L_global and L_local of the watched data after each epoch.

    Attributes
    ----------
    watched_losses : dict
        L_global and L_local of the watched data after the last epoch.
    n_counted : int
        The number of steps that the counter has counted.
    """

    def __init__(
        self,
        X: Tensor,
        fitted: LoopData,
        watched: LoopData,
        settings: LoopSettings,
        counter: Counter,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.counter = counter
        self.data = {
            "fitted": fitted,
            "watched": watched,
        }
        self.weights = {
            "fitted": _relative_weights(fitted.answers),
            "watched": _relative_weights(watched.answers),
        }
        p = X.shape[1]
        identity = torch.eye(p, dtype=X.dtype)
        self.W = torch.nn.Parameter(START * identity)
        self.b = None
        if settings.bias:
            b = torch.full_like(X[0], START)
            self.b = torch.nn.Parameter(b)
        self.register_buffer("X", X)
        self.n_counted = 0
        self.threads = torch.get_num_threads()
        self.watched_losses: dict[str, float] = {}

    def forward(self, rows: Tensor) -> Tensor:
        """Map standardized rows."""
        Z = rows @ self.W
        if self.b is None:
            return Z
        return Z + self.b

    def penalty(self) -> Tensor:
        """R(W); for `naive` ‖W‖, as in its script, or ‖W‖² if `squared` is set."""
        W = self.W
        square = W.square().sum()
        if self.settings.method == "naive":
            return square if self.settings.squared else W.norm()
        p = len(W)
        identity = torch.eye(p).to(W)
        c = W.trace() / p
        rest = W - c * identity
        rest_square = rest.square().sum()
        mix = self.settings.mix
        return rest_square * mix + square * (1 - mix)

    def objective(self, parts: Mapping[str, Term]) -> Term:
        """(1-α) L_global + α L_local + λ R of these parts."""
        value = parts["global"]
        if "local" in parts:
            alpha = self.settings.alpha
            value = (1 - alpha) * value + alpha * parts["local"]
        return value + self.settings.lmbda * parts["penalty"]

    def loss(self, part: str, rows: np.ndarray) -> Tensor:
        """Σ w ℓ / t over t answers of a part of the data, ℓ = -log softmax at the chosen pair.

        The softmax is over the dot products of the candidate pairs. The weights are divided by
        their mean, so that the losses of batches average to the loss of all answers.
        """
        answers = self.data[part].answers
        objects, member = np.unique(answers.objects[rows], return_inverse=True)
        member = member.reshape(len(rows), -1)
        positions = torch.as_tensor(member, device=self.device)
        X = self.get_buffer("X")
        Z = self(X[objects])
        z = Z[positions]  # (t, m, p)
        similarities = []
        for i, j in answers.pairs:
            products = z[:, i] * z[:, j]
            similarities.append(products.sum(1))
        logits = torch.stack(similarities, dim=1)  # (t, k)
        losses = logits.logsumexp(1) - logits[:, 0]
        weights = torch.as_tensor(self.weights[part][rows])
        weighted = weights.to(losses) * losses
        return weighted.mean()

    def local_loss(self, part: str, rows: np.ndarray) -> Tensor:
        """L_local on one block of images: the cross-entropy of the softmaxes of cosines over τ."""
        images = torch.as_tensor(self.data[part].images[rows])
        images = images.to(self.W)
        m = len(images)
        diagonal = torch.eye(m, dtype=torch.bool, device=images.device)

        def logits(Z: Tensor) -> Tensor:
            Z = functional.normalize(Z, dim=1)
            C = Z @ Z.T
            others = C[~diagonal].view(m, -1)
            return others / self.settings.tau

        Q = logits(self(images))
        P = logits(images).softmax(dim=1)
        return functional.cross_entropy(Q, P)

    def train_dataloader(self) -> Epoch:
        """The steps of this epoch."""
        answers, images = self.data["fitted"]
        settings = self.settings
        seed = (settings.seed, self.current_epoch)
        return epoch_steps(
            n_answers=len(answers),
            batch_size=settings.batch_size,
            n_images=len(images),
            block_size=settings.block_size,
            seed=seed,
        )

    def training_step(self, step: Step, number: int) -> Tensor:
        """The objective on a batch of answers and a block of local images."""
        answers, images = step
        parts = {}
        parts["global"] = self.loss("fitted", answers)
        parts["penalty"] = self.penalty()
        if images is not None:
            parts["local"] = self.local_loss("fitted", images)
        value: Tensor = self.objective(parts)
        if not torch.isfinite(value):
            raise DivergedError(
                f"the loss is not finite at `eta={self.settings.eta:g}`. Lower `eta`.",
                self.global_step,
            )
        return value

    def on_train_epoch_start(self) -> None:
        """Undo a stop before `min_epochs`: a later gain renews the patience, as in the scripts."""
        self.trainer.should_stop = False

    def on_train_epoch_end(self) -> None:
        """Log L_global + L_local of the watched fold, without the weights of α and the penalty."""
        losses = self.parts("watched")
        value = sum(losses.values())
        self.watched_losses = losses
        self.log("watched", value)
        new_steps = self.global_step - self.n_counted
        self.n_counted = self.global_step
        no_gradient = np.empty((0, 0))
        evaluation = Evaluation(value, losses, no_gradient)
        self.counter(evaluation, new_steps)

    def configure_optimizers(self) -> Any:
        """SGD with momentum, or Adam; the learning rate climbs from eta/3 to eta."""
        settings = self.settings
        optimiser: torch.optim.Optimizer
        if settings.optimiser == "sgd":
            optimiser = torch.optim.SGD(self.parameters(), settings.eta, momentum=0.9)
        else:
            optimiser = torch.optim.Adam(self.parameters(), settings.eta)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, total_iters=settings.max_epochs)
        return [optimiser], [schedule]

    @torch.no_grad()
    def parts(self, part: str) -> dict[str, float]:
        """L_global on all answers of a part of the data, and L_local on its images in blocks."""
        answers, images = self.data[part]
        losses = {}
        loss = partial(self.loss, part)
        losses["global"] = _mean(loss, len(answers), _CHUNK_ANSWERS)
        if len(images):
            size = self.settings.block_size
            local_loss = partial(self.local_loss, part)
            losses["local"] = _mean(local_loss, len(images), size)
        return losses

    def run(self) -> bool:
        """Fit with Lightning's ``Trainer``.

        Returns
        -------
        bool
            Whether the stopping rule ended the fit. Otherwise all epochs were used.
        """
        settings = self.settings
        stopping = EarlyStopping(
            monitor="watched",
            min_delta=settings.min_delta,
            patience=settings.patience,
            check_on_train_epoch_end=True,
        )
        logger = logging.getLogger("lightning.pytorch")
        logger.setLevel(logging.ERROR)  # it advertises
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")
                trainer = lightning.Trainer(
                    callbacks=[stopping],
                    max_epochs=settings.max_epochs,
                    min_epochs=settings.min_epochs,
                    gradient_clip_val=_MAX_GRADIENT_NORM,
                    reload_dataloaders_every_n_epochs=1,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                )
                trainer.fit(self)
        except SystemExit as error:  # NOTE Lightning turns an interrupt into this
            raise KeyboardInterrupt from error
        is_long_enough = self.current_epoch >= settings.min_epochs
        is_stopped = stopping.wait_count >= settings.patience
        return bool(is_long_enough and is_stopped)


def _mean(loss: Callable[[np.ndarray], Tensor], n: int, size: int) -> float:
    """The mean of a loss over rows 0 … n - 1, in nearly equal parts of at most `size`."""
    n_parts = math.ceil(n / size)
    total = 0.0
    for rows in np.array_split(np.arange(n), n_parts):
        total += float(loss(rows)) * len(rows)
    return total / n


def _relative_weights(answers: Answers) -> np.ndarray:
    """The weights of answers, divided by their mean."""
    weights = answers.all_weights
    return weights / weights.mean()
