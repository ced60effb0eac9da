"""``.npy`` and ``.npz`` files: never unpickled, and no larger in memory than their size on disk allows."""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from glocal.errors import FileError
from glocal.files import PathLike, atomic_write, reading

_INFLATED = 1 << 28  # bytes that a compressed file may hold however small it is; above, 100 times its size


def read_npy(path: PathLike, *, what: str) -> np.ndarray:
    """Open a ``.npy`` file as a read-only memory map.

    Raises
    ------
    FileError
        Missing, damaged, truncated, or pickled.
    """
    with reading(path, what, "Write it again with numpy.save(path, array).") as file:
        with file.open("rb") as stream:
            needed = _header_bytes(stream)
        if file.stat().st_size < needed:
            raise ValueError(f"its header promises {needed} bytes and it has {file.stat().st_size}")
        try:
            return _of_characters(np.load(file, mmap_mode="r", allow_pickle=False))
        except ValueError:  # empty and 0-d arrays cannot be mapped
            return _of_characters(np.load(file, allow_pickle=False))


def read_npz(
    path: PathLike, *, what: str, fix: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` archive by name; others are not inflated, and a missing `optional` one is left out.

    Raises
    ------
    FileError
        Missing, damaged, pickled, or without one of the `required` arrays.
    """
    with reading(path, what, fix) as file, zipfile.ZipFile(file) as archive:
        held = {name.removesuffix(".npy"): archive.getinfo(name).file_size for name in archive.namelist()}
        if missing := [name for name in required if name not in held]:
            raise FileError(f"{what} file {file} has no {' and '.join(missing)} (it has {', '.join(held)}). {fix}")
        wanted = [name for name in (*required, *optional) if name in held]
        if sum(held[name] for name in wanted) > max(_INFLATED, 100 * file.stat().st_size):
            raise ValueError("it holds more than 100 times its size")
        arrays = {}
        for name in wanted:
            with archive.open(f"{name}.npy") as stream:
                if _header_bytes(stream) != held[name]:
                    raise ValueError(f"{name} is truncated")
            with archive.open(f"{name}.npy") as stream:
                arrays[name] = _of_characters(npy_format.read_array(stream, allow_pickle=False))
                stream.read()  # to the end, where the checksum is compared
        return arrays


def write_npz(path: PathLike, arrays: dict[str, Any]) -> None:
    """Write the arrays that are not None to a compressed archive, whole or not at all."""
    with atomic_write(path) as stream:
        np.savez_compressed(stream, allow_pickle=False, **{k: v for k, v in arrays.items() if v is not None})


def write_npy(path: PathLike, array: np.ndarray) -> None:
    """Write an array, whole or not at all."""
    with atomic_write(path) as stream:
        np.save(stream, array, allow_pickle=False)


def _header_bytes(stream: Any) -> int:
    """The bytes that a whole ``.npy`` stream has by its header; a ValueError where there is no such array."""
    version = npy_format.read_magic(stream)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds pickled Python objects, which are never loaded; save a plain numeric array")
    if min(shape, default=0) < 0 or dtype.itemsize == 0:
        raise ValueError(f"no array has the shape {str(shape)[:80]} and type {dtype}")
    return stream.tell() + dtype.itemsize * math.prod(shape)


def _of_characters(array: np.ndarray) -> np.ndarray:
    """The array; a ValueError for text with numbers that are no characters, over which Python itself stumbles."""
    if array.dtype.kind == "U" and array.size:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise ValueError(f"its text holds the number {codes.max()}, which is no character")
    return array
