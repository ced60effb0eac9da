"""One arm as a problem for the solver: standardized, rotated to principal axes, minimised, rotated back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glocal.aligner.local import LocalBlocks
from glocal.aligner.settings import Settings
from glocal.data.features import Features, Standardization
from glocal.data.triplets import Triplets
from glocal.errors import ParameterError, TrivialOptimumError
from glocal.objective import Evaluation, LocalLoss, Objective, Penalty, TripletLoss
from glocal.solver import (
    Criterion,
    DualityGap,
    GradientRatio,
    Solution,
    best_scale,
    lambda_max,
    minimise,
    minimise_naive,
    symmetric_start,
)
from glocal.solver.criterion import gradient_norm
from glocal.solver.start import knows_nothing
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class Problem:
    """The objective in principal axes of the object features: x̃ → x̃U, W → UᵀWU, which changes no term."""

    objective: Objective
    loss: TripletLoss
    penalty: Penalty
    axes: Float[Tensor, "p p"]
    second_moments: Float[Tensor, " p"]

    @classmethod
    def build(
        cls,
        features: Features,
        triplets: Triplets,
        local: LocalBlocks | None,
        scalars: Standardization,
        settings: Settings,
    ) -> Problem:
        """Put the objective of one arm together from the objects that the answers name."""
        X, answers = named_objects(features, triplets, scalars, settings)
        moments, axes = torch.linalg.eigh(X.double().cpu().T @ X.double().cpu() / len(X))
        U = axes.to(X)
        loss = TripletLoss(X @ U, answers)
        blocks = None if local is None else [on_device(block, settings.device) @ U for block in local.blocks]
        objective, penalty = objective_of(loss, blocks, settings)
        return cls(objective, loss, penalty, axes.to(X.device), moments.clamp(min=0).to(X))

    def rotate(self, transform: LinearTransform) -> tuple[Tensor, Tensor | None]:
        """A transform in these axes, as a symmetric start."""
        W = torch.as_tensor(transform.weights).to(self.axes)
        b = None if transform.bias is None else torch.as_tensor(transform.bias).to(self.axes)
        W, b = symmetric_start(W, b)
        W = self.axes.T @ W @ self.axes
        return ((W + W.T) / 2).to(self.loss.X), None if b is None else (b @ self.axes).to(self.loss.X)

    def rotate_back(self, solution: Solution) -> tuple[np.ndarray, np.ndarray | None]:
        """W and b on the original columns, float32 as the file stores them."""
        W = self.axes @ solution.W.double() @ self.axes.T
        b = None if solution.b is None else (solution.b.double() @ self.axes.T).float().cpu().numpy()
        return ((W + W.T) / 2).float().cpu().numpy(), b


def solve(
    problem: Problem,
    settings: Settings,
    start: LinearTransform | None,
    on_step: Callable[[int, Evaluation], None] | None,
) -> tuple[Solution, float, str, float | None]:
    """Start, criterion, minimisation and certificate of one arm."""
    loss, penalty, lmbda = problem.loss, problem.penalty, settings.lmbda
    p = loss.X.shape[1]
    scale = best_scale(loss, penalty, lmbda)
    identity = scale * torch.eye(p, dtype=loss.X.dtype, device=loss.X.device)
    zero = torch.zeros(p, dtype=loss.X.dtype, device=loss.X.device) if settings.bias else None
    W, b = (identity, zero) if start is None else problem.rotate(start)
    b = zero if not settings.bias or b is None else b
    budget: dict[str, Any] = {"tol": settings.tol, "max_evaluations": settings.max_evaluations}
    largest = largest_lambda(loss, settings)
    if largest is not None and lmbda >= largest:
        raise TrivialOptimumError(
            f"lmbda is {lmbda:g}, at or above lambda_max = {largest:.6g} of these answers: the optimum of "
            f"{settings.method} is W = 0, which maps every image to one point. Choose lmbda below {largest:.6g}."
        )
    if settings.method == "naive" and largest is not None and not settings.bias:
        solution = minimise_naive(
            loss, lmbda, start=None if start is None else W, second_moments=problem.second_moments, on_step=on_step,
            **budget,
        )  # fmt: skip
    else:
        solution = minimise_from(
            problem, (W, b), (identity, zero), scale if start is None else None, on_step=on_step, **budget
        )
    return solution, scale, certificate_of(solution, settings), largest


def minimise_from(
    problem: Problem,
    start: tuple[Tensor, Tensor | None],
    identity: tuple[Tensor, Tensor | None],
    scale: float | None,
    **options: Any,
) -> Solution:
    """Minimise from a start, and where `scale`, that of the best scaled identity, is nearly 0 from a second one.

    With a local term W may stay near 0 then, along the identity, where L_local is least and L_global that of chance. So
    `glocal` starts from the optimum of `global` as well, and the lower of the two ends is kept.
    """
    criterion = criterion_of(problem, *identity)
    solution = minimise(problem.objective, start, criterion=criterion, second_moments=problem.second_moments, **options)
    local = problem.objective.term("local")[1]
    if local is None or start[1] is not None or scale is None or not knows_nothing(problem.loss, scale):
        return solution
    alone = Objective(tuple(term for term in problem.objective.terms if term[1] is not local))
    first = minimise(
        alone, identity, criterion=DualityGap(alone), second_moments=problem.second_moments,
        **{**options, "tol": 1e-2, "curvature": (), "on_step": None},
    )  # fmt: skip
    other = minimise(
        problem.objective, (first.W, None), criterion=criterion, second_moments=problem.second_moments,
        **{**options, "curvature": (), "on_step": None},
    )  # fmt: skip
    spent = solution.evaluations + first.evaluations + other.evaluations
    return replace(min(solution, other, key=lambda end: end.at.value), evaluations=spent)


def largest_lambda(loss: TripletLoss, settings: Settings) -> float | None:
    """The λ from which on the optimum is W = 0; None where there is none, or none is known (a bias, a norm)."""
    if settings.lmbda == 0:
        return None
    if settings.method == "naive":
        return lambda_max(loss.double()) if settings.squared else None
    if settings.mix == 1 or settings.bias:
        return None
    share = 1 - settings.alpha if settings.method == "glocal" else 1.0  # the local term does not depend on the scale
    return share * lambda_max(loss.double(), settings.mix)


def criterion_of(problem: Problem, identity: Float[Tensor, "p p"], zero: Float[Tensor, " p"] | None) -> Criterion:
    """The stopping rule of `minimise`: the duality gap, or where none is known the gradient against that at the start.

    `zero` is the bias of the best scaled identity, None without a bias.
    """
    with_local = problem.objective.term("local")[1] is not None
    if problem.penalty.kind == "norm" or (zero is not None and with_local):
        return GradientRatio(gradient_norm(problem.objective(identity, zero)))
    return DualityGap(problem.objective)


def named_objects(
    features: Features, triplets: Triplets, scalars: Standardization, settings: Settings
) -> tuple[Float[Tensor, "n p"], Triplets]:
    """The standardized objects that the answers name, and the answers as rows of them."""
    named = triplets.named()
    new_index = np.full(len(features), -1, dtype=np.int32)
    new_index[named] = np.arange(len(named), dtype=np.int32)
    X = on_device(scalars(np.asarray(features.matrix[named]), settings.dtype), settings.device)
    return X, triplets.relabel(new_index)[0]


def objective_of(
    loss: TripletLoss, blocks: Sequence[Float[Tensor, "_ p"]] | None, settings: Settings
) -> tuple[Objective, Penalty]:
    """The weighted sum of one arm, and its penalty."""
    local = None if blocks is None else LocalLoss(blocks, settings.tau)
    penalty = penalty_of(settings.method, settings.squared, settings.mix)
    return weighted(loss, local, settings.alpha, settings.lmbda, penalty), penalty


def penalty_of(method: str, squared: bool, mix: float = 1.0) -> Penalty:
    """The penalty of one arm; `squared` counts for `naive` only, `mix` for the others."""
    if method != "naive":
        return Penalty("scaled-identity", mix=mix)
    return Penalty("squared-norm" if squared else "norm")


def weighted(loss: TripletLoss, local: LocalLoss | None, alpha: float, lmbda: float, penalty: Penalty) -> Objective:
    """(1 - α) L_global + α L_local + λ R, or L_global + λ R without a local loss."""
    if local is None:
        return Objective(((1.0, loss), (lmbda, penalty)))
    return Objective(((1 - alpha, loss), (alpha, local), (lmbda, penalty)))


def certificate_of(solution: Solution, settings: Settings) -> str:
    """What is known of how good the solution is among all transforms."""
    if settings.method == "naive" and not settings.squared:
        return "none: the unsquared norm is not convex in W Wᵀ"
    if not solution.converged:
        return "none: not converged"
    if settings.method == "glocal" and settings.alpha > 0:
        return "none: the local term is not convex"
    if settings.lmbda == 0:
        return "none: without a penalty"
    if settings.bias:
        return "none: with a bias the gap is known up to the precision of the best bias"
    return "global optimum: duality gap"


def on_device(array: np.ndarray, device: str) -> Tensor:
    """Move an array to a torch device, or say in one sentence that there is none of that name."""
    try:
        return torch.from_numpy(array).to(device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0][:60]}). "
            "Use cpu, or install a torch build for it."
        ) from error
