"""Labels of feature rows, and superclasses of these classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.columns import as_integers
from glocal.data.features import Features
from glocal.data.names import matching_entries
from glocal.data.tables import TABLES, column_of_table, holds_names, read_table
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.files import WORKBOOKS, PathLike, ending, naming, read_lines, read_npy
from glocal.similarity import Labels

if TYPE_CHECKING:
    import pandas as pd

Superclasses = Mapping[Any, str]
"""The superclass of each class; classes may be texts even if labels are integers."""
_MIN_SHARE_OF_NAMES = 0.9  # of the rows or of the lines, for a column that names the rows


class LabelledRows(NamedTuple):
    """The features of the rows that have a label, and the label of each."""

    features: Features
    labels: Labels


def load_labels(path: PathLike, features: Features) -> LabelledRows:
    """Read the labels of rows; rows without a label are left out, and a DataWarning counts them.

    If the features have names and the table another column, labels are joined by name: by the rule
    of `glocal.data.names`, and by the column that holds the names of nine in ten rows, or whose
    lines name rows in nine of ten cases. Otherwise label i is that of row i.

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
        If there is no column of that title, no column or more than one holds the names of the rows,
        a name has two labels, labels in the order of the rows are not as many, or no row has one.
    """
    file, column = split_column(path)
    if ending(file) == ".npy":
        fix = "Save strings with numpy.save(path, labels.astype('U')), or one per line as text."
        array = np.array(read_npy(file, what="labels", fix=fix))
        return LabelledRows(features, check_labels(array, len(features), str(path)))
    if column is None:
        cells = _lines(file)
    else:
        with naming(file):
            cells = _cells(read_table(file, what="labels", blanks=False), column, features)
    has_label = np.array([cell != "" for cell in cells], dtype=bool)
    labels = np.array(cells, dtype=np.str_)[has_label]
    _check_number(cells, features, path)
    if not has_label.all():
        n_missing = len(cells) - len(labels)
        warn(
            f"{path}: {n_missing} of {len(cells)} rows have no label; they are left out.",
            DataWarning,
        )
        features = features.select(has_label)
    numbers = as_integers(labels.tolist())
    return LabelledRows(
        features, check_labels(labels if numbers is None else numbers, len(labels), str(path))
    )


def _lines(file: Path) -> list[str]:
    """The labels of a file that holds nothing else; empty for a line without a label."""
    lines = read_lines(file, what="labels")
    if ending(file) in TABLES and lines and re.search("[,;\t]", lines[0]):
        raise DataError(
            f"{file} is a table ({lines[0][:120]}); labels must be one of its columns. Name the "
            f"column: {file}:COLUMN."
        )
    return ["" if line == '""' else line for line in lines]  # as pandas writes a missing label


def _cells(table: pd.DataFrame, column: str, features: Features) -> list[str]:
    """The label of each row in a column of a table, by name or by line; empty without one."""
    labels = column_of_table(table, column)
    others = table.drop(columns=column)
    if features.names is not None and others.shape[1]:
        return _joined(labels, others, features)
    names = next((title for title in others if holds_names(others[title])), None)
    if names is not None:
        warn(
            f"the labels have names ({names}) but {features.source} has none: label i is taken to "
            "be that of row i. Put a file_names.txt with one line per row beside the features.",
            DataWarning,
        )
    return labels.tolist()


class _Column(NamedTuple):
    """A column of a table as names of rows: the label that it gives each row, or empty.

    `share` is that of the rows that it names or, if larger, of its lines that name a row. `fault`
    is a sentence about names that do not give one label, or empty.
    """

    title: str
    share: float
    row_labels: list[str]
    fault: str


def _joined(labels: pd.Series, others: pd.DataFrame, features: Features) -> list[str]:
    """The label of each row by the column that holds the names of the rows."""
    columns = [_as_names(others[title], labels, features) for title in others]
    best = max(columns, key=lambda column: (column.share, column.fault))
    fault = best.fault
    if not fault and best.share < _MIN_SHARE_OF_NAMES:
        assert features.names is not None
        fault = (
            f"no column holds the names of {features.source}, such as {features.names[0]!r}: the "
            f"column {best.title!r}, such as {others[best.title].iloc[0]!r}, comes closest with a "
            f"share of {best.share:.2f}, and {_MIN_SHARE_OF_NAMES:g} of the rows or lines must "
            "match. Write both alike."
        )
    for column in columns:
        pairs = zip(best.row_labels, column.row_labels, strict=False)
        differs = any(label != other for label, other in pairs if label and other)
        if differs and not fault and column.share >= _MIN_SHARE_OF_NAMES:
            fault = (
                f"the columns {best.title!r} and {column.title!r} both hold names of rows, and "
                "give them different labels. Remove one of them from the table."
            )
    if fault:
        raise DataError(
            f"{fault} To give the labels in the order of the rows, write a file of the labels "
            "alone: one per line, or .npy."
        )
    return best.row_labels


def _as_names(column: pd.Series, labels: pd.Series, features: Features) -> _Column:
    """Take a column of a table as the names of rows."""
    assert features.names is not None
    filled = column[column != ""]
    if filled.nunique() < _MIN_SHARE_OF_NAMES * min(len(filled), len({*features.names})):
        return _Column(str(column.name), 0.0, [], "")  # such as a number of the class
    entry_of, fault = matching_entries(features.names, filled.tolist())
    n_rows = sum(name in entry_of for name in features.names)
    named = {*entry_of.values()}
    share = max(n_rows / len(features), len(named) / max(1, len(filled)))
    label_of: dict[str, str] = {}
    for entry, label in zip(column.tolist(), labels.tolist(), strict=True):
        is_new = not label or entry not in named or label_of.setdefault(entry, label) == label
        if not is_new and share >= _MIN_SHARE_OF_NAMES and not fault:
            fault = (
                f"the column {column.name!r} has {entry!r} twice, with the labels "
                f"{label_of[entry]!r} and {label!r}. Keep one of the lines."
            )
    row_labels = [label_of.get(entry_of.get(name, ""), "") for name in features.names]
    return _Column(str(column.name), share, row_labels, fault)


def _check_number(cells: list[str], features: Features, path: PathLike) -> None:
    """Raise a DataError if labels in the order of the rows are not as many as these."""
    if len(cells) != len(features):
        first = f" The first is {cells[0]!r}." if cells else ""
        raise DataError(
            f"{path} has {len(cells)} labels but there are {len(features)} rows. Give one label "
            f"per row, in their order, without a title, or name the column of a table: "
            f"FILE.csv:COLUMN.{first}"
        )
    if not any(cells):
        raise DataError(f"{path} has no label in any of its {len(cells)} rows.")


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
            "their order."
        )
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels


def class_names(names: Iterable[object]) -> list[str]:
    """The names of classes as `load_labels` reads them: if all are whole numbers, 3.0 is 3.

    >>> class_names(["0.0", "3"]), class_names(["0.0", "cat"])
    (['0', '3'], ['0.0', 'cat'])
    """
    texts = [str(name) for name in names]
    numbers = as_integers(texts)
    return texts if numbers is None else [str(number) for number in numbers.tolist()]


def load_superclasses(path: PathLike) -> dict[str, str]:
    """Read the superclass of each class from a table of two columns with titles.

    Raises
    ------
    FileError
        If the file is missing or is not readable text.
    DataError
        If the table has other columns, or puts a class into several superclasses.
    """
    table = read_table(path, what="superclasses", blanks=False)
    if table.shape[1] != 2:
        raise DataError(
            f"{path} has {table.shape[1]} columns, but a table of superclasses has two: the class "
            "and its superclass."
        )
    classes, groups = (table[title].tolist() for title in table)
    group_of: dict[str, str] = {}
    for name, group in zip(class_names(classes), groups, strict=True):
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

    text_of = dict(zip(class_names(superclass_of), superclass_of.values(), strict=True))
    superclasses = pd.Series(labels).astype(str).map(text_of).dropna()
    if superclasses.empty:
        raise DataError(
            f"none of the {len(labels)} {part} is of a class that has a superclass: images "
            f"have classes such as {labels[0]}, and superclasses have classes such as "
            f"{next(iter(text_of))}. Write the classes of both as the same names or numbers."
        )
    return superclasses.index.to_numpy(), superclasses.to_numpy(dtype=np.str_)
