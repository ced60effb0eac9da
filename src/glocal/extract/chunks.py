"""The folder of an extraction: its record, one file per chunk of images, and their join."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Extraction:
    """The feature file of each layer in the folder of a run, and the record of the extraction.

    `files` is empty while chunks of other processes are missing; `record` then holds only the
    identity of the extraction.
    """

    folder: Path
    files: dict[str, Path]
    record: dict[str, Any]

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """The names of the images without a row, in order, each with the reason."""
        return tuple((entry["name"], entry["reason"]) for entry in self.record.get("missing", ()))

    def features(self, layer: str | None = None) -> Features:
        """The features of a layer, by default of the first layer."""
        if layer is None:
            layer = next(iter(self.files))
        return Features.load(self.files[layer].parent)


def start_or_resume(
    folder: Path, identity: dict[str, Any], files: Iterable[Path]
) -> dict[str, Any]:
    """Return the record of a finished extraction, or the identity of an unfinished one.

    Raises
    ------
    ParameterError
        The folder holds another extraction, or features without a record.
    FileError
        The record is damaged, or another process is just removing it.
    """
    finished = folder / RECORD_FILE
    begun = folder / WORK / RECORD_FILE
    # in this order: who finishes an extraction writes the second file before the first is removed
    if not begun.exists() and not finished.exists():
        if any(file.exists() for file in files):
            raise ParameterError(
                f"{folder} has features without a record of their extraction. "
                "Choose another folder."
            )
        _begin(folder, identity)
    file = finished if finished.exists() else begun
    record = read_object(file, what="record", fix="Remove its folder and extract again.")
    different = {key for key in identity if record.get(key) != identity[key]}
    if "rows" in record:  # only an unfinished extraction could mix rows of two versions
        different.discard("versions")
    if different:
        raise ParameterError(
            f"{folder} holds another extraction, which differs in {', '.join(sorted(different))}. "
            "Choose another folder."
        )
    return record


def _begin(folder: Path, identity: dict[str, Any]) -> None:
    """Create the folder of the chunks with its record, unless another process has done so."""
    draft = make_folder(folder / f"{WORK}-{secrets.token_hex(4)}")
    try:
        write_text(draft / RECORD_FILE, json.dumps(identity))
        with contextlib.suppress(OSError):  # the folder exists: its record is compared
            draft.rename(folder / WORK)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_chunk(
    file: Path,
    rows: Sequence[np.ndarray | None],
    numbers: Sequence[int],
    missing: Sequence[dict[str, str]],
) -> None:
    """Write the rows of each layer, the numbers of their images, and the missing images."""
    arrays = {f"layer_{i}": matrix for i, matrix in enumerate(rows)}
    arrays["numbers"] = np.array(numbers, np.int64)
    write_npz(file, {**arrays, "missing": np.array(json.dumps(missing))})


def join_chunks(
    chunks: Sequence[Path],
    source: Source,
    folder: Path,
    files: Mapping[str, Path],
    identity: dict[str, Any],
) -> None:
    """Join the chunks to the matrix of each layer, with the names and labels of its rows.

    The record is written last.
    """
    numbers: list[int] = []
    missing: list[dict[str, str]] = []
    for chunk in chunks:
        numbers += _read_array(chunk, "numbers").tolist()
        missing += json.loads(str(_read_array(chunk, "missing")))
    texts = {NAMES_FILE: source.names}
    if source.labels:
        texts["labels.txt"] = source.labels
    dimensions = {}
    for i, (layer, file) in enumerate(files.items()):
        make_folder(file.parent)
        dimensions[layer] = _join_rows(chunks, f"layer_{i}", len(numbers), file)
        for name, lines in texts.items():
            write_text(file.with_name(name), "".join(f"{lines[number]}\n" for number in numbers))
    record = {
        **identity,
        "source": source.described,
        "rows": len(numbers),
        "dimensions": dimensions,
        "missing": missing,
    }
    write_text(folder / RECORD_FILE, json.dumps(record, indent=1) + "\n")


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
                npy_format.write_array_header_1_0(stream, {**header, "shape": (n, dimensions)})
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
    return read_npz(chunk, what="chunk", fix=fix, required=(), optional=(name,)).get(name)
