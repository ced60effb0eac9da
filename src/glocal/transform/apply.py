"""Apply a transform to a feature file of any size in constant memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from glocal.data.features import NAMES_FILE, Features
from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, atomic_write, read_lines, write_text
from glocal.transform.checks import check_rows
from glocal.transform.linear import LinearTransform

Progress = Callable[[int], None]  # called with the number of rows written so far
_CHUNK_BYTES = 1 << 23
_CSV_ROWS = 1_000  # of a chunk
_MAX_CSV_NUMBERS = 10_000_000  # of about ten characters each


def apply_file(
    transform: LinearTransform,
    features: Features,
    out: PathLike,
    *,
    force: bool = False,
    progress: Progress = lambda done: None,
) -> int:
    """Transform all rows of `features` into the ``.npy`` file `out` and return their number.

    The file appears only once it is complete. It has the float type of the input, or float32 if
    the input holds integers. The names of the rows, if they have any, are written into
    ``file_names.txt`` beside it.

    Parameters
    ----------
    features : Features
        Raw (not standardized) rows. A ``.npy`` file is read a few MB at a time.
    force : bool
        False: rows that certainly belong to another transform are an error; see
        `glocal.transform.check_rows`.

    Raises
    ------
    DataError
        The rows do not have the input dimension of the transform, or a row contains NaN or
        infinity before or after the transform.
    FileError
        `out` cannot be written, or the names beside it name other rows.

    Warns
    -----
    DataWarning
        The rows differ from the rows of the fit; see `glocal.transform.check_rows`.
    """
    check_rows(transform, features, force=force)
    names_file = Path(out).parent / NAMES_FILE
    has_names = features.names is not None
    if has_names and names_file.exists():
        if read_lines(names_file, what="names") != features.names:
            raise FileError(
                f"{names_file} names other rows than {features.source}. Write into a folder of its "
                "own, such as --out aligned/features.npy."
            )
        has_names = False
    n, p = features.matrix.shape
    dtype = np.dtype(np.float32)
    if features.matrix.dtype.kind == "f":
        dtype = features.matrix.dtype.newbyteorder("=")
    header = {
        "descr": npy_format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (n, transform.out_dimensions),
    }
    with atomic_write(out) as stream:
        npy_format.write_array_header_1_0(stream, header)
        for start, rows in features.chunks(max(1, _CHUNK_BYTES // (dtype.itemsize * p))):
            Z = transform.map_rows(rows, source=features.source, first=start)
            stream.write(np.ascontiguousarray(Z, dtype).data)
            progress(start + len(rows))
    if has_names:
        write_text(names_file, "".join(f"{name}\n" for name in features.labels))
    return n


def apply_csv(
    transform: LinearTransform,
    features: Features,
    out: PathLike,
    *,
    force: bool = False,
    progress: Progress = lambda done: None,
) -> int:
    """Transform all rows of `features` into the table `out`, with their names in its first column.

    A table that would be larger than about 100 MB is a ParameterError; see `apply_file` otherwise.
    """
    import pandas as pd

    n = len(features)
    columns = [f"d{number}" for number in range(1, transform.out_dimensions + 1)]
    if n * len(columns) > _MAX_CSV_NUMBERS:
        raise ParameterError(
            f"{out} would hold {n:,} rows of {len(columns):,} numbers, over 100 MB of text. Write "
            ".npy."
        )
    check_rows(transform, features, force=force)
    with atomic_write(out) as stream:
        for start, rows in features.chunks(_CSV_ROWS):
            Z = transform.map_rows(rows, source=features.source, first=start)
            names = features.labels[start : start + len(rows)]
            table = pd.DataFrame(Z, index=names, columns=columns)
            stream.write(table.to_csv(header=not start, index_label="name").encode())
            progress(start + len(rows))
    return n
