"""The exact solver of an arm, in the principal axes of the object features: start, minimisation and certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.data.features import Standardization
from glocal.errors import TrivialOptimumError
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Workers, blas_alone
from glocal.options import Options
from glocal.solver import DualityGap, End, OnStep, allowed_gap, best_scale, lambda_max, minimise, minimise_naive
from glocal.solver.minimise import Pairs
from glocal.solver.naive import counted_on
from glocal.transform import LinearTransform

Dtype = Literal["float32", "float64"]


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found for one arm: a transform of raw features, with their standardization.

    `parts` are the unweighted terms of `objective`; `status` is ``"converged"``, ``"budget"`` or ``"stalled"``, which
    `reason` explains; `gap` bounds (for `glocal` estimates) how far the objective lies above the optimum, nats;
    `certificate` is what is known about how good the solution is among all transforms. `told` is what else the record
    says of the solver, `W` and `pairs` are where the exact solver stands in the axes of its problem and the curvature
    that it knows there: what a fit of the next arm starts from.
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
    told: dict[str, Any] = field(default_factory=dict)
    W: Float[np.ndarray, "r r"] | None = None
    pairs: Pairs = ()

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
        None, gt=0, description="Relative tolerance on the objective. [default: 1e-5; 1e-7 in float64]"
    )
    max_evaluations: int = Field(1000, ge=1, description="Evaluations of the objective at most.")
    dtype: Dtype = Field("float32", description="Precision of the computation.")

    @property
    def tolerance(self) -> float:
        """`tol`, or what None stands for."""
        return self.tol or (1e-5 if self.dtype == "float32" else 1e-7)

    def problem(self, data: FitData, *, local: bool = True) -> Problem:
        """The named objects and the local images in their principal axes; `global` and `naive` need no `local` ones."""
        X, answers = data.named(self.dtype)
        blocks = data.local_rows(self.dtype) if local else []
        with blas_alone() as most:
            workers = Workers.of(X.shape, len(answers), map(len, blocks), most)
            axes = Axes.of(X, blocks)
            U = axes.U.astype(self.dtype)
            rotated, *others = (workers.product(rows, U) for rows in (X, *blocks))
            choices = ChoiceLoss(rotated, answers.objects, answers.pairs, answers.weights, workers=workers)
        return Problem(axes, choices, tuple(others), data.scalars, workers)

    def solve(self, data: FitData, arm: Arm, on_step: OnStep | None = None) -> Solution:
        """Minimise one arm from the best scaled identity."""
        return self.minimise(self.problem(data, local=arm.local), arm, on_step=on_step)

    def minimise(
        self, problem: Problem, arm: Arm, start: Solution | None = None, on_step: OnStep | None = None
    ) -> Solution:
        """Minimise one arm of a problem, from the best scaled identity or from where another arm of it ended.

        The curvature found there is used where λ and mix are the same: it is carried along α and τ. `naive` starts by
        itself.

        Raises
        ------
        TrivialOptimumError
            λ is at or above λ_max: the optimum is W = 0.
        """
        told: dict[str, Any] = {
            "solver": self.name, "tol": self.tolerance, "dtype": self.dtype, "rank": problem.rank,
            "gathered": problem.choices.gathered,
        }  # fmt: skip
        options: dict[str, Any] = {"moments": problem.axes.moments, "tol": self.tolerance, "on_step": on_step}
        with blas_alone():
            objective = problem.objective(arm)
            if objective.mix < 1:
                told["lambda_max"] = _checked_lambda(objective, arm)
            if not objective.mix:
                end = minimise_naive(problem.choices, arm.lmbda, max_evaluations=self.max_evaluations, **options)
            elif start is None or start.W is None or start.arm.method == "naive":
                told["start_scale"], end = _from_identity(objective, self.max_evaluations, options)
            else:
                known = start.pairs if (start.arm.lmbda, start.arm.mix) == (arm.lmbda, arm.mix) else ()
                end = minimise(
                    objective, DualityGap(objective), start.W, pairs=known, max_evaluations=self.max_evaluations,
                    **options,
                )  # fmt: skip
            transform = problem.transform(end.W, arm)
        return Solution(
            transform, arm, end.at.value, end.at.parts, end.status, _reason(end, self.tolerance, arm), end.gap,
            _certificate(end, arm), end.evaluations, problem.workers.threads, told, end.W, end.pairs,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Problem:
    """The data of a fit in their principal axes, for one arm after the other.

    `choices` is the loss of the answers on the objects that they name, `blocks` are the local images, `workers` the
    threads that all work is dealt to. Build it where it is used: threads can be sent to no other process.
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
        return Objective(self.choices, local, arm.alpha if arm.local else 0.0, arm.lmbda, self.axes.mix(arm.identity))

    def transform(self, W: Float[np.ndarray, "r r"], arm: Arm) -> LinearTransform:
        """W on the original columns, with the standardization of the features."""
        return LinearTransform(self.axes.back(W, arm.identity), None, self.scalars.mean, self.scalars.std)


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes U (p, r) of the objects, float64, and the second moments (r,) along them: W → UᵀWU.

    With fewer rows than columns U spans the rows of the objects and local images. Off them no loss depends on W, so
    that the penalty decides: W = cI with c = mix t / (p - mix q), t = tr UᵀWU and q = p - r (0 for `naive`, mix 0), and
    what is left of the penalty is that of UᵀWU with the share mix r / (p - mix q), which is 1 for mix 1.
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


def _from_identity(objective: Objective, budget: int, options: dict[str, Any]) -> tuple[float, End]:
    """Minimise from the best scaled identity, and where that is nearly 0 from a second start too.

    With a local term, W may then stay near 0 along the identity, where L_local is lowest and L_global is at chance. So
    `glocal` starts from the optimum of `global` as well, and the lower of the two ends is kept. All share the budget.
    """
    X, gap, on_step = objective.choices.X, DualityGap(objective), options["on_step"]
    scale, blind = best_scale(objective.choices, X, objective.lmbda * (1 - objective.mix) * X.shape[1])
    identity = np.asarray(scale * np.eye(X.shape[1]), X.dtype)
    twice = objective.local is not None and blind and budget > 3
    end = minimise(objective, gap, identity, max_evaluations=budget // 2 if twice else budget, **options)
    if not twice:
        return scale, end
    done = end.evaluations
    alone = Objective(objective.choices, None, 0.0, objective.lmbda, objective.mix)
    loose = {**options, "tol": 1e-2, "on_step": counted_on(on_step, done)}
    first = minimise(alone, DualityGap(alone), identity, max_evaluations=budget - done - 1, **loose)
    done += first.evaluations
    rest = {**options, "on_step": counted_on(on_step, done)}
    other = minimise(objective, gap, first.W, pairs=first.pairs, max_evaluations=budget - done, **rest)
    return scale, replace(min(end, other, key=lambda one: one.at.value), evaluations=done + other.evaluations)


def _reason(end: End, tol: float, arm: Arm) -> str:
    """The status in words."""
    measured = "no bound on the distance from the optimum was found"
    if end.gap is not None:
        allowed, kind = allowed_gap(end.at, tol), "estimated duality gap" if arm.local else "duality gap"
        measured = f"{kind} {end.gap:.3g} is {'at most' if end.gap <= allowed else 'above'} {allowed:.3g}"
    advice = {
        "converged": "", "budget": "; they were all there were: raise `max_evaluations`, or `tol`",
        "stalled": "; no step lowers the objective: use float64, or raise tol",
    }  # fmt: skip
    return f"{measured} after {end.evaluations} evaluations{advice[end.status]}"


def _certificate(end: End, arm: Arm) -> str:
    if end.status != "converged":
        return "none: not converged"
    if arm.local and arm.alpha > 0:
        return "none: the local term is not convex"
    return "global optimum: duality gap"
