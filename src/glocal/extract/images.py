"""Images as named items in the order of the rows to come, and how their files are decoded."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import FileError, needed, one_line
from glocal.files import PathLike, read_lines

if TYPE_CHECKING:
    from PIL.Image import Image

# NOTE what Pillow opens besides starts other programs (EPS: gs), or is not a format of photographs and drawings
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN",
    "TGA", "TIFF", "WEBP", "XBM",
)  # fmt: skip
MOST_PIXELS = 89_478_485  # above it Pillow warns of bombs; up to 12 bytes a pixel are held at once
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class Unreadable(Exception):  # noqa: N818  not an error of the run: one item that is reported by name
    """Why one item has no row; the run continues without it."""


@dataclass(frozen=True, eq=False)
class Source:
    """n named images and how each is read.

    Parameters
    ----------
    names : sequence of n str
        In the order of the rows to come.
    open : function
        The number of an image to its path, or to its (height, width, 3) uint8 pixels.
    described : str
        Where the images come from, for messages and the record.
    labels : mapping of str to n str
        Classes of the images, under the names of the text files that hold them.
    ignored : tuple of str
        Files beside the images whose extension is not that of an image.

    Raises
    ------
    FileError
        There is no image, or a name cannot be a line of ``file_names.txt``.
    """

    names: Sequence[str]
    open: Callable[[int], PathLike | np.ndarray]
    described: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise FileError(
                f"there is no image in {self.described}. Name a folder, a pattern, a list of paths, or a data set."
            )
        for name in self.names:
            if len(name.splitlines()) != 1 or name != name.strip() or _NO_TEXT.search(name):
                raise FileError(
                    f"image name {name!r} has a line break, spaces at its ends or characters that are not UTF-8 text, "
                    "so that it cannot be a line of file_names.txt. Rename the file."
                )

    def __len__(self) -> int:
        return len(self.names)

    def read(self, number: int, *, at_least: int | None = None) -> Image:
        """An image as upright 8-bit RGB, see `decode_image`; `Unreadable` with the reason if that fails."""
        held = self.open(number)
        if isinstance(held, np.ndarray):
            return _pil().fromarray(held)
        return decode_image(held, at_least=at_least)

    def sha256(self) -> str:
        """Hash of names, sizes, times of change and labels: it changes when any of them does."""
        digest = hashlib.sha256(json.dumps({name: list(lines) for name, lines in self.labels.items()}).encode())
        for number, name in enumerate(self.names):
            held = self.open(number)
            stamp = None
            if not isinstance(held, np.ndarray) and os.path.exists(held):
                status = os.stat(held)
                stamp = status.st_size, status.st_mtime_ns
            digest.update(f"{name}\0{stamp}\n".encode())
        return digest.hexdigest()


def open_images(images: PathLike) -> Source:
    """The images that a path or pattern names; `glocal.extract.sets.load_images` opens data sets.

    Parameters
    ----------
    images : path or pattern
        A folder, searched with its subfolders; a pattern with ``*``, ``?``, ``[`` (``**`` for any
        depth); a text file with one path per line; or an image. Folders and patterns are taken in
        natural order, lists in their own. Relative paths of a list start at its folder.

    Raises
    ------
    FileError
        Nothing is there, no image is in it, or it cannot be read.
    """
    path = Path(images)
    if path.is_dir():
        root, found = path, _below(path)
    elif path.suffix.lower() in (".txt", ".lst", ".list"):
        names = [line for line in read_lines(path, what="image list") if line]
        return Source(names, lambda i: os.path.join(path.parent, names[i]), str(path))
    elif path.is_file():
        root, found = path.parent, [path.name]
    else:
        fixed = re.split(r"[^/\\]*[*?\[]", str(images))[0]
        root, matches = Path(fixed), glob.glob(str(images)[len(fixed) :], root_dir=fixed or ".", recursive=True)
        found = [match.replace(os.sep, "/") for match in matches if not (root / match).is_dir()]
    kinds = {extension for extension, kind in _pil().registered_extensions().items() if kind in FORMATS}
    found.sort(key=natural_key)
    names = [name for name in found if Path(name).suffix.lower() in kinds and Path(name).name[0] != "."]
    ignored = tuple(sorted(set(found) - set(names), key=natural_key))
    return Source(names, lambda i: os.path.join(root, names[i]), str(images), ignored=ignored)


def natural_key(name: str) -> tuple[str, str]:
    """The sort key of the natural order: folder by folder, numbers by value, letters without case, extension last.

    >>> sorted(["b/1.png", "a10.png", "a.png", "B/0.png", "a.jpg", "a/x.png", "a2.png"], key=natural_key)
    ['a/x.png', 'a.jpg', 'a.png', 'a2.png', 'a10.png', 'B/0.png', 'b/1.png']
    """
    stem, extension = os.path.splitext(name.casefold())
    padded = re.sub("[0-9]+", lambda number: number[0].zfill(20), f"{stem}\1{extension}").replace("/", "\0")
    return padded, name  # names that differ in case or leading zeros only still have one order


def decode_image(file: PathLike, *, at_least: int | None = None) -> Image:
    """The first frame of a file of one of `FORMATS` as upright 8-bit RGB, as a person would see it.

    CMYK, palette, gray and 1-bit images are converted; 16-bit values keep their high byte, as PNG
    readers do; EXIF orientation is applied; transparent pixels lie on white. A JPEG is decoded at
    the smallest scale whose shorter side has `at_least` pixels.

    Raises
    ------
    Unreadable
        The file cannot be read, is damaged, or is not an image.
    """
    pil = _pil()
    pil.init()  # so that the formats are known that this Pillow was built with
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # NOTE opening a named pipe would wait for ever
            raise Unreadable("is a folder, a pipe or a device; allowed are files")
        with pil.open(file, formats=[name for name in FORMATS if name in pil.OPEN]) as opened:
            if opened.width * opened.height > MOST_PIXELS:
                raise Unreadable(f"has {opened.width} x {opened.height} pixels; allowed are {MOST_PIXELS} in all")
            if at_least is not None:
                opened.draft(None, (at_least, at_least))
            opened.load()
            image = opened
            with contextlib.suppress(Exception):  # damaged EXIF does not damage the pixels
                image = needed("PIL.ImageOps", "decoding images").exif_transpose(opened)
            return _rgb(image)
    except Unreadable:
        raise
    except pil.UnidentifiedImageError as error:
        raise Unreadable("is empty or not an image of a known format") from error
    except MemoryError as error:
        raise Unreadable("does not fit in memory") from error
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        known = isinstance(error, OSError) and error.strerror
        raise Unreadable(f"cannot be read: {known}" if known else f"is damaged: {one_line(error)[:120]}") from error


def _below(folder: Path) -> list[str]:
    """Every file below a folder; links to folders are followed once."""

    def refuse(error: OSError) -> None:
        raise FileError(f"image folder {error.filename} cannot be read: {error.strerror}. Check its permissions.")

    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        if (real := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(real)
        found += [(Path(root).relative_to(folder) / file).as_posix() for file in files]
    return found


def _pil() -> Any:
    """Pillow, which is an extra."""
    return needed("PIL.Image", "decoding images")


def _rgb(image: Image) -> Image:
    """The pixels as 8-bit RGB, transparent ones on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    pixels = image.convert("RGBA")
    return _pil().alpha_composite(_pil().new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def _eight_bit(image: Image) -> Image:
    """Integers of 16 bits by their high byte; real values of 0 to 1, or of 0 to 255."""
    values = np.asarray(image)
    low, high, top = float(values.min()), float(values.max()), 255 if image.mode == "F" else 65535
    if not (low >= 0 and high <= top):
        raise Unreadable(f"has values from {low:g} to {high:g}; allowed are 0 to {top}")
    shown = np.rint(values * (255 if high <= 1 else 1)) if image.mode == "F" else values >> 8
    return _pil().fromarray(shown.astype(np.uint8)).convert("RGB")
