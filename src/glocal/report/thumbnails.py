"""Thumbnails of the objects of runs."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from glocal.data.names import matching_entries
from glocal.errors import DataError, DataWarning, warn
from glocal.files import PathLike
from glocal.report.runs import Run

if TYPE_CHECKING:
    from glocal.extract.images import Source

_SIDE = 64  # pixels of the longer side of a thumbnail


def load_thumbnails(
    images: PathLike | Source,
    runs: Sequence[Run],
    *,
    progress: Callable[[int], None] = lambda number: None,
) -> dict[str, str]:
    """Shrink the images that are named like objects of the runs to 64 pixels.

    Names are compared by the rule of `glocal.data.names`, so that an object has no picture if
    several images may be its own. `images` is whatever `glocal.extract.open_images` opens. A
    DataWarning names the objects without a readable image.

    Returns
    -------
    dict
        WebP images as data URIs, by the name of the object.

    Raises
    ------
    DataError
        No image has the name of an object.
    """
    from glocal.extract.images import Unreadable, open_images

    networks = [views for run in runs for views in run.views.values()]
    names = {name for views in networks for view in views.values() for name in view.names}
    source = open_images(images)
    image_of = matching_entries(sorted(names), source.names)
    if not image_of:
        raise DataError(
            f"no image in {source.described} has the name of an object: images are named like "
            f"{source.names[0]}, objects like {min(names, default='none')}. Name the images after "
            "the objects; capital letters, folder and ending do not count."
        )
    number_of = {image: number for number, image in enumerate(source.names)}
    pictures = {}
    for count, (name, image) in enumerate(image_of.items(), start=1):
        progress(count)
        with contextlib.suppress(Unreadable):
            pictures[name] = _data_uri(source.read(number_of[image], at_least=2 * _SIDE))
    if lacking := sorted(names - pictures.keys()):
        warn(
            f"no readable image has the name of {len(lacking)} objects, such as {lacking[0]}.",
            DataWarning,
        )
    return pictures


def _data_uri(image: Any) -> str:
    """A Pillow image, shrunk to a thumbnail in place, as a data URI."""
    stream = io.BytesIO()
    image.thumbnail((_SIDE, _SIDE))
    image.save(stream, format="webp", quality=60, exif=b"", icc_profile=None)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
