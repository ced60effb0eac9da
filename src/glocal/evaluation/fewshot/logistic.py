"""Multinomial logistic regression in the row space of the shots: damped Newton steps by conjugate gradients.

Shots are few and features many, and an L2 penalty keeps the weights in the span of the training rows: with the thin
singular value decomposition X = U S Vᵀ every quantity lives on Q = U S, (n, r) with r ≤ n, and W = V θ exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

# squared decrement, relative to the objective: what remains after the last step is below 1e-4 of it
TOLERANCE = 1e-4
_FORCING = 0.25
_MOST_STEPS = 100
_MOST_PRODUCTS = 200


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows of one problem: Q (n, r + 1) with a last column of ones, its squares, y (n,) in 0..k - 1."""

    Q: Float[np.ndarray, "n r"]
    squares: Float[np.ndarray, "n r"]
    y: Int[np.ndarray, " n"]
    k: int

    @classmethod
    def of(cls, Q: Float[np.ndarray, "n r"], y: Int[np.ndarray, " n"], k: int) -> Rows:
        """Make the problem of these rows."""
        return cls(Q, Q * Q, y, k)

    @property
    def penalty(self) -> Float[np.ndarray, "r 1"]:
        """1 for weights, 0 for the intercept; two classes as one difference w = w₁ - w₀ = 2 w₁, penalised ‖w‖²/2."""
        penalty = np.full((self.Q.shape[1], 1), 2.0 if self.k == 2 else 1.0)
        penalty[-1] = 0
        return penalty


def row_space(X: Float[np.ndarray, "n p"]) -> tuple[Float[np.ndarray, "n r1"], Float[np.ndarray, "p r"]]:
    """Q = [U S, 1] and V: rows in the coordinates of their own span, which are also their principal directions."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    kept = s > 1e-10 * s.max(initial=0.0)
    return np.hstack([U[:, kept] * s[kept], np.ones((len(X), 1))]), Vt[kept].T


def objective(rows: Rows, C: float, theta: np.ndarray, Z: np.ndarray) -> tuple[float, np.ndarray]:
    """C Σ_i -log p_i,y + ½‖W‖² at logits Z = Q θ, and the probabilities (n, k)."""
    highest = Z.max(axis=1, keepdims=True)
    P = np.exp(Z - highest)
    total = P.sum(axis=1, keepdims=True)
    P /= total
    loss = (np.log(total) + highest)[:, 0] - Z[np.arange(len(Z)), rows.y]
    return C * float(loss.sum()) + 0.5 * float((rows.penalty * theta * theta).sum()), P


def minimise_logistic(
    rows: Rows, C: float, starts: Sequence[Float[np.ndarray, "r k"]], tol: float = TOLERANCE
) -> tuple[Float[np.ndarray, "r k"], bool]:
    """Minimise f(θ) = C Σ_i -log softmax(Q θ)_i,y_i + ½‖W‖², the last row of θ being the unpenalised intercept.

    Newton's H d = -g is solved to a residual of a quarter by conjugate gradients, preconditioned by the diagonal of H
    (Q is in principal directions, where that works well), then the step is halved until f falls.

    Parameters
    ----------
    rows : Rows
    C : float
        Inverse strength of the penalty, as in scikit-learn.
    starts : (r + 1, k) arrays
        The best of them is the start: neighbours on a path of C, and their extrapolation.
    tol : float
        It stops after a full step with -gᵀd ≤ tol · f.

    Returns
    -------
    theta : (r + 1, k) float64
    converged : bool

    References
    ----------
    Nocedal & Wright (2006), Numerical Optimization, algorithm 7.1; objective as in scikit-learn's LogisticRegression.
    """
    penalty, Q, y = rows.penalty, rows.Q, rows.y
    tried = [(theta, Z := Q @ theta, *objective(rows, C, theta, Z)) for theta in starts]
    theta, Z, f, P = min(tried, key=lambda start: start[2])
    for _ in range(_MOST_STEPS):
        E = C * P
        E[np.arange(len(y)), y] -= C
        residual = -(Q.T @ E + penalty * theta)
        direction, change, slope = _newton_direction(rows, C * P, P, residual)
        if -slope <= 1e-14 * f:  # at the optimum already, e.g. where all rows are equal
            return theta, True
        step = 1.0
        while True:
            moved, Z_moved = theta + step * direction, Z + step * change
            f_moved, P_moved = objective(rows, C, moved, Z_moved)
            if f_moved <= f + 1e-4 * step * slope:
                break
            step /= 2
            if step < 1e-8:
                return theta, -slope <= tol * f
        theta, Z, f, P = moved, Z_moved, f_moved, P_moved
        if step == 1.0 and -slope <= tol * f:
            return theta, True
    return theta, False


def _newton_direction(
    rows: Rows, CP: np.ndarray, P: np.ndarray, residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Solve H d = residual (= -g) inexactly; give d, Q d and gᵀd."""
    penalty, Q = rows.penalty, rows.Q
    diagonal = rows.squares.T @ (CP * (1 - P)) + penalty + np.finfo(float).tiny
    d, change, slope = np.zeros_like(residual), np.zeros_like(P), 0.0
    z = residual / diagonal
    first = squared = float((residual * z).sum())
    p = z
    for _ in range(_MOST_PRODUCTS):
        if squared <= _FORCING**2 * first or squared <= np.finfo(float).tiny:
            break
        u = Q @ p
        curved = CP * u
        curved -= P * curved.sum(axis=1, keepdims=True)
        h = Q.T @ curved + penalty * p
        length = squared / float((p * h).sum())
        d += length * p
        change += length * u
        residual = residual - length * h
        slope -= length * squared
        z = residual / diagonal
        previous, squared = squared, float((residual * z).sum())
        p = z + (squared / previous) * p
    return d, change, slope
