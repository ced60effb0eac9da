"""Labels of images, one for each row of a feature file, and superordinate categories of objects by name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.features import object_name
from glocal.data.tables import read_table
from glocal.errors import DataError
from glocal.files import PathLike, read_lines, read_npy

OTHER = "other"


def load_labels(path: PathLike, n: int | None = None) -> Shaped[np.ndarray, " n"]:
    """Read one label per row.

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
    if Path(path).suffix.lower() == ".npy":
        labels = np.array(read_npy(path, what="labels"))
    else:
        labels = np.array(read_lines(path, what="labels"))
        with contextlib.suppress(ValueError, OverflowError):
            labels = np.array([int(label) for label in labels.tolist()], dtype=np.int64)
    return check_labels(labels, n, str(path))


def check_labels(
    labels: Shaped[np.ndarray, "..."], n: int | None = None, source: str = "labels"
) -> Shaped[np.ndarray, " n"]:
    """The labels as a (n,) array of int64 or str, or a DataError in one sentence."""
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU" or not labels.size:
        raise DataError(
            f"{source} holds {labels.dtype} of shape {labels.shape}; labels must be one integer or name per row."
        )
    if n is not None and len(labels) != n:
        raise DataError(
            f"{source} has {len(labels)} labels but there are {n} rows. Give one label per row, in their order."
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


def check_columns(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> None:
    """Raise a DataError where the rows of two sides have different numbers of columns."""
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"{names[0]} have {first.shape[1]} columns and {names[1]} {second.shape[1]}; both must come from the same "
            "model and layer."
        )


def positions(classes: np.ndarray, labels: np.ndarray) -> Int[np.ndarray, " n"]:
    """The position of each label in the sorted `classes`, or -1."""
    at = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    return np.where(classes[at] == labels, at, -1)


def load_categories(path: PathLike, ids: Sequence[str]) -> Shaped[np.ndarray, " n"]:
    """Read the category of each object.

    Parameters
    ----------
    path : path
        A table whose first line names the columns: either (object, category), or one column a category with 0 or 1, as
        THINGS' 27 categories are published, with or without a first column of object names. Without names, line i is
        object ``ids[i]``.
    ids : names
        The objects; folder and extension are ignored.

    Returns
    -------
    (n,) str array
        ``"other"`` where an object is in none; of several categories the one with fewest objects, which says most.

    Raises
    ------
    FileError
        Missing, or not readable text.
    DataError
        Not such a table, or another number of lines than objects.
    """
    table = read_table(path, what="categories")
    named = not table.isin(["0", "1"]).all(axis=None)
    names = table.pop(table.columns[0]).tolist() if named else list(ids)
    columns_are_categories = table.shape[1] > 0 and table.isin(["0", "1"]).all(axis=None)
    if columns_are_categories and len(names) == len(table):
        member = table.to_numpy() == "1"
        sizes = np.where(member, member.sum(axis=0), np.iinfo(np.int64).max)
        found = np.where(member.any(axis=1), np.array([*table])[sizes.argmin(axis=1)], OTHER)
    elif named and table.shape[1] == 1:
        found = table.iloc[:, 0].replace("", OTHER).to_numpy(dtype=np.str_)
    else:
        raise DataError(
            f"{path} has {len(table)} lines and {table.shape[1]} columns of categories for {len(ids)} objects. Write "
            "(object, category), or one column of 0 and 1 per category, with one line per object in their order or "
            "their names in the first column."
        )
    category = dict(zip(map(object_name, names), found.tolist(), strict=True))
    return np.array([category.get(object_name(name), OTHER) for name in ids])
