"""Run a sweep in process: walk the open paths, write each point as it is finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from glocal.aligner.settings import Settings
from glocal.files import array_sha256
from glocal.sweep.fold import Fold, SweepData
from glocal.sweep.grid import Grid, Point
from glocal.sweep.path import original_scores, standardized_by, walk
from glocal.sweep.store import Store

Progress = Callable[[dict[str, Any], int, int], None]


def config_of(data: SweepData, grid: Grid, folds: int, settings: Settings) -> dict[str, Any]:
    """What determines the results of a sweep; a folder that holds another one is refused."""
    scalars = data.features.standardization
    hashes = {"features": array_sha256(data.features.matrix), "triplets": array_sha256(data.triplets.answers)}
    if data.triplets.weights is not None:
        hashes["weights"] = array_sha256(data.triplets.weights)
    return {
        "alpha": grid.alpha, "lmbda": grid.lmbda, "tau": grid.tau, "method": grid.method, "bias": grid.bias,
        "folds": folds, "seed": settings.seed, "dtype": settings.dtype, "tol": settings.tol,
        "max_evaluations": settings.max_evaluations, "block_size": settings.block_size, "data": hashes,
        "local": [*data.local.matrix.shape], "mean": scalars.mean, "std": scalars.std,
    }  # fmt: skip


def run(
    data: SweepData,
    grid: Grid,
    folds: int,
    settings: Settings,
    store: Store,
    progress: Progress | None = None,
) -> None:
    """Finish every point of the sweep, together with whatever other process works on the same folder.

    Paths of one fold are walked one after the other, so that data and teachers of a fold are built once. A path that
    another process holds is left to it, and looked at again at the end.
    """
    paths = grid.paths(folds)
    total = sum(map(len, paths))
    current: tuple[int, Fold] | None = None
    for wait in (False, True):
        for path in paths:
            if len(store.done(path)) == len(path):
                continue
            with store.claim(path[0].unit, wait=wait) as mine:
                if not mine:
                    continue
                done = store.done(path)  # again: whoever held the path may have walked it
                if len(done) == len(path):
                    continue
                if current is None or current[0] != path[0].fold:
                    current = (path[0].fold, Fold(data, path[0].fold, folds, settings))
                    if path[0].fold not in {row["fold"] for row in store.original()}:
                        store.save_original(path[0].fold, original_scores(current[1]))
                _walk(current[1], path, done, settings, store, data, total, progress)


def _walk(
    fold: Fold,
    path: list[Point],
    done: set[str],
    settings: Settings,
    store: Store,
    data: SweepData,
    total: int,
    progress: Progress | None,
) -> None:
    scalars = data.features.standardization
    state = store.state(path[0].unit, fold.base.loss.X, done)
    for result in walk(fold, [point for point in path if point.key not in done], settings, state):
        store.save(result, standardized_by(result, scalars.mean, scalars.std))
        if progress is not None:
            progress(result.row, len(store.rows()), total)
