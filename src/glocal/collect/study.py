"""A study: a folder with its settings, its images by number, what people read, and a key that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from glocal.collect import pages
from glocal.collect.alone import alone
from glocal.collect.pictures import MEDIA, prepare
from glocal.collect.settings import Settings
from glocal.errors import FileError, ParameterError
from glocal.extract.images import Source, open_images
from glocal.files import atomic_write, make_folder, read_object, read_text

_FORMAT = 1
_FIXED = ("kind", "seed")  # what people were asked before would mean something else


@dataclass(frozen=True, eq=False)
class Study:
    """A study in its folder; an image is its place in `names`.

    `images` is what it was made from, as `glocal.extract.open_images` takes it; `database` the URL of where its answers
    are; `key` signs its links and `number` marks its database.
    """

    folder: Path
    settings: Settings
    images: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    made: float
    number: str
    key: str
    database: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def title(self) -> str:
        """The title of the page that people see."""
        return self.settings.title or self.folder.resolve().name

    @property
    def until(self) -> int:
        """When its links end, in seconds since 1970."""
        return int(self.made + self.settings.days * 86_400)

    @property
    def fit(self) -> Path:
        """The folder of its latest fit."""
        return self.folder / "fit"

    def picture(self, number: int) -> tuple[bytes, str]:
        """The bytes of an image and their media type."""
        return (self.folder / "images" / self.files[number]).read_bytes(), MEDIA

    def text(self, name: str) -> str:
        """The Markdown of ``consent`` or ``instructions``, as it is now."""
        return read_text(self.folder / f"{name}.md", what=name)

    def changed(self, settings: Settings, database: str | None = None) -> Study:
        """The same study with other settings, written if they differ; a ParameterError where these are fixed."""
        for name in _FIXED:
            before, after = getattr(self.settings, name), getattr(settings, name)
            if before != after:
                raise ParameterError(
                    f"{name} is {after} but the study {self.folder} was begun with {before}, and has its answers. "
                    f"Leave it out, or name another --out."
                )
        if database is not None and database != self.database:
            raise ParameterError(
                f"the study {self.folder} keeps its answers in another database than --database names. Leave it out, "
                "or name another --out."
            )
        if settings == self.settings:
            return self
        study = replace(self, settings=settings)
        _write(study)
        return study


def create(
    folder: Path,
    images: str,
    settings: Settings,
    database: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Study:
    """Make the folder of a study: prepare its images, write its texts, draw its key.

    `images` is what `glocal.extract.open_images` opens; `progress` is called with how many are done of how many. Of two
    processes one makes the study, since their keys would differ; the other waits.

    Raises
    ------
    FileError
        It is one already; a file cannot be written; fewer than three images can be shown.
    """
    try:
        str(folder.resolve()).encode()
    except UnicodeEncodeError as error:  # an address of a database, and a page, hold text
        raise ParameterError(f"--out {folder} has a name that is no UTF-8 text. Name another folder.") from error
    source = open_images(images)
    with alone(make_folder(folder) / ".study.lock") as free:
        if not free or (folder / "study.json").exists():
            raise FileError(
                f"{folder} is a study already, made by another process or an earlier call. Give the same command again "
                "to go on with it, or name another --out."
            )
        return _made(folder, source, images, settings, database, progress)


def _made(
    folder: Path, source: Source, images: str, settings: Settings, database: str | None,
    progress: Callable[[int, int], None],
) -> Study:  # fmt: skip
    pictures = prepare(source, folder / "images", lambda done: progress(done, len(source)))
    texts = {"consent": pages.default_consent(), "instructions": pages.default_instructions(settings.kind)}
    for name, text in texts.items():
        if not (folder / f"{name}.md").exists():
            with atomic_write(folder / f"{name}.md") as stream:
                stream.write(text.encode())
    study = Study(
        folder, settings, os.path.abspath(images), pictures.names, pictures.files, pictures.left_out, time.time(),
        secrets.token_hex(8), secrets.token_hex(32), database or _own(folder),
    )  # fmt: skip
    _write_secret(study)
    _write(study)
    return study


def is_study(folder: Path) -> bool:
    """Whether a folder is that of a study that was made to its end."""
    return (folder / "study.json").is_file()


def open_study(folder: Path) -> Study:
    """Read the study of a folder.

    Raises
    ------
    FileError
        It is not the folder of a study, or damaged.
    """
    fix = "Name the folder that glocal collect --out wrote, with all its files."
    if not is_study(folder):
        raise FileError(f"{folder} is not the folder of a study: it has no study.json. {fix}")
    held = read_object(folder / "study.json", what="study", fix=fix)
    secret = read_object(folder / "secret.json", what="secret of the study", fix=fix)
    if held.get("format") != _FORMAT:
        raise FileError(f"{folder} is a study of format {held.get('format')}; this version reads {_FORMAT}. Update it.")
    known = {field.name for field in fields(Settings)}
    try:
        settings = Settings(**{name: value for name, value in held["settings"].items() if name in known})
        images = held["images"]
        url = secret["database"] or _own(folder)
        names, files = tuple(one["name"] for one in images), tuple(one["file"] for one in images)
        left_out = tuple((one["name"], one["reason"]) for one in held["left_out"])
        if outside := [file for file in files if Path(file).name != file]:
            raise FileError(f"the study of {folder} names an image outside its folder, {outside[0]!r}. {fix}")
        return Study(
            folder, settings, held["source"], names, files, left_out, held["made"], held["number"], secret["key"], url
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise FileError(f"the study of {folder} is damaged ({error}). {fix}") from error


def _own(folder: Path) -> str:
    """The address of the database in the folder itself; a % or ? in its name is no part of an address."""
    return f"sqlite:///{quote(str(folder.resolve() / 'answers.sqlite'))}"


def _write(study: Study) -> None:
    held: dict[str, Any] = {
        "format": _FORMAT, "number": study.number, "made": study.made, "source": study.images,
        "settings": asdict(study.settings),
        "images": [{"name": name, "file": file} for name, file in zip(study.names, study.files, strict=True)],
        "left_out": [{"name": name, "reason": reason} for name, reason in study.left_out],
    }  # fmt: skip
    with atomic_write(study.folder / "study.json") as stream:
        stream.write(json.dumps(held, indent=1).encode())


def _write_secret(study: Study) -> None:
    """The key and the address of the database, which may hold a password, for the owner's eyes."""
    held = {"key": study.key, "database": None if study.database == _own(study.folder) else study.database}
    with atomic_write(study.folder / "secret.json") as stream:
        if os.name == "posix":
            os.fchmod(stream.fileno(), 0o600)
        stream.write(json.dumps(held).encode())
