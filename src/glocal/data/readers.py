"""Feature files of every kind that peers write, as one (n, p) matrix in memory or on the disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from glocal.arrays import read_npy
from glocal.data.container import whole
from glocal.data.matlab import read_mat
from glocal.data.npz import read_npz_features
from glocal.data.parquet import PARQUET, read_parquet, shards_of
from glocal.data.stored import RowStore, read_hdf5, read_zarr
from glocal.data.tensors import read_torch_features
from glocal.data.zarr import ZARR
from glocal.errors import FileError
from glocal.files import PathLike


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
    with whole(path, ".npy file", "Write it again with numpy.save(path, features)."):
        return read_npy(path, what="features")


READERS: dict[str, Callable[[Path], np.ndarray | RowStore]] = {
    ".npy": _read_npy,
    ".npz": read_npz_features,
    ".pt": read_torch_features,
    ".pth": read_torch_features,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".mat": read_mat,
    PARQUET: read_parquet,
    ZARR: read_zarr,
}
