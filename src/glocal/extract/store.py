"""The folder of an extraction: chunks that are done stay done, whoever did them, until all are there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.readers import NAMES_FILE
from glocal.errors import DataError, FileError, ParameterError
from glocal.extract.rows_file import rows_file
from glocal.extract.source import Source
from glocal.files import PathLike, atomic_write, make_folder
from glocal.files.documents import read_object
from glocal.jobs.lock import lock
from glocal.records import append_rows, read_rows, to_json

RECORD = "record.json"
_WORK = ".extract"
_ALL = "all"


class Store:
    """Where features of a run grow, and where they are when it is finished.

    A finished folder has thingsvision's layout, ``features.npy`` (or ``features.zarr``) and ``file_names.txt``, one
    folder for each layer if there are several, and ``record.json``. An unfinished one has everything under
    ``.extract``, so that nothing half written can be taken for features: ``run.json`` says what is extracted,
    ``done.jsonl`` has a line for each chunk that is whole on the disk, ``runs.jsonl`` one for each process that took
    part. A chunk is held by a lock on its file in ``held``, which is free when its process dies.

    What is done is of the inputs as they were: each line and the record have hashes of their content and of the stamps
    of their files. Where a stamp differs from what is there now, the content is read again and compared.

    Parameters
    ----------
    folder : path
        Created if it is missing.
    source : Source
        What the rows are of.
    layers : sequence of str
    chunk_rows : int
        Items of a chunk: what a killed process loses at most.
    format : str
        ``npy`` or ``zarr``.
    identity : dict
        Whatever determines the features.

    Raises
    ------
    ParameterError
        The folder holds another extraction, features of inputs that have changed, or features that no run wrote.
    """

    def __init__(
        self,
        folder: PathLike,
        source: Source,
        layers: Sequence[str],
        *,
        chunk_rows: int,
        format: str,
        identity: dict[str, Any],
    ) -> None:
        self.folder = make_folder(folder)
        self._source, self.layers, self._chunk_rows, self._format = source, tuple(layers), chunk_rows, format
        images = {"count": len(source), "sha256_of_names_and_sizes": source.fingerprint(), "order": source.order}
        self.identity: dict[str, Any] = json.loads(
            to_json({"format": 1, **identity, "chunk_rows": chunk_rows, "storage": format, "inputs": images})
        )
        self._work = self.folder / _WORK
        self._locks = self._work / "held"
        self._held: dict[int, contextlib.ExitStack] = {}
        self._check()
        self._check_contents()
        if self.finished:
            shutil.rmtree(self._work, ignore_errors=True)  # left by a process that died while it cleaned up
        else:
            make_folder(self._work)
            self._begin()
            make_folder(self._locks)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        for chunk in list(self._held):
            self.release(chunk)
        if self.finished:  # perhaps by another process, after this one had made the folder anew
            shutil.rmtree(self._work, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether all features are in their final place."""
        return (self.folder / RECORD).is_file()  # written last of all

    @property
    def record(self) -> dict[str, Any]:
        """The record of a finished extraction."""
        return dict(_read_json(self.folder / RECORD))

    def chunks(self) -> list[range]:
        """The item numbers of every chunk."""
        n, rows = len(self._source), self._chunk_rows
        return [range(start, min(start + rows, n)) for start in range(0, n, rows)]

    def matrix(self, layer: str) -> Path:
        """The final place of the features of a layer."""
        return self._place(layer) / f"features.{self._format}"

    def done(self) -> dict[int, list[tuple[int, str]]]:
        """Chunks that are whole on the disk, with the items they lack and why."""
        return {chunk: [(number, reason) for number, reason in row["missing"]] for chunk, row in self._lines().items()}

    def joined_by(self, run: dict[str, Any]) -> None:
        """Note a process that takes part: versions and device."""
        try:
            append_rows(self._work / "runs.jsonl", [run])
        except FileError:
            if not self.finished:  # by another process, which has removed the folder
                raise

    def take(self, chunk: int) -> bool:
        """Hold a chunk until `release` or the death of this process; False if another one holds it."""
        held = self._lock(str(chunk))
        if held is not None:
            self._held[chunk] = held
        return held is not None

    def release(self, chunk: int) -> None:
        """Let go of a chunk."""
        self._held.pop(chunk).close()

    def save(
        self,
        chunk: int,
        rows: dict[str, np.ndarray],
        missing: Sequence[tuple[int, str]],
        content: str | None = None,
    ) -> None:
        """Write a chunk, rows of zeros for missing items, and then the line that says it is whole.

        `rows` is empty where every item is missing. `content` is the hash of the items where another process read them.
        """
        items = self.chunks()[chunk]
        for layer, matrix in rows.items():
            file = self._growing(layer)
            with self._lock(_ALL, wait=True) or contextlib.nullcontext():
                file.create((len(self._source), matrix.shape[1]), matrix.dtype)
            file.write(items.start, matrix)
        contents = {
            "sha256": content or self._source.content_sha256(items),
            "stamps": self._source.stamps_sha256(items),
        }
        line = {"chunk": chunk, "missing": [list(pair) for pair in missing], "contents": contents}
        append_rows(self._work / "done.jsonl", [line])

    def finish(self) -> bool:
        """Move everything to its final place if all chunks are there; False if some are not.

        Raises
        ------
        DataError
            There is not one row.
        """
        alone = self._lock(_ALL, wait=True)
        if alone is None:
            return True
        with alone:
            if self.finished:
                return True
            lines = self._lines()
            if len(lines) < len(self.chunks()):
                return False
            missing = sorted(pair for pairs in self.done().values() for pair in pairs)
            self._move(missing, [lines[chunk].get("contents") for chunk in range(len(lines))])
        shutil.rmtree(self._work, ignore_errors=True)
        return True

    def _move(self, missing: list[tuple[int, str]], contents: list[dict[str, str] | None]) -> None:
        items, gone = self._source.items, {number for number, _ in missing}
        names = [item.name for number, item in enumerate(items) if number not in gone]
        if not names:
            raise DataError(
                f"none of the {len(items)} inputs of {self._source.described} could be read; the first, "
                f"{items[0].name}, {missing[0][1]}."
            )
        kept = None if not gone else np.array([number for number in range(len(items)) if number not in gone])
        dimensions = {}
        for layer in self.layers:
            place = make_folder(self._place(layer))
            with atomic_write(place / NAMES_FILE) as stream:
                stream.write("".join(f"{name}\n" for name in names).encode())
            self._growing(layer).move(self.matrix(layer), kept)
            dimensions[layer] = _columns(self.matrix(layer))
        runs = read_rows(self._work / "runs.jsonl") if (self._work / "runs.jsonl").exists() else []
        record = {
            **self.identity,
            "rows": len(names),
            "dimensions": dimensions,
            "missing": [{"name": items[number].name, "reason": reason} for number, reason in missing],
            "contents": {
                key: _joined(kept[key] for kept in contents if kept is not None) for key in ("sha256", "stamps")
            }
            if all(contents)
            else None,
            "ignored": list(self._source.ignored),
            "runs": [run for number, run in enumerate(runs) if run not in runs[:number]],
        }
        with atomic_write(self.folder / RECORD) as stream:
            stream.write((json.dumps(json.loads(to_json(record)), indent=1) + "\n").encode())

    def _place(self, layer: str) -> Path:
        return self.folder if len(self.layers) == 1 else self.folder / _folder_name(layer)

    def _growing(self, layer: str) -> Any:
        return rows_file(self._work / f"{_folder_name(layer)}.{self._format}", self._format, self._chunk_rows)

    def _check(self) -> None:
        """Refuse a folder that holds something else, and layers whose folders would be one."""
        if len({_folder_name(layer) for layer in self.layers}) < len(self.layers):
            raise ParameterError(
                f"layers {', '.join(self.layers)} cannot be told apart as folders; extract them apart."
            )
        run, record = self._work / "run.json", self.folder / RECORD
        path = run if run.exists() else record
        if not path.exists():
            held = [layer for layer in self.layers if self.matrix(layer).exists()]
            if held:
                raise ParameterError(f"{self.folder} holds features that no extraction recorded. Choose another --out.")
            return
        found = _read_json(path)
        different = sorted(key for key in self.identity if found.get(key) != self.identity[key])
        if different:
            said = "; ".join(
                f"{key} is {_short(found.get(key))}, not {_short(self.identity[key])}" for key in different[:2]
            )
            raise ParameterError(
                f"{self.folder} holds another extraction: {', '.join(different)} differ ({said}). Choose another --out."
            )

    def _check_contents(self) -> None:
        """Refuse features of inputs whose names and sizes are those of today's but whose content is not."""
        source, chunks = self._source, self.chunks()
        changed = None
        if self.finished:
            stamps = _joined(map(source.stamps_sha256, chunks))
            if not _same(self.record.get("contents"), stamps, lambda: _joined(map(source.content_sha256, chunks))):
                changed = range(len(source))
        for chunk, row in self._lines().items():
            items = chunks[chunk]
            if not _same(row.get("contents"), source.stamps_sha256(items), partial(source.content_sha256, items)):
                changed = items
        if changed is not None:
            raise ParameterError(
                f"{self.folder} holds features of other images: one of those from {source.items[changed[0]].name} to "
                f"{source.items[changed[-1]].name} has changed since they were extracted. Choose another --out."
            )

    def _lines(self) -> dict[int, dict[str, Any]]:
        """The line of each chunk that is whole on the disk."""
        path = self._work / "done.jsonl"
        rows = read_rows(path) if path.exists() and path.stat().st_size else []
        return {row["chunk"]: row for row in rows}

    def _begin(self) -> None:
        path = self._work / "run.json"
        if not path.exists():
            with atomic_write(path) as stream:
                stream.write((json.dumps(self.identity) + "\n").encode())

    def _lock(self, name: str, *, wait: bool = False) -> contextlib.ExitStack | None:
        """Hold a lock until it is closed; None where another one holds it, or has finished and removed all locks."""
        held = contextlib.ExitStack()
        try:
            return held if held.enter_context(lock(self._locks / name, wait=wait)) else None
        except FileError:
            if self.finished:
                return None
            raise


def _same(kept: dict[str, str] | None, stamps: str, content: Callable[[], str]) -> bool:
    """Whether inputs are as they were; they are read only where a stamp differs. True where nothing was kept."""
    return not kept or (bool(stamps) and kept["stamps"] == stamps) or kept["sha256"] == content()


def _joined(hashes: Iterable[str]) -> str:
    """One hash of many; empty where one of them is."""
    hashes = list(hashes)
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest() if all(hashes) else ""


def _folder_name(layer: str) -> str:
    """A layer as a file name: what no file system refuses."""
    return re.sub(r"[^\w.\-]", "_", layer)


def _columns(path: Path) -> int:
    from glocal.data.readers import read_matrix

    return int(read_matrix(path).shape[1])


def _read_json(path: Path) -> dict[str, Any]:
    return read_object(path, what="record", fix="Remove its folder and extract anew.")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
