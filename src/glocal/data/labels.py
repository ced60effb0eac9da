"""Labels of feature rows, and superclasses of these classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.features import Features
from glocal.data.names import matching_entries
from glocal.data.tables import TABLES, as_integers, column_of_table, counts_rows, read_table
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.files import WORKBOOKS, PathLike, ending, naming, read_lines, read_npy
from glocal.similarity import Labels, Numbers

if TYPE_CHECKING:
    import pandas as pd

Superclasses = Mapping[Any, str]
"""The superclass of each class; classes may be texts even if labels are integers."""
_ONE_LABEL_A_ROW = "labels must be one integer or name per row."
# the titles of a column that names rows; pandas leaves the title of an index empty
_NAMES_TITLE = re.compile(
    r"(image|file|file_?name|path|name|id|index|item|object|unnamed: \d+)?", re.IGNORECASE
)


class LabelledRows(NamedTuple):
    """The features of the rows that have a label, and the label of each."""

    features: Features
    labels: Labels


class RowLabels(NamedTuple):
    """The numbers of the rows that have a label, and the label of each."""

    rows: Numbers
    labels: Labels


def row_labels(labels: Any, n: int | None = None, source: str = "labels") -> RowLabels:
    """Read labels in Python; rows without one are left out, and a DataWarning counts them.

    Parameters
    ----------
    labels : array, list, Series or Categorical of integers or names, one a row
        None, NaN, NA of pandas, a value that a Categorical lacks (its code is -1) and an empty text
        are no label; -1 among numbers is one. Whole numbers of any type become int64.
    n : int or None
        The number of rows.
    source : str
        What messages call the labels.

    Raises
    ------
    DataError
        If the labels are not as many as the rows or of another type, or no row has one.

    Examples
    --------
    >>> row_labels([3.0, 3.0]).labels.tolist()
    [3, 3]
    """
    import pandas as pd

    values = np.array(labels, dtype=object)
    if values.ndim == 2 and 1 in values.shape:
        values = values.reshape(-1)
    if values.ndim != 1:
        raise DataError(f"{source} have shape {values.shape}; {_ONE_LABEL_A_ROW}")
    if n is not None and len(values) != n:
        first = f", the first of them {values[0]!r}," if len(values) else ""
        raise DataError(
            f"{source} has {len(values)} labels{first} but there are {n} rows. Give one label per "
            "row, in their order, without a title."
        )
    values[pd.isna(values)] = ""
    rows = np.flatnonzero(values != "")
    if not len(rows):
        raise DataError(f"{source} has no label in any of its {len(values)} rows.")
    typed = _typed(values[rows], source)
    if len(rows) < len(values):
        n_missing = len(values) - len(rows)
        warn(
            f"{source}: {n_missing} of {len(values)} rows have no label; they are left out.",
            DataWarning,
        )
    return RowLabels(rows, typed)


def _typed(values: np.ndarray, source: str) -> Labels:
    """Labels as an array of int64 or str."""
    array = np.array(values.tolist())
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind in "iuf":
        with np.errstate(invalid="ignore"):  # of infinity
            integers = array.astype(np.int64)
        if (integers == array).all():
            return integers
    raise DataError(f"{source} holds {array.dtype} such as {values[0]!r}; {_ONE_LABEL_A_ROW}")


def load_labels(path: PathLike, features: Features) -> LabelledRows:
    """Read the labels of rows; rows without a label are left out, and a DataWarning counts them.

    The first column of a table with the title image, file, file_name, filename, path, name, id,
    index, item or object, or without a title, has the names of rows; one that only counts the lines
    is taken if there is no other. If the features have names too, labels are joined by the rule of
    `glocal.data.names`. Otherwise label i belongs to row i, which a DataWarning says if one of the
    two has names.

    Parameters
    ----------
    path : path
        ``.npy`` with (n,) integers or strings; a text file with one label per line; or a column of
        a table with titles, ``FILE.csv:COLUMN``. Labels in text are read as integers if all of them
        are integers, else as names; 007 and 1_0 are names.
    features : Features
        The rows.

    Raises
    ------
    FileError
        If the file is missing, damaged or pickled.
    DataError
        If there is no column of that title, its names are none of the features' or have two labels,
        labels in the order of the rows are not as many, or no row has one.
    ParameterError
        If the column has no title.
    """
    n = len(features)
    file, column = split_column(path)
    if ending(file) == ".npy":
        fix = "Save strings with numpy.save(path, labels.astype('U')), or one per line as text."
        array = read_npy(file, what="labels", fix=fix)
        rows, labels = row_labels(array, n, str(path))
    else:
        cells = _lines(file) if column is None else _cells(file, column, features)
        rows, labels = row_labels(cells, n, str(path))
        numbers = as_integers(labels.tolist())
        labels = labels if numbers is None else numbers
    if len(rows) < n:
        has_label = np.zeros(n, dtype=bool)
        has_label[rows] = True
        features = features.select(has_label)
    return LabelledRows(features, labels)


def _lines(file: Path) -> list[str]:
    """The labels of a file that holds nothing else; empty for a line without a label."""
    lines = read_lines(file, what="labels")
    if lines and ending(file) in TABLES:
        first = lines[0]
        if re.search("[,;\t]", first):
            raise DataError(
                f"{file} is a table ({first[:120]}); labels must be one of its columns. Name the "
                f"column: {file}:COLUMN."
            )
    return ["" if line == '""' else line for line in lines]  # as pandas writes a missing label


def _cells(file: Path, column: str, features: Features) -> list[str]:
    """The label of each row in a column of a table, by name or by line; empty without one."""
    table = read_table(file, what="labels")
    with naming(file):
        labels = column_of_table(table, column).tolist()
        others = table.drop(columns=column)
        names = _names(others, features)
        has_names = features.names is not None
        if has_names and names is not None:
            return _joined(names, labels, features)
    if has_names or names is not None:
        lacking = "the table of labels" if has_names else features.source
        warn(
            f"{lacking} has no names of rows: label i is taken to be that of row i. Names stand "
            "in a file_names.txt beside the features, and in the column `name` of the table.",
            DataWarning,
        )
    return labels


def _names(table: pd.DataFrame, features: Features) -> list[str] | None:
    """The names of the rows that a table has; None if it has none."""
    titles = [title for title in table if _NAMES_TITLE.fullmatch(title)]
    columns = [table[title].tolist() for title in titles]
    for names in columns:
        is_count = counts_rows(names, 0) or counts_rows(names, 1)
        if not is_count:
            return names
    if columns and features.names is not None:
        return columns[0]
    return None


def _joined(names: list[str], labels: list[str], features: Features) -> list[str]:
    """The label of each row by its name in the lines of a table; empty without one."""
    rows = features.names or ()
    entry_of = matching_entries(rows, filter(None, names))
    if not entry_of:
        raise DataError(
            f"none of its names (first {names[0]!r}) is a name of {features.source} (first "
            f"{rows[0]!r}). Write both alike; or, to give the labels in the order of the rows, "
            "write a file of the labels alone: one per line, or .npy."
        )
    label_of: dict[str, str] = {}
    entries = set(entry_of.values())
    for name, label in zip(names, labels, strict=True):
        if not label or name not in entries:
            continue
        first = label_of.setdefault(name, label)
        if label != first:
            raise DataError(
                f"it has {name!r} twice, with the labels {first!r} and {label!r}. Keep one of the "
                "lines."
            )
    return [label_of.get(entry_of.get(name, ""), "") for name in rows]


def split_column(path: PathLike) -> tuple[Path, str | None]:
    """Return the file and the column of ``FILE.csv:COLUMN``; the column of any other path is None.

    >>> file, column = split_column("labels.csv:kind of article")
    >>> file.name, column
    ('labels.csv', 'kind of article')
    """
    file, colon, column = str(path).rpartition(":")
    if not colon or ending(file) not in (*TABLES, *WORKBOOKS):
        return Path(path), None
    if not column:
        raise ParameterError(f"{path} names no column of labels; write {file}:COLUMN.")
    return Path(file), column


def class_names(names: Iterable[object]) -> list[str]:
    """The names of classes as `load_labels` reads them: if all are whole numbers, 3.0 is 3.

    >>> class_names(["0.0", "3"]), class_names(["0.0", "cat"])
    (['0', '3'], ['0.0', 'cat'])
    """
    texts = [str(name) for name in names]
    numbers = as_integers(texts)
    if numbers is None:
        return texts
    return [str(number) for number in numbers.tolist()]


def load_superclasses(path: PathLike) -> dict[str, str]:
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
    class_title, group_title = table.columns
    names = class_names(table[class_title])
    groups = table[group_title].tolist()
    group_of: dict[str, str] = {}
    for name, group in zip(names, groups, strict=True):
        if not group:
            continue
        first = group_of.setdefault(name, group)
        if group != first:
            raise DataError(
                f"{path} puts {name} into {first} and into {group}, but each class can be in only "
                "one superclass. Keep one of the lines."
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

    names = class_names(superclass_of)
    text_of = dict(zip(names, superclass_of.values(), strict=True))
    superclasses = pd.Series(labels).astype(str).map(text_of).dropna()
    if superclasses.empty:
        raise DataError(
            f"none of the {len(labels)} {part} is of a class that has a superclass: images "
            f"have classes such as {labels[0]}, and superclasses have classes such as "
            f"{next(iter(text_of))}. Write the classes of both as the same names or numbers."
        )
    rows = superclasses.index.to_numpy()
    return rows, superclasses.to_numpy(dtype=np.str_)
