"""How the mini-batch solver walks: optimiser, learning rate and its schedule, batches, and when it stops."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from glocal.errors import ParameterError

OPTIMISERS = ("sgd", "adam", "adamw")
DECAYS = ("none", "linear", "cosine")
KEPT = ("last", "best")


@dataclass(frozen=True)
class Training:
    """The settings of one walk.

    Parameters
    ----------
    eta : float
        Learning rate, above 0.
    optimiser : {"sgd", "adam", "adamw"}
        With the defaults of torch, apart from `eta` and `momentum`.
    momentum : float
        Of SGD, 0 to below 1.
    batch_size : int
        Triplets a step.
    clip : float or None
        The gradient is scaled down to this norm where it is longer; None leaves it.
    warmup_epochs : int
        Epochs in which the learning rate grows linearly from `warmup_from` of it to all of it.
    warmup_from : float
        A fraction, above 0 up to 1.
    decay : {"none", "linear", "cosine"}
        How the learning rate falls to 0 from the end of the warm-up to `max_epochs`.
    max_epochs, min_epochs : int
        Epochs at most, and before the stopping rule may end the walk.
    patience : int
        Epochs without a gain of `min_delta` after which it ends.
    min_delta : float
        The gain that counts, in nats.
    kept : {"last", "best"}
        The weights of the last epoch, or of the epoch with the lowest watched loss.
    reshuffled : bool
        Draw new blocks of local images in every pass, the last one smaller, in place of fixed blocks of equal size.

    Raises
    ------
    ParameterError
        A value outside its range.
    """

    eta: float = 0.01
    optimiser: str = "sgd"
    momentum: float = 0.9
    batch_size: int = 256
    clip: float | None = 1.0
    warmup_epochs: int = 0
    warmup_from: float = 1.0
    decay: str = "cosine"
    max_epochs: int = 100
    min_epochs: int = 20
    patience: int = 15
    min_delta: float = 1e-4
    kept: str = "best"
    reshuffled: bool = False

    def __post_init__(self) -> None:
        if not (self.eta > 0 and math.isfinite(self.eta)):
            raise ParameterError(f"eta is {self.eta}; the learning rate must be above 0 and finite.")
        for name, allowed in (("optimiser", OPTIMISERS), ("decay", DECAYS), ("kept", KEPT)):
            if getattr(self, name) not in allowed:
                raise ParameterError(f"{name} is {getattr(self, name)!r}; allowed are {', '.join(allowed)}.")
        if not 0 <= self.momentum < 1:
            raise ParameterError(f"momentum is {self.momentum}; allowed is 0 to below 1.")
        if self.clip is not None and not self.clip > 0:
            raise ParameterError(f"clip is {self.clip}; the largest gradient norm must be above 0, or None.")
        if not 0 < self.warmup_from <= 1:
            raise ParameterError(f"warmup_from is {self.warmup_from}; it is a fraction above 0 up to 1.")
        for name in ("batch_size", "max_epochs", "patience"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name} is {getattr(self, name)}; at least 1 is needed.")
        for name in ("warmup_epochs", "min_epochs", "min_delta"):
            if getattr(self, name) < 0:
                raise ParameterError(f"{name} is {getattr(self, name)}; it must be at least 0.")

    def rate(self, epoch: int) -> float:
        """The fraction of `eta` that epoch 0, 1, … walks with: constant within an epoch."""
        if epoch < self.warmup_epochs:
            return self.warmup_from + (1 - self.warmup_from) * epoch / self.warmup_epochs
        left = (self.max_epochs - epoch) / max(self.max_epochs - self.warmup_epochs, 1)
        if self.decay == "linear":
            return left
        return (1 - math.cos(math.pi * left)) / 2 if self.decay == "cosine" else 1.0


@dataclass(frozen=True)
class Stopping:
    """The stopping rule and where it stands, epoch by epoch.

    An epoch gains if its loss lies more than `min_delta` below the best so far, which is then replaced; smaller gains
    neither count nor move the best. The walk ends at the first epoch from `min_epochs` on by which `patience` epochs
    in a row have not gained. That is the rule of Lightning's ``EarlyStopping`` under ``min_epochs``, as the authors'
    scripts use it: an exhausted patience does not end the walk before `min_epochs`, and a later gain still resets it.

    `best` is the best loss in that sense, `lowest` the lowest of all, `fell` whether the last epoch was the lowest.
    """

    min_epochs: int
    patience: int
    min_delta: float
    epochs: int = 0
    waited: int = 0
    best: float = float("inf")
    lowest: float = float("inf")
    fell: bool = False

    def after(self, loss: float) -> Stopping:
        """The rule one epoch later."""
        gained = loss + self.min_delta < self.best
        return replace(
            self,
            epochs=self.epochs + 1,
            waited=0 if gained else self.waited + 1,
            best=loss if gained else self.best,
            lowest=min(loss, self.lowest),
            fell=loss < self.lowest,
        )

    @property
    def ended(self) -> bool:
        """Whether the walk ends here."""
        return self.epochs >= self.min_epochs and self.waited >= self.patience
