"""The steps that a folder holds: each is known by what it was made from, and made again only where that changes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glocal._version import __version__
from glocal.results import append_rows, read_rows, to_json

_ROW = ("step", "key", "files", "result")


def key_of(*parts: Any) -> str:
    """A hash of what determines a step, the version of this package included."""
    return hashlib.sha256(to_json([__version__, *parts]).encode()).hexdigest()


@dataclass(frozen=True)
class Log:
    """``steps.jsonl`` of a folder: the last line of a step says what it was made from, its files and its result.

    A line is written when the files of the step are on the disk. A process that is killed before leaves none, and the
    step goes on from what lies in its own folder.
    """

    folder: Path

    def rows(self) -> dict[str, dict[str, Any]]:
        """The last line of each step."""
        path = self.folder / "steps.jsonl"
        found = read_rows(path, _ROW, what="log") if path.exists() and path.stat().st_size else []
        return {row["step"]: row for row in found}

    def result(self, step: str, key: str) -> dict[str, Any] | None:
        """What a step found, if it was made from this content and its files are there; else None."""
        row = self.rows().get(step)
        if row is None or row["key"] != key or not all((self.folder / file).exists() for file in row["files"]):
            return None
        return dict(row["result"])

    def once(self, step: str, key: str, work: Callable[[], tuple[dict[str, Any], Sequence[str]]]) -> dict[str, Any]:
        """The result of a step: of the log, or of `work`, which returns it with the names of its files."""
        held = self.result(step, key)
        if held is not None:
            return held
        began = time.perf_counter()
        result, files = work()
        found: dict[str, Any] = json.loads(to_json(result))  # as the log will give it back
        seconds = time.perf_counter() - began
        row = {"step": step, "key": key, "files": list(files), "result": found, "seconds": seconds}
        append_rows(self.folder / "steps.jsonl", [row])
        return found
