"""Labels of feature rows, and superclasses of these classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.columns import as_integers
from glocal.data.features import Features
from glocal.data.names import matching_lines
from glocal.data.tables import TABLES, column_of_table, read_table
from glocal.errors import DataError
from glocal.files import PathLike, ending, naming, read_lines, read_npy
from glocal.similarity import Labels, Numbers

if TYPE_CHECKING:
    import pandas as pd

Superclasses = Mapping[Any, str]
"""The superclass of each class; classes may be texts even if labels are integers."""


def load_labels(path: PathLike, features: Features | None = None) -> Labels:
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


def _lines_by_name(table: pd.DataFrame, names: Sequence[str]) -> Numbers | None:
    """The line of a table with each of these names, or None if none of its columns holds them."""
    for title in table:
        lines = matching_lines(names, table[title].tolist(), f"names in the column {title!r}")
        if lines is None:
            continue
        if (lines < 0).any():
            name = names[int(lines.argmin())]
            raise DataError(
                f"{np.count_nonzero(lines < 0)} of the {len(names)} names of the features are not "
                f"in the column {title!r}; the first is {name!r}. Add a line with its label."
            )
        return lines
    return None


def split_column(path: PathLike) -> tuple[Path, str | None]:
    """Return the file and the column of ``FILE.csv:COLUMN``; the column of any other path is None.

    >>> split_column("labels.csv:kind of article")
    (PosixPath('labels.csv'), 'kind of article')
    """
    file, colon, column = str(path).rpartition(":")
    if colon and ending(file) in TABLES:
        return Path(file), column
    return Path(path), None


def check_labels(
    labels: Shaped[np.ndarray, "..."] | None, n: int | None = None, source: str = "labels"
) -> Labels:
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
        raise DataError(
            f"{source} has {len(labels)} labels but there are {n} rows. Give one label per row, in "
            f"their order, without a title. The first label is {str(labels[0])!r}."
        )
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels


def load_groups(path: PathLike) -> dict[str, str]:
    """Read the superclass of each class from a table of two columns with titles.

    Raises
    ------
    FileError
        If the file is missing or is not readable text.
    DataError
        If the table has other columns, or puts a class into several superclasses.
    """
    table = read_table(path, what="superclasses")
    if table.shape[1] != 2:
        raise DataError(
            f"{path} has {table.shape[1]} columns, but a table of superclasses has two: the class "
            "and its superclass."
        )
    group_of: dict[str, str] = {}
    for name, group in table.to_numpy().tolist():
        if group and group_of.setdefault(name, group) != group:
            raise DataError(
                f"{path} puts {name} into {group_of[name]} and into {group}, but each class can be "
                "in only one superclass. Keep one of the lines."
            )
    return group_of


def superclass_rows(
    labels: Labels, superclass_of: Superclasses, part: str = "labelled images"
) -> tuple[Int[np.ndarray, " k"], Shaped[np.ndarray, " k"]]:
    """The rows whose class is in a superclass, and the superclass of each.

    Rows of other classes are left out. If no row remains, a DataError is raised, which calls the
    rows `part`.
    """
    import pandas as pd

    text_of = {str(name): superclass for name, superclass in superclass_of.items()}
    superclasses = pd.Series(labels).astype(str).map(text_of).dropna()
    if superclasses.empty:
        raise DataError(
            f"none of the {len(labels)} {part} is of a class that has a superclass: images "
            f"have classes such as {labels[0]}, and superclasses have classes such as "
            f"{next(iter(text_of))}. Write the classes of both as the same names or numbers."
        )
    return superclasses.index.to_numpy(), superclasses.to_numpy(dtype=np.str_)
