"""Vectors in a column of lists of a Parquet file, or of a folder of such files: the shards of one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glocal.errors import DataError, FileError, needed
from glocal.files import PathLike, reading

PARQUET = ".parquet"
_PREFERRED = ("features", "embedding", "embeddings")
_FIX = "Write it again with pyarrow: pyarrow.parquet.write_table(table, path)."
_BYTES = 1 << 24  # of vectors read at once


def shards_of(path: PathLike) -> list[Path]:
    """The Parquet files under a folder in order of their names, or the one file that `path` is.

    Files and folders whose name begins with ``.`` or ``_`` are passed over: by convention they are not data.
    """
    path = Path(path)
    found = sorted(path.rglob(f"*{PARQUET}")) if path.is_dir() else [path]
    return [file for file in found if all(part[0] not in "._" for part in file.parts[len(path.parts) :])]


def vector_column(path: PathLike, column: str | None = None) -> str:
    """Name the column of vectors: `column`; else features or embedding(s); else the only one of lists of numbers.

    Raises
    ------
    FileError
        No such column of lists of numbers, or several to choose from; or the file is missing or damaged.
    """
    types = needed("pyarrow.types", "Parquet")
    with reading(path, "features", _FIX) as file:
        schema = needed("pyarrow.parquet", "Parquet").read_schema(file)
    lists = [
        field
        for field in schema
        if types.is_list(field.type) or types.is_large_list(field.type) or types.is_fixed_size_list(field.type)
    ]
    numbers = [field.name for field in lists if types.is_floating(field.type.value_type)]
    if column is not None or not numbers:  # beside floats, lists of integers may be tokens
        numbers += [field.name for field in lists if types.is_integer(field.type.value_type)]
    chosen = [name for name in ((column,) if column else _PREFERRED) if name in numbers][:1] or numbers
    if len(chosen) != 1 or (column is not None and column not in numbers):
        raise FileError(
            f"Parquet file {path} has {len(numbers)} columns of lists of floats ({', '.join(numbers) or 'none'}). "
            f"Name the one that holds the vectors: column={numbers[0] if numbers else 'NAME'!r}."
        )
    return chosen[0]


def batches(path: PathLike, column: str) -> Iterator[tuple[int, Any, Shaped[np.ndarray, "n p"]]]:
    """Yield (first row, record batch, its vectors) of a file in order, about 16 MB of vectors at a time.

    Raises
    ------
    DataError
        A missing value, or vectors of different lengths.
    FileError
        The file is missing or damaged, or has no such column.
    """
    parquet, start, width = needed("pyarrow.parquet", "Parquet"), 0, None
    # NOTE: without a buffer, or with pre_buffer, a column's whole row group is held while it is read in pieces
    with (
        reading(path, "features", _FIX) as file,
        parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as held,
    ):
        first = next(held.iter_batches(batch_size=1, columns=[column]), None)
        rows = 1 if first is None else max(1, _BYTES // max(1, 4 * len(first.column(0).flatten())))
        for batch in held.iter_batches(batch_size=rows):
            lists = batch.column(column)
            lengths = np.diff(lists.offsets) if hasattr(lists, "offsets") else np.full(len(lists), lists.type.list_size)
            width, values = int(lengths[0]) if width is None and len(lengths) else width, lists.flatten()
            wrong = np.flatnonzero((lengths != width) | lists.is_null().to_numpy(zero_copy_only=False))
            if len(wrong) or values.null_count:
                row = int(wrong[0]) if len(wrong) else int(np.flatnonzero(values.is_null())[0]) // (width or 1)
                raise DataError(
                    f"{path} has a missing value, or a vector of another length than {width}, in {column} at row "
                    f"{start + row}. Remove or recompute that row."
                )
            yield start, batch, np.asarray(values).reshape(len(batch), -1)
            start += len(batch)


def read_parquet(path: PathLike, column: str | None = None) -> Shaped[np.ndarray, "n p"]:
    """The vectors of a file, or of a folder of shards in order of their names, as one (n, p) array.

    All files are read by the column that is chosen for the first.
    """
    shards = shards_of(path)
    if not shards:
        return np.empty((0, 0), dtype=np.float32)
    column = vector_column(shards[0], column)
    found = [vectors for shard in shards for _, _, vectors in batches(shard, column)]
    if len({vectors.shape[1] for vectors in found}) > 1:
        raise DataError(f"the files of {path} have vectors of different lengths in {column}.")
    return np.concatenate(found) if found else np.empty((0, 0), dtype=np.float32)
