"""How many blocks of local images a sweep trains on."""

from __future__ import annotations

from glocal.aligner import Arm
from glocal.aligner.local import ALL_UP_TO, fit_on_blocks
from glocal.sweep.run import Plan
from glocal.sweep.store import Store


def blocks_of(plan: Plan, store: Store) -> int | None:
    """The number of blocks every point of a sweep trains on, None for all: measured once, then kept in its folder."""
    with store.alone("blocks"):
        known = store.blocks()
        if known is None:
            known = blocks_needed(plan)
            store.save_blocks(*known)
    return known[0]


def blocks_needed(plan: Plan) -> tuple[int | None, float | None]:
    """Measure on fold 0 how many blocks the most demanding setting of the grid needs; all points then use as many.

    That setting has the local term weigh most and the penalty least: the largest alpha below 1, the smallest tau and
    lmbda, the largest mix. Up to 16 blocks are all used and nothing is measured; else see `fit_on_blocks`. The
    mini-batch solver takes all blocks in turn, as it does in a single fit.

    Returns
    -------
    blocks : int or None
        None: all of them.
    change : float or None
        The fraction of the objective by which the last doubling changed it; None if nothing was measured.
    """
    grid, given = plan.grid, plan.data.fit.local_blocks
    if given is not None:
        return given, None
    training = plan.data.training(0, plan.folds)
    alphas = [alpha for alpha in grid.alpha if alpha < 1]
    if "glocal" not in grid.method or not alphas or plan.solver.takes_all_blocks or len(training.drawn) <= ALL_UP_TO:
        return None, None
    hardest = Arm("glocal", alpha=max(alphas), lmbda=min(grid.lmbda), tau=min(grid.tau), mix=max(grid.mix))
    found = fit_on_blocks(training, hardest, plan.solver)
    assert found.local is not None
    return len(found.local), found.change
