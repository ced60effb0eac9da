"""L_local: each image keeps its neighbours, judged inside blocks of images."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

_SMALLEST = 1e-12


class LocalLoss:
    """L_local(W, b) and its gradient.

        P_i = softmax_{j≠i}( cos(x_i, x_j) / τ )      the teacher, computed once
        Q_i = softmax_{j≠i}( cos(z_i, z_j) / τ ),     z = x W + b
        L   = mean over images i of  -Σ_j P_ij log Q_ij

    With ẑ = z/‖z‖, C = Ẑ Ẑᵀ inside a block and N images in all,

        ∂L/∂C = (Q - P) / (τ N)
        ∂L/∂Ẑ = (∂L/∂C + ∂L/∂Cᵀ) Ẑ
        ∂L/∂z_i = (g_i - ẑ_i ⟨ẑ_i, g_i⟩) / ‖z_i‖      with g = ∂L/∂Ẑ.

    Only P + Pᵀ enters, so that is what is kept: N · m numbers for blocks of m images.

    Parameters
    ----------
    blocks : sequence of (m, p) tensors
        Standardized features of the local images, one tensor a block.
    tau : float
        Temperature τ > 0.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 4 and 5. The sum over j is normalised by m as in the authors' code, that is
    L is the mean over images; its value contains about log(m - 1), so blocks of another size are another objective.
    """

    name = "local"

    def __init__(self, blocks: Sequence[Float[Tensor, "_ p"]], tau: float) -> None:
        self.blocks = tuple(blocks)
        self.tau = tau
        self.n = sum(len(block) for block in self.blocks)
        self._teachers = tuple(self._teacher(block) for block in self.blocks)

    def __call__(
        self, W: Float[Tensor, "p p"], b: Float[Tensor, " p"] | None = None
    ) -> tuple[float, Float[Tensor, "p p"], Float[Tensor, " p"] | None]:
        """L and its gradient at (W, b)."""
        value, dW, db = 0.0, torch.zeros_like(W), None if b is None else torch.zeros_like(b)
        for number, X in enumerate(self.blocks):
            Z = X @ W if b is None else torch.addmm(b, X, W)
            part, dZ = self._of_block(number, Z.to(X.dtype))  # NOTE products under autocast come back narrower
            value += part
            dW.addmm_(X.T, dZ)
            if db is not None:
                db += dZ.sum(0)
        return value, dW, db

    def block(self, number: int) -> LocalLoss:
        """L_local of one block alone: the mean over its images, with the teacher that is there already."""
        alone = copy.copy(self)
        alone.blocks, alone._teachers = (self.blocks[number],), (self._teachers[number],)
        alone.n = len(self.blocks[number])
        return alone

    def _of_block(self, number: int, Z: Float[Tensor, "m p"]) -> tuple[float, Float[Tensor, "m p"]]:
        """The share of one block in L as a function of its embedding: value and ∂/∂Z."""
        teacher = self._teachers[number]
        norms = torch.linalg.vector_norm(Z, dim=1, keepdim=True).clamp_(min=_SMALLEST)
        Z = Z / norms
        logits = self._logits((Z @ Z.T).to(Z.dtype))
        log_sums = torch.logsumexp(logits, dim=1)
        value = log_sums.sum(dtype=torch.float64) - torch.dot(teacher.view(-1), logits.view(-1)).double() / 2
        # Q + Qᵀ - (P + Pᵀ): the logits are symmetric, so Qᵀ only exchanges the log sums
        D = torch.exp(logits - log_sums[:, None])
        D += logits.sub_(log_sums[None, :]).exp_()
        D -= teacher
        g = (D @ Z).to(Z.dtype).div_(self.tau * self.n)
        dZ = (g - Z * (g * Z).sum(1, keepdim=True)).div_(norms)
        return float(value) / self.n, dZ

    def _teacher(self, X: Float[Tensor, "m p"]) -> Float[Tensor, "m m"]:
        """P + Pᵀ of one block."""
        X = torch.nn.functional.normalize(X, dim=1, eps=_SMALLEST)
        logits = self._logits((X @ X.T).to(X.dtype))
        P = torch.softmax(logits, dim=1)
        return P + P.T

    def _logits(self, cosines: Float[Tensor, "m m"]) -> Float[Tensor, "m m"]:
        """Cosines over τ, in their place, with a diagonal so low that it never counts."""
        logits = cosines.div_(self.tau)
        # NOTE finite on purpose: -inf would turn teacher · logits into 0 · inf
        logits.fill_diagonal_(-1e30 if logits.dtype == torch.float32 else -1e300)
        return logits
