"""Run a sweep, here or on a cluster: walk the open paths, write each point as it is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner import Exact, Loop
from glocal.errors import ClusterError
from glocal.files import array_sha256
from glocal.jobs.run import Chain
from glocal.jobs.run import run as run_tasks
from glocal.solver import State
from glocal.solver.threads import threads_for
from glocal.sweep.data import FoldData, SweepData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Grid, Point
from glocal.sweep.path import Result, original_scores, standardized_by, step
from glocal.sweep.store import PointStore, identity_of

Progress = Callable[[dict[str, Any], int, int], None]


@dataclass(frozen=True, eq=False)
class SweepPlan:
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
        }  # fmt: skip
        if fit.local_features is not None:
            hashes["local"] = array_sha256(fit.local_features.matrix)
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
            "local": None if fit.local_features is None else [*fit.local_features.matrix.shape],
            "local_blocks": fit.local_blocks, "local_standardized": fit.local_standardized,
            "mean": fit.scalars.mean, "std": fit.scalars.std,
            "version": __version__, **rest,
        }  # fmt: skip

    def paths(self) -> list[list[Point]]:
        """The units of work."""
        return self.grid.paths(self.folds)

    def read(self, fold: int) -> FoldData:
        """Read the data of one fold."""
        return FoldData.read(self.data, fold, self.folds, self.solver, squared=self.squared)

    def save(self, store: PointStore, result: Result) -> None:
        """Write a finished point with the standardization of the features."""
        scalars = self.data.fit.scalars
        store.save(result, standardized_by(result, scalars.mean, scalars.std))


def run(plan: SweepPlan, store: PointStore, progress: Progress | None = None, *, scheduler: str | None = None) -> None:
    """Finish every point of the sweep, here or on a Dask cluster, together with other processes on the same folder.

    A path is a chain of tasks, each of which starts from the point before. Paths of one fold follow each other, so that
    data and teachers of a fold are built once. A path that another process holds is left to it, and looked at again at
    the end. On a cluster a finished point comes back and is written at once, so that workers need no common file
    system; when a worker dies, Dask walks its path again on another one, and every other path goes on.

    Raises
    ------
    ParameterError, MissingDependencyError, FileError
        See `glocal.jobs.cluster.connected`.
    ClusterError
        See `glocal.jobs.run.run`. Finished points are kept.
    """
    paths = {points[0].unit: points for points in plan.paths()}
    total = sum(map(len, paths.values()))

    try:
        for wait in (False, True):
            chains = _chains(store, paths, wait=wait)
            for item, found in run_tasks(step_on, chains, plan.read, prepare=Fold, scheduler=scheduler):
                if found.original is not None:
                    store.save_original(item.point.fold, found.original)
                plan.save(store, found.result)
                if item.last:
                    store.tasks.release(item.point.unit)
                if progress is not None:
                    progress(found.result.row, len(store.rows()), total)
    except ClusterError as error:
        raise ClusterError(f"{error} A sweep goes on with --resume.") from error
    finally:
        store.tasks.close()


@dataclass(frozen=True)
class PointTask:
    """A point to be fitted, whether the original features of its fold are scored too, and whether it ends its path."""

    point: Point
    original: bool
    last: bool


@dataclass(frozen=True, eq=False)
class Finished:
    """A point, and the scores of the original features where they were asked for."""

    result: Result
    original: dict[str, Any] | None


def step_on(item: PointTask, before: Finished | State | None, fold: Fold) -> Finished:
    """Fit and score one point, from the point before or from a state."""
    state = before.result.state if isinstance(before, Finished) else before
    state = None if state is None else state.to(fold.problem.loss.X)
    with threads_for(fold.work):
        original = original_scores(fold) if item.original else None
        return Finished(step(fold, item.point, state), original)


def _chains(store: PointStore, paths: dict[str, list[Point]], *, wait: bool) -> Iterator[Chain]:
    """Claim the open paths one after the other, each from where it stands."""
    scored = store.scored_folds()
    tasks = ((unit, [identity_of(vars(point)) for point in points]) for unit, points in paths.items())
    for unit in store.tasks.claim(tasks, wait=wait):
        fold = paths[unit][0].fold
        state, done = store.stand(unit, paths[unit])
        left = [point for point in paths[unit] if point.key not in done]
        if not left:
            store.tasks.release(unit)
            continue
        items = [PointTask(point, point is left[0] and fold not in scored, point is left[-1]) for point in left]
        scored.add(fold)
        yield Chain(items, state, fold)
