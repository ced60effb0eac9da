"""Fetch a published file by its name (``files.toml``), downloaded once and verified."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from glocal.errors import DataWarning, FileError, ParameterError, did_you_mean, one_line
from glocal.files import PathLike, atomic_write, make_folder, read_object

TIMEOUT = 30.0  # seconds without a byte after which a download is abandoned
Progress = Callable[[int, int], None]
"""A function of the number of bytes downloaded so far, and of the total, 0 if it is unknown."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    `path` is relative to the cache or an output folder. `checksum` is ``sha256:`` or ``git:``
    followed by hexadecimal digits. `what` describes content, format and order, and `warning` a
    known error of the file.
    """

    name: str
    path: str
    url: str
    checksum: str
    what: str
    licence: str
    citation: str
    size: int | None = None
    warning: str | None = None


@cache
def published() -> dict[str, RemoteFile]:
    """The files that `fetch` knows, by name."""
    registry = read_object(Path(__file__).with_name("files.toml"), what="registry")
    entries = {}
    for fields in registry["file"]:
        repository = registry["repositories"][fields.pop("repository")]
        source = fields.pop("source")
        fields.setdefault("path", source)
        fields["citation"] = registry["citations"][fields["citation"]]
        fields["url"] = f"https://raw.githubusercontent.com/{repository}/{quote(source)}"
        entries[fields["name"]] = RemoteFile(**fields)
    return entries


def cache_folder() -> Path:
    """Return ``$GLOCAL_CACHE`` or the cache folder of this system, without creating it."""
    if named := os.environ.get("GLOCAL_CACHE"):
        return Path(named)
    import pooch

    return Path(pooch.os_cache("glocal"))


def fetch(name: str, *, out: PathLike | None = None, progress: Progress | None = None) -> Path:
    """Download a published file unless the cache has it whole, and verify its content.

    If ``$GLOCAL_OFFLINE`` is set, nothing is downloaded. The proxies that the environment names are
    used.

    Parameters
    ----------
    name : str
        A key of `published`.
    out : path or None
        A folder below which the file is copied too, replacing an existing copy.
    progress : callable or None

    Returns
    -------
    Path
        The copy below `out` if that is given, else the file in the cache.

    Raises
    ------
    ParameterError
        If no file is published under this name.
    FileError
        If the server cannot be reached, answers with an error or serves other content, or if a
        folder cannot be written.

    Warns
    -----
    DataWarning
        If the content is known to be wrong.
    """
    if name not in published():
        raise unknown_name(name)
    entry = published()[name]
    if entry.warning:
        warnings.warn(entry.warning, DataWarning, stacklevel=2)
    path = retrieve(entry.url, cache_folder() / entry.path, entry.checksum, progress)
    if out is None:
        return path
    copy = Path(out) / entry.path
    make_folder(copy.parent)
    with atomic_write(copy) as target:
        target.write(path.read_bytes())
    return copy


def unknown_name(name: str) -> ParameterError:
    """Return the error for a name that no published file has."""
    hint = did_you_mean(name, published())
    return ParameterError(
        f"no published file is called {name!r}.{hint} glocal data fetch lists all."
    )


def cached(name: str) -> Path | None:
    """The file of a key of `published` if the cache has it whole, else None; never downloads."""
    entry = published()[name]
    path = cache_folder() / entry.path
    return path if path.is_file() and _matches(path, entry.checksum) else None


def retrieve(url: str, path: Path, checksum: str, progress: Progress | None = None) -> Path:
    """Download the file at `url` to `path`, unless it is already there with this checksum.

    Raises the errors of `fetch`. `checksum` is ``ALGORITHM:DIGEST`` with an algorithm of hashlib,
    or ``git:`` followed by the id of the content as a git object.
    """
    if path.is_file() and _matches(path, checksum):
        return path
    check_online(path)
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=_Bar(progress) if progress else False, timeout=TIMEOUT
    )
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        try:
            download(url, str(partial), None)
            if not _matches(partial, checksum):
                raise ValueError(f"the content that it serves does not match {checksum}")
            os.replace(partial, path)
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors
            raise FileError(
                f"cannot fetch {url} ({one_line(error)[:300]}). Download it elsewhere and put it "
                f"at {path}."
            ) from error
    return path


def offline() -> bool:
    """Whether ``$GLOCAL_OFFLINE`` forbids downloads: it is set, and not to 0, false, no or off."""
    return os.environ.get("GLOCAL_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def check_online(path: Path) -> None:
    """Raise a FileError if ``$GLOCAL_OFFLINE`` forbids downloading the file for `path`."""
    if offline():
        raise FileError(
            f"{path} is missing or damaged, and $GLOCAL_OFFLINE forbids a download. Put it there."
        )


def _matches(path: Path, checksum: str) -> bool:
    """Whether the content of a file matches a checksum as in `retrieve`."""
    algorithm, _, digest = checksum.partition(":")
    content = path.read_bytes()
    if algorithm == "git":  # the id of the content in git, for files without a known SHA-256
        content = b"blob %d\0" % len(content) + content
        algorithm = "sha1"
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest() == digest


class _Bar:
    """A progress bar with the methods that pooch calls."""

    total = 0

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes = 0

    def update(self, step: int) -> None:
        self._bytes += step
        self._progress(self._bytes, int(self.total))

    def reset(self) -> None:
        self._bytes = 0

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
