"""A Dask cluster that already runs: how this package finds it, and maps a function on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal.errors import ClusterError, FileError, GLocalError, MissingDependencyError, ParameterError
from glocal.files import one_line

_EXAMPLE = "Give the address it prints when it starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
_ROUNDS = 5
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
        There is no such scheduler file, or it is none.
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
            yield client


def mapped(client: Any, function: Callable[[Any, Any], Any], items: Sequence[Any], shared: Any) -> Iterator[Any]:
    """Yield (number, ``function(items[number], shared)``) in the order in which the workers finish.

    `shared` is sent once to each worker, `items` one with each task. A worker that dies costs what it was running: the
    scheduler starts that again elsewhere, and what had been finished stays finished. If the last worker that held
    `shared` is lost, or the scheduler is started anew, `shared` and the open tasks are sent again as soon as there is
    a worker.

    Parameters
    ----------
    client : distributed.Client
    function : function of (item, shared)
        A name of a module that the workers can import. What it does must bear to be done twice.
    items, shared
        Whatever can be pickled.

    Raises
    ------
    GLocalError
        As `function` raised it; the tasks that have not started are cancelled.
    ClusterError
        The connection is lost; workers die over one task again and again; or they cannot run it at all.
    """
    pending = dict(enumerate(items))
    fruitless = 0
    while pending:
        before = len(pending)
        try:
            yield from _finished(client, function, pending, shared)
        except GLocalError:
            raise
        except Exception as error:
            if client.status != "running":
                raise ClusterError(
                    "the connection to the Dask scheduler was lost. Start it again and run the same command: "
                    "what was finished is kept."
                ) from error
            if not isinstance(error, CancelledError | OSError):
                raise _explained(error) from error
        fruitless = fruitless + 1 if len(pending) == before else 0
        if fruitless == _ROUNDS:
            raise ClusterError(
                f"the Dask cluster has lost what it was sent {_ROUNDS} times in a row. See the logs of its workers."
            )


def _finished(client: Any, function: Callable[[Any, Any], Any], pending: dict[int, Any], shared: Any) -> Iterator[Any]:
    """Send `shared` and the pending tasks; yields those that finish, which are pending no more."""
    futures: dict[Any, int] = {}
    try:
        client.wait_for_workers(1)
        held = client.scatter(_Shared(function, shared), broadcast=True, hash=False)
        sent = client.map(_call, list(pending.values()), shared=held, pure=False)
        futures = dict(zip(sent, pending, strict=True))
        # NOTE: a result that is fetched, and whose future is dropped, need not be computed again if its worker dies
        del sent
        ended = _distributed().as_completed(list(futures), with_results=True, raise_errors=False, loop=client.loop)
        for future, result in ended:
            number = futures.pop(future)
            if isinstance(result, _Result):
                del pending[number]
                yield number, result.value
            elif not isinstance(result, CancelledError):  # of which the inputs are lost: it stays pending
                raise _explained(result[1]) from result[1]
    finally:
        if client.status == "running":
            client.cancel(list(futures))


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all tasks have in common, in an object that Dask does not look into: of lists and tuples it makes copies."""

    function: Callable[[Any, Any], Any]
    value: Any


@dataclass(frozen=True, eq=False)
class _Result:
    value: Any


def _call(item: Any, shared: _Shared) -> _Result:
    return _Result(shared.function(item, shared.value))


def _distributed() -> Any:
    try:
        import distributed.comm
    except ImportError as error:
        raise MissingDependencyError(
            "--scheduler needs dask and distributed. Install them: pip install 'glocal[distributed]'."
        ) from error
    return distributed


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
    if not path.is_file():
        raise FileError(f"scheduler file {path} does not exist. Start one: dask scheduler --scheduler-file {path}.")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"scheduler file {path} holds no address of a scheduler ({one_line(error)[:120]}). "
            f"Start one: dask scheduler --scheduler-file {path}."
        ) from error


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
