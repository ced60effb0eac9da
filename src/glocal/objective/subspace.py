"""W = cI + V A Vᵀ: the objective on the few directions V that matter, with what lies outside kept in Gram matrices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.errors import ParameterError
from glocal.objective.choice_loss import GRAM_LIMIT, ChoiceLoss, Slopes, gram_upper
from glocal.objective.local_loss import LocalLoss
from glocal.objective.objective import Objective, Term
from glocal.objective.penalty import Penalty


@dataclass(frozen=True, eq=False)
class Subspace:
    """The transforms W = V B Vᵀ + c (I - V Vᵀ), written as one small symmetric matrix.

        C = [ B   0   ]      q = p - r,   ‖C‖_F = ‖W‖_F
            [ 0  c√q  ]

    W → C keeps lengths and angles, so gradients, norms and the solver need not know that C is not a W: the gradient
    along C is the gradient along W within the subspace. The identity is the diagonal e = (1, …, 1, √q).

    Parameters
    ----------
    axes : (p, r) tensor
        V, with orthonormal columns.
    """

    axes: Float[Tensor, "p r"]

    @property
    def r(self) -> int:
        """The number of directions."""
        return int(self.axes.shape[1])

    @property
    def q(self) -> int:
        """How many directions share one scale, p - r; with 0 the last entry of C counts for nothing."""
        return int(self.axes.shape[0]) - self.r

    @cached_property
    def identity(self) -> Float[Tensor, " k"]:
        """e, the diagonal that stands for I."""
        return torch.cat([self.axes.new_ones(self.r), self.axes.new_full((1,), math.sqrt(self.q))])

    def parts(self, C: Float[Tensor, "k k"]) -> tuple[Float[Tensor, "r r"], float]:
        """B and c."""
        return C[:-1, :-1], float(C[-1, -1]) / math.sqrt(max(self.q, 1))

    def joined(self, B: Float[Tensor, "r r"], last: float) -> Float[Tensor, "k k"]:
        """C from B and its last entry c√q."""
        C = B.new_zeros(self.r + 1, self.r + 1)
        C[:-1, :-1] = B
        C[-1, -1] = last
        return C

    def restrict(self, W: Float[Tensor, "p p"]) -> Float[Tensor, "k k"]:
        """The member of the subspace nearest to W, as C."""
        B = self.axes.T @ W @ self.axes
        return self.joined(B, float(W.trace() - B.trace()) / math.sqrt(self.q) if self.q else 0.0)

    def apply(self, X: Float[Tensor, "n p"], C: Float[Tensor, "k k"]) -> Float[Tensor, "n p"]:
        """X W = cX + (XV)(B - cI) Vᵀ."""
        B, c = self.parts(C)
        A = B.clone()
        A.diagonal().sub_(c)
        V = self.axes.to(X)
        return c * X + X @ V @ A.to(X) @ V.T

    def embed(self, C: Float[Tensor, "k k"]) -> Float[Tensor, "p p"]:
        """W itself."""
        B, c = self.parts(C)
        A = B.clone()
        A.diagonal().sub_(c)
        W = self.axes @ A @ self.axes.T
        W.diagonal().add_(c)
        return W

    def split(self, X: Float[Tensor, "n p"]) -> tuple[Float[Tensor, "n r"], Float[Tensor, "n n"]]:
        """X V, and the Gram matrix of the rest over q: Z Zᵀ = (XV) B² (XV)ᵀ + (c√q)² K̄."""
        inside = X @ self.axes
        rest = torch.addmm(X, inside, self.axes.T, alpha=-1)
        return inside, (rest @ rest.T).div_(max(self.q, 1)) if self.q else X.new_zeros(len(X), len(X))


class SubspaceChoices:
    """`ChoiceLoss` in a subspace, with its gradient.

        S = Z Zᵀ + κ² K̄,   Z = X V B,   κ = c√q,   K̄ = X⊥ X⊥ᵀ / q,   X⊥ = X - X V Vᵀ
        ∂L/∂B = (X V)ᵀ (G + Gᵀ) Z,   ∂L/∂κ = κ ⟨G + Gᵀ, K̄⟩

    Parameters
    ----------
    loss : ChoiceLoss
        The full loss, which keeps the answers.
    subspace : Subspace

    Raises
    ------
    ParameterError
        More objects than an n × n matrix is made for.
    """

    name = "global"

    def __init__(self, loss: ChoiceLoss, subspace: Subspace) -> None:
        if loss.n > GRAM_LIMIT:
            raise ParameterError(
                f"rank is given but the answers name {loss.n} objects; a subspace fit keeps objects × objects "
                f"matrices, for {GRAM_LIMIT} objects at most. Leave rank out."
            )
        self._loss = loss
        self._X, self._K = subspace.split(loss.X)

    def __call__(
        self, W: Float[Tensor, "k k"], b: Float[Tensor, " k"] | None = None
    ) -> tuple[float, Float[Tensor, "k k"], None]:
        """L and its gradient at C (called W as in every term)."""
        B, kappa = W[:-1, :-1].contiguous(), float(W[-1, -1])
        Z, dC = self._X @ B, torch.zeros_like(W)
        if not math.isfinite(float(torch.sum(Z * Z)) + kappa * kappa):  # a step far too long: S would overflow
            return float("inf"), dC.fill_(float("nan")), None
        value, G = self._loss.of_gram(gram_upper(Z).add_(self._K, alpha=kappa * kappa))
        dC[:-1, :-1] = self._X.T @ (G @ Z)
        dC[-1, -1] = kappa * torch.dot(G.view(-1), self._K.view(-1))
        return value, dC, None

    def slopes(self, W: Float[Tensor, "k k"], b: Float[Tensor, " k"] | None = None) -> Slopes:
        """Those of `ChoiceLoss` toward B² and, in the last place, toward κ²."""
        Z, kappa = self._X @ W[:-1, :-1].contiguous(), float(W[-1, -1])
        value, G = self._loss.of_gram(gram_upper(Z).add_(self._K, alpha=kappa * kappa))
        inside, A = self._X.T @ (G @ self._X), torch.zeros_like(W)
        A[:-1, :-1] = (inside + inside.T) / 4
        A[-1, -1] = torch.dot(G.view(-1), self._K.view(-1)) / 2
        return Slopes(value, A.double(), None, float(torch.sum((A @ W) * W, dtype=torch.float64)))

    def bend_along_scales(self, W: Float[Tensor, "k k"], b: Float[Tensor, " k"] | None = None) -> float:
        """That of `ChoiceLoss` at C."""
        S = gram_upper(self._X @ W[:-1, :-1].contiguous()).add_(self._K, alpha=float(W[-1, -1]) ** 2)
        return self._loss.bend_of(self._loss.pairs_of_gram(S))


class SubspaceLocal:
    """`LocalLoss` in a subspace: cosines over all columns, from X V B and the Gram matrix of the rest of each block.

    Parameters
    ----------
    loss : LocalLoss
        The full loss, which keeps the teachers.
    subspace : Subspace
    """

    name = "local"

    def __init__(self, loss: LocalLoss, subspace: Subspace) -> None:
        self._loss = loss
        self._blocks = [subspace.split(block) for block in loss.blocks]

    def __call__(
        self, W: Float[Tensor, "k k"], b: Float[Tensor, " k"] | None = None
    ) -> tuple[float, Float[Tensor, "k k"], None]:
        """L and its gradient at C (called W as in every term)."""
        B, kappa = W[:-1, :-1].contiguous(), float(W[-1, -1])
        value, dC = 0.0, torch.zeros_like(W)
        for number, (X, K) in enumerate(self._blocks):
            part, dZ, dkappa = self._loss.of_block(number, X @ B, kappa, K)
            value += part
            dC[:-1, :-1] += X.T @ dZ
            dC[-1, -1] += dkappa
        return value, dC, None


def restricted(objective: Objective, subspace: Subspace) -> Objective:
    """The same objective as a function of C.

    Parameters
    ----------
    objective : Objective
        Of W, without bias, in the axes of `subspace`.
    subspace : Subspace

    Returns
    -------
    Objective
    """
    return Objective(tuple((weight, _restricted_term(term, subspace)) for weight, term in objective.terms))


def _restricted_term(term: Term, subspace: Subspace) -> Any:
    if isinstance(term, ChoiceLoss):
        return SubspaceChoices(term, subspace)
    if isinstance(term, LocalLoss):
        return SubspaceLocal(term, subspace)
    if isinstance(term, Penalty):
        return Penalty(term.kind, subspace.identity, term.mix)
    raise ParameterError(f"the term {term.name!r} has no form in a subspace; leave rank out.")
