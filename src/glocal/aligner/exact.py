"""The exact solver of an arm, in the principal axes of the object features: start, minimisation and certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, transform_of
from glocal.data.features import Standardization
from glocal.errors import TrivialOptimumError
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Workers, blas_alone
from glocal.options import Options
from glocal.solver import (
    Counter,
    DualityGap,
    GapEstimate,
    SolverResult,
    best_scale,
    identity_scale,
    lambda_max,
    minimise,
    minimise_naive,
)
from glocal.solver.minimise import Criterion, Pairs
from glocal.transform import LinearTransform

Dtype = Literal["float32", "float64"]


@dataclass(frozen=True, eq=False)
class WarmStart:
    """Where the fit of an arm ended in the axes of its problem, and the curvature found there (L-BFGS pairs)."""

    arm: Arm
    W: Float[np.ndarray, "r r"]
    pairs: Pairs = ()

    def moved(self, other: WarmStart, target: WarmStart) -> WarmStart:
        """A start for the arm of `target`: W moved by the step from `other` to `target`, fits to like data.

        `other` is a fit of this arm. All three are in the same axes.
        """
        own_pairs = self.pairs if self.arm.lmbda == target.arm.lmbda else ()
        return WarmStart(target.arm, self.W + (target.W - other.W), (*target.pairs, *own_pairs))


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found for one arm: a transform of raw features, with their standardization.

    `parts` are the unweighted terms of `objective`; `status` is ``"converged"``, ``"budget"`` or
    ``"stalled"``, which `reason` explains; `gap` bounds (for `glocal` estimates) how far the
    objective lies above the optimum, nats; `certificate` is what is known about how good the
    solution is among all transforms. `details` is what else the record says of the solver, and
    `warm` is what a fit of a neighbouring arm starts from, None of the paper's loop.
    """

    transform: LinearTransform
    arm: Arm
    objective: float
    parts: dict[str, float]
    status: str
    reason: str
    gap: float | None
    certificate: str
    evaluations: int
    threads: int
    details: dict[str, Any] = field(default_factory=dict)
    warm: WarmStart | None = None

    @property
    def converged(self) -> bool:
        """Whether the gap is small enough."""
        return self.status == "converged"


class Exact(Options):
    """L-BFGS on all answers and local images at once.

    Parameters
    ----------
    tol : float or None
        Relative tolerance on the objective; None is 1e-5 in float32 and 1e-7 in float64.
    max_evaluations : int
        Evaluations of the objective at most.
    dtype : {"float32", "float64"}
        Precision of the computation.
    """

    panel: ClassVar[str] = "Solver"
    name: ClassVar[str] = "exact"

    tol: float | None = Field(
        None,
        gt=0,
        description="Relative tolerance on the objective. [default: 1e-5; 1e-7 in float64]",
    )
    max_evaluations: int = Field(1000, ge=1, description="Evaluations of the objective at most.")
    dtype: Dtype = Field("float32", description="Precision of the computation.")

    @property
    def tolerance(self) -> float:
        """`tol`, or what None stands for."""
        return self.tol or (1e-5 if self.dtype == "float32" else 1e-7)

    def axes(self, data: FitData) -> Axes:
        """The principal axes of the named objects, for fits of parts of the data that start from each other."""
        X, _ = data.named(self.dtype)
        blocks = data.local_rows(self.dtype) if len(X) < X.shape[1] else []
        with blas_alone():
            return Axes.of(X, blocks)

    def problem(self, data: FitData, *, local: bool = True, axes: Axes | None = None) -> Problem:
        """The named objects and the local images in principal axes, their own if no others are given.

        `global` and `naive` need no `local` images.
        """
        X, answers = data.named(self.dtype)
        blocks = data.local_rows(self.dtype) if local else []
        with blas_alone() as most:
            workers = Workers.of(X.shape, len(answers), map(len, blocks), most)
            axes = Axes.of(X, blocks) if axes is None else axes
            U = axes.U.astype(self.dtype)
            rotated, *others = (workers.product(rows, U) for rows in (X, *blocks))
            choices = ChoiceLoss(
                rotated, answers.objects, answers.pairs, answers.weights, workers=workers
            )
        return Problem(axes, choices, tuple(others), data.scalars, workers)

    def solve(self, data: FitData, arm: Arm, counter: Counter | None = None) -> Solution:
        """Minimise one arm from the best scaled identity."""
        return self.minimise(self.problem(data, local=arm.local), arm, counter=counter)

    def minimise(
        self,
        problem: Problem,
        arm: Arm,
        start: WarmStart | None = None,
        counter: Counter | None = None,
        *,
        certified: bool = True,
    ) -> Solution:
        """Minimise one arm of a problem, from the best scaled identity or from where another arm of it ended.

        The curvature found there is used where λ and mix are the same: it is carried along α and τ.
        `naive` starts by itself. A fit that is not `certified` ends by an estimate of its gap,
        which costs nothing.

        Raises
        ------
        TrivialOptimumError
            λ is at or above λ_max: the optimum is W = 0.
        """
        details: dict[str, Any] = {
            "solver": self.name,
            "tol": self.tolerance,
            "dtype": self.dtype,
            "rank": problem.rank,
            "gathered": problem.choices.gathered,
        }
        options: dict[str, Any] = {
            "moments": problem.axes.moments,
            "tol": self.tolerance,
            "counter": Counter() if counter is None else counter,
        }
        budget = self.max_evaluations
        with blas_alone():
            objective = problem.objective(arm)
            criterion: Criterion = (DualityGap if certified else GapEstimate)(objective)
            if objective.mix < 1:
                details["lambda_max"] = _checked_lambda(objective, arm)
            if not objective.mix:
                end = minimise_naive(problem.choices, arm.lmbda, max_evaluations=budget, **options)
            elif start is None or start.arm.method == "naive":
                details["start_scale"], end = _from_identity(objective, criterion, budget, options)
            else:
                is_same_penalty = (start.arm.lmbda, start.arm.mix) == (arm.lmbda, arm.mix)
                pairs = start.pairs if is_same_penalty else ()
                end = minimise(
                    objective, criterion, start.W, pairs=pairs, max_evaluations=budget, **options
                )
            transform = problem.transform(end.W, arm)
        return Solution(
            transform=transform,
            arm=arm,
            objective=end.at.value,
            parts=end.at.parts,
            status=end.status,
            reason=end.reason(
                self.tolerance, "estimated duality gap" if arm.local else "duality gap"
            ),
            gap=end.gap,
            certificate=_certificate(end, arm, certified=certified),
            evaluations=end.evaluations,
            threads=problem.workers.threads,
            details=details,
            warm=WarmStart(arm, end.W, end.pairs),
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """The data of a fit in their principal axes, for one arm after the other.

    `choices` is the loss of the answers on the objects that they name, `blocks` are the local
    images, `workers` the threads that all work is dealt to. Build it where it is used: threads can
    be sent to no other process.
    """

    axes: Axes
    choices: ChoiceLoss
    blocks: tuple[Float[np.ndarray, "_ r"], ...]
    scalars: Standardization
    workers: Workers
    _local: dict[float, LocalLoss] = field(default_factory=dict)

    @property
    def rank(self) -> int | None:
        """r, where it is below p."""
        p, r = self.axes.U.shape
        return None if r == p else int(r)

    def objective(self, arm: Arm) -> Objective:
        """What the arm minimises; teachers are computed once for each temperature."""
        if arm.local and arm.tau not in self._local:
            self._local[arm.tau] = LocalLoss(self.blocks, arm.tau, workers=self.workers)
        local = self._local[arm.tau] if arm.local else None
        return Objective(
            self.choices,
            local,
            arm.alpha if arm.local else 0.0,
            arm.lmbda,
            self.axes.mix(arm.identity),
        )

    def transform(self, W: Float[np.ndarray, "r r"], arm: Arm) -> LinearTransform:
        """W on the original columns, with the standardization of the features."""
        return transform_of(self.axes.back(W, arm.identity), self.scalars)

    def start(self, weights: Float[np.ndarray, "p p"], arm: Arm) -> WarmStart:
        """A start in these axes, of an arm, from W on the original columns."""
        W = self.axes.U.T @ weights @ self.axes.U
        return WarmStart(arm, W.astype(self.choices.X.dtype))


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes U (p, r) of the objects, float64, and the second moments (r,) along them: W → UᵀWU.

    With fewer rows than columns U spans the rows of the objects and local images. Off them no loss
    depends on W, so that the penalty decides: W = cI with c = mix t / (p - mix q), t = tr UᵀWU and
    q = p - r (0 for `naive`, mix 0), and what is left of the penalty is that of UᵀWU with the share
    mix r / (p - mix q), which is 1 for mix 1.
    """

    U: Float[np.ndarray, "p r"]
    moments: Float[np.ndarray, " r"]

    @classmethod
    def of(cls, X: Float[np.ndarray, "n p"], blocks: Sequence[Float[np.ndarray, "_ p"]]) -> Axes:
        """Those of the rows of X, beside blocks of local images."""
        X, span = X.astype(np.float64), None
        if len(X) + sum(map(len, blocks)) < X.shape[1]:
            span = np.linalg.qr(np.concatenate([X, *blocks]).T)[0]
            X = X @ span
        moments, U = np.linalg.eigh(X.T @ X / len(X))
        return cls(U if span is None else span @ U, np.maximum(moments, 0))

    def mix(self, mix: float) -> float:
        """The share of the scaled identity in what is left of the penalty."""
        p, r = self.U.shape
        return mix * r / (p - mix * (p - r))

    def leading(self, count: int) -> Axes:
        """Those with the largest second moments, at most `count`."""
        return Axes(self.U[:, -count:], self.moments[-count:])

    def back(self, W: Float[np.ndarray, "r r"], mix: float) -> Float[np.ndarray, "p p"]:
        """W on the original columns, float32 as the file stores it."""
        (p, r), W = self.U.shape, W.astype(np.float64)
        whole = self.U @ W @ self.U.T
        if r < p:
            whole += mix * np.trace(W) / (p - mix * (p - r)) * (np.eye(p) - self.U @ self.U.T)
        return ((whole + whole.T) / 2).astype(np.float32)


def _checked_lambda(objective: Objective, arm: Arm) -> float:
    """λ_max, the smallest λ whose optimum is W = 0; on this the local term, which no scale changes, has no say."""
    largest = objective.share * lambda_max(objective.choices.double(), objective.mix)
    if arm.lmbda >= largest:
        raise TrivialOptimumError(
            f"`lmbda` is {arm.lmbda:g}, at or above lambda_max = {largest:.6g} of these answers: the optimum of "
            f"{arm.method} is W = 0, which maps every image to one point. Choose `lmbda` below {largest:.6g}.",
            largest,
        )
    return largest


def scaled_identity(data: FitData) -> LinearTransform:
    """The features without a transform but for centring, at the scale that fits the answers best."""
    X, answers = data.named("float32")
    with blas_alone() as threads:
        workers = Workers.of(X.shape, len(answers), (), threads)
        loss = ChoiceLoss(X, answers.objects, answers.pairs, answers.weights, workers=workers)
        scale, _ = best_scale(loss, X)
    return data.transform(scale * np.eye(X.shape[1], dtype=np.float32))


def _from_identity(
    objective: Objective, gap: Criterion, budget: int, options: dict[str, Any]
) -> tuple[float, SolverResult]:
    """Minimise from the best scaled identity, and where that is nearly 0 from a second start too.

    With a local term, W may then stay near 0 along the identity, where L_local is lowest and
    L_global is at chance. So `glocal` starts from the optimum of `global` as well, and the lower of
    the two ends is kept. All share the budget.
    """
    X = objective.choices.X
    scale, is_nearly_zero = identity_scale(objective)
    identity = np.asarray(scale * np.eye(X.shape[1]), X.dtype)
    has_second_start = objective.local is not None and is_nearly_zero and budget > 3
    first_budget = budget // 2 if has_second_start else budget
    end = minimise(objective, gap, identity, max_evaluations=first_budget, **options)
    if not has_second_start:
        return scale, end
    remaining = budget - end.evaluations
    alone = Objective(objective.choices, None, 0.0, objective.lmbda, objective.mix)
    loose = {**options, "tol": 1e-2}
    start = minimise(alone, DualityGap(alone), identity, max_evaluations=remaining - 1, **loose)
    remaining -= start.evaluations
    other = minimise(
        objective, gap, start.W, pairs=start.pairs, max_evaluations=remaining, **options
    )
    lower = min(end, other, key=lambda result: result.at.value)
    evaluations = end.evaluations + start.evaluations + other.evaluations
    return scale, replace(lower, evaluations=evaluations)


def _certificate(end: SolverResult, arm: Arm, *, certified: bool) -> str:
    if not certified:
        return "none: the gap was estimated"
    if end.status != "converged":
        return "none: not converged"
    if arm.local and arm.alpha > 0:
        return "none: the local term is not convex"
    return "global optimum: duality gap"
