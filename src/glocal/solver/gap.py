"""How far the optimum is: bounds and estimates of the gap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from glocal.objective import AnswerSums, Evaluation, Objective, penalty
from glocal.similarity import Square
from glocal.solver.symmetric import dot, norm

_MAX_REFINEMENTS = 4
_SCALE_MARGINS = (0.5, 4.0)  # in units of the allowed gap; the first usually suffices
_SMALLEST = 1e-300  # keeps a division finite
_MIN_SCALE = 0.25  # least scale m at which a dual point is taken


@runtime_checkable
class Criterion(Protocol):
    """A measure of the distance from the optimum.

    `DualityGap`, or `NaiveGap` for `naive`, bounds it; `FirstOrderEstimate` serves any objective.
    """

    def estimate(self, evaluation: Evaluation, W: np.ndarray) -> float:
        """An estimate of the gap that costs nothing."""
        ...

    def gap(self, evaluation: Evaluation, W: np.ndarray, allowed: float) -> float:
        """The gap; `allowed` is the largest that is accepted."""
        ...


class FirstOrderEstimate:
    """‖sym ∂f/∂W‖_F ‖W‖_F: how far f falls, to first order, over a step as long as W.

    Any objective has this estimate, in the unit of f. It is no bound on the distance from the
    optimum.

    References
    ----------
    Dennis & Schnabel (1983), Numerical Methods for Unconstrained Optimization, section 7.2.
    """

    def estimate(self, evaluation: Evaluation, W: np.ndarray) -> float:
        """The estimate at W."""
        dW = evaluation.dW
        slope = norm(dW + dW.T) / 2
        return slope * norm(W)

    def gap(self, evaluation: Evaluation, W: np.ndarray, allowed: float) -> float:
        """The same estimate, since there is no bound."""
        return self.estimate(evaluation, W)


@dataclass(frozen=True, eq=False)
class DualityGap:
    """The duality gap of an objective that shrinks W toward scaled identities, λ > 0 and mix > 0.

    With M = W Wᵀ and any probabilities q over the candidate pairs of each answer,

        L(M) ≥ ⟨A(q), M⟩ + H(q),     A(q) = Σ w Σ_ij (q_ij - [ij = chosen]) sym(x_i x_jᵀ) / Σ w,

    where H is the weighted mean entropy of q. The two sides are equal if q is the softmax of the
    model. The other terms, ⟨A, M⟩ + λR(M), grow in proportion to M. If they are negative for no M,
    then f* ≥ H(q). With a_i the eigenvalues of A, this is the case if

        λ + a_i > 0  for all i      and      λ mix Σ 1 / (λ + a_i) ≤ p.

    At the optimum the softmax of the model meets both conditions. Near the optimum the softmax at W
    violates them by as much as the length of W differs from the best length. Therefore q is chosen
    on the line between the softmaxes of S and of mS, where m scales M to about the best length.
    A local term is replaced by a term that is linear in M and has the same slope at W. The gap is
    then an estimate, not a bound. docs/method.md derives the gap; see also Boyd & Vandenberghe
    (2004), Convex Optimization, section 5.1.

    A gap costs as much as four evaluations, and a fit that is not `certified` needs no bound. Four
    times the `estimate` then replaces the gap, because some steps away from the optimum the
    estimate can be too small by this factor.
    """

    objective: Objective
    certified: bool = True

    def estimate(self, evaluation: Evaluation, W: Square) -> float:
        """‖∇f‖² max_i ‖w_i‖ / (4 λ mix |c|) with the rows w_i of W and c = tr W / p.

        Near the optimum, but nowhere else, this approximates the gap. A bound on the gap would have
        σ_max(W), which is at least as large, in place of the length of the longest row. A fit that
        is not `certified` takes four times this value.
        """
        squares = np.einsum("ij,ij->i", W, W)
        longest_square = float(squares.max())
        longest_row = math.sqrt(longest_square)
        trace = float(np.trace(W))
        c = abs(trace) / len(W)
        c = max(c, _SMALLEST)
        curvature = 4 * self.objective.lmbda * self.objective.mix * c
        dW = evaluation.dW
        estimate = dot(dW, dW) * longest_row / curvature
        if self.certified:
            return estimate
        return 4 * estimate

    def gap(self, evaluation: Evaluation, W: Square, allowed: float) -> float:
        """An upper bound on f(W) - f*, in nats; inf if no feasible dual point was found.

        For a fit that is not `certified` it is the estimate.
        """
        if not self.certified:
            return self.estimate(evaluation, W)
        sums, dM = self.objective.choices.derivatives(W)
        scaling = self._scaling(evaluation, W, sums, dM)
        start = self._dual_point(scaling, sums, dM)
        is_finite = np.isfinite(start.A)
        has_bound = scaling.curvature > 0 and is_finite.all()
        if not has_bound:
            return math.inf
        if start.is_feasible and start.gap <= allowed:
            return max(start.gap, 0.0)
        points = [start]
        points += self._scaled_points(scaling, W, start.violation, allowed)
        gap = _least_gap(points, self._violation, allowed)
        is_nearly_singular = gap <= -allowed
        if is_nearly_singular:
            return math.inf
        return max(gap, 0.0)

    def _scaling(
        self,
        evaluation: Evaluation,
        W: Square,
        sums: AnswerSums,
        dM: Square,
    ) -> _Scaling:
        """How f changes with the scale of M, from the sums and ∂L/∂M at W."""
        weight = self.objective.global_weight
        global_dM = weight * dM
        local_dM, local_slope = self._local_derivative(evaluation, W, global_dM)
        linear_terms = self.objective.lmbda * evaluation.parts["penalty"]
        linear_terms += local_slope
        value = weight * sums.loss + linear_terms
        slope = weight * sums.slope + linear_terms
        curvature = weight * sums.curvature
        return _Scaling(value, local_dM, slope, curvature)

    def _dual_point(self, scaling: _Scaling, sums: AnswerSums, dM: Square) -> _DualPoint:
        """The dual point that is the softmax of similarities, with the sums and ∂L/∂M there."""
        weight = self.objective.global_weight
        A = weight * dM + scaling.local_dM
        gap = scaling.value - weight * sums.entropy
        violation = self._violation(A)
        return _DualPoint(gap, A, violation)

    def _scaled_points(
        self,
        scaling: _Scaling,
        W: Square,
        violation: float,
        allowed: float,
    ) -> Iterator[_DualPoint]:
        """Softmaxes of mS until one is feasible, with m from the minimum of f(mM) on.

        `violation` belongs to the softmax of S, which may be feasible itself.
        """
        m_lowest = 1 - scaling.slope / scaling.curvature  # a Newton step
        if violation > 0:
            m_lowest = max(m_lowest, 1.0)
        for margin in _SCALE_MARGINS:
            distance = margin * allowed / scaling.curvature
            m = max(m_lowest + distance, _MIN_SCALE)
            scaled_W = math.sqrt(m) * W
            with np.errstate(over="ignore", invalid="ignore"):  # `_violation` reports overflow
                sums, dM = self.objective.choices.derivatives(scaled_W)
                point = self._dual_point(scaling, sums, dM)
            yield point
            is_feasible = violation <= 0 or point.is_feasible
            if is_feasible:
                return

    def _violation(self, A: Square) -> float:
        """λ mix tr (λI + A)⁻¹ / p - 1, which is at most 0 if the bound f* ≥ H(q) holds.

        It is infinite if λI + A is not positive definite, or if A is not finite because the
        similarities overflowed.
        """
        lmbda = self.objective.lmbda
        is_finite = np.isfinite(A)
        if not is_finite.all():
            return math.inf
        eigenvalues = np.linalg.eigvalsh(A) + lmbda
        lowest = eigenvalues[0]
        if lowest <= 0:
            return math.inf
        mean_inverse = float(np.mean(1 / eigenvalues))
        return lmbda * self.objective.mix * mean_inverse - 1

    def _local_derivative(
        self,
        evaluation: Evaluation,
        W: Square,
        global_dM: Square,
    ) -> tuple[Square | float, float]:
        """∂f/∂M of the local term, from ∂f/∂W = 2 ∂f/∂M W, and its inner product with M.

        Both are NaN if W is singular.
        """
        if self.objective.local is None:
            return 0.0, 0.0
        W = W.astype(np.float64)
        _, penalty_dW = penalty(W, self.objective.mix)
        shrinkage_dW = self.objective.lmbda * penalty_dW
        global_dW = 2 * global_dM @ W
        dW = evaluation.dW - shrinkage_dW - global_dW
        try:
            twice_dM = np.linalg.solve(W, dW.T)
        except np.linalg.LinAlgError:
            return math.nan, math.nan
        symmetric = twice_dM + twice_dM.T
        slope = dot(dW, W) / 2
        return symmetric / 4, slope


@dataclass(frozen=True, eq=False)
class NaiveGap:
    """The duality gap of `naive`, L_global + λ tr M, which is convex in M = W Wᵀ.

        f - f* ≤ ⟨H, M⟩ + max(0, -λ_min(H)) · f(M) / λ,    H = sym(∂L/∂M) + λI

    because L is convex in M and λ tr M* ≤ f(M*) ≤ f(M).
    """

    objective: Objective

    def estimate(self, evaluation: Evaluation, W: Square) -> float:
        """|⟨H, M⟩|, which follows from ∂f/∂W = 2HW and costs nothing."""
        return abs(dot(evaluation.dW, W)) / 2

    def gap(self, evaluation: Evaluation, W: Square, allowed: float) -> float:
        """An upper bound on f(W) - f*, in nats, with H in float64."""
        lmbda = self.objective.lmbda
        W = W.astype(np.float64)
        choices = self.objective.choices.double()
        _, dM = choices.derivatives(W)
        H = dM + lmbda * np.eye(len(W))
        eigenvalues = np.linalg.eigvalsh(H)
        lowest = float(eigenvalues[0])
        excess_slope = max(0.0, -lowest)
        slope = abs(dot(H @ W, W))
        return slope + excess_slope * evaluation.value / lmbda


class _Scaling(NamedTuple):
    """f(mM) as a function of the scale m: its value, slope and curvature at m = 1.

    The gap of a point is `value` - H(q); `value` is f(M), with the slope of the local term for its
    value. `local_dM` is the derivative of the local term.
    """

    value: float
    local_dM: Square | float
    slope: float
    curvature: float


class _DualPoint(NamedTuple):
    """A dual point, the probabilities q of every answer: f - H(q), A(q), and their violation."""

    gap: float
    A: Square
    violation: float

    @property
    def is_feasible(self) -> bool:
        """Whether the point gives a bound."""
        return self.violation <= 0


def _least_gap(
    points: Sequence[_DualPoint],
    violation: Callable[[np.ndarray], float],
    allowed: float,
) -> float:
    """Mix a feasible and an infeasible point until the gap of a feasible mixture is allowed.

    The weight of a mixture comes from a straight line through both violations, at a value below 0.
    The gap is infinite if no point is feasible.
    """
    feasible = infeasible = None
    for point in points:
        if point.is_feasible:
            feasible = point
        else:
            infeasible = point
    if feasible is None:
        return math.inf
    if infeasible is None:
        return feasible.gap
    for _ in range(_MAX_REFINEMENTS):
        if feasible.gap <= allowed:
            break
        share = _infeasible_share(feasible, infeasible)
        point = _mixture(feasible, infeasible, share, violation)
        if point.is_feasible:
            feasible = point
        else:
            infeasible = point
    return feasible.gap


def _infeasible_share(feasible: _DualPoint, infeasible: _DualPoint) -> float:
    """The share of the infeasible point in the next mixture."""
    if not math.isfinite(infeasible.violation):
        return 0.5
    difference = infeasible.violation - feasible.violation
    share = -0.9 * feasible.violation / difference
    share = max(share, 0.05)
    return min(share, 0.95)


def _mixture(
    feasible: _DualPoint,
    infeasible: _DualPoint,
    share: float,
    violation: Callable[[np.ndarray], float],
) -> _DualPoint:
    """The point between two, with this share of the infeasible one."""
    gap = feasible.gap + share * (infeasible.gap - feasible.gap)
    A = feasible.A + share * (infeasible.A - feasible.A)
    excess = violation(A)
    return _DualPoint(gap, A, excess)
