"""Run a sweep in process: walk the open paths, write each point as it is finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import Exact, Loop
from glocal.files import array_sha256
from glocal.sweep.data import FoldData, SweepData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Grid, Point
from glocal.sweep.path import Result, original_scores, standardized_by, walk
from glocal.sweep.store import Store

Progress = Callable[[dict[str, Any], int, int], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be swept: data, grid, folds, the solver of every point, and whether `naive` has the squared norm."""

    data: SweepData
    grid: Grid
    folds: int
    solver: Exact | Loop
    squared: bool = True

    def config(self) -> dict[str, Any]:
        """What determines the results; a folder that holds another sweep is refused."""
        data, fit, grid, solver = self.data, self.data.fit, self.grid, self.solver
        hashes = {
            "features": array_sha256(fit.features.matrix), "triplets": array_sha256(fit.triplets.answers),
            "local": array_sha256(data.local.matrix),
        }  # fmt: skip
        if fit.triplets.weights is not None:
            hashes["weights"] = array_sha256(fit.triplets.weights)
        # NOTE what a sweep has not is left out, so that folders written before there was any go on
        rest: dict[str, Any] = {} if grid.mix == (1.0,) else {"mix": grid.mix}
        if isinstance(solver, Loop):
            rest |= {"eta": grid.eta, "profile": asdict(solver.profile)}
        else:
            rest |= {"tol": solver.tolerance, "max_evaluations": solver.max_evaluations}
            rest |= {} if self.squared else {"squared": False}
        if data.downstream is not None:
            labels = np.asarray(data.labels).astype(np.str_)
            rest["downstream"] = {"features": array_sha256(data.downstream.matrix), "labels": array_sha256(labels)}
        return {
            "alpha": grid.alpha, "lmbda": grid.lmbda, "tau": grid.tau, "method": grid.method, "bias": grid.bias,
            "folds": self.folds, "seed": fit.seed, "dtype": solver.dtype, "block_size": fit.block_size, "data": hashes,
            "local": [*data.local.matrix.shape], "local_blocks": fit.local_blocks,
            "local_standardized": fit.local_standardized, "mean": fit.scalars.mean, "std": fit.scalars.std,
            "version": __version__, **rest,
        }  # fmt: skip

    def paths(self) -> list[list[Point]]:
        """The units of work."""
        return self.grid.paths(self.folds)

    def read(self, fold: int, blocks: int | None) -> FoldData:
        """Read the data of one fold with so many blocks of local images."""
        return FoldData.read(self.data, fold, self.folds, self.solver, squared=self.squared, blocks=blocks)

    def save(self, store: Store, result: Result) -> None:
        """Write a finished point with the standardization of the features."""
        scalars = self.data.fit.scalars
        store.save(result, standardized_by(result, scalars.mean, scalars.std))


def run(plan: Plan, store: Store, blocks: int | None, progress: Progress | None = None) -> None:
    """Finish every point of the sweep, together with whatever other process works on the same folder.

    Paths of one fold are walked one after the other, so that data and teachers of a fold are built once. A path that
    another process holds is left to it, and looked at again at the end.
    """
    paths = plan.paths()
    total = sum(map(len, paths))
    fold: Fold | None = None
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
                if fold is None or fold.number != path[0].fold:
                    fold = Fold(plan.read(path[0].fold, blocks))
                    if fold.number not in store.scored_folds():
                        store.save_original(fold.number, original_scores(fold))
                state = store.state(path[0].unit, fold.problem.loss.X, done)
                for result in walk(fold, [p for p in path if p.key not in done], state):
                    plan.save(store, result)
                    if progress is not None:
                        progress(result.row, len(store.rows()), total)
