"""How far the optimum is: the best scale, the λ from which on it is 0, gaps and estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from glocal.objective import AnswerSums, ChoiceLoss, Evaluation, Objective, penalty
from glocal.similarity import Square, Values

_MAX_REFINEMENTS = 4
_SCALE_MARGINS = (0.5, 4.0)  # in units of the allowed gap; the first usually suffices
_MIN_MEAN_SQUARE = 1e-2  # least mean squared length of the scaled rows that is searched
_MAX_LOG_SCALE_ERROR = 1e-2  # largest error of log c²


def identity_scale(objective: Objective, lengths: Values | None = None) -> tuple[float, bool]:
    """The c > 0 for which cI minimises an objective, and whether it is essentially 0.

    With `lengths` l it is the c of c diag(l), with nearly the penalty of cI. L_local is the same
    for every c, and R(cI) = (1 - mix) p c². L_global is convex in m = c², so that c follows from
    the root of one increasing derivative. If the root is at 0 (the features have no information
    about the answers), a small scale is returned, since W = 0 is stationary.
    """
    X = objective.choices.X if lengths is None else objective.choices.X * lengths
    cost = objective.lmbda * (1 - objective.mix) * X.shape[1] / objective.global_weight
    sums_at = objective.choices.at(X)
    mean_square = float(np.sum(X * X, dtype=np.float64)) / len(X)

    def slopes(m: float) -> tuple[float, float]:
        sums = sums_at(m)
        return sums.slope / m + cost, sums.curvature / m

    start = math.log(1 / mean_square)
    lowest = math.log(_MIN_MEAN_SQUARE / mean_square)
    m = increasing_root(slopes, start, lowest, start + 40)
    return m**0.5, math.log(m) - lowest < 0.1


def increasing_root(
    slopes: Callable[[float], tuple[float, float]], start: float, low: float, high: float
) -> float:
    """The m > 0 at which an increasing derivative f'(m) is 0, to about half a percent.

    Newton's method in log m begins at `start` and stays inside the bracket from `low` to `high`,
    all in log m. `slopes` maps m to f'(m) and m f''(m).
    """
    log_m = start
    step = math.inf
    while abs(step) > _MAX_LOG_SCALE_ERROR / 2 and high - low > _MAX_LOG_SCALE_ERROR:
        slope, curvature = slopes(math.exp(log_m))
        if slope < 0:
            low = log_m
        else:
            high = log_m
        target = log_m + max(-2.0, min(2.0, -slope / max(curvature, 1e-300)))
        step = target - log_m
        log_m = target if low < target < high else (low + high) / 2
    return math.exp(log_m)


def lambda_max(choices: ChoiceLoss, mix: float = 0.0) -> float:
    """The smallest λ whose optimum is W = 0.

    Let a_i be the eigenvalues of sym ∂L/∂M at M = 0. For `naive` (`mix` 0) the result is -min a_i,
    or 0 if this is negative. For 0 < mix < 1 the slope at M = 0 toward W² is smallest if W has the
    same eigenvectors. With eigenvalues w of W, the optimum is W = 0 if

        Σ (a_i + λ) w_i² - λ mix (Σ w_i)² / p  ≥  0 for all w
        ⟺     λ > -min a_i  and  λ mix Σ 1 / (a_i + λ) ≤ p

    `choices` are the loss of the answers, whose precision becomes float64, and `mix` is the mix of
    the penalty, 0 to below 1.
    """
    choices = choices.double()
    zero = np.zeros((choices.X.shape[1], 1), choices.X.dtype)
    a = np.linalg.eigvalsh(choices.derivatives(zero)[1])
    low = max(0.0, -float(a[0]))
    if mix == 0:
        return low
    high = low / (1 - mix)  # at this λ every λ mix / (a_i + λ) is at most 1
    for _ in range(60):
        middle = (low + high) / 2
        is_trivial = middle * mix * float((1 / (a + middle)).mean()) <= 1
        if is_trivial:
            high = middle
        else:
            low = middle
    return high


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
        return norm(dW + dW.T) / 2 * norm(W)

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
        longest_row = math.sqrt(float(np.einsum("ij,ij->i", W, W).max()))
        c = max(abs(float(np.trace(W))) / len(W), 1e-300)
        curvature = 4 * self.objective.lmbda * self.objective.mix * c
        estimate = dot(evaluation.dW, evaluation.dW) * longest_row / curvature
        return estimate if self.certified else 4 * estimate

    def gap(self, evaluation: Evaluation, W: Square, allowed: float) -> float:
        """An upper bound on f(W) - f*, in nats; inf if no feasible dual point was found.

        For a fit that is not `certified` it is the estimate.
        """
        if not self.certified:
            return self.estimate(evaluation, W)
        sums, dM = self.objective.choices.derivatives(W)
        scaling = self._scaling(evaluation, W, sums, dM)
        start = self._dual_point(scaling, sums, dM)
        has_bound = scaling.curvature > 0 and np.isfinite(start.A).all()
        if not has_bound:
            return math.inf
        if start.is_feasible and start.gap <= allowed:
            return max(start.gap, 0.0)
        points = [start, *self._scaled_points(scaling, W, start.violation, allowed)]
        gap = _least_gap(points, self._violation, allowed)
        is_nearly_singular = gap <= -allowed
        return math.inf if is_nearly_singular else max(gap, 0.0)

    def _scaling(self, evaluation: Evaluation, W: Square, sums: AnswerSums, dM: Square) -> _Scaling:
        """How f changes with the scale of M, from the sums and ∂L/∂M at W."""
        weight = self.objective.global_weight
        local_dM, local_slope = self._local_derivative(evaluation, W, weight * dM)
        linear_terms = self.objective.lmbda * evaluation.parts["penalty"] + local_slope
        return _Scaling(
            value=weight * sums.loss + linear_terms,
            local_dM=local_dM,
            slope=weight * sums.slope + linear_terms,
            curvature=weight * sums.curvature,
        )

    def _dual_point(self, scaling: _Scaling, sums: AnswerSums, dM: Square) -> _DualPoint:
        """The dual point that is the softmax of similarities, with the sums and ∂L/∂M there."""
        weight = self.objective.global_weight
        A = weight * dM + scaling.local_dM
        return _DualPoint(scaling.value - weight * sums.entropy, A, self._violation(A))

    def _scaled_points(
        self, scaling: _Scaling, W: Square, violation: float, allowed: float
    ) -> Iterator[_DualPoint]:
        """Softmaxes of mS until one is feasible, with m from the minimum of f(mM) on.

        `violation` belongs to the softmax of S, which may be feasible itself.
        """
        m_lowest = 1 - scaling.slope / scaling.curvature  # a Newton step
        if violation > 0:
            m_lowest = max(m_lowest, 1.0)
        for margin in _SCALE_MARGINS:
            m = max(m_lowest + margin * allowed / scaling.curvature, 0.25)
            with np.errstate(over="ignore", invalid="ignore"):  # `_violation` reports overflow
                point = self._dual_point(
                    scaling, *self.objective.choices.derivatives(math.sqrt(m) * W)
                )
            yield point
            if min(violation, point.violation) <= 0:
                return

    def _violation(self, A: Square) -> float:
        """λ mix tr (λI + A)⁻¹ / p - 1, which is at most 0 if the bound f* ≥ H(q) holds.

        It is infinite if λI + A is not positive definite, or if A is not finite because the
        similarities overflowed.
        """
        if not np.isfinite(A).all():
            return math.inf
        eigenvalues = np.linalg.eigvalsh(A) + self.objective.lmbda
        if eigenvalues[0] <= 0:
            return math.inf
        return self.objective.lmbda * self.objective.mix * float(np.mean(1 / eigenvalues)) - 1

    def _local_derivative(
        self, evaluation: Evaluation, W: Square, A: Square
    ) -> tuple[Square | float, float]:
        """∂f/∂M of the local term, from ∂f/∂W = 2 ∂f/∂M W, and its inner product with M.

        Both are NaN if W is singular.
        """
        if self.objective.local is None:
            return 0.0, 0.0
        W = W.astype(np.float64)
        shrinkage_dW = self.objective.lmbda * penalty(W, self.objective.mix)[1]
        dW = evaluation.dW - shrinkage_dW - 2 * A @ W
        try:
            twice_dM = np.linalg.solve(W, dW.T)
        except np.linalg.LinAlgError:
            return math.nan, math.nan
        return (twice_dM + twice_dM.T) / 4, dot(dW, W) / 2


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
        H = self.objective.choices.double().derivatives(W)[1] + lmbda * np.eye(len(W))
        excess_slope = max(0.0, -float(np.linalg.eigvalsh(H)[0]))
        return abs(dot(H @ W, W)) + excess_slope * evaluation.value / lmbda


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
    points: Sequence[_DualPoint], violation: Callable[[np.ndarray], float], allowed: float
) -> float:
    """Mix a feasible and an infeasible point until the gap of a feasible mixture is allowed.

    The weight of a mixture comes from a straight line through both violations, at a value below 0.
    The gap is infinite if no point is feasible.
    """
    feasible = next((point for point in reversed(points) if point.is_feasible), None)
    infeasible = next((point for point in reversed(points) if not point.is_feasible), None)
    if feasible is None or infeasible is None:
        return math.inf if feasible is None else feasible.gap
    for _ in range(_MAX_REFINEMENTS):
        if feasible.gap <= allowed:
            break
        gap, A, excess = feasible
        share = 0.5
        if math.isfinite(infeasible.violation):
            share = min(max(-0.9 * excess / (infeasible.violation - excess), 0.05), 0.95)
        A = A + share * (infeasible.A - A)
        point = _DualPoint(gap + share * (infeasible.gap - gap), A, violation(A))
        if point.is_feasible:
            feasible = point
        else:
            infeasible = point
    return feasible.gap


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """⟨x, y⟩ of arrays in C order, as a Python number.

    A NumPy float64 would turn float32 arrays into float64.
    """
    return float(np.dot(x.ravel(), y.ravel()))


def norm(x: np.ndarray) -> float:
    """‖x‖_F."""
    return math.sqrt(dot(x, x))
