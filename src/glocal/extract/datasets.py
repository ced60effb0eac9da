"""Images inside a Hugging Face dataset that was saved to the disk, read from its Arrow files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from glocal.errors import DataError, FileError
from glocal.extract.source import Item
from glocal.extras import needed
from glocal.files import one_line, stamp_of
from glocal.files.documents import read_object

_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``."""
    return (folder / _STATE).is_file() or (folder / _SPLITS).is_file()


def dataset_items(folder: Path) -> list[Item]:
    """The images of a saved dataset in the order of its rows.

    A name is the path that the dataset keeps with the image where all rows have one of their own, else the row number
    with eight digits.

    Raises
    ------
    FileError
        Several splits, or a file that is missing or damaged.
    DataError
        Not exactly one image column.
    MissingDependencyError
        pyarrow is not installed.
    """
    if not (folder / _STATE).is_file():
        splits = _json(folder / _SPLITS).get("splits", [])
        raise FileError(
            f"{folder} holds the splits {', '.join(map(str, splits))}; name one of them, e.g. "
            f"{folder / str(splits[0]) if splits else folder}."
        )
    state = _json(folder / _STATE)
    if state.get("_indices_data_files"):
        raise FileError(f"dataset {folder} was saved with a row selection; save it again after flatten_indices().")
    files = [folder / entry["filename"] for entry in state["_data_files"]]
    column, parts = _image_column(folder, files)
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part))
    paths: list[str | None] = [value for part in parts for value in part.field("path").to_pylist()]
    names = [path for path in paths if path and path.strip()]
    if len(set(names)) != len(paths):
        names = [f"{row:08d}" for row in range(len(paths))]
    rows = _Rows(parts, starts, folder, b"".join(stamp_of(file.stat()) for file in files))
    return [
        Item(name, rows.size(row), partial(rows.read, row), rows.reason(row, column), rows.stamp(row))
        for row, name in enumerate(names)
    ]


class _Rows:
    """The image column, one memory-mapped piece after another."""

    def __init__(self, parts: Sequence[Any], starts: Sequence[int], folder: Path, stamp: bytes) -> None:
        self._bytes = [part.field("bytes") for part in parts]
        self._paths = [part.field("path") for part in parts]
        self._starts, self._folder, self._stamp = starts, folder, stamp

    def _place(self, row: int) -> tuple[int, int]:
        part = bisect_right(self._starts, row) - 1
        return part, row - self._starts[part]

    def _file(self, row: int) -> Path | None:
        part, at = self._place(row)
        path = self._paths[part][at].as_py()
        return self._folder / path if path else None

    def size(self, row: int) -> int:
        """Bytes of the stored image, or of the file it names."""
        part, at = self._place(row)
        value = self._bytes[part][at]
        if value.is_valid:
            return int(value.as_buffer().size)
        file = self._file(row)
        return file.stat().st_size if file is not None and file.is_file() else 0

    def stamp(self, row: int) -> bytes:
        """That of the Arrow files, and of the file that the row names in place of holding it."""
        part, at = self._place(row)
        file = None if self._bytes[part][at].is_valid else self._file(row)
        return self._stamp if file is None or not file.is_file() else self._stamp + stamp_of(file.stat())

    def reason(self, row: int, column: str) -> str | None:
        """Why a row has no image, where that is known."""
        part, at = self._place(row)
        if self._bytes[part][at].is_valid:
            return None
        file = self._file(row)
        if file is None:
            return f"has no image in column {column}"
        return None if file.is_file() else f"names the file {file}, which does not exist"

    def read(self, row: int) -> bytes:
        """The bytes of a row."""
        part, at = self._place(row)
        value = self._bytes[part][at]
        if value.is_valid:
            return bytes(value.as_py())
        file = self._file(row)
        return b"" if file is None else file.read_bytes()


def _image_column(folder: Path, files: list[Path]) -> tuple[str, list[Any]]:
    pa = needed("pyarrow", f"dataset {folder}")
    tables = []
    for file in files:
        try:
            with pa.memory_map(str(file), "r") as stream:
                tables.append(pa.ipc.open_stream(stream).read_all())
        except (OSError, pa.ArrowException) as error:
            raise FileError(f"dataset file {file} is damaged or missing ({one_line(error)}). Save it again.") from error
    if not tables:
        raise FileError(f"dataset {folder} names no data file. Save it again.")
    schema = tables[0].schema
    found = [
        field.name for field in schema
        if pa.types.is_struct(field.type) and {part.name for part in field.type} >= {"bytes", "path"}
    ]  # fmt: skip
    declared = _json(folder / _INFO).get("features") or {} if (folder / _INFO).is_file() else {}
    images = [name for name in found if (declared.get(name) or {}).get("_type", "Image") == "Image"]
    if len(images) != 1:
        raise DataError(
            f"dataset {folder} has {len(images) or 'no'} image columns ({', '.join(images or schema.names)}); exactly "
            "one is needed. Select it: dataset.select_columns([NAME])."
        )
    chunks = [chunk for table in tables for chunk in table.column(images[0]).chunks if len(chunk)]
    return images[0], chunks


def _json(file: Path) -> dict[str, Any]:
    return read_object(file, what="dataset", fix="Save the dataset again.")
