"""A Parquet shard with its vectors transformed and everything else in it as it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.data.parquet import first_row, open_parquet, pieces, vector_column, vectors
from glocal.errors import DataError, FileError
from glocal.files import atomic_write, make_folder, one_line
from glocal.transform.linear import LinearTransform
from glocal.transform.streaming import apply_checked


@dataclass(frozen=True)
class ParquetShard:
    """A file of `rows` rows, the column of its vectors, and the file that the transformed rows go to.

    At most `piece_bytes` of vectors are read at once.
    """

    source: Path
    target: Path
    column: str
    rows: int
    piece_bytes: int

    def run(self, transform: LinearTransform, normalize: bool) -> None:
        """Write the target atomically, a row group at a time; a row group of more than `piece_bytes` becomes several.

        The other columns, the order of all, the compression of the first and the metadata of the schema are kept. The
        vectors keep their float type; integers become float32.
        """
        from pyarrow import Table, parquet

        with open_parquet(self.source) as file:
            read = file.schema_arrow
            at = read.get_field_index(self.column)
            lists = _float_lists(read.field(at).type, transform.out_dimensions)
            schema = read.set(at, read.field(at).with_type(lists))
            batches = pieces(file, self.column, piece_bytes=self.piece_bytes)
            settings = _settings(file, self.column)
            make_folder(self.target.parent)
            with atomic_write(self.target) as stream, parquet.ParquetWriter(stream, schema, **settings) as writer:
                start = 0
                while (batch := self._next(batches)) is not None:
                    X = vectors(batch.column(at), str(self.source), self.column, start)
                    Z = apply_checked(transform, X, source=str(self.source), start=start, normalize=normalize)
                    columns = batch.columns
                    columns[at] = _lists(Z, schema.field(at).type)
                    writer.write_table(Table.from_arrays(columns, schema=schema), row_group_size=max(1, len(Z)))
                    start += len(Z)

    def _next(self, batches: Any) -> Any:
        """The next batch or None; what goes wrong is about the source, not about the target that is open."""
        try:
            return next(batches, None)
        except OSError as error:
            raise FileError(
                f"features file {self.source} is not a whole Parquet file ({one_line(error)[:160]}). Write it again."
            ) from error


def parquet_shard(source: Path, target: Path, column: str | None, dimensions: int, piece_bytes: int) -> ParquetShard:
    """Describe a shard by its schema, and refuse one that the transform cannot map."""
    with open_parquet(source) as file:
        schema = file.schema_arrow
        name = vector_column(source, schema, column)
        width = getattr(schema.field(name).type, "list_size", dimensions)
        if width != dimensions:
            raise DataError(
                f"{source} has {width} numbers in each row of {name} but the transform maps {dimensions} dimensions; "
                "it needs features of the model and layer it was fitted on."
            )
        return ParquetShard(source, target, name, file.metadata.num_rows, piece_bytes)


def _float_lists(kind: Any, dimensions: int) -> Any:
    """The same type of list, of floats, and of as many where the type says how many."""
    import pyarrow as pa

    value = kind.value_field
    if pa.types.is_integer(value.type):
        value = value.with_type(pa.float32())
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(value, dimensions)
    return pa.large_list(value) if pa.types.is_large_list(kind) else pa.list_(value)


def _lists(Z: Float[np.ndarray, "n p"], kind: Any) -> Any:
    """Rows as a pyarrow array of lists of type `kind`."""
    import pyarrow as pa

    values = pa.array(np.ascontiguousarray(Z).reshape(-1), type=kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind)
    large = pa.types.is_large_list(kind)
    offsets = pa.array(np.arange(len(Z) + 1) * Z.shape[1], type=pa.int64() if large else pa.int32())
    return (pa.LargeListArray if large else pa.ListArray).from_arrays(offsets, values, type=kind)


def _settings(file: Any, column: str) -> dict[str, Any]:
    """The compression of the input, and no dictionary of vectors, which repeat too little for it."""
    compression = "SNAPPY"
    if file.num_row_groups:
        first_row(file, 0, column)  # damaged metadata raise
        compression = file.metadata.row_group(0).column(0).compression
    return {
        "compression": compression.replace("UNCOMPRESSED", "NONE"),
        "use_dictionary": [name for name in file.schema_arrow.names if name != column],
    }
