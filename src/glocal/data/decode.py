"""Bytes of an image file to 8-bit RGB pixels, as a person would see them."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING

import numpy as np

from glocal.extras import needed
from glocal.files import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

# NOTE what Pillow opens besides starts other programs (EPS: gs), or is not a format of photographs and drawings
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN",
    "TGA", "TIFF", "WEBP", "XBM",
)  # fmt: skip
MOST_PIXELS = 89_478_485  # above it Pillow warns of bombs; up to 12 bytes a pixel are held at once
_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_SIXTEEN = 0xFFFF


class Unreadable(Exception):  # noqa: N818  not an error of the run: one item that is reported by name
    """Why one item has no row; the run goes on without it."""


def decode_image(data: bytes, *, at_least: int | None = None) -> Image:
    """The first frame of a file of one of `FORMATS` as upright 8-bit RGB; `Unreadable` where there is none.

    CMYK, palette, gray and 1-bit images are converted; 16-bit values keep their high byte, as PNG readers do; EXIF
    orientation is applied; transparent pixels lie on white. A JPEG is decoded at the smallest scale whose shorter side
    has `at_least` pixels.
    """
    needed("PIL.Image", "decoding images")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_known_formats()) as opened:
            if at_least is not None:
                opened.draft(None, (at_least, at_least))
            width, height = opened.size
            if width * height > MOST_PIXELS:
                raise Unreadable(f"has {width} x {height} pixels; allowed are {MOST_PIXELS} in all. Shrink it")
            opened.load()
            return _rgb(_upright(opened))
    except Unreadable:
        raise
    except MemoryError as error:
        raise Unreadable("does not fit in memory") from error
    except UnidentifiedImageError as error:
        raise Unreadable("is not an image of a known format") from error
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        raise Unreadable(f"is damaged: {one_line(error)[:120]}") from error


@functools.cache
def _known_formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _upright(image: Image) -> Image:
    from PIL import ExifTags, ImageOps

    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image  # a copy only where it is needed
    except Exception:  # noqa: BLE001  damaged EXIF does not damage the pixels
        return image


def _rgb(image: Image) -> Image:
    if image.mode in _ALPHA or "transparency" in image.info:
        return _on_white(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image).convert("RGB")
    return image.convert("RGB")


def _on_white(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith("I"):  # a 16-bit gray image with one transparent value
        key, values = image.info.pop("transparency", None), np.asarray(image)
        shown = np.where(values == key, _SIXTEEN, values) if isinstance(key, int) else values
        return Image.fromarray((shown >> 8).astype(np.uint8)).convert("RGB")
    pixels = image if image.mode == "RGBA" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert("RGB")


def _eight_bit(image: Image) -> Image:
    from PIL import Image

    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        if not (low >= 0 and high <= 255):
            raise Unreadable(f"has real values from {low:g} to {high:g}; allowed are 0 to 1 and 0 to 255")
        return Image.fromarray(np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8))
    if low < 0 or high > _SIXTEEN:
        raise Unreadable(f"has values from {low:g} to {high:g}; allowed are 0 to {_SIXTEEN}")
    return Image.fromarray((values >> 8).astype(np.uint8))
