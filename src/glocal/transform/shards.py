"""Apply a transform to zarr arrays and Parquet shards: part by part, in process or on a Dask cluster, resumable."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from glocal.cluster import connected, mapped
from glocal.errors import FileError
from glocal.files import PathLike, followed, unwritable
from glocal.transform.linear import LinearTransform
from glocal.transform.partial import Partial, holding
from glocal.transform.plan import Part, check_places, key_of, parts_of

Task = tuple[Part, Path]


def apply_shards(
    transform: LinearTransform,
    source: PathLike,
    out: PathLike,
    *,
    column: str | None = None,
    strength: float = 1.0,
    normalize: bool = False,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Transform every row of `source` into the zarr array or the Parquet shards `out`.

    A zarr array is worked on in regions of whole chunks of about 32 MB, Parquet shards one by one and each in row
    groups of at most 32 MB, so that memory does not grow with the input. The output appears when it is whole. What a
    run that was killed has finished is kept in ``.OUT.partial`` beside `out`; a run with the same transform, options
    and input (names, sizes, times of change of its files) does only the rest, any other one starts anew.

    With a `scheduler`, the parts are tasks of a Dask cluster that runs already: the transform is sent once to each
    worker, and a worker that dies costs only the parts that it was given. All workers and this process must see
    `source` and the folder of `out` under the same paths, e.g. on a network file system.

    Parameters
    ----------
    transform : LinearTransform
    source : path
        Raw (not standardized) rows: any feature file for a zarr output; for Parquet a file, or a folder of them.
    out : path
        ``NAME.zarr``; or, from Parquet, a folder that gets shards of the same names, or ``NAME.parquet`` from one
        file. A previous output is replaced; a folder that holds anything else is refused.
    column : str or None
        Of the vectors in Parquet; None takes features or embedding(s), or else the only column of lists of numbers.
    strength, normalize
        As in `LinearTransform.apply`.
    scheduler : str or None
        Address or scheduler file of a Dask cluster; None works in this process, and needs no Dask.
    progress : function or None
        Called with the rows done so far and the rows in total.

    Returns
    -------
    int
        The number of rows of the output.

    Raises
    ------
    DataError
        The dimensions differ, or a row holds NaN or infinity.
    FileError
        Something is missing, damaged or cannot be written, or a worker does not see it.
    ParameterError
        The options do not go together, or no cluster is found.
    ClusterError
        The cluster does not do its work to the end.
    """
    source, out = Path(os.path.abspath(source)), followed(Path(os.path.abspath(out)))  # workers start in other folders
    check_places(source, out)
    transform = transform if strength == 1.0 else transform.at_strength(strength)
    partial = Partial.of(out, key_of(transform, normalize, column, source))
    parts, create = parts_of(transform, source, partial.data / out.name, column=column, mapped=scheduler is not None)
    total = sum(part.rows for part in parts)
    with ExitStack() as stack:
        client = None if scheduler is None else stack.enter_context(connected(scheduler))
        stack.enter_context(holding(partial))
        finished = partial.finished()
        if not finished:
            create()
        done = sum(parts[number].rows for number in finished)
        open_parts = [(part, partial.marker(i)) for i, part in enumerate(parts) if i not in finished]
        for rows in _run(open_parts, (transform, normalize), client):
            done += rows
            if progress is not None:
                progress(done, total)
        partial.commit(partial.data / out.name)
    return total


def _run(tasks: Sequence[Task], how: tuple[LinearTransform, bool], client: Any) -> Iterator[int]:
    """Do the parts, here or on the cluster; yields the rows of each as it is finished."""
    if client is None:
        for task in tasks:
            yield _finish(task, how)
    else:
        for _, rows in mapped(client, _finish_there, tasks, how):
            yield rows


def _finish(task: Task, how: tuple[LinearTransform, bool]) -> int:
    part, marker = task
    part.run(*how)
    try:
        marker.touch()
    except OSError as error:
        raise unwritable(marker, error) from error
    return part.rows


def _finish_there(task: Task, how: tuple[LinearTransform, bool]) -> int:
    """`_finish` on a worker, which may have another file system."""
    part, marker = task
    for path in (part.inputs, marker.parent):
        if not path.exists():
            raise FileError(
                f"a Dask worker on {socket.gethostname()} does not see {path}; with --scheduler all workers must see "
                "the same files under the same paths. Mount the folder there, or leave out --scheduler."
            )
    return part.rows if marker.exists() else _finish(task, how)


__all__ = ["apply_shards"]
