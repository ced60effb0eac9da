"""The exact solver of an arm: start, stopping rule, minimisation and certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, LocalBlocks
from glocal.aligner.problem import Problem
from glocal.aligner.settings import TOL, SolverOptions
from glocal.errors import TrivialOptimumError
from glocal.objective import Evaluation, Objective
from glocal.solver import (
    Criterion,
    DualityGap,
    GradientRatio,
    Solution,
    State,
    best_scale,
    lambda_max,
    minimise,
    minimise_naive,
)
from glocal.solver.criterion import gradient_norm
from glocal.solver.start import knows_nothing
from glocal.solver.threads import threads_for
from glocal.transform import LinearTransform

OnStep = Callable[[int, Evaluation], None]


@dataclass(frozen=True, eq=False)
class Solved:
    """The transform of standardized features, and how the solver came to it.

    `embedded` is X W up to a rotation, without b; `rank` the number of directions that were fitted where rows are
    fewer than columns, else None. `gathered` says that no objects × objects matrix was made; `n_fitted` and `watched`
    are None where the fit saw all answers and nothing else was watched.
    """

    transform: LinearTransform
    solution: Solution
    scale: float
    certificate: str
    embedded: Float[Tensor, "n p"]
    lambda_max: float | None = None
    rank: int | None = None
    gathered: bool = False
    n_fitted: int | None = None
    watched: dict[str, Any] | None = None


@dataclass(frozen=True)
class Exact(SolverOptions):
    """L-BFGS on all answers and local images at once.

    Parameters
    ----------
    tol : float or None
        Relative tolerance on the objective; None is 1e-5 in float32 and 1e-7 in float64.
    max_evaluations : int
        Evaluations of the objective at most.
    dtype, device : str
        Of the computation; any torch device.
    profile : str
        The name of the profile whose choices these are, for the record.

    Raises
    ------
    ParameterError
        A value outside its range.
    """

    profile: str = "modern"

    name: ClassVar[str] = "lbfgs"
    most_blocks: ClassVar[int | None] = 16  # with 1024 images each their teachers take 64 MB

    @property
    def tolerance(self) -> float:
        """`tol`, or what None stands for."""
        return TOL[self.dtype] if self.tol is None else self.tol

    @property
    def epochs(self) -> int | None:
        """None: the exact solver counts no epochs."""
        return None

    def beside(self, name: str) -> Exact:
        """The same solver for a further fit; it writes nothing."""
        return self

    def settings(self) -> dict[str, Any]:
        """What the record of a fit says of its solver."""
        return {"solver": self.name, "profile": self.profile, "tol": self.tolerance, "dtype": self.dtype}

    def solve(
        self,
        data: FitData,
        arm: Arm,
        local: LocalBlocks | None = None,
        start: LinearTransform | None = None,
        on_step: OnStep | None = None,
    ) -> Solved:
        """Minimise one arm from the best scaled identity, or from a transform.

        Raise a TrivialOptimumError where λ is at or above λ_max, since the optimum is then W = 0.
        """
        with threads_for(data.work(local)):
            problem = Problem.build(data, local, self.dtype, self.device)
            return self.minimised(problem, arm, None if start is None else problem.start(start), on_step)

    def minimised(
        self, problem: Problem, arm: Arm, start: State | None = None, on_step: OnStep | None = None
    ) -> Solved:
        """Minimise one arm of an already built problem, from a state in its axes."""
        loss = problem.loss
        scale = best_scale(loss, problem.penalty(arm), arm.lmbda)
        largest = largest_lambda(problem, arm)
        if largest is not None and arm.lmbda >= largest:
            raise TrivialOptimumError(
                f"lmbda is {arm.lmbda:g}, at or above lambda_max = {largest:.6g} of these answers: the optimum of "
                f"{arm.method} is W = 0, which maps every image to one point. Choose lmbda below {largest:.6g}.",
                largest,
            )
        like = loss.X
        zero = like.new_zeros(like.shape[1]) if arm.bias else None
        identity = State(scale * torch.eye(like.shape[1], dtype=like.dtype, device=like.device), zero)
        budget: dict[str, Any] = {
            "tol": self.tolerance, "max_evaluations": self.max_evaluations, "second_moments": problem.second_moments,
            "on_step": on_step,
        }  # fmt: skip
        if arm.method == "naive" and largest is not None:
            solution = minimise_naive(loss, arm.lmbda, start=None if start is None else start.W, **budget)
        else:
            given = identity if start is None else start
            if arm.bias != (given.b is not None):
                given = replace(given, b=zero)
            solution = _minimised(problem, arm, given, identity, scale, **budget)
        return Solved(
            problem.transform(solution.W, solution.b, arm), solution, scale, certificate_of(solution, arm),
            like @ solution.W, lambda_max=largest, rank=problem.rank, gathered=loss.gathered,
        )  # fmt: skip


def _minimised(
    problem: Problem, arm: Arm, start: State, identity: State, scale: float, on_step: OnStep | None, **options: Any
) -> Solution:
    """Minimise from a start, and where `scale`, that of the best scaled identity, is nearly 0 from a second one.

    With a local term, W may then stay near 0 along the identity, where L_local is lowest and L_global is at chance. So
    `glocal` starts from the optimum of `global` as well, and the lower of the two ends is kept.
    """
    objective = problem.objective(arm)
    criterion = criterion_of(objective, arm, identity)
    solution = minimise(objective, (start.W, start.b), criterion=criterion, curvature=start.curvature,
                        on_step=on_step, **options)  # fmt: skip
    if not arm.local or arm.bias or not knows_nothing(problem.loss, scale):
        return solution
    alone = Objective(tuple(term for term in objective.terms if term[1].name != "local"))
    first = minimise(alone, (identity.W, None), criterion=DualityGap(alone), **{**options, "tol": 1e-2})
    other = minimise(objective, (first.W, None), criterion=criterion, **options)
    spent = solution.evaluations + first.evaluations + other.evaluations
    return replace(min(solution, other, key=lambda end: end.at.value), evaluations=spent)


def largest_lambda(problem: Problem, arm: Arm) -> float | None:
    """The smallest λ whose optimum is W = 0; None where none exists or none is known (a bias, the unsquared norm)."""
    if arm.lmbda == 0 or arm.bias:
        return None
    if arm.method == "naive":
        return lambda_max(problem.loss.double()) if arm.squared else None
    if arm.mix == 1:
        return None
    # the local term does not depend on the scale
    return (1 - arm.share) * lambda_max(problem.loss.double(), problem.penalty(arm).mix)


def criterion_of(objective: Objective, arm: Arm, identity: State) -> Criterion:
    """The stopping rule: the duality gap, or, where no gap is known, the gradient relative to the scaled identity's."""
    if (arm.method == "naive" and not arm.squared) or (arm.bias and arm.local):
        return GradientRatio(gradient_norm(objective(identity.W, identity.b)))
    return DualityGap(objective)


def certificate_of(solution: Solution, arm: Arm) -> str:
    """What is known about how good the solution is among all transforms."""
    if arm.method == "naive" and not arm.squared:
        return "none: the unsquared norm is not convex in W Wᵀ"
    if arm.lmbda == 0:
        return "none: without a penalty"
    if not solution.converged:
        return "none: not converged"
    if arm.share > 0:
        return "none: the local term is not convex"
    if arm.bias:
        return "none: with a bias the gap is known up to the precision of the best bias"
    return "global optimum: duality gap"
