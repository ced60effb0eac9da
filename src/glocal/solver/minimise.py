"""L-BFGS with halved steps on symmetric W, stopped by a bound on the distance from the optimum."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from glocal.objective import Evaluation

Status = Literal["converged", "budget", "stalled"]
OnStep = Callable[[int, Evaluation], None]
"""Progress: the number of evaluations so far, and the last one."""
Pairs = tuple[tuple[np.ndarray, np.ndarray, float], ...]
"""Steps s and gradient changes y with 1/⟨s, y⟩."""

_PATIENCE = 20  # steps without progress beyond rounding error
_MEMORY = 30  # pairs of steps and gradient changes


@runtime_checkable
class Criterion(Protocol):
    """How far an iterate is from the optimum: `DualityGap`, or `Stationarity` of `naive`'s columns."""

    def estimate(self, at: Evaluation, W: np.ndarray) -> float:
        """About the gap, in nats, at no cost."""
        ...

    def gap(self, at: Evaluation, W: np.ndarray, allowed: float) -> float:
        """The gap; one of at most `allowed` is small enough."""
        ...


@dataclass(frozen=True, eq=False)
class End:
    """Where the solver ended.

    `status` is ``"converged"`` (gap ≤ tol · |f|), ``"budget"`` (all evaluations spent) or ``"stalled"`` (no step lowers
    f any more); `gap` is None where no bound was found; `pairs` are what the inverse Hessian was built from.
    """

    W: Float[np.ndarray, "p q"]
    at: Evaluation
    status: Status
    gap: float | None
    evaluations: int
    pairs: Pairs = ()


def allowed_gap(at: Evaluation, tol: float) -> float:
    """What a gap may be: tol · |f|, where |f| counts as the rounding of a loss of order 1 if it is below that."""
    return tol * max(abs(at.value), float(np.finfo(at.dW.dtype).eps))


def minimise(
    objective: Callable[[np.ndarray], Evaluation],
    criterion: Criterion,
    W: Float[np.ndarray, "p q"],
    moments: Float[np.ndarray, " p"],
    *,
    tol: float,
    max_evaluations: int,
    symmetric: bool = True,
    pairs: Pairs = (),
    on_step: OnStep | None = None,
) -> End:
    """Minimise an objective from W.

    In the principal axes of the objects, s their second moments, the initial inverse Hessian is γ / ((s_k + s_l)/2 + 3)
    for W_kl, with γ from the last step. A step is shortened until f falls; one whose gradient change shows no curvature
    is forgotten.

    Every term depends on W only through W Wᵀ, and the penalties are smallest at the symmetric W: searching those alone
    loses nothing.

    Parameters
    ----------
    W : (p, q) array
        Symmetric, or (with `symmetric` false) any number of columns. Never 0, which is stationary.
    moments : (p,) array
        s.
    tol : float
        Relative; see `allowed_gap`.
    max_evaluations : int
        At least 1.
    pairs : tuple
        `End.pairs` of a neighbouring objective, whose Hessian resembles this one.

    References
    ----------
    Nocedal (1980), Math. Comp. 35:773.
    """
    form = _Vectors(W.shape, W.dtype, symmetric)
    hessian = _InverseHessian(form.diagonal(moments[:, None].astype(W.dtype)), pairs)
    at, done, idle, worth = objective(W), 1, 0, math.inf
    x, g = form.pack(W), form.pack(at.dW)
    lowest, flattest = at.value, norm(g)
    while True:
        may, estimate, gap = allowed_gap(at, tol), criterion.estimate(at, W), None
        status: Status | None = None
        if estimate <= min(2 * may, worth):  # the gap costs as much as two evaluations
            gap = criterion.gap(at, W, may)
            worth = estimate * (max(0.1, min(0.9, may / gap)) if 0 < gap < math.inf else 0.5)
            status = "converged" if gap <= may else None
        if status is None and done >= max_evaluations:
            status = "budget"
        if status is None:
            step, tried = None, 0
            if idle < _PATIENCE:
                step, tried = _step(objective, form, x, at, g, hessian, max_evaluations - done)
            done += tried
            if step is not None:
                new, at, gradient = step
                hessian.learn(new - x, gradient - g)
                x, g, W = new, gradient, form.unpack(new)
                eps = float(np.finfo(x.dtype).eps)
                gained = at.value < lowest - eps * abs(at.value) or norm(g) < 0.9 * flattest
                idle = 0 if gained else idle + 1
                lowest, flattest = min(lowest, at.value), min(flattest, norm(g))
            elif symmetric and done < max_evaluations and not is_definite(W):  # a saddle: (W Wᵀ)^½ is lower
                W = symmetric_start(W)
                at, done, idle, worth = objective(W), done + 1, 0, math.inf
                x, g = form.pack(W), form.pack(at.dW)
                lowest, flattest = at.value, norm(g)
                hessian.pairs.clear()
            elif hessian.pairs and idle < _PATIENCE:
                hessian.pairs.clear()  # the model of the curvature may be what is wrong
            else:
                status = "budget" if done >= max_evaluations else "stalled"
        if on_step is not None:
            on_step(done, at)
        if status is not None:
            if gap is None:  # the estimate may have been too careful
                gap = criterion.gap(at, W, may)
                status = "converged" if gap <= may else status
            return End(W, at, status, gap if gap < math.inf else None, done, tuple(hessian.pairs))


def _step(
    objective: Callable[[np.ndarray], Evaluation], form: _Vectors, x: np.ndarray, at: Evaluation,
    g: np.ndarray, hessian: _InverseHessian, budget: int,
) -> tuple[tuple[np.ndarray, Evaluation, np.ndarray] | None, int]:  # fmt: skip
    """The first of ever shorter quasi-Newton steps that lowers f, None if none does, and the number of trials."""
    direction = -hessian(g)
    slope, noise = dot(g, direction), float(np.finfo(x.dtype).eps) * abs(at.value)
    if not slope < 0:
        return None, 0
    t = 1.0 if hessian.pairs else 0.1 * norm(x) / max(norm(direction), 1e-300)
    trials = min(20, budget)
    for tried in range(1, trials + 1):
        new = x + t * direction
        there = objective(form.unpack(new))
        if math.isfinite(there.value) and there.value <= at.value + 1e-4 * t * slope + noise:
            return (new, there, form.pack(there.dW)), tried
        fall = there.value - at.value - t * slope  # the parabola through f, its slope and this value
        t *= max(0.1, min(0.5, -slope * t / (2 * fall))) if math.isfinite(fall) and fall > 0 else 0.1
    return None, trials


class _InverseHessian:
    """The two-loop recursion over remembered pairs, around a diagonal preconditioner."""

    def __init__(self, diagonal: np.ndarray, pairs: Pairs) -> None:
        self.pairs = deque(pairs, maxlen=_MEMORY)
        self._diagonal, self._room = diagonal, np.empty_like(diagonal)

    def learn(self, s: np.ndarray, y: np.ndarray) -> None:
        """Remember a step and its gradient change, unless rounding has eaten the curvature between them."""
        curvature = dot(s, y)
        if curvature > float(np.finfo(s.dtype).eps) * norm(s) * norm(y):
            self.pairs.append((s, y, 1 / curvature))

    def __call__(self, g: np.ndarray) -> np.ndarray:
        q, factors, room = g.copy(), [], self._room
        for s, y, rho in reversed(self.pairs):
            factors.append(rho * dot(s, q))
            q -= np.multiply(y, factors[-1], out=room)
        q *= self._diagonal
        if self.pairs:
            _, y, rho = self.pairs[-1]
            q /= rho * dot(y, np.multiply(self._diagonal, y, out=room))
        for (s, y, rho), factor in zip(self.pairs, reversed(factors), strict=True):
            q += np.multiply(s, factor - rho * dot(y, q), out=room)
        return q


class _Vectors:
    """Matrices as vectors: symmetric ones by their upper triangle, which halves memory and time of the recursion.

    Entries off the diagonal then count √2 times, so that dot products are those of the matrices.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, symmetric: bool) -> None:
        self._shape, self._symmetric = shape, symmetric
        if symmetric:
            i, j = np.triu_indices(shape[0])
            self._upper, self._lower = i * shape[0] + j, j * shape[0] + i
            self._root = np.where(i == j, 1, math.sqrt(2)).astype(dtype)

    def pack(self, A: Float[np.ndarray, "p q"]) -> Float[np.ndarray, " u"]:
        """The (symmetric part of the) matrix."""
        flat = A.ravel()
        return (flat[self._upper] + flat[self._lower]) * (self._root / 2) if self._symmetric else flat

    def unpack(self, x: Float[np.ndarray, " u"]) -> Float[np.ndarray, "p q"]:
        """The matrix of a vector."""
        if not self._symmetric:
            return x.reshape(self._shape)
        A, entries = np.empty(self._shape, x.dtype), x / self._root
        A.reshape(-1)[self._upper] = A.reshape(-1)[self._lower] = entries
        return A

    def diagonal(self, s: Float[np.ndarray, "p 1"]) -> Float[np.ndarray, " u"]:
        """The initial inverse Hessian."""
        if self._symmetric:
            return (1 / ((s + s.T) / 2 + 3)).ravel()[self._upper]
        return np.ascontiguousarray(np.broadcast_to(1 / (s + 1), self._shape)).ravel()


def symmetric_start(W: Float[np.ndarray, "p p"]) -> Float[np.ndarray, "p p"]:
    """(W Wᵀ)^½: W rotated so that similarities and norm stay and no penalty grows."""
    U, singular, _ = np.linalg.svd(W.astype(np.float64))
    root = (U * singular) @ U.T
    return ((root + root.T) / 2).astype(W.dtype)


def is_definite(W: Float[np.ndarray, "p p"]) -> bool:
    """Whether a symmetric W, or -W, is positive definite; else (W Wᵀ)^½ has no larger penalty."""
    try:
        np.linalg.cholesky((-W if np.trace(W) < 0 else W).astype(np.float64))
    except np.linalg.LinAlgError:
        return False
    return True


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """⟨x, y⟩ of arrays in C order, as a Python number: a float64 of numpy would turn float32 arrays into float64."""
    return float(np.dot(x.ravel(), y.ravel()))


def norm(x: np.ndarray) -> float:
    """‖x‖_F."""
    return math.sqrt(dot(x, x))
