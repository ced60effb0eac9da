"""The folder of an extraction: its record, a file for each chunk of images, and their join."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from glocal.data.features import NAMES_FILE, RECORD_FILE
from glocal.errors import DataError, FileError, ParameterError
from glocal.extract.images import Source
from glocal.files import atomic_write, make_folder, read_npz, read_object, write_text

FEATURES_FILE = "features.npy"
WORK = ".extract"
"""The folder of the chunks, below that of the features."""


def is_finished(folder: Path) -> bool:
    """Whether the features of a folder are joined, by this process or by another one."""
    return (folder / RECORD_FILE).exists()


def start_or_resume(
    folder: Path, identity: dict[str, Any], places: Mapping[str, Path]
) -> dict[str, Any]:
    """The record of a finished extraction, or the identity of one that is to be made.

    Raises
    ------
    ParameterError
        The folder holds another extraction, or features without a record.
    """
    record = _existing_record(folder)
    if record is None:
        if any((place / FEATURES_FILE).exists() for place in places.values()):
            raise ParameterError(
                f"{folder} has features without a record of their extraction. "
                "Choose another folder."
            )
        make_folder(folder / WORK)
        write_text(folder / WORK / RECORD_FILE, json.dumps(identity))
        return identity
    compared = set(identity)
    if "rows" in record:  # finished; while it is not, rows of two versions must not be mixed
        compared.remove("versions")
    different = sorted(key for key in compared if record.get(key) != identity[key])
    if different:
        raise ParameterError(
            f"{folder} holds another extraction, which differs in {', '.join(different)}. "
            "Choose another folder."
        )
    return record


def write_chunk(
    file: Path,
    rows: Sequence[np.ndarray | None],
    numbers: Sequence[int],
    missing: Sequence[tuple[str, str]],
) -> None:
    """Write the rows of each layer, the numbers of their images, and the missing images."""
    arrays = {f"layer_{i}": matrix for i, matrix in enumerate(rows) if matrix is not None}
    with atomic_write(file) as stream:
        np.savez(
            stream,
            allow_pickle=False,
            numbers=np.array(numbers, np.int64),
            missing=np.array(json.dumps(missing)),
            **arrays,
        )


def join_chunks(
    chunks: Sequence[Path],
    source: Source,
    folder: Path,
    places: Mapping[str, Path],
    identity: dict[str, Any],
) -> dict[str, Any]:
    """Join the chunks to a matrix for each layer with the names and labels of its rows.

    The record is written last. Where another process has joined the chunks, and removed them, its
    record is returned.
    """
    try:
        numbers = [number for file in chunks for number in _read_array(file, "numbers").tolist()]
        missing = [
            pair for file in chunks for pair in json.loads(str(_read_array(file, "missing")))
        ]
        texts = {NAMES_FILE: source.names}
        texts |= {f"{name}.txt": lines for name, lines in source.labels.items()}
        dimensions = {}
        for i, (layer, place) in enumerate(places.items()):
            make_folder(place)
            matrix_file = place / FEATURES_FILE
            dimensions[layer] = _join_rows(chunks, f"layer_{i}", len(numbers), matrix_file)
            for name, lines in texts.items():
                write_text(place / name, "".join(f"{lines[number]}\n" for number in numbers))
    except FileError:
        if not is_finished(folder):
            raise
        return read_object(folder / RECORD_FILE, what="record")
    record = {
        **identity,
        "source": source.described,
        "rows": len(numbers),
        "dimensions": dimensions,
        "missing": [{"name": name, "reason": reason} for name, reason in missing],
    }
    write_text(folder / RECORD_FILE, json.dumps(record, indent=1) + "\n")
    return record


def _existing_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished extraction, else the identity of a begun one, else None."""
    final = folder / RECORD_FILE
    begun = folder / WORK / RECORD_FILE
    for path in (final, begun, final):  # another process may write the first and remove the second
        if path.exists():
            try:
                return read_object(path, what="record", fix="Remove its folder and extract again.")
            except FileError:
                if path.exists():
                    raise
    return None


def _join_rows(chunks: Sequence[Path], name: str, n: int, target: Path) -> int:
    """Write the rows of one layer, one chunk in memory at a time; returns their dimensions."""
    dimensions = 0
    with atomic_write(target) as stream:
        for rows in (_read_array(file, name) for file in chunks):
            if rows is None:  # no image of this chunk could be read
                continue
            if not dimensions:
                dimensions = rows.shape[1]
                header = {"descr": npy_format.dtype_to_descr(rows.dtype), "fortran_order": False}
                npy_format.write_array_header_1_0(stream, {**header, "shape": (n, dimensions)})
            if rows.shape[1] != dimensions:
                raise DataError(
                    f"a layer has {dimensions} dimensions for some images and {rows.shape[1]} for "
                    "others; all inputs must have one shape. Resize and crop in the preprocessing."
                )
            stream.write(rows.data)
    return dimensions


def _read_array(chunk: Path, name: str) -> Any:
    """An array of a chunk; None where it has none."""
    fix = "Delete it and run the command again."
    return read_npz(chunk, what="chunk", fix=fix, required=(), optional=(name,)).get(name)
