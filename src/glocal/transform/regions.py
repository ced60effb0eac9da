"""Rows of a matrix into a zarr array, one region of whole chunks at a time."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.features import Features
from glocal.data.stored import RowStore
from glocal.data.zarr import ZARR, open_zarr
from glocal.extras import needed
from glocal.jobs.leaving import unwritable
from glocal.transform.linear import LinearTransform
from glocal.transform.streaming import apply_checked

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Region:
    """Rows `start` to `stop` of `matrix`, and the zarr array `target` that they go to; regions share no chunk."""

    matrix: RowStore | np.ndarray
    source: Path
    target: Path
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.stop - self.start

    def run(self, transform: LinearTransform, normalize: bool) -> None:
        """Read the rows, transform them and write them; doing it twice does no harm."""
        X = self.matrix[self.start : self.stop]
        Z = apply_checked(transform, X, source=str(self.source), start=self.start, normalize=normalize)
        with _writing(self.target):
            zarr = needed("zarr", f"features file {self.target}")
            with zarr.config.set(
                {"array.write_empty_chunks": True}
            ):  # chunks of zeros left out would look like lost ones
                zarr.open_array(str(self.target), mode="r+")[self.start : self.stop] = Z


def regions_of(features: Features, target: Path, region_bytes: int) -> list[Region]:
    """Cut the rows into regions of about `region_bytes` that are whole chunks, or whole shards, of the target."""
    (n, p), itemsize = features.matrix.shape, _float(features.matrix.dtype).itemsize
    step = _chunk_rows(features)
    step *= max(1, region_bytes // (step * p * max(4, itemsize)))
    matrix, source = features.matrix, Path(features.source)
    return [Region(matrix, source, target, start, min(n, start + step)) for start in range(0, n, step)]


def create_like(features: Features, target: Path, dimensions: int) -> None:
    """Create the empty zarr array of the transformed rows.

    It has the rows of the input, so many `dimensions` and its float type (float32 for integers). The layout of a zarr
    input is kept: zarr format, chunks, shards, compression, attributes; its filters are not, for some round to the
    range of its values. Fewer dimensions than the input has are one chunk wide.
    """
    zarr = needed("zarr", f"features file {target}")
    matrix = features.matrix
    dtype = _float(matrix.dtype)
    settings: dict[str, Any] = {"chunks": (_chunk_rows(features), dimensions)}
    if isinstance(matrix, RowStore) and matrix.path.suffix.lower() == ZARR:
        with open_zarr(matrix.path) as root:
            array = root[matrix.name] if matrix.name else root
            chunks, shards = array.chunks, array.shards
            if dimensions != matrix.shape[1]:
                chunks, shards = (chunks[0], dimensions), shards and (shards[0], dimensions)
            settings = {
                "chunks": chunks, "shards": shards, "zarr_format": array.metadata.zarr_format,
                "attributes": dict(array.attrs),
            }  # fmt: skip
            if matrix.dtype.kind == "f":
                settings["compressors"] = array.compressors
    with _writing(target):
        zarr.create_array(
            str(target), shape=(len(matrix), dimensions), dtype=dtype, fill_value=0, overwrite=True, **settings
        )


def _chunk_rows(features: Features) -> int:
    """Rows of a chunk, or of a shard; where the input has none, those of 4 MB."""
    matrix = features.matrix
    if isinstance(matrix, RowStore) and matrix.path.suffix.lower() == ZARR:
        return matrix.chunk_rows
    return max(1, min(len(features), _CHUNK_BYTES // (features.dimensions * _float(matrix.dtype).itemsize)))


def _float(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("=") if dtype.kind == "f" else np.dtype(np.float32)


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of types without a stable specification
            yield
    except OSError as error:
        raise unwritable(target, error) from error
