"""Apply a transform to ``.npy`` and Parquet files of any size in constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from numpy.lib import format as npy_format

from glocal.data.features import Features
from glocal.data.readers import PARQUET, batches, parquet_schema, shards_of, vector_column
from glocal.errors import FileError, ParameterError, import_optional
from glocal.files import PathLike, array_sha256, atomic_write, make_folder, reading, writable_target
from glocal.transform.checks import check_rows
from glocal.transform.linear import LinearTransform

Progress = Callable[[int], None]  # called with the number of rows written so far
_CHUNK_BYTES = 1 << 23
_CSV_ROWS = 1_000  # of a chunk
_MAX_CSV_NUMBERS = 10_000_000  # of about ten characters each
# key in the metadata of an output shard: the hash of its transform, options and input
_MARK = b"glocal"


def apply_file(
    transform: LinearTransform,
    features: Features,
    out: PathLike,
    *,
    force: bool = True,
    progress: Progress = lambda done: None,
) -> int:
    """Transform all rows of `features` into the ``.npy`` file `out` and return their number.

    The file appears only once it is complete. It has the float type of the input, or float32 if
    the input holds integers.

    Parameters
    ----------
    features : Features
        Raw (not standardized) rows. A ``.npy`` file is read a few MB at a time.
    force : bool
        False: rows that certainly belong to another transform are an error; see
        `glocal.transform.check_rows`.

    Raises
    ------
    DataError
        The rows do not have the input dimension of the transform, or a row contains NaN or
        infinity before or after the transform.
    FileError
        `out` cannot be written.

    Warns
    -----
    DataWarning
        The rows differ from those of the fit; see `glocal.transform.check_rows`.
    """
    check_rows(transform, features, force=force)
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
            Z = transform.map_rows(rows, source=features.source, first=start)
            stream.write(np.ascontiguousarray(Z, dtype).data)
            progress(start + len(rows))
    return n


def apply_csv(
    transform: LinearTransform,
    features: Features,
    out: PathLike,
    *,
    force: bool = True,
    progress: Progress = lambda done: None,
) -> int:
    """Transform all rows of `features` into the table `out`, with their names in its first column.

    A table that would be larger than about 100 MB is a ParameterError; see `apply_file` otherwise.
    """
    import pandas as pd

    n = len(features)
    columns = [f"d{number}" for number in range(1, transform.out_dimensions + 1)]
    if n * len(columns) > _MAX_CSV_NUMBERS:
        raise ParameterError(
            f"{out} would hold {n:,} rows of {len(columns):,} numbers, over 100 MB of text. Write "
            ".npy, or .parquet from Parquet."
        )
    check_rows(transform, features, force=force)
    with atomic_write(out) as stream:
        for start, rows in features.chunks(_CSV_ROWS):
            Z = transform.map_rows(rows, source=features.source, first=start)
            names = features.labels[start : start + len(rows)]
            table = pd.DataFrame(Z, index=names, columns=columns)
            stream.write(table.to_csv(header=not start, index_label="name").encode())
            progress(start + len(rows))
    return n


def apply_parquet(
    transform: LinearTransform,
    source: PathLike,
    out: PathLike,
    *,
    column: str | None = None,
    force: bool = True,
    progress: Progress = lambda done: None,
) -> int:
    """Transform the vectors of a Parquet file or of a folder of Parquet files; see `apply_file`.

    In a folder, each output file has the relative path of its input file. The other columns are
    kept. A file appears only once it is complete, and its metadata hold a hash of the transform,
    the options and the input. An existing file with the same hash is left unchanged, so that the
    same command continues an interrupted run. A file with another hash is replaced.

    Parameters
    ----------
    source : path
        A ``.parquet`` file, or a folder of the shards of one table.
    out : path
        A ``.parquet`` file if `source` is a file, else a folder.
    column : str or None
        Column of the vectors. None chooses one column for all files, as `Features.load` does.

    Raises
    ------
    DataError, FileError, ParameterError
        As in `apply_file`. Also if an input file is damaged, if `out` lies in `source`, or if an
        existing output file was not written by `apply_parquet`.
    """
    source = Path(source)
    out = Path(out)
    shards, column = _shards(source, column)
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise ParameterError(f"output {out} lies in the input {source}. Choose another path.")
    targets = [out / shard.relative_to(source) if source.is_dir() else out for shard in shards]
    if not source.is_dir():
        writable_target(out, endings=(PARQUET,))
    sample = next(parquet_rows(source, column), None)
    if sample is not None:  # the table has rows
        check_rows(transform, sample, force=force)
    made_by = f"{array_sha256(np.vstack(transform.folded()))} {transform.normalize}"
    total = 0
    for target, shard in zip(targets, shards, strict=True):
        stamp = shard.stat()
        text = f"{made_by} {column} {shard.name} {stamp.st_size} {stamp.st_mtime_ns}"
        mark = hashlib.sha256(text.encode()).hexdigest().encode()
        total += _apply_to_shard(transform, shard, target, column, mark)
        progress(total)
    return total


def parquet_rows(
    source: PathLike, column: str | None = None
) -> Iterator[Shaped[np.ndarray, "n p"]]:
    """Yield the vectors of a Parquet file or of a folder of them, 2,048 rows at a time."""
    shards, column = _shards(source, column)
    for shard in shards:
        yield from (X for _, _, X in batches(shard, column))


def _shards(source: PathLike, column: str | None) -> tuple[list[Path], str]:
    """The files of one table, and the name of the column that holds its vectors."""
    shards = shards_of(source)
    if not shards:
        raise FileError(
            f"{source} holds no .parquet file. Check the path, or name an output that ends in .npy."
        )
    return shards, vector_column(shards[0], column)


def _apply_to_shard(
    transform: LinearTransform,
    source: Path,
    target: Path,
    column: str,
    mark: bytes,
) -> int:
    """Write the output of one shard unless it is already complete; return its number of rows."""
    rows = _finished_rows(target, mark)
    if rows is not None:
        return rows
    pa = import_optional("pyarrow", "Parquet")
    parquet = import_optional("pyarrow.parquet", "Parquet")
    make_folder(target.parent)
    schema = _output_schema(source, column, transform.out_dimensions, mark)
    position = schema.get_field_index(column)
    field = schema.field(position)
    # vectors rarely repeat, so that dictionary encoding does not shrink them
    others = [name for name in schema.names if name != column]
    rows = 0
    with (
        atomic_write(target) as stream,
        parquet.ParquetWriter(stream, schema, use_dictionary=others) as writer,
    ):
        for start, batch, X in batches(source, column):
            Z = transform.map_rows(X, source=str(source), first=start)
            vectors = pa.FixedSizeListArray.from_arrays(
                pa.array(Z.reshape(-1), type=field.type.value_type), type=field.type
            )
            writer.write_batch(batch.set_column(position, field, vectors))
            rows = start + len(X)
    return rows


def _output_schema(source: Path, column: str, dimensions: int, mark: bytes) -> Any:
    """The schema of an output shard: `dimensions` floats in `column`, `mark` in the metadata."""
    pa = import_optional("pyarrow", "Parquet")
    schema = parquet_schema(source)
    position = schema.get_field_index(column)
    field = schema.field(position)
    number = field.type.value_type
    if not pa.types.is_floating(number):
        number = pa.float32()
    schema = schema.set(position, field.with_type(pa.list_(number, dimensions)))
    return schema.with_metadata({**(schema.metadata or {}), _MARK: mark})


def _finished_rows(target: Path, mark: bytes) -> int | None:
    """The number of rows of an output file with this mark; None if it must be written.

    Raises FileError if `target` is a file that `apply_parquet` did not write.
    """
    if not target.exists():
        return None
    with reading(target, "output", "Remove it, or name another output.") as file:
        metadata = import_optional("pyarrow.parquet", "Parquet").read_metadata(file)
    recorded = (metadata.metadata or {}).get(_MARK)
    if recorded is None:
        raise FileError(
            f"output {target} exists and was not made by apply, so it is not replaced. Choose "
            "another path."
        )
    return int(metadata.num_rows) if recorded == mark else None
