"""The penalties of the three arms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Penalty:
    """R(W), without its strength λ; the bias is never penalised.

    =================  ==============================  ======================================
    kind               R(W)                            gradient
    =================  ==============================  ======================================
    scaled-identity    ‖W‖²_F - mix (tr W)² / p        2 (W - mix (tr W / p) I)
    squared-norm       ‖W‖²_F                          2 W
    norm               ‖W‖_F                           W / ‖W‖_F  (0 at W = 0, a subgradient)
    =================  ==============================  ======================================

    The first is mix ‖W - cI‖²_F + (1 - mix) ‖W‖²_F with c = tr W / p: at `mix` 1 scaled identities cost nothing, below
    they cost (1 - mix) c² p, and the directions without data are drawn toward mix c instead of c.

    ``scaled-identity`` belongs to `global` and `glocal`; ``squared-norm`` to `naive`; ``norm`` is what the authors'
    script computes for `naive`. Muttenthaler et al. 2023, Eq. 3 and Eq. 6.
    """

    kind: Literal["scaled-identity", "squared-norm", "norm"]
    mix: float = 1.0

    @property
    def name(self) -> str:
        """The key in `Evaluation.parts`."""
        return "penalty"

    def __call__(
        self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None
    ) -> tuple[float, Float[Tensor, "p q"], None]:
        """R(W) and its gradient."""
        if self.kind == "scaled-identity":
            return self._scaled_identity(W)
        squared = float(torch.sum(W * W, dtype=torch.float64))
        if self.kind == "squared-norm":
            return squared, 2 * W, None
        norm = squared**0.5
        return norm, W / norm if norm > 0 else torch.zeros_like(W), None

    def _scaled_identity(self, W: Float[Tensor, "p q"]) -> tuple[float, Float[Tensor, "p q"], None]:
        """‖W - cI‖² + (1 - mix) ‖cI‖²: the same value, without the cancellation of ‖W‖² - mix (tr W)² / p."""
        scale, rest = W.diagonal().mean(), W.clone()
        rest.diagonal().sub_(scale)
        squared = float(torch.sum(rest * rest, dtype=torch.float64)) + (1 - self.mix) * len(W) * float(scale * scale)
        rest.diagonal().add_(scale, alpha=1 - self.mix)
        return squared, rest.mul_(2), None
