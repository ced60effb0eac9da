"""Download a file once, whole or not at all, and verify its content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from glocal.errors import FileError, one_line
from glocal.files import make_folder

TIMEOUT = 30.0  # seconds without a byte after which a download is abandoned
Progress = Callable[[int, int], None]
"""A function of the number of bytes downloaded so far, and of the total, 0 if it is unknown."""


def cache_folder() -> Path:
    """Return ``$GLOCAL_CACHE`` or the cache folder of this system, without creating it."""
    if named := os.environ.get("GLOCAL_CACHE"):
        return Path(named)
    import pooch

    return Path(pooch.os_cache("glocal"))


def retrieve(url: str, path: Path, checksum: str, progress: Progress | None = None) -> Path:
    """Download the file at `url` to `path`, unless it is already there with this checksum.

    Raises the errors of `fetch`. `checksum` is ``ALGORITHM:DIGEST`` with an algorithm of hashlib,
    or ``git:`` followed by the id of the content as a git object.
    """
    if matches(path, checksum):
        return path
    if offline():
        raise FileError(
            f"{path} is missing or damaged, and $GLOCAL_OFFLINE forbids a download. Put it there."
        )
    import pooch

    download = pooch.HTTPDownloader(
        progressbar=_Bar(progress) if progress else False, timeout=TIMEOUT
    )
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        try:
            download(url, str(partial), None)
            if not matches(partial, checksum):
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


def matches(path: Path, checksum: str) -> bool:
    """Whether there is a file whose content matches a checksum as in `retrieve`."""
    if not path.is_file():
        return False
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
