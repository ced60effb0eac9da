"""How many blocks of local images a sweep trains on."""

from __future__ import annotations

from dataclasses import replace

from glocal.aligner.local import ALL_UP_TO, LocalBlocks, fit_on_blocks
from glocal.aligner.outcome import Outcome, solved
from glocal.aligner.settings import Settings
from glocal.data.splits import local_blocks, split_triplets
from glocal.sweep.data import SweepData
from glocal.sweep.grid import Grid
from glocal.sweep.run import Plan
from glocal.sweep.store import Store
from glocal.transform import LinearTransform


def blocks_of(plan: Plan, store: Store) -> int | None:
    """The number of blocks every point of a sweep trains on, None for all: measured once, then kept in its folder."""
    with store.claim("blocks", wait=True):
        known = store.blocks()
        if known is None:
            known = blocks_needed(
                plan.data, plan.grid, plan.folds, plan.settings, local_standardized=plan.local_standardized
            )
            store.save_blocks(*known)
    return known[0]


def blocks_needed(
    data: SweepData,
    grid: Grid,
    folds: int,
    settings: Settings,
    *,
    local_standardized: bool = True,
) -> tuple[int | None, float | None]:
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
    if settings.local_blocks is not None:
        return settings.local_blocks, None
    images = data.training_images(0, folds, settings.seed)
    alphas = [alpha for alpha in grid.alpha if alpha < 1]
    if "glocal" not in grid.method or not alphas or settings.profile.solver != "lbfgs":
        return None, None
    if len(local_blocks(len(images), settings.block_size, settings.seed)) <= ALL_UP_TO:
        return None, None
    train, _ = split_triplets(data.triplets, len(data.features), folds=folds, fold=0, seed=settings.seed)
    answers, scalars = data.triplets.select(train), data.features.standardization
    hardest = replace(
        settings,
        method="glocal",
        alpha=max(alphas),
        lmbda=min(grid.lmbda),
        tau=min(grid.tau),
        bias=False,
        mix=max(grid.mix),
    )

    def fit(local: LocalBlocks, start: LinearTransform | None) -> tuple[Outcome, LinearTransform, float]:
        outcome = solved(data.features, answers, local, scalars, hardest, start, None)
        at = outcome.solution.at
        rest = at.value - hardest.alpha * at.parts["local"]
        return outcome, LinearTransform(outcome.W, outcome.b, 0.0, 1.0), rest

    progress = fit_on_blocks(fit, data.local, scalars, hardest, standardized=local_standardized, images=images)
    return len(progress.local), progress.change
