"""The folder of an extraction: chunks that are done stay done, whoever did them, until all are there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.data.container import NAMES_FILE, RECORD_FILE
from glocal.errors import DataError, FileError, ParameterError
from glocal.extract.matrix import create_matrix, move_matrix, write_rows
from glocal.extract.runner import Chunk
from glocal.extract.source import Source
from glocal.files import PathLike, atomic_write, make_folder, read_object
from glocal.jobs.folder import TaskFolder
from glocal.results import read_rows, to_json

_WORK = ".extract"
_RUN = "run.json"
_ALL = "all"
_LINE = ("chunk", "missing")


class FeatureStore:
    """Where features of a run grow, and where they are when it is finished.

    A finished folder has thingsvision's layout, ``features.npy`` and ``file_names.txt``, one folder for each layer if
    there are several, and ``record.json``; beside each matrix lie the labels of inputs that have some. An unfinished
    one has everything under ``.extract``, so that nothing half written can be taken for features: a `TaskFolder` with
    the log ``done.jsonl`` of the chunks of `chunk_rows` items that are whole on the disk, and ``run.json``, the
    `identity` of whatever determines the features.

    What is done is of the inputs as they were: each line and the record have hashes of their content and of the stamps
    of their files. Where a stamp differs from what is there now, the content is read again and compared. A folder with
    another extraction, with features of inputs that have changed, or of no run at all, is a ParameterError.
    """

    def __init__(
        self,
        folder: PathLike,
        source: Source,
        layers: Sequence[str],
        *,
        chunk_rows: int,
        identity: dict[str, Any],
    ) -> None:
        self.folder = make_folder(folder)
        self._source, self.layers, self._chunk_rows = source, tuple(layers), chunk_rows
        images = {"count": len(source), "sha256_of_names_and_sizes": source.fingerprint(), "order": source.order}
        if source.labels:
            images["sha256_of_labels"] = hashlib.sha256(to_json(source.labels).encode()).hexdigest()
        self.identity: dict[str, Any] = json.loads(
            to_json({"format": 1, **identity, "chunk_rows": chunk_rows, "storage": "npy", "inputs": images})
        )
        self._work = self.folder / _WORK
        self._check()
        self._check_contents()
        if self.finished:
            shutil.rmtree(self._work, ignore_errors=True)  # left by a process that died while it cleaned up
        else:
            self.tasks.create()
            if not (self._work / _RUN).exists():
                with atomic_write(self._work / _RUN) as stream:
                    stream.write((json.dumps({**self.identity, "version": __version__}) + "\n").encode())

    def __enter__(self) -> FeatureStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.tasks.close()
        if self.finished:  # perhaps by another process, after this one had made the folder anew
            shutil.rmtree(self._work, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether all features are in their final place."""
        return (self.folder / RECORD_FILE).is_file()  # written last of all

    @property
    def record(self) -> dict[str, Any]:
        """The record of a finished extraction."""
        return dict(_read_json(self.folder / RECORD_FILE))

    def chunks(self) -> list[range]:
        """The item numbers of every chunk."""
        n, rows = len(self._source), self._chunk_rows
        return [range(start, min(start + rows, n)) for start in range(0, n, rows)]

    def matrix(self, layer: str) -> Path:
        """The final place of the features of a layer."""
        return self._place(layer) / "features.npy"

    @cached_property
    def tasks(self) -> TaskFolder:
        """The chunks, each by its number."""
        return TaskFolder(self._work, "done.jsonl", lambda row: row["chunk"], read=self._read_log)

    def _read_log(self, path: Path) -> list[dict[str, Any]]:
        """The lines of the log; a FileError where one is not of these chunks."""
        rows, chunks = read_rows(path, _LINE), self.chunks()
        for row in rows:
            items = chunks[row["chunk"]] if 0 <= row["chunk"] < len(chunks) else range(0)
            pairs = all(isinstance(pair, list) and len(pair) == 2 and pair[0] in items for pair in row["missing"])
            if not (items and pairs and _are_hashes(row.get("contents"))):
                raise FileError(
                    f"{path} has a line of chunk {row['chunk']} that is damaged. Remove that line, and the chunk is "
                    "extracted again."
                )
        return rows

    def open(self, chunks: Iterable[tuple[int, range]]) -> Iterator[tuple[int, range]]:
        """Claim the chunks that are not done, one when it is asked for; those that other processes hold are left."""
        items = dict(chunks)
        for name in self.tasks.claim((str(number), [number]) for number in items):
            if self.finished:  # by another process, which is removing its claims
                self.tasks.release(name)
                return
            yield int(name), items[int(name)]

    def done(self) -> dict[int, list[tuple[int, str]]]:
        """Chunks that are whole on the disk, with the items they lack and why."""
        return {
            chunk: [(number, reason) for number, reason in row["missing"]] for chunk, row in self.tasks.done().items()
        }

    def items_done(self) -> int:
        """The number of items in the chunks that are whole on the disk."""
        chunks = self.chunks()
        return sum(len(chunks[number]) for number in self.tasks.done())

    def save(self, chunk: Chunk) -> None:
        """Write a chunk, rows of zeros for missing items, then the line that says it is whole, and let go of it."""
        for layer, matrix in chunk.rows.items():
            path = self._growing(layer)
            with self._all():
                create_matrix(path, (len(self._source), matrix.shape[1]), matrix.dtype)
            write_rows(path, chunk.items.start, matrix)
        contents = {
            "sha256": chunk.content or self._source.content_sha256(chunk.items),
            "stamps": self._source.stamps_sha256(chunk.items),
        }
        missing = [list(pair) for pair in chunk.missing]
        self.tasks.commit({"chunk": chunk.number, "missing": missing, "contents": contents, "run": chunk.run})
        self.tasks.release(str(chunk.number))

    def finish(self) -> bool:
        """Move everything to its final place if all chunks are there; False if some are not."""
        with self._all():
            if self.finished:
                return True
            lines = self.tasks.done()
            if len(lines) < len(self.chunks()):
                return False
            missing = sorted(pair for pairs in self.done().values() for pair in pairs)
            self._move(missing, [lines[chunk] for chunk in range(len(lines))])
        shutil.rmtree(self._work, ignore_errors=True)
        return True

    def _move(self, missing: list[tuple[int, str]], lines: list[dict[str, Any]]) -> None:
        items, gone = self._source.items, {number for number, _ in missing}
        names = [item.name for number, item in enumerate(items) if number not in gone]
        if not names:
            raise DataError(
                f"none of the {len(items)} inputs of {self._source.described} could be read; the first, "
                f"{items[0].name}, {missing[0][1]}."
            )
        kept = None if not gone else np.array([number for number in range(len(items)) if number not in gone])
        texts = {NAMES_FILE: names}
        for name, labels in self._source.labels.items():
            texts[f"{name}.txt"] = [label for number, label in enumerate(labels) if number not in gone]
        dimensions = {}
        for layer in self.layers:
            place = make_folder(self._place(layer))
            for name, text in texts.items():
                with atomic_write(place / name) as stream:
                    stream.write("".join(f"{line}\n" for line in text).encode())
            move_matrix(self._growing(layer), self.matrix(layer), kept)
            dimensions[layer] = _columns(self.matrix(layer))
        contents = [line["contents"] for line in lines if "contents" in line]
        runs = [line["run"] for line in lines if "run" in line]
        record = {
            **self.identity,
            "rows": len(names),
            "dimensions": dimensions,
            "missing": [{"name": items[number].name, "reason": reason} for number, reason in missing],
            "contents": {key: _joined(kept[key] for kept in contents) for key in ("sha256", "stamps")}
            if len(contents) == len(lines)
            else None,
            "ignored": list(self._source.ignored),
            "runs": [run for number, run in enumerate(runs) if run not in runs[:number]],
        }
        with atomic_write(self.folder / RECORD_FILE) as stream:
            stream.write((json.dumps(json.loads(to_json(record)), indent=1) + "\n").encode())

    def _place(self, layer: str) -> Path:
        return self.folder if len(self.layers) == 1 else self.folder / _folder_name(layer)

    def _growing(self, layer: str) -> Path:
        return self._work / f"{_folder_name(layer)}.npy"

    def _check(self) -> None:
        """Refuse a folder that holds something else, and layers whose folders would be one."""
        if len({_folder_name(layer) for layer in self.layers}) < len(self.layers):
            raise ParameterError(
                f"layers {', '.join(self.layers)} cannot be told apart as folders; extract them apart."
            )
        run, record = self._work / _RUN, self.folder / RECORD_FILE
        path = run if run.exists() else record
        if not path.exists():
            held = [layer for layer in self.layers if self.matrix(layer).exists()]
            if held:
                raise ParameterError(f"{self.folder} holds features that no extraction recorded. Choose another --out.")
            return
        found = _read_json(path)
        if path == run and found.get("version", __version__) != __version__:
            raise ParameterError(
                f"{self.folder} holds an unfinished extraction of glocal {found['version']}, and this is "
                f"{__version__}: rows of two versions are not mixed. Finish it with that one, or choose another --out."
            )
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
            contents = self.record.get("contents")
            if not _are_hashes(contents):
                raise FileError(
                    f"record {self.folder / RECORD_FILE} holds no hashes under contents. Remove its folder and extract "
                    "anew."
                )
            if not _same(contents, stamps, lambda: _joined(map(source.content_sha256, chunks))):
                changed = range(len(source))
        for chunk, row in self.tasks.done().items():
            items = chunks[chunk]
            if not _same(row.get("contents"), source.stamps_sha256(items), partial(source.content_sha256, items)):
                changed = items
        if changed is not None:
            raise ParameterError(
                f"{self.folder} holds features of other images: one of those from {source.items[changed[0]].name} to "
                f"{source.items[changed[-1]].name} has changed since they were extracted. Choose another --out."
            )

    @contextlib.contextmanager
    def _all(self) -> Iterator[None]:
        """Hold all chunks, to make a matrix or to move them; where another process has finished, nothing is held."""
        mine = self.tasks.take(_ALL, wait=True)
        try:
            yield
        finally:
            if mine:
                self.tasks.release(_ALL)


def _are_hashes(contents: object) -> bool:
    """Whether these are the hashes of inputs; earlier versions kept none."""
    return contents is None or (
        isinstance(contents, dict) and all(isinstance(contents.get(key), str) for key in ("sha256", "stamps"))
    )


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
