"""The same sweep on a Dask cluster: paths walk on the workers, their points are written here as they are finished."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from glocal.errors import ClusterError
from glocal.jobs.run import Chain, run
from glocal.solver import State
from glocal.solver.threads import threads_for
from glocal.sweep.data import FoldData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Point
from glocal.sweep.path import Result, original_scores, step
from glocal.sweep.run import Plan, Progress
from glocal.sweep.store import Store

_walking = threading.Lock()
_latest: dict[str, Fold] = {}


def run_on_cluster(
    scheduler: str, plan: Plan, store: Store, blocks: int | None, progress: Progress | None = None
) -> None:
    """Finish every point of the sweep that no other process holds on the workers of a Dask cluster.

    The data of a fold are sent once. Each point is a task that starts from the one before on its path. A finished point
    comes back and is written at once, so that workers need no common file system. When a worker dies, Dask walks its
    path again on another one; every other path goes on.

    Raises
    ------
    ParameterError, MissingDependencyError, FileError
        See `glocal.jobs.cluster.connected`.
    ClusterError
        The scheduler or all workers went away, a path took several workers down, or a worker has another version of
        this package. Finished points are kept.
    """
    paths = plan.paths()
    total, token = sum(map(len, paths)), secrets.token_hex(8)
    unscored = set(range(plan.folds)) - store.scored_folds()
    with contextlib.ExitStack() as held:

        def chains() -> Iterator[Chain]:
            for points in paths:
                unit, fold = points[0].unit, points[0].fold
                if len(store.done(points)) == len(points) or not held.enter_context(store.claim(unit)):
                    continue
                done = store.done(points)
                state = store.state(unit, torch.empty(0, dtype=getattr(torch, plan.solver.dtype)), done)
                left = [point for point in points if point.key not in done]
                if left:
                    first = fold in unscored
                    unscored.discard(fold)
                    yield Chain([(point, first and point is left[0]) for point in left], state, fold)

        def data(fold: int) -> tuple[FoldData, str]:
            return plan.read(fold, blocks), f"{token}-{fold}"

        try:
            for (point, _), found in run(remote_step, chains(), data, scheduler=scheduler):
                if found.original is not None:
                    store.save_original(point.fold, found.original)
                plan.save(store, found.result)
                if progress is not None:
                    progress(found.result.row, len(store.rows()), total)
        except ClusterError as error:
            raise ClusterError(f"{error} A sweep goes on with --resume.") from error


@dataclass(frozen=True, eq=False)
class Finished:
    """What comes back from a worker: a point, and the scores of the original features where they were asked for."""

    result: Result
    original: dict[str, Any] | None


def remote_step(item: tuple[Point, bool], before: Finished | State | None, shared: tuple[FoldData, str]) -> Finished:
    """Fit and score one point on a worker, from the point before or from a state."""
    point, original = item
    state = before.result.state if isinstance(before, Finished) else before
    with _fold_of(*shared) as fold, threads_for(fold.work):
        return Finished(step(fold, point, state), original_scores(fold) if original else None)


@contextlib.contextmanager
def _fold_of(data: FoldData, token: str) -> Iterator[Fold]:
    """The fold as this worker built it last; one task at a time, which has all threads of the worker."""
    from distributed import get_worker

    with _walking:
        torch.set_num_threads(max(1, int(get_worker().state.nthreads)))
        if token not in _latest:
            _latest.clear()
            _latest[token] = Fold(data)
        yield _latest[token]
