"""Labels of images: one class for each row of a feature file."""

from __future__ import annotations

import numpy as np

from glocal.arrays import read_npy
from glocal.errors import DataError, FileError
from glocal.files import PathLike, read_lines
from glocal.jobs.leaving import existing_file


def load_labels(path: PathLike, n: int | None = None) -> np.ndarray:
    """Read one label a row.

    Parameters
    ----------
    path : path
        ``.npy`` with (n,) integers or strings, or text with one label a line: integers if all are, else names.
    n : int or None
        The number of rows they must label.

    Returns
    -------
    (n,) int64 or str array

    Raises
    ------
    FileError
        Missing, damaged or pickled.
    DataError
        Not one integer or string a row, or another number of labels than rows.
    """
    path = existing_file(path, what="labels")
    if path.suffix.lower() == ".npy":
        labels = np.array(read_npy(path, what="labels"))
    else:
        lines = [line.strip() for line in read_lines(path, what="labels")]
        if not lines:
            raise FileError(f"labels file {path} is empty. Write one label a line.")
        try:
            labels = np.array([int(line) for line in lines], dtype=np.int64)
        except (ValueError, OverflowError):
            labels = np.array(lines)
    return check_labels(labels, n, str(path))


def check_labels(labels: np.ndarray, n: int | None = None, source: str = "labels") -> np.ndarray:
    """The labels as a (n,) array of int64 or str, or a DataError in one sentence."""
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{source} holds {labels.dtype} of shape {labels.shape}; labels must be one integer or name a row."
        )
    if n is not None and len(labels) != n:
        raise DataError(
            f"{source} has {len(labels)} labels but there are {n} rows. Give one label a row, in their order."
        )
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels


def check_sides(
    first: np.ndarray, first_labels: np.ndarray, second: np.ndarray, second_labels: np.ndarray, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the rows of two sides, checked to be of one kind, and the columns of both to be as many."""
    check_columns(first, second, names)
    first_labels = check_labels(first_labels, len(first), f"labels of {names[0]}")
    second_labels = check_labels(second_labels, len(second), f"labels of {names[1]}")
    if first_labels.dtype.kind != second_labels.dtype.kind:
        raise DataError(
            f"labels of {names[0]} and {names[1]} are integers on one side and names on the other; "
            "write both in one way."
        )
    return first_labels, second_labels


def positions(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The position of each label in the sorted `classes`, or -1."""
    at = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    return np.where(classes[at] == labels, at, -1)


def check_columns(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> None:
    """Raise a DataError where the rows of two sides have different numbers of columns."""
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"{names[0]} have {first.shape[1]} columns and {names[1]} {second.shape[1]}; both must come from the same "
            "model and layer."
        )
