"""The objective of an arm: a weighted sum of the loss of answers, the local loss and a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.objective.choices import ChoiceLoss
from glocal.objective.threads import Workers
from glocal.similarity import Rows, Square, Weights, row_slices

_MIN_LENGTH = 1e-12  # least length by which a row is divided
_SLICE_COSINES = 1 << 15  # cosines in a slice of rows, which stay in the second-level cache


class Evaluation(NamedTuple):
    """The objective at one W: the weighted sum, the unweighted value of each term, and ∂f/∂W."""

    value: float
    parts: dict[str, float]
    dW: Weights


@dataclass(frozen=True, eq=False)
class Objective:
    """The objectives of the paper (Muttenthaler et al. 2023, Eq. 3 and 6).

        f(W) = (1 - α) L_global + α L_local + λ R(W),   or L_global + λ R(W) without a local loss

    Parameters
    ----------
    alpha, lmbda : float
        α, 0 to below 1 and 0 without a local loss, and λ.
    mix : float
        Mix of the penalty (see `penalty`), 0 for `naive`.
    """

    choices: ChoiceLoss
    local: LocalLoss | None
    alpha: float
    lmbda: float
    mix: float

    @property
    def global_weight(self) -> float:
        """The weight of L_global."""
        return 1 - self.alpha

    def __call__(self, W: Weights) -> Evaluation:
        """Value and gradient."""
        parts = {}
        with np.errstate(over="ignore", invalid="ignore"):  # a step far too long shows in the value
            parts["global"], dW = self.choices(W)
            dW *= self.global_weight
            if self.local is not None:
                parts["local"], term_dW = self.local(W)
                dW += self.alpha * term_dW
            parts["penalty"], term_dW = penalty(W, self.mix)
            dW += self.lmbda * term_dW
        value = self.global_weight * parts["global"] + self.alpha * parts.get("local", 0.0)
        return Evaluation(value + self.lmbda * parts["penalty"], parts, dW)


class LocalLoss:
    """L_local(W) and its gradient.

        P_i = softmax_{j≠i}( cos(x_i, x_j) / τ )      the teacher, computed once
        Q_i = softmax_{j≠i}( cos(z_i, z_j) / τ ),     z = x W
        L   = mean over images i of  -Σ_j P_ij log Q_ij

    With ẑ = z/‖z‖, C = Ẑ Ẑᵀ inside a block and N images in all,

        ∂L/∂C = (Q - P) / (τ N)
        ∂L/∂Ẑ = (∂L/∂C + ∂L/∂Cᵀ) Ẑ
        ∂L/∂z_i = (g_i - ẑ_i ⟨ẑ_i, g_i⟩) / ‖z_i‖      with g = ∂L/∂Ẑ.

    Only P + Pᵀ enters these formulas, and only this sum is stored: N · m numbers for blocks of m
    images.

    Parameters
    ----------
    blocks : sequence of (m, p) arrays
        Standardized features of the local images, one array per block.
    tau : float
        Temperature τ > 0.

    References
    ----------
    Muttenthaler et al. 2023, Eq. 4 and 5. The mean over images is as in the authors' code; the
    paper may divide by m² - m, which could not be checked. The value contains about log(m - 1) for
    blocks of m images, so that another block size gives another objective.
    """

    def __init__(
        self,
        blocks: Sequence[Rows],
        tau: float,
        *,
        workers: Workers = Workers(1),
    ) -> None:
        self.blocks = tuple(blocks)
        self.tau = tau
        self.n = sum(map(len, blocks))
        if len(self.blocks) >= workers.threads:
            self._between_blocks = workers
            self._inside_block = Workers(1)
        else:
            self._between_blocks = Workers(1)
            self._inside_block = workers
        self._teachers = tuple(self._teacher(unit_rows_and_lengths(X)[0]) for X in self.blocks)

    def __call__(self, W: Square) -> tuple[float, Square]:
        """L and its gradient at W."""
        parts = self._between_blocks.map(
            lambda X, teacher: self._block_loss(X, teacher, W), self.blocks, self._teachers
        )
        return sum(value for value, _ in parts) / self.n, sum(dW for _, dW in parts)

    def _block_loss(
        self,
        X: Rows,
        teacher: Float[np.ndarray, "m m"],
        W: Square,
    ) -> tuple[float, Square]:
        """The loss of a block, summed over its images, and its term in the gradient of L."""
        workers = self._inside_block
        Z, lengths = unit_rows_and_lengths(workers.product(X, W))  # (m, p), (m, 1)
        logits = workers.product(Z, Z.T)  # (m, m)
        log_sums = np.empty(len(Z), Z.dtype)
        slices = row_slices(len(Z), _SLICE_COSINES // len(Z))

        def loss(rows: slice) -> float:
            self._to_logits(logits, rows)
            log_sums[rows] = log_sum_exp(logits[rows])
            chosen = float(np.vdot(teacher[rows], logits[rows])) / 2
            return float(log_sums[rows].sum(dtype=np.float64)) - chosen

        def residuals(rows: slice) -> None:
            """Replace the logits by Q + Qᵀ - (P + Pᵀ)."""
            part = logits[rows]
            Q = part - log_sums[rows, None]
            part -= log_sums  # the logits are symmetric, so only the log sums differ for Qᵀ
            part[:] = np.exp(part, out=part) + np.exp(Q, out=Q) - teacher[rows]

        value = sum(workers.map(loss, slices))
        workers.map(residuals, slices)
        g = workers.product(logits, Z)  # (m, p)
        g /= self.tau * self.n
        g -= Z * np.einsum("ij,ij->i", g, Z)[:, None]
        g /= lengths
        return value, workers.product(X.T, g)

    def _teacher(self, X: Rows) -> Float[np.ndarray, "m m"]:
        """P + Pᵀ of one block of rows of length 1."""
        logits = X @ X.T
        self._to_logits(logits, slice(None))
        P = np.exp(logits - log_sum_exp(logits)[:, None])
        return P + P.T

    def _to_logits(self, C: Float[np.ndarray, "m m"], rows: slice) -> None:
        """Divide rows of cosines by τ in place, and make the diagonal too small to count."""
        C[rows] /= self.tau
        diagonal = np.arange(len(C))[rows]
        # NOTE finite on purpose: with -inf the product 0 · -inf would be NaN
        C[diagonal, diagonal] = np.finfo(C.dtype).min / 1e8


def penalty(W: Square, mix: float) -> tuple[float, Square]:
    """R(W) and its gradient.

        R(W) = mix ‖W - cI‖²_F + (1 - mix) ‖W‖²_F = ‖W - cI‖²_F + (1 - mix) p c²,   c = tr W / p

    With `mix` 1 scaled identities cost nothing. With `mix` 0 this is the ‖W‖²_F of `naive`.
    """
    rest = W.copy()
    diagonal = np.arange(len(W))
    c = float(np.mean(W[diagonal, diagonal], dtype=np.float64))
    rest[diagonal, diagonal] -= c  # avoids the cancellation of ‖W‖² - mix (tr W)² / p
    value = float(np.sum(rest * rest, dtype=np.float64)) + (1 - mix) * len(W) * c * c
    rest[diagonal, diagonal] += (1 - mix) * c
    rest *= 2
    return value, rest


def unit_rows_and_lengths(
    Z: Rows,
) -> tuple[Rows, Float[np.ndarray, "m 1"]]:
    """Scale rows to length 1, and return their original lengths too."""
    lengths = np.sqrt(np.einsum("ij,ij->i", Z, Z))
    lengths = np.maximum(lengths, Z.dtype.type(_MIN_LENGTH))[:, None]
    return Z / lengths, lengths


def log_sum_exp(logits: Float[np.ndarray, "c m"]) -> Float[np.ndarray, " c"]:
    """Log Σ exp of each row."""
    highest = logits.max(axis=1)
    return np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest
