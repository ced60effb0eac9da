"""The folder of an extraction: its record, one file per chunk of images, and their join."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.lib import format as npy_format

from glocal.data.features import NAMES_FILE, RECORD_FILE, Features
from glocal.errors import DataError, ParameterError
from glocal.extract.images import Source
from glocal.files import (
    atomic_write,
    make_folder,
    read_npz,
    read_object,
    write_npz,
    write_text,
)

WORK = ".extract"
"""The subfolder of the chunks, in the folder of the features."""


class MissingImage(TypedDict):
    """The name of an image without a row, and the reason."""

    name: str
    reason: str


class Record(TypedDict, total=False):
    """The record of an extraction: its identity and, if it is finished, its results.

    The identity is the network, its hashes and options, the layers, the versions of libraries, and
    the number and hash of the images. `Identity` and `Running` describe the fields.
    """

    model: str
    weights: str
    weights_sha256: str | None
    preprocessing: str
    factory_sha256: str
    pool: str
    device: str
    dtype: str
    batch_size: int
    layers: dict[str, str]
    versions: dict[str, str]
    images: dict[str, int | str]
    source: str
    rows: int
    dimensions: dict[str, int]
    missing: list[MissingImage]


@dataclass(frozen=True)
class Extraction:
    """The feature file of each layer in the folder of a run, and the record of the extraction.

    `files` is empty while chunks of other processes are missing; `record` then holds only the
    identity of the extraction.
    """

    folder: Path
    files: dict[str, Path]
    record: Record

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """The names of the images without a row, in order, each with the reason."""
        entries = self.record.get("missing", [])
        return tuple((entry["name"], entry["reason"]) for entry in entries)

    def features(self, layer: str | None = None) -> Features:
        """The features of a layer, by default of the first layer."""
        if layer is None:
            layer = next(iter(self.files))
        return Features.load(self.files[layer].parent)


def key_of(identity: Mapping[str, object]) -> str:
    """The hash of all that determines the rows, with which the names of chunks begin."""
    text = json.dumps(identity, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    return digest.hexdigest()[:16]


def finished_record(
    folder: Path, identity: Mapping[str, object], files: Iterable[Path]
) -> Record | None:
    """Return the record of a finished extraction, or None for a new or an unfinished one.

    Raises
    ------
    ParameterError
        The folder holds another extraction, or features without a record.
    FileError
        The record is damaged.
    """
    work = folder / WORK
    is_begun = work.exists()  # NOTE first: who finishes writes the record, then removes the chunks
    file = folder / RECORD_FILE
    if file.exists():
        fix = "Remove its folder and extract again."
        record: Any = read_object(file, what="record", fix=fix)
        different = [name for name in identity if record.get(name) != identity[name]]
        if set(different) - {"versions"}:  # rows of another version are whole, and stay
            raise ParameterError(
                f"{folder} holds another extraction, which differs in {', '.join(different)}. "
                "Choose another folder."
            )
        return record
    foreign = [file for file in files if file.exists()]
    if is_begun:
        key = key_of(identity)
        chunks = work.glob("*.npz")
        foreign = [chunk for chunk in chunks if not chunk.name.startswith(key)]
    if foreign:
        raise ParameterError(
            f"{foreign[0]} is of another network, version, option or set of images. Choose another "
            "folder."
        )
    return None


def write_chunk(
    file: Path, rows: Mapping[str, Sequence[np.ndarray]], missing: dict[int, str]
) -> None:
    """Write the rows of each layer, and why images have no row, by their numbers."""
    arrays = {f"layer_{i}": np.concatenate(parts) for i, parts in enumerate(rows.values()) if parts}
    text = json.dumps(missing)
    arrays["missing"] = np.array(text)
    write_npz(file, arrays)


def join_chunks(
    chunks: Sequence[Path],
    source: Source,
    folder: Path,
    files: Mapping[str, Path],
    identity: Mapping[str, object],
) -> None:
    """Join the chunks to the matrix of each layer, with the names and labels of its rows.

    The record is written last.
    """
    missing: dict[str, str] = {}
    for chunk in chunks:
        text = _read_array(chunk, "missing")
        missing |= json.loads(str(text))
    numbers = [number for number in range(len(source)) if str(number) not in missing]
    texts = {NAMES_FILE: source.names}
    if source.labels:
        texts["labels.txt"] = source.labels
    dimensions = {}
    for i, (layer, file) in enumerate(files.items()):
        make_folder(file.parent)
        dimensions[layer] = _join_rows(chunks, f"layer_{i}", len(numbers), file)
        for name, entries in texts.items():
            lines = [f"{entries[number]}\n" for number in numbers]
            write_text(file.with_name(name), "".join(lines))
    record = {
        **identity,
        "source": source.described,
        "rows": len(numbers),
        "dimensions": dimensions,
        "missing": [
            MissingImage(name=source.names[int(number)], reason=reason)
            for number, reason in missing.items()
        ],
    }
    text = json.dumps(record, indent=1)
    write_text(folder / RECORD_FILE, f"{text}\n")


def _join_rows(chunks: Sequence[Path], name: str, n: int, target: Path) -> int:
    """Write the rows of one layer with one chunk in memory; return their number of columns."""
    dimensions = 0
    with atomic_write(target) as stream:
        for rows in (_read_array(file, name) for file in chunks):
            if rows is None:  # no image of this chunk could be read
                continue
            if not dimensions:
                dimensions = rows.shape[1]
                header = npy_format.header_data_from_array_1_0(rows)
                header["shape"] = (n, dimensions)
                npy_format.write_array_header_1_0(stream, header)
            if rows.shape[1] != dimensions:
                raise DataError(
                    f"a layer has {dimensions} dimensions for some images and {rows.shape[1]} for "
                    "others; all inputs must have one shape. Resize and crop in the preprocessing."
                )
            stream.write(rows.data)
    return dimensions


def _read_array(chunk: Path, name: str) -> Any:
    """Return an array of a chunk; None if the chunk does not have it."""
    fix = "Delete it and run the command again."
    arrays = read_npz(chunk, what="chunk", fix=fix, required=(), optional=(name,))
    return arrays.get(name)
