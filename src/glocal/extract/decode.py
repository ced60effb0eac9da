"""Bytes of an image file to 8-bit RGB pixels, as a person would see them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from glocal.errors import MissingDependencyError
from glocal.extract.source import Unreadable
from glocal.files import one_line

if TYPE_CHECKING:
    from PIL.Image import Image

_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_SIXTEEN = 0xFFFF


def decode_image(data: bytes, *, at_least: int | None = None) -> Image:
    """The first frame of an image as upright 8-bit RGB.

    CMYK, palette, gray and 1-bit images are converted; 16-bit values keep their high byte, as PNG readers do; of an
    animation the first frame is taken; EXIF orientation is applied; transparent pixels lie on white.

    Parameters
    ----------
    data : bytes
        A whole file of any format that Pillow reads.
    at_least : int or None
        Pixels that the shorter side is needed in: a JPEG is then decoded at the smallest scale that has them.

    Raises
    ------
    Unreadable
        No image, damaged, truncated, too large, or with pixels of unknown range.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise MissingDependencyError(
            "images need pillow, which is not installed. Install it: pip install 'glocal[extract]'."
        ) from error
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if at_least is not None:
                opened.draft(None, (at_least, at_least))
            opened.load()
            return _rgb(_upright(opened, ImageOps.exif_transpose))
    except Unreadable:
        raise
    except MemoryError as error:
        raise Unreadable("does not fit in memory") from error
    except UnidentifiedImageError as error:
        raise Unreadable("is no image that Pillow knows") from error
    except Exception as error:  # decoders raise whatever damaged bytes lead them to
        raise Unreadable(f"is damaged: {one_line(error)[:120]}") from error


def _upright(image: Image, transpose: object) -> Image:
    try:
        turned: Image = transpose(image)  # type: ignore[operator]
    except Exception:  # noqa: BLE001  damaged EXIF does not damage the pixels
        return image
    return turned


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
    pixels = image.convert("RGBA")
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
