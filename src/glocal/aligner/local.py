"""How many blocks of local images a fit needs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, LocalBlocks
from glocal.aligner.outcome import OnStep, Outcome, Solver
from glocal.errors import DataWarning
from glocal.objective import LocalLoss
from glocal.transform import LinearTransform

FIRST = 4  # blocks of the first fit; the next ones double them
ALL_UP_TO = 16  # blocks; so few are all used
CAP = 64  # blocks; with 1024 images each their teachers take 256 MB
TOLERANCE = 1e-3  # of the objective: what the last doubling may change on fresh blocks


@dataclass(frozen=True, eq=False)
class BlockFit:
    """The last fit, the blocks it used, the evaluations of all fits, and the change measured on fresh blocks.

    `change` is a fraction of the objective, None where all blocks are used or their number was given; `local` is None
    for arms without a local term.
    """

    outcome: Outcome
    local: LocalBlocks | None
    evaluations: int
    change: float | None = None


def fit_on_blocks(
    data: FitData,
    arm: Arm,
    solver: Solver,
    start: LinearTransform | None = None,
    *,
    on_step: OnStep | None = None,
    tolerance: float = TOLERANCE,
    cap: int = CAP,
) -> BlockFit:
    """Fit on as many blocks as the local term needs.

    Up to 16 blocks are all used. Of more, the first 4 are fitted, then twice as many from the last W, and so on until
    doubling does not help on blocks that neither fit has seen. With f' the objective on as many fresh blocks as were
    fitted, W the last fit and V the one on half of its blocks,

        change = ( |f'(V) - f'(W)| + 2 se ) / |f'(W)|.

    Where the loss to the optimum over all blocks falls in proportion to the number of blocks or faster, as that of an
    average does, the last doubling gained at least what is left to gain. V and W are compared on the same blocks, so
    that the differences between blocks (some images have near neighbours, some have not) drop out; `se`, from the
    spread of the gain over blocks, keeps a lucky draw from ending the schedule.

    Parameters
    ----------
    data, arm, solver
        As in `glocal.aligner.fit`; ``data.local_blocks`` that is not None is the number to use. The mini-batch
        solver takes all blocks in turn where their number is not given.
    start : LinearTransform or None
        Of the first fit.
    on_step : function or None
        Called with the evaluations of all fits so far.
    tolerance : float
        Stop at a change of at most this fraction.
    cap : int
        Blocks that the schedule may reach.

    Warns
    -----
    DataWarning
        The cap is reached and the change is still above the tolerance.
    """
    spent = 0

    def fitted(local: LocalBlocks | None, start: LinearTransform | None) -> Outcome:
        nonlocal spent
        before = spent
        step = None if on_step is None else lambda evaluations, at: on_step(before + evaluations, at)
        outcome = solver.solve(data, arm, local, start, step)
        spent += outcome.solution.evaluations
        return outcome

    if not arm.local:
        outcome = fitted(None, start)
        return BlockFit(outcome, None, spent)
    total, count = len(data.drawn), data.local_blocks
    if count is not None or total <= ALL_UP_TO or solver.takes_all_blocks:
        local = data.read(solver.dtype, 0, total if count is None else min(count, total))
        outcome = fitted(local, start)
        return BlockFit(outcome, local, spent)
    local, fresh = LocalBlocks([], np.empty(0, dtype=np.int64)), data.read(solver.dtype, 0, FIRST)
    before: Outcome | None = None
    while True:
        local = local + fresh
        outcome = fitted(local, start if before is None else before.transform)
        k = len(local)
        if k == total:
            return BlockFit(outcome, local, spent)
        fresh = data.read(solver.dtype, k, min(2 * k, total))
        if before is not None:
            change = _change(fresh, before, outcome, arm, solver.device)
            if change <= tolerance:
                return BlockFit(outcome, local, spent, change)
            if 2 * k > cap:
                warnings.warn(
                    f"the local term uses {k} of {total} blocks of local images and the last doubling of their number "
                    f"still changed the objective by {change:.1e} of its value (allowed {tolerance:.0e}). "
                    f"Pass --local-blocks {min(2 * k, total)} (local_blocks=).",
                    DataWarning,
                    stacklevel=3,
                )
                return BlockFit(outcome, local, spent, change)
        before = outcome


def _change(fresh: LocalBlocks, before: Outcome, after: Outcome, arm: Arm, device: str) -> float:
    """(|f'(V) - f'(W)| + 2 se) / |f'(W)|."""
    at_V, at_W = (_losses(fresh, end.transform, arm.tau, device) for end in (before, after))
    rest = after.without_local(arm)
    gains = before.without_local(arm) - rest + arm.alpha * (at_V - at_W)
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float((abs(gains.mean()) + 2 * error) / abs(rest + arm.alpha * at_W.mean()))


def _losses(local: LocalBlocks, transform: LinearTransform, tau: float, device: str) -> np.ndarray:
    """L_local of each block under a transform."""
    W = torch.as_tensor(transform.weights)
    b = None if transform.bias is None else torch.as_tensor(transform.bias)

    def of(block: np.ndarray) -> float:
        X = torch.from_numpy(block).to(device)
        return LocalLoss([X], tau)(W.to(X), None if b is None else b.to(X))[0]

    return np.array([of(block) for block in local.blocks])
