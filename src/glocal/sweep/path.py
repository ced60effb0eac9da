"""One path: the points of one (fold, lmbda), each exact fit started from the one before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal.aligner.problem import largest_lambda, minimise_from
from glocal.aligner.settings import Settings
from glocal.errors import DivergedError
from glocal.solver import Solution, best_scale, minimise_naive
from glocal.solver.threads import threads_for
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Point
from glocal.sweep.loop import fit_by_loop
from glocal.transform import LinearTransform

_CARRIED = 30
_NO_SCORES = dict.fromkeys(("accuracy_cosine", "accuracy_dot", "tie_rate", "loss", "local_loss", "neighbours_kept"))


@dataclass(frozen=True, eq=False)
class State:
    """Where a path stands: the solution of its last point, and the curvature the next fit starts with.

    All a path needs to go on: a path resumed from its state takes the very steps it would have taken.
    """

    W: Tensor
    b: Tensor | None
    curvature: tuple[tuple[Tensor, Tensor, float], ...]


@dataclass(frozen=True, eq=False)
class Result:
    """One finished point: its row, its transform (None if the fit diverged), and the state of its path.

    The state is None before the first fit, and on paths of the mini-batch solver, whose fits start cold.
    """

    point: Point
    row: dict[str, Any]
    transform: LinearTransform | None
    state: State | None


def walk(fold: Fold, points: Sequence[Point], settings: Settings, state: State | None = None) -> Iterator[Result]:
    """Fit and score the points of a path in order, from `state` if the path has been walked up to here before.

    Parameters
    ----------
    fold : Fold
    points : sequence of Point
        What is left of the path, in its order.
    settings : Settings
        tol, max_evaluations, dtype; of the mini-batch solver the profile.
    state : State or None
        Of the last fitted point before these.

    Yields
    ------
    Result
    """
    for point in points:
        with threads_for(fold.work):
            result = step(fold, point, settings, state)
        state = result.state
        yield result


def step(fold: Fold, point: Point, settings: Settings, state: State | None) -> Result:
    """Fit and score one point from where its path stands."""
    began = time.perf_counter()
    scale = best_scale(fold.base.loss)
    like = fold.base.loss.X
    identity = scale * torch.eye(like.shape[1], dtype=like.dtype, device=like.device)
    transform: LinearTransform | None = None
    if not point.fitted:
        transform = LinearTransform(scale * np.eye(like.shape[1], dtype=np.float32), None, 0.0, 1.0)
        found = _row_without_fit(fold, point, identity)
    elif point.eta is not None:
        transform, found = _by_loop(fold, point, settings)
    else:
        solution = _fit(fold, point, settings, state, identity, scale)
        found = _row(solution)
        if bool(solution.W.any()):  # no fit starts at W = 0, which is stationary
            state = State(solution.W, solution.b, _shortened(solution.curvature))
        transform = LinearTransform(*fold.base.rotate_back(solution), 0.0, 1.0)
    scores = _NO_SCORES if transform is None else fold.scores(transform.weights, transform.bias, point.tau)
    eta = {} if point.eta is None else {"eta": point.eta}
    row = {
        "fold": point.fold, "method": point.method, "bias": point.bias,
        "alpha": point.alpha, "lmbda": point.lmbda, "tau": point.tau, "mix": point.mix, **eta,
        **scores, **found, "n_train": fold.n_train, "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return Result(point, row, transform, state)


def original_scores(fold: Fold) -> dict[str, Any]:
    """The scores of the untransformed features at their best scale."""
    return fold.scores(best_scale(fold.base.loss) * np.eye(fold.objects.shape[1], dtype=np.float32), None, None)


def _fit(fold: Fold, point: Point, settings: Settings, state: State | None, identity: Tensor, scale: float) -> Solution:
    problem, lmbda = fold.problem(point), point.lmbda
    budget: dict[str, Any] = {"tol": settings.tol, "max_evaluations": settings.max_evaluations}
    zero = torch.zeros_like(identity[0]) if point.bias else None
    here = replace(settings, method=point.method, alpha=point.alpha or 0.0, lmbda=lmbda, bias=point.bias, mix=point.mix)
    largest = None if point.bias else largest_lambda(problem.loss, here)
    if largest is not None and lmbda >= largest:
        return _trivial(problem.objective(torch.zeros_like(identity)), identity, largest)
    if largest is not None and point.method == "naive":
        return minimise_naive(problem.loss, lmbda, second_moments=problem.second_moments, **budget)
    W, b, curvature = (identity, zero, ()) if state is None else (state.W, state.b, state.curvature)
    return minimise_from(problem, (W, b), (identity, zero), scale, curvature=curvature, **budget)


def _by_loop(fold: Fold, point: Point, settings: Settings) -> tuple[LinearTransform | None, dict[str, Any]]:
    """A cold mini-batch fit; one that diverges is a row without scores, so that the rest of the grid goes on."""
    try:
        outcome = fit_by_loop(fold.data, point, settings)
    except DivergedError as error:
        found = dict.fromkeys(("objective", "parts", "gap", "epochs"))
        steps = {"evaluations": error.steps, "steps": error.steps}
        return None, {**found, **steps, "converged": False, "status": "diverged", "reason": str(error)}
    solution = outcome.solution
    loop = {"steps": solution.evaluations, "epochs": solution.epochs, "reason": solution.reason}
    return LinearTransform(outcome.W, outcome.b, 0.0, 1.0), {**_row(solution), **loop}


def _trivial(at: Any, identity: Tensor, largest: float) -> Solution:
    """At or above lambda_max: the optimum is W = 0, which no score can be made of."""
    reason = f"the optimum is W = 0 from lambda_max = {largest:.6g} on"
    return Solution(torch.zeros_like(identity), None, at, "converged", reason, 0.0, 0)


def _row(solution: Solution) -> dict[str, Any]:
    return {
        "objective": solution.at.value,
        "parts": solution.at.parts,
        "evaluations": solution.evaluations,
        "converged": solution.converged,
        "status": solution.status,
        "gap": solution.gap,
    }


def _row_without_fit(fold: Fold, point: Point, identity: Tensor) -> dict[str, Any]:
    """At alpha = 1 the optimum is any scaled identity, and the value is the mean entropy of the teacher."""
    at = fold.problem(point).objective(identity)
    found = {"objective": at.value, "parts": at.parts, "evaluations": 0, "converged": True, "status": "converged"}
    return {**found, "gap": 0.0, **({} if point.eta is None else {"steps": 0, "epochs": 0})}


def _shortened(curvature: tuple[tuple[Tensor, Tensor, float], ...]) -> tuple[tuple[Tensor, Tensor, float], ...]:
    """The newest pairs: enough to start the next fit well, few enough to be kept on disk with every point."""
    return curvature[-_CARRIED:]


def standardized_by(result: Result, mean: float, std: float) -> LinearTransform | None:
    """The transform of a point, if it has one, with the standardization of its features and its row as provenance."""
    if result.transform is None:
        return None
    return replace(result.transform, mean=mean, std=std, meta={"point": result.row})
