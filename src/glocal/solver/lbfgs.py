"""L-BFGS with backtracking on symmetric W, stopped by a criterion."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from glocal.objective import Evaluation
from glocal.similarity import Square, Values
from glocal.solver.gap import Criterion, FirstOrderEstimate
from glocal.solver.result import Counter, Pairs, SolverResult, Status, allowed_gap
from glocal.solver.symmetric import Vectors, dot, is_definite, norm, symmetric_start

_MAX_STAGNANT_STEPS = 20
_MAX_PAIRS = 30  # steps and gradient changes that the inverse Hessian remembers
_MAX_TRIALS = 20  # step lengths that one line search tries
_MIN_DECREASE = 1e-4  # least share of the decrease that the slope predicts (Armijo)


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
    vectors = Vectors(len(W), W.dtype)
    diagonal = vectors.diagonal(moments)
    hessian = _InverseHessian(diagonal, pairs)
    criterion = criterion or FirstOrderEstimate()
    counter = counter or Counter()
    budget = _Budget(counter, max_evaluations)
    descent = _Descent(objective, W, criterion, hessian, budget, tol)
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
        remaining = self._max_evaluations - self.spent
        return max(0, remaining)


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
        x = self._vectors.pack(W)
        start = self._evaluate(W, x)
        gradient = norm(start.g)
        self._current = start
        self._measure = _GapMeasure(self._criterion, self._tol)
        self._stagnation = _Stagnation(start.f.value, gradient)

    def _evaluate(self, W: np.ndarray, x: np.ndarray) -> _Iterate:
        f = self._objective(W)
        self._budget.counter(f)
        g = self._vectors.pack(f.dW)
        return _Iterate(W, f, x, g)

    @property
    def _allowed(self) -> float:
        return allowed_gap(self._current.f, self._tol)

    def is_converged(self) -> bool:
        """Whether the gap was measured, and is allowed."""
        current = self._current
        self._gap = self._measure(current.f, current.W)
        if self._gap is None:
            return False
        return bool(self._gap <= self._allowed)

    def step(self) -> bool:
        """Take a step that lowers f, and return whether there is one."""
        if self._stagnation.is_reached:
            return False
        current = self._current
        step = _line_search(
            self._evaluate,
            self._vectors,
            current,
            self._hessian,
            max_evaluations=self._budget.remaining,
        )
        if step is None:
            return False
        s = step.x - current.x
        y = step.g - current.g
        self._hessian.learn(s, y)
        self._stagnation.see(step)
        self._current = step
        return True

    def is_at_saddle(self) -> bool:
        """Whether W is not definite, and f is lower than at the last restart."""
        current = self._current
        is_lower = bool(current.f.value < self._last_restart)
        return is_lower and not is_definite(current.W)

    def restart(self) -> None:
        """Go on from (W Wᵀ)^½ without the old curvature."""
        current = self._current
        start = symmetric_start(current.W)
        self._last_restart = current.f.value - rounding_error(current)
        self._begin(start)
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
            if gap <= self._allowed:
                status = "converged"
        bound = gap if gap < math.inf else None
        pairs = tuple(self._hessian.pairs)
        return SolverResult(
            current.W,
            current.f,
            status,
            bound,
            self._budget.spent,
            pairs,
        )


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
        limit = min(2 * allowed, self.max_estimate)
        if estimate > limit:
            return None
        gap = self.criterion.gap(evaluation, W, allowed)
        # measure again when the estimate has fallen by the factor by which this gap is too large
        factor = 0.5
        if 0 < gap < math.inf:
            factor = min(0.9, allowed / gap)
            factor = max(0.1, factor)
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
    dtype = current.x.dtype
    epsilon = float(np.finfo(dtype).eps)
    return epsilon * abs(current.f.value)


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
        is_lower = value < self.lowest_value - rounding_error(current)
        is_flatter = gradient < 0.9 * self.smallest_gradient
        if is_lower or is_flatter:
            self.steps = 0
        else:
            self.steps += 1
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
    t = 1.0
    if not hessian.pairs:
        length = max(norm(direction), 1e-300)
        t = 0.1 * norm(current.x) / length
    max_trials = min(_MAX_TRIALS, max_evaluations)
    for _ in range(max_trials):
        x = current.x + t * direction
        W = vectors.unpack(x)
        trial = evaluate(W, x)
        value = trial.f.value
        highest = f + _MIN_DECREASE * t * slope + rounding
        if math.isfinite(value) and value <= highest:
            return trial
        excess = value - f - t * slope
        t *= _shortening(t * slope, excess)
    return None


def _shortening(decrease: float, excess: float) -> float:
    """The factor by which a step that failed becomes shorter.

    `decrease` is the change of f that the slope predicts, and `excess` what f was above it. The
    step goes to the minimum of the parabola through f, its slope and the value after the step.
    """
    if not math.isfinite(excess) or excess <= 0:
        return 0.1
    factor = min(0.5, -decrease / (2 * excess))
    return max(0.1, factor)


class _InverseHessian:
    """The two-loop recursion over remembered pairs, around a diagonal preconditioner."""

    def __init__(self, diagonal: np.ndarray, pairs: Pairs) -> None:
        self.pairs = deque(pairs, maxlen=_MAX_PAIRS)
        self._diagonal = diagonal
        self._product = np.empty_like(diagonal)

    def learn(self, s: np.ndarray, y: np.ndarray) -> None:
        """Remember a step and its gradient change, unless their curvature is lost in rounding."""
        curvature = dot(s, y)
        epsilon = float(np.finfo(s.dtype).eps)
        rounding = epsilon * norm(s) * norm(y)
        if curvature > rounding:
            rho = 1 / curvature
            self.pairs.append((s, y, rho))

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
            scaled_y = np.multiply(self._diagonal, y, out=self._product)
            q /= rho * dot(y, scaled_y)
        for (s, y, rho), alpha in zip(self.pairs, reversed(alphas), strict=True):
            beta = rho * dot(y, q)
            q += np.multiply(s, alpha - beta, out=self._product)
        return q
