"""Feature files of every kind that peers write, as one (n, p) matrix in memory or on the disk."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data import store
from glocal.data.container import KEY, Held, choose, load_h5py, native, pickled, refuse_inflated, whole
from glocal.data.mat5 import check_number_types
from glocal.data.npz import member_header, member_names, read_member
from glocal.data.parquet import PARQUET, read_parquet, shards_of
from glocal.data.store import ZARR, RowStore, open_hdf5, open_zarr
from glocal.data.tensors import plain_array, read_tensors
from glocal.errors import FileError
from glocal.files import PathLike, one_line, read_lines, read_npy

NAMES_FILE = "file_names.txt"
_NUMBERS = "fiuV"  # V: bfloat16, for which numpy has no type
_MATLAB_NUMBERS = {"double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_matrix(path: PathLike) -> np.ndarray | RowStore:
    """Read a feature matrix by its extension.

    ``.npy`` is memory-mapped; ``.zarr``, and ``.h5`` above 256 MB, stay on the disk as a `RowStore`; the other kinds
    are read into memory. Of several arrays the one named ``features`` or else the only 2-d one of numbers is taken,
    and of several Parquet columns the one named ``features`` or ``embedding`` or else the only one of lists of numbers.

    Parameters
    ----------
    path : path
        ``.npy``, ``.npz``, ``.pt`` / ``.pth`` (a tensor or a dict of tensors; bfloat16 becomes float32),
        ``.h5`` / ``.hdf5``, ``.zarr`` (a folder), ``.parquet`` (or a folder of such shards), or ``.mat`` of any MATLAB
        version and of thingsvision.

    Returns
    -------
    (n, p) array or RowStore
        As stored: float16 stays float16. Its shape and dtype are judged by `Features`.

    Raises
    ------
    FileError
        Missing, damaged, pickled, of a kind that is not known, or without one matrix to choose.
    MissingDependencyError
        HDF5 without h5py, zarr without zarr, or Parquet without pyarrow.
    """
    path = Path(path)
    kind = path.suffix.lower()
    reader = READERS.get(kind) or (read_parquet if path.is_dir() and shards_of(path) else None)
    if reader is None:
        raise FileError(
            f"features file {path} has the extension {path.suffix or '(none)'!r}; "
            f"allowed are {', '.join(sorted(READERS))}. Save it with numpy.save."
        )
    matrix = reader(path)
    if matrix.dtype.kind == "V" and matrix.dtype.itemsize == 2 and matrix.dtype.fields is None:
        raise FileError(
            f"features file {path} holds 2-byte values without a type, as numpy saves bfloat16; allowed are float16, "
            "float32 and float64. Save it as float32: array.view(ml_dtypes.bfloat16).astype('float32')."
        )
    return matrix


def _read_npy(path: Path) -> np.ndarray:
    with whole(path, ".npy file", "numpy.save(path, features)"):
        return read_npy(path, what="features")


def _read_npz(path: Path) -> np.ndarray:
    with whole(path, ".npz archive", "numpy.savez(path, features=features)"), zipfile.ZipFile(path) as archive:
        headers = {name: member_header(archive, name) for name in member_names(archive)}
        if {"weights", "mean", "std"} <= headers.keys():
            raise FileError(
                f"features file {path} is a transform, not features. Name the file that it is to be applied to."
            )
        name = choose(path, {key: (header.shape, header.dtype.kind in _NUMBERS) for key, header in headers.items()})
        if headers[name].dtype.hasobject:
            raise FileError(pickled(path, "numpy.savez(path, features=numpy.asarray(values, dtype='float32'))"))
        return native(read_member(archive, name))


def _read_torch(path: Path) -> np.ndarray:
    import torch

    loaded = read_tensors(path, what="features", fix="Write it again with torch.save(torch.as_tensor(features), path).")
    if isinstance(loaded, dict):
        tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
        real = {key: (tuple(tensor.shape), not tensor.is_complex()) for key, tensor in tensors.items()}
        loaded = tensors.get(choose(path, real))
    if not isinstance(loaded, torch.Tensor):
        raise FileError(
            f"features file {path} holds a {type(loaded).__name__}; allowed are a tensor and a dict of tensors. "
            "Save the tensor: torch.save(features, path)."
        )
    try:
        return native(plain_array(loaded, path))
    except (TypeError, RuntimeError) as error:
        raise FileError(
            f"features file {path} holds a {loaded.dtype} tensor of layout {loaded.layout} on {loaded.device}, which "
            "is not a plain array. Save it dense and as float32: torch.save(features.to_dense().float(), path)."
        ) from error
    except ValueError as error:
        raise FileError(
            f"features file {path} is not a whole PyTorch file ({one_line(error)}). "
            "Write it again with torch.save(features.contiguous(), path)."
        ) from error


def _read_hdf5(path: Path) -> np.ndarray | RowStore:
    with open_hdf5(path) as file:
        dataset = _choose_dataset(path, file)
        _refuse_unstored(dataset)
        store.warn_unwritten(path, dataset)
        if dataset.size * dataset.dtype.itemsize > store.IN_MEMORY_BYTES:
            return RowStore.of(path, dataset.name, dataset)
        return native(dataset[()])


def _read_zarr(path: Path) -> RowStore:
    with open_zarr(path) as root:
        name, array = "", root
        if not hasattr(root, "shape"):
            arrays = dict(sorted(_zarr_arrays(root), key=lambda item: item[0]))
            held = {name: (tuple(array.shape), array.dtype.kind in _NUMBERS) for name, array in arrays.items()}
            name = choose(path, held)
            array = arrays[name]
        piece = math.prod(getattr(array, "shards", None) or array.chunks) * array.dtype.itemsize
        refuse_inflated(array.size * array.dtype.itemsize, _folder_bytes(path), piece=piece)
        store.warn_unwritten(path, array)
        return RowStore.of(path, name, array)


def _refuse_unstored(dataset: Any, *, at_once: bool = False) -> None:
    """Refuse an HDF5 dataset that declares far more than is allocated: the rest is read as zeros, without end."""
    stored = dataset.id.get_storage_size()
    if dataset.is_virtual:  # its values lie in other files
        folder = Path(dataset.file.filename).parent
        files = {folder / source.file_name for source in dataset.virtual_sources() if source.file_name != "."}
        stored = sum(file.stat().st_size for file in (*files, Path(dataset.file.filename)) if file.is_file())
    piece = None if at_once else math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    refuse_inflated(dataset.size * dataset.dtype.itemsize, stored, piece=piece)


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _zarr_arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():  # in any order
        yield prefix + name, array
    for name, inner in group.groups():
        yield from _zarr_arrays(inner, f"{prefix}{name}/")


def _read_mat(path: Path) -> np.ndarray:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    writer = "scipy.io.savemat(path, {'features': features})"
    with whole(path, "MATLAB file", writer, MatReadError):
        with path.open("rb") as stream:
            head = stream.read(512 + len(_HDF5_SIGNATURE))
        if _HDF5_SIGNATURE in (head[: len(_HDF5_SIGNATURE)], head[512:]):  # v7.3, which is HDF5 with the axes reversed
            with load_h5py(path).File(path, "r") as file:
                dataset = _choose_dataset(path, file)
                _refuse_unstored(dataset, at_once=True)
                store.warn_unwritten(path, dataset)
                return native(dataset[()].T)
        check_number_types(path)
        classes = {name: (tuple(shape), kind) for name, shape, kind in whosmat(path) if not name.startswith("__")}
        held = {name: (shape, kind in _MATLAB_NUMBERS) for name, (shape, kind) in classes.items()}
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


def _choose_dataset(path: Path, file: Any) -> Any:
    """Find the HDF5 dataset of the features; MATLAB's own groups (#refs#) and texts are passed over."""
    held = {}

    def note(name: str, item: Any) -> None:
        if hasattr(item, "dtype") and hasattr(item, "shape") and not name.startswith("#"):
            text = item.attrs.get("MATLAB_class") == b"char"
            held[name] = item.shape or (), item.dtype.kind in _NUMBERS and not text

    file.visititems(note)
    return file[choose(path, held)]


READERS: dict[str, Callable[[Path], np.ndarray | RowStore]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".mat": _read_mat,
    PARQUET: read_parquet,
    ZARR: _read_zarr,
}
