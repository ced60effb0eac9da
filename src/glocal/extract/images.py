"""Open whatever images are given as: a folder, a glob, a list, tar shards, a saved dataset, or one file."""

from __future__ import annotations

import os
from pathlib import Path

from glocal.data.decode import decode_image
from glocal.errors import FileError
from glocal.extract.archives import TAR, is_compressed, refuse_compressed, shard_items
from glocal.extract.datasets import dataset_items, is_saved_dataset
from glocal.extract.folders import file_item, glob_items, list_items, tree_items
from glocal.extract.order import is_image_name, natural_key
from glocal.extract.source import Item, Source, checked_items

_LISTS = (".txt", ".lst", ".list")
NATURAL = "natural order of the paths: numbers by value, letters without case"


def open_images(images: str | os.PathLike[str]) -> Source:
    """The images that a path or pattern names, in the order of the rows to come.

    Parameters
    ----------
    images : path or pattern
        A folder, searched with its subfolders; a folder that ``Dataset.save_to_disk`` wrote; a folder of ``.tar``
        shards and nothing else; a ``.tar`` file; a text file with one path a line; an image file; or a pattern with
        ``*``, ``?``, ``[`` (``**`` for any depth). Folders and patterns are taken in natural order, shards in the
        order of the archive, lists and datasets in their own.

    Raises
    ------
    FileError
        Nothing is there, no image is in it, or it cannot be read.
    """
    text = os.fspath(images)
    path = Path(text)
    described = f"{'folder ' if path.is_dir() else ''}{text}"
    ignored: tuple[str, ...] = ()
    try:
        if path.is_dir():
            items, order, ignored = _folder(path)
        elif path.exists():
            items, order, ignored = _file(path)
        elif any(sign in text for sign in "*?["):
            items, order, ignored = _pattern(text)
        else:
            raise FileError(f"images {text} do not exist. Name a folder, a .tar, a list of paths or a pattern.")
    except PermissionError as error:
        raise FileError(f"images {text} cannot be read: {error.strerror}. Check the permissions.") from error
    return Source(checked_items(items, described), decode_image, order, described, ignored)


def _folder(path: Path) -> tuple[list[Item], str, tuple[str, ...]]:
    if is_saved_dataset(path):
        return dataset_items(path), "rows of the dataset", ()
    os.listdir(path)  # raises here what a walk would pass over
    items, others = tree_items(path)
    shards = [name for name in others if name.lower().endswith(TAR)]
    if shards and not items:
        found, members = shard_items([path / name for name in shards])
        return found, _ARCHIVES, (*(name for name in others if name not in shards), *members)
    return items, NATURAL, others


def _file(path: Path) -> tuple[list[Item], str, tuple[str, ...]]:
    if is_compressed(path):
        raise refuse_compressed(path)
    if path.suffix.lower() == TAR:
        return _tar([path])
    if path.suffix.lower() in _LISTS:
        return list_items(path), "order of the list", ()
    if is_image_name(path.name):
        return [file_item(path, path.name)], NATURAL, ()
    raise FileError(
        f"images {path} is a file of another kind; allowed are a folder, a .tar, a text file of paths "
        f"({', '.join(_LISTS)}), an image, or a pattern."
    )


def _pattern(text: str) -> tuple[list[Item], str, tuple[str, ...]]:
    items = glob_items(text)
    if items and all(item.name.lower().endswith(TAR) for item in items):
        root = text
        while any(sign in root for sign in "*?["):
            root = os.path.dirname(root)
        return _tar([Path(root, item.name) for item in items])
    return items, NATURAL, ()


def _tar(shards: list[Path]) -> tuple[list[Item], str, tuple[str, ...]]:
    items, others = shard_items(sorted(shards, key=lambda shard: natural_key(shard.as_posix())))
    return items, _ARCHIVES, others


_ARCHIVES = "shards in natural order, members in the order of the archive"
