"""A study: a folder with its settings, its images by number, what people read, and a key that only its owner reads."""

from __future__ import annotations

import contextlib
import importlib.resources
import io
import json
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glocal.errors import FileError, ParameterError
from glocal.extract.images import Source, Unreadable, open_images
from glocal.files import atomic_write, make_folder, read_object, read_text, reading, writing
from glocal_collect.settings import Settings

SIDE = 640  # pixels of the longer side of an image: a third of a wide screen, or the whole of a phone
_FIXED = ("kind", "seed")  # what people were asked before would mean something else
_FIX = "Name the folder that glocal collect run --out wrote, with all its files."


@dataclass(frozen=True, eq=False)
class Study:
    """A study in its folder; image i has the name ``names[i]`` and the file ``images/i.jpg``; `key` signs its links."""

    folder: Path
    settings: Settings
    names: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    made: float
    key: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def title(self) -> str:
        """The title of the page that people see."""
        return self.settings.title or self.folder.resolve().name

    @property
    def database(self) -> Path:
        """The file of its answers."""
        return self.folder / "answers.sqlite"

    def ended(self) -> bool:
        """Whether its days are over: then no link opens anything."""
        return time.time() > self.made + self.settings.days * 86_400

    def revoked(self, link: str) -> bool:
        """Whether ``revoked.txt`` names a link: the id of a person, or ``open`` or ``owner``, one per line."""
        with contextlib.suppress(FileNotFoundError):
            return link in (self.folder / "revoked.txt").read_text(encoding="utf-8").split()
        return False

    def text(self, name: str) -> str:
        """The Markdown of ``consent`` or ``instructions``, as it is now."""
        return read_text(self.folder / f"{name}.md", what=name)

    def changed(self, settings: Settings) -> Study:
        """The same study with other settings, written if they differ; a ParameterError where these are fixed."""
        for name in _FIXED:
            before, after = getattr(self.settings, name), getattr(settings, name)
            if before != after:
                raise ParameterError(
                    f"`{name}` is {after}, but the study {self.folder} was begun with {before} and has its answers. "
                    f"Leave it out, or name another folder."
                )
        study = replace(self, settings=settings)
        if settings != self.settings:
            _write(study)
        return study


def create(
    folder: Path, images: str, settings: Settings, progress: Callable[[int, int], None] = lambda done, total: None
) -> Study:
    """Make the folder of a study: prepare its images, write its texts, draw its key.

    `images` is what `glocal.extract.open_images` opens. A study exists when its ``study.json`` does: what was killed
    before is made again.

    Raises
    ------
    FileError
        A file cannot be written, or fewer than three images can be shown.
    """
    source = open_images(images)
    names, left_out = _prepare(source, make_folder(folder / "images"), progress)
    for name, template in (("consent", "consent"), ("instructions", settings.kind)):
        if not (folder / f"{name}.md").exists():
            with atomic_write(folder / f"{name}.md") as stream:
                stream.write((importlib.resources.files("glocal_collect") / f"texts/{template}.md").read_bytes())
    with contextlib.suppress(FileExistsError):  # of two processes that make a study both sign with one key
        handle = os.open(folder / "secret.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump({"key": secrets.token_hex(32)}, stream)
    study = Study(folder, settings, names, left_out, time.time(), _key(folder))
    _write(study)
    return study


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a study that was made to its end."""
    return (folder / "study.json").is_file()


def open_study(folder: Path) -> Study:
    """Read the study of a folder; a FileError where it is none, or damaged."""
    if not is_study(folder):
        raise FileError(f"{folder} is not the folder of a study: it has no study.json. {_FIX}")
    held = read_object(folder / "study.json", what="study", fix=_FIX)
    with reading(folder / "study.json", "study", _FIX):
        left_out = tuple((str(name), str(reason)) for name, reason in held["left_out"])
        names, made = tuple(map(str, held["images"])), float(held["made"])
        return Study(folder, Settings(**held["settings"]), names, left_out, made, _key(folder))


def _key(folder: Path) -> str:
    return str(read_object(folder / "secret.json", what="secret of the study", fix=_FIX).get("key", ""))


def _write(study: Study) -> None:
    held: dict[str, Any] = {
        "made": study.made, "settings": study.settings.model_dump(), "images": study.names, "left_out": study.left_out,
    }  # fmt: skip
    with atomic_write(study.folder / "study.json") as stream:
        stream.write(json.dumps(held, indent=1).encode())


def _prepare(
    source: Source, folder: Path, progress: Callable[[int, int], None]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Write the images as people get them, upright, small and without metadata; names of these, and why others lack."""

    def make(number: int) -> bytes | Unreadable:
        try:
            image = source.read(number, at_least=2 * SIDE)
        except Unreadable as reason:
            return reason
        image.thumbnail((SIDE, SIDE))
        drawn = io.BytesIO()
        image.save(drawn, format="jpeg", quality=90, exif=b"", icc_profile=None)
        return drawn.getvalue()

    names: list[str] = []
    left_out: list[tuple[str, str]] = []
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(source), 64):  # the pool would hold the results of all images at once
            numbers = range(start, min(start + 64, len(source)))
            for number, made in zip(numbers, pool.map(make, numbers), strict=True):
                if isinstance(made, Unreadable):
                    left_out.append((source.names[number], str(made)))
                    continue
                with writing(folder):
                    (folder / f"{len(names)}.jpg").write_bytes(made)
                names.append(source.names[number])
            progress(numbers.stop, len(source))
    if len(names) < 3:
        why = f" ({' '.join(left_out[0])})" if left_out else ""
        raise FileError(f"{source.described} has {len(names)} images that can be shown{why}; a trial needs three.")
    return tuple(names), tuple(left_out)
