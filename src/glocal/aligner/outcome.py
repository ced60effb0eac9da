"""What a fit hands on, whether it was solved in all directions or in a subspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from glocal.aligner.local import LocalBlocks
from glocal.aligner.problem import Problem, solve
from glocal.aligner.settings import Settings
from glocal.aligner.subspace import fit_in_subspace
from glocal.aligner.validation import Validation
from glocal.data.features import Features, Standardization
from glocal.data.triplets import Triplets
from glocal.objective import Evaluation
from glocal.solver import Solution
from glocal.solver.threads import threads_for, work_of
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class Outcome:
    """W and b on the original columns, and how the solver came to them.

    `embedded` is X W up to a rotation, without b; `rank` and `rank_bound` are None where no subspace was asked for.
    `gathered` says that no objects × objects matrix was made; `n_fitted` and `watched` are None where the fit saw all
    answers and nothing else was watched.
    """

    W: Float[np.ndarray, "p p"]
    b: Float[np.ndarray, " p"] | None
    solution: Solution
    scale: float
    certificate: str
    lambda_max: float | None
    embedded: Float[Tensor, "n p"]
    rank: int | None = None
    rank_bound: float | None = None
    gathered: bool = False
    n_fitted: int | None = None
    watched: dict[str, Any] | None = None


def solved(
    features: Features,
    triplets: Triplets,
    local: LocalBlocks | None,
    scalars: Standardization,
    settings: Settings,
    start: LinearTransform | None,
    on_step: Callable[[int, Evaluation], None] | None,
    validation: Validation | None = None,
) -> Outcome:
    """Build the problem of one arm and solve it in the way the settings say."""
    if settings.profile.solver == "minibatch":
        from glocal.aligner.batches import fit_by_batches

        return fit_by_batches(features, triplets, local, scalars, settings, start, validation, on_step)
    blocks = () if local is None else map(len, local.blocks)
    with threads_for(work_of(len(features), features.dimensions, len(triplets), blocks)):
        if settings.rank is not None:
            found = fit_in_subspace(features, triplets, local, scalars, settings, start, on_step)
            return Outcome(
                found.weights, None, found.solution, found.scale, found.certificate, None, found.embedded,
                found.subspace.r, found.bound,
            )  # fmt: skip
        problem = Problem.build(features, triplets, local, scalars, settings)
        solution, scale, certificate, lambda_max = solve(problem, settings, start, on_step)
        W, b = problem.rotate_back(solution)
        return Outcome(
            W, b, solution, scale, certificate, lambda_max, problem.loss.X @ solution.W,
            gathered=problem.loss.gathered,
        )  # fmt: skip
