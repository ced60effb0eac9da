"""Rows of an HDF5 or zarr array that stays on the disk: read when they are asked for, and only they."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.container import native
from glocal.data.hdf5 import features_in_hdf5, open_hdf5
from glocal.data.zarr import ZARR, features_in_zarr, open_zarr


@dataclass(frozen=True, eq=False)
class RowStore:
    """An array on the disk that is sliced like one in memory; ``numpy.asarray(store)`` reads all of it.

    It holds no open file: the file is opened anew for each read, so that a store can be pickled, sent to another
    process and left without closing. Rows come in the byte order of this machine. `name` is that of the array in the
    HDF5 file or zarr folder `path`, empty where the folder is the array; `chunk_rows` rows are stored, and so read,
    together. Rows are read in pieces of at most `piece_bytes`, since zarr needs several times that while it decodes;
    reading over a gap below `gap_bytes` is cheaper than starting anew behind it.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunk_rows: int = 1
    piece_bytes: int = 1 << 23
    gap_bytes: int = 1 << 16

    @classmethod
    def of(cls, path: Path, name: str, array: Any) -> RowStore:
        """Describe an open h5py dataset or zarr array."""
        chunks = getattr(array, "shards", None) or array.chunks
        dtype = np.dtype(array.dtype).newbyteorder("=")
        return cls(path, name, tuple(array.shape), dtype, int(chunks[0]) if chunks else 1)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | int | np.integer[Any] | np.ndarray) -> np.ndarray:
        """Rows of a slice without steps, one row, or the rows of an integer array; increasing ones are read fastest."""
        if isinstance(rows, int | np.integer):
            row = range(len(self))[rows]
            return self[row : row + 1][0]
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise IndexError(f"rows of {self.path} are sliced with step {step}; allowed is 1.")
            with self._open() as array:
                return native(array[start : max(start, stop)])
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise IndexError(f"rows of {self.path} are selected by {rows.dtype} of shape {rows.shape}; give integers.")
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(f"row {rows.min()} or {rows.max()} is not in {self.path} (valid 0..{len(self) - 1}).")
        found = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        order = np.argsort(rows, kind="stable")
        if len(rows):
            with self._open() as array:
                for part in self._spans(rows[order]):
                    wanted = rows[order[part]]
                    found[order[part]] = array[int(wanted[0]) : int(wanted[-1]) + 1][wanted - wanted[0]]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def _spans(self, rows: Int[np.ndarray, " k"]) -> Iterator[slice]:
        """Cut increasing rows where the gap to the next is wide, and where the piece to read would grow too large."""
        row_bytes = max(1, self.dtype.itemsize * self.size // max(1, len(self)))
        gap, span = max(self.chunk_rows, self.gap_bytes // row_bytes), max(1, self.piece_bytes // row_bytes)
        start = 0
        for stop in [*(np.flatnonzero(np.diff(rows) > gap) + 1).tolist(), len(rows)]:
            while start < stop:
                end = min(stop, int(np.searchsorted(rows, rows[start] + span)))
                yield slice(start, end)
                start = end

    @contextlib.contextmanager
    def _open(self) -> Iterator[Any]:
        opener = open_zarr if self.path.suffix.lower() == ZARR else open_hdf5
        with opener(self.path) as root:
            yield root[self.name] if self.name else root


def read_hdf5(path: Path, *, max_in_memory: int = 1 << 28) -> np.ndarray | RowStore:
    """Read the features of an HDF5 file into memory, or leave them on the disk above 256 MB (`max_in_memory` bytes)."""
    with features_in_hdf5(path) as dataset:
        if dataset.size * dataset.dtype.itemsize > max_in_memory:
            return RowStore.of(path, dataset.name, dataset)
        return native(dataset[()])


def read_zarr(path: Path) -> RowStore:
    """Describe the features of a zarr folder, which stay on the disk."""
    with features_in_zarr(path) as (name, array):
        return RowStore.of(path, name, array)
