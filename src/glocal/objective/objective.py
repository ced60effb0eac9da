"""What an arm minimises: a weighted sum of the loss of answers, the local loss and a penalty, with its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.objective.choices import ChoiceLoss
from glocal.objective.threads import Workers, runs

_SMALLEST = 1e-12
_RUN = 1 << 15  # cosines of a run of rows, which stay in the second-level cache from step to step


class Evaluation(NamedTuple):
    """The objective at one W: the weighted sum, the unweighted value of each term, and ∂f/∂W."""

    value: float
    parts: dict[str, float]
    dW: Float[np.ndarray, "p q"]


@dataclass(frozen=True, eq=False)
class Objective:
    """The objectives of the paper (Muttenthaler et al. 2023, Eq. 3 and 6).

        f(W) = (1 - α) L_global + α L_local + λ R(W),   without a local loss L_global + λ R(W)

    Parameters
    ----------
    alpha, lmbda : float
        α, 0 to below 1, and λ.
    mix : float
        Mix of the penalty: see `penalty`; 0 for `naive`.
    """

    choices: ChoiceLoss
    local: LocalLoss | None
    alpha: float
    lmbda: float
    mix: float

    @property
    def share(self) -> float:
        """The weight of L_global."""
        return 1.0 if self.local is None else 1 - self.alpha

    def __call__(self, W: Float[np.ndarray, "p q"]) -> Evaluation:
        """Value and gradient."""
        parts = {}
        with np.errstate(over="ignore", invalid="ignore"):  # far too long steps: the value says so
            parts["global"], dW = self.choices(W)
            dW *= self.share
            if self.local is not None:
                parts["local"], part = self.local(W)
                part *= self.alpha
                dW += part
            parts["penalty"], part = penalty(W, self.mix)
            part *= self.lmbda
            dW += part
        value = (
            self.share * parts["global"]
            + self.alpha * parts.get("local", 0.0)
            + self.lmbda * parts["penalty"]
        )
        return Evaluation(value, parts, dW)


class LocalLoss:
    """L_local(W) and its gradient.

        P_i = softmax_{j≠i}( cos(x_i, x_j) / τ )      the teacher, computed once
        Q_i = softmax_{j≠i}( cos(z_i, z_j) / τ ),     z = x W
        L   = mean over images i of  -Σ_j P_ij log Q_ij

    With ẑ = z/‖z‖, C = Ẑ Ẑᵀ inside a block and N images in all,

        ∂L/∂C = (Q - P) / (τ N)
        ∂L/∂Ẑ = (∂L/∂C + ∂L/∂Cᵀ) Ẑ
        ∂L/∂z_i = (g_i - ẑ_i ⟨ẑ_i, g_i⟩) / ‖z_i‖      with g = ∂L/∂Ẑ.

    Only P + Pᵀ enters, so that is what is kept: N · m numbers for blocks of m images.

    Parameters
    ----------
    blocks : sequence of (m, p) arrays
        Standardized features of the local images, one array a block.
    tau : float
        Temperature τ > 0.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 4 and 5; a mean over images as in the authors' code. The value contains about
    log(m - 1) for blocks of m images, so blocks of another size are another objective.
    """

    def __init__(
        self,
        blocks: Sequence[Float[np.ndarray, "_ p"]],
        tau: float,
        *,
        workers: Workers = Workers(1),
    ) -> None:
        self.blocks, self.tau, self.n = tuple(blocks), tau, sum(map(len, blocks))
        by_block = len(self.blocks) >= workers.threads  # else the threads share each block
        self._outer, self._inner = (workers, Workers(1)) if by_block else (Workers(1), workers)
        self._teachers = tuple(self._teacher(unit(X)[0]) for X in self.blocks)

    def __call__(self, W: Float[np.ndarray, "p p"]) -> tuple[float, Float[np.ndarray, "p p"]]:
        """L and its gradient at W."""
        parts = self._outer.map(
            lambda X, teacher: self._of_block(X, teacher, W), self.blocks, self._teachers
        )
        return sum(value for value, _ in parts) / self.n, sum(dW for _, dW in parts)

    def _of_block(
        self,
        X: Float[np.ndarray, "m p"],
        teacher: Float[np.ndarray, "m m"],
        W: Float[np.ndarray, "p p"],
    ) -> tuple[float, Float[np.ndarray, "p p"]]:
        """The loss of a block, summed over its images, and its part of the gradient of L."""
        product = self._inner.product
        Z, norms = unit(product(X, W))
        value, D = self._of_cosines(product(Z, Z.T), teacher)
        g = product(D, Z)
        g /= self.tau * self.n
        g -= Z * np.einsum("ij,ij->i", g, Z)[:, None]
        g /= norms
        return value, product(X.T, g)

    def _of_cosines(
        self, C: Float[np.ndarray, "m m"], teacher: Float[np.ndarray, "m m"]
    ) -> tuple[float, Float[np.ndarray, "m m"]]:
        """The loss of a block, summed over its images, and Q + Qᵀ - (P + Pᵀ) in the place of C."""
        L, log_sums, rows = C, np.empty(len(C), C.dtype), runs(len(C), _RUN // len(C))

        def loss(rows: slice) -> float:
            self._logits(L, rows)
            log_sums[rows] = log_sum(L[rows])
            return (
                float(log_sums[rows].sum(dtype=np.float64))
                - float(np.vdot(teacher[rows], L[rows])) / 2
            )

        def residuals(rows: slice) -> None:
            run = L[rows]
            Q = run - log_sums[rows, None]
            run -= log_sums  # the logits are symmetric: Qᵀ only exchanges the log sums
            run[:] = np.exp(run, out=run) + np.exp(Q, out=Q) - teacher[rows]

        value = sum(self._inner.map(loss, rows))
        self._inner.map(residuals, rows)
        return value, L

    def _teacher(self, X: Float[np.ndarray, "m p"]) -> Float[np.ndarray, "m m"]:
        """P + Pᵀ of one block of rows of length 1."""
        P = X @ X.T
        self._logits(P, slice(None))
        P = np.exp(P - log_sum(P)[:, None])
        return P + P.T

    def _logits(self, C: Float[np.ndarray, "m m"], rows: slice) -> None:
        """Rows of cosines over τ, in their place, with a diagonal so low that it never counts."""
        C[rows] /= self.tau
        own = np.arange(len(C))[rows]
        C[own, own] = (
            np.finfo(C.dtype).min / 1e8
        )  # NOTE finite on purpose: -inf would turn 0 · -inf into no number


def penalty(W: Float[np.ndarray, "p q"], mix: float) -> tuple[float, Float[np.ndarray, "p q"]]:
    """R(W) and its gradient.

        R(W) = mix ‖W - cI‖²_F + (1 - mix) ‖W‖²_F = ‖W - cI‖²_F + (1 - mix) p c²,   c = tr W / p

    At `mix` 1 scaled identities cost nothing; at 0 this is ‖W‖²_F of `naive`, for any number of columns.
    """
    if mix == 0:
        return float(np.sum(W * W, dtype=np.float64)), 2 * W
    rest, own = W.copy(), np.arange(len(W))
    c = float(np.mean(W[own, own], dtype=np.float64))
    rest[own, own] -= c  # without the cancellation of ‖W‖² - mix (tr W)² / p
    value = float(np.sum(rest * rest, dtype=np.float64)) + (1 - mix) * len(W) * c * c
    rest[own, own] += (1 - mix) * c
    rest *= 2
    return value, rest


def unit(Z: Float[np.ndarray, "m p"]) -> tuple[Float[np.ndarray, "m p"], Float[np.ndarray, "m 1"]]:
    """Rows of length 1, and the lengths that they had."""
    norms = np.maximum(np.sqrt(np.einsum("ij,ij->i", Z, Z)), Z.dtype.type(_SMALLEST))[:, None]
    return Z / norms, norms


def log_sum(L: Float[np.ndarray, "c m"]) -> Float[np.ndarray, " c"]:
    """Log Σ exp of each row."""
    highest = L.max(axis=1)
    return np.log(np.exp(L - highest[:, None]).sum(axis=1)) + highest
