"""When is a fit converged? A bound on, or estimate of, its distance from the optimum."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import Evaluation, Objective
from glocal.solver.duality import duality_gap

Status = Literal["converged", "stationary", "budget", "stalled"]


@dataclass(frozen=True)
class Verdict:
    """`gap` is the bound or estimate of f - f* (None where none is known); `reason` says what was compared.

    `stationary` is true where the figure is small enough but the optimum may be farther away.
    """

    converged: bool
    gap: float | None
    reason: str
    stationary: bool = False

    @property
    def status(self) -> Status | None:
        """How a fit that ends here ends; None where it has to go on."""
        return "converged" if self.converged else "stationary" if self.stationary else None


@dataclass(frozen=True, eq=False)
class Iterate:
    """One point (W, b) and the objective there."""

    at: Evaluation
    W: Float[Tensor, "p q"]
    b: Float[Tensor, " q"] | None = None

    def allowed(self, tol: float) -> float:
        """What a gap may be: tol · |f|, where |f| counts as the rounding of a loss of order 1 if it is below that."""
        return tol * max(abs(self.at.value), float(torch.finfo(self.at.dW.dtype).eps))

    def stationarity(self, lmbda: float) -> float:
        """|⟨∇f, W⟩| / 2, the slope along the length of W, or ‖∇f‖²/(4λ), the larger; the first alone with λ = 0."""
        along = abs(float(torch.sum(self.at.dW * self.W, dtype=torch.float64))) / 2
        return max(along, gradient_norm(self.at) ** 2 / (4 * lmbda)) if lmbda > 0 else along


class Criterion(ABC):
    """Judges an iterate: by a cheap figure after every step, and by an exact one where that is small enough."""

    @abstractmethod
    def estimate(self, here: Iterate) -> float:
        """The cheap figure, in the unit of `allowed`."""

    def allowed(self, here: Iterate, tol: float) -> float:
        """What the figures may be at most: a share tol of |f|, in nats."""
        return here.allowed(tol)

    @abstractmethod
    def judge(self, here: Iterate, tol: float) -> Verdict:
        """Converged or not, by the exact figure."""

    def definite(self, W: Float[Tensor, "p q"]) -> bool:
        """False where (W Wᵀ)^½ is lower than W: the penalty is toward scaled identities and W is indefinite."""
        return True


@dataclass(frozen=True, eq=False)
class DualityGap(Criterion):
    """The duality gap, which takes about two evaluations; after every step only a lower figure is made.

    In M = W Wᵀ a penalty λ mix ‖W - cI‖²_F + λ (1 - mix) ‖W‖²_F, c = tr W / p, bends upward at least like
    λ mix |c| / σ_max(W). Near the optimum, and not elsewhere, it follows that

        f - f* ≲ ‖∇f‖²_F σ_max(W) / (4 λ mix |c|).

    Parameters
    ----------
    objective : Objective
        As `duality_gap` takes it.
    """

    objective: Objective

    def estimate(self, here: Iterate) -> float:
        """The estimate, with the largest row norm for σ_max; without a bend, what the length of W alone can gain."""
        lmbda, penalty = self.objective.term("penalty")
        if penalty.kind == "squared-norm" or lmbda == 0:
            return here.stationarity(lmbda)
        scale = abs(float(here.W.diagonal().mean()))
        longest = float(torch.linalg.vector_norm(here.W, dim=1).max())
        return gradient_norm(here.at) ** 2 * longest / (4 * lmbda * penalty.mix * max(scale, 1e-300))

    def judge(self, here: Iterate, tol: float) -> Verdict:
        """The duality gap against tol · |f|; with λ = 0 it covers only nearby transforms, and no gap is stated."""
        allowed = here.allowed(tol)
        verdict = compared("duality gap", duality_gap(self.objective, here.at, here.W, here.b, allowed), allowed)
        if self.objective.term("penalty")[0] > 0:
            return verdict
        reason = f"{verdict.reason}, beside transforms of at most twice the squared norm,"
        return Verdict(False, None, reason, stationary=verdict.converged)

    def definite(self, W: Float[Tensor, "p p"]) -> bool:
        """Whether W or -W is positive definite, where the penalty asks for it."""
        if self.objective.term("penalty")[1].kind != "scaled-identity":
            return True
        sign = -1.0 if float(W.trace()) < 0 else 1.0
        return not int(torch.linalg.cholesky_ex(sign * W.double()).info)


@dataclass(frozen=True)
class Stationarity(Criterion):
    """For `naive` on a fixed number of columns V, M = V Vᵀ: the part of the duality gap that V alone can close.

    Parameters
    ----------
    lmbda : float
        λ > 0.
    """

    lmbda: float

    def estimate(self, here: Iterate) -> float:
        """|⟨H, M⟩| = |⟨∇f, V⟩| / 2 or ‖∇f‖²/(4λ), whichever is larger."""
        return here.stationarity(self.lmbda)

    def judge(self, here: Iterate, tol: float) -> Verdict:
        """The estimate is exact."""
        return compared("stationarity", self.estimate(here), here.allowed(tol))


@dataclass(frozen=True)
class GradientRatio(Criterion):
    """Where no gap is known (the unsquared norm, or a bias beside a local term): ‖∇f‖ against that at the start.

    A fit ends as stationary where ‖∇f‖ ≤ 10 tol · ‖∇f‖ at the best scaled identity.

    Parameters
    ----------
    reference : float
        ‖∇f‖ at the best scaled identity.
    """

    reference: float

    def estimate(self, here: Iterate) -> float:
        """‖∇f‖."""
        return gradient_norm(here.at)

    def allowed(self, here: Iterate, tol: float) -> float:
        """10 tol · ‖∇f‖ at the best scaled identity."""
        return 10 * tol * self.reference

    def judge(self, here: Iterate, tol: float) -> Verdict:
        """‖∇f‖ against what is allowed; no gap is stated."""
        verdict = compared("gradient norm", gradient_norm(here.at), self.allowed(here, tol))
        return Verdict(False, None, verdict.reason, stationary=verdict.converged)


def gradient_norm(at: Evaluation) -> float:
    """‖∇f‖ over W and b together."""
    squared = float(torch.sum(at.dW * at.dW, dtype=torch.float64))
    if at.db is not None:
        squared += float(torch.sum(at.db * at.db, dtype=torch.float64))
    return math.sqrt(squared)


def compared(what: str, value: float, allowed: float) -> Verdict:
    """The verdict of one figure against what is allowed."""
    converged = value <= allowed
    reason = f"{what} {value:.3g} is {'at most' if converged else 'above'} {allowed:.3g}"
    return Verdict(converged, value if math.isfinite(value) else None, reason)
