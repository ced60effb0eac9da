"""Images as files: a folder tree, a glob, a list of paths, or one file; which names are images, in what order."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from glocal.extract.source import Item
from glocal.files import read_lines
from glocal.jobs.leaving import stamp_of

MAGIC = "*?["
_NUMBER = re.compile(r"[0-9]+")
IMAGE_EXTENSIONS = frozenset(
    {".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icb", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2"}
    | {".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm"}
    | {".psd", ".qoi", ".ras", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm"}
)


def tree_items(folder: Path) -> tuple[list[Item], tuple[str, ...]]:
    """Every image under a folder in natural order, and the names of the other files.

    Names are paths below `folder` with forward slashes. Links to folders are followed once. A subfolder that cannot be
    listed is an item with its reason.
    """
    images, others, barred = [], [], []
    for path, error in _walk(folder):
        name = path.relative_to(folder).as_posix()
        if error is not None:
            barred.append(
                Item(name, 0, partial(_read, str(path)), f"is a folder that cannot be read: {error.strerror}")
            )
        elif is_image_name(name):
            images.append(file_item(path, name))
        else:
            others.append(name)
    return sorted([*images, *barred], key=lambda item: natural_key(item.name)), tuple(sorted(others, key=natural_key))


def glob_items(pattern: str) -> list[Item]:
    """Every file that a pattern fits, ``**`` included, in natural order; names are below its fixed folder."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if any(sign in part for sign in MAGIC)), len(parts) - 1)
    root = Path(*parts[:fixed]) if fixed else Path()
    paths = [Path(found) for found in glob.glob(pattern, recursive=True, include_hidden=False)]
    items = [file_item(path, path.relative_to(root).as_posix()) for path in paths if not path.is_dir()]
    return sorted(items, key=lambda item: natural_key(item.name))


def list_items(file: Path) -> list[Item]:
    """The files that a text file lists, one a line, in its order; relative ones lie beside it."""
    items = []
    for number, line in enumerate(read_lines(file, what="image list"), start=1):
        if line:
            items.append(file_item(file.parent / line, line))
        else:
            items.append(Item(f"line {number}", 0, bytes, "is an empty line of the list"))
    return items


def file_item(path: Path, name: str) -> Item:
    """One file, with the reason why it cannot be read where that is known at once."""
    if "\0" in name:
        return Item(name, 0, bytes, "has a NUL character in its name, which no file has")
    try:
        found = path.stat()
    except FileNotFoundError:
        missing = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        return Item(name, 0, partial(_read, str(path)), missing)
    except OSError as error:
        return Item(name, 0, partial(_read, str(path)), f"cannot be read: {error.strerror}")
    reason = None if path.is_file() else "is not a regular file"
    return Item(name, found.st_size, partial(_read, str(path)), reason, stamp_of(found))


def _read(path: str) -> bytes:  # a str: a Path for each of a million images would weigh several hundred megabytes
    with open(path, "rb") as stream:
        return stream.read()


def _walk(folder: Path) -> Iterator[tuple[Path, OSError | None]]:
    """Files below a folder, and folders that cannot be listed with what the system says."""
    seen: set[tuple[int, int]] = set()
    errors: list[OSError] = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=errors.append):
        found = os.stat(root)
        if (found.st_dev, found.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((found.st_dev, found.st_ino))
        yield from ((Path(root, file), None) for file in files)
        yield from _barred(errors)
    yield from _barred(errors)


def _barred(errors: list[OSError]) -> Iterable[tuple[Path, OSError]]:
    found = [(Path(error.filename), error) for error in errors]
    errors.clear()
    return found


def natural_key(name: str) -> tuple[str, str]:
    """The sort key of the natural order: folder by folder, numbers by their value, letters without their case.

    The extension of a file comes last: ``paint.png`` stands before ``paint2.png``.

    >>> sorted(["b/1.png", "a10.png", "a2.png", "B/0.png"], key=natural_key)
    ['a2.png', 'a10.png', 'B/0.png', 'b/1.png']
    """
    # the end of a folder's name sorts before that of a stem, that before a number, a number by its length and digits
    # before letters: plain strings, since nested tuples for each of a million names would weigh a gigabyte
    stem, extension = os.path.splitext(name.casefold())
    folded = _NUMBER.sub(_by_value, f"{stem}\1{extension}").replace("/", "\0")
    return folded, name  # names that differ in case or leading zeros only still have one order


def is_image_name(name: str) -> bool:
    """Whether the extension of a file name is one of an image, and the file is not hidden.

    >>> is_image_name("cat.JPG"), is_image_name("._cat.jpg"), is_image_name("cat.txt")
    (True, False, False)
    """
    base = name.rsplit("/", 1)[-1]
    dot = base.rfind(".")
    return dot > 0 and not base.startswith(".") and base[dot:].lower() in IMAGE_EXTENSIONS


def _by_value(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"\2{chr(1 + min(len(digits), 50_000))}{digits}\2"
