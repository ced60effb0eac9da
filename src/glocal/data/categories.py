"""Superordinate categories of objects: one name an object, from a table with a line for each."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from glocal.data.features import object_name
from glocal.errors import DataError, FileError
from glocal.files import PathLike, read_lines

OTHER = "other"


def load_categories(path: PathLike, ids: Sequence[str]) -> Shaped[np.ndarray, " n"]:
    """Read the category of each object.

    Parameters
    ----------
    path : path
        ``.csv`` with commas, anything else with tabs; the first line names the columns. Either (object, category), or
        one column a category with 0 or 1, as THINGS' 27 categories are published, with or without a first column of
        object names. Without names, line i is object ``ids[i]``.
    ids : names
        The objects; folder and extension are ignored.

    Returns
    -------
    (n,) str array
        ``"other"`` where an object is in none; of several categories the one with fewest objects, which says most.

    Raises
    ------
    FileError
        Missing, or not such a table.
    DataError
        Another number of lines than objects.
    """
    path = Path(path)
    separator = "," if path.suffix.lower() == ".csv" else "\t"
    # NOTE tabs at the ends of a line are stripped: an empty field there makes a line too short, which is said
    raw = [line for line in read_lines(path, what="categories") if line]
    if not raw:
        raise FileError(f"categories file {path} is empty. Write one line an object.")
    header, *lines = list(csv.reader(raw, delimiter=separator))
    if not lines or any(len(line) != len(header) for line in lines):
        raise FileError(
            f"categories file {path} is not a table with a line of column names and as many columns in every line. "
            "Write (object, category), or one column of 0 and 1 a category."
        )
    numeric = [all(line[column].strip() in ("0", "1") for line in lines) for column in range(len(header))]
    if all(numeric):
        if len(lines) != len(ids):
            raise DataError(
                f"categories file {path} has {len(lines)} lines but there are {len(ids)} objects. "
                "Give one line an object in their order, or a first column with their names."
            )
        return _fewest(np.array(lines, dtype=np.int8), header)
    names = [object_name(line[0]) for line in lines]
    if all(numeric[1:]) and len(header) > 1:
        found = dict(zip(names, _fewest(np.array([line[1:] for line in lines], np.int8), header[1:]), strict=True))
    elif len(header) == 2:
        found = {name: line[1].strip() or OTHER for name, line in zip(names, lines, strict=True)}
    else:
        raise FileError(
            f"categories file {path} has {len(header)} columns that are neither (object, category) nor 0 and 1."
        )
    return np.array([found.get(object_name(name), OTHER) for name in ids])


def _fewest(member: np.ndarray, names: Sequence[str]) -> np.ndarray:
    sizes = np.where(member > 0, member.sum(axis=0), np.iinfo(np.int64).max)
    chosen = np.array([name.strip() for name in names])[sizes.argmin(axis=1)]
    return np.where(member.any(axis=1), chosen, OTHER)
