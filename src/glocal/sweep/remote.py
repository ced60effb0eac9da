"""The same sweep on a Dask cluster: paths walk on the workers, their points are written here as they are finished."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

import torch

from glocal.aligner.settings import Settings
from glocal.cluster import Watch, connected
from glocal.errors import ClusterError
from glocal.solver.threads import threads_for
from glocal.sweep.data import FoldData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Point
from glocal.sweep.path import Result, State, original_scores, step
from glocal.sweep.run import Plan, Progress
from glocal.sweep.store import Store

_ATTEMPTS = 3  # starts of a path whose data went down with the workers that held them

_walking = threading.Lock()
_latest: dict[str, Fold] = {}


def run_on_cluster(
    scheduler: str, plan: Plan, store: Store, blocks: int | None, progress: Progress | None = None
) -> None:
    """Finish every point of the sweep that no other process holds on the workers of a Dask cluster.

    The data of a fold are sent once, to all workers. At most as many paths run as there are workers: a path stays where
    it is, and each of its points is a task that starts from the one before. A finished point comes back and is written
    at once, so that workers need no common file system. When a worker dies, Dask walks its path again on another one;
    every other path goes on.

    Raises
    ------
    ParameterError, MissingDependencyError, FileError
        See `glocal.cluster.connected`.
    ClusterError
        The scheduler or all workers went away, a path took several workers down, or a worker has another version of
        this package. Finished points are kept.
    """
    paths = plan.paths()
    total = sum(map(len, paths))
    with contextlib.ExitStack() as held:
        client = held.enter_context(connected(scheduler))
        waiting: deque[_Path] = deque()
        for points in paths:
            done = store.done(points)
            if len(done) < len(points) and held.enter_context(store.claim(points[0].unit)):
                done = store.done(points)
                state = store.state(points[0].unit, torch.empty(0, dtype=getattr(torch, plan.settings.dtype)), done)
                waiting.append(_Path(deque(p for p in points if p.key not in done), state))
        try:
            for result in _Walk(client, plan, store, blocks, waiting).results():
                plan.save(store, result)
                if progress is not None:
                    progress(result.row, len(store.rows()), total)
        except ClusterError as error:
            raise ClusterError(f"{error} A sweep goes on with --resume.") from error


@dataclass(frozen=True, eq=False)
class Finished:
    """What comes back from a worker: a point, and the scores of the original features where they were asked for."""

    result: Result
    original: dict[str, Any] | None


@dataclass(eq=False)
class _Path:
    """What is left of a path, and where it stands."""

    points: deque[Point]
    state: State | None
    attempts: int = 0


class _Walk:
    """The paths under way on a cluster."""

    def __init__(self, client: Any, plan: Plan, store: Store, blocks: int | None, waiting: deque[_Path]) -> None:
        from distributed import as_completed

        self._watch, self._plan, self._store, self._blocks = Watch(client), plan, store, blocks
        self._waiting = waiting
        self._token = secrets.token_hex(8)
        self._folds: dict[int, Any] = {}
        self._running: dict[str, _Path] = {}
        self._ended = as_completed(loop=client.loop)
        self._unscored = set(range(plan.folds)) - store.scored_folds()

    def results(self) -> Iterator[Result]:
        """The points in the order in which they are finished."""
        self._start()
        while self._running:
            for future in self._watch.ended(self._ended):
                path = self._running.pop(future.key, None)
                if path is None:  # of a path that was started anew since
                    continue
                found = self._fetch(path, future)
                if found is None:
                    self._again(path)
                    continue
                path.points.popleft()
                path.state = found.result.state
                if found.original is not None:
                    self._store.save_original(found.result.point.fold, found.original)
                yield found.result
                self._start()

    def _fetch(self, path: _Path, future: Any) -> Finished | None:
        """What a point has found; the one after it is sent before, so that no worker waits. None if it was lost."""
        ahead = ""
        if future.status == "finished" and len(path.points) > 1:
            ahead = self._submit(path, path.points[1], future)
        try:
            found: Finished = self._watch.result(future)
        except CancelledError:
            self._running.pop(ahead, None)
            return None
        return found

    def _start(self) -> None:
        while self._waiting and len(self._running) < max(1, len(self._watch.workers)):
            path = self._waiting.popleft()
            self._submit(path, path.points[0], self._stand(path))

    def _stand(self, path: _Path) -> Any:
        """Where a path stands, on the workers."""
        return None if path.state is None else self._watch.scattered(path.state)

    def _submit(self, path: _Path, point: Point, start: Any) -> str:
        """Send a point to the workers; the key of its task."""
        if point.fold not in self._folds:
            data = self._plan.read(point.fold, self._blocks)
            self._folds[point.fold] = self._watch.scattered(data, broadcast=True)
        original = point.fold in self._unscored
        self._unscored.discard(point.fold)
        future = self._watch.submit(
            remote_step, self._folds[point.fold], f"{self._token}-{point.fold}", point, self._plan.settings, start,
            original, key=f"{point.key}-{secrets.token_hex(4)}",
        )  # fmt: skip
        self._running[future.key] = path
        self._ended.add(future)
        return str(future.key)

    def _again(self, path: _Path) -> None:
        """Start a path anew from its last point that is here: its data were lost with all workers that held them."""
        path.attempts += 1
        if path.attempts > _ATTEMPTS:
            raise ClusterError(
                f"path {path.points[0].unit} lost its workers {path.attempts} times; give them more memory. "
                "Finished points are kept."
            )
        fold = path.points[0].fold
        self._folds.pop(fold, None)
        if fold not in self._store.scored_folds():
            self._unscored.add(fold)
        self._submit(path, path.points[0], self._stand(path))


def remote_step(
    data: FoldData,
    token: str,
    point: Point,
    settings: Settings,
    start: Finished | State | None,
    original: bool,
) -> Finished:
    """Fit and score one point on a worker, from the point before or from a state."""
    state = start.result.state if isinstance(start, Finished) else start
    with _fold_of(data, token, settings) as fold, threads_for(fold.work):
        return Finished(step(fold, point, settings, state), original_scores(fold) if original else None)


@contextlib.contextmanager
def _fold_of(data: FoldData, token: str, settings: Settings) -> Iterator[Fold]:
    """The fold as this worker built it last; one task at a time, which has all threads of the worker."""
    from distributed import get_worker

    with _walking:
        torch.set_num_threads(max(1, int(get_worker().state.nthreads)))
        if token not in _latest:
            _latest.clear()
            _latest[token] = Fold(data, settings)
        yield _latest[token]
