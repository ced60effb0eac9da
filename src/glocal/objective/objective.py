"""The objective of an arm: a weighted sum of the loss of answers, the local loss and a penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.objective.choices import ChoiceLoss
from glocal.objective.threads import Workers
from glocal.similarity import Rows, Square, Weights, row_slices

_MIN_LENGTH = 1e-12  # least length by which a row is divided
_SLICE_COSINES = 1 << 15  # cosines in a slice of rows, which stay in the second-level cache

Cosines = Float[np.ndarray, "m m"]
"""A number for each two images of a block."""


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
        with np.errstate(over="ignore", invalid="ignore"):  # a step far too long shows in the value
            return self._evaluation(W)

    def _evaluation(self, W: Weights) -> Evaluation:
        """The weighted sums of the terms and of their gradients."""
        global_loss, dW = self.choices(W)
        dW *= self.global_weight
        value = self.global_weight * global_loss
        parts = {"global": global_loss}
        if self.local is not None:
            local_loss, local_dW = self.local(W)
            dW += self.alpha * local_dW
            value += self.alpha * local_loss
            parts["local"] = local_loss
        size, penalty_dW = penalty(W, self.mix)
        dW += self.lmbda * penalty_dW
        value += self.lmbda * size
        parts["penalty"] = size
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
        self._teachers = tuple(map(self._teacher, self.blocks))

    def __call__(self, W: Square) -> tuple[float, Square]:
        """L and its gradient at W."""
        losses = self._between_blocks.map(
            partial(self._block_loss, W),
            self.blocks,
            self._teachers,
        )
        value = 0.0
        dW = np.zeros_like(W)
        for block_value, block_dW in losses:
            value += block_value
            dW += block_dW
        return value / self.n, dW

    def _block_loss(
        self,
        W: Square,
        X: Rows,
        teacher: Cosines,
    ) -> tuple[float, Square]:
        """The loss of a block, summed over its images, and its term in the gradient of L."""
        workers = self._inside_block
        Z = workers.product(X, W)
        Z, lengths = unit_rows_and_lengths(Z)  # (m, p), (m, 1)
        logits = workers.product(Z, Z.T)  # (m, m)
        value = self._cross_entropy(logits, teacher)
        g = workers.product(logits, Z)  # (m, p)
        g /= self.tau * self.n
        radial = np.einsum("ij,ij->i", g, Z)
        g -= Z * radial[:, None]
        g /= lengths
        dW = workers.product(X.T, g)
        return value, dW

    def _cross_entropy(
        self,
        logits: Cosines,
        teacher: Cosines,
    ) -> float:
        """-Σ P log Q of a block, from its cosines, which become Q + Qᵀ - (P + Pᵀ)."""
        m = len(logits)
        log_sums = np.empty(m, logits.dtype)

        def loss(rows: slice) -> float:
            self._to_logits(logits, rows)
            part = logits[rows]
            log_sums[rows] = log_sum_exp(part)
            total = log_sums[rows].sum(dtype=np.float64)
            chosen = np.vdot(teacher[rows], part)
            return float(total) - float(chosen) / 2

        def to_residuals(rows: slice) -> None:
            part = logits[rows]
            Q = part - log_sums[rows, None]
            np.exp(Q, out=Q)
            part -= log_sums  # the logits are symmetric, so only the log sums differ for Qᵀ
            np.exp(part, out=part)
            part += Q
            part -= teacher[rows]

        workers = self._inside_block
        slices = row_slices(m, _SLICE_COSINES // m)
        losses = workers.map(loss, slices)
        workers.map(to_residuals, slices)
        return sum(losses)

    def _teacher(self, X: Rows) -> Cosines:
        """P + Pᵀ of one block."""
        rows, _ = unit_rows_and_lengths(X)
        logits = rows @ rows.T
        self._to_logits(logits, slice(None))
        log_sums = log_sum_exp(logits)
        log_P = logits - log_sums[:, None]
        P = np.exp(log_P)
        return P + P.T

    def _to_logits(self, C: Cosines, rows: slice) -> None:
        """Divide rows of cosines by τ in place, and make the diagonal too small to count."""
        C[rows] /= self.tau
        numbers = np.arange(len(C))
        diagonal = numbers[rows]
        lowest = np.finfo(C.dtype).min
        # NOTE finite on purpose: with -inf the product 0 · -inf would be NaN
        C[diagonal, diagonal] = lowest / 1e8


def penalty(W: Square, mix: float) -> tuple[float, Square]:
    """R(W) and its gradient.

        R(W) = mix ‖W - cI‖²_F + (1 - mix) ‖W‖²_F = ‖W - cI‖²_F + (1 - mix) p c²,   c = tr W / p

    With `mix` 1 scaled identities cost nothing. With `mix` 0 this is the ‖W‖²_F of `naive`.
    """
    p = len(W)
    diagonal = np.arange(p)
    mean = np.mean(W[diagonal, diagonal], dtype=np.float64)
    c = float(mean)
    share = 1 - mix
    rest = W.copy()
    rest[diagonal, diagonal] -= c  # avoids the cancellation of ‖W‖² - mix (tr W)² / p
    square_norm = np.sum(rest * rest, dtype=np.float64)
    value = float(square_norm)
    value += share * p * c * c
    dW = rest
    dW[diagonal, diagonal] += share * c
    dW *= 2
    return value, dW


def unit_rows_and_lengths(
    Z: Rows,
) -> tuple[Rows, Float[np.ndarray, "m 1"]]:
    """Scale rows to length 1, and return their original lengths too."""
    squares = np.einsum("ij,ij->i", Z, Z)
    lengths = np.sqrt(squares)
    shortest = Z.dtype.type(_MIN_LENGTH)
    lengths = np.maximum(lengths, shortest)
    column = lengths[:, None]
    return Z / column, column


def log_sum_exp(logits: Float[np.ndarray, "c m"]) -> Float[np.ndarray, " c"]:
    """Log Σ exp of each row."""
    highest = logits.max(axis=1)
    shares = np.exp(logits - highest[:, None])
    sums = shares.sum(axis=1)
    return np.log(sums) + highest
