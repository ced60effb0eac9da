"""Labels of feature rows, and groups: superclasses of classes and categories of objects."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.columns import as_integers
from glocal.data.features import Features
from glocal.data.join import like, matching_lines
from glocal.data.tables import TABLES, column_of_table, read_table
from glocal.errors import DataError, DataWarning
from glocal.files import PathLike, ending, naming, read_lines, read_npy

if TYPE_CHECKING:
    import pandas as pd


def load_labels(path: PathLike, features: Features | None = None) -> Shaped[np.ndarray, " n"]:
    """Read one label per row.

    Parameters
    ----------
    path : path
        ``.npy`` with (n,) integers or strings; a text file with one label per line; or a column of
        a table with titles, ``FILE.csv:COLUMN``. Labels in text are read as integers if all of them
        are integers, else as names; 007 and 1_0 are names.
    features : Features or None
        The rows. If they have names, and another column of the table holds most of these names,
        the labels are joined by name. Otherwise label i is that of row i.

    Returns
    -------
    (n,) int64 or str array

    Raises
    ------
    FileError
        If the file is missing, damaged or pickled.
    DataError
        If there is not one integer or string per row, another number of labels than rows, a name
        without a label, or no column of that title.
    """
    n = None if features is None else len(features)
    file, column = split_column(path)
    if ending(file) == ".npy":
        fix = "Save strings with numpy.save(path, labels.astype('U')), or one per line as text."
        return check_labels(np.array(read_npy(file, what="labels", fix=fix)), n, str(path))
    if column is not None:
        with naming(file):
            table = read_table(file, what="labels")
            cells = column_of_table(table, column).tolist()
            if features is not None and features.names is not None:
                order = _lines_by_name(table.drop(columns=column), features.names)
                cells = cells if order is None else [cells[line] for line in order]
    else:
        lines = read_lines(file, what="labels")
        cells = ["" if line == '""' else line for line in lines]  # as pandas writes a missing label
        if ending(file) in TABLES and cells and re.search("[,;\t]", cells[0]):
            raise DataError(
                f"{path} is a table ({cells[0][:120]}); labels must be one of its columns. Name "
                f"the column: {path}:COLUMN."
            )
    if "" in cells:
        raise DataError(f"{path}: row {cells.index('')} has no label. Write one for each row.")
    labels = np.array(cells, dtype=np.str_)
    numbers = as_integers(labels)
    return check_labels(labels if numbers is None else numbers, n, str(path))


def _lines_by_name(table: pd.DataFrame, names: Sequence[str]) -> Int[np.ndarray, " n"] | None:
    """The line of a table with each of these names, or None if none of its columns holds them."""
    for title in table:
        lines = matching_lines(names, table[title].tolist(), f"names in the column {title!r}")
        if lines is None:
            continue
        if (lines < 0).any():
            name = names[int(lines.argmin())]
            raise DataError(
                f"{np.count_nonzero(lines < 0)} of the {len(names)} names of the features are not "
                f"in the column {title!r}; the first is {name!r}{like(name, table[title])}. Add a "
                "line with its label."
            )
        return lines
    return None


def split_column(path: PathLike) -> tuple[Path, str | None]:
    """The file and the column of ``FILE.csv:COLUMN``; the column of any other path is None.

    >>> split_column("labels.csv:kind of article")
    (PosixPath('labels.csv'), 'kind of article')
    """
    file, colon, column = str(path).rpartition(":")
    if colon and ending(file) in TABLES:
        return Path(file), column
    return Path(path), None


def check_labels(
    labels: Shaped[np.ndarray, "..."], n: int | None = None, source: str = "labels"
) -> Shaped[np.ndarray, " n"]:
    """Return the labels as an (n,) array of int64 or str, or raise a DataError."""
    labels = np.asarray(labels)
    if labels.dtype.kind in "OT" and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(np.str_)  # pandas holds names as objects
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.ndim != 1 or labels.dtype.kind not in "iuU" or not labels.size:
        raise DataError(
            f"{source} holds {labels.dtype} of shape {labels.shape}; labels must be one integer or "
            "name per row."
        )
    if n is not None and len(labels) != n:
        hint = f" The last one is {str(labels[-1])!r}: are the labels after it blank?"
        if len(labels) == n + 1:
            hint = f" If the first, {str(labels[0])!r}, is a title, remove it."
        elif len(labels) > n:
            hint = ""
        raise DataError(
            f"{source} has {len(labels)} labels but there are {n} rows. Give one label per row, in "
            f"their order.{hint}"
        )
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels


def check_sides(
    first: np.ndarray,
    first_labels: np.ndarray,
    second: np.ndarray,
    second_labels: np.ndarray,
    names: tuple[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of two sets of rows, after checking that columns and labels match."""
    check_columns(first, second, names)
    first_labels = check_labels(first_labels, len(first), f"labels of {names[0]}")
    second_labels = check_labels(second_labels, len(second), f"labels of {names[1]}")
    if first_labels.dtype.kind != second_labels.dtype.kind:
        raise DataError(
            f"labels of {names[0]} and {names[1]} are of two kinds, integers and names; write both "
            "in the same way."
        )
    return first_labels, second_labels


def check_columns(first: np.ndarray, second: np.ndarray, names: tuple[str, str]) -> None:
    """Raise a DataError if two sets of rows have different numbers of columns."""
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"{names[0]} have {first.shape[1]} columns and {names[1]} {second.shape[1]}; both must "
            "come from the same model and layer."
        )


def positions(classes: np.ndarray, labels: np.ndarray) -> Int[np.ndarray, " n"]:
    """The position of each label in the sorted `classes`, or -1 for a label of no class."""
    position = np.searchsorted(classes, labels).clip(0, len(classes) - 1)
    return np.where(classes[position] == labels, position, -1)


def load_groups(path: PathLike, names: Sequence[str] = ()) -> dict[str, str]:
    """Read the group of each name: the superclass of a class, or the category of an object.

    Parameters
    ----------
    path : path
        A table whose first line names the columns: either (name, group), or one column of 0 and 1
        per group, as the 27 categories of THINGS are published, with or without a first column of
        names. Without names, line i belongs to ``names[i]``.
    names : sequence of str
        The names that the lines of such a table belong to.

    Returns
    -------
    dict
        The groups of the names that have one. It is the smallest, which is the most specific, of
        the groups whose columns hold 1.

    Raises
    ------
    FileError
        If the file is missing or is not readable text.
    DataError
        If the table has another form or, without names, another number of lines than `names`; or if
        it puts a name into several groups.
    """
    table = read_table(path, what="groups")
    has_names = not table.isin(["0", "1"]).all(axis=None)
    members = table.pop(table.columns[0]).tolist() if has_names else list(names)
    is_binary = table.shape[1] > 0 and table.isin(["0", "1"]).all(axis=None)
    if has_names and table.shape[1] == 1:
        groups = table.iloc[:, 0].tolist()
    elif is_binary and len(members) == len(table):
        is_member = table.to_numpy() == "1"
        sizes = np.where(is_member, is_member.sum(axis=0), np.iinfo(np.int64).max)
        smallest = np.array([*table])[sizes.argmin(axis=1)]
        groups = np.where(is_member.any(axis=1), smallest, "").tolist()
    else:
        raise DataError(
            f"{path} has {len(table)} lines and {table.shape[1]} columns of groups for "
            f"{len(members)} names. Write two columns, name and group, or one column of 0 and 1 "
            "per group, with the names in the first column or one line per name in their order."
        )
    group_of: dict[str, str] = {}
    for name, group in zip(members, groups, strict=True):
        if group and group_of.setdefault(name, group) != group:
            raise DataError(
                f"{path} puts {name} into {group_of[name]} and into {group}, but each name can be "
                "in only one group. Keep one of the lines."
            )
    return group_of


def superclass_rows(
    labels: Shaped[np.ndarray, " n"], superclass_of: Mapping[Any, str], part: str = "labelled"
) -> tuple[Int[np.ndarray, " k"], Shaped[np.ndarray, " k"]]:
    """The rows whose class is in a superclass, and the superclass of each.

    The classes of `superclass_of` may be texts even if labels are integers. Rows of other classes
    are left out. If no row remains, a DataError is raised, which calls the images `part`.
    """
    text_of = {str(name): superclass for name, superclass in superclass_of.items()}
    superclasses = [text_of.get(str(label)) for label in labels.tolist()]
    rows = np.flatnonzero([superclass is not None for superclass in superclasses])
    if not len(rows):
        raise DataError(
            f"none of the {len(labels)} {part} images is of a class that has a superclass: images "
            f"have classes such as {labels[0]}, and superclasses have classes such as "
            f"{next(iter(text_of))}. Write the classes of both as the same names or numbers."
        )
    return rows, np.array([superclasses[row] for row in rows])


class Members(NamedTuple):
    """Images that have a superclass: their feature rows, superclasses and classes."""

    X: np.ndarray
    superclasses: np.ndarray
    classes: np.ndarray

    @classmethod
    def of(
        cls, X: np.ndarray, labels: np.ndarray, superclass_of: Mapping[Any, str], part: str
    ) -> Members:
        """Select the rows of X whose class is in a superclass; a DataWarning counts the others."""
        rows, superclasses = superclass_rows(labels, superclass_of, part)
        if len(rows) < len(labels):
            warnings.warn(
                f"{len(labels) - len(rows)} of {len(labels)} {part} images are of classes without "
                "a superclass; they are left out.",
                DataWarning,
                stacklevel=3,
            )
        return cls(X[rows], superclasses, labels[rows])

    def select(self, kept: np.ndarray) -> Members:
        """The images of a mask."""
        return Members(*(values[kept] for values in self))
