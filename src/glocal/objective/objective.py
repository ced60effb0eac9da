"""What an arm minimises: a weighted sum of losses and a penalty, with its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.objective.choices import ChoiceLoss
from glocal.objective.local import LocalLoss


class Evaluation(NamedTuple):
    """The objective at one W: the weighted sum, the unweighted value of each term, and ∂f/∂W."""

    value: float
    parts: dict[str, float]
    dW: Float[np.ndarray, "p q"]


@dataclass(frozen=True, eq=False)
class Objective:
    """The objectives of the paper (Muttenthaler et al. 2023, Eq. 3 and 6).

        f(W) = (1 - α) L_global + α L_local + λ R(W),   without a local loss L_global + λ R(W)

    Parameters
    ----------
    choices : ChoiceLoss
    local : LocalLoss or None
    alpha, lmbda : float
        α, 0 to below 1, and λ.
    mix : float
        Mix of the penalty: see `penalty`; 0 for `naive`.
    """

    choices: ChoiceLoss
    local: LocalLoss | None
    alpha: float
    lmbda: float
    mix: float

    @property
    def share(self) -> float:
        """The weight of L_global."""
        return 1.0 if self.local is None else 1 - self.alpha

    def __call__(self, W: Float[np.ndarray, "p q"]) -> Evaluation:
        """Value and gradient."""
        parts = {}
        with np.errstate(over="ignore", invalid="ignore"):  # far too long steps: the value says so
            parts["global"], dW = self.choices(W)
            dW *= self.share
            if self.local is not None:
                parts["local"], part = self.local(W)
                part *= self.alpha
                dW += part
            parts["penalty"], part = penalty(W, self.mix)
            part *= self.lmbda
            dW += part
        value = self.share * parts["global"] + self.alpha * parts.get("local", 0.0) + self.lmbda * parts["penalty"]
        return Evaluation(value, parts, dW)


def penalty(W: Float[np.ndarray, "p q"], mix: float) -> tuple[float, Float[np.ndarray, "p q"]]:
    """R(W) and its gradient.

        R(W) = mix ‖W - cI‖²_F + (1 - mix) ‖W‖²_F = ‖W - cI‖²_F + (1 - mix) p c²,   c = tr W / p

    At `mix` 1 scaled identities cost nothing; at 0 this is ‖W‖²_F of `naive`, for any number of columns.
    """
    if mix == 0:
        return float(np.sum(W * W, dtype=np.float64)), 2 * W
    rest, own = W.copy(), np.arange(len(W))
    c = float(np.mean(W[own, own], dtype=np.float64))
    rest[own, own] -= c  # without the cancellation of ‖W‖² - mix (tr W)² / p
    value = float(np.sum(rest * rest, dtype=np.float64)) + (1 - mix) * len(W) * c * c
    rest[own, own] += (1 - mix) * c
    rest *= 2
    return value, rest
