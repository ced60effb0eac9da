"""When is a fit converged? A bound on, or estimate of, its distance from the optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import Evaluation, Subspace
from glocal.objective.penalty import identity_scale


@dataclass(frozen=True)
class Verdict:
    """`gap` is the bound or estimate of f - f* (None where none is known); `reason` says what was compared.

    `excess` is how many times what is allowed was measured.
    """

    converged: bool
    gap: float | None
    reason: str
    excess: float | None = None


@runtime_checkable
class Criterion(Protocol):
    """Judges one point; `final` asks for the exact figure even if a cheap test already says no."""

    def __call__(
        self,
        at: Evaluation,
        W: Float[Tensor, "p p"],
        b: Float[Tensor, " p"] | None,
        tol: float,
        *,
        final: bool = False,
    ) -> Verdict:
        """Converged or not at (W, b), relative to `tol`."""
        ...


@dataclass(frozen=True)
class ShrinkageGap:
    """For a penalty λ‖W - cI‖²_F, c = tr W / p, without bias; a multiple of ‖W‖²_F beside it is linear in M.

    In M = W Wᵀ the penalty bends upward at least like λ|c| / σ_max(W) around a symmetric positive definite W, so

        f - f* ≲ ‖∇f‖²_F σ_max(W) / (4 λ |c|)  ≤  tol · |f|.

    On real features the estimate lies above the true gap, or within a factor 2 of it.

    Parameters
    ----------
    lmbda : float
        λ > 0.
    identity : (p,) tensor or None
        In a subspace: the diagonal that stands for I, see `Subspace`. ∇f is then the gradient along the subspace.
    """

    lmbda: float
    identity: Float[Tensor, " p"] | None = None

    def __call__(
        self,
        at: Evaluation,
        W: Float[Tensor, "p p"],
        b: Float[Tensor, " p"] | None,
        tol: float,
        *,
        final: bool = False,
    ) -> Verdict:
        """Judge (W, b); the largest row norm is a lower bound of σ_max that spares most eigenvalues."""
        scale = abs(float(identity_scale(W, self.identity)))
        squared = float(torch.sum(at.dW * at.dW, dtype=torch.float64))
        allowed = tol * abs(at.value)
        factor = squared / (4 * self.lmbda * max(scale, 1e-300))
        if self.identity is not None:
            W = W / self.identity.clamp(min=1)  # block-diagonal: c√q becomes c
        gap = factor * float(torch.linalg.vector_norm(W, dim=1).max())
        if gap <= allowed or final:
            gap = factor * float(torch.linalg.eigvalsh(W.double()).abs().max())  # W is symmetric
        return compared("estimated gap", gap, allowed)


def restriction_gap(dW: Float[Tensor, "p p"], subspace: Subspace, C: Float[Tensor, "k k"], lmbda: float) -> float:
    """What a subspace may cost: the part of the gap that the gradient outside of it can close.

    The second-order bound behind `ShrinkageGap`, entry by entry in the eigenbasis of W with eigenvalues w, is

        f - f* ≲ Σ_ij (∇f)²_ij w_i w_j / (2 λ c̄ (w_i + w_j)),     c̄ = tr W / p.

    It counts only the bend of the penalty, not that of the loss. Here it is summed over the pairs that do not both lie
    in the subspace, where one or both of w_i and w_j are c.

    Parameters
    ----------
    dW : (p, p) tensor
        The gradient of the full objective at W.
    subspace : Subspace
    C : (r + 1, r + 1) tensor
        W in the subspace, stationary there.
    lmbda : float
        λ > 0.

    Returns
    -------
    float
    """
    if subspace.q == 0:
        return 0.0
    B, c = subspace.parts(C)
    mean = abs(float(identity_scale(C, subspace.identity.to(C))))
    w, Q = torch.linalg.eigh(B.double().cpu())
    V = subspace.axes @ Q.to(subspace.axes)
    g = (dW + dW.T) / 2
    columns = g @ V
    inside = V.T @ columns
    across = (columns.square().sum(0) - inside.square().sum(0)).clamp(min=0).double().cpu()
    outside = float(torch.sum(g * g, dtype=torch.float64) - torch.sum(inside * inside, dtype=torch.float64))
    outside -= 2 * float(across.sum()) + float(g.trace() - inside.trace()) ** 2 / subspace.q
    w, c = w.abs(), max(abs(c), 1e-300)
    return c / (lmbda * mean) * (max(outside, 0.0) / 4 + float((across * w / (w + c)).sum()))


@dataclass(frozen=True)
class Stationarity:
    """For `naive` on a fixed number of columns V, M = V Vᵀ: the part of the duality gap that V alone can close.

    Parameters
    ----------
    lmbda : float
        λ > 0.
    """

    lmbda: float

    def __call__(
        self,
        at: Evaluation,
        W: Float[Tensor, "p k"],
        b: Float[Tensor, " p"] | None,
        tol: float,
        *,
        final: bool = False,
    ) -> Verdict:
        """|⟨H, M⟩| = |⟨∇f, V⟩| / 2 and ‖∇f‖²/(4λ), both at most tol · |f|."""
        complementarity = abs(float(torch.sum(at.dW * W, dtype=torch.float64))) / 2
        decrease = float(torch.sum(at.dW * at.dW, dtype=torch.float64)) / (4 * self.lmbda)
        return compared("stationarity", max(complementarity, decrease), tol * abs(at.value))


@dataclass(frozen=True)
class GradientRatio:
    """With a bias, λ = 0 or the unsquared norm no gap is known: ‖∇f‖ ≤ 10 tol · ‖∇f‖ at the best scaled identity.

    Parameters
    ----------
    reference : float
        ‖∇f‖ at the best scaled identity.
    """

    reference: float

    def __call__(
        self,
        at: Evaluation,
        W: Float[Tensor, "p p"],
        b: Float[Tensor, " p"] | None,
        tol: float,
        *,
        final: bool = False,
    ) -> Verdict:
        """Judge (W, b)."""
        norm = gradient_norm(at)
        verdict = compared("gradient norm", norm, 10 * tol * self.reference)
        return replace(verdict, gap=None)


def gradient_norm(at: Evaluation) -> float:
    """‖∇f‖ over W and b together."""
    squared = float(torch.sum(at.dW * at.dW, dtype=torch.float64))
    if at.db is not None:
        squared += float(torch.sum(at.db * at.db, dtype=torch.float64))
    return math.sqrt(squared)


def global_certificate(W: Float[Tensor, "p p"]) -> str:
    """What the definiteness of a stationary W says about `global` (see docs/method.md)."""
    eigenvalues = torch.linalg.eigvalsh((W.double() + W.double().T) / 2)
    low, high = float(eigenvalues[0]), float(eigenvalues[-1])
    if low > 0 or high < 0:
        return "global optimum: stationary with a symmetric definite W"
    return f"none: W is indefinite (eigenvalues {low:.3g} to {high:.3g})"


def compared(what: str, value: float, allowed: float) -> Verdict:
    """The verdict of one figure against what is allowed."""
    converged = value <= allowed
    reason = f"{what} {value:.3g} is {'at most' if converged else 'above'} {allowed:.3g}"
    return Verdict(converged, value, reason, value / allowed if allowed > 0 else None)
