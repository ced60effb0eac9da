"""`naive` with the squared norm: convex in M = W Wᵀ, low rank at the optimum, solved on few columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.objective import ChoiceLoss, Evaluation, Objective, Penalty
from glocal.solver.criterion import Iterate, Stationarity, Status, Verdict, compared
from glocal.solver.minimise import Solution, minimise
from glocal.solver.start import scale_of

_ROUNDS = 60
_TINY = 3e-2  # relative singular value below which a column that the slope wants smaller is dropped; it falls with
_TINY_DECAY = 0.7  # every round, so that a column that is small at the optimum is not dropped and added for ever


def lambda_max(loss: ChoiceLoss, mix: float = 0.0) -> float:
    """The smallest λ whose optimum is W = 0.

    With a_i the eigenvalues of sym ∂L/∂M at M = 0, that of `naive` (`mix` 0) is -min a_i, or 0 if that is negative.
    With 0 < mix < 1 the slope at M = 0 toward W² is smallest where W shares these eigenvectors, with eigenvalues w:

        Σ (a_i + λ) w_i² - λ mix (Σ w_i)² / p  ≥  0 for all w     ⟺     λ > -min a_i  and  λ mix Σ 1 / (a_i + λ) ≤ p

    Parameters
    ----------
    loss : ChoiceLoss
        In float64.
    mix : float
        Of the penalty, 0 to below 1.
    """
    p = loss.X.shape[1]
    a = torch.linalg.eigvalsh(_slope(loss, loss.X.new_zeros(p, 1), 0.0))
    low = max(0.0, -float(a[0]))
    high = low / (1 - mix)  # there λ mix / (a_i + λ) is at most 1 for every i; without mix, or at 0, it is low itself
    for _ in range(60):
        middle = (low + high) / 2
        trivial = middle * mix * float((1 / (a + middle)).mean()) <= 1
        low, high = (low, middle) if trivial else (middle, high)
    return high


def minimise_naive(
    loss: ChoiceLoss,
    lmbda: float,
    *,
    start: Float[Tensor, "p p"] | None = None,
    tol: float = 1e-5,
    max_evaluations: int = 1000,
    second_moments: Float[Tensor, " p"] | None = None,
    on_step: Callable[[int, Evaluation], None] | None = None,
) -> Solution:
    """Minimise L_global + λ‖W‖²_F = L(M) + λ tr M over M = V Vᵀ with as many columns V as the optimum needs.

    In rounds: L-BFGS on the columns; then H = sym(∂L/∂M) + λI. Columns that are nearly 0 and on which H is positive are
    dropped; eigenvectors of H with negative eigenvalues are added, with the length that lowers f most. The duality gap

        f - f* ≤ ⟨H, M⟩ + max(0, -λ_min(H)) · f(M) / λ

    is rigorous: L is convex in M and λ tr M* ≤ f(M*) ≤ f(M).

    Parameters
    ----------
    loss : ChoiceLoss
    lmbda : float
        0 < λ < lambda_max.
    start : (p, p) tensor or None
        A symmetric W to start from; None starts along the steepest descent at M = 0.
    tol, max_evaluations, second_moments, on_step
        As in `minimise`.

    Returns
    -------
    Solution
        W = M^½, symmetric positive semidefinite.

    References
    ----------
    Burer & Monteiro (2003), Math. Program. 95:329; Journée et al. (2010), SIAM J. Optim. 20:2327.
    """
    exact = loss.double()
    objective = Objective(((1.0, loss), (lmbda, Penalty("squared-norm"))))
    V = _steepest(exact, lmbda).to(loss.X) if start is None else start
    evaluations = 0
    for round_ in range(_ROUNDS):
        inner = minimise(
            objective, (V, None), criterion=Stationarity(lmbda), tol=tol / 4, symmetric=False,
            max_evaluations=max(1, min(60, max_evaluations - evaluations)), second_moments=second_moments,
            on_step=None if on_step is None else _shifted(on_step, evaluations),
        )  # fmt: skip
        evaluations += inner.evaluations
        V = inner.W
        H = _slope(exact, V.double(), lmbda)
        eigenvalues, vectors = torch.linalg.eigh(H)
        missing = max(0.0, -float(eigenvalues[0])) * inner.at.value / lmbda
        along = abs(float(torch.sum((H @ V.double()) * V.double())))
        verdict = compared("duality gap", along + missing, Iterate(inner.at, V).allowed(tol))
        if verdict.converged or evaluations >= max_evaluations:
            break
        V = _without_tiny(V.double(), H, _TINY * _TINY_DECAY**round_)
        if missing > along / 4:
            V = _with_escape(exact, lmbda, V, H, eigenvalues, vectors)
        V = V.to(loss.X)
    return _solution(objective, inner, verdict, evaluations, max_evaluations)


def _slope(exact: ChoiceLoss, V: Float[Tensor, "p k"], lmbda: float) -> Float[Tensor, "p p"]:
    """H = sym(∂L/∂M) + λI at M = V Vᵀ, float64."""
    H = exact.slopes(V.to(exact.X)).M
    H.diagonal().add_(lmbda)
    return H


def _steepest(exact: ChoiceLoss, lmbda: float) -> Float[Tensor, "p k"]:
    """Columns of the best multiple of (-H(0))₊, the positive semidefinite direction of steepest descent at M = 0."""
    p = exact.X.shape[1]
    eigenvalues, vectors = torch.linalg.eigh(_slope(exact, exact.X.new_zeros(p, 1), lmbda))
    negative = eigenvalues < 0
    V = vectors[:, negative] * (-eigenvalues[negative]).sqrt()
    squared_norm = float(torch.sum(V * V))
    return V * scale_of(exact, exact.X @ V, lmbda, Penalty("squared-norm"), squared_norm)


def _without_tiny(V: Float[Tensor, "p k"], H: Float[Tensor, "p p"], tiny: float) -> Float[Tensor, "p kept"]:
    """Orthogonal columns of the same M, less those nearly 0 along which f rises."""
    U, singular, _ = torch.linalg.svd(V, full_matrices=False)
    rises = torch.sum(U * (H @ U), dim=0) > 0
    keep = ~(rises & (singular < tiny * singular[0]))
    return (U * singular)[:, keep]


def _with_escape(
    exact: ChoiceLoss,
    lmbda: float,
    V: Float[Tensor, "p k"],
    H: Float[Tensor, "p p"],
    eigenvalues: Float[Tensor, " p"],
    vectors: Float[Tensor, "p p"],
) -> Float[Tensor, "p more"]:
    """Columns of M + sN, N = Σ |λ| v vᵀ over the negative eigenvalues of H, s from the slope along N at two points."""
    negative = eigenvalues < eigenvalues[0] / 10
    N = vectors[:, negative] * (-eigenvalues[negative]).sqrt()
    slope = float(torch.sum((H @ N) * N))
    s = 0.01 * float(torch.sum(V * V)) / float(torch.sum(N * N))
    for _ in range(10):
        ahead = float(torch.sum((_slope(exact, torch.cat([V, math.sqrt(s) * N], dim=1), lmbda) @ N) * N))
        if ahead < 0.5 * slope:
            s *= 4
            continue
        s *= slope / (slope - ahead)
        break
    return torch.cat([V, math.sqrt(s) * N], dim=1)


def _solution(
    objective: Objective, inner: Solution, verdict: Verdict, evaluations: int, max_evaluations: int
) -> Solution:
    U, singular, _ = torch.linalg.svd(inner.W.double(), full_matrices=False)
    W = ((U * singular) @ U.T).to(inner.W)
    status: Status = "converged" if verdict.converged else "budget" if evaluations >= max_evaluations else "stalled"
    ending = {
        "converged": f"after {evaluations} evaluations",
        "budget": f"and all {evaluations} evaluations are spent: raise max_evaluations, or tol",
        "stalled": f"after {evaluations} evaluations in {_ROUNDS} rounds: use float64, or raise tol",
    }
    at = objective(W)
    return replace(
        inner,
        W=W,
        at=at,
        status=status,
        gap=verdict.gap,
        evaluations=evaluations,
        curvature=(),  # of columns, not of W
        reason=f"{verdict.reason} {ending[status]}",
    )


def _shifted(on_step: Callable[[int, Evaluation], None], by: int) -> Callable[[int, Evaluation], None]:
    return lambda evaluations, at: on_step(by + evaluations, at)
