"""One arm fitted on its leading principal directions, as many as asked for or as an error bound calls for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glocal.aligner.local import LocalBlocks
from glocal.aligner.problem import certificate_of, named_objects, objective_of, on_device
from glocal.aligner.settings import Settings
from glocal.data.features import Features, Standardization
from glocal.data.triplets import Triplets
from glocal.objective import Evaluation, Objective, Subspace, TripletLoss, restricted
from glocal.solver import DualityGap, Solution, best_scale, minimise, symmetric_start
from glocal.solver.criterion import restriction_gap
from glocal.transform import LinearTransform

_FIRST = 64  # directions: below that a fit costs little more than its pass over the answers
_BOUND = 1e-3  # of |f|: what leaving out directions may cost
_LOOSE = 1e-3  # tolerance of the fits that only find out how many directions are needed
_MEMORY = 10  # pairs: with thousands of directions reading thirty takes as long as a gradient, and saves few of them
_NEGLIGIBLE = 1e-10  # of the largest second moment: rounding, not a direction of the data


@dataclass(frozen=True, eq=False)
class SubspaceFit:
    """A solution in a subspace; `solution.W` is the small matrix C of `Subspace`.

    `bound` estimates what the restriction costs at most: 0 where it costs nothing, None where nothing is known.
    """

    solution: Solution
    subspace: Subspace
    bound: float | None
    scale: float
    certificate: str
    embedded: Float[Tensor, "n p"]

    @property
    def weights(self) -> np.ndarray:
        """W on the original columns, float32 as the file stores it."""
        wide = Subspace(self.subspace.axes.double())
        W = wide.embed(self.solution.W.double())
        return ((W + W.T) / 2).float().cpu().numpy()


def fit_in_subspace(
    features: Features,
    triplets: Triplets,
    local: LocalBlocks | None,
    scalars: Standardization,
    settings: Settings,
    start: LinearTransform | None,
    on_step: Callable[[int, Evaluation], None] | None,
) -> SubspaceFit:
    """Fit `global` or `glocal` on ``settings.rank`` directions.

    With ``"auto"`` the number of directions is doubled, each fit starting from the last, until `restriction_gap` is at
    most 1e-3 of the objective. The row space of the objects and the local images costs nothing: off it the optimum is a
    scaled identity.
    """
    X, answers = named_objects(features, triplets, scalars, settings)
    blocks = None if local is None else [on_device(block, settings.device) for block in local.blocks]
    loss = TripletLoss(X, answers)
    objective, penalty = objective_of(loss, blocks, settings)
    axes = _Axes(X, blocks)
    scale = best_scale(loss, penalty, settings.lmbda)
    auto = settings.rank == "auto"
    subspace = axes.leading(_FIRST if auto else int(settings.rank or 0))
    if start is None:
        C = scale * torch.diag(subspace.identity)
    else:
        C = subspace.restrict(symmetric_start(torch.as_tensor(start.weights).double(), None)[0].to(X))
    evaluations, expected = 0, False
    while True:
        exact = axes.complete and subspace.r == axes.most
        problem, moments = restricted(objective, subspace), _moments(X, subspace)
        bound, slope = (0.0 if exact else None), None
        curvature: tuple[tuple[Tensor, Tensor, float], ...] = ()
        doubtful = auto and not exact and not expected
        for tol in (max(settings.tol, _LOOSE), settings.tol) if doubtful else (settings.tol,):
            solution = _minimised(problem, subspace, C, moments, settings, scale, tol, evaluations, curvature, on_step)
            evaluations, C, curvature = solution.evaluations, solution.W, solution.curvature
            if not exact and settings.lmbda > 0:
                slope = objective(subspace.embed(C)).dW
                bound = restriction_gap(slope, subspace, C, settings.shrinkage)
            allowed = _BOUND * abs(solution.at.value)
            if bound is not None and bound > allowed:
                break
        if not auto or slope is None or bound is None or bound <= allowed or evaluations >= settings.max_evaluations:
            certificate = _certificate(solution, subspace, settings, exact)
            return SubspaceFit(solution, subspace, bound, scale, certificate, subspace.apply(X, C))
        before, found = subspace, bound
        while found > allowed and not (axes.complete and subspace.r == axes.most):
            # the same slope says of more directions whether they could be enough: a fit that could not is left out
            subspace = axes.leading(axes.after(subspace.r))
            C = _extended(C, before, subspace)
            before, found = subspace, restriction_gap(slope, subspace, C, settings.shrinkage)
        expected = found <= allowed


class _Axes:
    """The principal directions in the order in which they are taken: those of the objects, then the local images'."""

    def __init__(self, X: Float[Tensor, "n p"], blocks: list[Tensor] | None) -> None:
        self._like, self._blocks = X, blocks or []
        self._axes = object_axes(X)
        self.objects = self._axes.shape[1]
        self.complete = not self._blocks or self.objects == X.shape[1]

    @property
    def most(self) -> int:
        """The number of directions there are, as far as they are known."""
        return int(self._axes.shape[1])

    def leading(self, r: int) -> Subspace:
        """The first r directions, or all if there are fewer."""
        if r > self.most and not self.complete:
            self._axes, self.complete = with_local_axes(self._axes, self._blocks), True
        return Subspace(self._axes[:, :r].to(self._like).contiguous())

    def after(self, r: int) -> int:
        """How many directions come next: twice as many, or all of the objects' once half of them would be needed."""
        if r >= self.objects:
            return int(self._like.shape[1])
        return 2 * r if 4 * r <= self.objects else self.objects


def object_axes(X: Float[Tensor, "n p"]) -> Float[Tensor, "p k"]:
    """The principal directions of the rows of X, the strongest first, in float64 on the CPU.

    From the smaller of XᵀX and XXᵀ: with fewer objects than dimensions V = Xᵀ U / s, and only the row space is spanned.
    """
    X = X.double().cpu()
    n, p = X.shape
    if n >= p:
        return torch.linalg.eigh(X.T @ X)[1].flip(1)
    squares, U = torch.linalg.eigh(X @ X.T)
    squares, U = squares.flip(0), U.flip(1)
    kept = squares > _NEGLIGIBLE * squares[0]
    return X.T @ (U[:, kept] / squares[kept].sqrt())


def with_local_axes(axes: Float[Tensor, "p k"], blocks: list[Float[Tensor, "_ p"]]) -> Float[Tensor, "p more"]:
    """Add the principal directions of what the local images have off these axes."""
    Y = torch.cat([block.double().cpu() for block in blocks])
    size = float(Y.square().sum())
    for _ in range(2):  # once leaves rounding of the size of Y behind
        Y = Y - (Y @ axes) @ axes.T
    if float(Y.square().sum()) <= _NEGLIGIBLE * size:
        return axes
    return torch.linalg.qr(torch.cat([axes, object_axes(Y)], dim=1)[:, : axes.shape[0]])[0]


def _minimised(
    problem: Objective,
    subspace: Subspace,
    C: Float[Tensor, "k k"],
    moments: Float[Tensor, " k"],
    settings: Settings,
    scale: float,
    tol: float,
    spent: int,
    curvature: tuple[tuple[Tensor, Tensor, float], ...],
    on_step: Callable[[int, Evaluation], None] | None,
) -> Solution:
    """Minimise from C; the evaluations of the fits before it are counted in."""
    shifted = None if on_step is None else lambda evaluations, at: on_step(spent + evaluations, at)
    solution = minimise(
        problem, (C, None), criterion=DualityGap(problem), second_moments=moments, tol=tol, curvature=curvature,
        memory=_MEMORY,
        max_evaluations=max(1, settings.max_evaluations - spent), on_step=shifted,
    )  # fmt: skip
    return replace(solution, evaluations=spent + solution.evaluations)


def _moments(X: Float[Tensor, "n p"], subspace: Subspace) -> Float[Tensor, " k"]:
    """The second moments along the axes, and their mean over the other directions."""
    inside = (X @ subspace.axes).square().mean(0)
    rest = float(X.square().sum(1).mean() - inside.sum()) / max(subspace.q, 1)
    return torch.cat([inside, inside.new_full((1,), max(rest, 0.0))])


def _extended(C: Float[Tensor, "k k"], before: Subspace, subspace: Subspace) -> Float[Tensor, "l l"]:
    """The same W in a subspace with more of the axes."""
    B, c = before.parts(C)
    wider = c * torch.diag(subspace.identity)
    wider[: before.r, : before.r] = B
    return wider


def _certificate(solution: Solution, subspace: Subspace, settings: Settings, exact: bool) -> str:
    certificate = certificate_of(solution, settings)
    if exact or certificate.startswith("none"):
        return certificate
    return f"none: optimal in {subspace.r} directions; rank_bound estimates what the others would gain"
