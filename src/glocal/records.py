"""Results on disk: the record of a fit, where a result came from, and lines of JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glocal.errors import FileError
from glocal.files import PathLike, read_lines, unwritable
from glocal.files.documents import check_depth

Kinds = tuple[type, ...]
TEXT: Kinds = (str,)
NUMBER: Kinds = (int, float)
NULL = type(None)


@dataclass(frozen=True)
class Provenance:
    """Where a result comes from: version, data hashes, seed and hardware."""

    version: str
    data: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    device: str = "cpu"
    machine: str = field(default_factory=platform.machine)
    python: str = field(default_factory=platform.python_version)
    threads: int | None = None


@dataclass(frozen=True)
class FitRecord:
    """Everything a fit reports about itself; the ``--json`` of ``glocal fit`` and part of the transform file.

    `parts` are unweighted; `gap` bounds or estimates how far `objective` lies above the optimum
    (None where no such bound is known); `status` is ``"converged"``, ``"stationary"``, ``"budget"`` or ``"stalled"``.
    `rank` is the number of directions that were fitted where there are fewer rows than columns, else None.
    `gathered` says that the objects were too many for an n × n matrix. Of the mini-batch solver, which is never
    converged and has no `tol`, `evaluations` are its `steps`, `n_fitted` the answers outside the fold that its stopping
    rule watched, and `watched` the scores of that fold (both None where it watched what it fitted).
    """

    method: str
    alpha: float | None
    lmbda: float
    tau: float | None
    bias: bool
    squared: bool
    objective: float
    parts: dict[str, float]
    converged: bool
    status: str
    reason: str
    gap: float | None
    certificate: str
    gradient_norm: float
    evaluations: int
    seconds: float
    n_triplets: int
    n_dropped: int
    n_objects: int
    n_local: int
    block_size: int | None
    start_scale: float
    tol: float | None
    dtype: str
    lambda_max: float | None = None
    holdout: dict[str, Any] | None = None
    provenance: Provenance | None = None
    rank: int | None = None
    n_local_blocks: int | None = None
    local_standardized: bool | None = None
    profile: str = "modern"
    solver: str = "lbfgs"
    gathered: bool = False
    eta: float | None = None
    optimiser: str | None = None
    epochs: int | None = None
    steps: int | None = None
    n_fitted: int | None = None
    watched: dict[str, Any] | None = None
    mix: float | None = None


def to_json(value: Any) -> str:
    """One line of strict ASCII JSON; NaN and infinities become null, dataclasses become objects."""
    return json.dumps(_plain(value), allow_nan=False)


def append_rows(path: PathLike, rows: Iterable[Any]) -> None:
    """Append rows to a JSON-lines file in one write, so that parallel writers never mix lines.

    After a line cut by a killed writer they start on a line of their own.

    Raises
    ------
    FileError
        The file cannot be written.
    """
    text = "".join(to_json(row) + "\n" for row in rows)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            _write_all(descriptor, _missing_newline(descriptor) + text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unwritable(Path(path), error) from error


def read_rows(
    path: PathLike, needed: Mapping[str, Kinds] = {}, known: Mapping[str, Kinds] = {}
) -> list[dict[str, Any]]:
    """Read a JSON-lines file; lines cut by a killed writer, wherever they stand, are left out.

    Parameters
    ----------
    path : path
    needed, known : mapping
        The types that values must have under keys that each row must have, or may have.

    Raises
    ------
    FileError
        The file is missing, or a line is neither such an object nor the beginning of one.
    """
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(read_lines(path, what="score"), start=1):
        try:
            row = _parsed(line) if line else None
            check_depth(row)
        except json.JSONDecodeError as error:
            if _is_cut(line, error):
                continue
            raise FileError(f"score file {path} line {number} is not JSON. Remove that line.") from error
        except (RecursionError, ValueError) as error:
            raise FileError(f"score file {path} line {number} is nested too deep. Remove that line.") from error
        if not line:
            continue
        if not isinstance(row, dict):
            raise FileError(f"score file {path} line {number} is not a JSON object. Remove that line.")
        lacking = [key for key in needed if key not in row]
        if lacking:
            raise FileError(
                f"{path} line {number} is not a row of a run: it lacks {', '.join(lacking)}. Remove that line."
            )
        for key, kinds in {**known, **needed}.items():
            if key in row and type(row[key]) not in kinds:
                raise FileError(
                    f"{path} line {number} is not a row of a run: its {key} is {to_json(row[key])[:40]}, not "
                    f"{' or '.join(_IN_WORDS[kind] for kind in kinds if kind is not float)}. Remove that line."
                )
            if float in kinds and isinstance(row.get(key), float) and math.isinf(row[key]):
                raise FileError(
                    f"{path} line {number} is not a row of a run: its {key} is infinite; allowed are finite numbers, "
                    "and null for what is not defined. Remove that line."
                )
        rows.append(row)
    return rows


_IN_WORDS = {str: "text", int: "a number", NULL: "null", bool: "true or false", list: "a list", dict: "an object"}


def _parsed(line: str) -> Any:
    row = json.loads(line, parse_int=_whole)
    if "\\ud" in line.lower():  # half a pair of surrogates, which no file can hold, becomes a question mark
        row = json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"), parse_int=_whole)
    return row


def _whole(digits: str) -> int | float:
    """A whole number as JSON has it; one that no array could hold becomes a float."""
    return int(digits) if len(digits) < 19 else float(digits)


def _is_cut(line: str, error: json.JSONDecodeError) -> bool:
    """Whether a line is the beginning of an object whose rest was never written.

    It need not be the last one: writers who come later begin a line of their own, since cutting the file could remove
    what another process is writing.
    """
    unfinished = error.pos >= len(line) or error.msg.startswith("Unterminated string")
    return line.startswith("{") and (unfinished or not line.endswith("}"))


def _missing_newline(descriptor: int) -> bytes:
    """The newline that the last line lacks, else nothing."""
    if not os.fstat(descriptor).st_size:
        return b""
    os.lseek(descriptor, -1, os.SEEK_END)
    return b"" if os.read(descriptor, 1) == b"\n" else b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte at the end of the file, or take back what a full disk let through."""
    size = os.fstat(descriptor).st_size
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:])
    except OSError:
        with contextlib.suppress(OSError):  # a device cannot be cut; the error that counts is the first one
            os.ftruncate(descriptor, size)
        raise


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value
