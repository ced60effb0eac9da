"""Features in MATLAB files: of version 5, of 7.3, which is HDF5, and a variable for each image, of thingsvision."""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import KEY, NAMES_FILE, Held, choose, inflated_at_most, native, refuse_inflated, whole
from glocal.data.hdf5 import features_in_hdf5
from glocal.errors import FileError
from glocal.files import read_lines

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_FULL = range(6, 16)  # classes of full arrays of numbers
_COMPLEX = 0x800
_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NUMBER_CLASSES = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}


def read_mat(path: Path) -> np.ndarray:
    """Read the features of a ``.mat`` file of any version, or the rows that thingsvision saves one by one."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    writer = "scipy.io.savemat(path, {'features': features})"
    with whole(path, "MATLAB file", f"Write it again with {writer}.", MatReadError):
        with path.open("rb") as stream:
            head = stream.read(512 + len(_HDF5_SIGNATURE))
        if _HDF5_SIGNATURE in (head[: len(_HDF5_SIGNATURE)], head[512:]):  # v7.3, which is HDF5 with the axes reversed
            with features_in_hdf5(path, at_once=True) as dataset:
                return native(dataset[()].T)
        _check_number_types(path)
        classes = {name: (tuple(shape), kind) for name, shape, kind in whosmat(path) if not name.startswith("__")}
        held = {name: (shape, kind in _NUMBER_CLASSES) for name, (shape, kind) in classes.items()}
        for shape, _ in held.values():
            refuse_inflated(8 * math.prod(shape), path.stat().st_size)
        rows = [] if KEY in held else _rows_of_thingsvision(path, held)
        if rows:
            variables = loadmat(path, variable_names=rows)
            return native(np.concatenate([variables[row] for row in rows]))
        name = choose(path, held)
        if not held[name][1]:
            raise FileError(
                f"features file {path} holds {name} as {classes[name][1]}; save a full numeric matrix: {writer}."
            )
        return native(loadmat(path, variable_names=[name])[name])


def _rows_of_thingsvision(path: Path, held: Held) -> list[str]:
    """Order the variables by file_names.txt beside the file: thingsvision saves a (1, p) variable for each image."""
    if not (path.parent / NAMES_FILE).is_file():
        return []
    names = read_lines(path.parent / NAMES_FILE, what="names")
    rows = [name if name in held else os.path.splitext(name)[0] for name in names]
    missing = [row for row in rows if row not in held]
    if len(missing) == len(rows):
        return []
    repeated = len(rows) - len(set(rows))
    if missing or repeated or {held[row] for row in rows} != {((1, held[rows[0]][0][-1]), True)}:
        raise FileError(
            f"features file {path} must hold one (1, p) row of numbers, p alike, for each of the {len(rows)} lines of "
            f"{NAMES_FILE}; {len(missing)} lines have none and {repeated} share one. Save the features as .npy instead."
        )
    return rows


def _check_number_types(path: Path) -> None:
    """Refuse a file in which the numbers of an array are of a type that MATLAB does not have.

    scipy looks up a pointer by that type without checking it, and would crash.
    """
    with path.open("rb") as stream:
        order = {b"IM": "<", b"MI": ">"}.get(stream.read(_HEADER)[-2:])
        while order and len(tag := stream.read(8)) == 8:
            kind, size = struct.unpack(f"{order}2I", tag)
            end = stream.tell() + size
            variable: Any = stream
            if kind == _COMPRESSED:
                variable = io.BytesIO(zlib.decompressobj().decompress(stream.read(size), inflated_at_most(size)))
                kind, _ = struct.unpack(f"{order}2I", variable.read(8))
            if kind == _MATRIX:
                _check_variable(variable, order)
            stream.seek(end)


def _check_variable(stream: Any, order: str) -> None:
    flags = struct.unpack(f"{order}I", stream.read(16)[8:12])[0]
    _skip(stream, order)  # dimensions
    _skip(stream, order)  # name
    if flags & 0xFF in _FULL:
        for _ in range(2 if flags & _COMPLEX else 1):
            kind = _skip(stream, order)
            if kind not in _NUMBERS:
                raise ValueError(f"its numbers are of the unknown type {kind}")


def _skip(stream: Any, order: str) -> int:
    """Pass over one element; its type. An element of at most four bytes has its size beside the type."""
    kind, size = struct.unpack(f"{order}2I", stream.read(8))
    if kind >> 16:
        return int(kind & 0xFFFF)
    stream.seek(size + -size % 8, io.SEEK_CUR)
    return int(kind)
