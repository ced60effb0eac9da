"""The ``.npy`` file: its header believed no further than an array can be, its values mapped."""

from __future__ import annotations

import io
import math
import sys
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from glocal.errors import FileError
from glocal.files.paths import PathLike, existing_file, one_line, unreadable

_HEADER_BYTES = 1 << 14  # numpy refuses a header above 10,000 bytes
_MOST_AXES = 32


class NpyHeader(NamedTuple):
    """What a ``.npy`` file says of itself; the values begin at byte `offset`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """The bytes that the whole file must have."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


def read_npy(path: PathLike, *, what: str) -> np.ndarray:
    """Open a ``.npy`` file, saved without pickling, as a read-only memory map, or say in one sentence why not.

    `what` is the role of the file in that sentence, e.g. ``"features"``.
    """
    path = existing_file(path, what=what)
    try:
        with path.open("rb") as stream:
            header = read_npy_header(stream)
    except OSError as error:
        raise unreadable(path, what, error) from error
    except ValueError as error:
        raise FileError(
            f"{what} file {path} is not a whole .npy file ({one_line(error)}). Write it again with numpy.save."
        ) from error
    if header.dtype.hasobject:
        raise FileError(
            f"{what} file {path} holds pickled Python objects, which are never loaded. "
            "Save a plain numeric array: numpy.save(path, numpy.asarray(values, dtype='float32'))."
        )
    found = path.stat().st_size
    if found < header.nbytes:
        raise FileError(
            f"{what} file {path} is truncated: its header promises {header.nbytes} bytes and it has {found}. "
            "Copy or write it again."
        )
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # zero-sized arrays and 0-d arrays cannot be mapped
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise unreadable(path, what, error) from error
    try:
        check_text(array)
    except ValueError as error:
        raise FileError(f"{what} file {path} is damaged: {error}. Write it again with numpy.save.") from error
    return array


def check_text(array: np.ndarray) -> None:
    """A ValueError where an array of text holds numbers that are no characters: Python fails over such a string."""
    if array.dtype.kind == "U" and array.size:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise ValueError(f"its text holds the number {codes.max()}, which is no character")


def read_npy_header(stream: IO[bytes] | io.BufferedIOBase) -> NpyHeader:
    """Read what a ``.npy`` stream says of itself; a ValueError where numpy could not make an array of that.

    At most 16 kB are read, so that nothing is spent on a header that lies about its own length.
    """
    start = io.BytesIO(stream.read(_HEADER_BYTES))
    try:
        version = npy_format.read_magic(start)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(start)
    except Exception as error:  # numpy raises whatever a damaged header leads its parser to
        raise ValueError(one_line(error)) from error
    if dtype.itemsize == 0:
        raise ValueError(f"its values are {dtype}, of no size")
    values = math.prod(max(n, 1) for n in shape)  # numpy counts an axis of length 0 as 1 too
    if min(shape, default=0) < 0 or len(shape) > _MOST_AXES or values > sys.maxsize // dtype.itemsize:
        raise ValueError(f"no array has the shape {str(shape)[:80]}")
    return NpyHeader(shape, dtype, start.tell())


def write_npy_header(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write what precedes the values of a ``.npy`` file, row after row."""
    described = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(stream, described)
