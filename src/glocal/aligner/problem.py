"""One arm in principal axes of the object features, on the row space where rows are fewer than columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, LocalBlocks, on_device
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty, weighted
from glocal.solver import State, symmetric_start
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class Problem:
    """The data in principal axes of the object features: x̃ → x̃U, W → UᵀWU, which changes no term.

    With fewer rows than columns U (p, r) spans the rows of the objects and local images. Off them no loss depends on W,
    so that the penalty decides: W = 0 for `naive`, else W = cI with c = mix t / (p - mix q), t = tr UᵀWU and q = p - r,
    and what is left of the penalty is that of UᵀWU with the share mix r / (p - mix q), which is 1 for mix 1. One axis
    more than there are rows holds what a bias may have off them.

    `loss` is of the objects that the answers name, `blocks` are the local images, `axes` U in float64, and
    `second_moments` (r,) those of the objects along the axes.
    """

    loss: ChoiceLoss
    blocks: tuple[Float[Tensor, "_ r"], ...]
    axes: Float[Tensor, "p r"]
    second_moments: Float[Tensor, " r"]
    _local: dict[float, LocalLoss] = field(default_factory=dict)

    @classmethod
    def build(cls, data: FitData, local: LocalBlocks | None, dtype: str, device: str) -> Problem:
        """Rotate the objects that the answers name, and the blocks of local images."""
        X, answers = data.named(dtype, device)
        blocks = [] if local is None else [on_device(block, device) for block in local.blocks]
        axes, moments = principal_axes(X, blocks)
        U = axes.to(X)
        loss = ChoiceLoss(X @ U, answers)
        return cls(loss, tuple(block @ U for block in blocks), axes.to(X.device), moments.to(X))

    @property
    def rank(self) -> int | None:
        """r, where it is below p."""
        p, r = self.axes.shape
        return None if r == p else int(r)

    def penalty(self, arm: Arm) -> Penalty:
        """The penalty of an arm in these axes."""
        p, r = self.axes.shape
        return penalty_of(arm, arm.mix * r / (p - arm.mix * (p - r)))

    def local_loss(self, tau: float) -> LocalLoss:
        """L_local at one temperature; its teachers are computed once."""
        if tau not in self._local:
            self._local[tau] = LocalLoss(self.blocks, tau)
        return self._local[tau]

    def objective(self, arm: Arm) -> Objective:
        """What the arm minimises."""
        local = self.local_loss(arm.tau) if arm.local else None
        return weighted(self.loss, local, arm.share, arm.lmbda, self.penalty(arm))

    def start(self, transform: LinearTransform) -> State:
        """A transform in these axes, as a symmetric start."""
        W = torch.as_tensor(transform.weights).to(self.axes)
        b = None if transform.bias is None else torch.as_tensor(transform.bias).to(self.axes)
        W, b = symmetric_start(W, b)
        W = self.axes.T @ W @ self.axes
        return State(((W + W.T) / 2).to(self.loss.X), None if b is None else (b @ self.axes).to(self.loss.X))

    def transform(self, W: Float[Tensor, "r r"], b: Float[Tensor, " r"] | None, arm: Arm) -> LinearTransform:
        """W and b on the original columns, float32 as the file stores them, of standardized features."""
        (p, r), W = self.axes.shape, W.double()
        whole = self.axes @ W @ self.axes.T
        if r < p and arm.method != "naive":
            c = arm.mix * W.trace() / (p - arm.mix * (p - r))
            whole += c * (torch.eye(p).to(whole) - self.axes @ self.axes.T)
        bias = None if b is None else (b.double() @ self.axes.T).float().cpu().numpy()
        return LinearTransform(((whole + whole.T) / 2).float().cpu().numpy(), bias, 0.0, 1.0)


def principal_axes(
    X: Float[Tensor, "n p"], blocks: list[Float[Tensor, "_ p"]]
) -> tuple[Float[Tensor, "p r"], Float[Tensor, " r"]]:
    """The principal axes of the rows of X and the second moments along them, in float64 on the CPU.

    Where X and the blocks have fewer rows than columns the axes span their rows and one direction more.
    """
    X = X.double().cpu()
    p = X.shape[1]
    if len(X) + sum(map(len, blocks)) + 1 >= p:
        moments, axes = torch.linalg.eigh(X.T @ X / len(X))
        return axes, moments.clamp(min=0)
    rows = torch.cat([X, *(block.double().cpu() for block in blocks), X.new_zeros(1, p)])
    span = torch.linalg.qr(rows.T)[0]
    inside = X @ span
    moments, axes = torch.linalg.eigh(inside.T @ inside / len(X))
    return span @ axes, moments.clamp(min=0)


def penalty_of(arm: Arm, mix: float | None = None) -> Penalty:
    """The penalty of an arm."""
    if arm.method == "naive":
        return Penalty("squared-norm" if arm.squared else "norm")
    return Penalty("scaled-identity", mix=arm.mix if mix is None else mix)
