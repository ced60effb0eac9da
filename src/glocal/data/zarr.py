"""zarr folders: the array of features in them, and whether what it declares is stored."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import NUMBERS, choose, grid, refuse_inflated, warn_unwritten, whole
from glocal.extras import needed

ZARR = ".zarr"


@contextlib.contextmanager
def open_zarr(path: Path) -> Iterator[Any]:
    """Open a zarr array or group for reading; what goes wrong inside becomes one sentence."""
    with whole(path, "zarr folder", "Write it again with zarr: zarr.save(path, features).", folder=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other arrays in the group, whose types have no stable specification
            root = needed("zarr", f"features file {path}").open(str(path), mode="r")
        yield root


@contextlib.contextmanager
def features_in_zarr(path: Path) -> Iterator[tuple[str, Any]]:
    """Open the array of features, once it is known to be stored, with its name; empty where the folder is the array.

    Parts that are not there, and are read as the fill value, are warned of.
    """
    with open_zarr(path) as root:
        name, array = "", root
        if not hasattr(root, "shape"):
            arrays = dict(sorted(_arrays(root), key=lambda item: item[0]))
            held = {name: (tuple(array.shape), array.dtype.kind in NUMBERS) for name, array in arrays.items()}
            name = choose(path, held)
            array = arrays[name]
        piece = math.prod(getattr(array, "shards", None) or array.chunks) * array.dtype.itemsize
        stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        refuse_inflated(array.size * array.dtype.itemsize, stored, piece=piece)
        warn_unwritten(path, *_unwritten(path, array), array.fill_value)
        yield name, array


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():  # in any order
        yield prefix + name, array
    for name, inner in group.groups():
        yield from _arrays(inner, f"{prefix}{name}/")


def _unwritten(path: Path, array: Any) -> tuple[int, int, str]:
    shards = getattr(array, "shards", None)
    if shards is None:
        return array.nchunks - array.nchunks_initialized, array.nchunks, "chunks"
    place = path / array.path
    keys = [array.metadata.encode_chunk_key(at) for at in np.ndindex(*grid(array.shape, shards))]
    return sum(not (place / key).exists() for key in keys), len(keys), "shards"
