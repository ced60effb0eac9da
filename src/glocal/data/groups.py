"""Groups of names: the superclasses of classes, and the categories of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped

from glocal.data.tables import read_table
from glocal.errors import DataError
from glocal.files import PathLike


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
