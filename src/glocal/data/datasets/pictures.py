"""Pictures that are opened one at a time: from files, or from pixels in memory."""

from __future__ import annotations

import operator
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
    """A sequence whose i-th item is opened as an upright RGB ``PIL.Image`` when it is asked for.

    Parameters
    ----------
    held : (n, height, width, 3) uint8 array, or sequence of n paths
    """

    def __init__(self, held: np.ndarray | Sequence[Path]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # one at a time, no slices
        """Open one picture; a FileError says why one cannot be."""
        from PIL import Image

        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"picture {i} of {len(self)}")
        if isinstance(self.held, np.ndarray):
            return Image.fromarray(self.held[i])
        path = self.held[i]
        try:
            return decode_image(path.read_bytes())
        except (OSError, Unreadable) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise FileError(f"image file {path} cannot be opened ({reason}). Copy it again, or remove it.") from error
