"""Bring answers and features together by name, so that nothing is silently misaligned."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from glocal.data.answers import Answers
from glocal.data.features import Features, object_name
from glocal.errors import DataError


@dataclass(frozen=True, eq=False)
class Joined:
    """Answers as rows of the features, which of those given survived, and how many have an object without features."""

    answers: Answers
    kept: Bool[np.ndarray, " t"]
    n_dropped: int


def join(features: Features, answers: Answers, object_ids: Sequence[str] | None = None) -> Joined:
    """Express answers in rows of `features`.

    Parameters
    ----------
    features : Features
        With names if `object_ids` is given.
    answers : Answers
        Indices name rows of `features`, or entries of `object_ids` if that is given.
    object_ids : sequence of str, or None
        The list of objects that the answers index, not the path of such a list; folder and extension are ignored.
        None takes the `names` of the answers, if they have any and the features have names too.

    Raises
    ------
    DataError
        An index out of range, no or repeated names, or no answer left.
    """
    if object_ids is None and answers.names is not None:
        if features.names is not None:
            object_ids = answers.names
        elif len(answers.names) != len(features):
            raise DataError(
                f"the answers name {len(answers.names)} objects but {features.source} has {len(features)} rows and no "
                "names to join them with. Put a file_names.txt with one line per row beside it."
            )
    if object_ids is None:
        answers.check_range(len(features))
        joined = Joined(answers, np.ones(len(answers), dtype=bool), 0)
    else:
        rows = feature_rows(features, object_ids)
        answers.check_range(len(rows), what="the list of object ids", unit="lines")
        mapped, dropped = answers.relabel(rows)
        joined = Joined(mapped, answers.inside(rows >= 0)[1], dropped)
    if not len(joined.answers):
        raise DataError(
            f"no answer is left: {len(answers)} were given and {joined.n_dropped} name an object without features. "
            "Check that the answers, the object ids and the features belong together."
        )
    return joined


def feature_rows(features: Features, object_ids: Sequence[str]) -> Int[np.ndarray, " k"]:
    """For each object id the row of its features, or -1 where it has none.

    Folders and extensions are ignored; folders count where all have one and names repeat without them.
    """
    if isinstance(object_ids, (str, os.PathLike)):
        raise DataError(
            f"`object_ids` is the text {os.fspath(object_ids)!r}; give the names themselves. "
            f"Read a file of names with pathlib.Path({os.fspath(object_ids)!r}).read_text().splitlines()."
        )
    if features.names is None:
        raise DataError(
            f"object ids were given but {features.source} has no names to join them with. "
            f"Put a file_names.txt with one line per row, {len(features)} here, beside it."
        )
    key = _key(features.names, object_ids)
    row_of = _unique_index(features.names, f"names of {features.source}", key)
    wanted = _unique_index(object_ids, "object ids", key)
    rows = np.array([row_of.get(name, -1) for name in wanted], dtype=np.int64)
    if (rows < 0).all():
        raise DataError(
            f"none of the {len(object_ids)} object ids (first {object_ids[0]!r}) is a name of {features.source} "
            f"(first {features.names[0]!r}). Check that both lists name the same objects."
        )
    return rows


def _key(*lists: Sequence[str]) -> Callable[[str], str]:
    """What identifies an object in these lists: its name, or its path where names repeat and all of them are paths."""
    paths = [list(map(_path, names)) for names in lists]
    repeated = any(len(set(map(object_name, names))) < len(names) for names in paths)
    return _path if repeated and all("/" in name for names in paths for name in names) else object_name


def _path(name: str) -> str:
    folder, slash, _ = name.replace("\\", "/").rpartition("/")
    return f"{folder}{slash}{object_name(name)}"


def _unique_index(names: Sequence[str], what: str, key: Callable[[str], str]) -> dict[str, int]:
    index: dict[str, int] = {}
    for position, name in enumerate(map(key, names)):
        if name in index:
            raise DataError(
                f"the {what} hold {name!r} twice (lines {index[name] + 1} and {position + 1}, "
                f"{'folder and ' if key is object_name else ''}extension ignored); names must differ."
            )
        index[name] = position
    return index
