"""When a descent stops: the distance from the optimum that is estimated, and that is allowed."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np

from glocal.objective import Evaluation


@runtime_checkable
class Criterion(Protocol):
    """A measure of the distance from the optimum.

    `DualityGap`, or `NaiveGap` for `naive`, bounds it; `FirstOrderEstimate` serves any objective.
    """

    def estimate(self, evaluation: Evaluation, W: np.ndarray) -> float:
        """An estimate of the gap that costs nothing."""
        ...

    def gap(self, evaluation: Evaluation, W: np.ndarray, allowed: float) -> float:
        """The gap; `allowed` is the largest that is accepted."""
        ...


class FirstOrderEstimate:
    """‖sym ∂f/∂W‖_F ‖W‖_F: how far f falls, to first order, over a step as long as W.

    Any objective has this estimate, in the unit of f. It is no bound on the distance from the
    optimum.

    References
    ----------
    Dennis & Schnabel (1983), Numerical Methods for Unconstrained Optimization, section 7.2.
    """

    def estimate(self, evaluation: Evaluation, W: np.ndarray) -> float:
        """The estimate at W."""
        dW = evaluation.dW
        return norm(dW + dW.T) / 2 * norm(W)

    def gap(self, evaluation: Evaluation, W: np.ndarray, allowed: float) -> float:
        """The same estimate, since there is no bound."""
        return self.estimate(evaluation, W)


def allowed_gap(evaluation: Evaluation, tol: float) -> float:
    """The largest gap of a converged fit: tol · |f|, with |f| at least the machine epsilon.

    It is 0 if f is not finite: such a fit never counts as converged.
    """
    if not math.isfinite(evaluation.value):
        return 0.0
    return tol * max(abs(evaluation.value), float(np.finfo(evaluation.dW.dtype).eps))


class GapMeasure:
    """The gap, which is expensive and only measured if the free estimate is small enough."""

    def __init__(self, criterion: Criterion, tol: float) -> None:
        self._criterion = criterion
        self._tol = tol
        self._max_estimate = math.inf

    def __call__(self, evaluation: Evaluation, W: np.ndarray) -> float | None:
        """The gap at W, or None if the estimate is too large."""
        allowed = allowed_gap(evaluation, self._tol)
        estimate = self._criterion.estimate(evaluation, W)
        if estimate > min(2 * allowed, self._max_estimate):
            return None
        gap = self._criterion.gap(evaluation, W, allowed)
        # measure again when the estimate has fallen by the factor by which this gap is too large
        factor = max(0.1, min(0.9, allowed / gap)) if 0 < gap < math.inf else 0.5
        self._max_estimate = estimate * factor
        return gap


def dot(x: np.ndarray, y: np.ndarray) -> float:
    """⟨x, y⟩ of arrays in C order, as a Python number.

    A NumPy float64 would turn float32 arrays into float64.
    """
    return float(np.dot(x.ravel(), y.ravel()))


def norm(x: np.ndarray) -> float:
    """‖x‖_F."""
    return math.sqrt(dot(x, x))
