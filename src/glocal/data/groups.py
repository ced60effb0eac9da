"""Superclasses of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.tables import read_table
from glocal.errors import DataError
from glocal.files import PathLike
from glocal.similarity import Labels


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
    labels: Labels, superclass_of: Mapping[Any, str], part: str = "labelled"
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
