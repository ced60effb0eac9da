"""The formats of answers: who reads and who writes them, what each may be told, and how a file shows which it is."""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.answers import Answers
from glocal.data.answers_file import header_of, read_list
from glocal.data.importers import arrays, columns, matrices, systems, writers
from glocal.data.importers.trials import Imported, Options
from glocal.data.npz import member_header, member_names
from glocal.errors import DataError, FileError, GLocalError, ParameterError
from glocal.files import PathLike, read_lines
from glocal.jobs.leaving import existing_file, read_npy_header


@dataclass(frozen=True)
class Format:
    """One format: what it is, the function that reads it, the options it accepts, and its writer, if it has one."""

    what: str
    read: Callable[[PathLike, Options], Imported]
    options: tuple[str, ...]
    write: Callable[[Answers, PathLike], None] | None = None


_TABLE = ("columns", "where", "names", "base", "order")
_MADE = ("values", "limit", "seed")
FORMATS: dict[str, Format] = {
    "csv": Format("a table with named columns", columns.read_csv, _TABLE, writers.write_csv),
    "things": Format(
        "answers of THINGS", arrays.read_things, ("names", "base", "order", "odd_column"), writers.write_things
    ),
    "salmon": Format("salmon's responses", systems.read_salmon, ("where", "names"), writers.write_salmon),
    "cblearn": Format("cblearn's comparisons", arrays.read_cblearn, ("names", "base", "order"), writers.write_cblearn),
    "psiz": Format("PsiZ's rankings", arrays.read_psiz, ("names", "base", "order"), writers.write_psiz),
    "jspsych": Format("jsPsych's trials, JSON", systems.read_jspsych, _TABLE),
    "nights": Format("votes of NIGHTS (DreamSim)", systems.read_nights, ("where", "names")),
    "alignet": Format("AligNet's soft triplets", arrays.read_alignet, ("limit", "seed")),
    "matrix": Format("(dis)similarity matrices", matrices.read_matrix, ("names", "order", *_MADE)),
    "ratings": Format("ratings of pairs", matrices.read_ratings, (*_TABLE, *_MADE)),
}


def import_answers(
    path: PathLike, format: str, *, names: PathLike | Sequence[str] | None = None, order: PathLike | None = None,
    **options: Any,
) -> Imported:  # fmt: skip
    r"""Read answers from a file of another system.

    Parameters
    ----------
    path : path
    format : str
        One of `FORMATS`.
    names : path or sequence of str, or None
        The objects in the order of their indices; a file has one a line.
    order : path or None
        A sort index, as `Answers.load`.
    **options
        Those of `Options` that the format accepts.

    Returns
    -------
    Imported
        The answers, the trials that were left out by reason, and how the file was interpreted.

    Raises
    ------
    ParameterError
        An unknown format, or an option that it does not read.
    FileError, DataError
        Missing, damaged, or of another format, which is named if the file shows it.

    Examples
    --------
    >>> import tempfile; folder = tempfile.mkdtemp()
    >>> table = Path(folder, "answers.csv")
    >>> _ = table.write_text("anchor,left,right,chosen,person\negg,ball,cup,ball,ann\ncup,egg,ball,egg,ann\n")
    >>> found = import_answers(table, "csv")
    >>> found.answers.objects.tolist(), found.answers.names
    ([[2, 0, 1], [1, 2, 0]], ('ball', 'cup', 'egg'))
    """
    chosen = _format(format)
    told = {**options, "names": names, "order": order}
    default = Options()
    given = [field.name for field in fields(Options) if _differs(told.get(field.name), getattr(default, field.name))]
    unread = [name for name in given if name not in chosen.options]
    if unread:
        raise ParameterError(
            f"{_option(unread[0])} is not read by the format {format}; "
            f"it reads {', '.join(map(_option, chosen.options))}."
        )
    if told.get("values") not in (None, "similarity", "dissimilarity"):
        raise ParameterError(f"values is {told['values']!r}; allowed are similarity and dissimilarity.")
    if told.get("limit", 1) < 1:
        raise ParameterError(f"limit is {told['limit']}; at least 1 answer is needed.")
    if isinstance(names, str | Path):
        told["names"] = read_lines(names, what="object ids")
    if order is not None:
        told["order"] = read_list(order, what="order")
    try:
        found = chosen.read(path, Options(**{name: told[name] for name in given}))
    except (DataError, FileError) as error:
        other = likely_format(path)
        if other is None or other == format:
            raise type(error)(_about(path, error)) from error
        raise type(error)(
            f"{_about(path, error)} It looks like {FORMATS[other].what}: pass --format {other}."
        ) from error
    how = {name: told[name] for name in given if name not in ("names", "order")}
    with Path(path).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    origin = {"format": format, "file": Path(path).name, "sha256": digest}
    return replace(found, understood={**origin, **how, **found.understood})


def export_answers(answers: Answers, path: PathLike, format: str) -> None:
    """Write answers as another system reads them.

    Raises
    ------
    ParameterError
        An unknown format, or one that is only read.
    DataError
        The format cannot hold this kind of answers.
    """
    write = _format(format).write
    if write is None:
        able = ", ".join(name for name, one in FORMATS.items() if one.write)
        raise ParameterError(f"{format} is only read; formats that are written are {able}.")
    write(answers, path)


def likely_format(path: PathLike) -> str | None:
    """The format that the columns, keys or shape of a file show; None where they show none."""
    with contextlib.suppress(
        GLocalError, OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile
    ):
        return _shown(existing_file(path, what="answers"))
    return None


def _shown(path: Path) -> str | None:
    kind = path.suffix.lower()
    if kind in (".h5", ".hdf5"):
        return "psiz"
    if kind == ".npy":
        with path.open("rb") as stream:
            return _of_shape(read_npy_header(stream))
    if kind == ".npz":
        with zipfile.ZipFile(path) as archive:
            held = set(member_names(archive))
            keys = {"alignet": {"similarities"}, "psiz": {"stimulus_set"}, "cblearn": {"query"}}
            found = next((name for name, wanted in keys.items() if wanted <= held), None)
            if found is None and "coords" in held:
                return "cblearn" if member_header(archive, "coords").shape[0] in (3, 4) else None
            return found
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.readline(1 << 16)
    if first.lstrip()[:1] in ("[", "{"):
        return "jspsych"
    header = header_of(first)
    if header is None:
        cells = len(first.replace(",", " ").replace(";", " ").split())
        return "things" if cells == 3 else "matrix" if cells > 4 else None
    given = set(header)
    if set(systems.NIGHTS) <= given:
        return "nights"
    if set(systems.SALMON) <= given:
        return "salmon"
    named = dict.fromkeys(header, np.empty(0))
    roles = columns.roles_in(named, str(path), {}).keys()
    return "ratings" if {"a", "b", "rating"} <= roles else "csv" if {"reference", "a"} & roles else None


def _of_shape(header: Any) -> str | None:
    shape, whole = header.shape, header.dtype.kind in "iu"
    if len(shape) == 2 and whole and shape[1] in (3, 4):
        return "things" if shape[1] == 3 else "cblearn"
    return "matrix" if len(shape) in (2, 3) and shape[-1] == shape[-2] else None


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise ParameterError(f"there is no format {name!r}; formats are {', '.join(FORMATS)}.")
    return FORMATS[name]


def _differs(value: Any, default: Any) -> bool:
    return value is not None and not (isinstance(value, int | str | dict) and value == default)


def _option(name: str) -> str:
    return {"names": "--object-ids", "columns": "--column"}.get(name, "--" + name.replace("_", "-"))


def _about(path: PathLike, error: Exception) -> str:
    text = str(error)
    return text if str(path) in text else f"{path}: {text}"
