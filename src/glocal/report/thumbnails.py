"""Small pictures of the objects, joined by name, each a few hundred bytes of text in the page."""

from __future__ import annotations

import base64
import io
import unicodedata
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glocal.data.features import object_name
from glocal.errors import DataError
from glocal.files import PathLike
from glocal.report.loading import Run

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 64  # pixels of the longer side
_QUALITY = 60
_THREADS = 4
_NAMED = 3  # names in a sentence


@dataclass(frozen=True)
class Thumbnails:
    """Pictures of objects as data URIs by the name of the object, and what is to be said of those that lack one."""

    pictures: dict[str, str]
    said: tuple[str, ...] = ()


def load_thumbnails(images: PathLike, run: Run, *, progress: Callable[[int], None] = lambda done: None) -> Thumbnails:
    """Shrink the images that have the names of the run's objects to 64 pixels; folder and extension do not count.

    Parameters
    ----------
    images : path or pattern
        What `glocal.extract.open_images` opens: a folder with its subfolders, a list, a pattern.
    run : Run
        Its views name the objects.
    progress : function
        Called with the number of images done.

    Returns
    -------
    Thumbnails
        Upright, transparent parts white, as WebP, or as JPEG where Pillow lacks WebP. An object without an image has
        no picture; a damaged image is named with what is wrong. Of several images of a name the first is taken.

    Raises
    ------
    FileError
        There are no images.
    DataError
        The run has no views, or no image has the name of an object.
    """
    from glocal.extract.images import Unreadable, open_images

    names = list(dict.fromkeys(n for arms in run.views.values() for n in next(iter(arms.values())).names))
    if not names:
        raise DataError("there are no objects in this run to show pictures of. Leave out --thumbnails.")
    source = open_images(images)
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(source.names):
        numbers.setdefault(_key(object_name(name)), []).append(number)
    wanted = {name: numbers.get(_key(name)) or numbers.get(_key(object_name(name))) or [] for name in names}
    found = {name: which[0] for name, which in wanted.items() if which}
    if not found:
        raise DataError(
            f"no image in {source.described} has the name of an object: images are named like "
            f"{source.names[0]}, objects like {names[0]}. Name images after the objects; folder and extension do "
            "not count."
        )

    def shrunk(number: int) -> str | Unreadable:
        try:
            return _data_uri(source.read(number, at_least=2 * SIDE))
        except Unreadable as reason:
            return reason

    pictures: dict[str, str] = {}
    damaged = []
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # said of images that are read all the same
        for done, (name, made) in enumerate(zip(found, pool.map(shrunk, found.values()), strict=True), start=1):
            progress(done)
            if isinstance(made, str):
                pictures[name] = made
            else:
                damaged.append(f"{source.names[found[name]]} {made}")
    missing = [name for name in names if name not in found]
    several = [name for name, which in wanted.items() if len(which) > 1]
    return Thumbnails(pictures, tuple(_sentences(len(names), missing, damaged, several)))


def _sentences(total: int, missing: list[str], damaged: list[str], several: list[str]) -> Iterable[str]:
    if missing:
        yield f"Pictures: {len(missing)} of {total} objects have no image of their name ({_some(missing)})."
    if damaged:
        yield f"Pictures: {len(damaged)} of {total} are left out because the image {_some(damaged)}."
    if several:
        yield f"Pictures: of several images of one name the first is shown ({_some(several)})."


def _some(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _key(name: str) -> str:
    # some file systems take letters and their accents apart
    return unicodedata.normalize("NFC", name)


def _data_uri(image: Image) -> str:
    from PIL import features

    image.thumbnail((SIDE, SIDE))
    kind = "webp" if features.check("webp") else "jpeg"
    drawn = io.BytesIO()
    # without what the file tells besides its pixels
    image.save(drawn, format=kind, quality=_QUALITY, exif=b"", icc_profile=None)
    return f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}"
