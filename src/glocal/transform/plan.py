"""What `glocal.transform.shards` does with an input and an output: which parts, where, and what must not be touched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from glocal._version import __version__
from glocal.data.features import Features
from glocal.data.parquet import PARQUET, shards_of
from glocal.data.readers import READERS
from glocal.data.store import ZARR, RowStore
from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, stamp_of, unreadable
from glocal.transform.linear import LinearTransform
from glocal.transform.parquet_shards import ParquetShard, parquet_shard
from glocal.transform.regions import Region, create_like, regions_of

Part = ParquetShard | Region
"""A piece of the output that is written by itself: what it writes depends on nothing else, twice does no harm."""


def is_sharded(source: PathLike, out: PathLike) -> bool:
    """Whether `apply_shards` writes this output: it is a zarr array, or Parquet from Parquet."""
    source, kind = Path(source), Path(out).suffix.lower()
    if kind in (ZARR, PARQUET):
        return True
    return kind != ".npy" and (source.suffix.lower() == PARQUET or (source.is_dir() and _holds_shards(source)))


Plan = tuple[Sequence[Part], Callable[[], None]]


def parts_of(transform: LinearTransform, source: Path, target: Path, *, column: str | None, mapped: bool) -> Plan:
    """List the parts of the output `target`, and what creates it before the first; read no rows, write nothing.

    Parameters
    ----------
    transform : LinearTransform
    source, target : path
    column : str or None
        As in `apply_shards`.
    mapped : bool
        Whether other processes shall do the parts.

    Raises
    ------
    FileError, DataError, ParameterError
        The input cannot be read, does not fit the transform or not the kind of output.
    """
    if target.suffix.lower() == ZARR:
        return _zarr_parts(transform, source, target, column, mapped)
    return _parquet_parts(transform, source, target, column), lambda: None


def _zarr_parts(transform: LinearTransform, source: Path, target: Path, column: str | None, mapped: bool) -> Plan:
    if column is not None:
        raise ParameterError("--column names a column of Parquet, for a Parquet output. Leave it out for zarr.")
    features = Features.load(source)
    if mapped and not isinstance(features.matrix, RowStore):
        raise ParameterError(
            f"--scheduler maps zarr to zarr and Parquet to Parquet; {source} is neither. Leave out --scheduler."
        )
    transform.check_shape((len(features), features.dimensions))
    return regions_of(features, target), lambda: create_like(features, target)


def _parquet_parts(
    transform: LinearTransform, source: Path, target: Path, column: str | None
) -> Sequence[ParquetShard]:
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
        parts.append(parquet_shard(shard, place, parts[0].column if parts else column, transform.dimensions))
    return parts


def check_places(source: Path, out: Path) -> None:
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


def key_of(transform: LinearTransform, normalize: bool, column: str | None, source: Path) -> str:
    """Hash whatever determines the output: this version too, and of the input the names and stamps of its files."""
    digest = hashlib.sha256(f"{__version__} {normalize} {column!r} {transform.mean!r} {transform.std!r}".encode())
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


__all__ = ["Part", "check_places", "is_sharded", "key_of", "parts_of"]
