"""HDF5 files: the dataset of features in them, and whether what it declares is stored."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.container import NUMBERS, check_members, choose, grid, refuse_inflated, warn_unwritten, whole
from glocal.extras import needed

_FIX = "Write it again with h5py: file.create_dataset('features', data=features)."


@contextlib.contextmanager
def open_hdf5(path: Path, *, what: str = "features", fix: str = _FIX) -> Iterator[Any]:
    """Open an HDF5 file for reading; what goes wrong inside becomes one sentence."""
    h5py = needed("h5py", f"{what} file {path}")
    with whole(path, "HDF5 file", fix, what=what), h5py.File(path, "r") as file:
        yield file


def read_datasets(
    path: Path, *, what: str, fix: str, required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read datasets of an HDF5 file by their names, as `read_npz` does arrays of an archive."""
    with open_hdf5(path, what=what, fix=fix) as file:
        held = [name for name, item in file.items() if hasattr(item, "dtype") and hasattr(item, "shape")]
        check_members(path, what, required, held, fix)
        wanted = [name for name in (*required, *optional) if name in held]
        for name in wanted:
            _refuse_unstored(file[name], at_once=True)
        return {name: np.asarray(file[name][()]) for name in wanted}


@contextlib.contextmanager
def features_in_hdf5(path: Path, *, at_once: bool = False) -> Iterator[Any]:
    """Open the dataset of features, once it is known to be stored; `at_once` says that all of it will be read.

    Parts that are not there, and are read as the fill value, are warned of.
    """
    with open_hdf5(path) as file:
        dataset = _choose_dataset(path, file)
        _refuse_unstored(dataset, at_once=at_once)
        lost, of, pieces = _unwritten(dataset)
        # NOTE the HDF5 library crashes over the fill value of some damaged files: it is asked for only where it is read
        warn_unwritten(path, lost, of, pieces, dataset.fillvalue if lost else None)
        yield dataset


def _choose_dataset(path: Path, file: Any) -> Any:
    """Find the HDF5 dataset of the features; MATLAB's own groups (#refs#) and texts are passed over."""
    held = {}

    def note(name: str, item: Any) -> None:
        if hasattr(item, "dtype") and hasattr(item, "shape") and not name.startswith("#"):
            text = item.attrs.get("MATLAB_class") == b"char"
            held[name] = item.shape or (), item.dtype.kind in NUMBERS and not text

    file.visititems(note)
    return file[choose(path, held)]


def _refuse_unstored(dataset: Any, *, at_once: bool) -> None:
    """Refuse an HDF5 dataset that declares far more than is allocated: the rest is read as zeros, without end."""
    stored = dataset.id.get_storage_size()
    if dataset.is_virtual:  # its values lie in other files
        folder = Path(dataset.file.filename).parent
        files = {folder / source.file_name for source in dataset.virtual_sources() if source.file_name != "."}
        stored = sum(file.stat().st_size for file in (*files, Path(dataset.file.filename)) if file.is_file())
    piece = None if at_once else math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    refuse_inflated(dataset.size * dataset.dtype.itemsize, stored, piece=piece)


def _unwritten(dataset: Any) -> tuple[int, int, str]:
    if dataset.is_virtual:  # a source that is not there is read as the fill value too
        folder = Path(dataset.file.filename).parent
        sources = {source.file_name for source in dataset.virtual_sources()} - {"."}
        return sum(not (folder / source).exists() for source in sources), len(sources), "source files"
    if dataset.chunks:
        of = math.prod(grid(dataset.shape, dataset.chunks))
        return of - dataset.id.get_num_chunks(), of, "chunks"
    inside = dataset.external is None and dataset.size > 0
    return int(inside and dataset.id.get_storage_size() == 0), 1, "pieces"
