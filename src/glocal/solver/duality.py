"""How far above the optimum a fit can be at most: a lower bound from the softmax of the answers themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import Evaluation, Objective, Penalty

_FARTHER = 2.0  # times the squared norm: how far the gap reaches where nothing bounds the optimum
_REFINEMENTS = 4
_SETTLED = 1e-10  # nats: what a further step toward the best bias may gain
_NEWTON = 10  # steps toward the best bias; from near the optimum two or three are taken


def duality_gap(
    objective: Objective, at: Evaluation, W: Float[Tensor, "p p"], b: Float[Tensor, " p"] | None, allowed: float
) -> float:
    """The duality gap at (W, b), in nats: no transform is lower by more; infinite where no dual point was found.

    With M = W Wᵀ, v = W b and any probabilities q over the candidate pairs of each answer,

        L(M, v) ≥ ⟨A(q), M⟩ + ⟨g(q), v⟩ + H(q),
        A(q) = Σ w Σ_ij (q_ij - [ij = chosen]) sym(x_i x_jᵀ) / Σ w,      g(q) the same with x_i + x_j,

    where H is the weighted mean entropy of q; they are equal where q is the softmax of the model. With the best bias g
    is 0. The rest, ⟨A, M⟩ + λR(M), grows in proportion to M, so where it is nowhere negative f* ≥ H(q). With a_i the
    eigenvalues of A that is so if

        λ + a_i > 0  for all i      and      λ mix Σ 1 / (λ + a_i) ≤ p.

    At the optimum its softmax meets both. Near it the softmax at W misses them by as much as W misses its best length:
    q is taken on the line between the softmax of S and that of mS, m near that length. In second order the gap is Σ_ij
    (∇f)²_ij w_i w_j / (2 λ mix c (w_i + w_j)), c = tr W / p. A gap of `allowed` nats is small enough.

    A penalty without bend (`naive`, λ = 0) leaves only the first condition. Missed by d = max(0, -min λ + a_i) it costs
    d tr M*, where λ tr M* ≤ f. With λ = 0 nothing bounds tr M*, and the gap is that to transforms of up to twice the
    squared norm. A local term is replaced by one that is linear in M and has its slope at W: an estimate, not a bound.

    The objective has the terms ``global`` and ``penalty`` (any but the unsquared norm) and, without a bias, perhaps
    ``local``. Boyd & Vandenberghe (2004), Convex Optimization, section 5.1; docs/method.md derives the bound.
    """
    (share, loss), (lmbda, penalty) = objective.term("global"), objective.term("penalty")
    found, slack = loss.slopes(W, b), 0.0
    if b is not None:
        b, left = _best_bias(loss, W, b)
        given, found = found.value, loss.slopes(W, b)
        slack = share * (given - found.value + left) + _FARTHER * float(found.v.norm() * (W @ b).norm())
        if left > _SETTLED:
            return math.inf
    A, norm = share * found.M, lmbda * at.parts["penalty"]
    local, along_local = _local_slope(objective, at, W, A)
    along = share * found.along + norm + along_local
    if not bool(torch.isfinite(A + local).all()):
        return math.inf
    if penalty.kind == "squared-norm" or lmbda == 0:
        d = max(0.0, -float(torch.linalg.eigvalsh(A + local)[0]) - lmbda)
        reach = at.value / lmbda if lmbda > 0 else _FARTHER * float(torch.sum(W * W, dtype=torch.float64))
        return abs(along) + d * reach + slack
    bend = share * loss.bend_along_scales(W, b)
    if not bend > 0:
        return math.inf

    def gap(entropy: float) -> float:
        return share * (found.value - entropy) + norm + along_local + slack

    here = _Dual(found.entropy, A, _excess(A + local, lmbda, penalty))
    if here.met and gap(here.entropy) <= allowed:
        return max(gap(here.entropy), 0.0)
    best = 1 - along / bend  # a Newton step toward the m of least f(mM)
    met, missed = (here, None) if here.met else (None, here)
    for margin in (0.5, 4.0):  # the shorter suffices for a gap that is allowed
        m = (best if here.met else max(best, 1.0)) + margin * allowed / bend
        root = math.sqrt(max(m, 0.25))
        at_m = loss.slopes(root * W, None if b is None else _best_bias(loss, root * W, root * b)[0])
        there = _Dual(at_m.entropy, share * at_m.M, _excess(share * at_m.M + local, lmbda, penalty))
        met, missed = (there, missed) if there.met else (met, there)
        if met is not None:
            break
    if met is None:
        return math.inf
    for _ in range(_REFINEMENTS):
        if missed is None or gap(met.entropy) <= allowed:
            break
        middle = met.toward(missed, _fraction(met.excess, missed.excess))
        middle = replace(middle, excess=_excess(middle.A + local, lmbda, penalty))
        met, missed = (middle, missed) if middle.met else (met, middle)
    return max(gap(met.entropy), 0.0) if gap(met.entropy) > -allowed else math.inf  # below 0: W is all but singular


@dataclass(frozen=True, eq=False)
class _Dual:
    """What is needed of probabilities q for every answer: a bound below H(q), A(q), and how far it is from feasible."""

    entropy: float
    A: Float[Tensor, "p p"]
    excess: float

    @property
    def met(self) -> bool:
        """Whether f* ≥ H(q) follows."""
        return self.excess <= 0

    def toward(self, other: _Dual, t: float) -> _Dual:
        """The mixture (1 - t) q + t q', whose entropy is at least the mixture of theirs."""
        return _Dual(self.entropy + t * (other.entropy - self.entropy), torch.lerp(self.A, other.A, t), math.inf)


def _local_slope(
    objective: Objective, at: Evaluation, W: Float[Tensor, "p p"], A: Float[Tensor, "p p"]
) -> tuple[Float[Tensor, "p p"] | float, float]:
    """The slope of the local term toward M, from ∂f/∂W = 2 ∂f/∂M W, and its product with M; 0 without one."""
    if objective.term("local")[1] is None:
        return 0.0, 0.0
    lmbda, penalty = objective.term("penalty")
    W, dW = W.double(), (at.dW - lmbda * penalty(W)[1]).double()
    dW = dW - 2 * A @ W
    half, singular = torch.linalg.solve_ex(W, dW.T)
    slope = torch.full_like(W, math.nan) if int(singular) else (half + half.T) / 4
    return slope, float(torch.sum(dW * W)) / 2


def _excess(A: Float[Tensor, "p p"], lmbda: float, penalty: Penalty) -> float:
    """λ mix tr (λI + A)⁻¹ / p - 1, at most 0 where f* ≥ H(q) follows; infinite where λI + A is indefinite."""
    B = A.clone()
    B.diagonal().add_(lmbda)
    root, indefinite = torch.linalg.cholesky_ex(B)
    if int(indefinite):
        return math.inf
    return lmbda * penalty.mix * float(torch.cholesky_inverse(root).diagonal().mean()) - 1


def _fraction(met: float, missed: float) -> float:
    """Where between two ends, the first at most 0 and the other above, a line through both is a little below 0."""
    return min(max(-0.9 * met / (missed - met), 0.05), 0.95) if math.isfinite(missed) else 0.5


def _best_bias(loss: Any, W: Float[Tensor, "p p"], b: Float[Tensor, " p"]) -> tuple[Float[Tensor, " p"], float]:
    """The b at which L does not change with v = W b, by Newton's method, and twice what a further step would gain."""
    left = math.inf
    for _ in range(_NEWTON):
        slope, bend = loss.slopes(W, b).v, loss.bend_of_bias(W, b)
        bend.diagonal().add_(1e-12 * float(bend.trace()) + 1e-300)
        step, _ = torch.linalg.solve_ex(bend, slope)
        left = float(slope @ step)
        change, singular = torch.linalg.solve_ex(W.double(), step)
        if int(singular) or not left > 1e-14:
            break
        b = b - change.to(b)
    return b, max(left, 0.0)
