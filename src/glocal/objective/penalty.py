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
    scaled-identity    ‖W - (tr W / p) I‖²_F           2 (W - (tr W / p) I)
    squared-norm       ‖W‖²_F                          2 W
    norm               ‖W‖_F                           W / ‖W‖_F  (0 at W = 0, a subgradient)
    =================  ==============================  ======================================

    In a subspace (`glocal.objective.subspace`) W is a smaller matrix, and `identity` the diagonal e that stands there
    for I: tr W / p becomes ⟨diag W, e⟩ / ⟨e, e⟩.

    ``scaled-identity`` belongs to `global` and `glocal`; ``squared-norm`` to `naive`; ``norm`` is what the authors'
    script computes for `naive`. Muttenthaler et al. 2023, Eq. 3 and Eq. 6.
    """

    kind: Literal["scaled-identity", "squared-norm", "norm"]
    identity: Float[Tensor, " q"] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The key in `Evaluation.parts`."""
        return "penalty"

    def __call__(
        self, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None = None
    ) -> tuple[float, Float[Tensor, "p q"], None]:
        """R(W) and its gradient."""
        if self.kind == "scaled-identity":
            W = W.clone()
            scale = identity_scale(W, self.identity)
            W.diagonal().sub_(scale if self.identity is None else scale * self.identity)
        squared = float(torch.sum(W * W, dtype=torch.float64))
        if self.kind != "norm":
            return squared, 2 * W, None
        norm = squared**0.5
        return norm, W / norm if norm > 0 else torch.zeros_like(W), None


def identity_scale(W: Float[Tensor, "p q"], identity: Float[Tensor, " q"] | None = None) -> Float[Tensor, ""]:
    """The c of the scaled identity nearest to W: tr W / p, or ⟨diag W, e⟩ / ⟨e, e⟩ where e stands for the identity."""
    if identity is None:
        return W.diagonal().mean()
    return torch.dot(W.diagonal(), identity) / torch.dot(identity, identity)
