"""The penalties of the three arms."""

from __future__ import annotations

from dataclasses import dataclass, field
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

    In a subspace (`glocal.objective.subspace`) W is a smaller matrix, and `identity` the diagonal e that stands there
    for I: tr W / p becomes ⟨diag W, e⟩ / ⟨e, e⟩.

    ``scaled-identity`` belongs to `global` and `glocal`; ``squared-norm`` to `naive`; ``norm`` is what the authors'
    script computes for `naive`. Muttenthaler et al. 2023, Eq. 3 and Eq. 6.
    """

    kind: Literal["scaled-identity", "squared-norm", "norm"]
    identity: Float[Tensor, " q"] | None = field(default=None, compare=False)
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
        scale, rest = identity_scale(W, self.identity), W.clone()
        identity = torch.ones_like(W.diagonal()) if self.identity is None else self.identity
        rest.diagonal().sub_(scale * identity)
        squared = float(torch.sum(rest * rest, dtype=torch.float64))
        squared += (1 - self.mix) * float(torch.sum((scale * identity) ** 2, dtype=torch.float64))
        rest.diagonal().add_(scale * identity, alpha=1 - self.mix)
        return squared, rest.mul_(2), None


def identity_scale(W: Float[Tensor, "p q"], identity: Float[Tensor, " q"] | None = None) -> Float[Tensor, ""]:
    """The c of the scaled identity nearest to W: tr W / p, or ⟨diag W, e⟩ / ⟨e, e⟩ where e stands for the identity."""
    if identity is None:
        return W.diagonal().mean()
    return torch.dot(W.diagonal(), identity) / torch.dot(identity, identity)


def counted(W: Float[Tensor, "p p"], identity: Float[Tensor, " p"] | None) -> Float[Tensor, "q q"]:
    """W without the last row and column of a subspace that leaves no direction out, which count for nothing."""
    return W[:-1, :-1] if identity is not None and float(identity[-1]) == 0 else W
