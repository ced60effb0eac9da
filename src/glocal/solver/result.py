"""What a solver counts, and what it returns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from glocal.objective import Evaluation
from glocal.similarity import Square

Status = Literal["converged", "budget", "stalled"]
OnStep = Callable[[int, Evaluation], None]
"""A callback for progress, called with the number of evaluations so far, and the last one."""
Pairs = tuple[tuple[np.ndarray, np.ndarray, float], ...]
"""L-BFGS pairs: steps s and gradient changes y, each with 1/⟨s, y⟩."""


@dataclass
class Counter:
    """Count the evaluations of a run, over all its fits, and report each step.

    Parameters
    ----------
    on_step : function or None
        Called with the number of evaluations so far, and the last one.

    Attributes
    ----------
    evaluations : int
        The number of evaluations so far.
    """

    on_step: OnStep | None = None
    evaluations: int = 0

    def __call__(self, evaluation: Evaluation, evaluations: int = 1) -> None:
        """Count a step that took this number of `evaluations` and ended at `evaluation`."""
        self.evaluations += evaluations
        if self.on_step is not None:
            self.on_step(self.evaluations, evaluation)


@dataclass(frozen=True, eq=False)
class SolverResult:
    """The last iterate of a solver, and why it stopped.

    `evaluation` is the objective at W. `status` is ``"converged"`` (gap ≤ tol · |f|), ``"budget"``
    (all evaluations are spent) or ``"stalled"`` (no step lowers f any more). `gap` is None if no
    bound was found. `pairs` define the inverse Hessian.
    """

    W: Square
    evaluation: Evaluation
    status: Status
    gap: float | None
    evaluations: int
    pairs: Pairs = ()

    def reason(self, tol: float, measure: str = "gap") -> str:
        """The status in words: the gap, named `measure`, the allowed gap, and what to do."""
        result = "no bound on the distance from the optimum was found"
        if self.gap is not None:
            allowed = allowed_gap(self.evaluation, tol)
            comparison = "at most" if self.gap <= allowed else "above"
            result = f"{measure} {self.gap:.3g} is {comparison} {allowed:.3g}"
        result += f" after {self.evaluations} evaluations"
        if self.status == "budget":
            return f"{result}; the evaluation budget is spent: raise `max_evaluations`, or `tol`"
        if self.status == "stalled":
            advice = "raise `tol`"
            if self.evaluation.dW.dtype == np.float32:
                advice = f'set `dtype="float64"`, or {advice}'
            return f"{result}; no step lowers the objective any further: {advice}"
        return result


def allowed_gap(evaluation: Evaluation, tol: float) -> float:
    """The largest gap of a converged fit: tol · |f|, with |f| at least the machine epsilon.

    It is 0 if f is not finite: such a fit never counts as converged.
    """
    if not math.isfinite(evaluation.value):
        return 0.0
    dtype = evaluation.dW.dtype
    epsilon = float(np.finfo(dtype).eps)
    size = max(abs(evaluation.value), epsilon)
    return tol * size
