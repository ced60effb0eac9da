"""Images inside a Hugging Face dataset that was saved to the disk, read from its Arrow files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from glocal.errors import DataError, FileError
from glocal.extract.folders import file_item
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
    paths = [path or "" for part in parts for path in part.field("path").to_pylist()]
    names = paths if len({path for path in paths if path.strip()}) == len(paths) else _numbers(len(paths))
    stamp = b"".join(stamp_of(file.stat()) for file in files)
    cells = ((part.field("bytes"), at) for part in parts for at in range(len(part)))
    return [
        _item(values, at, name, folder / path if path else None, column, stamp)
        for (values, at), name, path in zip(cells, names, paths, strict=True)
    ]


def _numbers(rows: int) -> list[str]:
    return [f"{row:08d}" for row in range(rows)]


def _item(values: Any, at: int, name: str, file: Path | None, column: str, stamp: bytes) -> Item:
    """A row that holds the bytes of an image, names its file, or does neither."""
    if values[at].is_valid:
        return Item(name, values[at].as_buffer().size, partial(_stored, values, at), None, stamp)
    if file is None:
        return Item(name, 0, bytes, f"has no image in column {column}", stamp)
    found = file_item(file, name)
    reason = found.reason and f"names the file {file}, which {found.reason}"
    return replace(found, reason=reason, stamp=stamp + found.stamp)


def _stored(values: Any, at: int) -> bytes:
    return bytes(values[at].as_py())


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
