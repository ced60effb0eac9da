"""One fit in principal axes of the object features, on the row space where rows are fewer than columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.data.features import Standardization
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Workers, blas_alone
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes U (p, r) of the objects, float64, and the second moments (r,) along them: W → UᵀWU.

    With fewer rows than columns U spans the rows of the objects and local images. Off them no loss depends on W, so
    that the penalty decides: W = cI with c = mix t / (p - mix q), t = tr UᵀWU and q = p - r (0 for `naive`, mix 0), and
    what is left of the penalty is that of UᵀWU with the share mix r / (p - mix q), which is 1 for mix 1.
    """

    U: Float[np.ndarray, "p r"]
    moments: Float[np.ndarray, " r"]

    @classmethod
    def of(cls, X: Float[np.ndarray, "n p"], blocks: Sequence[Float[np.ndarray, "_ p"]]) -> Axes:
        """Those of the rows of X, beside blocks of local images."""
        X, span = X.astype(np.float64), None
        if len(X) + sum(map(len, blocks)) < X.shape[1]:
            span = np.linalg.qr(np.concatenate([X, *blocks]).T)[0]
            X = X @ span
        moments, U = np.linalg.eigh(X.T @ X / len(X))
        return cls(U if span is None else span @ U, np.maximum(moments, 0))

    def mix(self, mix: float) -> float:
        """The share of the scaled identity in what is left of the penalty."""
        p, r = self.U.shape
        return mix * r / (p - mix * (p - r))

    def back(self, W: Float[np.ndarray, "r r"], mix: float) -> Float[np.ndarray, "p p"]:
        """W on the original columns, float32 as the file stores it."""
        (p, r), W = self.U.shape, W.astype(np.float64)
        whole = self.U @ W @ self.U.T
        if r < p:
            whole += mix * np.trace(W) / (p - mix * (p - r)) * (np.eye(p) - self.U @ self.U.T)
        return ((whole + whole.T) / 2).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Problem:
    """The data of a fit in their principal axes, for one arm after the other.

    `choices` is the loss of the answers on the objects that they name, `blocks` are the local images, `workers` the
    threads that all work is dealt to. Build it where it is used: threads can be sent to no other process.
    """

    axes: Axes
    choices: ChoiceLoss
    blocks: tuple[Float[np.ndarray, "_ r"], ...]
    scalars: Standardization
    workers: Workers
    _local: dict[float, LocalLoss] = field(default_factory=dict)

    @classmethod
    def build(cls, data: FitData, dtype: str, *, local: bool) -> Problem:
        """Rotate the objects that the answers name, and with `local` the blocks of local images."""
        X, answers = data.named(dtype)
        blocks = data.local_rows(dtype) if local else []
        with blas_alone() as most:
            workers = Workers.of(X.shape, len(answers), map(len, blocks), most)
            axes = Axes.of(X, blocks)
            U = axes.U.astype(dtype)
            rotated, *others = (workers.product(rows, U) for rows in (X, *blocks))
            choices = ChoiceLoss(rotated, answers.objects, answers.pairs, answers.weights, workers=workers)
        return cls(axes, choices, tuple(others), data.scalars, workers)

    @property
    def rank(self) -> int | None:
        """r, where it is below p."""
        p, r = self.axes.U.shape
        return None if r == p else int(r)

    def objective(self, arm: Arm) -> Objective:
        """What the arm minimises; teachers are computed once for each temperature."""
        if arm.local and arm.tau not in self._local:
            self._local[arm.tau] = LocalLoss(self.blocks, arm.tau, workers=self.workers)
        local = self._local[arm.tau] if arm.local else None
        return Objective(self.choices, local, arm.alpha if arm.local else 0.0, arm.lmbda, self.axes.mix(arm.identity))

    def transform(self, W: Float[np.ndarray, "r r"], arm: Arm) -> LinearTransform:
        """W on the original columns, with the standardization of the features."""
        return LinearTransform(self.axes.back(W, arm.identity), None, self.scalars.mean, self.scalars.std)
