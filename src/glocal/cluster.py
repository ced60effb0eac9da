"""A Dask cluster that already runs: how this package finds it, and maps a function on it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

from glocal._version import __version__
from glocal.errors import ClusterError, FileError, GLocalError, ParameterError
from glocal.extras import needed
from glocal.files import one_line
from glocal.files.documents import read_object

_EXAMPLE = "Give the address it prints when it starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
PATIENCE = 60.0  # seconds without any worker before a cluster counts as lost
_PAUSE, _ANSWER = 0.5, 5.0  # seconds between two looks at the workers, and for the scheduler to answer one
_ROUNDS = 5
_UNCONNECTED = (
    "the connection to the Dask scheduler was lost. Start it again and give the same command again: what was finished "
    "is kept."
)
_FOREIGN = ("deserializ", "ModuleNotFoundError", "ImportError", "AttributeError")
_PROTOCOLS = ("tcp", "tls", "ucx", "ws", "wss")


@contextlib.contextmanager
def connected(scheduler: str, *, timeout: float = 10.0) -> Iterator[Any]:
    """A `distributed.Client` of a scheduler that runs elsewhere; the cluster is left running.

    While it is connected, what distributed logs in this process is kept from standard error: what concerns the caller
    is raised.

    Parameters
    ----------
    scheduler : str
        An address such as ``tcp://10.0.0.1:8786``, or the path of the scheduler's JSON file.
    timeout : float
        Seconds to wait for the scheduler's answer, and then for its first worker.

    Raises
    ------
    MissingDependencyError
        distributed is not installed.
    ParameterError
        No scheduler answers, or it has no worker.
    FileError
        The file is missing, or it is not a scheduler file.
    """
    distributed = _distributed()
    address = _address(scheduler)
    with _quiet():
        try:
            _probe(address, timeout)
            client = distributed.Client(address, timeout=timeout, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise ParameterError(
                f"no Dask scheduler answers at {scheduler} ({one_line(error)[:120]}). {_EXAMPLE}"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=timeout)
            except TimeoutError as error:
                raise ParameterError(
                    f"the Dask scheduler at {scheduler} has had no workers for {timeout:g} s. "
                    f"Start some: dask worker {address}."
                ) from error
            with _connection(client):
                yield client


@contextlib.contextmanager
def _connection(client: Any) -> Iterator[None]:
    """Say in one sentence that the scheduler is gone: a client without one fails in many ways."""
    try:
        yield
    except Exception as error:
        if isinstance(error, GLocalError) or client.status == "running":
            raise
        raise ClusterError(_UNCONNECTED) from error


class Watch:
    """Waits for what the workers of a cluster do, but not for ever for a cluster that is gone.

    Parameters
    ----------
    client : distributed.Client
    patience : float or None
        Seconds without any worker after which the cluster counts as lost; None for a minute.
    """

    def __init__(self, client: Any, patience: float | None = None) -> None:
        self._client = client
        self._patience = PATIENCE if patience is None else patience
        self._seen, self._looked = time.monotonic(), -math.inf
        self.workers: dict[str, int] = {}
        """Address → threads, as they were when the cluster was looked at last."""

    def look(self) -> None:
        """Look for workers, if that was not done just now.

        Raises
        ------
        ClusterError
            The scheduler is gone, or there has been no worker for too long.
        """
        client, now = self._client, time.monotonic()
        if client.status not in ("running", "connecting"):
            raise ClusterError(_UNCONNECTED)
        if now < self._looked + _PAUSE:
            return
        try:
            self.workers = client.sync(client.scheduler.ncores, callback_timeout=_ANSWER)
        except (OSError, RuntimeError, CancelledError):  # it is being connected again, or closed
            self.workers = {}
        self._looked = time.monotonic()
        if self.workers:
            self._seen = self._looked
        elif self._looked > self._seen + self._patience:
            raise ClusterError(
                f"the Dask cluster has had no workers for {self._patience:g} s. Start some: dask worker "
                f"{client.scheduler.address}. Then give the same command again: what was finished is kept."
            )

    def ended(self, futures: Any) -> list[Any]:
        """What an `as_completed` has next; at least one."""
        self.look()
        while not (found := futures.next_batch(block=False)):
            time.sleep(0.01)
            self.look()
        return list(found)

    def result(self, future: Any) -> Any:
        """The result of a future; a CancelledError where it was lost with its worker."""
        iterator = _distributed().as_completed([future], with_results=True, raise_errors=False, loop=self._client.loop)
        return _value(self.ended(iterator)[0][1])

    def scattered(self, value: Any, *, broadcast: bool = False) -> Any:
        """Send a value to one worker, or to all; where the last of them has just died, wait for a new one."""
        deadline = time.monotonic() + self._patience
        while True:
            self.look()
            try:
                if self.workers:
                    return self._client.scatter(_Held(value), broadcast=broadcast, hash=False)
            except OSError as error:  # sent to a worker that is gone, before the scheduler knew
                self._looked = -math.inf
                self.look()
                if self.workers and time.monotonic() > deadline:
                    raise ClusterError(
                        f"the Dask scheduler cannot send data to its workers ({one_line(error)[:120]}). See its log."
                    ) from error
            time.sleep(0.1)

    def submit(self, function: Callable[..., Any], *values: Any, key: str | None = None) -> Any:
        """A future of ``function(*values)`` on a worker that has this very code; futures stand for their values."""
        return self._client.submit(run_here, code_version(), function, *values, key=key, pure=False)


def mapped(
    client: Any, function: Callable[[Any, Any], Any], items: Iterable[Any], shared: Any, patience: float | None = None
) -> Iterator[Any]:
    """Yield (number, ``function(items[number], shared)``) in the order in which the workers finish.

    `shared` is sent from here once, `items` one with each task; these are asked for as there are workers for them: two
    for each thread. A worker that dies costs what it was running: the scheduler starts that again elsewhere, and what
    had been finished stays finished. If the last worker that held `shared` is lost, or the scheduler is started anew,
    `shared` and the open tasks are sent again as soon as there is a worker.

    Parameters
    ----------
    client : distributed.Client
    function : function of (item, shared)
        Defined in a module that the workers can import. It must be idempotent.
    items, shared
        Whatever can be pickled.
    patience : float or None
        As in `Watch`.

    Raises
    ------
    GLocalError
        As `function` raised it; the tasks that have not started are cancelled.
    ClusterError
        The connection is lost, or all workers; workers die over one task again and again; a worker has another version
        of this package; or they cannot run it at all.
    """
    watch = Watch(client, patience)
    source = enumerate(items)
    taken: dict[int, Any] = {}
    fruitless = 0
    whole = False
    while not whole:
        before = set(taken)
        with _connection(client):
            whole = yield from _round(watch, client, function, source, taken, shared)
        fruitless = fruitless + 1 if before and set(taken) == before else 0
        if fruitless == _ROUNDS:
            raise ClusterError(
                f"the Dask cluster has lost what it was sent {_ROUNDS} times in a row. See the logs of its workers."
            )


def _round(
    watch: Watch,
    client: Any,
    function: Callable[[Any, Any], Any],
    source: Iterator[tuple[int, Any]],
    taken: dict[int, Any],
    shared: Any,
) -> Generator[Any, None, bool]:
    """Send `shared`, the tasks that were taken and more of the source; whether all were done, and none was lost.

    Yields those that finish, which are no longer among the taken ones.
    """
    futures: dict[Any, int] = {}
    waiting = chain(list(taken.items()), source)
    lost = False
    try:
        held = watch.scattered((function, shared), broadcast=True)
        ended = _distributed().as_completed(with_results=True, raise_errors=False, loop=client.loop)
        while True:
            room = 2 * max(1, sum(watch.workers.values())) - len(futures)
            for number, item in islice(waiting, 0 if lost else max(0, room)):
                taken[number] = item
                future = watch.submit(_call, _Held(item), held)
                futures[future] = number
                ended.add(future)
            if not futures:
                return not lost
            for future, result in watch.ended(ended):
                # NOTE a result that is here, and whose future is dropped, need not be computed again if its worker dies
                number = futures.pop(future)
                try:
                    value = _value(result)
                except CancelledError:  # its inputs are lost: it stays among those that were taken
                    lost = True
                    continue
                del taken[number], future
                yield number, value
    finally:
        if futures and client.status == "running":
            client.cancel(list(futures))


@dataclass(frozen=True, eq=False)
class _Held:
    """A value that Dask does not look into: of lists and tuples it makes copies."""

    value: Any


@dataclass(frozen=True, eq=False)
class _Result:
    value: Any


def _value(result: Any) -> Any:
    """The value of a task, or its error: of this package as it is, others in a sentence."""
    if isinstance(result, _Result):
        return result.value
    if isinstance(result, CancelledError):
        raise result
    raise _explained(result[1]) from result[1]


def run_here(code: str, function: Callable[..., Any], *values: Any) -> _Result:
    """Run a task on a worker, if it has the code of who sent it.

    NOTE Tasks of all kinds come by this name, which versions that do not ask lack: they fail, and mix nothing in.
    """
    if code != code_version():
        raise ClusterError(
            f"a Dask worker on {socket.gethostname()} runs glocal {code_version()}, and this process glocal {code}; "
            "results of two versions are not mixed. Install the same version for scheduler, workers and this process, "
            "start them anew and give the same command again: what was finished is kept."
        )
    return _Result(function(*(value.value if isinstance(value, _Held | _Result) else value for value in values)))


@cache
def code_version() -> str:
    """The version of this package, and the beginning of a hash of its code: what two installations must share."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{__version__} ({digest.hexdigest()[:12]})"


def _call(item: Any, shared: tuple[Callable[[Any, Any], Any], Any]) -> Any:
    function, value = shared
    return function(item, value)


def _distributed() -> Any:
    needed("distributed.comm", "--scheduler")
    return needed("distributed", "--scheduler")


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


def _address(scheduler: str) -> str:
    path = Path(scheduler)
    if "://" in scheduler or not (path.suffix == ".json" or path.is_file()):
        return scheduler
    start = f"Start one: dask scheduler --scheduler-file {path}."
    if not path.is_file() or not path.stat().st_size:
        raise FileError(f"scheduler file {path} {'is empty' if path.is_file() else 'does not exist'}. {start}")
    address = read_object(path, what="scheduler", fix=start).get("address")
    if not isinstance(address, str):
        raise FileError(f"scheduler file {path} holds no address of a scheduler. {start}")
    return address


def _probe(address: str, timeout: float) -> None:
    """Fail at once where nothing listens, and in time where something else does; a Client tries again or hangs."""
    distributed = _distributed()
    protocol = distributed.comm.parse_address(address)[0]
    if protocol not in _PROTOCOLS:  # NOTE: a Client of another one complains once more when it is collected
        raise ValueError(f"unknown protocol {protocol}; allowed are {', '.join(_PROTOCOLS)}")
    if protocol in ("tcp", "tls"):
        host, port = distributed.comm.get_address_host_port(address)
        socket.create_connection((host, port), timeout=timeout).close()

    async def greet() -> None:
        options = distributed.Security().get_connection_args("client")
        comm = await asyncio.wait_for(distributed.comm.connect(address, timeout=timeout, **options), timeout)
        await comm.close()

    with ThreadPoolExecutor(1) as thread:  # the caller's own thread may run a loop
        thread.submit(asyncio.run, greet()).result()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence distributed's loggers, which have handlers and levels of their own."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado")]
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
