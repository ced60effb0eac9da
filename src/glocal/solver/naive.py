"""The solver of `naive`, which is convex in M = W Wᵀ and whose optimum has few columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glocal.objective import ChoiceLoss, Evaluation, Objective
from glocal.solver.gap import best_scale
from glocal.solver.minimise import (
    Counter,
    Criterion,
    SolverResult,
    Status,
    allowed_gap,
    dot,
    minimise,
    symmetric_start,
)

_MAX_ROUNDS = 60
_MAX_EVALUATIONS_PER_ROUND = 60
_MIN_SINGULAR_VALUE = 3e-2  # relative; shorter columns are dropped if f rises along them
# the threshold decays in each round, or a short column of the optimum would come and go
_THRESHOLD_DECAY = 0.7
_MAX_LENGTHS = 10  # lengths of added columns that are tried


@dataclass(frozen=True)
class Stationarity(Criterion):
    """The gain that is still possible with this number of columns V, M = V Vᵀ.

    It is the larger of |⟨∇f, V⟩| / 2 and ‖∇f‖² / (4λ).
    """

    lmbda: float

    def estimate(self, evaluation: Evaluation, V: Float[np.ndarray, "p k"]) -> float:
        """The gain, which serves as estimate and as gap."""
        squared = dot(evaluation.dW, evaluation.dW)
        return max(abs(dot(evaluation.dW, V)) / 2, squared / (4 * self.lmbda))


def minimise_naive(
    choices: ChoiceLoss,
    lmbda: float,
    moments: Float[np.ndarray, " p"],
    *,
    tol: float,
    max_evaluations: int,
    counter: Counter | None = None,
) -> SolverResult:
    """Minimise L_global + λ‖W‖²_F = L(M) + λ tr M over M = V Vᵀ with as few columns V as suffice.

    Each round runs L-BFGS on the columns, and then computes H = sym(∂L/∂M) + λI. Columns that are
    nearly 0 and on which H is positive are dropped. Eigenvectors of H with negative eigenvalues are
    added, with the length that lowers f most. The duality gap

        f - f* ≤ ⟨H, M⟩ + max(0, -λ_min(H)) · f(M) / λ

    is rigorous, because L is convex in M and λ tr M* ≤ f(M*) ≤ f(M).

    Parameters
    ----------
    lmbda : float
        0 < λ < lambda_max.
    moments, tol, max_evaluations, counter
        As in `minimise`.

    Returns
    -------
    SolverResult
        W = M^½, symmetric positive semidefinite.

    References
    ----------
    Burer & Monteiro (2003), Math. Program. 95:329; Journée et al. (2010), SIAM J. Optim. 20:2327.
    """
    exact = choices.double()
    objective = Objective(choices, None, 0.0, lmbda, mix=0.0)
    counter = counter or Counter()
    first = counter.evaluations
    V = _steepest_descent_columns(exact, lmbda).astype(choices.X.dtype)
    status: Status = "stalled"
    for round_ in range(_MAX_ROUNDS):
        inner = minimise(
            objective,
            Stationarity(lmbda),
            V,
            moments,
            tol=tol / 4,
            symmetric=False,
            max_evaluations=max(
                1, min(_MAX_EVALUATIONS_PER_ROUND, first + max_evaluations - counter.evaluations)
            ),
            counter=counter,
        )
        V = inner.W.astype(np.float64)
        H = _slope(exact, V, lmbda)
        eigenvalues, N = _descent_columns(H)
        stationarity = abs(dot(H @ V, V))
        missing_columns = -min(eigenvalues, default=0.0) * inner.evaluation.value / lmbda
        gap = stationarity + missing_columns
        if gap <= allowed_gap(inner.evaluation, tol):
            status = "converged"
            break
        if counter.evaluations - first >= max_evaluations:
            status = "budget"
            break
        V = _prune(V, H, _MIN_SINGULAR_VALUE * _THRESHOLD_DECAY**round_)
        if missing_columns > stationarity / 4:
            N = N[:, eigenvalues < eigenvalues[0] / 10]  # only the steepest
            V = np.hstack([V, math.sqrt(_step_length(exact, lmbda, V, H, N)) * N])
        V = np.ascontiguousarray(V, choices.X.dtype)
    W = symmetric_start(inner.W)
    return SolverResult(W, objective(W), status, gap, counter.evaluations - first)


def _slope(
    exact: ChoiceLoss, V: Float[np.ndarray, "p k"], lmbda: float
) -> Float[np.ndarray, "p p"]:
    """H = sym(∂L/∂M) + λI at M = V Vᵀ, float64."""
    return exact.derivatives(V)[1] + lmbda * np.eye(len(V))


def _descent_columns(
    H: Float[np.ndarray, "p p"],
) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, "p f"]]:
    """The negative eigenvalues a of H, ascending, and the columns √|a| v of their eigenvectors."""
    values, vectors = np.linalg.eigh(H)
    is_negative = values < 0
    return values[is_negative], vectors[:, is_negative] * np.sqrt(-values[is_negative])


def _steepest_descent_columns(exact: ChoiceLoss, lmbda: float) -> Float[np.ndarray, "p k"]:
    """Columns along the steepest descent at M = 0, with the length that lowers f most."""
    zero = np.zeros((exact.X.shape[1], 1))
    _, V = _descent_columns(_slope(exact, zero, lmbda))
    scale, _ = best_scale(exact, exact.X @ V, lmbda * dot(V, V))
    return V * scale


def _prune(
    V: Float[np.ndarray, "p k"], H: Float[np.ndarray, "p p"], threshold: float
) -> Float[np.ndarray, "p kept"]:
    """Orthogonal columns of the same M, except columns nearly 0 along which f rises."""
    U, singular, _ = np.linalg.svd(V, full_matrices=False)
    rises = np.sum(U * (H @ U), axis=0) > 0
    is_short = singular < threshold * singular[0]
    return (U * singular)[:, ~(rises & is_short)]


def _step_length(
    exact: ChoiceLoss,
    lmbda: float,
    V: Float[np.ndarray, "p k"],
    H: Float[np.ndarray, "p p"],
    N: Float[np.ndarray, "p f"],
) -> float:
    """The s of M + sNNᵀ, from the slope at 0 and at an s where f falls at most half as steeply."""
    slope = dot(H @ N, N)
    s = 0.01 * dot(V, V) / dot(N, N)
    for _ in range(_MAX_LENGTHS):
        extended = np.hstack([V, math.sqrt(s) * N])
        slope_ahead = dot(_slope(exact, extended, lmbda) @ N, N)
        if slope_ahead >= 0.5 * slope:
            return s * (slope / (slope - slope_ahead))
        s *= 4
    return s
