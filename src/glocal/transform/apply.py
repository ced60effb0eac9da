"""Apply a transform to features of any size in constant memory: to ``.npy``, or from Parquet files to such files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy_format

from glocal.data.features import Features
from glocal.data.readers import PARQUET, batches, shards_of, vector_column
from glocal.errors import FileError, ParameterError, needed
from glocal.files import PathLike, array_sha256, atomic_write, make_folder, reading, writable_target
from glocal.transform.checks import check_once
from glocal.transform.linear import LinearTransform

Progress = Callable[[int], None]  # called with the number of rows done so far
_CHUNK_BYTES = 1 << 23
_MARK = b"glocal"  # in the metadata of a Parquet file: the hash of what determines it


def apply_file(
    transform: LinearTransform, features: Features, out: PathLike, *, normalize: bool = False,
    progress: Progress = lambda done: None,
) -> int:  # fmt: skip
    """Transform every row of `features` into the ``.npy`` file `out`, which appears when it is whole; returns how many.

    The output has the float type of the input, float32 for integers.

    Parameters
    ----------
    features : Features
        Raw (not standardized) rows; of a ``.npy`` file only a few MB are in memory at once.
    normalize : bool
        First scale each row to length 1, as in `LinearTransform.apply`.

    Raises
    ------
    DataError
        The dimensions differ, or a row is, or is mapped to, NaN or infinity.
    FileError
        `out` cannot be written.
    """
    _refuse_replacing(out, features.source)
    transform.check_shape(features.matrix.shape)
    check_once(transform, features, normalize)
    n, p = features.matrix.shape
    dtype = np.dtype(np.float32)
    if features.matrix.dtype.kind == "f":
        dtype = features.matrix.dtype.newbyteorder("=")
    header = {
        "descr": npy_format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (n, transform.out_dimensions),
    }
    with atomic_write(out) as stream:
        npy_format.write_array_header_1_0(stream, header)
        for start, rows in features.chunks(max(1, _CHUNK_BYTES // (dtype.itemsize * p))):
            Z = transform.map_rows(rows, normalize=normalize, source=features.source, first=start)
            stream.write(np.ascontiguousarray(Z, dtype).data)
            progress(start + len(rows))
    return n


def apply_parquet(
    transform: LinearTransform, source: PathLike, out: PathLike, *, column: str | None = None, normalize: bool = False,
    progress: Progress = lambda done: None,
) -> int:  # fmt: skip
    """Transform the vectors of a Parquet file, or of a folder of them, into files of the same names; see `apply_file`.

    The other columns are kept. Each file appears when it is whole, and holds the hash of what determines it: one that
    is there already is left as it is, so that the same command continues an interrupted run, and one that another
    transform or input made is replaced.

    Parameters
    ----------
    source : path
        A ``.parquet`` file, or a folder of the shards of one table.
    out : path
        A ``.parquet`` file for a file; else a folder.
    column : str or None
        Column of the vectors; None chooses it for all files as `Features.load` does.

    Raises
    ------
    DataError, FileError
        As in `apply_file`; a file is damaged, or one of the same name was not made here.
    """
    source, out, done = Path(source), Path(out), 0
    shards, column = _shards(source, column)
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise ParameterError(f"output {out} lies in the input {source}. Name another place.")
    targets = [out / shard.relative_to(source) if source.is_dir() else out for shard in shards]
    for target, shard in zip(targets, shards, strict=True):
        _refuse_replacing(target, shard)
    if not source.is_dir():
        writable_target(out, endings=(PARQUET,))
    sample = next(parquet_rows(source, column), None)
    if sample is not None:  # else the table has no rows
        transform.check_shape(sample.shape)
        check_once(transform, sample, normalize)
    made_by = array_sha256(np.vstack(transform.folded()))
    for target, shard in zip(targets, shards, strict=True):
        stamp = shard.stat()
        text = f"{made_by} {normalize} {column} {shard.name} {stamp.st_size} {stamp.st_mtime_ns}"
        done += _shard(
            transform,
            shard,
            target,
            column,
            normalize,
            hashlib.sha256(text.encode()).hexdigest().encode(),
        )
        progress(done)
    return done


def parquet_rows(
    source: PathLike, column: str | None = None
) -> Iterator[Shaped[np.ndarray, "n p"]]:
    """The vectors of a Parquet file, or of a folder of them, about 16 MB at a time."""
    shards, column = _shards(source, column)
    for shard in shards:
        yield from (X for _, _, X in batches(shard, column))


def _refuse_replacing(out: PathLike, source: PathLike) -> None:
    """Raise a ParameterError where an output is a file that is read, whatever links lead to it."""
    both_exist = os.path.exists(out) and os.path.exists(source)
    if both_exist and os.path.samefile(out, source):
        raise ParameterError(f"output {out} is the input {source}. Name another place.")


def _shards(source: PathLike, column: str | None) -> tuple[list[Path], str]:
    """The files of one table, and the column of its vectors."""
    shards = shards_of(source)
    if not shards:
        raise FileError(
            f"{source} holds no .parquet file. Check the path, or name an output that ends in .npy."
        )
    return shards, vector_column(shards[0], column)


def _shard(
    transform: LinearTransform, source: Path, target: Path, column: str, normalize: bool, mark: bytes
) -> int:  # fmt: skip
    """Write the file of one shard, unless it is there; gives its number of rows."""
    pa, parquet = needed("pyarrow", "Parquet"), needed("pyarrow.parquet", "Parquet")
    if target.exists():
        with reading(target, "output", "Remove it, or name another --out.") as file:
            held = parquet.read_metadata(file)
        found = (held.metadata or {}).get(_MARK)
        if found is None:
            raise FileError(
                f"output {target} exists and was not made by apply, so it is not replaced. Name another."
            )
        if found == mark:
            return int(held.num_rows)
    make_folder(target.parent)
    with reading(source, "features") as file, parquet.ParquetFile(file) as given:
        schema, rows = given.schema_arrow, int(given.metadata.num_rows)
    at = schema.get_field_index(column)
    kind = schema.field(at).type.value_type
    lists = pa.list_(kind if pa.types.is_floating(kind) else pa.float32(), transform.out_dimensions)
    schema = schema.set(at, schema.field(at).with_type(lists)).with_metadata(
        {**(schema.metadata or {}), _MARK: mark}
    )
    others = [
        name for name in schema.names if name != column
    ]  # vectors repeat too little for a dictionary
    with (
        atomic_write(target) as stream,
        parquet.ParquetWriter(stream, schema, use_dictionary=others) as writer,
    ):
        for start, batch, X in batches(source, column):
            Z = transform.map_rows(X, normalize=normalize, source=str(source), first=start)
            values = pa.array(np.ascontiguousarray(Z).reshape(-1), type=lists.value_type)
            vectors = pa.FixedSizeListArray.from_arrays(values, type=lists)
            writer.write_batch(batch.set_column(at, schema.field(at), vectors))
    return rows
