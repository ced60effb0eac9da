"""When is a fit converged? A bound on, or estimate of, its distance from the optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import Evaluation


@dataclass(frozen=True)
class Verdict:
    """`gap` is the bound or estimate of f - f* (None where none is known); `reason` says what was compared."""

    converged: bool
    gap: float | None
    reason: str


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
    """For a penalty λ‖W - cI‖²_F, c = tr W / p, without bias.

    In M = W Wᵀ the penalty bends upward at least like λ|c| / σ_max(W) around a symmetric positive definite W, so

        f - f* ≲ ‖∇f‖²_F σ_max(W) / (4 λ |c|)  ≤  tol · |f|.

    On real features the estimate lies above the true gap, or within a factor 2 of it.

    Parameters
    ----------
    lmbda : float
        λ > 0.
    """

    lmbda: float

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
        scale = abs(float(W.diagonal().mean()))
        squared = float(torch.sum(at.dW * at.dW, dtype=torch.float64))
        allowed = tol * abs(at.value)
        factor = squared / (4 * self.lmbda * max(scale, 1e-300))
        gap = factor * float(torch.linalg.vector_norm(W, dim=1).max())
        if gap <= allowed or final:
            gap = factor * float(torch.linalg.eigvalsh(W.double()).abs().max())  # W is symmetric
        return compared("estimated gap", gap, allowed)


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
        return Verdict(verdict.converged, None, verdict.reason)


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
    return Verdict(converged, value, f"{what} {value:.3g} is {'at most' if converged else 'above'} {allowed:.3g}")
