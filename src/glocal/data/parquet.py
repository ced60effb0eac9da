"""Vectors in a column of lists of a Parquet file, or of a folder of such files: the shards of one table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glocal.data.container import KEY, whole
from glocal.errors import DataError, FileError
from glocal.extras import needed

PARQUET = ".parquet"
_PREFERRED = (KEY, "embedding", "embeddings")
_FIX = "Write it again with pyarrow: pyarrow.parquet.write_table(table, path)."
PIECE_BYTES = 1 << 25  # of vectors read at once
_BUFFER_BYTES = 1 << 20
_LISTED = 8
_WIDTH = 1024  # assumed where the first row is empty


def shards_of(path: Path) -> list[Path]:
    """List the Parquet files under a folder in order of their names, or the one file that `path` is.

    Files and folders whose name begins with ``.`` or ``_`` are passed over: by convention they are not data.
    """
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob(f"*{PARQUET}") if file.is_file())
    return sorted(file for file in found if all(part[0] not in "._" for part in file.relative_to(path).parts))


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """Open a `pyarrow.parquet.ParquetFile`; what goes wrong inside becomes one sentence."""
    parquet = needed("pyarrow.parquet", f"features file {path}")
    # NOTE: without a buffer, or with pre_buffer, a column's whole row group is held while it is read in pieces
    with (
        whole(path, "Parquet file", _FIX),
        parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file,
    ):
        yield file


def vector_column(path: Path, schema: Any, column: str | None = None) -> str:
    """Name the column of vectors: `column`; else features or embedding(s); else the only one of lists of numbers.

    Lists of floats come before lists of integers, which may be tokens.
    """
    kinds = {name: _kind(schema.field(i).type) for i, name in enumerate(schema.names)}
    if column is not None:
        if kinds.get(column) is None:
            raise FileError(
                f"Parquet file {path} has no column {column!r} of lists of numbers. "
                f"It has {_listed([f'{field.name} ({field.type})' for field in schema])}."
            )
        return column
    for kind in ("f", "i"):
        names = [name for name in schema.names if kinds[name] == kind]
        preferred = [name for name in _PREFERRED if name in names]
        if preferred or len(names) == 1:
            return (preferred or names)[0]
        if names:
            raise FileError(
                f"Parquet file {path} has {len(names)} columns of lists of numbers: {_listed(names)}. "
                f"Name the one that holds the vectors: --column {names[0]}."
            )
    raise FileError(
        f"Parquet file {path} has no column of lists of numbers (it has {_listed(schema.names) or 'no columns'}). "
        "Store the vectors as one column of type list<float>."
    )


def pieces(
    file: Any, column: str, *, columns: Sequence[str] | None = None, piece_bytes: int = PIECE_BYTES
) -> Iterator[Any]:
    """Yield record batches in order: a row group at once, or in parts where its vectors are above `piece_bytes`."""
    itemsize = max(4, value_type(file.schema_arrow, column).itemsize)
    for number in range(file.num_row_groups):
        width = len(first_row(file, number, column)) or _WIDTH
        rows = max(1, piece_bytes // (width * itemsize))
        yield from file.iter_batches(batch_size=rows, row_groups=[number], columns=columns, use_threads=False)


def first_row(file: Any, number: int, column: str) -> Any:
    """The value of `column` in the first row of a row group, empty where there is none.

    NOTE: damaged metadata of a column raise here; asked for themselves, they end the process inside pyarrow.
    """
    for batch in file.iter_batches(batch_size=1, row_groups=[number], use_threads=False):
        return batch.column(batch.schema.get_field_index(column))[0].as_py() or ()
    return ()


def value_type(schema: Any, column: str) -> np.dtype[Any]:
    """The type of the numbers in a column of lists."""
    return np.dtype(schema.field(column).type.value_type.to_pandas_dtype())


def vectors(lists: Any, source: str, column: str, start: int, width: int | None = None) -> Shaped[np.ndarray, "n p"]:
    """Turn a pyarrow array of lists, each of `width` numbers or as many as the first, into rows of one matrix.

    `source`, `column` and the row `start` of the first list are for the sentence of a missing value or another length.
    """
    import pyarrow.compute as pc

    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), -1))
    if width is None:
        width = int(max(lengths[:1], default=0))
    wrong = np.flatnonzero((lengths != width) | (lengths < 0))
    if len(wrong):
        row = int(wrong[0])
        found = f"{lengths[row]} numbers" if lengths[row] >= 0 else "no list"
        raise DataError(
            f"{source} holds {found} in {column} at row {start + row}; every row must have a list of "
            f"{'one length' if width < 0 else width}. Remove or recompute that row."
        )
    values = lists.flatten()
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0]) // width
        raise DataError(
            f"{source} holds a missing number in {column} at row {start + row}; features must be finite. "
            "Remove or recompute that row."
        )
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(lists), width)


def read_parquet(path: Path) -> np.ndarray:
    """Read the vectors of a file, or of a folder of shards in order of their names, into one (n, p) array."""
    found: list[np.ndarray] = []
    for shard in shards_of(path):
        with open_parquet(shard) as file:
            column, start = vector_column(shard, file.schema_arrow), 0
            for batch in pieces(file, column, columns=[column]):
                width = found[0].shape[1] if found else None
                found.append(vectors(batch.column(0), str(shard), column, start, width))
                start += len(batch)
    return np.concatenate(found) if found else np.empty((0, 0), dtype=np.float32)


def _kind(kind: Any) -> str | None:
    """``"f"`` for lists of floats, ``"i"`` for lists of integers, None for any other type."""
    from pyarrow import types

    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return None
    value = kind.value_type
    return "f" if types.is_floating(value) else "i" if types.is_integer(value) else None


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - _LISTED} more"] * (len(names) > _LISTED)
    return ", ".join([*names[:_LISTED], *more])
