"""A Dask cluster that already runs: how this package finds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glocal.errors import FileError, MissingDependencyError, ParameterError
from glocal.files import one_line


@contextlib.contextmanager
def connected(scheduler: str, *, timeout: float = 10.0) -> Iterator[Any]:
    """A `distributed.Client` of a scheduler that runs elsewhere; the cluster is left running.

    Parameters
    ----------
    scheduler : str
        An address such as ``tcp://10.0.0.1:8786``, or the path of the scheduler's JSON file.
    timeout : float
        Seconds to wait for the scheduler and for its first worker.

    Raises
    ------
    MissingDependencyError
        distributed is not installed.
    ParameterError
        No scheduler answers, or it has no worker.
    FileError
        There is no such scheduler file.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            "--scheduler needs dask and distributed. Install them: pip install 'glocal[distributed]'."
        ) from error
    file = scheduler if scheduler.endswith(".json") else None
    if file is not None and not Path(file).is_file():
        raise FileError(f"scheduler file {file} does not exist. Start one: dask scheduler --scheduler-file {file}.")
    try:
        client = Client(**{"address": scheduler} if file is None else {"scheduler_file": file}, timeout=timeout)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler} within {timeout:g} s ({one_line(error)[:120]}). "
            "Give the address it prints when it starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=timeout)
        except TimeoutError as error:
            raise ParameterError(
                f"the Dask scheduler at {scheduler} has no workers. Start some: dask worker {scheduler}."
            ) from error
        yield client
