"""A study: a folder with its settings, images by number, texts, answers, and a secret key."""

from __future__ import annotations

import contextlib
import importlib.resources
import io
import json
import math
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from glocal.data.planning import STUDY_FILE
from glocal.errors import FileError, ParameterError
from glocal.extract.images import Source, Unreadable, open_images
from glocal.files import make_folder, read_object, read_text, reading, write_text, writing
from glocal_collect.db import create_database
from glocal_collect.settings import Settings

SIDE = 640  # pixels of the longer side of an image: a third of a wide screen, or all of a phone
MIN_KEY_CHARACTERS = 32
DATABASE = "answers.sqlite"
_FIX = "Name the folder that glocal collect run --out wrote, with all its files."


@dataclass(frozen=True, eq=False)
class Study:
    """A study in its folder.

    Image i has the name ``names[i]`` and the file ``images/i.jpg``. `left_out` lists images that
    cannot be shown, each with the reason. `images_sha256` is a hash by which the study recognises
    its images, `made` is the time of creation, and `key` signs the links.
    """

    folder: Path
    settings: Settings
    names: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    images_sha256: str
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
        """The file of the answers, which exists as long as the study does."""
        return self.folder / DATABASE

    @property
    def personal_ids(self) -> list[str]:
        """The ids of the people who have a personal link, p1, p2 and so on."""
        if self.settings.open is not None:
            return []
        return [f"p{number}" for number in range(1, (self.settings.people or 1) + 1)]

    def image(self, number: int) -> Path:
        """The file of an image as people see it."""
        return self.folder / "images" / f"{number}.jpg"

    @property
    def image_files(self) -> list[Path]:
        """The files of all images."""
        return [self.image(number) for number in range(len(self))]

    def has_ended(self) -> bool:
        """Whether the days of the study are over, after which no link opens anything."""
        return time.time() > self.made + self.settings.days * 86_400

    def text(self, name: str) -> str:
        """The Markdown of ``consent`` or ``instructions``, as it is now."""
        return read_text(self.folder / f"{name}.md", what=name)

    def with_settings(self, settings: Settings) -> Study:
        """Return the study with these settings, and write them if they differ.

        Raises
        ------
        ParameterError
            The kind or the seed differs; these are fixed.
        """
        before = self.settings
        for name in ("kind", "seed"):  # a change would give earlier answers another meaning
            if getattr(before, name) != getattr(settings, name):
                raise ParameterError(
                    f"`{name}` is {getattr(settings, name)}, but the study {self.folder} was begun "
                    f"with {getattr(before, name)}. Leave `{name}` out, or name another folder."
                )
        study = replace(self, settings=settings)
        if settings != before:
            _write(study)
        return study

    def check_images(self, images: str = "") -> None:
        """Check that no image of the study is missing, and that `images` are the same, if named.

        Raises
        ------
        FileError
            A file is missing.
        ParameterError
            `images` are others.
        """
        if missing := next((file for file in self.image_files if not file.is_file()), None):
            raise FileError(f"the image {missing} of the study is missing. Put back a copy.")
        if images and open_images(images).sha256() != self.images_sha256:
            raise ParameterError(
                f"the images in {images} are not those of the study {self.folder}: a name, size or "
                f"date differs. Leave them out to continue the study, or name another folder for a "
                f"new one."
            )


def create(
    folder: Path,
    images: str,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda count, total: None,
) -> Study:
    """Create a study in a folder without images: prepare them, write its texts, draw its key.

    `images` is whatever `glocal.extract.open_images` opens. A study exists once its ``study.json``
    does, which is written last. A creation that a kill or a full disk ended can be repeated.

    Raises
    ------
    ParameterError
        The folder has images already, or `images` lie in it. Nothing is written.
    FileError
        A file cannot be written, fewer than three images can be shown, or the folder has answers.
    """
    _check_folder(folder, images)
    source = open_images(images)
    create_database(make_folder(folder) / DATABASE)
    names, left_out = _prepare(source, make_folder(folder / "images"), progress)
    templates = importlib.resources.files("glocal_collect") / "texts"
    for name, template in (("consent", "consent"), ("instructions", settings.kind)):
        if not (folder / f"{name}.md").exists():
            text = (templates / f"{template}.md").read_text(encoding="utf-8")
            write_text(folder / f"{name}.md", text)
    study = Study(
        folder, settings, names, left_out, source.sha256(), time.time(), _make_key(folder)
    )
    _write(study)
    return study


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study whose creation was completed."""
    return (folder / STUDY_FILE).is_file()


def open_study(folder: Path) -> Study:
    """Read the study of a folder; raises a FileError if there is none, or if it is damaged."""
    file = folder / STUDY_FILE
    record = read_object(file, what="study", fix=_FIX)
    with reading(file, "study", _FIX):
        made = float(record["made"])
        if not math.isfinite(made):
            raise ValueError(f"made is {made}, which is no time")
        return Study(
            folder=folder,
            settings=Settings.read(record["settings"], str(file)),
            names=tuple(str(name) for name in record["images"]),
            left_out=tuple((str(name), str(reason)) for name, reason in record["left_out"]),
            images_sha256=str(record["images_sha256"]),
            made=made,
            key=_read_key(folder),
        )


def _check_folder(folder: Path, images: str) -> None:
    """Raise a ParameterError if a study in this folder could replace files of its owner."""
    copies = folder / "images"
    # the database is written before the first image: with it, these are of an unfinished creation
    if os.path.lexists(copies) and not (folder / DATABASE).is_file():
        raise ParameterError(
            f"{copies} exists already, and a study in {folder} would replace images in it. Choose "
            f"another folder for the study."
        )
    if Path(os.path.realpath(images)).is_relative_to(os.path.realpath(folder)):
        raise ParameterError(
            f"the images {images} lie in {folder}, which would be the folder of the study. Choose "
            f"another folder for the study."
        )


def _make_key(folder: Path) -> str:
    """Write a key whole or not at all, readable by its owner alone; return the key of the study.

    If two processes create a study at once, the key of the first counts: a hard link never
    replaces a file.
    """
    path = folder / "secret.json"
    with writing(path), tempfile.TemporaryDirectory(dir=folder, prefix=".secret-") as temporary:
        draft = Path(temporary) / path.name  # in a folder that only its owner can open
        write_text(draft, json.dumps({"key": secrets.token_hex(32)}))
        draft.chmod(0o600)
        with contextlib.suppress(OSError):  # it exists, or the file system has no hard links
            os.link(draft, path)
        try:
            return _read_key(folder)
        except FileError:  # nothing was signed with a damaged key: there is no study yet
            os.replace(draft, path)
        return _read_key(folder)


def _read_key(folder: Path) -> str:
    path = folder / "secret.json"
    key = read_object(path, what="secret of the study", fix="Put back a copy.").get("key")
    if not isinstance(key, str) or len(key) < MIN_KEY_CHARACTERS or not key.isascii():
        raise FileError(
            f"{path} has no key of {MIN_KEY_CHARACTERS} ASCII characters or more. Put back a copy: "
            f"links that were signed with another key are not valid."
        )
    return key


def _write(study: Study) -> None:
    record = {
        "made": study.made,
        "settings": study.settings.model_dump(),
        "images": study.names,
        "images_sha256": study.images_sha256,
        "left_out": study.left_out,
    }
    write_text(study.folder / STUDY_FILE, json.dumps(record, indent=1))


def _prepare(
    source: Source, folder: Path, progress: Callable[[int, int], None]
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Write the images as people see them; return their names, and those left out with reasons."""
    names: list[str] = []
    left_out: list[tuple[str, str]] = []
    with ThreadPoolExecutor(4) as pool:
        for start in range(0, len(source), 64):  # more at once would fill the memory
            numbers = range(start, min(start + 64, len(source)))
            images = pool.map(lambda number: _jpeg(source, number), numbers)
            for number, image in zip(numbers, images, strict=True):
                if isinstance(image, Unreadable):
                    left_out.append((source.names[number], str(image)))
                    continue
                with writing(folder):
                    (folder / f"{len(names)}.jpg").write_bytes(image)
                names.append(source.names[number])
            progress(numbers.stop, len(source))
    if len(names) < 3:
        reason = f" ({' '.join(left_out[0])})" if left_out else ""
        raise FileError(
            f"{source.described} has {len(names)} images that can be shown{reason}; "
            f"a trial needs three."
        )
    return tuple(names), tuple(left_out)


def _jpeg(source: Source, number: int) -> bytes | Unreadable:
    """An image as people see it: upright, small and without metadata; or why it is left out."""
    file = source.paths[number]
    if os.path.exists(file) and not os.path.isfile(file):
        return Unreadable("is not a regular file")  # opening a named pipe would wait for ever
    try:
        image = source.read(number, at_least=2 * SIDE)
    except Unreadable as reason:
        return reason
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, format="jpeg", quality=90, exif=b"", icc_profile=None)
    return stream.getvalue()
