"""What is known of the optimum: the best scale, the λ from which on it is 0, and how far above it a fit can be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glocal.objective import ChoiceLoss, Evaluation, Objective, penalty
from glocal.solver.minimise import dot

_REFINEMENTS = 4
_SMALLEST = 1e-2  # of the mean squared norm after scaling: no smaller scale is looked for
_CLOSE = 1e-2  # in log c²


@dataclass(frozen=True, eq=False)
class DualityGap:
    """The duality gap of an objective with a penalty toward scaled identities, λ > 0 and mix > 0.

    With M = W Wᵀ and any probabilities q over the candidate pairs of each answer,

        L(M) ≥ ⟨A(q), M⟩ + H(q),     A(q) = Σ w Σ_ij (q_ij - [ij = chosen]) sym(x_i x_jᵀ) / Σ w,

    where H is the weighted mean entropy of q; they are equal where q is the softmax of the model. The rest, ⟨A, M⟩ +
    λR(M), grows in proportion to M, so where it is nowhere negative f* ≥ H(q). With a_i the eigenvalues of A that is so
    if

        λ + a_i > 0  for all i      and      λ mix Σ 1 / (λ + a_i) ≤ p.

    At the optimum its softmax meets both. Near it the softmax at W violates them by as much as W misses its best
    length: q is taken on the line between the softmax of S and that of mS, m near that length. A local term is replaced
    by one that is linear in M and has its slope at W: then the gap is an estimate, not a bound. docs/method.md derives
    it; Boyd & Vandenberghe (2004), Convex Optimization, section 5.1.
    """

    objective: Objective

    def estimate(self, at: Evaluation, W: Float[np.ndarray, "p p"]) -> float:
        """‖∇f‖² σ_max(W) / (4 λ mix |c|), about the gap near the optimum and nowhere else; it costs nothing."""
        longest = math.sqrt(float(np.einsum("ij,ij->i", W, W).max()))
        bend = 4 * self.objective.lmbda * self.objective.mix * max(abs(float(np.trace(W))) / len(W), 1e-300)
        return dot(at.dW, at.dW) * longest / bend

    def gap(self, at: Evaluation, W: Float[np.ndarray, "p p"], allowed: float) -> float:
        """No transform is lower by more nats; infinite where no dual point was found."""
        share, choices = self.objective.share, self.objective.choices
        found, norm = choices.slopes(W), self.objective.lmbda * at.parts["penalty"]
        local, along_local = self._local_slope(at, W, share * found.M)
        along, bend = share * found.along + norm + along_local, share * found.bend
        if not (bend > 0 and np.isfinite(found.M + local).all()):
            return math.inf

        def dual(entropy: float, A: np.ndarray) -> _Dual:
            return _Dual(share * (found.value - entropy) + norm + along_local, A, self._excess(A + local))

        here = dual(found.entropy, share * found.M)
        if here.excess <= 0 and here.gap <= allowed:
            return max(here.gap, 0.0)
        met, missed = (here, None) if here.excess <= 0 else (None, here)
        best = 1 - along / bend  # a Newton step toward the m of least f(mM)
        for margin in (0.5, 4.0):  # the shorter suffices for a gap that is allowed
            m = (best if here.excess <= 0 else max(best, 1.0)) + margin * allowed / bend
            with np.errstate(over="ignore", invalid="ignore"):  # a length far too great: `_excess` says so
                at_m = choices.slopes(math.sqrt(max(m, 0.25)) * W)
            there = dual(at_m.entropy, share * at_m.M)
            met, missed = (there, missed) if there.excess <= 0 else (met, there)
            if met is not None:
                break
        for _ in range(_REFINEMENTS):
            if met is None or missed is None or met.gap <= allowed:
                break
            t = met.toward(missed)
            A = met.A + t * (missed.A - met.A)
            middle = _Dual(met.gap + t * (missed.gap - met.gap), A, self._excess(A + local))
            met, missed = (middle, missed) if middle.excess <= 0 else (met, middle)
        # below 0: W is all but singular
        return math.inf if met is None or met.gap <= -allowed else max(met.gap, 0.0)

    def _excess(self, A: Float[np.ndarray, "p p"]) -> float:
        """λ mix tr (λI + A)⁻¹ / p - 1, at most 0 where f* ≥ H(q) follows; infinite where λI + A is indefinite.

        Infinite too without an A: the similarities can overflow at the length where the bound is looked for.
        """
        if not np.isfinite(A).all():
            return math.inf
        values = np.linalg.eigvalsh(A) + self.objective.lmbda
        return self.objective.lmbda * self.objective.mix * float(np.mean(1 / values)) - 1 if values[0] > 0 else math.inf

    def _local_slope(
        self, at: Evaluation, W: Float[np.ndarray, "p p"], A: Float[np.ndarray, "p p"]
    ) -> tuple[Float[np.ndarray, "p p"] | float, float]:
        """The slope of the local term toward M, from ∂f/∂W = 2 ∂f/∂M W, and its product with M; 0 without one."""
        if self.objective.local is None:
            return 0.0, 0.0
        W = W.astype(np.float64)
        dW = at.dW - self.objective.lmbda * penalty(W, self.objective.mix)[1] - 2 * A @ W
        try:
            half = np.linalg.solve(W, dW.T)
        except np.linalg.LinAlgError:
            return math.nan, math.nan
        return (half + half.T) / 4, dot(dW, W) / 2


class GapEstimate(DualityGap):
    """The estimate alone, for fits that need no bound: a gap costs as much as four evaluations.

    It is taken four times, since it can be as much too small some steps away from the optimum.
    """

    def estimate(self, at: Evaluation, W: Float[np.ndarray, "p p"]) -> float:
        """Four times that of the gap."""
        return 4 * super().estimate(at, W)

    def gap(self, at: Evaluation, W: Float[np.ndarray, "p p"], allowed: float) -> float:
        """The same."""
        return self.estimate(at, W)


@dataclass(frozen=True, eq=False)
class _Dual:
    """Probabilities q for every answer: f - H(q), A(q), and how far they are from feasible (at most 0: they are)."""

    gap: float
    A: Float[np.ndarray, "p p"]
    excess: float

    def toward(self, missed: _Dual) -> float:
        """Where between this and an infeasible q a line through both excesses is a little below 0."""
        if not math.isfinite(missed.excess):
            return 0.5
        return min(max(-0.9 * self.excess / (missed.excess - self.excess), 0.05), 0.95)


def best_scale(choices: ChoiceLoss, Z: Float[np.ndarray, "n q"], cost: float = 0.0) -> tuple[float, bool]:
    """The c > 0 that minimises L_global of c Z plus c² · `cost`, to about half a percent, and whether it is all but 0.

    L is convex in m = c², so this is the root of one increasing derivative: Newton's method in log m, kept inside a
    bracket. Where the root is at 0 (features without information about the answers) a small scale is returned, since
    W = 0 is stationary.

    Parameters
    ----------
    Z : (n, q) array
        An embedding of the objects; X for the scale of the identity.
    cost : float
        What the penalty adds to dL/dm: λ (1 - mix) p for the identity, λ ‖V‖² for columns V.
    """
    derivatives, mean_square = choices.along_scales(Z), float(np.sum(Z * Z, dtype=np.float64)) / len(Z)
    low, high = math.log(_SMALLEST / mean_square), math.log(1 / mean_square) + 40
    at, step = math.log(1 / mean_square), math.inf
    while abs(step) > _CLOSE / 2 and high - low > _CLOSE:
        slope, bend = derivatives(math.exp(at))
        slope += cost
        low, high = (at, high) if slope < 0 else (low, at)
        fall = -slope / max(bend * math.exp(at), 1e-300)
        new = at + max(-2.0, min(2.0, fall))
        step, at = new - at, new if low < new < high else (low + high) / 2
    return math.exp(at / 2), at - math.log(_SMALLEST / mean_square) < 0.1


def lambda_max(choices: ChoiceLoss, mix: float = 0.0) -> float:
    """The smallest λ whose optimum is W = 0.

    With a_i the eigenvalues of sym ∂L/∂M at M = 0, that of `naive` (`mix` 0) is -min a_i, or 0 if that is negative.
    With 0 < mix < 1 the slope at M = 0 toward W² is smallest where W shares these eigenvectors, with eigenvalues w:

        Σ (a_i + λ) w_i² - λ mix (Σ w_i)² / p  ≥  0 for all w     ⟺     λ > -min a_i  and  λ mix Σ 1 / (a_i + λ) ≤ p

    Parameters
    ----------
    choices : ChoiceLoss
        In float64.
    mix : float
        Mix of the penalty, 0 to below 1.
    """
    a = np.linalg.eigvalsh(choices.slopes(np.zeros((choices.X.shape[1], 1), choices.X.dtype)).M)
    low = max(0.0, -float(a[0]))
    high = low / (1 - mix)  # there λ mix / (a_i + λ) is at most 1 for every i; without mix, or at 0, it is low itself
    for _ in range(60 if mix else 0):
        middle = (low + high) / 2
        trivial = middle * mix * float((1 / (a + middle)).mean()) <= 1
        low, high = (low, middle) if trivial else (middle, high)
    return high
