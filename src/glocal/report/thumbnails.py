"""Small pictures of the objects, joined by name, each a few hundred bytes of text in the page."""

from __future__ import annotations

import base64
import io
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from glocal.data.features import object_name
from glocal.errors import DataError, DataWarning
from glocal.files import PathLike
from glocal.report.runs import Run

_SIDE = 64  # pixels of the longer side
_THREADS = 4


def load_thumbnails(
    images: PathLike, runs: Sequence[Run], *, progress: Callable[[int], None] = lambda done: None
) -> dict[str, str]:
    """Shrink the images that have the names of the runs' objects to 64 pixels, as WebP in data URIs by name.

    Folder and extension do not count; of several images of a name the first is taken. `images` is what
    `glocal.extract.open_images` opens.

    Raises
    ------
    FileError
        There are no images.
    DataError
        No image has the name of an object.

    Warns
    -----
    DataWarning
        Objects have no image, or a damaged one.
    """
    from glocal.extract.images import Unreadable, open_images

    names = {name for run in runs for arms in run.views.values() for view in arms.values() for name in view.names}
    source, numbers = open_images(images), dict[str, int]()
    for number, image in enumerate(source.names):
        numbers.setdefault(_key(image), number)
    wanted = {name: numbers[_key(name)] for name in sorted(names) if _key(name) in numbers}
    if not wanted:
        raise DataError(
            f"no image in {source.described} has the name of an object: images are named like {source.names[0]}, "
            f"objects like {next(iter(names), 'none')}. Name images after objects; folder and extension do not count."
        )

    def shrunk(number: int) -> str | None:
        try:
            image = source.read(number, at_least=2 * _SIDE)
        except Unreadable:
            return None
        drawn = io.BytesIO()
        image.thumbnail((_SIDE, _SIDE))
        image.save(drawn, format="webp", quality=60, exif=b"", icc_profile=None)
        return f"data:image/webp;base64,{base64.b64encode(drawn.getvalue()).decode()}"

    pictures = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for done, (name, made) in enumerate(zip(wanted, pool.map(shrunk, wanted.values()), strict=True), start=1):
            progress(done)
            if made is not None:
                pictures[name] = made
    if lacking := sorted(names - set(pictures)):
        some = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        warnings.warn(f"no readable image has the name of {some}.", DataWarning, stacklevel=2)
    return pictures


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", object_name(name))  # some file systems take letters and accents apart
