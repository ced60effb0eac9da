"""Feature files that peers write, as one (n, p) matrix: ``.npy`` mapped, the other kinds read into memory."""

from __future__ import annotations

import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glocal.errors import DataError, FileError, needed
from glocal.files import PathLike, read_npy, read_npz, reading

_COMPRESSED, _NUMBERS, _FULL, _COMPLEX = 15, {*range(1, 8), 9, 12, 13}, range(6, 16), 0x800  # of MATLAB's elements
PARQUET = ".parquet"
_PREFERRED = ("features", "embedding", "embeddings")  # columns of vectors in Parquet
_BYTES = 1 << 24  # of vectors read at once
_FIX = "Save the (n, p) matrix with numpy.save."
_INFLATED = 1 << 28  # bytes that a compressed file may hold however small it is; above, 100 times its size


def read_matrix(path: PathLike) -> np.ndarray:
    """Read a feature matrix by its extension.

    Of several arrays the one named ``features`` or else the only 2-d one is taken, and of several Parquet columns the
    one named ``features`` or ``embedding`` or else the only one of lists of numbers. Files larger than memory belong in
    ``.npy``, which is mapped.

    Parameters
    ----------
    path : path
        ``.npy``, ``.npz``, ``.pt`` (a tensor or a dict of tensors; bfloat16 becomes float32), ``.safetensors``,
        ``.h5``, ``.mat`` (before version 7.3) or ``.parquet``, or a folder of the Parquet shards of one table.

    Returns
    -------
    (n, p) array
        As stored: float16 stays float16. Its shape and dtype are judged by `Features`.

    Raises
    ------
    FileError
        Missing, damaged, pickled, of another kind, or without one matrix to choose.
    MissingDependencyError
        The library that reads this kind is not installed.
    """
    kind = Path(path).suffix.lower()
    if not Path(path).exists():
        raise FileError(f"features {path} does not exist: there is no file or folder of that name. Check the path.")
    if kind not in READERS and not (Path(path).is_dir() and shards_of(path)):
        raise FileError(f"features file {path} ends in {kind or 'nothing'}; allowed are {', '.join(READERS)}. {_FIX}")
    return READERS.get(kind, read_parquet)(path)


def _chosen(path: PathLike, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Name the features: `features`, or else the only matrix of more than one number."""
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and prod(shape) > 1]
    if "features" in shapes or len(matrices) == 1:
        return "features" if "features" in shapes else matrices[0]
    raise FileError(
        f"features file {path} holds {len(matrices)} matrices and none named 'features' "
        f"(it has {', '.join(map(str, shapes))[:160] or 'nothing'}). Save one (n, p) matrix in it under that name."
    )


def _check_size(path: Path, declared: int) -> None:
    """Refuse a file that declares far more bytes of values than it can hold, before they cost memory."""
    if declared > max(_INFLATED, 100 * path.stat().st_size):
        raise ValueError(f"it declares {declared} bytes of values, more than 100 times its size")


def _npz(path: PathLike) -> np.ndarray:
    with reading(path, "features", _FIX) as file, zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if {"weights", "mean", "std"} <= {*names}:
        raise FileError(f"features file {path} is a transform. Name the file that it is to be applied to.")
    arrays = read_npz(path, what="features", fix=_FIX, required=["features"] if "features" in names else names)
    return arrays[_chosen(path, {name: array.shape for name, array in arrays.items()})]


def _torch(path: PathLike) -> np.ndarray:
    torch = needed("torch", f"features file {path}")
    with reading(path, "features", _FIX) as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of foreign pickles before it refuses them
                loaded = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # NOTE its message advises to load the file unsafely
            reason = "it holds something other than tensors and plain values, which is never loaded"
            raise ValueError(reason) from error
        if isinstance(loaded, dict):
            tensors = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
            loaded = tensors[_chosen(file, {key: tuple(value.shape) for key, value in tensors.items()})]
        _check_size(file, loaded.numel() * loaded.element_size())
        return np.asarray((loaded.float() if loaded.dtype == torch.bfloat16 else loaded).detach())


def _safetensors(path: PathLike) -> np.ndarray:
    with reading(path, "features", _FIX) as file:
        arrays: dict[str, np.ndarray] = needed("safetensors.numpy", f"features file {path}").load_file(file)
        return arrays[_chosen(file, {name: array.shape for name, array in arrays.items()})]


def _hdf5(path: PathLike) -> np.ndarray:
    with reading(path, "features", _FIX) as file, needed("h5py", f"features file {path}").File(file) as opened:
        shapes: dict[str, tuple[int, ...]] = {}
        opened.visititems(lambda name, item: shapes.update({name: item.shape} if hasattr(item, "shape") else {}))
        dataset = opened[_chosen(file, shapes)]
        _check_size(file, dataset.nbytes)
        return np.asarray(dataset)


def _mat(path: PathLike) -> np.ndarray:
    from scipy.io import loadmat

    with reading(path, "features", _FIX) as file:
        known = _numbers_in(file.read_bytes())
        found = loadmat(file, variable_names=known)
        arrays = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
        return arrays[_chosen(file, {name: array.shape for name, array in arrays.items()})]


def _numbers_in(content: bytes) -> list[str] | None:
    """The variables of a MATLAB 5 file that hold real numbers; None for other files, and for compressed variables.

    scipy looks up the types of elements unchecked, and would crash on those that do not exist; what is compressed has a
    checksum, which it compares.
    """
    order, at, names = {b"IM": "<", b"MI": ">"}.get(content[126:128]), 128, []
    while order and at < len(content):
        kind, variable, at = _element(content, at, order)
        if kind == _COMPRESSED:
            return None
        flags = struct.unpack_from(f"{order}I", variable, 8)[0]
        _, _, place = _element(variable, 16, order)  # dimensions
        _, name, place = _element(variable, place, order)
        if flags & 0xFF in _FULL and not flags & _COMPLEX and _element(variable, place, order)[0] in _NUMBERS:
            names.append(name.decode("latin-1"))
    return names if order else None


def _element(content: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Type and content of an element of a MATLAB file, and where the next begins; four bytes stand beside the type."""
    kind, size = struct.unpack_from(f"{order}2I", content, at)
    if kind >> 16:
        return kind & 0xFFFF, content[at + 4 : at + 4 + (kind >> 16)], at + 8
    return kind, content[at + 8 : at + 8 + size], at + 8 + size + -size % 8


def shards_of(path: PathLike) -> list[Path]:
    """The Parquet files under a folder in order of their names, or the one file that `path` is.

    Files and folders whose name begins with ``.`` or ``_`` are passed over: by convention they are not data.
    """
    path = Path(path)
    found = sorted(path.rglob(f"*{PARQUET}")) if path.is_dir() else [path]
    return [file for file in found if all(part[0] not in "._" for part in file.parts[len(path.parts) :])]


def vector_column(path: PathLike, column: str | None = None) -> str:
    """Name the column of vectors: `column`; else features or embedding(s); else the only one of lists of numbers.

    Raises
    ------
    FileError
        No such column of lists of numbers, or several to choose from; or the file is missing or damaged.
    """
    types = needed("pyarrow.types", "Parquet")
    with reading(path, "features", _FIX) as file:
        schema = needed("pyarrow.parquet", "Parquet").read_schema(file)
    of_lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    lists = {field.name: field.type.value_type for field in schema if any(kind(field.type) for kind in of_lists)}
    numbers = [name for name, value in lists.items() if types.is_floating(value)]
    if column is not None or not numbers:  # beside floats, lists of integers may be tokens
        numbers += [name for name, value in lists.items() if types.is_integer(value)]
    chosen = [name for name in ((column,) if column else _PREFERRED) if name in numbers][:1] or numbers
    if len(chosen) != 1 or (column is not None and column not in numbers):
        raise FileError(
            f"Parquet file {path} has {len(numbers)} columns of lists of floats ({', '.join(numbers) or 'none'}). "
            f"Name the one that holds the vectors: column={numbers[0] if numbers else 'NAME'!r}."
        )
    if schema.names.count(chosen[0]) > 1:
        raise FileError(f"Parquet file {path} has several columns called {chosen[0]}. Rename all but one.")
    return chosen[0]


def batches(path: PathLike, column: str) -> Iterator[tuple[int, Any, Shaped[np.ndarray, "n p"]]]:
    """Yield (first row, record batch, its vectors) of a file in order, about 16 MB of vectors at a time.

    Raises
    ------
    DataError
        A missing value, or vectors of different lengths.
    FileError
        The file is missing or damaged, or has no such column.
    """
    parquet, start, width = needed("pyarrow.parquet", "Parquet"), 0, None
    # NOTE: without a buffer, or with pre_buffer, a column's whole row group is held while it is read in pieces
    with (
        reading(path, "features", _FIX) as file,
        parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as held,
    ):
        first = next(held.iter_batches(batch_size=1, columns=[column]), None)
        rows = 1 if first is None else max(1, _BYTES // max(1, 4 * len(first.column(0).flatten())))
        for batch in held.iter_batches(batch_size=rows):
            lists = batch.column(column)
            lengths = np.diff(lists.offsets) if hasattr(lists, "offsets") else np.full(len(lists), lists.type.list_size)
            width, values = int(lengths[0]) if width is None and len(lengths) else width, lists.flatten()
            wrong = np.flatnonzero((lengths != width) | lists.is_null().to_numpy(zero_copy_only=False))
            if len(wrong) or values.null_count:
                row = int(wrong[0]) if len(wrong) else int(np.flatnonzero(values.is_null())[0]) // (width or 1)
                raise DataError(
                    f"{path} has a missing value, or a vector of another length than {width}, in {column} at row "
                    f"{start + row}. Remove or recompute that row."
                )
            yield start, batch, np.asarray(values).reshape(len(batch), -1)
            start += len(batch)


def read_parquet(path: PathLike, column: str | None = None) -> Shaped[np.ndarray, "n p"]:
    """The vectors of a file, or of a folder of shards in order of their names, as one (n, p) array.

    All files are read by the column that is chosen for the first.
    """
    shards = shards_of(path)
    if not shards:
        return np.empty((0, 0), dtype=np.float32)
    column = vector_column(shards[0], column)
    found = [vectors for shard in shards for _, _, vectors in batches(shard, column)]
    if len({vectors.shape[1] for vectors in found}) > 1:
        raise DataError(f"the files of {path} have vectors of different lengths in {column}.")
    return np.concatenate(found) if found else np.empty((0, 0), dtype=np.float32)


READERS: dict[str, Callable[[PathLike], np.ndarray]] = {
    ".npy": lambda path: read_npy(path, what="features"), ".npz": _npz, ".pt": _torch, ".pth": _torch,
    ".safetensors": _safetensors, ".h5": _hdf5, ".hdf5": _hdf5, ".mat": _mat, PARQUET: read_parquet,
}  # fmt: skip
