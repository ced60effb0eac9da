"""Pictures that are opened one at a time: from files, or from pixels in memory."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.data.decode import Unreadable, decode_image
from glocal.errors import FileError
from glocal.files import one_line

if TYPE_CHECKING:
    from PIL.Image import Image


class Pictures(Sequence[Any]):
    """A sequence whose i-th item is opened as an RGB ``PIL.Image`` when it is asked for."""

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # one at a time, no slices
        """Open one picture; negative numbers count from the end."""
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"picture {i} of {len(self)}")
        return self.open(i % len(self))

    @abstractmethod
    def open(self, i: int) -> Image:
        """Open picture i, 0 ≤ i < n."""


class PixelPictures(Pictures):
    """Pictures of an (n, height, width, 3) uint8 array."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def open(self, i: int) -> Image:
        """Make a picture of pixels i."""
        from PIL import Image

        return Image.fromarray(self.pixels[i])


class FilePictures(Pictures):
    """Pictures of n files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, i: int) -> Image:
        """Read file i, whole, as upright RGB; see `glocal.data.decode.decode_image`.

        Raises
        ------
        FileError
            Missing, unreadable or damaged.
        """
        path = self.paths[i]
        try:
            return decode_image(path.read_bytes())
        except (OSError, Unreadable) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise FileError(f"image file {path} cannot be opened ({reason}). Copy it again, or remove it.") from error
