"""Apply a transform to zarr arrays and Parquet shards: part by part, in process or on a Dask cluster, resumable."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np

from glocal._version import __version__
from glocal.data.features import Features
from glocal.data.parquet import PARQUET, PIECE_BYTES, shards_of
from glocal.data.readers import READERS
from glocal.data.stored import RowStore
from glocal.data.zarr import ZARR
from glocal.errors import FileError, ParameterError
from glocal.files import PathLike
from glocal.jobs.leaving import stamp_of, unreadable
from glocal.jobs.output import Output, building
from glocal.jobs.run import Chain, run
from glocal.transform.linear import LinearTransform
from glocal.transform.parquet_shards import ParquetShard, parquet_shard
from glocal.transform.regions import Region, create_like, regions_of

Part = ParquetShard | Region
"""A piece of the output that is written independently of all others; writing it twice does no harm."""


def is_sharded(source: PathLike, out: PathLike) -> bool:
    """Whether `apply_shards` writes this output: it is a zarr array, or Parquet from Parquet."""
    source, kind = Path(source), Path(out).suffix.lower()
    if kind in (ZARR, PARQUET):
        return True
    return kind != ".npy" and (source.suffix.lower() == PARQUET or (source.is_dir() and _holds_shards(source)))


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
    part_bytes: int = PIECE_BYTES,
) -> int:
    """Transform every row of `source` into the zarr array or the Parquet shards `out`.

    A zarr array is worked on in regions of whole chunks, Parquet shards one by one and each in row groups of at most
    `part_bytes`, so that memory does not grow with the input. The output appears when it is whole. What a
    run that was killed has finished is kept in ``.OUT.partial`` beside `out`; a run with the same transform, options
    and input (names, sizes, times of change of its files) does only the rest, any other run starts anew.

    With a `scheduler`, the parts are tasks of a Dask cluster that is already running: the transform is sent once to
    each worker, and a worker that dies costs only the parts that it was given. All workers and this process must see
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
    part_bytes : int
        Size of the rows that are read and transformed at once, about 32 MB.

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
        The cluster did not finish its work.
    """
    source, out = Path(os.path.abspath(source)), Path(os.path.realpath(out))  # workers start in other folders
    _check_places(source, out)
    transform = transform if strength == 1.0 else transform.at_strength(strength)
    output = Output.of(out, _key_of(transform, normalize, column, source, part_bytes))
    features = _zarr_input(transform, source, column, scheduler) if out.suffix.lower() == ZARR else None
    parts = (
        regions_of(features, output.whole, part_bytes)
        if features
        else _parquet_parts(transform, source, output.whole, column, part_bytes)
    )
    total = sum(part.rows for part in parts)
    with building(output) as tasks:
        finished = set(tasks.done())
        if features and not finished:
            create_like(features, output.whole, transform.out_dimensions)
        done = sum(parts[number].rows for number in finished)
        chains = (Chain([(number, part)]) for number, part in enumerate(parts) if number not in finished)
        how = transform, normalize, output.folder
        for (number, part), _ in run(_write, chains, lambda _: how, scheduler=scheduler):
            tasks.commit({"part": number})
            done += part.rows
            if progress is not None:
                progress(done, total)
        output.commit()
    return total


def _write(task: tuple[int, Part], before: None, how: tuple[LinearTransform, bool, Path]) -> None:
    """Write a part, here or on a worker, which may have another file system."""
    _, part = task
    transform, normalize, folder = how
    for path in (part.source, folder):
        if not path.exists():
            raise FileError(
                f"{socket.gethostname()} does not see {path}. With --scheduler all workers must see the same files "
                "under the same paths: mount the folder there, or leave out --scheduler."
            )
    part.run(transform, normalize)


def _zarr_input(transform: LinearTransform, source: Path, column: str | None, scheduler: str | None) -> Features:
    if column is not None:
        raise ParameterError("--column names a column of Parquet, for a Parquet output. Leave it out for zarr.")
    features = Features.load(source)
    if scheduler is not None and not isinstance(features.matrix, RowStore):
        raise ParameterError(
            f"--scheduler maps zarr to zarr and Parquet to Parquet; {source} is neither. Leave out --scheduler."
        )
    transform.check_shape((len(features), features.dimensions))
    return features


def _parquet_parts(
    transform: LinearTransform, source: Path, target: Path, column: str | None, part_bytes: int
) -> list[ParquetShard]:
    shards = shards_of(source)
    if not shards or (not source.is_dir() and source.suffix.lower() != PARQUET):
        raise FileError(
            f"a Parquet output needs a .parquet file or a folder of them; {source} is neither. "
            "Name an --out that ends in .npy or .zarr."
        )
    parts: list[ParquetShard] = []
    for shard in shards:
        if source.is_dir():
            place = target / shard.relative_to(source)
        else:
            place = target if target.suffix.lower() == PARQUET else target / shard.name
        parts.append(
            parquet_shard(shard, place, parts[0].column if parts else column, transform.dimensions, part_bytes)
        )
    return parts


def _check_places(source: Path, out: Path) -> None:
    """Refuse an output that would destroy anything else than a previous output."""
    if out.suffix.lower() in {*READERS, ".csv"} - {ZARR, PARQUET}:
        raise ParameterError(
            f"output {out} ends in {out.suffix}; from Parquet allowed are a folder, .parquet, .zarr and .npy. Name it "
            f"{out.with_suffix(PARQUET).name}."
        )
    real, place = source.resolve(), out.resolve()
    if real == place or real in place.parents or place in real.parents:
        raise ParameterError(f"output {out} and input {source} contain each other. Name another place for the output.")
    if out.suffix.lower() == ZARR:
        ours = out.is_dir() and any((out / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))
        what = "a zarr folder"
    elif source.is_file() and out.suffix.lower() == PARQUET:
        ours, what = out.is_file(), "a Parquet file"
    else:
        files = [path for path in out.rglob("*") if not path.is_dir()] if out.is_dir() else []
        ours = out.is_dir() and all(path.suffix.lower() == PARQUET for path in files)
        what = "a folder of Parquet files alone"
    if out.exists() and not ours and not (out.is_dir() and not any(out.iterdir())):
        raise FileError(f"output {out} exists and is not {what}, so it is not replaced. Name another.")


def _key_of(transform: LinearTransform, normalize: bool, column: str | None, source: Path, part_bytes: int) -> str:
    """Hash whatever determines the output: this version too, and of the input the names and stamps of its files."""
    options = f"{__version__} {normalize} {column!r} {part_bytes} {transform.mean!r} {transform.std!r}"
    digest = hashlib.sha256(options.encode())
    for array in (transform.weights, transform.bias):
        digest.update(b"-" if array is None else np.ascontiguousarray(array).data)
    try:
        files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for file in files:
            digest.update(os.fsencode(file) + b"\n" + stamp_of(file.stat()))
    except FileNotFoundError as error:
        raise FileError(f"features file {source} does not exist. Check the path.") from error
    except OSError as error:
        raise unreadable(source, "features", error) from error
    return digest.hexdigest()[:16]


def _holds_shards(folder: Path) -> bool:
    if folder.suffix.lower() == ZARR or (folder / "features.npy").is_file():
        return False
    return bool(shards_of(folder))
