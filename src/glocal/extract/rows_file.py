"""The matrix of one layer while it grows: chunks of rows at their final place, in any order, by any process."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from glocal.errors import DataError, FileError
from glocal.extras import needed
from glocal.files import atomic_write, read_npy, read_npy_header, unwritable

FORMATS = ("npy", "zarr")
_STEP_BYTES = 1 << 24


@runtime_checkable
class RowsFile(Protocol):
    """A growing (n, p) matrix with a fixed place on the disk."""

    path: Path

    def create(self, shape: tuple[int, int], dtype: np.dtype) -> None:
        """Make the matrix, or check that the one that is there has this shape and type; call under a lock."""

    def write(self, first: int, rows: np.ndarray) -> None:
        """Put rows at their place and on the disk."""

    def move(self, target: Path, kept: np.ndarray | None) -> None:
        """Give the matrix its final name, with the `kept` rows only if not None; once more after a kill is harmless."""


def rows_file(path: Path, format: str, chunk_rows: int) -> RowsFile:
    """The growing matrix of a layer at `path`."""
    return _Npy(path) if format == "npy" else _Zarr(path, chunk_rows)


class _Npy:
    """A ``.npy`` file of its final size from the start; rows that are not there yet are holes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, shape: tuple[int, int], dtype: np.dtype) -> None:
        if self.path.exists():
            found = read_npy(self.path, what="unfinished features")
            _check_alike(self.path, (found.shape, found.dtype), (shape, dtype))
            return
        with atomic_write(self.path) as stream:
            _header(stream, shape, dtype)
            stream.flush()
            os.ftruncate(stream.fileno(), stream.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)

    def write(self, first: int, rows: np.ndarray) -> None:
        data = np.ascontiguousarray(rows)
        try:
            with self.path.open("r+b") as stream:
                stream.seek(read_npy_header(stream).offset + first * data.strides[0])
                stream.write(data.data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def move(self, target: Path, kept: np.ndarray | None) -> None:
        if not self.path.exists():
            return
        if kept is None:
            _rename(self.path, target)
            return
        matrix = read_npy(self.path, what="unfinished features")
        with atomic_write(target) as stream:
            _header(stream, (len(kept), matrix.shape[1]), matrix.dtype)
            offset, row_bytes = matrix.offset, matrix.shape[1] * matrix.dtype.itemsize  # type: ignore[attr-defined]
            with self.path.open("rb") as source:  # read, not mapped: mapped pages would count as memory of the run
                for first, last in _spans(kept, max(1, _STEP_BYTES // row_bytes)):
                    source.seek(offset + first * row_bytes)
                    stream.write(source.read((last - first) * row_bytes))
        self.path.unlink()


class _Zarr:
    """A zarr array whose chunks are the chunks of the run."""

    def __init__(self, path: Path, chunk_rows: int) -> None:
        self.path, self._chunk_rows = path, chunk_rows

    def create(self, shape: tuple[int, int], dtype: np.dtype) -> None:
        if self.path.exists():
            found = self._open("r")
            _check_alike(self.path, (found.shape, found.dtype), (shape, dtype))
            return
        fresh = self.path.with_name(f"{self.path.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        self._new(fresh, shape, dtype)
        _rename(fresh, self.path)

    def write(self, first: int, rows: np.ndarray) -> None:
        try:
            self._open("r+")[first : first + len(rows)] = rows
        except OSError as error:
            raise unwritable(self.path, error) from error

    def move(self, target: Path, kept: np.ndarray | None) -> None:
        if not self.path.exists():
            return
        if kept is not None:
            found = self._open("r")
            fresh = self.path.with_name(f"{self.path.name}.kept")
            shutil.rmtree(fresh, ignore_errors=True)
            array = self._new(fresh, (len(kept), found.shape[1]), found.dtype)
            for start in range(0, len(kept), self._chunk_rows):
                rows = kept[start : start + self._chunk_rows]
                array[start : start + len(rows)] = found[int(rows[0]) : int(rows[-1]) + 1][rows - rows[0]]
            _rename(fresh, target)
            old = self.path.with_name(f"{self.path.name}.old")
            _rename(self.path, old)  # NOTE at once: a source that a kill left half removed must not be copied again
            shutil.rmtree(old)
            return
        _rename(self.path, target)

    def _new(self, path: Path, shape: tuple[int, int], dtype: np.dtype) -> Any:
        chunks = (min(self._chunk_rows, shape[0]), shape[1])
        return _zarr().open_array(str(path), mode="w", shape=shape, chunks=chunks, dtype=dtype, fill_value=0)

    def _open(self, mode: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _zarr().open_array(str(self.path), mode=mode)


def check_format(format: str) -> str:
    """The name of a storage format whose library is there."""
    if format not in FORMATS:
        raise DataError(f"format is {format!r}; allowed are {', '.join(FORMATS)}.")
    if format == "zarr":
        _zarr()
    return format


def _zarr() -> Any:
    return needed("zarr", "--format zarr")


def _header(stream: Any, shape: tuple[int, int], dtype: np.dtype) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)


def _check_alike(path: Path, found: tuple[Any, Any], wanted: tuple[Any, Any]) -> None:
    if (tuple(found[0]), np.dtype(found[1])) != (tuple(wanted[0]), np.dtype(wanted[1])):
        raise DataError(
            f"{path} holds {found[1]} of shape {found[0]}, and this run gives {wanted[1]} of shape {wanted[0]}. "
            "Use another --out."
        )


def _rename(source: Path, target: Path) -> None:
    try:
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(source, target)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise unwritable(target, error) from error


def _spans(kept: np.ndarray, longest: int) -> Iterable[tuple[int, int]]:
    """Cut increasing row numbers into runs [first, last) without gaps, none longer than `longest`."""
    starts = np.flatnonzero(np.diff(kept, prepend=kept[0] - 2) != 1)
    for start, stop in zip(starts, [*starts[1:], len(kept)], strict=True):
        first, last = int(kept[start]), int(kept[stop - 1]) + 1
        yield from ((at, min(at + longest, last)) for at in range(first, last, longest))
