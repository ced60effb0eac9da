"""Members of ``.npz`` archives: their sizes are checked against the file before anything is read into memory."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from glocal.data.container import NUMBERS, check_members, choose, native, pickled, refuse_inflated, whole
from glocal.errors import FileError
from glocal.files import PathLike
from glocal.jobs.leaving import NpyHeader, read_npy_header

_NPY_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"


def read_npz(
    path: PathLike, *, what: str, fix: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read arrays of an ``.npz`` archive by their names; other members are neither read nor inflated.

    `what` and `fix` are for the sentence of an error; an `optional` array that is not there is left out.
    """
    path = Path(path)
    with whole(path, ".npz archive", fix, what=what), path.open("rb") as stream:
        if stream.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
            raise FileError(f"{what} file {path} is a plain array, not an .npz of {', '.join(required)}. {fix}")
        with zipfile.ZipFile(stream) as archive:
            held = member_names(archive)
            check_members(path, what, required, held, fix)
            return {name: read_member(archive, name) for name in (*required, *optional) if name in held}


def read_npz_features(path: Path) -> np.ndarray:
    """Read the features among the arrays of an ``.npz`` archive."""
    writer = "numpy.savez(path, features=numpy.asarray(values, dtype='float32'))"
    fix = f"Write it again with {writer}."
    with whole(path, ".npz archive", fix), zipfile.ZipFile(path) as archive:
        headers = {name: member_header(archive, name) for name in member_names(archive)}
        if {"weights", "mean", "std"} <= headers.keys():
            raise FileError(
                f"features file {path} is a transform, not features. Name the file that it is to be applied to."
            )
        name = choose(path, {key: (header.shape, header.dtype.kind in NUMBERS) for key, header in headers.items()})
        if headers[name].dtype.hasobject:
            raise pickled(path, f"Save plain numbers: {writer}.")
        return native(read_member(archive, name))


def member_names(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays in an archive."""
    return [name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX)]


def member_header(archive: zipfile.ZipFile, name: str) -> NpyHeader:
    """What an array of an archive says of itself; a ValueError or zipfile's own error where it is damaged."""
    with archive.open(name + _SUFFIX) as stream:
        return read_npy_header(stream)


def read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read one array of an archive, once its declared sizes agree with each other and with the size of the file."""
    header = member_header(archive, name)
    if header.dtype.hasobject:
        raise ValueError(f"{name} holds pickled Python objects, which are never loaded")
    promised, inflated = header.nbytes, archive.getinfo(name + _SUFFIX).file_size
    if promised != inflated:
        raise ValueError(f"{name} promises {promised} bytes and has {inflated}")
    refuse_inflated(inflated, _size(archive.fp))
    with archive.open(name + _SUFFIX) as stream:
        array: np.ndarray = npy_format.read_array(stream, allow_pickle=False)
        if stream.read(1):  # to the end, where the checksum is compared
            raise ValueError(f"{name} is longer than it says")
    return array


def _size(stream: Any) -> int:
    return os.fstat(stream.fileno()).st_size
