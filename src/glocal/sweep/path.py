"""One path: the points of one (fold, lmbda), each exact fit started from the one before."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from glocal.aligner import Arm, Exact, Loop, Validation
from glocal.aligner.exact import Solved
from glocal.data.features import Features
from glocal.errors import DivergedError, TrivialOptimumError
from glocal.objective import Evaluation, weighted
from glocal.solver import State
from glocal.sweep.data import FoldData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Point
from glocal.transform import LinearTransform

_CARRIED = 30  # pairs: enough to start the next fit well, few enough to be kept on disk with every point
TRIVIAL = "trivial"  # the status of a point at or beyond λ_max
_NO_SCORES = dict.fromkeys(("accuracy_cosine", "accuracy_dot", "tie_rate", "loss", "local_loss", "neighbours_kept"))


@dataclass(frozen=True, eq=False)
class Result:
    """One finished point: its row, its transform, and the state of its path.

    The transform is None where the fit diverged, or the optimum is W = 0.
    A path resumed from its state takes the very steps it would have taken. The state is None before the first fit, and
    on paths of the mini-batch solver, whose fits start cold.
    """

    point: Point
    row: dict[str, Any]
    transform: LinearTransform | None
    state: State | None


def step(fold: Fold, point: Point, state: State | None) -> Result:
    """Fit and score one point from where its path stands."""
    began = time.perf_counter()
    transform: LinearTransform | None
    if not point.fitted:
        transform, found = fold.identity, _row_without_fit(fold, point)
    elif isinstance(fold.data.solver, Loop):
        transform, found = _by_loop(fold.data, fold.data.solver, point)
    else:
        transform, found, state = _exact(fold, fold.data.solver, point, state)
    scores = _NO_SCORES if transform is None else fold.scores(transform, point.tau)
    eta = {} if point.eta is None else {"eta": point.eta}
    row = {
        "fold": point.fold, "method": point.method, "bias": point.bias,
        "alpha": point.alpha, "lmbda": point.lmbda, "tau": point.tau, "mix": point.mix, **eta,
        **scores, **found, "n_train": len(fold.data.training.triplets),
        "chance_loss": fold.data.training.triplets.chance_loss, "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return Result(point, row, transform, state)


def original_scores(fold: Fold) -> dict[str, Any]:
    """The scores of the untransformed features at their best scale."""
    return fold.scores(fold.identity)


def _exact(
    fold: Fold, solver: Exact, point: Point, state: State | None
) -> tuple[LinearTransform | None, dict[str, Any], State | None]:
    arm = point.arm(fold.data.squared)
    try:
        outcome = solver.minimised(fold.problem, arm, state)
    except TrivialOptimumError as error:  # W = 0, of which no score can be made and from which no fit starts
        zero = torch.zeros_like(fold.problem.second_moments.diag())
        found = {"objective": fold.problem.objective(arm)(zero).value, "parts": None, "gap": 0.0, "evaluations": 0}
        return None, {**found, "converged": True, "status": TRIVIAL, "lambda_max": error.lambda_max}, state
    solution = outcome.solution
    state = State(solution.W, solution.b, solution.curvature[-_CARRIED:])
    return outcome.transform, _row_of(outcome), state


def _by_loop(data: FoldData, solver: Loop, point: Point) -> tuple[LinearTransform | None, dict[str, Any]]:
    """A cold mini-batch fit; one that diverges is a row without scores, so that the rest of the grid goes on.

    Where the profile keeps a fold for the stopping rule (``validation_folds``, as the authors' cross-validation does),
    the rule watches what the sweep holds out, and the fit sees all of the rest; else it watches what is fitted.
    """
    assert point.eta is not None
    arm = point.arm(data.squared)
    solver = replace(solver, profile=replace(solver.profile, eta=point.eta))
    if solver.profile.validation_folds is not None:
        heldout = data.heldout.relabel(data.objects)[0]
        images = Features(data.images, None, "held-out local images") if arm.local else None
        solver = replace(solver, validation=Validation(heldout, images))
    try:
        outcome = solver.solve(data.training, arm, data.local if arm.local else None)
    except DivergedError as error:
        found = dict.fromkeys(("objective", "parts", "gap", "epochs"))
        steps = {"evaluations": error.steps, "steps": error.steps}
        return None, {**found, **steps, "converged": False, "status": "diverged", "reason": str(error)}
    solution = outcome.solution
    loop = {"steps": solution.evaluations, "epochs": solution.epochs, "reason": solution.reason}
    return outcome.transform, {**_row_of(outcome), **loop}


def _row_of(outcome: Solved) -> dict[str, Any]:
    solution = outcome.solution
    return _row(
        solution.at, evaluations=solution.evaluations, converged=solution.converged, status=solution.status,
        gap=solution.gap,
    )  # fmt: skip


def _row(at: Evaluation, **found: Any) -> dict[str, Any]:
    return {"objective": at.value, "parts": at.parts, **found}


def _row_without_fit(fold: Fold, point: Point) -> dict[str, Any]:
    """At alpha = 1 the optimum is any scaled identity, and the value is the mean entropy of the teacher."""
    assert point.tau is not None
    problem = fold.problem
    penalty = problem.penalty(Arm("global", mix=point.mix))
    objective = weighted(problem.loss, problem.local_loss(point.tau), 1.0, point.lmbda, penalty)
    at = objective(fold.scale * torch.ones_like(problem.second_moments).diag())
    loop = {} if point.eta is None else {"steps": 0, "epochs": 0}
    return _row(at, evaluations=0, converged=True, status="converged", gap=0.0, **loop)


def standardized_by(result: Result, mean: float, std: float) -> LinearTransform | None:
    """The transform of a point, if it has one, with the standardization of its features and its row as provenance."""
    if result.transform is None:
        return None
    return replace(result.transform, mean=mean, std=std, meta={"point": result.row})
