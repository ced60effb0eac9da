"""A Dask cluster that is already running: how it is found, and what is said when it is not there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from glocal.errors import ClusterError, FileError, GLocalError, ParameterError
from glocal.extras import needed
from glocal.files import one_line, read_object

_EXAMPLE = "Give the address it prints when it starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
UNCONNECTED = (
    "the connection to the Dask scheduler was lost. Start it again and give the same command again: what was finished "
    "is kept."
)
_PROTOCOLS = ("tcp", "tls", "ucx", "ws", "wss")


@contextlib.contextmanager
def connected(scheduler: str, *, timeout: float = 10.0) -> Iterator[Any]:
    """A `distributed.Client` of a scheduler that runs elsewhere, of this address or JSON file; it is left running.

    Raise a ParameterError where no scheduler answers within `timeout` seconds, or it has no worker. What distributed
    logs in this process is kept from standard error; what concerns the caller is raised.
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
            with connection(client):
                yield client


@contextlib.contextmanager
def connection(client: Any) -> Iterator[None]:
    """Say in one sentence that the scheduler is gone: a client without one fails in many ways."""
    try:
        yield
    except Exception as error:
        if isinstance(error, GLocalError) or client.status == "running":
            raise
        raise ClusterError(UNCONNECTED) from error


def _distributed() -> Any:
    needed("distributed.comm", "--scheduler")
    return needed("distributed", "--scheduler")


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
    """Fail at once where nothing listens, and in time where something else does: a Client would retry or hang."""
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
