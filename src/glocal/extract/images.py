"""Open what is given as images, a folder, glob, list, tar shards, file or data set; or as captions."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.decode import decode_image
from glocal.data.sources import ImageSet
from glocal.errors import DataError, FileError
from glocal.extract.archives import COMPRESSED, TAR, shard_items
from glocal.extract.folders import (
    MAGIC,
    file_item,
    glob_items,
    is_image_name,
    list_items,
    natural_key,
    tree_items,
)
from glocal.extract.source import Item, Source, checked_items
from glocal.files import PathLike, read_lines

NATURAL = "natural order of the paths: numbers by value, letters without case"
_ARCHIVES = "shards in natural order, members in the order of the archive"
_LISTS = (".txt", ".lst", ".list")
_Listing = tuple[list[Item], str, tuple[str, ...]]
"""Items, their order in words, and the names of files that are not images."""


def open_images(images: str | os.PathLike[str] | ImageSet) -> Source:
    """The images that a path or pattern names, or those of a data set, in the order of the rows to come.

    Parameters
    ----------
    images : path, pattern or ImageSet
        A folder, searched with its subfolders; a folder of ``.tar`` shards and nothing else; a ``.tar`` file; a text
        file with one path a line; an image file; a pattern with ``*``, ``?``, ``[`` (``**`` for any depth); or what
        `glocal.data.sources.load_images` opened. Folders and patterns are taken in natural order, shards in the order
        of the archive, lists and data sets in their own.

    Raises
    ------
    FileError
        Nothing is there, no image is in it, or it cannot be read.
    """
    if isinstance(images, ImageSet):
        (items, order, ignored), described, labels = _data_set(images), images.source, _labels(images)
    else:
        labels = {}
        path = Path(images)
        described = f"{'folder ' if path.is_dir() else ''}{os.fspath(images)}"
        try:
            items, order, ignored = _folder(path) if path.is_dir() else _file(path) or _pattern(os.fspath(images))
        except PermissionError as error:
            raise FileError(f"images {path} cannot be read: {error.strerror}. Check the permissions.") from error
    return Source(checked_items(items, described), decode_image, order, described, ignored, labels)


def open_captions(path: PathLike) -> Source:
    """The captions of a UTF-8 text file, one a line, in its order; the names of the rows are the captions.

    Raises
    ------
    FileError
        Missing, empty or not UTF-8.
    DataError
        A line between others is empty: row i would not be line i.
    """
    lines = read_lines(path, what="captions")
    for number, line in enumerate(lines, start=1):
        if not line:
            raise DataError(f"captions {path} line {number} is empty. Fill or remove it: row i is line i.")
    items = [Item(line, len(line.encode()), partial(str.encode, line)) for line in lines]
    return Source(items, bytes.decode, "lines of the file", str(Path(path)))


def _folder(path: Path) -> _Listing:
    os.listdir(path)  # raises here what a walk would pass over
    items, others = tree_items(path)
    shards = [name for name in others if name.lower().endswith(TAR)]
    if items or not shards:
        return items, NATURAL, others
    found, order, members = _shards([path / name for name in shards])
    return found, order, (*(name for name in others if name not in shards), *members)


def _file(path: Path) -> _Listing | None:
    if not path.exists():
        return None
    if path.name.lower().endswith((TAR, *COMPRESSED)):
        return _shards([path])
    if path.suffix.lower() in _LISTS:
        return list_items(path), "order of the list", ()
    if is_image_name(path.name):
        return [file_item(path, path.name)], NATURAL, ()
    raise FileError(
        f"images {path} is a file of another kind; allowed are a folder, a .tar, a text file of paths "
        f"({', '.join(_LISTS)}), an image, or a pattern."
    )


def _pattern(text: str) -> _Listing:
    if not any(sign in text for sign in MAGIC):
        raise FileError(
            f"images {text} do not exist. Name a folder, a .tar, a list of paths, a pattern, or a data set of "
            "glocal data fetch."
        )
    items = glob_items(text)
    if items and all(item.name.lower().endswith(TAR) for item in items):
        root = text
        while any(sign in root for sign in MAGIC):
            root = os.path.dirname(root)
        return _shards([Path(root, item.name) for item in items])
    return items, NATURAL, ()


def _shards(shards: list[Path]) -> _Listing:
    items, others = shard_items(sorted(shards, key=lambda shard: natural_key(shard.as_posix())))
    return items, _ARCHIVES, others


def _data_set(images: ImageSet) -> _Listing:
    items = []
    for i, name in enumerate(images.names):
        held = images.open(i)
        items.append(
            file_item(held, name) if isinstance(held, Path) else Item(name, 1, partial(_pixmap, images.open, i))
        )
    return items, "order of the data set", ()


def _labels(images: ImageSet) -> dict[str, tuple[str, ...]]:
    return {key: tuple(images.classes[key][one] for one in labels) for key, labels in images.labels.items()}


def _pixmap(opened: Callable[[int], Any], i: int) -> bytes:
    """A picture in memory as the bytes of a PPM file, which loses nothing."""
    pixels = np.asarray(opened(i))
    return b"P6 %d %d 255\n" % (pixels.shape[1], pixels.shape[0]) + pixels.tobytes()
