"""When a walk ends: no gain for so many epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stopping:
    """The stopping rule and where it stands, epoch by epoch.

    An epoch gains if its loss lies more than `min_delta` below the best so far, which is then replaced; smaller gains
    neither count nor move the best. The walk ends at the first epoch from `min_epochs` on by which `patience` epochs
    in a row have not gained.

    `best` is the best loss in that sense, `lowest` the lowest of all, `fell` whether the last epoch was the lowest.

    References
    ----------
    The rule of Lightning's ``EarlyStopping`` under ``min_epochs``, as the authors' scripts use it: an exhausted
    patience does not end the walk before `min_epochs`, and a later gain still resets it.
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
