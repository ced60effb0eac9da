"""A network's features: (n, p) numbers, names of the rows, and two standardization scalars."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from glocal.data.names import object_name
from glocal.data.readers import FEATURE_ENDINGS, PARQUET, read_features
from glocal.data.standardization import Standardization, row_blocks
from glocal.data.tables import TABLES
from glocal.errors import DataError, FileError
from glocal.files import PathLike, array_sha256, ending, read_lines, read_object
from glocal.similarity import Mask, Numbers, Values, scaled_to_length_1

_LOG = logging.getLogger(__name__)

FEATURES_FILE = "features.npy"
NAMES_FILE = "file_names.txt"
RECORD_FILE = "record.json"
_RECORD_FIX = "Copy it again, or remove it if no model and layer are to be compared."
_MIN_RELATIVE_DEVIATION = 1e-12  # relative to the mean; rounding of a constant leaves 1e-16
_MAX_UNIT_DEVIATION = 2e-3  # largest deviation of the length of a unit row from 1
_MAX_SHARE_MISSING = 0.1  # largest fraction of objects without answers, or without features


@dataclass(frozen=True, eq=False)
class Features:
    """Features of n images or objects, memory-mapped if they come from ``.npy``.

    Parameters
    ----------
    matrix : (n, p) real array
        float16, float32, float64 or integers; never copied here.
    names : tuple of n str, or None
        One name per row. Answers and other data about objects are joined by these names.
    source : str
        The origin of the matrix, for messages.
    is_unit : bool
        Whether the rows are scaled to length 1 before they are measured and standardized.

    Raises
    ------
    DataError
        If the matrix is not a real (n, p) matrix, or there are not as many names as rows.
    """

    matrix: np.ndarray
    names: tuple[str, ...] | None = None
    source: str = "features"
    is_unit: bool = False

    def __post_init__(self) -> None:
        matrix = as_matrix(self.matrix)
        hint = rows_hint(self.matrix, matrix)
        object.__setattr__(self, "matrix", matrix)
        is_real = matrix.dtype.kind in "fiu" and matrix.dtype.itemsize <= 8
        is_matrix = matrix.ndim == 2 and 0 not in matrix.shape
        if not is_real or not is_matrix:
            raise DataError(
                f"{self.source} holds {matrix.dtype} of shape {matrix.shape}; features must be "
                "real numbers of at most 64 bits, (n, p) with n and p at least 1: one row per "
                f"image. Flatten or pool other axes first.{hint}"
            )
        if self.names is not None and len(self.names) != len(matrix):
            raise DataError(
                f"{self.source} has {len(matrix)} rows but {len(self.names)} names. "
                f"{NAMES_FILE} must have one line per row, in the order of the rows."
                f"{transposed_hint(self, len(self.names))}"
            )

    def __repr__(self) -> str:
        n, p = self.matrix.shape
        named = "" if self.names is None else ", named"
        return f"Features({self.source!r}, {n} × {p}, {self.matrix.dtype}{named})"

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """Return the matrix as an array, for numpy and scikit-learn."""
        return np.array(self.matrix, dtype=dtype, copy=copy)

    @classmethod
    def load(cls, path: PathLike) -> Features:
        """Open a feature file, or a folder with one feature file, and read ``file_names.txt``.

        Parameters
        ----------
        path : path
            A file that `glocal.data.readers.read_features` reads, or a folder. A table (``.csv``
            or ``.parquet``) may have a column of names. A folder must hold ``features.npy``,
            exactly one feature file that is not a table, or the Parquet shards of one table.

        Raises
        ------
        FileError
            If the file is missing, unreadable or damaged, or the folder does not hold exactly one
            feature file.
        DataError
            If the content is not a real (n, p) matrix, or the ``file_names.txt`` in its folder has
            another number of lines. If `path` is a file that is not called features, such a
            ``file_names.txt`` may belong to another file and is ignored.
        """
        path = Path(path)
        is_folder = os.path.isdir(path)  # unlike Path.is_dir, it is false for a name too long
        file = _only_feature_file(path) if is_folder else path
        folder = path if is_folder else path.parent
        matrix, names = read_features(file)
        names_file = folder / NAMES_FILE
        if names is None and names_file.is_file():
            names = read_lines(names_file, what="names")
            may_be_of_another_file = not is_folder and path.stem != "features"
            fits = matrix.shape[:1] == (len(names),)
            if may_be_of_another_file and not fits:
                names = None
        shape = " x ".join(map(str, matrix.shape))
        _LOG.info("read %s: %s", file, shape)
        return cls(matrix, names, str(file))

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def dimensions(self) -> int:
        """p, the number of columns."""
        return int(self.matrix.shape[1])

    def named(self, names: Sequence[str] | None) -> Features:
        """Return these features, with `names` if they have none and the number of names fits."""
        if self.names is not None or names is None:
            return self
        if len(names) != len(self):
            return self
        return replace(self, names=tuple(names))

    def select(self, rows: Mask) -> Features:
        """Return the features of some rows, with their names."""
        matrix = self.matrix[rows]
        if self.names is None:
            return replace(self, matrix=matrix)
        names = compress(self.names, rows)
        return replace(self, matrix=matrix, names=tuple(names))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The name of each row for display: its object or its number."""
        if self.names is None:
            numbers = range(len(self))
            return tuple(f"object {number}" for number in numbers)
        names = map(object_name, self.names)
        return tuple(names)

    @cached_property
    def network(self) -> dict[str, str]:
        """The model, layer and preprocessing that `glocal extract` recorded for this file.

        It is empty if there is no such record. A FileError is raised if it is damaged.
        """
        file = Path(self.source)
        if not os.path.exists(file):
            return {}
        for folder in file.parents[:2]:
            record_file = folder / RECORD_FILE
            if not record_file.exists():
                continue
            record = read_object(record_file, what="record", fix=_RECORD_FIX)
            layers = record.get("layers")
            if isinstance(layers, dict) and "model" in record:  # else another program wrote it
                layer = next(iter(layers), None)
                if len(layers) > 1:
                    layer = file.parent.name
                network = {
                    "model": record["model"],
                    "layer": layer,
                    "preprocessing": record.get("preprocessing"),
                }
                return {key: str(value) for key, value in network.items() if value is not None}
        return {}

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, rows) in order; by default about 32 MB of float64 at a time."""
        blocks = row_blocks(len(self), self.dimensions, rows)
        for block in blocks:
            yield block.start, self.rows(block)

    def rows(self, numbers: slice | Numbers) -> np.ndarray:
        """These rows, scaled to length 1 if `is_unit`."""
        selected = self.matrix[numbers]
        raw = np.asarray(selected)
        return scaled_to_length_1(raw) if self.is_unit else raw

    def unit(self, *, always: bool = True) -> Features:
        """These features with rows scaled to length 1; unless `always`, only if all have length 1.

        Rows that almost have length 1 are scaled too, as is all that is compared with them.
        """
        if self.is_unit:
            return self
        if always or are_unit(self.lengths):
            return replace(self, is_unit=True)
        return self

    @cached_property
    def lengths(self) -> Values:
        """The Euclidean length of each row."""
        lengths = []
        with np.errstate(over="ignore"):  # `standardization` names such a row
            for _, rows in self.chunks():
                in_float64 = rows.astype(np.float64)
                lengths.append(np.linalg.norm(in_float64, axis=1))
        return np.concatenate(lengths)

    @cached_property
    def standardization(self) -> Standardization:
        """The two scalars of the paper over all entries: their mean and population deviation.

        Both are computed in float64 (Muttenthaler et al. 2023).

        Raises
        ------
        DataError
            If a value is NaN or infinite, the matrix is constant, or its values are too small or
            too large to be squared and summed in float64.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # reported below, as an error
            mean = float(self.column_means.mean())
            if not np.isfinite(mean):
                self.check_finite()
            squares = []
            for _, rows in self.chunks():
                deviation = np.subtract(rows, mean, dtype=np.float64)
                squares.append(float(np.vdot(deviation, deviation)))
        variance = sum(squares) / self.matrix.size
        std = float(np.sqrt(variance))
        min_std = _MIN_RELATIVE_DEVIATION * abs(mean)
        if not min_std < std < np.inf:
            raise DataError(
                f"{self.source} is constant ({mean:g} everywhere), so that there is nothing to "
                "transform, or it holds values too small or too large to be squared and summed in "
                "float64. Then multiply the features by a constant: no result depends on their "
                "unit."
            )
        return Standardization(mean, std, is_unit=self.is_unit)

    @cached_property
    def scaling(self) -> Standardization:
        """The rows divided by the root mean square of all entries: no cosine changes."""
        scalars = self.standardization
        root_mean_square = np.hypot(scalars.mean, scalars.std)
        return replace(scalars, mean=0.0, std=float(root_mean_square))

    @cached_property
    def column_means(self) -> Values:
        """The mean of each column, in float64."""
        total = np.zeros(self.dimensions)
        for _, rows in self.chunks():
            total += rows.sum(axis=0, dtype=np.float64)
        return total / len(self)

    @cached_property
    def sha256(self) -> str:
        """The hash of the matrix, as it was given."""
        return array_sha256(self.matrix)

    def check_finite(self) -> None:
        """Raise a DataError if a value is NaN or infinite."""
        for start, rows in self.chunks():
            end = start + len(rows)
            numbers = range(start, end)
            check_finite(rows, self.source, numbers)


def check_finite(
    rows: np.ndarray, source: str, numbers: Sequence[int] | np.ndarray, *, verb: str = "holds"
) -> None:
    """Raise a DataError if any of these rows of the file `source` is not finite.

    `numbers` are the row numbers in the file. `verb` is the verb of the message: a file holds NaN
    or infinity, or is mapped to it.
    """
    is_finite = np.isfinite(rows)
    if not is_finite.all():
        row, column = np.argwhere(~is_finite)[0]
        raise DataError(
            f"{source} {verb} {rows[row, column]} at row {numbers[row]}, column {column}; "
            "features must be finite. Recompute or remove that image; extract values beyond 65504, "
            "where half precision ends, in float32."
        )


def are_unit(lengths: np.ndarray) -> bool:
    """Whether there is at least one length, and all lengths are 1."""
    if not len(lengths):
        return False
    deviations = np.abs(lengths - 1)
    return bool(deviations.max() < _MAX_UNIT_DEVIATION)


def as_matrix(value: Any) -> np.ndarray:
    """Return a tensor (bfloat16 as float32), data frame or list of rows as a numpy array."""
    if isinstance(value, np.ma.MaskedArray):
        raise DataError(
            "the matrix is a masked array, whose mask would be lost. Fill the masked values, or "
            "leave out their rows."
        )
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str | Path):
        raise DataError(f"{value} is a path, not rows. Read it: glocal.Features.load(path).")
    if hasattr(value, "detach"):
        tensor = value.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        return np.asarray(tensor)
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(
            "the rows have different lengths; all rows of a matrix must be of the same length."
        ) from error


def rows_hint(value: Any, X: Any) -> str:
    """A hint for a message if X, the rows of a value, is an image or has a column of names."""
    shape = tuple(X.shape)
    is_image = len(shape) == 3 and shape[2] in (3, 4)
    if is_image:
        return " This is an image; its features are what a network computes: glocal extract."
    dtypes: Any = getattr(value, "dtypes", None)
    if not hasattr(dtypes, "items"):  # it is no data frame
        return ""
    others = [name for name, dtype in dtypes.items() if dtype.kind != "f"]
    if 0 < len(others) < shape[1]:
        return f" The column {others[0]!r} seems to name the rows: leave it out."
    return ""


def transposed_hint(features: Features, n: int) -> str:
    """A hint for a message if the n objects seem to be the columns of the features, else empty."""
    n_rows, n_columns = features.matrix.shape
    max_missing = _MAX_SHARE_MISSING * n
    fits_rows = abs(n - n_rows) <= max_missing
    fits_columns = abs(n - n_columns) <= max_missing
    if fits_rows or not fits_columns:
        return ""
    return (
        f" Are the features transposed? They are {n_rows} × {n_columns} and need one row per "
        "object: save features.T."
    )


def _only_feature_file(folder: Path) -> Path:
    kinds = {*FEATURE_ENDINGS} - TABLES  # tables in a folder of features often hold other data
    files = sorted(file for file in folder.iterdir() if ending(file) in kinds)
    named_features = [file for file in files if file.name == FEATURES_FILE]
    arrays = [file for file in files if ending(file) != PARQUET]
    if len(files) > 1 and not arrays:
        return folder
    candidates = named_features or arrays or files
    if len(candidates) != 1:
        names = [file.name for file in candidates[:5]]
        listing = ", ".join(names) or "none"
        raise FileError(
            f"features folder {folder} must hold features.npy or exactly one of "
            f"{', '.join(sorted(kinds))}; it holds {listing}. Name the file itself."
        )
    return candidates[0]
