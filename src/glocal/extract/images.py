"""Named images in the order of the future feature rows, and the decoding of their files."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import stat
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import FileError, import_optional, one_line
from glocal.files import PathLike, ending, file_sha256, read_lines

if TYPE_CHECKING:
    from PIL.Image import Image

# NOTE Pillow's other formats start programs (EPS: gs), or seldom hold photographs
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_LISTS = (".txt", ".lst", ".list")  # the endings of lists of paths


class Unreadable(Exception):  # noqa: N818  not an error of the run: the image is reported by name
    """The reason why an image has no row; the run continues without the image."""


@dataclass(frozen=True, eq=False)
class Source:
    """n named image files.

    Parameters
    ----------
    names : sequence of n str
        Names of the images, in the order of the future feature rows.
    paths : sequence of n paths
        Their files.
    described : str
        Origin of the images, for messages and the record.
    labels : sequence of n str
        The classes of the images; empty if they have none.

    Raises
    ------
    FileError
        There is no image, or a name cannot be a line of ``file_names.txt``.
    """

    names: Sequence[str]
    paths: Sequence[PathLike]
    described: str
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise FileError(
                f"there is no image in {self.described}. Name a folder, a pattern or a list of "
                "paths."
            )
        for name in self.names:
            is_line = name.splitlines() == [name]
            is_stripped = name == name.strip()
            if not is_line or not is_stripped or _NOT_TEXT.search(name):
                raise FileError(
                    f"image name {name!r} has a line break, spaces at its ends or characters "
                    "that are not UTF-8 text, so that it cannot be a line of file_names.txt. "
                    "Rename the file."
                )

    def __len__(self) -> int:
        return len(self.names)

    def read(self, number: int, *, at_least: int | None = None) -> Image:
        """Return an image as upright 8-bit RGB; see `decode_image`.

        Raises
        ------
        Unreadable
            The image cannot be decoded; the message is the reason.
        """
        return decode_image(self.paths[number], at_least=at_least)

    def sha256(self) -> str:
        """The hash of the names, file sizes, modification times and labels of all images."""
        lines = "\n".join(self.labels)
        digest = hashlib.sha256(lines.encode())
        for name, image in zip(self.names, self.paths, strict=True):
            stamp = None
            if os.path.exists(image):
                status = os.stat(image)
                stamp = (status.st_size, status.st_mtime_ns)
            line = f"{name}\0{stamp}\n"
            digest.update(line.encode())
        return digest.hexdigest()

    def copies(self) -> list[list[str]]:
        """The names of files with equal content, one list for each content with several names."""
        names_of: defaultdict[str, list[str]] = defaultdict(list)
        for name, file in zip(self.names, self.paths, strict=True):
            if os.path.isfile(file) and os.path.getsize(file):
                digest = file_sha256(file)
                names_of[digest].append(name)
        return [names for names in names_of.values() if len(names) > 1]


def open_images(images: PathLike | Source) -> Source:
    """Open the images of a path or pattern; what is open already is returned.

    Parameters
    ----------
    images : path, pattern or Source
        A folder, searched with its subfolders; a pattern with ``*``, ``?``, ``[`` (``**`` for any
        depth); a text file with one path per line; or an image. The images of a folder or pattern
        are sorted in natural order; a list keeps its own. Relative paths in a list start
        at the folder of the list. If all images of a folder lie in subfolders, these are their
        classes.

    Raises
    ------
    FileError
        The path does not exist, holds no image, or cannot be read.
    """
    if isinstance(images, Source):
        return images
    path = Path(images)
    if path.is_dir():
        root = path
        files = _files_below(path)
    elif ending(path) in _LISTS:
        return _listed_images(path)
    elif path.is_file():
        root = path.parent
        files = [path.name]
    else:
        pattern = str(images)
        folders_before_wildcard = re.split(r"[^/\\]*[*?\[]", pattern)[0]
        root = Path(folders_before_wildcard)
        files = _matching_files(folders_before_wildcard, pattern)
    extensions = _extensions()
    names = [file for file in files if _is_image(file, extensions)]
    names.sort(key=natural_key)
    folders = list(map(os.path.dirname, names))
    are_classes = all(folders)
    labels = folders if are_classes else ()
    paths = _joined(root, names)
    return Source(names, paths, str(images), labels)


def _listed_images(file: Path) -> Source:
    """The images that a text file lists, one per line."""
    lines = read_lines(file, what="image list")
    names = [line for line in lines if line]
    paths = _joined(file.parent, names)
    return Source(names, paths, str(file))


def _joined(root: Path, names: Sequence[str]) -> list[str]:
    """The paths of names below a folder; a name that is a whole path stays."""
    return [os.path.join(root, name) for name in names]


def _matching_files(folder: str, pattern: str) -> list[str]:
    """The files that match a pattern, below the folder with which it begins."""
    pattern_in_folder = pattern[len(folder) :]
    root = folder or "."
    files = []
    for match in glob.glob(pattern_in_folder, root_dir=root, recursive=True):
        path = Path(folder, match)
        if not path.is_dir():
            files.append(match.replace(os.sep, "/"))
    return files


def _extensions() -> set[str]:
    """The extensions of image files of `FORMATS`."""
    format_of = _pil().registered_extensions()
    extensions = set()
    for extension, name in format_of.items():
        if name in FORMATS:
            extensions.add(extension)
    return extensions


def _is_image(file: str, extensions: set[str]) -> bool:
    """Whether a file has one of the extensions and is not hidden."""
    name = os.path.basename(file)
    is_hidden = name.startswith(".")
    return ending(name) in extensions and not is_hidden


def natural_key(name: str) -> tuple[str, str]:
    """The sort key of the natural order: folder by folder, numbers by value, ignoring case.

    The extension is compared last.

    >>> names = ["b/1.png", "a10.png", "a.png", "B/0.png", "a.jpg", "a/x.png", "a2.png"]
    >>> sorted(names, key=natural_key)
    ['a/x.png', 'a.jpg', 'a.png', 'a2.png', 'a10.png', 'B/0.png', 'b/1.png']
    """
    stem, extension = os.path.splitext(name.casefold())
    parts = f"{stem}\1{extension}"
    padded = re.sub("[0-9]+", _with_zeros, parts)
    key = padded.replace("/", "\0")
    return key, name  # the name itself orders names that differ in case or leading zeros only


def _with_zeros(number: re.Match[str]) -> str:
    """A number with zeros before it, so that texts of numbers are ordered by value."""
    digits = number[0]
    return digits.zfill(20)


def decode_image(file: PathLike, *, at_least: int | None = None) -> Image:
    """Decode the first frame of an image file as upright 8-bit RGB, as a person would see it.

    CMYK, palette, grey and 1-bit images are converted. 16-bit values keep their high byte, as in
    PNG readers. The EXIF orientation is applied, and transparent pixels are laid on white. A JPEG
    is decoded at the smallest scale whose shorter side has at least `at_least` pixels.

    Raises
    ------
    Unreadable
        The file cannot be read, is damaged, or is not an image of one of `FORMATS`.
    """
    pil = _pil()
    pil.init()  # registers the formats that Pillow was built with
    from PIL import ImageOps

    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):  # NOTE opening a named pipe would block
            raise Unreadable("is a folder, a pipe or a device, not a file")
        formats = [name for name in FORMATS if name in pil.OPEN]
        with pil.open(file, formats=formats) as image:
            if at_least is not None:
                size = (at_least, at_least)
                image.draft(None, size)
            image.load()
            upright = image
            with contextlib.suppress(Exception):  # damaged EXIF data are ignored
                upright = ImageOps.exif_transpose(image)
            return _rgb(upright)
    except Unreadable:
        raise
    except Exception as error:  # damaged bytes can make a decoder raise anything
        reason = one_line(error)[:160]
        raise Unreadable(f"cannot be decoded: {reason}") from error


def _files_below(folder: Path) -> list[str]:
    """All files below a folder; links to folders are followed once."""

    def refuse(error: OSError) -> None:
        raise FileError(
            f"image folder {error.filename} cannot be read: {error.strerror}. "
            "Check its permissions."
        )

    paths: list[str] = []
    visited = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(root)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        relative = os.path.relpath(root, folder)
        prefix = relative.replace(os.sep, "/")
        for file in files:
            path = f"{prefix}/{file}"
            short_path = path.removeprefix("./")
            paths.append(short_path)
    return paths


def _pil() -> Any:
    """Import Pillow, which is an optional dependency."""
    return import_optional("PIL.Image", "decoding images")


def _rgb(image: Image) -> Image:
    """The image as 8-bit RGB: the high byte of 16-bit values, transparent pixels on white."""
    pil = _pil()
    opaque = image
    if image.mode[0] in "FI":
        values = np.asarray(image)
        smallest = values.min()
        largest = values.max()
        if not 0 <= smallest <= largest <= 65535:
            raise Unreadable("has values outside 0 to 65535")
        high_bytes = values >> 8
        opaque = pil.fromarray(high_bytes.astype(np.uint8))
    elif image.has_transparency_data:
        pixels = image.convert("RGBA")
        background = pil.new("RGBA", pixels.size, "white")
        opaque = pil.alpha_composite(background, pixels)
    return opaque.convert("RGB")
