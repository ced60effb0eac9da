"""Run tasks, in process or on a Dask cluster: chains of steps, each from the one before."""

from __future__ import annotations

import contextlib
import hashlib
import math
import secrets
import socket
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from glocal._version import __version__
from glocal.errors import ClusterError, GLocalError
from glocal.files import one_line
from glocal.jobs.cluster import UNCONNECTED, connected, connection

PATIENCE = 60.0  # seconds without any worker before a cluster counts as lost
_PAUSE, _ANSWER = 0.5, 5.0  # seconds between two looks at the workers, and for the scheduler to answer one
_SILENCE = 60.0  # seconds without any answer before a scheduler counts as lost
_FOREIGN = ("deserializ", "ModuleNotFoundError", "ImportError", "AttributeError")


@dataclass(frozen=True, eq=False)
class Chain:
    """Items whose steps follow each other; one item where nothing does.

    The first step gets `start` as the result of the one before; `shared` names the value that several chains share.
    """

    items: Sequence[Any]
    start: Any = None
    shared: Hashable = None


Step = Callable[[Any, Any, Any], Any]
"""(item, result of the item before, shared value) → result; a function of a module, and idempotent."""
Shared = Callable[[Any], Any]


Prepare = Callable[[Any], Any]
"""Shared value → what the steps are given in its place, made where they run."""

_working = threading.Lock()
_latest: dict[str, Any] = {}


def run(
    step: Step,
    chains: Iterable[Chain],
    shared: Shared = lambda _: None,
    *,
    prepare: Prepare | None = None,
    scheduler: str | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Yield (item, result) of every item, in process in order, on a cluster in the order in which they are finished.

    Chains are asked for when there is room for them: one in process, on a cluster two for each thread. An error in a
    `step` ends the run; no further step is started. `shared` gives the value that steps share by its name, and is
    called once for each. `prepare` is what a worker makes of it and keeps while it runs steps that share it, such as a
    network on its device; then it runs one step at a time, with all its threads. `scheduler` is the address or the
    scheduler file of a Dask cluster; None works in this process, and needs no Dask.
    """
    chains = iter(chains)
    first = next(chains, None)
    if first is None:
        return
    chains = chain([first], chains)
    if scheduler is not None:
        with connected(scheduler) as client:
            yield from run_on(client, step, chains, shared, prepare)
        return
    name: Any = _same  # which no chain has
    for one in chains:
        if one.shared != name:
            name, value = one.shared, (prepare or _same)(shared(one.shared))
        result = one.start
        for item in one.items:
            result = step(item, result, value)
            yield item, result


def run_on(
    client: Any,
    step: Step,
    chains: Iterable[Chain],
    shared: Shared,
    prepare: Prepare | None = None,
    patience: float | None = None,
) -> Iterator[tuple[Any, Any]]:
    """`run` on the workers of a `distributed.Client`.

    What is sent stays with the scheduler as part of its tasks, a shared value as a task of its own whose result the
    workers pass on to each other. So whatever a worker takes with it when it dies is made again by Dask on another
    one, and nothing is sent twice. A worker that comes later takes its part. A cluster that has had no worker for
    `patience` seconds (None: a minute), no connection, or workers of another version, is a ClusterError.
    """
    from distributed import as_completed

    watch = _Watch(client, PATIENCE if patience is None else patience)
    source = iter(chains)
    values: dict[Hashable, Any] = {}
    running: dict[Any, tuple[Any, list[int]]] = {}  # future → its item, and how many steps its chain still has
    ended = as_completed(with_results=True, raise_errors=False, loop=client.loop)
    n_chains = 0
    with connection(client):
        try:
            while True:
                watch.look()
                room = 2 * max(1, sum(watch.workers.values())) - n_chains
                for one in islice(source, max(0, room)):
                    if one.shared not in values:
                        values[one.shared] = _sent(
                            client, _same, _Held(_Shared(secrets.token_hex(8), step, prepare, shared(one.shared)))
                        )
                    left = [len(one.items)]
                    for item, future in _steps(client, one, values[one.shared]):
                        running[future] = item, left
                        ended.add(future)
                    del future
                    n_chains += 1
                if not running:
                    return
                for future, result in watch.ended(ended):
                    item, left = running.pop(future)
                    del future  # NOTE a result that is here need not be computed again if its worker dies
                    left[0] -= 1
                    n_chains -= not left[0]
                    yield item, _value(result)
        finally:
            if running and client.status == "running":
                client.cancel(list(running))


def _steps(client: Any, one: Chain, shared: Any) -> Iterator[tuple[Any, Any]]:
    """(item, future of its step) of a chain that is sent."""
    before: Any = _Held(one.start)
    for item in one.items:
        before = _sent(client, _step, _Held(item), before, shared)
        yield item, before


class _Watch:
    """Waits for the workers of a cluster, but not for ever for a cluster that is gone."""

    def __init__(self, client: Any, patience: float) -> None:
        self._client, self._patience = client, patience
        self._looked, self._answered = -math.inf, time.monotonic()
        self._none_since: float | None = None
        self.workers: dict[str, int] = {}
        """Address → threads, as of the last look at the cluster."""

    def look(self) -> None:
        """Look for workers, if that was not done just now; a ClusterError where there have been none for too long."""
        client, now = self._client, time.monotonic()
        if client.status not in ("running", "connecting"):
            raise ClusterError(UNCONNECTED)
        if now < self._looked + _PAUSE:
            return
        try:
            self.workers = client.sync(client.scheduler.ncores, callback_timeout=_ANSWER)
            self._answered = time.monotonic()
        except (OSError, RuntimeError, CancelledError) as error:  # it is busy, being connected again, or closed
            if time.monotonic() > self._answered + _SILENCE:
                raise ClusterError(UNCONNECTED) from error
        self._looked = time.monotonic()
        self._none_since = None if self.workers else self._none_since or self._answered
        if self._none_since is not None and self._answered > self._none_since + self._patience:
            raise ClusterError(
                f"the Dask cluster has had no workers for {self._patience:g} s. Start some: dask worker "
                f"{client.scheduler.address}. Then give the same command again: what was finished is kept."
            )

    def ended(self, futures: Any) -> list[Any]:
        """What an `as_completed` has next; at least one."""
        while not (found := futures.next_batch(block=False)):
            time.sleep(0.01)
            self.look()
        return list(found)


@dataclass(frozen=True, eq=False)
class _Held:
    """A value that Dask does not look into; it would copy lists and tuples."""

    value: Any


def _sent(client: Any, function: Callable[..., Any], *values: Any) -> Any:
    """A future of ``function(*values)`` on a worker that has this very code; futures stand for their values."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # as meant: who keeps the value can send it again
        return client.submit(run_here, code_version(), function, *values, pure=False)


def run_here(code: str, function: Callable[..., Any], *values: Any) -> _Held:
    """Run a task on a worker, if it has the code of who sent it.

    NOTE Tasks of all kinds come by this name, which versions that do not ask lack: they fail, and mix nothing in.
    """
    if code != code_version():
        raise ClusterError(
            f"a Dask worker on {socket.gethostname()} runs glocal {code_version()}, and this process glocal {code}; "
            "results of two versions are not mixed. Install the same version for scheduler, workers and this process, "
            "start them anew and give the same command again: what was finished is kept."
        )
    return _Held(function(*(value.value for value in values)))


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all steps of some chains need."""

    token: str
    step: Step
    prepare: Prepare | None
    value: Any


def _step(item: Any, before: Any, shared: _Shared) -> Any:
    with _prepared(shared) as value:
        return shared.step(item, before, value)


@contextlib.contextmanager
def _prepared(shared: _Shared) -> Iterator[Any]:
    """What this worker made of a shared value, or makes now; the latest is kept."""
    if shared.prepare is None:
        yield shared.value
        return
    import torch
    from distributed import get_worker

    with _working:
        torch.set_num_threads(max(1, int(get_worker().state.nthreads)))
        if shared.token not in _latest:
            _latest.clear()
            _latest[shared.token] = shared.prepare(shared.value)
        yield _latest[shared.token]


@cache
def code_version() -> str:
    """The version of this package, and the beginning of a hash of its code: what two installations must share."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{__version__} ({digest.hexdigest()[:12]})"


def _value(result: Any) -> Any:
    """The value of a task, or its error: of this package as it is, others in a sentence."""
    if isinstance(result, _Held):
        return result.value
    if isinstance(result, CancelledError):  # the scheduler has been started anew
        raise ClusterError(UNCONNECTED) from result
    raise _explained(result[1]) from result[1]


def _explained(error: BaseException) -> BaseException:
    """An error of this package as it is; others say that they come from a worker."""
    if isinstance(error, GLocalError):
        return error
    name, reason = type(error).__name__, one_line(error)
    if name == "KilledWorker":
        return ClusterError(
            "several Dask workers died while they ran one and the same task, perhaps for want of memory. "
            "See the workers' logs; give each worker more memory, or fewer tasks at once (--nthreads 1)."
        )
    if isinstance(error, ImportError | AttributeError) or any(sign in reason for sign in _FOREIGN):
        cause = f"{type(error.__cause__).__name__}: {one_line(error.__cause__)}" if error.__cause__ else reason
        return ClusterError(
            f"the Dask cluster cannot run this version of glocal ({cause[:160]}). "
            "Install the same versions of Python, glocal and its dependencies for scheduler, workers and this process."
        )
    return ClusterError(f"a Dask worker failed with {name}: {reason[:300]}. See the worker's log.")
