"""When is a fit converged? A bound on, or estimate of, its distance from the optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import Evaluation, Objective, Subspace
from glocal.objective.penalty import counted, identity_scale
from glocal.solver.duality import duality_gap

Status = Literal["converged", "stationary", "budget", "stalled"]


@dataclass(frozen=True)
class Verdict:
    """`gap` is the bound or estimate of f - f* (None where none is known); `reason` says what was compared.

    `stationary` is said where the gradient is small enough and nothing else is known.
    """

    converged: bool
    gap: float | None
    reason: str
    stationary: bool = False

    @property
    def status(self) -> Status | None:
        """How a fit that ends here ends; None where it has to go on."""
        return "converged" if self.converged else "stationary" if self.stationary else None


@runtime_checkable
class Criterion(Protocol):
    """Judges one point (W, b): by a cheap figure after every step, and by an exact one where that is small enough."""

    def estimate(self, at: Evaluation, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None) -> float:
        """The cheap figure, in the unit of `allowed`."""
        ...

    def allowed(self, at: Evaluation, tol: float) -> float:
        """What the figures may be at most."""
        ...

    def judge(self, at: Evaluation, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None, tol: float) -> Verdict:
        """Converged or not, by the exact figure."""
        ...

    def definite(self, W: Float[Tensor, "p q"]) -> bool:
        """False where (W Wᵀ)^½ is lower than W: the penalty is toward scaled identities and W is indefinite."""
        ...


def allowed_gap(at: Evaluation, tol: float) -> float:
    """What a gap may be: tol · |f|, where |f| counts as the rounding of a loss of order 1 if it is below that."""
    return tol * max(abs(at.value), float(torch.finfo(at.dW.dtype).eps))


@dataclass(frozen=True, eq=False)
class DualityGap:
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

    def estimate(self, at: Evaluation, W: Float[Tensor, "p p"], b: Float[Tensor, " p"] | None) -> float:
        """The estimate, with the largest row norm for σ_max; without a bend, what the length of W alone can gain."""
        lmbda, penalty = self.objective.term("penalty")
        if penalty.kind == "squared-norm" or lmbda == 0:
            return stationarity(at, W, lmbda)
        scale = abs(float(identity_scale(W, penalty.identity)))
        if penalty.identity is not None:
            W = W / penalty.identity.clamp(min=1)  # block-diagonal: c√q becomes c
        longest = float(torch.linalg.vector_norm(W, dim=1).max())
        return gradient_norm(at) ** 2 * longest / (4 * lmbda * penalty.mix * max(scale, 1e-300))

    def allowed(self, at: Evaluation, tol: float) -> float:
        """A share tol of |f|, in nats."""
        return allowed_gap(at, tol)

    def judge(self, at: Evaluation, W: Float[Tensor, "p p"], b: Float[Tensor, " p"] | None, tol: float) -> Verdict:
        """The duality gap against tol · |f|."""
        allowed = allowed_gap(at, tol)
        return compared("duality gap", duality_gap(self.objective, at, W, b, allowed), allowed)

    def definite(self, W: Float[Tensor, "p p"]) -> bool:
        """Whether W or -W is positive definite, where the penalty asks for it."""
        penalty = self.objective.term("penalty")[1]
        if penalty.kind != "scaled-identity":
            return True
        W = counted(W, penalty.identity)
        sign = -1.0 if float(W.trace()) < 0 else 1.0
        return not int(torch.linalg.cholesky_ex(sign * W.double()).info)


def restriction_gap(dW: Float[Tensor, "p p"], subspace: Subspace, C: Float[Tensor, "k k"], lmbda: float) -> float:
    """What a subspace may cost: the part of the gap that the gradient outside of it can close.

    The second-order bound behind `DualityGap`, entry by entry in the eigenbasis of W with eigenvalues w, is

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


class _AnyRotation:
    """A criterion for objectives that no rotation of W lowers."""

    def definite(self, W: Float[Tensor, "p q"]) -> bool:
        """Nothing is asked for."""
        return True


@dataclass(frozen=True)
class Stationarity(_AnyRotation):
    """For `naive` on a fixed number of columns V, M = V Vᵀ: the part of the duality gap that V alone can close.

    Parameters
    ----------
    lmbda : float
        λ > 0.
    """

    lmbda: float

    def estimate(self, at: Evaluation, W: Float[Tensor, "p k"], b: Float[Tensor, " k"] | None) -> float:
        """|⟨H, M⟩| = |⟨∇f, V⟩| / 2 or ‖∇f‖²/(4λ), whichever is larger."""
        return stationarity(at, W, self.lmbda)

    def allowed(self, at: Evaluation, tol: float) -> float:
        """A share tol of |f|, in nats."""
        return allowed_gap(at, tol)

    def judge(self, at: Evaluation, W: Float[Tensor, "p k"], b: Float[Tensor, " k"] | None, tol: float) -> Verdict:
        """The estimate is exact."""
        return compared("stationarity", self.estimate(at, W, b), self.allowed(at, tol))


@dataclass(frozen=True)
class GradientRatio(_AnyRotation):
    """No gap is known for the unsquared norm, or a bias beside a local term: ‖∇f‖ against that at the start.

    A fit ends as stationary where ‖∇f‖ ≤ 10 tol · ‖∇f‖ at the best scaled identity.

    Parameters
    ----------
    reference : float
        ‖∇f‖ at the best scaled identity.
    """

    reference: float

    def estimate(self, at: Evaluation, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None) -> float:
        """‖∇f‖."""
        return gradient_norm(at)

    def allowed(self, at: Evaluation, tol: float) -> float:
        """10 tol · ‖∇f‖ at the best scaled identity."""
        return 10 * tol * self.reference

    def judge(self, at: Evaluation, W: Float[Tensor, "p q"], b: Float[Tensor, " q"] | None, tol: float) -> Verdict:
        """‖∇f‖ against what is allowed; no gap is stated."""
        verdict = compared("gradient norm", gradient_norm(at), self.allowed(at, tol))
        return Verdict(False, None, verdict.reason, stationary=verdict.converged)


def stationarity(at: Evaluation, W: Float[Tensor, "p k"], lmbda: float) -> float:
    """|⟨∇f, W⟩| / 2, the slope along the length of W, or ‖∇f‖²/(4λ), the larger; the first alone with λ = 0."""
    along = abs(float(torch.sum(at.dW * W, dtype=torch.float64))) / 2
    return max(along, gradient_norm(at) ** 2 / (4 * lmbda)) if lmbda > 0 else along


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
