"""The images of a study as people get them: decoded once, upright, up to 640 pixels wide or high, without metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from glocal.errors import FileError
from glocal.extract.images import Source, Unreadable
from glocal.files import atomic_write, make_folder

SIDE = 640  # pixels of the longer side: a third of a wide screen, or the whole of a phone
MEDIA = "image/jpeg"  # WebP is a fifth smaller and takes thirty times as long to write
_QUALITY = 90
_THREADS = 4


@dataclass(frozen=True)
class Pictures:
    """The names and files of the images that can be shown, in the order of the source, and the others with a reason."""

    names: tuple[str, ...]
    files: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def prepare(source: Source, folder: Path, progress: Callable[[int], None] = lambda done: None) -> Pictures:
    """Write each image of a source into a folder, under the hash of its bytes.

    Raises
    ------
    FileError
        Fewer than three images can be shown.
    """
    make_folder(folder)
    names, files, left_out = [], [], []
    for number, made in enumerate(_made(source, folder)):
        name = source.names[number]
        if isinstance(made, str):
            names.append(name)
            files.append(made)
        else:
            left_out.append((name, str(made)))
        progress(number + 1)
    if len(names) < 3:
        why = f" ({left_out[0][0]} {left_out[0][1]})" if left_out else ""
        raise FileError(f"{source.described} has {len(names)} images that can be shown{why}; a trial needs three.")
    return Pictures(tuple(names), tuple(files), tuple(left_out))


def _made(source: Source, folder: Path) -> Iterator[str | Unreadable]:
    def make(number: int) -> str | Unreadable:
        try:
            return _file(source, number, folder)
        except Unreadable as reason:
            return reason

    with ThreadPoolExecutor(_THREADS) as pool:
        numbers = iter(range(len(source)))
        while chunk := list(islice(numbers, 64)):  # the pool would hold the results of all images at once
            yield from pool.map(make, chunk)


def _file(source: Source, number: int, folder: Path) -> str:
    image = source.read(number, at_least=2 * SIDE)
    image.thumbnail((SIDE, SIDE))
    drawn = io.BytesIO()
    image.save(drawn, format="jpeg", quality=_QUALITY, exif=b"", icc_profile=None)
    path = folder / (hashlib.sha256(drawn.getvalue()).hexdigest()[:24] + ".jpg")
    if not path.exists():
        with atomic_write(path) as stream:
            stream.write(drawn.getvalue())
    return path.name
