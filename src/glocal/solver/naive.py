"""`naive`: convex in M = W Wᵀ, low rank at the optimum, solved on few columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glocal.objective import ChoiceLoss, Evaluation, Objective
from glocal.solver.gap import best_scale
from glocal.solver.minimise import Counter, Criterion, SolverResult, Status, allowed_gap, dot, minimise

_ROUNDS = 60
_TINY = 3e-2  # relative singular value below which a column that the slope wants smaller is dropped; it falls with
_TINY_DECAY = 0.7  # every round, so that a column that is small at the optimum is not dropped and added for ever


@dataclass(frozen=True)
class Stationarity(Criterion):
    """For fixed columns V, M = V Vᵀ: |⟨∇f, V⟩| / 2 or ‖∇f‖²/(4λ), whichever is larger: what V alone can still gain."""

    lmbda: float

    def estimate(self, evaluation: Evaluation, V: Float[np.ndarray, "p k"]) -> float:
        """The figure itself."""
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
    """Minimise L_global + λ‖W‖²_F = L(M) + λ tr M over M = V Vᵀ with as many columns V as the optimum needs.

    In rounds: L-BFGS on the columns; then H = sym(∂L/∂M) + λI. Columns that are nearly 0 and on which H is positive are
    dropped; eigenvectors of H with negative eigenvalues are added, with the length that lowers f most. The duality gap

        f - f* ≤ ⟨H, M⟩ + max(0, -λ_min(H)) · f(M) / λ

    is rigorous: L is convex in M and λ tr M* ≤ f(M*) ≤ f(M).

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
    exact, objective, dtype = choices.double(), Objective(choices, None, 0.0, lmbda, mix=0.0), choices.X.dtype
    values, vectors = _falling(_slope(exact, np.zeros((len(moments), 1)), lmbda))
    V = vectors * np.sqrt(-values)  # the direction of steepest descent at M = 0
    V = (V * best_scale(exact, exact.X @ V, lmbda * dot(V, V))[0]).astype(dtype)
    status: Status = "stalled"
    counter = Counter() if counter is None else counter
    first = counter.evaluations
    last = first + max_evaluations
    for round_ in range(_ROUNDS):
        inner = minimise(
            objective, Stationarity(lmbda), V, moments, tol=tol / 4, symmetric=False,
            max_evaluations=max(1, min(60, last - counter.evaluations)), counter=counter,
        )  # fmt: skip
        V = inner.W.astype(np.float64)
        H = _slope(exact, V, lmbda)
        values, vectors = _falling(H)
        along, missing = abs(dot(H @ V, V)), -min(values, default=0.0) * inner.at.value / lmbda
        gap = along + missing
        if gap <= allowed_gap(inner.at, tol) or counter.evaluations >= last:
            status = "converged" if gap <= allowed_gap(inner.at, tol) else "budget"
            break
        V = _without_tiny(V, H, _TINY * _TINY_DECAY**round_)
        if missing > along / 4:
            V = _with_escape(exact, lmbda, V, H, values, vectors)
        V = np.ascontiguousarray(V, dtype)
    U, singular, _ = np.linalg.svd(inner.W.astype(np.float64), full_matrices=False)
    W = ((U * singular) @ U.T).astype(dtype)
    return SolverResult(W, objective(W), status, gap, counter.evaluations - first)


def _slope(exact: ChoiceLoss, V: Float[np.ndarray, "p k"], lmbda: float) -> Float[np.ndarray, "p p"]:
    """H = sym(∂L/∂M) + λI at M = V Vᵀ, float64."""
    return exact.derivatives(V)[1] + lmbda * np.eye(len(V))


def _falling(H: Float[np.ndarray, "p p"]) -> tuple[Float[np.ndarray, " f"], Float[np.ndarray, "p f"]]:
    """The negative eigenvalues of H, ascending, and their eigenvectors."""
    values, vectors = np.linalg.eigh(H)
    return values[values < 0], vectors[:, values < 0]


def _without_tiny(V: Float[np.ndarray, "p k"], H: Float[np.ndarray, "p p"], tiny: float) -> Float[np.ndarray, "p kept"]:
    """Orthogonal columns of the same M, less those nearly 0 along which f rises."""
    U, singular, _ = np.linalg.svd(V, full_matrices=False)
    rises = np.sum(U * (H @ U), axis=0) > 0
    return (U * singular)[:, ~(rises & (singular < tiny * singular[0]))]


def _with_escape(
    exact: ChoiceLoss,
    lmbda: float,
    V: Float[np.ndarray, "p k"],
    H: Float[np.ndarray, "p p"],
    values: Float[np.ndarray, " f"],
    vectors: Float[np.ndarray, "p f"],
) -> Float[np.ndarray, "p more"]:
    """Columns of M + sN, N = Σ |λ| v vᵀ over the most negative eigenvalues of H, s from two slopes along N."""
    most = values < values[0] / 10
    N = vectors[:, most] * np.sqrt(-values[most])
    slope, s = dot(H @ N, N), 0.01 * dot(V, V) / dot(N, N)
    for _ in range(10):
        ahead = dot(_slope(exact, np.hstack([V, math.sqrt(s) * N]), lmbda) @ N, N)
        if ahead >= 0.5 * slope:
            s *= slope / (slope - ahead)
            break
        s *= 4
    return np.hstack([V, math.sqrt(s) * N])
