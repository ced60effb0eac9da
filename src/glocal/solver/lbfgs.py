"""L-BFGS with backtracking on symmetric W, stopped by a criterion."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from glocal.objective import Evaluation
from glocal.similarity import Square, Values
from glocal.solver.gap import Criterion, FirstOrderEstimate
from glocal.solver.symmetric import Vectors, dot, is_definite, norm, symmetric_start

Status = Literal["converged", "budget", "stalled"]
OnStep = Callable[[int, Evaluation], None]
"""A callback for progress, called with the number of evaluations so far, and the last one."""
Pairs = tuple[tuple[np.ndarray, np.ndarray, float], ...]
"""L-BFGS pairs: steps s and gradient changes y, each with 1/⟨s, y⟩."""

_MAX_STAGNANT_STEPS = 20
_MAX_PAIRS = 30  # steps and gradient changes that the inverse Hessian remembers
_MAX_TRIALS = 20  # step lengths that one line search tries
_MIN_DECREASE = 1e-4  # least share of the decrease that the slope predicts (Armijo)


@dataclass
class Counter:
    """Count the evaluations of a run, over all its fits, and report each step.

    Parameters
    ----------
    on_step : function or None
        Called with the number of evaluations so far, and the last one.

    Attributes
    ----------
    evaluations : int
        The number of evaluations so far.
    """

    on_step: OnStep | None = None
    evaluations: int = 0

    def __call__(self, evaluation: Evaluation, evaluations: int = 1) -> None:
        """Count a step that took this number of `evaluations` and ended at `evaluation`."""
        self.evaluations += evaluations
        if self.on_step is not None:
            self.on_step(self.evaluations, evaluation)


@dataclass(frozen=True, eq=False)
class SolverResult:
    """The last iterate of a solver, and why it stopped.

    `evaluation` is the objective at W. `status` is ``"converged"`` (gap ≤ tol · |f|), ``"budget"``
    (all evaluations are spent) or ``"stalled"`` (no step lowers f any more). `gap` is None if no
    bound was found. `pairs` define the inverse Hessian.
    """

    W: Square
    evaluation: Evaluation
    status: Status
    gap: float | None
    evaluations: int
    pairs: Pairs = ()

    def reason(self, tol: float, measure: str = "gap") -> str:
        """The status in words: the gap, named `measure`, the allowed gap, and what to do."""
        result = "no bound on the distance from the optimum was found"
        if self.gap is not None:
            allowed = allowed_gap(self.evaluation, tol)
            comparison = "at most" if self.gap <= allowed else "above"
            result = f"{measure} {self.gap:.3g} is {comparison} {allowed:.3g}"
        result += f" after {self.evaluations} evaluations"
        if self.status == "budget":
            return f"{result}; the evaluation budget is spent: raise `max_evaluations`, or `tol`"
        if self.status == "stalled":
            is_single = self.evaluation.dW.dtype == np.float32
            advice = 'set `dtype="float64"`, or raise `tol`' if is_single else "raise `tol`"
            return f"{result}; no step lowers the objective any further: {advice}"
        return result


def minimise(
    objective: Callable[[np.ndarray], Evaluation],
    W: Square,
    criterion: Criterion | None = None,
    moments: Values | None = None,
    *,
    tol: float = 1e-5,
    max_evaluations: int = 1000,
    pairs: Pairs = (),
    counter: Counter | None = None,
) -> SolverResult:
    """Minimise an objective of a symmetric W.

    Every term of the paper depends on W only through W Wᵀ, and the penalties are smallest at the
    symmetric W. Searching only symmetric W therefore loses nothing. The same holds for any loss of
    the similarities of Z = X̃ W.

    In the principal axes of the objects, with second moments s, the initial inverse Hessian is
    γ / ((s_k + s_l)/2 + 3) for W_kl, with γ from the last step. A step is shortened until f falls.
    A step whose gradient change shows no positive curvature is not remembered. If no step lowers f
    and W is not definite, (W Wᵀ)^½ takes its place: it is lower if W is a saddle, and if W is
    singular, the descent may go on without the old curvature.

    Parameters
    ----------
    objective : function
        Maps W to an `Evaluation`: f(W), its parts by name, and ∂f/∂W, whose symmetric part is used.
        It may be `glocal.objective.Objective` or a function of your own. f should have a continuous
        derivative, and be infinite or NaN where it is not defined.
    W : (p, p) array, float32 or float64
        The start, a symmetric matrix; the descent has its precision. It must not be
        singular, since no step leaves a direction in which W is 0.
    criterion : Criterion or None
        The distance from the optimum that `tol` limits; None is `FirstOrderEstimate`.
    moments : (p,) array or None
        Diagonal preconditioner: the second moments s of the objects along their principal axes,
        if W is in these axes. For an axis dominated by the mean, the geometric mean of second
        moment and variance. None means 1 for each.
    tol : float
        Relative tolerance on the objective, above 0; see `allowed_gap`.
    max_evaluations : int
        The largest number of evaluations, at least 1.
    pairs : tuple
        `SolverResult.pairs` of a neighbouring objective, whose Hessian resembles this one.
    counter : Counter or None
        Counts the evaluations of this fit too, and reports each step.

    Returns
    -------
    SolverResult
        Its `gap` is measured by the criterion.

    References
    ----------
    Nocedal (1980), Math. Comp. 35:773.
    """
    hessian = _InverseHessian(Vectors(len(W), W.dtype).diagonal(moments), pairs)
    budget = _Budget(counter or Counter(), max_evaluations)
    descent = _Descent(objective, W, criterion or FirstOrderEstimate(), hessian, budget, tol)
    status: Status | None = None
    while status is None:
        if descent.is_converged():
            status = "converged"
        elif descent.step():
            continue
        elif not budget.remaining:
            status = "budget"
        elif descent.is_at_saddle():
            descent.restart()
        elif descent.has_old_curvature():
            hessian.pairs.clear()
        else:
            status = "stalled"
    return descent.result(status)


def allowed_gap(evaluation: Evaluation, tol: float) -> float:
    """The largest gap of a converged fit: tol · |f|, with |f| at least the machine epsilon.

    It is 0 if f is not finite: such a fit never counts as converged.
    """
    if not math.isfinite(evaluation.value):
        return 0.0
    return tol * max(abs(evaluation.value), float(np.finfo(evaluation.dW.dtype).eps))


class _Budget:
    """Counts the evaluations of a descent, up to a maximum."""

    def __init__(self, counter: Counter, max_evaluations: int) -> None:
        self.counter = counter
        self._first = counter.evaluations
        self._max_evaluations = max_evaluations

    @property
    def spent(self) -> int:
        """The number of evaluations so far."""
        return self.counter.evaluations - self._first

    @property
    def remaining(self) -> int:
        """The number of evaluations that are left, at least 0."""
        return max(0, self._max_evaluations - self.spent)


class _Descent:
    """A descent: its last iterate, its curvature, and when its gap is measured next."""

    def __init__(
        self,
        objective: Callable[[np.ndarray], Evaluation],
        W: Square,
        criterion: Criterion,
        hessian: _InverseHessian,
        budget: _Budget,
        tol: float,
    ) -> None:
        self._objective = objective
        self._criterion = criterion
        self._hessian = hessian
        self._budget = budget
        self._tol = tol
        self._vectors = Vectors(len(W), W.dtype)
        self._last_restart = math.inf
        self._gap: float | None = None
        self._begin(W)

    def _begin(self, W: Square) -> None:
        """Go on from W as from a start."""
        self._current = self._evaluate(W, self._vectors.pack(W))
        self._measure = _GapMeasure(self._criterion, self._tol)
        self._stagnation = _Stagnation(self._current.f.value, norm(self._current.g))

    def _evaluate(self, W: np.ndarray, x: np.ndarray) -> _Iterate:
        f = self._objective(W)
        self._budget.counter(f)
        return _Iterate(W, f, x, self._vectors.pack(f.dW))

    @property
    def _allowed(self) -> float:
        return allowed_gap(self._current.f, self._tol)

    def is_converged(self) -> bool:
        """Whether the gap was measured, and is allowed."""
        self._gap = self._measure(self._current.f, self._current.W)
        return self._gap is not None and bool(self._gap <= self._allowed)

    def step(self) -> bool:
        """Take a step that lowers f, and return whether there is one."""
        if self._stagnation.is_reached:
            return False
        remaining = self._budget.remaining
        step = _line_search(self._evaluate, self._vectors, self._current, self._hessian, remaining)
        if step is None:
            return False
        self._hessian.learn(step.x - self._current.x, step.g - self._current.g)
        self._stagnation.see(step)
        self._current = step
        return True

    def is_at_saddle(self) -> bool:
        """Whether W is not definite, and f is lower than at the last restart."""
        is_lower = bool(self._current.f.value < self._last_restart)
        return is_lower and not is_definite(self._current.W)

    def restart(self) -> None:
        """Go on from (W Wᵀ)^½ without the old curvature."""
        self._last_restart = self._current.f.value - rounding_error(self._current)
        self._begin(symmetric_start(self._current.W))
        self._hessian.pairs.clear()

    def has_old_curvature(self) -> bool:
        """Whether steps are remembered that may be why no step lowers f."""
        return bool(self._hessian.pairs) and not self._stagnation.is_reached

    def result(self, status: Status) -> SolverResult:
        """The last iterate; it may have converged although its estimate was too large to see it."""
        current = self._current
        gap = self._gap
        if gap is None:
            gap = self._criterion.gap(current.f, current.W, self._allowed)
            status = "converged" if gap <= self._allowed else status
        bound = gap if gap < math.inf else None
        pairs = tuple(self._hessian.pairs)
        return SolverResult(current.W, current.f, status, bound, self._budget.spent, pairs)


@dataclass
class _GapMeasure:
    """The gap, which is expensive and only measured if the free estimate is small enough."""

    criterion: Criterion
    tol: float
    max_estimate: float = math.inf

    def __call__(self, evaluation: Evaluation, W: np.ndarray) -> float | None:
        """The gap at W, or None if the estimate is too large."""
        allowed = allowed_gap(evaluation, self.tol)
        estimate = self.criterion.estimate(evaluation, W)
        if estimate > min(2 * allowed, self.max_estimate):
            return None
        gap = self.criterion.gap(evaluation, W, allowed)
        # measure again when the estimate has fallen by the factor by which this gap is too large
        factor = max(0.1, min(0.9, allowed / gap)) if 0 < gap < math.inf else 0.5
        self.max_estimate = estimate * factor
        return gap


class _Iterate(NamedTuple):
    """A point of the descent: W, f with ∂f/∂W, and both matrices as vectors x and g."""

    W: np.ndarray
    f: Evaluation
    x: np.ndarray
    g: np.ndarray


def rounding_error(current: _Iterate) -> float:
    """The rounding error of f."""
    return float(np.finfo(current.x.dtype).eps) * abs(current.f.value)


@dataclass
class _Stagnation:
    """Count the steps in a row without progress.

    A step makes progress if f falls by more than rounding error, or its gradient by a tenth.
    """

    lowest_value: float
    smallest_gradient: float
    steps: int = 0

    @property
    def is_reached(self) -> bool:
        """Whether there were so many such steps that more of them would not help."""
        return self.steps >= _MAX_STAGNANT_STEPS

    def see(self, current: _Iterate) -> None:
        """Take a step into account."""
        value = current.f.value
        gradient = norm(current.g)
        is_progress = (
            value < self.lowest_value - rounding_error(current)
            or gradient < 0.9 * self.smallest_gradient
        )
        self.steps = 0 if is_progress else self.steps + 1
        self.lowest_value = min(self.lowest_value, value)
        self.smallest_gradient = min(self.smallest_gradient, gradient)


def _line_search(
    evaluate: Callable[[np.ndarray, np.ndarray], _Iterate],
    vectors: Vectors,
    current: _Iterate,
    hessian: _InverseHessian,
    max_evaluations: int,
) -> _Iterate | None:
    """Shorten a quasi-Newton step until it lowers f; None if no step does."""
    f = current.f.value
    direction = -hessian(current.g)
    slope = dot(current.g, direction)
    if not slope < 0:
        return None
    rounding = rounding_error(current)
    t = 1.0 if hessian.pairs else 0.1 * norm(current.x) / max(norm(direction), 1e-300)
    for _ in range(min(_MAX_TRIALS, max_evaluations)):
        x = current.x + t * direction
        trial = evaluate(vectors.unpack(x), x)
        is_finite = math.isfinite(trial.f.value)
        if is_finite and trial.f.value <= f + _MIN_DECREASE * t * slope + rounding:
            return trial
        excess = trial.f.value - f - t * slope
        if math.isfinite(excess) and excess > 0:
            # to the minimum of the parabola through f, its slope and this value
            t *= max(0.1, min(0.5, -slope * t / (2 * excess)))
        else:
            t *= 0.1
    return None


class _InverseHessian:
    """The two-loop recursion over remembered pairs, around a diagonal preconditioner."""

    def __init__(self, diagonal: np.ndarray, pairs: Pairs) -> None:
        self.pairs = deque(pairs, maxlen=_MAX_PAIRS)
        self._diagonal = diagonal
        self._product = np.empty_like(diagonal)

    def learn(self, s: np.ndarray, y: np.ndarray) -> None:
        """Remember a step and its gradient change, unless their curvature is lost in rounding."""
        curvature = dot(s, y)
        if curvature > float(np.finfo(s.dtype).eps) * norm(s) * norm(y):
            self.pairs.append((s, y, 1 / curvature))

    def __call__(self, g: np.ndarray) -> np.ndarray:
        """The inverse Hessian times g; q, α, ρ, s and y as in Nocedal (1980)."""
        q = g.copy()
        alphas: list[float] = []
        for s, y, rho in reversed(self.pairs):
            alpha = rho * dot(s, q)
            alphas.append(alpha)
            q -= np.multiply(y, alpha, out=self._product)
        q *= self._diagonal
        if self.pairs:
            _, y, rho = self.pairs[-1]
            q /= rho * dot(y, np.multiply(self._diagonal, y, out=self._product))
        for (s, y, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            beta = rho * dot(y, q)
            q += np.multiply(s, alpha - beta, out=self._product)
        return q
