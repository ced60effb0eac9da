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
    write_text(path, _lines(rows))


def _lines(rows: Iterable[Any]) -> str:
    return "".join(to_json(row) + "\n" for row in rows)


def append_rows(path: PathLike, rows: Iterable[Any]) -> None:
    """Append rows to a JSON-lines file in one write, so that parallel writers never mix lines.

    If a killed writer left the last line incomplete, the new lines start on a new line.
    """
    text = _lines(rows)
    with writing(path), open(path, "a+b") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            text = text if stream.read(1) == b"\n" else "\n" + text
        stream.write(text.encode())
        stream.flush()
        os.fsync(stream.fileno())


def read_rows(
    path: PathLike, needed: Iterable[str] = (), *, what: str = "results"
) -> list[dict[str, Any]]:
    """Read a JSON-lines file whose rows must have the `needed` keys.

    Lines that a killed writer left incomplete are skipped.

    Raises
    ------
    FileError
        The file is missing, or a line is neither such a row nor the beginning of one.
    """
    rows = []
    for number, line in enumerate(read_lines(path, what=what), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("it is not an object")
            if lacking := set(needed) - row.keys():
                raise ValueError(f"it lacks {', '.join(lacking)}")
        except (ValueError, RecursionError) as error:
            ends_early = getattr(error, "pos", 0) >= len(line) or "Unterminated" in str(error)
            if not line.startswith("{") or (line.endswith("}") and not ends_early):
                raise FileError(
                    f"{what} file {path} line {number} is damaged ({error}). Remove that line."
                ) from error
        else:
            rows.append(row)
    return rows
