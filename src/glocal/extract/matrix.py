"""The matrix of one layer while it grows: a ``.npy`` file of its final size, filled in any order, by any process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from glocal.arrays import read_npy
from glocal.errors import DataError
from glocal.files import atomic_write
from glocal.jobs.leaving import read_npy_header, unwritable, write_npy_header


def create_matrix(path: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Make the matrix, or check that the one that is there has this shape and type; call under a lock.

    Rows that are not there yet are holes of the file.
    """
    if path.exists():
        found = read_npy(path, what="unfinished features")
        if (found.shape, found.dtype) != (shape, dtype):
            raise DataError(
                f"{path} holds {found.dtype} of shape {found.shape}, and this run gives {dtype} of shape {shape}. "
                "Use another --out."
            )
        return
    with atomic_write(path) as stream:
        write_npy_header(stream, shape, dtype)
        stream.truncate(stream.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)


def write_rows(path: Path, first: int, rows: np.ndarray) -> None:
    """Put rows at their place and on the disk.

    NOTE They are written, not mapped: a full disk would kill a process that fills a hole through a mapping.
    """
    data = np.ascontiguousarray(rows)
    try:
        with path.open("r+b") as stream:
            stream.seek(read_npy_header(stream).offset + first * data.strides[0])
            stream.write(data.data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def move_matrix(path: Path, target: Path, kept: np.ndarray | None, *, piece_bytes: int = 1 << 24) -> None:
    """Give the matrix its final name; doing it once more after a kill is harmless.

    With `kept`, only these rows are copied, at most `piece_bytes` at a time.
    """
    if not path.exists():
        return
    if kept is None:
        try:
            os.replace(path, target)
        except OSError as error:
            raise unwritable(target, error) from error
        return
    matrix = read_npy(path, what="unfinished features")
    step = max(1, piece_bytes // (matrix.shape[1] * matrix.itemsize))
    with atomic_write(target) as stream:
        write_npy_header(stream, (len(kept), matrix.shape[1]), matrix.dtype)
        for start in range(0, len(kept), step):
            stream.write(matrix[kept[start : start + step]].data)
    path.unlink()
