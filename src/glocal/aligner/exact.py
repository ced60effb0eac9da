"""The exact solver, in the principal axes of the objects: start, descent, certificate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.aligner.axes import Axes
from glocal.aligner.data import FitData
from glocal.aligner.settings import ObjectiveSettings, Parameters
from glocal.errors import TrivialOptimumError
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Workers, single_threaded_blas
from glocal.options import Options
from glocal.results import UNCHANGED, HeldOutScores, KeepRecord, SolverReport
from glocal.similarity import Square
from glocal.solver import (
    Counter,
    DualityGap,
    NaiveGap,
    Pairs,
    identity_scale,
    lambda_max,
    minimise,
    symmetric_start,
)
from glocal.transform import LinearTransform

Dtype = Literal["float32", "float64"]
_ROUGH_TOLERANCE = 1e-2  # relative, of a fit that another one starts from
_MIN_SINGULAR_VALUE = 1e-3  # least share of the largest that counts toward the rank of `naive`


@dataclass(frozen=True, eq=False)
class WarmStart:
    """The W of a fit in the axes of its problem, and the curvature there (L-BFGS pairs)."""

    settings: ObjectiveSettings
    W: Square
    pairs: Pairs = ()

    def moved(self, other: WarmStart | None, target: WarmStart | None) -> WarmStart:
        """A start for the fit of `target`: this W, moved by the step from `other` to `target`.

        `other` has the settings of this start. `other` and `target` were fitted to similar data in
        the same axes. If either is None, this start is returned unchanged.
        """
        if other is None or target is None:
            return self
        pairs = target.pairs
        is_same_penalty = self.settings.lmbda == target.settings.lmbda
        if is_same_penalty:
            pairs = (*target.pairs, *self.pairs)
        step = target.W - other.W
        return WarmStart(target.settings, self.W + step, pairs)


@dataclass(frozen=True)
class Unfitted:
    """Why a fit on a path has no solution, and the evaluations and time that it took.

    `status` is ``"trivial"`` if the optimum is W = 0, which it is from `lambda_max` on, or
    ``"diverged"``.
    """

    status: str
    reason: str
    evaluations: int = 0
    lambda_max: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver or `Keep` returns: the transform of raw features, and how it was found.

    A fit with neighbouring settings can start from `warm`, which is None for the paper's loop.
    `settings` is None if nothing was fitted; the status of the report is then `UNCHANGED`. `keep`
    and `heldout` say how `Keep` chose, and how its choice scored on the folds. `seconds` is the
    time that the caller measured.
    """

    transform: LinearTransform
    settings: ObjectiveSettings | None
    report: SolverReport
    threads: int | None
    warm: WarmStart | None = None
    keep: KeepRecord | None = None
    heldout: HeldOutScores | None = None
    seconds: float = 0.0

    @property
    def parameters(self) -> Parameters:
        """Method and parameters as in records; all are None if nothing was fitted."""
        if self.settings is not None:
            return self.settings.parameters
        return Parameters(method=None, lmbda=None, mix=None, alpha=None, tau=None)

    @property
    def is_unchanged(self) -> bool:
        """Whether the original features were best, so that nothing was fitted."""
        return self.report.status == UNCHANGED

    @property
    def converged(self) -> bool:
        """Whether the gap is at most the tolerance, or nothing was fitted."""
        return self.is_unchanged or self.report.status == "converged"

    def with_report(self, **fields: object) -> Solution:
        """The solution with other values of some fields of its report."""
        report = self.report.model_copy(update=fields)
        return replace(self, report=report)


class Exact(Options):
    """L-BFGS on all answers and local images at once.

    Parameters
    ----------
    tol : float or None
        Relative tolerance on the objective; None is 1e-5 in float32 and 1e-7 in float64, and 3e-5
        for the fits that `Keep` mixes.
    max_evaluations : int
        The largest number of evaluations of the objective.
    dtype : {"float32", "float64"}
        Precision of the computation.
    """

    panel: ClassVar[str] = "Solver"
    name: ClassVar[str] = "exact"

    tol: float | None = Field(
        None,
        gt=0,
        description="Relative tolerance on the objective. [default: 1e-5; 1e-7 in float64; 3e-5 "
        "with --keep]",
    )
    max_evaluations: int = Field(
        1000, ge=1, description="Maximum number of evaluations of the objective."
    )
    dtype: Dtype = Field("float32", description="Precision of the computation.")

    @property
    def tolerance(self) -> float:
        """`tol`, or its default for the dtype."""
        default = 1e-5 if self.dtype == "float32" else 1e-7
        return self.tol or default

    def problem(
        self,
        data: FitData,
        *,
        local: bool = True,
        axes: Axes | None = None,
        counter: Counter | None = None,
    ) -> Problem:
        """Express the objects that answers name and the local images in `axes`.

        By default these are the principal axes of the objects. `global` and `naive` need no `local`
        images. `counter` counts the evaluations of all fits to the problem.
        """
        X, answers = data.objects_and_answers(self.dtype)
        blocks = data.local_rows(self.dtype) if local else []
        n_answers = len(answers)
        block_sizes = [len(block) for block in blocks]
        with single_threaded_blas() as max_threads:
            workers = Workers.from_sizes(X.shape, n_answers, block_sizes, max_threads)
            axes = axes or Axes.from_rows(X, blocks)
            U = axes.U.astype(self.dtype)
            rotated = workers.product(X, U)
            choices = ChoiceLoss(
                rotated,
                answers.objects,
                answers.pairs,
                answers.weights,
                workers=workers,
            )
            rotated_blocks = tuple(workers.product(block, U) for block in blocks)
        counter = counter or Counter()
        return Problem(data, self, axes, choices, rotated_blocks, workers, counter)

    def solve(
        self, data: FitData, settings: ObjectiveSettings, counter: Counter | None = None
    ) -> Solution:
        """Minimise an objective from the best scaled identity."""
        problem = self.problem(data, local=settings.local)
        return self.minimise(problem, settings, counter=counter)

    def minimise(
        self,
        problem: Problem,
        settings: ObjectiveSettings,
        start: WarmStart | None = None,
        counter: Counter | None = None,
        *,
        certified: bool = True,
    ) -> Solution:
        """Minimise an objective on a problem, from the best scaled identity or from another fit.

        The curvature of the other fit is used if λ and mix are the same, and only α and τ differ.
        Start from no `naive`, whose W is nearly singular. A fit that is not `certified` stops by an
        estimate of its gap, which costs no evaluation.

        Raises
        ------
        TrivialOptimumError
            λ is at or above λ_max: the optimum is W = 0.
        """
        counter = counter or problem.counter
        first_evaluation = counter.evaluations
        with single_threaded_blas():
            objective = problem.objective(settings)
            limit = _checked_lambda(objective, settings) if objective.mix < 1 else None
            if start is None:
                start = self._first_start(problem, objective, settings, counter)
            penalty = settings.lmbda, settings.mix
            is_same_penalty = penalty == (start.settings.lmbda, start.settings.mix)
            spent = counter.evaluations - first_evaluation
            result = minimise(
                objective,
                start.W,
                _criterion(objective, certified=certified),
                problem.axes.spreads,
                tol=self.tolerance,
                max_evaluations=self.max_evaluations - spent,
                pairs=start.pairs if is_same_penalty else (),
                counter=counter,
            )
            result = replace(result, evaluations=spent + result.evaluations)
            if settings.method == "naive":  # some of its eigenvalues may be negative
                result = replace(result, W=symmetric_start(result.W))
            weights = problem.axes.back(result.W, settings.identity)
        report = SolverReport(
            centre=problem.data.fixed_centre,
            objective=result.evaluation.value,
            parts=result.evaluation.parts,
            status=result.status,
            reason=result.reason(
                self.tolerance, "estimated duality gap" if settings.local else "duality gap"
            ),
            gap=result.gap,
            certificate=_certificate(settings, result.status, certified=certified),
            evaluations=result.evaluations,
            solver=self.name,
            dtype=self.dtype,
            tol=self.tolerance,
            lambda_max=limit,
            rank=_rank(settings, result.W, len(problem.axes.U)),
        )
        warm = WarmStart(settings, result.W, result.pairs)
        transform = problem.data.transform(weights)
        return Solution(transform, settings, report, problem.workers.threads, warm)

    def _first_start(
        self, problem: Problem, objective: Objective, settings: ObjectiveSettings, counter: Counter
    ) -> WarmStart:
        """The start of a fit that has no other fit to start from: the best scale of the axes.

        Their lengths are equal, but for axes along which the features have a mean. From a start
        near 0, a fit with a local term may stay close to a small multiple of the identity, where
        L_local is lowest and L_global is at chance. If the best scale is nearly 0, `glocal`
        therefore starts from the optimum of `global`, whose fit takes a part of the budget.
        """
        lengths = problem.axes.lengths.astype(objective.choices.X.dtype)
        scale, is_nearly_zero = identity_scale(objective, lengths)
        W = np.diag(lengths * lengths.dtype.type(scale))
        if objective.local is None or not is_nearly_zero or self.max_evaluations == 1:
            return WarmStart(settings, W)
        without_local = replace(objective, local=None, alpha=0.0)
        result = minimise(
            without_local,
            W,
            DualityGap(without_local, certified=False),
            problem.axes.spreads,
            tol=_ROUGH_TOLERANCE,
            max_evaluations=self.max_evaluations - 1,
            counter=counter,
        )
        return WarmStart(settings, result.W, result.pairs)


@dataclass(frozen=True, eq=False)
class Problem:
    """The data of a fit in their principal axes, to which `solver` can fit several objectives.

    `choices` is the loss of the answers on the objects that they name, `blocks` are the local
    images, `workers` are the threads that share the work, and `counter` counts evaluations.
    """

    data: FitData
    solver: Exact
    axes: Axes
    choices: ChoiceLoss
    blocks: tuple[Float[np.ndarray, "_ r"], ...]
    workers: Workers
    counter: Counter = field(default_factory=Counter)
    _local: dict[float, LocalLoss] = field(default_factory=dict)

    def objective(self, settings: ObjectiveSettings) -> Objective:
        """The objective with these settings; teachers are computed once for each temperature."""
        p, r = self.axes.U.shape
        mix = settings.identity * r / (p - settings.identity * (p - r))  # off the axes W = cI
        if not settings.local:
            return Objective(self.choices, None, 0.0, settings.penalty, mix)
        if settings.tau not in self._local:
            self._local[settings.tau] = LocalLoss(self.blocks, settings.tau, workers=self.workers)
        return Objective(
            self.choices, self._local[settings.tau], settings.alpha, settings.penalty, mix
        )

    def fit(self, settings: ObjectiveSettings, start: WarmStart | None = None) -> Solution:
        """Fit without a certificate, from the best scaled identity or from another fit."""
        return self.solver.minimise(self, settings, start, certified=False)

    def start(self, weights: Square, settings: ObjectiveSettings) -> WarmStart:
        """Build a start with these settings in these axes, from W on the original columns."""
        W = self.axes.U.T @ weights @ self.axes.U
        return WarmStart(settings, W.astype(self.choices.X.dtype))


def _checked_lambda(objective: Objective, settings: ObjectiveSettings) -> float:
    """Return λ_max, the smallest λ whose optimum is W = 0; raise an error if λ is not below it.

    The local term does not affect λ_max, since the scale of W does not change that term.
    """
    limit = objective.global_weight * lambda_max(objective.choices, objective.mix)
    if settings.penalty >= limit:
        advice = f"Choose `lmbda` below {limit:.6g}."
        if not limit:
            advice = "No `lmbda` helps: look for answers whose odd one out is in the wrong column."
        raise TrivialOptimumError(
            f"`lmbda` is {settings.lmbda:g}, at or above lambda_max = {limit:.6g} of these "
            f"answers: the optimum of {settings.method} is W = 0, which maps every image to one "
            f"point. {advice}",
            limit,
        )
    return limit


def _criterion(objective: Objective, *, certified: bool) -> DualityGap | NaiveGap:
    """The measure of the distance from the optimum."""
    return DualityGap(objective, certified=certified) if objective.mix else NaiveGap(objective)


def _certificate(settings: ObjectiveSettings, status: str, *, certified: bool) -> str:
    """What is proven about a solution."""
    if not certified:
        return "none: the gap was estimated"
    if status != "converged":
        return "none: not converged"
    if settings.local and settings.alpha > 0:
        return "none: the local term is not convex"
    return "global optimum: duality gap"


def _rank(settings: ObjectiveSettings, W: Square, p: int) -> int | None:
    """The number of fitted directions if it is below p; for `naive`, of large singular values.

    A singular value of `naive` counts if it is above a thousandth of the largest.
    """
    if settings.method == "naive":
        singular_values = np.linalg.svd(W, compute_uv=False)
        return int((singular_values > _MIN_SINGULAR_VALUE * singular_values[0]).sum())
    return len(W) if len(W) < p else None
