"""Read feature files as one (n, p) matrix: ``.npy`` memory-mapped, other kinds into memory.

Tables, ``.csv`` and ``.parquet``, may hold the names of the rows too.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from glocal.data.tables import NAME_TITLES, TABLES, NamedRows, counts_rows, read_named_rows
from glocal.errors import DataError, FileError, import_optional
from glocal.files import PathLike, check_inflated, ending, read_npy, read_npz, reading

PARQUET = ".parquet"
_PREFERRED = ("features", "embedding", "embeddings")  # names of the Parquet column of vectors
_BATCH_ROWS = 2048  # rows of a Parquet file that are read at once
_HIDDEN = re.compile(r".*/[._]")  # a path with a file or folder whose name begins with . or _
_FIX = "Save the (n, p) matrix with numpy.save."


def read_features(path: PathLike) -> NamedRows:
    """Read a feature matrix by its extension, and the names of its rows if a table holds them.

    If a file holds several arrays, the one named ``features`` is read, or else the only 2-d one.
    `read_parquet` says which columns of a Parquet file are read. Save matrices larger than memory
    as ``.npy``, which is memory-mapped.

    Parameters
    ----------
    path : path
        ``.npy``, ``.npz``, ``.pt`` (a tensor or a dict of tensors; bfloat16 becomes float32),
        ``.safetensors``, ``.h5``, ``.csv`` (see `read_named_rows`) or ``.parquet``, or a folder of
        the Parquet shards of one table.

    Returns
    -------
    (n, p) array, and tuple of n str or None
        The matrix in its stored dtype: float16 stays float16. `Features` checks shape and dtype.

    Raises
    ------
    FileError
        If the file is missing, damaged, pickled or of another kind, or if it is not clear which of
        its matrices to read.
    MissingDependencyError
        If the library that reads this kind is not installed.
    """
    kind = ending(path)
    if not os.path.exists(path):  # unlike Path.exists, this is false for a name that is too long
        raise FileError(
            f"features {path} does not exist: there is no file or folder of that name. Check the "
            "path."
        )
    if kind not in FEATURE_ENDINGS and not (Path(path).is_dir() and shards_of(path)):
        raise FileError(
            f"features file {path} ends in {kind or 'nothing'}; it must end in "
            f"{' or '.join(FEATURE_ENDINGS)}. {_FIX}"
        )
    if kind in _READERS:
        with reading(path, "features", _FIX) as file:
            return NamedRows(_READERS[kind](file), None)
    return read_named_rows(path) if kind in TABLES else read_parquet(path)


def _choose(path: PathLike, arrays: Mapping[str, Any]) -> Any:
    """Choose the array named `features`, or else the only matrix with more than one number."""
    if "features" in arrays:
        return arrays["features"]
    matrices = [array for array in arrays.values() if array.ndim == 2 and prod(array.shape) > 1]
    if len(matrices) == 1:
        return matrices[0]
    raise FileError(
        f"features file {path} holds {len(matrices)} matrices and none named 'features' (it has "
        f"{', '.join(arrays)[:160] or 'nothing'}). Save one (n, p) matrix in it under that name."
    )


def _npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if {"weights", "answers"} & {*names} and "features" not in names:
        raise FileError(f"features file {path} is a transform, or holds answers. Name another.")
    arrays = read_npz(
        path, what="features", fix=_FIX, required=["features"] if "features" in names else names
    )
    return _choose(path, arrays)


def _torch(path: Path) -> np.ndarray:
    torch = import_optional("torch", f"features file {path}")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns before it refuses a pickle
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # NOTE the message of torch advises loading the file unsafely
        reason = "it holds objects other than tensors and plain values, which are never loaded"
        raise ValueError(reason) from error
    if isinstance(loaded, dict):
        tensors = {str(key): value for key, value in loaded.items() if hasattr(value, "ndim")}
        loaded = _choose(path, tensors)
    check_inflated(path, loaded.numel() * loaded.element_size())
    return np.asarray((loaded.float() if loaded.dtype == torch.bfloat16 else loaded).detach())


def _safetensors(path: Path) -> np.ndarray:
    load_file = import_optional("safetensors.numpy", f"features file {path}").load_file
    return _choose(path, load_file(path))


def _hdf5(path: Path) -> np.ndarray:
    h5py = import_optional("h5py", f"features file {path}")
    with h5py.File(path) as opened:
        items: dict[str, Any] = {}
        opened.visititems(items.__setitem__)
        datasets = {name: item for name, item in items.items() if hasattr(item, "shape")}
        dataset = _choose(path, datasets)
        check_inflated(path, dataset.nbytes)
        return np.asarray(dataset)


def shards_of(path: PathLike) -> list[Path]:
    """The Parquet files under a folder in the order of their names, or `path` if it is a file.

    Files and folders whose name begins with ``.`` or ``_`` are skipped, because by convention they
    are not data.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = sorted(path.rglob(f"*{PARQUET}"))
    return [file for file in files if not _HIDDEN.match(f"/{file.relative_to(path).as_posix()}")]


def vector_column(path: PathLike, column: str | None = None) -> str:
    """Return the name of the column of vectors.

    It is `column` if that is given, else features, embedding or embeddings, else the only column
    that holds lists of numbers.

    Raises
    ------
    FileError
        If there is no such column of lists of numbers, or several to choose from, or if the file is
        missing or damaged.
    """
    lists = _lists(parquet_schema(path))
    numbers = _columns(lists, "floating")
    if column is not None or not numbers:  # besides lists of floats, integers may be tokens
        numbers += _columns(lists, "integer")
    preferred = _PREFERRED if column is None else (column,)
    candidates = [name for name in preferred if name in numbers][:1]
    if column is None:
        candidates = candidates or numbers
    if len(candidates) != 1:
        fix = "Write the vectors as one column of lists."
        if numbers:
            fix = f"Name the one that holds the vectors: `column={numbers[0]!r}`."
        raise FileError(
            f"Parquet file {path} has {len(numbers)} columns of lists of floats "
            f"({', '.join(numbers) or 'none'}). {fix}"
        )
    return candidates[0]


def parquet_schema(path: PathLike) -> Any:
    """The titles and types of the columns of a Parquet file."""
    with reading(path, "features", _FIX) as file:
        return import_optional("pyarrow.parquet", "Parquet").read_schema(file)


def _lists(schema: Any) -> list[Any]:
    """The fields that hold lists, with the type of the values of these."""
    return [
        field.with_type(field.type.value_type)
        for field in schema
        if hasattr(field.type, "value_field")
    ]


def _columns(fields: Iterable[Any], *kinds: str) -> list[str]:
    """The columns whose values are of one of these kinds of pyarrow, such as ``floating``."""
    types = import_optional("pyarrow.types", "Parquet")
    tests = [getattr(types, f"is_{kind}") for kind in kinds]
    return [field.name for field in fields if any(test(field.type) for test in tests)]


def batches(
    path: PathLike, columns: str | Sequence[str]
) -> Iterator[tuple[int, Any, Shaped[np.ndarray, "n p"]]]:
    """Yield (first row, record batch, its vectors) of a file in order, 2,048 rows at a time.

    The vectors are the lists in a column, or the rows of several columns of floats.

    Raises
    ------
    DataError
        If a value is missing, or the vectors differ in length.
    FileError
        If the file is missing or damaged, or has no such column.
    """
    parquet = import_optional("pyarrow.parquet", "Parquet")
    start = 0
    width = None
    # NOTE: without a buffer, or with pre_buffer, a whole row group stays in memory while it is read
    with (
        reading(path, "features", _FIX) as file,
        parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as table,
    ):
        for batch in table.iter_batches(batch_size=_BATCH_ROWS):
            if isinstance(columns, str):
                vectors = _vectors(batch.column(columns), width, f"{path}", columns, start)
                width = vectors.shape[1]
            else:
                vectors = np.stack([np.asarray(batch[title]) for title in columns], axis=1)
            yield start, batch, vectors
            start += len(batch)


def _vectors(
    lists: Any, width: int | None, path: str, column: str, start: int
) -> Shaped[np.ndarray, "n p"]:
    """The lists of a batch as rows of one length, `width` or else that of the first list."""
    compute = import_optional("pyarrow.compute", "Parquet")
    values = lists.flatten()
    lengths = np.asarray(compute.list_value_length(lists).fill_null(-1))
    if width is None:
        width = max(0, int(lengths[0]))
    is_wrong = lengths != width
    if not is_wrong.any() and values.null_count:
        is_wrong = np.asarray(values.is_null()).reshape(len(lists), -1).any(axis=1)
    if is_wrong.any():
        raise DataError(
            f"{path} has a missing value, or a vector whose length is not {width}, in {column} at "
            f"row {start + int(is_wrong.argmax())}. Remove or recompute that row."
        )
    return np.asarray(values).reshape(len(lists), -1)


def read_parquet(path: PathLike) -> NamedRows:
    """Read a file, or a folder of shards in name order, as one (n, p) matrix with names.

    The vectors are the lists in the column that `vector_column` finds in the first file. Without
    such a column, each column of floats is a dimension. The names are the texts or integers in the
    column with the first title of `glocal.data.tables.NAME_TITLES`, if there is any; numbers that
    count the rows are no names.
    """
    shards = shards_of(path)
    schema = parquet_schema(shards[0])
    columns: str | list[str] = _columns(schema, "floating")
    if len(columns) < 2 or _columns(_lists(schema), "floating", "integer"):
        columns = vector_column(shards[0])
    name_column = _name_column(schema)
    parts: list[np.ndarray] = []
    names: list[str] = []
    for shard in shards:
        for _, batch, vectors in batches(shard, columns):
            parts.append(vectors)
            if name_column is not None:
                cells = batch[name_column].to_pylist()
                names += ["" if cell is None else str(cell) for cell in cells]
    if len({vectors.shape[1] for vectors in parts}) > 1:
        raise DataError(f"{path} has vectors of different lengths.")
    matrix = np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)
    return NamedRows(matrix, None if counts_rows(names, 0) else tuple(names))


def _name_column(schema: Any) -> str | None:
    """The column that names the rows; None without one."""
    texts = {name.lower(): name for name in _columns(schema, "string", "large_string", "integer")}
    return next((texts[title] for title in NAME_TITLES if title in texts), None)


_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".npy": lambda path: read_npy(path, what="features"),
    ".npz": _npz,
    ".pt": _torch,
    ".pth": _torch,
    ".safetensors": _safetensors,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}
FEATURE_ENDINGS = (*_READERS, PARQUET, *sorted(TABLES))
