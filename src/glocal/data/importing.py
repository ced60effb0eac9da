"""Read the answer files of other systems, or of other conventions, into `Answers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glocal.data.answers import Answers, read_archive
from glocal.data.tables import has_titles, read_list, read_numbers
from glocal.data.trials import Trials, read_trials
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, ending, file_sha256, naming, read_lines


class Imported(NamedTuple):
    """Answers, the number of trials left out for each reason, and how the file was read."""

    answers: Answers
    dropped: dict[str, int]
    interpretation: dict[str, Any]


def import_answers(
    path: PathLike, *, names: PathLike | Sequence[str] | None = None, **options: Any
) -> Imported:
    """Read answers from a file of another system.

    The file is a table (see `read_trials`), or else rows of integers (`read_rows`). THINGS numbers
    objects in the order of their collection, which its sort index (`order`) maps to the order of
    `names`.

    Parameters
    ----------
    path : path
    names : path or sequence of str, or None
        The objects in the order of their indices; a file has one per line.
    **options
        The options of the function that reads the file; None means the default.

    Raises
    ------
    ParameterError
        If the function that reads the file does not have an option.
    FileError, DataError
        If the file is missing, damaged or of another form.
    """
    options = {name: value for name, value in options.items() if value is not None}
    read, allowed = _reader(path)
    if unknown := [name for name in options if name not in allowed]:
        raise ParameterError(
            f"`{unknown[0]}` does not apply to {path}; the options of such a file are "
            f"{', '.join(allowed)}."
        )
    listed = read_lines(names, what="object ids") if isinstance(names, str | Path) else names
    arguments, dropped, interpretation = read(path, names=listed, **options)
    with naming(path):
        answers = Answers.from_array(**arguments)
    if answers.names is not None:
        answers.check_range(len(answers.names), what="the list of object ids", unit="lines")
    stated = {
        name: value.name if isinstance(value, Path) else value for name, value in options.items()
    }
    origin = {"file": Path(path).name, "sha256": file_sha256(path), **stated, **interpretation}
    return Imported(answers, dropped, origin)


def _reader(path: PathLike) -> tuple[Callable[..., Trials], tuple[str, ...]]:
    """The function that reads a file, and the names of its options."""
    if ending(path) == ".npz":
        return read_rows, ("kind",)
    if not has_titles(path):
        return read_rows, ("kind", "odd_column", "base", "order")
    return read_trials, ("columns", "where", "base", "place_base")


def read_rows(
    path: PathLike,
    *,
    names: Sequence[str] | None = None,
    order: PathLike | None = None,
    **conventions: Any,
) -> Trials:
    """Read rows of integers with stated conventions, or an ``.npz`` that does not state its kind.

    Parameters
    ----------
    path, order : path
        The file of the rows, and that of the sort index (text or ``.npy``).
    names : sequence of str or None
        The objects in the order of their indices.
    **conventions
        ``kind``, ``odd_column`` and ``base`` of `Answers.from_array`.
    """
    if ending(path) == ".npz":
        rows = read_archive(path)
        if "kind" in rows or not conventions:
            raise DataError(
                f"{path} needs no import: every command reads an .npz file of answers. `kind` is "
                "for a file that does not state it."
            )
    else:
        rows = {"array": read_numbers(path, what="answers")}
    if order is not None:
        rows["order"] = read_list(order, what="order")
    return Trials({"names": names} | rows | conventions, {}, {})
