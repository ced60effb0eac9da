"""Read the answer files of other systems, or of other conventions, into `Answers`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from glocal.data.answer_tables import read_answers
from glocal.data.answers import Answers, read_archive
from glocal.data.tables import has_titles, read_list, read_numbers
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, ending, file_sha256, naming, read_lines


class Imported(NamedTuple):
    """Answers, the number of trials left out for each reason, and how the file was read."""

    answers: Answers
    dropped: dict[str, int]
    interpretation: Mapping[str, object]


def import_answers(
    path: PathLike,
    *,
    names: PathLike | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    kind: str | None = None,
    odd_column: int | None = None,
    base: int | None = None,
    order: PathLike | None = None,
) -> Imported:
    """Read answers from a file of another system.

    The file is a table (`glocal.data.answer_tables.read_answers`), or has rows of integers without
    titles, whose conventions are stated, or is an ``.npz`` that does not state its `kind`.

    Parameters
    ----------
    path : path
    names : path or sequence of str, or None
        The objects in the order of their indices; a file has one per line.
    columns : mapping or None
        The title in a table for each role, such as ``{"reference": "anchor"}``.
    kind, odd_column, base
        The conventions of rows of integers, as in `Answers.from_array`. A table takes `base` too.
    order : path or None
        The sort index of rows of integers, a text or ``.npy``. THINGS numbers objects in the order
        of their collection, which its sort index maps to the order of `names`.

    Raises
    ------
    ParameterError
        If an option does not apply to such a file.
    FileError, DataError
        If the file is missing, damaged or of another form.
    """
    allowed = ["kind", "odd_column", "base", "order"]
    if ending(path) == ".npz":
        allowed = ["kind"]
    elif has_titles(path):
        allowed = ["columns", "base"]
    conventions = {"kind": kind, "odd_column": odd_column, "base": base}
    options = {"columns": columns, **conventions, "order": order}
    stated = {name: value for name, value in options.items() if value is not None}
    for name in stated:
        if name not in allowed:
            raise ParameterError(
                f"`{name}` does not apply to {path}; the options of such a file are "
                f"{', '.join(allowed)}."
            )
    if isinstance(names, str | os.PathLike):
        names = read_lines(names, what="object ids")
    dropped: dict[str, int] = {}
    if "columns" in allowed:
        table, dropped = read_answers(path, columns=columns, names=names, base=base or 0)
        arguments = table._asdict()
    elif ending(path) == ".npz":
        arguments = {"names": names} | read_archive(path)
        if "kind" in arguments or kind is None:
            raise DataError(
                f"{path} needs no import: every command reads an .npz file of answers. `kind` is "
                "for a file that does not state it."
            )
    else:
        arguments = {"names": names, "array": read_numbers(path, what="answers")}
    arguments |= {name: stated[name] for name in conventions if name in stated}
    if order is not None:
        arguments["order"] = read_list(order, what="order")
    with naming(path):
        answers = Answers.from_array(**arguments)
    if answers.names is not None:
        answers.check_range(len(answers.names), what="the list of object ids", unit="lines")
    if order is not None:
        stated["order"] = Path(order).name
    origin = {"file": Path(path).name, "sha256": file_sha256(path), **stated}
    return Imported(answers, dropped, origin)
