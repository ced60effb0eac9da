"""L-BFGS on symmetric W: one entry point, one frozen result."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.errors import ParameterError
from glocal.objective import Evaluation, Objective
from glocal.solver.criterion import Criterion, Iterate, Status, Verdict, gradient_norm
from glocal.solver.line_search import Trial, strong_wolfe
from glocal.solver.start import symmetric_start

_PATIENCE = 20  # steps that neither lower the objective beyond its rounding nor flatten it: rounding alone moves W then
_SLACK = 2.0  # what the estimate may be above the gap: on real features it was 1.5 to 4 times the gap


@dataclass(frozen=True, eq=False)
class Solution:
    """Where the solver ended, and why it ended there.

    `status` is ``"converged"`` (the criterion holds), ``"stationary"`` (the gradient is as small as asked for, but no
    distance from the optimum is known), ``"budget"`` (evaluations spent) or ``"stalled"`` (no step lowers the objective
    any more, yet the criterion does not hold); `reason` is that in words; `gap` the criterion's bound
    or estimate of f - f*, None where none is known; `curvature` the pairs that the inverse Hessian was built from;
    `epochs` those of the mini-batch solver, whose `evaluations` are its steps.
    """

    W: Float[Tensor, "p q"]
    b: Float[Tensor, " q"] | None
    at: Evaluation
    status: Status
    reason: str
    gap: float | None
    evaluations: int
    curvature: tuple[tuple[Tensor, Tensor, float], ...] = ()
    epochs: int | None = None

    @property
    def converged(self) -> bool:
        """Whether the criterion holds at (W, b)."""
        return self.status == "converged"


def minimise(
    objective: Objective,
    start: tuple[Float[Tensor, "p q"], Float[Tensor, " q"] | None],
    *,
    criterion: Criterion,
    tol: float = 1e-5,
    max_evaluations: int = 1000,
    second_moments: Float[Tensor, " p"] | None = None,
    memory: int = 30,
    symmetric: bool = True,
    curvature: tuple[tuple[Tensor, Tensor, float], ...] = (),
    on_step: Callable[[int, Evaluation], None] | None = None,
) -> Solution:
    """Minimise an objective over symmetric W (and b) from `start`.

    Every term depends on W only through W Wᵀ up to a rotation W → WQ, b → bQ, and the penalties are smallest at
    the symmetric member of that family: restricting W to symmetric matrices loses nothing and halves the unknowns.

    Limited-memory BFGS with a strong Wolfe line search. In the basis where X̃ᵀX̃/n is diagonal with entries s, the
    initial inverse Hessian is γ / ((s_k + s_l)/2 + 3) for W_kl, with γ from the last step.

    Parameters
    ----------
    objective : Objective
    start : (W, b)
        W symmetric; b None for no bias. W = 0 is stationary: never start there.
    criterion : Criterion
        Decides convergence.
    tol : float
        Relative tolerance handed to the criterion, > 0.
    max_evaluations : int
        Evaluations of the objective at most, at least 1.
    second_moments : (p,) tensor or None
        s, the diagonal of X̃ᵀX̃/n in the basis of W; None for no preconditioning.
    memory : int
        Pairs of steps and gradient changes kept.
    symmetric : bool
        False for a rectangular W (p, k), whose initial inverse Hessian is γ / (s_k + 1).
    curvature : tuple
        `Solution.curvature` of a neighbouring problem of the same shape, whose Hessian resembles this one.
    on_step : function or None
        Called with the number of evaluations and the evaluation, its `excess` filled in, after every step.

    Returns
    -------
    Solution

    Raises
    ------
    ParameterError
        A start that is not symmetric or not finite, tol or max_evaluations out of range.

    References
    ----------
    Nocedal (1980), Math. Comp. 35:773; Liu & Nocedal (1989), Math. Program. 45:503.
    """
    W, b = start
    if not tol > 0:
        raise ParameterError(f"tol is {tol}; it must be above 0.")
    if max_evaluations < 1:
        raise ParameterError(f"max_evaluations is {max_evaluations}; at least 1 is needed.")
    if symmetric and not torch.allclose(W, W.T, rtol=1e-4, atol=1e-6 * float(W.abs().max())):
        raise ParameterError("the start W is not symmetric; pass it through symmetric_start first.")
    shape = W.shape
    x = _pack((W + W.T) / 2 if symmetric else W, b)
    inverse_hessian = _InverseHessian(_preconditioner(W, b, second_moments, symmetric), memory)
    inverse_hessian.pairs.extend(curvature)

    def unpack(x: Tensor) -> tuple[Tensor, Tensor | None]:
        return x[: W.numel()].view(shape), None if b is None else x[W.numel() :]

    evaluations = 0

    def evaluate(x: Tensor) -> tuple[Evaluation, Tensor]:
        nonlocal evaluations
        evaluations += 1
        at = objective(*unpack(x))
        return at, _pack((at.dW + at.dW.T) / 2 if symmetric else at.dW, at.db)

    at, g = evaluate(x)
    if not at.finite:
        raise ParameterError("the objective is not finite at the start; start from a smaller transform.")
    first_step = 0.1 * float(torch.linalg.vector_norm(x))
    lowest, flattest, idle = at.value, gradient_norm(at), 0
    stepped, worth_judging = False, math.inf
    while True:
        here = Iterate(at, *unpack(x))
        estimate, allowed = criterion.estimate(here), criterion.allowed(here, tol)
        verdict: Verdict | None = None
        status: Status | None = None
        if estimate <= min(_SLACK * allowed, worth_judging):
            verdict = criterion.judge(here, tol)
            status = verdict.status
            # the gap falls about as the estimate does
            worth_judging = estimate * (0.5 if not verdict.gap else max(0.1, min(0.9, allowed / verdict.gap)))
        if stepped and on_step is not None:
            left = estimate if verdict is None or verdict.gap is None else verdict.gap
            on_step(evaluations, replace(at, excess=left / allowed if allowed > 0 else None))
        stepped = False
        if status is None and evaluations >= max_evaluations:
            status = "budget"
        if status is None:
            step = None
            if idle < _PATIENCE:
                step = _step(evaluate, x, at, g, inverse_hessian, first_step, max_evaluations - evaluations)
            if step is not None:
                x_new, at, g_new = step
                inverse_hessian.learn(x_new - x, g_new - g)
                x, g = x_new, g_new
                idle += 1
                if at.value < lowest - float(torch.finfo(x.dtype).eps) * abs(at.value):
                    lowest, idle = at.value, 0
                if gradient_norm(at) < 0.9 * flattest:
                    flattest, idle = gradient_norm(at), 0
                stepped = True
            doubtful = symmetric and (step is None or verdict is not None) and evaluations < max_evaluations
            if doubtful and not criterion.definite(unpack(x)[0]):
                x = _pack(*symmetric_start(*unpack(x)))
                at, g = evaluate(x)
                inverse_hessian.pairs.clear()
                lowest, flattest, idle = at.value, gradient_norm(at), 0
                first_step, worth_judging = 1e-3 * float(torch.linalg.vector_norm(x)), math.inf
                continue
            if step is None and inverse_hessian.pairs and idle < _PATIENCE:
                inverse_hessian.pairs.clear()  # the model may be what is wrong: try the preconditioned gradient
                first_step = 1e-3 * float(torch.linalg.vector_norm(x))
                continue
            if step is None:
                status = "budget" if evaluations >= max_evaluations else "stalled"
        if status is not None:
            verdict = verdict or criterion.judge(Iterate(at, *unpack(x)), tol)
            W, b = unpack(x)
            status = verdict.status or status
            reason = _reason(status, verdict.reason, evaluations)
            return Solution(W, b, at, status, reason, verdict.gap, evaluations, tuple(inverse_hessian.pairs))


class _InverseHessian:
    """The two-loop recursion over the remembered pairs, around a diagonal preconditioner."""

    def __init__(self, diagonal: Tensor, memory: int) -> None:
        self.diagonal = diagonal
        self.pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=memory)

    def learn(self, s: Tensor, y: Tensor) -> None:
        """Remember a step and its gradient change, unless rounding has eaten the curvature between them."""
        curvature = float(torch.dot(s, y))
        eps = torch.finfo(s.dtype).eps
        if curvature > eps * float(torch.linalg.vector_norm(s)) * float(torch.linalg.vector_norm(y)):
            self.pairs.append((s, y, 1 / curvature))

    def __call__(self, g: Tensor) -> Tensor:
        q = g.clone()
        factors = []
        for s, y, rho in reversed(self.pairs):
            factor = rho * float(torch.dot(s, q))
            factors.append(factor)
            q.add_(y, alpha=-factor)
        q *= self.diagonal
        if self.pairs:
            _, y, rho = self.pairs[-1]
            q /= rho * float(torch.dot(y, self.diagonal * y))
        for (s, y, rho), factor in zip(self.pairs, reversed(factors), strict=True):
            q.add_(s, alpha=factor - rho * float(torch.dot(y, q)))
        return q


def _step(
    evaluate: Callable[[Tensor], tuple[Evaluation, Tensor]],
    x: Tensor,
    at: Evaluation,
    g: Tensor,
    inverse_hessian: _InverseHessian,
    first_step: float,
    budget: int,
) -> tuple[Tensor, Evaluation, Tensor] | None:
    """One quasi-Newton step; None if no step length lowers the objective."""
    direction = -inverse_hessian(g)
    slope = float(torch.dot(g, direction))
    if not slope < 0:
        return None
    t = 1.0 if inverse_hessian.pairs else first_step / max(float(torch.linalg.vector_norm(direction)), 1e-300)

    def along(t: float) -> Trial[tuple[Tensor, Evaluation, Tensor]]:
        point = x + t * direction
        trial, gradient = evaluate(point)
        return Trial(t, trial.value, float(torch.dot(gradient, direction)), (point, trial, gradient))

    noise = float(torch.finfo(x.dtype).eps) * abs(at.value)
    found = strong_wolfe(along, Trial(0.0, at.value, slope, None), t, noise=noise, max_trials=min(20, budget))
    return None if found is None else found.point


def _preconditioner(W: Tensor, b: Tensor | None, second_moments: Tensor | None, symmetric: bool) -> Tensor:
    if second_moments is None:
        return torch.ones(W.numel() + (0 if b is None else b.numel()), dtype=W.dtype, device=W.device)
    s = second_moments.to(W)
    if not symmetric:
        return _pack((1 / (s[:, None] + 1)).expand_as(W), b)
    diagonal = 1 / ((s[:, None] + s[None, :]) / 2 + 3)
    # the bias is the row of W that belongs to a feature of constant value 1
    return _pack(diagonal, None if b is None else 1 / ((s + 1) / 2 + 3))


def _pack(W: Tensor, b: Tensor | None) -> Tensor:
    return W.reshape(-1).clone() if b is None else torch.cat([W.reshape(-1), b])


def _reason(status: Status, measured: str, evaluations: int) -> str:
    ending = {
        "converged": f"after {evaluations} evaluations",
        "stationary": f"after {evaluations} evaluations; how far the optimum is, is not known for this objective",
        "budget": f"and all {evaluations} evaluations are spent: raise max_evaluations, or tol",
        "stalled": f"after {evaluations} evaluations and no step lowers the objective: use float64, or raise tol",
    }
    return f"{measured} {ending[status]}"


__all__ = ["Solution", "gradient_norm", "minimise"]
