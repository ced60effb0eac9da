"""Which files are images, and the natural order of their names."""

from __future__ import annotations

import os
import re

_NUMBER = re.compile(r"[0-9]+")
IMAGE_EXTENSIONS = frozenset(
    {".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".icb", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2"}
    | {".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm"}
    | {".psd", ".qoi", ".ras", ".sgi", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm"}
)


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
