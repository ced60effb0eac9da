"""Read feature files as one (n, p) matrix: ``.npy`` memory-mapped, other kinds into memory.

Tables, ``.csv`` and ``.parquet``, may hold the names of the rows too.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from glocal.data.tables import (
    NAME_TITLES,
    TABLES,
    counts_rows,
    first_cells,
    first_line,
    is_number,
    listed,
    names_rows,
    parse_csv,
    rows_of_numbers,
    separator_of,
)
from glocal.errors import DataError, FileError, import_optional
from glocal.files import PathLike, check_inflated, ending, naming, read_npy, read_npz, reading

if TYPE_CHECKING:
    import pandas as pd

PARQUET = ".parquet"
_PREFERRED = ("features", "embedding", "embeddings")  # names of the Parquet column of vectors
_HIDDEN = re.compile(r".*/[._]")  # a path with a file or folder whose name begins with . or _
_FIX = "Save the (n, p) matrix with numpy.save."


class NamedRows(NamedTuple):
    """A matrix (n, p), and the names of its rows if the file holds them."""

    matrix: Shaped[np.ndarray, "..."]
    names: tuple[str, ...] | None


@runtime_checkable
class _Array(Protocol):
    """An array of numpy, a tensor, or a data set in a file."""

    @property
    def ndim(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


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
    if kind not in FEATURE_ENDINGS and not _is_folder_of_shards(path):
        raise FileError(
            f"features file {path} ends in {kind or 'nothing'}; it must end in "
            f"{' or '.join(FEATURE_ENDINGS)}. {_FIX}"
        )
    if kind in TABLES:
        return read_named_rows(path)
    if kind not in _READERS:
        return read_parquet(path)
    read_matrix = _READERS[kind]
    with reading(path, "features", _FIX) as file:
        return NamedRows(read_matrix(file), None)


def _is_folder_of_shards(path: PathLike) -> bool:
    """Whether a path is a folder with at least one Parquet file."""
    return Path(path).is_dir() and bool(shards_of(path))


def _choose(path: PathLike, arrays: Mapping[str, _Array]) -> Any:
    """Choose the array named `features`, or else the only matrix with more than one number."""
    if "features" in arrays:
        return arrays["features"]
    matrices = [array for array in arrays.values() if _is_matrix(array)]
    if len(matrices) == 1:
        return matrices[0]
    raise FileError(
        f"features file {path} holds {len(matrices)} matrices and none named 'features' (it has "
        f"{', '.join(arrays)[:160] or 'nothing'}). Save one (n, p) matrix in it under that name."
    )


def _is_matrix(array: _Array) -> bool:
    """Whether an array has two dimensions and more than one number."""
    return array.ndim == 2 and prod(array.shape) > 1


def _npz(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
    arrays = [member for member in members if member.endswith(".npy")]
    names = [array.removesuffix(".npy") for array in arrays]
    required = names
    if "features" in names:
        required = ["features"]
    elif "weights" in names or "answers" in names:
        raise FileError(f"features file {path} is a transform, or holds answers. Name another.")
    contents = read_npz(path, what="features", fix=_FIX, required=required)
    return _choose(path, contents)


def _torch(path: Path) -> np.ndarray:
    torch = import_optional("torch", f"features file {path}")
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns before it refuses a pickle
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # NOTE the message of torch advises loading the file unsafely
        reason = "it holds objects other than tensors and plain values, which are never loaded"
        raise ValueError(reason) from error
    if isinstance(loaded, dict):
        tensors = {}
        for key, value in loaded.items():
            if hasattr(value, "ndim"):
                tensors[str(key)] = value
        loaded = _choose(path, tensors)
    n_bytes = loaded.numel() * loaded.element_size()
    check_inflated(path, n_bytes)
    if loaded.dtype == torch.bfloat16:
        loaded = loaded.float()
    matrix = loaded.detach()
    return np.asarray(matrix)


def _safetensors(path: Path) -> np.ndarray:
    safetensors = import_optional("safetensors.numpy", f"features file {path}")
    arrays = safetensors.load_file(path)
    return _choose(path, arrays)


def _hdf5(path: Path) -> np.ndarray:
    h5py = import_optional("h5py", f"features file {path}")
    datasets = {}

    def collect(name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            datasets[name] = item

    with h5py.File(path) as opened:
        opened.visititems(collect)
        dataset = _choose(path, datasets)
        check_inflated(path, dataset.nbytes)
        return np.asarray(dataset)


def read_named_rows(path: PathLike) -> NamedRows:
    """Read the numbers of a table, and the names of its rows if a column holds names.

    The first line has titles if any of its cells is no number, or if it counts 0, 1, 2, … as pandas
    does; else it is a row. A column holds names if its title says so (``name``, ``id``, ``file``,
    …, or none) or if it holds anything other than numbers.

    Raises
    ------
    FileError
        If the file is missing, is not readable text, or is not a table.
    DataError
        If several columns hold names, or a row has no name.
    """
    with reading(path, "features", "Save it as CSV, or the (n, p) matrix with numpy.save.") as file:
        line = first_line(file)
        with naming(path):
            _refuse_decimal_commas_in_line(line)
        cells = first_cells(line)
        has_titles = _are_titles(cells, path)
        if not has_titles and separator_of(line) is None:
            return NamedRows(rows_of_numbers(file), None)
        are_names = []
        if has_titles:  # the numbers that pandas writes under an empty title stay text
            are_names = [i for i, title in enumerate(cells) if names_rows(title)]
        table = parse_csv(
            file,
            header=0 if has_titles else None,
            converters=dict.fromkeys(are_names, str),
            low_memory=False,
        )
        features = table.select_dtypes("number")
        texts = table.drop(columns=features.columns)
        first_texts = texts.iloc[:1].to_numpy()
        with naming(path):
            _refuse_decimal_commas(first_texts.flat)
        if features.columns.empty:
            raise ValueError("none of its columns holds numbers")
        has_text = not texts.columns.empty
        if has_text and not has_titles:
            raise DataError(f"{path} has text below its first line. Give each column a title.")
    with naming(path):
        names = _names_of_rows(texts)
    return NamedRows(features.to_numpy(), names)


def _are_titles(cells: list[str], path: PathLike) -> bool:
    """Whether the first line has titles; a DataError if it may have titles or numbers."""
    numbers = [cell for cell in cells if is_number(cell)]
    if not numbers:
        return True
    if len(numbers) > 2 and counts_rows(numbers, 0):
        return True
    if len(numbers) < len(cells):
        raise DataError(
            f"{path}: its first line, {listed(cells)}, has both numbers and other cells, so that "
            "it may be titles or a row. Give each column a title."
        )
    return False


def _names_of_rows(texts: pd.DataFrame) -> tuple[str, ...] | None:
    """The names in the only column of texts; None without a column, or if it counts the rows."""
    n_columns = len(texts.columns)
    if not n_columns:
        return None
    if n_columns > 1:
        raise DataError(
            f"it has {n_columns} columns of names or text ({listed(texts)}); features have at "
            "most one. Remove the others."
        )
    cells = texts.iloc[:, 0].fillna("")
    names = cells.astype(str).str.strip()
    is_empty = names == ""
    if is_empty.any():
        raise DataError(f"row {is_empty.argmax()} has no name in {names.name!r}.")
    return _unless_counted(names.tolist())


def _unless_counted(names: list[str]) -> tuple[str, ...] | None:
    """The names of rows, or None if they count the rows."""
    if counts_rows(names, 0):
        return None
    return tuple(names)


def _refuse_decimal_commas_in_line(line: str) -> None:
    """Raise a DataError for a number such as 1,5 between semicolons or tabs."""
    cells = re.split("[;\t]", line)
    if len(cells) > 1:
        _refuse_decimal_commas(cells)


def _refuse_decimal_commas(cells: Iterable[object]) -> None:
    """Raise a DataError for a number such as 1,5."""
    for cell in cells:
        text = str(cell).strip()
        if re.fullmatch(r"[+-]?\d+,\d+", text):
            raise DataError(f"{cell} has a decimal comma. Write it as a point.")


def shards_of(path: PathLike) -> list[Path]:
    """The Parquet files under a folder in the order of their names, or `path` if it is a file.

    Files and folders whose name begins with ``.`` or ``_`` are skipped, because by convention they
    are not data.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    files = path.rglob(f"*{PARQUET}")
    shards = []
    for file in sorted(files):
        path_in_folder = file.relative_to(path).as_posix()
        if not _HIDDEN.match(f"/{path_in_folder}"):
            shards.append(file)
    return shards


def read_parquet(path: PathLike) -> NamedRows:
    """Read a file, or a folder of shards in name order, as one (n, p) matrix with names.

    The vectors are the lists of numbers in the column features, embedding or embeddings, or in the
    only column of lists. Without such a column, each column of floats is a dimension. The names are
    in the column with the first title of `glocal.data.tables.NAME_TITLES`, if there is any; numbers
    that count the rows are no names.

    Raises
    ------
    FileError
        If it is not clear which column holds the vectors, or a file is missing or damaged.
    DataError
        If a value is missing, or the vectors differ in length.
    """
    parquet = import_optional("pyarrow.parquet", "Parquet")
    shards = shards_of(path)
    with reading(shards[0], "features", _FIX) as file:
        schema = parquet.read_schema(file)
    columns = _columns_to_read(schema, shards[0])
    parts = [_read_shard(shard, columns) for shard in shards]
    matrices = [part.matrix for part in parts if len(part.matrix)]
    widths = {matrix.shape[1] for matrix in matrices}
    if len(widths) > 1:
        raise DataError(f"{path} has vectors of different lengths in {columns.shown()}.")
    if not matrices:
        no_rows = np.empty((0, 0), dtype=np.float32)
        return NamedRows(no_rows, None)
    names: list[str] = []
    for part in parts:
        names += part.names or ()
    matrix = np.concatenate(matrices)
    return NamedRows(matrix, _unless_counted(names))


class _Columns(NamedTuple):
    """The columns of a Parquet file that are read.

    `vectors` are the titles of one column of whole vectors, if `is_lists`, or of one column for
    each dimension; `names` is the title of the column that names the rows, or None.
    """

    vectors: list[str]
    is_lists: bool
    names: str | None

    def shown(self) -> str:
        """The first titles of the vectors, for a message."""
        return ", ".join(self.vectors)[:160]


def _read_shard(shard: Path, columns: _Columns) -> NamedRows:
    """The vectors of one file, and the names of its rows."""
    parquet = import_optional("pyarrow.parquet", "Parquet")
    titles = [*columns.vectors]
    if columns.names is not None:
        titles.append(columns.names)
    cells = []
    with reading(shard, "features", _FIX) as file:
        table = parquet.read_table(file, columns=titles)
        vectors = [_vectors(table[title], columns.is_lists) for title in columns.vectors]
        if columns.names is not None:
            cells = table[columns.names].to_pylist()
    rows = vectors[0] if columns.is_lists else np.stack(vectors, axis=1)
    if len(rows) != len(table):
        raise DataError(
            f"{shard} has a missing value, or vectors of different lengths, in "
            f"{columns.shown()}. Remove or recompute these rows."
        )
    names = ["" if cell is None else str(cell) for cell in cells]
    return NamedRows(rows, tuple(names))


def _columns_to_read(schema: Any, path: Path) -> _Columns:
    """The columns of the vectors and of the names."""
    types = import_optional("pyarrow.types", "Parquet")
    names = _name_column(schema)
    lists = _columns_of_lists(schema)
    preferred = [title for title in _PREFERRED if title in lists]
    if preferred:
        lists = preferred[:1]
    if len(lists) == 1:
        return _Columns(lists, True, names)
    floats = [field.name for field in schema if types.is_floating(field.type)]
    if lists or len(floats) < 2:
        raise FileError(
            f"Parquet file {path} has {len(lists)} columns of lists of numbers "
            f"({', '.join(lists) or 'none'}). Call the one with the vectors features."
        )
    return _Columns(floats, False, names)


def _columns_of_lists(schema: Any) -> list[str]:
    """The columns of lists of floats or, without one, of integers, which may also be tokens."""
    types = import_optional("pyarrow.types", "Parquet")
    lists = [field for field in schema if hasattr(field.type, "value_field")]
    kind_of = {field.name: field.type.value_type for field in lists}
    floats = [name for name, kind in kind_of.items() if types.is_floating(kind)]
    integers = [name for name, kind in kind_of.items() if types.is_integer(kind)]
    return floats or integers


def _vectors(column: Any, is_lists: bool) -> np.ndarray:
    """The lists of a column as rows, or its numbers; no row at all if a value is missing."""
    compute = import_optional("pyarrow.compute", "Parquet")
    no_rows = np.empty((0, 0))
    values = compute.list_flatten(column) if is_lists else column
    if column.null_count or values.null_count:
        return no_rows
    numbers = values.to_numpy()
    if not is_lists:
        return numbers
    widths = compute.list_value_length(column).unique()
    if len(widths) != 1:
        return no_rows
    return numbers.reshape(len(column), -1)


def _name_column(schema: Any) -> str | None:
    """The column of texts or integers that names the rows; None without one."""
    types = import_optional("pyarrow.types", "Parquet")
    tests = (types.is_integer, types.is_string, types.is_large_string)
    titles: dict[str, str] = {}
    for field in schema:
        if any(test(field.type) for test in tests):
            titles[field.name.lower()] = field.name
    for title in NAME_TITLES:
        if title in titles:
            return titles[title]
    return None


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
