"""`fetch`: a published file, downloaded once, verified, kept in a cache."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glocal.data.datasets.registry import FILES, RemoteFile
from glocal.errors import DataWarning, FileError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, make_folder, one_line, unreadable

CACHE_VARIABLES = ("GLOCAL_CACHE", "GLOCAL_CACHE_DIR")  # the second is the former name of the cache of features
_PIECE = 1 << 16  # bytes read, hashed or downloaded at a time
_TIMEOUT = 30  # seconds without an answer

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fetched:
    """A file that is here now: where, its sha256, whether a checksum vouches for it, whether it was downloaded now."""

    name: str
    path: Path
    sha256: str
    verified: bool
    downloaded: bool


def fetch(
    name: str, *, out: PathLike | None = None, cache: PathLike | None = None, progress: Progress | None = None
) -> Fetched:
    """Bring a registered file here, from the cache if it is there whole, else by download.

    A download goes to a hidden neighbour, is verified, then moved into place: an interrupted or damaged one leaves
    nothing behind under the name. It is not resumed but begun again; the largest file has some 20 MB. The proxies that
    the environment names (``https_proxy``) are used.

    Parameters
    ----------
    name : str
        A key of `FILES`.
    out : path or None
        Copy it below this folder too, under the entry's `path`; a file there is replaced.
    cache : path or None
        None is `cache_folder()`.
    progress : callable or None
        Called with (bytes so far, bytes in all; 0 if unknown).

    Returns
    -------
    Fetched
        With the path below `out` where that is given.

    Raises
    ------
    ParameterError
        There is no such entry.
    FileError
        The server cannot be reached or answers with an error, the download is truncated or has another checksum, or a
        folder cannot be written.
    MissingDependencyError
        requests or platformdirs is not installed.

    Warns
    -----
    DataWarning
        The entry has no checksum, or its content is known to be wrong.
    """
    entry = find(name)
    path = (cache_folder() if cache is None else Path(cache)) / entry.path
    downloaded = not (path.is_file() and _matches(path, entry))
    if downloaded:
        _download(entry, path, progress)
    digest = _digest(path)
    if entry.checksum is None:
        warnings.warn(f"{name} is unverified: no checksum is known; its sha256 is {digest}.", DataWarning, stacklevel=2)
    if entry.warning:
        warnings.warn(entry.warning, DataWarning, stacklevel=2)
    if out is not None:
        copy = Path(out) / entry.path
        make_folder(copy.parent)
        with path.open("rb") as source, atomic_write(copy) as target:
            shutil.copyfileobj(source, target)
        path = copy
    return Fetched(name, path, digest, entry.checksum is not None, downloaded)


def find(name: str) -> RemoteFile:
    """The entry of a name, or a ParameterError that names the nearest."""
    if name in FILES:
        return FILES[name]
    near = difflib.get_close_matches(name, FILES, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Allowed are {', '.join(FILES)}."
    raise ParameterError(f"no file is registered as {name!r}. {hint} See glocal data list.")


def cache_folder() -> Path:
    """``$GLOCAL_CACHE``, or the cache folder of this system (not created here)."""
    named = next(filter(None, map(os.environ.get, CACHE_VARIABLES)), None)
    return Path(named) if named else Path(needed("platformdirs", "fetching").user_cache_dir("glocal"))


def _download(entry: RemoteFile, path: Path, progress: Progress | None) -> None:
    requests = needed("requests", "fetching")
    offline = f"Download it elsewhere and put it at {path}."
    make_folder(path.parent)
    with atomic_write(path) as stream:
        try:
            with requests.get(entry.url, stream=True, timeout=_TIMEOUT) as answer:
                answer.raise_for_status()
                done, total = 0, int(answer.headers.get("content-length", 0))
                for piece in answer.iter_content(_PIECE):
                    stream.write(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(min(done, total) if total else done, total)
        except requests.RequestException as error:
            raise FileError(f"cannot fetch {entry.name} from {entry.url} ({_reason(error)}). {offline}") from error
        stream.flush()
        found = Path(stream.name)
        if not _matches(found, entry):
            wanted = entry.checksum if entry.size is None else f"{entry.size} bytes, {entry.checksum}"
            raise FileError(
                f"{entry.name} as {entry.url} serves it is not the file that was published: it has "
                f"{found.stat().st_size} bytes, sha256:{_digest(found)}, not {wanted}; nothing was kept. {offline}"
            )


def _reason(error: BaseException) -> str:
    """The innermost cause, which names what happened; the outer ones repeat the address."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}"
    inner: BaseException = error
    while True:
        arguments = [part for part in (getattr(inner, "reason", None), *inner.args) if isinstance(part, BaseException)]
        if not arguments:
            return one_line(inner).rpartition("): ")[2][:200]
        inner = arguments[0]


def _matches(path: Path, entry: RemoteFile) -> bool:
    """Whether the file has the size and checksum of its entry, as far as these are known."""
    if entry.size is not None and path.stat().st_size != entry.size:
        return False
    kind, _, digest = (entry.checksum or "").partition(":")
    return not kind or digest == _digest(path, kind)


def _digest(path: Path, kind: str = "sha256") -> str:
    """The sha256 of a file, or with kind ``git`` the id of its content as a git object."""
    try:
        with path.open("rb") as stream:
            start = b"blob %d\0" % os.fstat(stream.fileno()).st_size if kind == "git" else b""
            digest = hashlib.new("sha1" if kind == "git" else kind, start, usedforsecurity=False)
            while piece := stream.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise unreadable(path, "cached", error) from error
    return digest.hexdigest()
