"""Fetch a published file by its name: downloaded once, whole or not at all, verified, and ready."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO

from glocal._version import __version__
from glocal.data.features import NAMES_FILE, RECORD_FILE
from glocal.data.importing import import_answers
from glocal.data.sources.registry import (
    RemoteFeatures,
    RemoteFile,
    published,
    published_file,
)
from glocal.data.tables import column_of_table, read_table
from glocal.errors import DataWarning, FileError, one_line, warn
from glocal.files import (
    PathLike,
    atomic_write,
    make_folder,
    read_npy,
    read_npz,
    write_text,
)

TIMEOUT = 30.0  # seconds without a byte after which a download is abandoned
MAX_BYTES = 4 * 2**30  # of a published file whose size is not registered
Progress = Callable[[int, int], None]
"""A function of the number of bytes downloaded so far, and of the total, 0 if it is unknown."""


def fetch(
    name: str, *, out: PathLike | None = None, progress: Progress = lambda count, total: None
) -> Path:
    """Download a published file unless the cache has it whole, and verify its content.

    Features become a folder with ``features.npy``, the names of the rows and a record of their
    origin, and answers an ``.npz`` with the names of their objects. If ``$GLOCAL_OFFLINE`` is set,
    nothing is downloaded. The proxies that the environment names are used.

    Parameters
    ----------
    name : str
        A key of `published`.
    out : path or None
        A folder below which the file or folder is copied too, replacing an existing copy.
    progress : function
        See `Progress`.

    Returns
    -------
    Path
        The copy below `out` if that is given, else the file or folder in the cache.

    Raises
    ------
    ParameterError
        If no file is published under this name.
    FileError
        If the server cannot be reached, answers with an error, sends other content or more bytes
        than are registered (4 GiB where none are), if features have another number of rows than
        names, or if a folder cannot be written.

    Warns
    -----
    DataWarning
        If the content is known to be wrong, or features have another width than is registered.
    """
    entry = published_file(name)
    if entry.warning:
        warn(entry.warning, DataWarning)
    if isinstance(entry, RemoteFeatures):
        path = _feature_folder(entry, progress)
    elif entry.kind == "answers":
        path = _answers_file(entry, progress)
    else:
        path = retrieve(entry, progress)
    return path if out is None else _copied(path, Path(out) / entry.path)


def cached(name: str) -> Path | None:
    """The file of a key of `published` if the cache has it whole, else None; never downloads."""
    entry = published()[name]
    path = cache_folder() / entry.path
    return path if matches(path, entry.checksum) else None


def _download_path(entry: RemoteFile) -> Path:
    """The path in the cache of what is downloaded for a published file."""
    return cache_folder() / (entry.downloaded or entry.path)


def _feature_folder(entry: RemoteFeatures, progress: Progress) -> Path:
    """The feature folder of published features, with the names of its rows and its record."""
    source = entry.names
    names = column_of_table(read_table(fetch(source), what="names"), entry.names_column)
    folder = cache_folder() / entry.path
    matrix = read_npy(retrieve(entry, progress), what="features")
    if matrix.ndim != 2 or len(matrix) != entry.rows or len(names) != entry.rows:
        raise FileError(
            f"{entry.name} has shape {matrix.shape}, and {source} {len(names)} names; both "
            f"must have {entry.rows} rows. Report it to the maintainers of glocal."
        )
    width = matrix.shape[1]
    if width != entry.width:
        warn(
            f"{entry.name} has {width} columns and not {entry.width}: {entry.network}, which is "
            f"known by {entry.known_by}, may be another network. The record states {width}.",
            DataWarning,
        )
    _write_unless_equal(folder / NAMES_FILE, "".join(f"{name}\n" for name in names))
    record = json.dumps(_record(entry, width), indent=1)
    _write_unless_equal(folder / RECORD_FILE, f"{record}\n")
    return folder


def _record(entry: RemoteFeatures, width: int) -> dict[str, object]:
    """The record of published features: what their publisher states, and what not."""
    published_facts = {
        **asdict(entry),
        "names": asdict(published_file(entry.names)),
        "extract_rows": None if entry.model is None else "not compared with rows of extract",
        "not_stated": ["licence", "preprocessing"],
    }
    return {
        "model": entry.model or entry.network,
        "layers": {} if entry.layer is None else {entry.layer: "as published"},
        "preprocessing": "not stated by the publisher",
        "published": published_facts,
        "rows": entry.rows,
        "width": width,
        "versions": {"glocal": __version__},
    }


def _answers_file(entry: RemoteFile, progress: Progress) -> Path:
    """The file of published answers, in the order of the published ids, with their names."""
    file = cache_folder() / entry.path
    key = _key(entry)
    if _key_in(file) != key:
        raw = retrieve(entry, progress)
        names, order = fetch(entry.ids), fetch(entry.order)
        answers, _, origin = import_answers(raw, names=names, order=order)
        make_folder(file.parent)
        answers.save(file, provenance={**origin, "source": entry.url, "key": key})
    return file


def _key(entry: RemoteFile) -> str:
    """The hash of all that published answers are made from."""
    checksums = [entry.checksum, *(published_file(name).checksum for name in entry.parts)]
    return hashlib.sha256(" ".join([__version__, *checksums]).encode()).hexdigest()


def _key_in(file: Path) -> str | None:
    """The key in a file of answers; None if the file is missing or damaged."""
    try:
        arrays = read_npz(file, what="answers", fix="", required=("answers", "provenance"))
        return str(json.loads(str(arrays["provenance"]))["key"])
    except (FileError, ValueError, KeyError):
        return None


def _write_unless_equal(file: Path, text: str) -> None:
    """Write a text, unless the file holds it: a cache may be read-only."""
    if not file.is_file() or file.read_bytes() != text.encode():
        write_text(file, text)


def _copied(path: Path, copy: Path) -> Path:
    """Copy a file, or the files of a folder, and return the copy."""
    if path.is_dir():
        for file in path.iterdir():
            if file.is_file():
                _copied(file, copy / file.name)
        return copy
    make_folder(copy.parent)
    with atomic_write(copy) as target:
        target.write(path.read_bytes())
    return copy


def cache_folder() -> Path:
    """Return ``$GLOCAL_CACHE`` or the cache folder of this system, without creating it."""
    if named := os.environ.get("GLOCAL_CACHE"):
        return Path(named)
    import pooch

    return Path(pooch.os_cache("glocal"))


def retrieve(entry: RemoteFile, progress: Progress = lambda count, total: None) -> Path:
    """Download what a published file is made of, unless the cache has it whole.

    Raises the errors of `fetch`.
    """
    path = _download_path(entry)
    if matches(path, entry.checksum):
        return path
    if offline():
        raise FileError(
            f"{path} is missing or damaged, and $GLOCAL_OFFLINE forbids a download. Put it there."
        )
    import pooch

    download = pooch.HTTPDownloader(chunk_size=2**16, timeout=TIMEOUT)
    make_folder(path.parent)
    with atomic_write(path) as stream:
        try:
            download(entry.url, _Download(stream, entry, progress), None)
            stream.flush()
            if not matches(Path(stream.name), entry.checksum):
                raise ValueError(f"the content that it serves does not match {entry.checksum}")
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors
            raise FileError(
                f"cannot fetch {entry.url} ({one_line(error)[:300]}). Download it elsewhere and "
                f"put it at {path}."
            ) from error
    return path


def offline() -> bool:
    """Whether ``$GLOCAL_OFFLINE`` forbids downloads: it is set, and not to 0, false, no or off."""
    return os.environ.get("GLOCAL_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")


def matches(path: Path, checksum: str) -> bool:
    """Whether there is a file whose content matches a checksum.

    That is ``ALGORITHM:DIGEST`` with a name from hashlib, or ``git:`` followed by the id of the
    content as a git object.
    """
    if not path.is_file():
        return False
    algorithm, _, digest = checksum.partition(":")
    prefix = b""
    if algorithm == "git":  # for files without a known SHA-256
        algorithm = "sha1"
        prefix = b"blob %d\0" % path.stat().st_size
    hasher = hashlib.new(algorithm, prefix, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hasher).hexdigest() == digest


class _Download:
    """A file that pooch writes into, which refuses more bytes than a published file has."""

    def __init__(self, stream: IO[bytes], entry: RemoteFile, progress: Progress) -> None:
        self._stream = stream
        self._size = entry.size
        self._progress = progress
        self._written = 0

    def write(self, content: bytes) -> None:
        """Write unpacked bytes, and report how many there are."""
        self._written += len(content)
        limit = self._size or MAX_BYTES
        if self._written > limit:
            raise ValueError(f"it sends more than {limit} bytes")
        self._stream.write(content)
        self._progress(self._written, self._size or 0)

    def flush(self) -> None:
        """Do nothing; pooch calls this after each part."""
