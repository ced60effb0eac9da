"""The same sweep on a Dask cluster: paths walk on the workers, their points are written here as they are finished."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from glocal.aligner.settings import Settings
from glocal.cluster import connected
from glocal.errors import ClusterError, GLocalError
from glocal.files import one_line
from glocal.sweep.data import FoldData
from glocal.sweep.fold import Fold
from glocal.sweep.grid import Point
from glocal.sweep.path import Result, State, original_scores, step
from glocal.sweep.run import Plan, Progress
from glocal.sweep.store import Store

_ATTEMPTS = 3  # starts of a path whose data went down with the workers that held them
_PATIENCE = 60  # seconds without any worker before the cluster counts as lost

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
        The scheduler went away, or a path took several workers down. Finished points are kept.
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
        except GLocalError:
            raise
        except Exception as error:  # a client without a scheduler fails in many ways
            if client.status == "running" and not isinstance(error, _lost()):
                raise
            raise ClusterError(
                f"the Dask cluster at {scheduler} failed ({one_line(error)[:120]}). Finished points are kept: mend the "
                "cluster and go on with --resume."
            ) from error


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
        self._client, self._plan, self._store, self._blocks = client, plan, store, blocks
        self._waiting = waiting
        self._token = secrets.token_hex(8)
        self._folds: dict[int, Any] = {}
        self._running: dict[str, _Path] = {}
        self._unscored = set(range(plan.folds)) - store.scored_folds()

    def results(self) -> Iterator[Result]:
        """The points in the order in which they are finished."""
        from distributed import as_completed

        finished = as_completed(loop=self._client.loop)
        self._start(finished)
        while self._running:
            future = next(finished)
            path = self._running.pop(future.key)
            if future.status in ("cancelled", "lost"):
                self._again(path, finished)
                continue
            path.points.popleft()
            if path.points and future.status == "finished":
                self._submit(path, future, finished)  # before its result is fetched, so that no worker waits for us
            found: Finished = future.result()
            path.state = found.result.state
            if found.original is not None:
                self._store.save_original(found.result.point.fold, found.original)
            yield found.result
            self._start(finished)

    def _start(self, finished: Any) -> None:
        workers = len(self._client.scheduler_info(n_workers=-1)["workers"])
        while self._waiting and len(self._running) < max(1, workers):
            path = self._waiting.popleft()
            self._submit(path, self._stand(path), finished)

    def _stand(self, path: _Path) -> Any:
        """Where a path stands, on the workers."""
        return None if path.state is None else self._scatter(path.state)

    def _scatter(self, value: Any, *, broadcast: bool = False) -> Any:
        """Send a value to the workers; where the last of them has just died, wait for a new one."""
        from distributed.comm import CommClosedError

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._client.wait_for_workers(1, timeout=_PATIENCE)
                return self._client.scatter(value, broadcast=broadcast, hash=False)
            except CommClosedError:  # sent to a worker that is gone, before the scheduler knew
                if time.monotonic() > deadline or self._client.status != "running":
                    raise
                time.sleep(0.5)

    def _submit(self, path: _Path, start: Any, finished: Any) -> None:
        point = path.points[0]
        if point.fold not in self._folds:
            self._folds[point.fold] = self._scatter(self._plan.read(point.fold, self._blocks), broadcast=True)
        original = point.fold in self._unscored
        self._unscored.discard(point.fold)
        future = self._client.submit(
            remote_step, self._folds[point.fold], f"{self._token}-{point.fold}", point, self._plan.settings, start,
            original, key=f"{point.key}-{secrets.token_hex(4)}", pure=False,
        )  # fmt: skip
        self._running[future.key] = path
        finished.add(future)

    def _again(self, path: _Path, finished: Any) -> None:
        """Start a path anew from its last point that is here: its data were lost with all workers that held them."""
        path.attempts += 1
        if path.attempts > _ATTEMPTS:
            raise ClusterError(
                f"path {path.points[0].unit} lost its workers {path.attempts} times; give them more memory and go on "
                "with --resume. Finished points are kept."
            )
        fold = path.points[0].fold
        self._folds.pop(fold, None)
        if fold not in self._store.scored_folds():
            self._unscored.add(fold)
        self._submit(path, self._stand(path), finished)


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
    with _fold_of(data, token, settings) as fold:
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


def _lost() -> tuple[type[BaseException], ...]:
    """What distributed raises when a scheduler or its workers are gone."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    return CommClosedError, KilledWorker, FutureCancelledError, OSError
