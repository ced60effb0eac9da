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
_FORCING = 0.1
_MOST_PRODUCTS = 200
# up to so many multiplications in a product with H, float32 would save nothing
_DOUBLE = 1 << 20


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows of one problem.

    Q (n, r) with a last column of ones; the copy that Newton's directions are computed with, float32 unless small, and
    its squares; y (n,), classes in 0..k - 1.
    """

    Q: Float[np.ndarray, "n r"]
    copy: Float[np.ndarray, "n r"]
    squares: Float[np.ndarray, "n r"]
    y: Int[np.ndarray, " n"]
    k: int

    @classmethod
    def of(cls, Q: Float[np.ndarray, "n r"], y: Int[np.ndarray, " n"], k: int) -> Rows:
        """Make the problem of these rows."""
        copy: np.ndarray = Q.astype(np.float64 if Q.size * k <= _DOUBLE else np.float32)
        return cls(Q, copy, copy * copy, y, k)

    @property
    def penalty(self) -> Float[np.ndarray, "r 1"]:
        """1 for weights, 0 for the intercept; two classes as one difference w = w₁ - w₀ = 2 w₁, penalised ‖w‖²/2."""
        penalty = np.full((self.Q.shape[1], 1), 2.0 if self.k == 2 else 1.0, dtype=self.copy.dtype)
        penalty[-1] = 0
        return penalty


def row_space(X: Float[np.ndarray, "n p"]) -> tuple[Float[np.ndarray, "n r1"], Float[np.ndarray, "p r"]]:
    """Q = [U S, 1] and V of centred rows: their coordinates in their own span, along its principal directions.

    Centring moves the intercept and nothing else: b = b_centred - mean(X) W.
    """
    largest = float(np.abs(X).max(initial=0.0))
    U, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    # what rounding of the mean leaves is not a direction of the data
    kept = s > max(1e-10 * s.max(initial=0.0), 1e-13 * largest * X.size**0.5)
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
    rows: Rows,
    C: float,
    starts: Sequence[Float[np.ndarray, "r k"]],
    tol: float = TOLERANCE,
    max_steps: int = 100,
) -> tuple[Float[np.ndarray, "r k"], bool]:
    """Minimise f(θ) = C Σ_i -log softmax(Q θ)_i,y_i + ½‖W‖², the last row of θ being the unpenalised intercept.

    Newton's H d = -g is solved by conjugate gradients, preconditioned by the diagonal of H (Q is in principal
    directions, where that works well), until one more of them would add little to the fall of the quadratic model
    (Nash and Sofer's test); then the step is halved until f falls. The direction is as inexact as that, so of a
    large problem it is computed in float32; objective, gradient and iterates are float64.

    Parameters
    ----------
    rows : Rows
    C : float
        Inverse strength of the penalty, as in scikit-learn.
    starts : (r + 1, k) arrays
        Neighbours on a path of C, and their extrapolation. The best of them and of 0 is the start, so that no class
        begins saturated and wrong, where the curvature that Newton's step divides by vanishes.
    tol : float
        It stops after a full step with -gᵀd ≤ tol · f.
    max_steps : int
        Newton steps after which it is not converged.

    Returns
    -------
    theta : (r + 1, k) float64
    converged : bool

    References
    ----------
    Nocedal & Wright (2006), Numerical Optimization, algorithm 7.1; Nash & Sofer (1990), Assessing a search direction
    within a truncated-Newton method, Oper. Res. Lett. 9:219; objective as in scikit-learn's LogisticRegression.
    """
    penalty, Q, y = rows.penalty, rows.Q, rows.y
    tried = [(theta, *objective(rows, C, theta, Q @ theta)) for theta in (np.zeros_like(starts[0]), *starts)]
    theta, f, P = min(tried, key=lambda start: start[1])
    for _ in range(max_steps):
        E = C * P
        E[np.arange(len(y)), y] -= C
        direction, slope = _newton_direction(rows, C * P, P, -(Q.T @ E + penalty * theta))
        if -slope <= 1e-14 * f:  # at the optimum already, e.g. where all rows are equal
            return theta, True
        step = 1.0
        while True:
            moved = theta + step * direction
            f_moved, P_moved = objective(rows, C, moved, Q @ moved)
            if f_moved <= f + 1e-4 * step * slope:
                break
            step /= 2
            if step < 1e-8:
                return theta, -slope <= tol * f
        theta, f, P = moved, f_moved, P_moved
        if step == 1.0 and -slope <= tol * f:
            return theta, True
    return theta, False


def _newton_direction(rows: Rows, CP: np.ndarray, P: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, float]:
    """Solve H d = residual (= -g) inexactly; give d and gᵀd."""
    penalty, Q, true = rows.penalty, rows.copy, (np.arange(len(P)), rows.y)
    number = Q.dtype.type
    variance = (CP * (1 - P)).astype(number)
    CP, P, residual = (array.astype(number) for array in (CP, P, residual))
    smallest = np.finfo(number).tiny
    diagonal = rows.squares.T @ variance + penalty
    # one number added to all intercepts changes nothing: H is 0 there, and rounding must not grow along it
    diagonal[-1] = np.maximum(diagonal[-1], 1e-3 * diagonal[-1].max() + smallest)
    residual[-1] -= residual[-1].mean()
    d, slope = np.zeros_like(residual), 0.0
    z = _preconditioned(residual, diagonal)
    squared, p = float(np.vdot(residual, z)), z
    for product in range(1, _MOST_PRODUCTS + 1):
        curved = Q @ p
        # NOTE relative to the true class first: where its p is nearly 1, a difference of large terms would be noise
        curved -= curved[true][:, None]
        curved -= np.einsum("nk,nk->n", P, curved)[:, None]
        curved *= CP
        h = Q.T @ curved + penalty * p
        bend = float(np.vdot(p, h))
        if not bend > 0:  # nothing but rounding is left of the residual
            break
        length = squared / bend
        d += number(length) * p
        residual -= number(length) * h
        gain = length * squared
        slope -= gain
        if product * gain <= _FORCING * -slope:
            break
        z = _preconditioned(residual, diagonal)
        previous, squared = squared, float(np.vdot(residual, z))
        p = z + number(squared / previous) * p
    return d, slope


def _preconditioned(residual: np.ndarray, diagonal: np.ndarray) -> np.ndarray:
    z: np.ndarray = residual / diagonal
    z[-1] -= z[-1].mean()
    return z
