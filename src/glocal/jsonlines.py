"""Files of JSON lines, whose rows are appended whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from glocal.errors import FileError
from glocal.files import PathLike, read_lines, write_text, writing
from glocal.results import to_json


def write_rows(path: PathLike, rows: Iterable[Any]) -> None:
    """Write rows to a JSON-lines file, whole or not at all."""
    text = _lines(rows)
    write_text(path, text)


def _lines(rows: Iterable[Any]) -> str:
    lines = [to_json(row) + "\n" for row in rows]
    return "".join(lines)


def append_rows(path: PathLike, rows: Iterable[Any]) -> None:
    """Append rows to a JSON-lines file in one write, so that parallel writers never mix lines.

    If a killed writer left the last line incomplete, the new lines start on a new line.
    """
    text = _lines(rows)
    with writing(path), open(path, "a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            is_complete = stream.read(1) == b"\n"
            text = text if is_complete else "\n" + text
        content = text.encode()
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(
    path: PathLike, required: Iterable[str] = (), *, what: str = "results"
) -> list[dict[str, Any]]:
    """Read a JSON-lines file whose rows must have the `required` keys.

    Lines that a killed writer left incomplete are skipped.

    Raises
    ------
    FileError
        The file is missing, or a line is neither such a row nor the beginning of one.
    """
    rows = []
    required_keys = set(required)
    lines = read_lines(path, what=what)
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is not an object")
            missing = sorted(required_keys - row.keys())
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
        except (ValueError, RecursionError) as error:
            position = getattr(error, "pos", 0)
            ends_early = position >= len(line) or "Unterminated" in str(error)
            is_closed = line.endswith("}") and not ends_early
            if is_closed or not line.startswith("{"):
                raise FileError(
                    f"{what} file {path} line {number} is damaged ({error}). Remove that line."
                ) from error
        else:
            rows.append(row)
    return rows
