"""`fetch`: a published file, downloaded once, verified, kept in a cache."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from glocal.data.datasets.registry import FILES, IMAGE_SETS, RemoteFile
from glocal.errors import DataWarning, FileError, GLocalError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, atomic_write, make_folder, one_line, read_object
from glocal.jobs.leaving import claimed, existing_file, is_special, unreadable

CACHE_VARIABLES = ("GLOCAL_CACHE", "GLOCAL_CACHE_DIR")  # the second is the former name of the cache of features
_PIECE = 1 << 16  # bytes read, hashed or downloaded at a time
_MOST_BYTES = 4 << 30  # of a file of unknown size
_MOST_OF_A_SET = 64 << 30  # of an archive of images
_CHECKSUMS = "checksums.json"
TIMEOUT = 30.0  # seconds without a byte

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
    name: str,
    *,
    out: PathLike | None = None,
    cache: PathLike | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> Fetched:
    """Bring a registered file here, from the cache if it is there whole, else by download.

    A download goes to a hidden neighbour, is verified, then moved into place: an interrupted or damaged one leaves
    nothing behind under the name. An interrupted download starts again from the beginning; the largest file is about 20
    MB. The proxies that the environment names (``https_proxy``) are used. ``$GLOCAL_MIRROR``, an address of http, https
    or file, is asked in place of the publisher: it holds each file under the entry's `path`.

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
    offline : bool
        Ask no server: a file that is not in the cache is an error. ``$GLOCAL_OFFLINE`` does the same.

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
        requests is not installed.

    Warns
    -----
    DataWarning
        The entry has no checksum, or its content is known to be wrong.
    """
    entry = find(name)
    found = bring(entry, _cache(cache) / entry.path, progress, offline=offline)
    if not found.verified:
        said = f"{name} is unverified: no checksum is known; its sha256 is {found.sha256}."
        warnings.warn(said, DataWarning, stacklevel=2)
    if entry.warning:
        warnings.warn(entry.warning, DataWarning, stacklevel=2)
    return found if out is None else copied(found, Path(out) / entry.path)


def fetch_address(
    address: str,
    *,
    sha256: str | None = None,
    cache: PathLike | None = None,
    progress: Progress | None = None,
    offline: bool = False,
    refresh: bool = False,
    timeout: float = TIMEOUT,
    check: Callable[[Path], object] = lambda path: None,
) -> Fetched:
    """Bring a file of any address here; its checksum is recorded at first use and compared ever after.

    Parameters
    ----------
    address : str
        Of http, https or file.
    sha256 : str or None
        The checksum that it must have; None is the one recorded in ``checksums.json`` of the cache, if it was fetched
        before.
    cache, progress, offline
        As of `fetch`.
    refresh : bool
        Ask the server again although the file is in the cache, to see whether it has changed.
    timeout : float
        Seconds without a byte after which a download is abandoned.
    check : callable
        Raises an error where the file is not what was wanted, as a page of an error; it is then not kept.

    Returns
    -------
    Fetched
        `verified` says that a checksum was given or recorded before.

    Raises
    ------
    ParameterError
        Not such an address, or not a sha256.
    FileError
        As of `fetch`; also where the content has changed since it was first fetched.
    """
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise ParameterError(f"address is {address!r}, which is none ({one_line(error)}).") from error
    if parts.scheme not in ("http", "https", "file"):
        raise ParameterError(f"address is {address!r}; allowed are those of http, https and file.")
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise ParameterError(f"address is {address!r}, a file of another machine. Write file:///PATH.")
    folder = _cache(cache)
    known = checksum_of(address, sha256, folder)
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(unquote(parts.path)).name)[-100:].lstrip(".") or "file"
    path = folder / "addresses" / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    entry = RemoteFile(without_password(address), str(path), address, known and f"sha256:{known}", None, "", "", "")
    found = bring(entry, path, progress, offline=offline, refresh=refresh, timeout=timeout)
    try:
        check(found.path)
    except GLocalError:
        found.path.unlink()
        raise
    record_checksum(address, found.sha256, folder)
    return found


def checksum_of(address: str, stated: str | None, folder: Path) -> str | None:
    """The sha256 that a file must have: the stated one, or the one recorded when it was first brought here."""
    if stated is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", stated):
        raise ParameterError(f"sha256 is {stated!r}; it must be 64 hexadecimal digits.")
    return stated.lower() if stated else _recorded(folder).get(address)


def record_checksum(address: str, sha256: str, folder: Path) -> None:
    """Record the sha256 of an address in this cache, so that another content is noticed later."""
    if _recorded(folder).get(address) == sha256:
        return
    with contextlib.ExitStack() as stack:
        if (lock := claimed(folder / f".{_CHECKSUMS}.lock", wait=True)) is not None:
            stack.enter_context(lock)
        told = {**_recorded(folder), address: sha256}
        with atomic_write(folder / _CHECKSUMS) as stream:
            stream.write((json.dumps(told, indent=1, sort_keys=True) + "\n").encode())


def copied(found: Fetched, path: Path) -> Fetched:
    """A copy of a fetched file, whole or not at all; a file there is replaced."""
    make_folder(path.parent)
    with found.path.open("rb") as source, atomic_write(path) as target:
        shutil.copyfileobj(source, target)
    return replace(found, path=path)


def find(name: str) -> RemoteFile:
    """The entry of a name, or a ParameterError that names the nearest."""
    if name in FILES:
        return FILES[name]
    near = difflib.get_close_matches(name, FILES, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Allowed are {', '.join(FILES)}."
    raise ParameterError(f"no file is registered as {name!r}. {hint} See glocal data fetch.")


def cache_folder() -> Path:
    """``$GLOCAL_CACHE``, or the cache folder of this system (not created here)."""
    named = next(filter(None, map(os.environ.get, CACHE_VARIABLES)), None)
    return Path(named) if named else Path(needed("platformdirs", "fetching").user_cache_dir("glocal"))


def is_offline() -> bool:
    """Whether ``$GLOCAL_OFFLINE`` forbids asking any server."""
    return os.environ.get("GLOCAL_OFFLINE", "0").lower() not in ("", "0", "false", "no")


def _cache(given: PathLike | None) -> Path:
    return cache_folder() if given is None else Path(given)


def _recorded(folder: Path) -> dict[str, str]:
    """The sha256 of each address that was fetched into this cache."""
    path = folder / _CHECKSUMS
    if not path.exists():
        return {}
    found = read_object(path, what="record of checksums", fix="Remove it to record them anew.")
    return {address: digest for address, digest in found.items() if isinstance(digest, str)}


def bring(
    entry: RemoteFile,
    path: Path,
    progress: Progress | None,
    *,
    offline: bool = False,
    refresh: bool = False,
    timeout: float = TIMEOUT,
) -> Fetched:
    """The file of an entry at its place in the cache, downloaded if it is not there whole."""
    if is_special(path):
        raise FileError(f"{path} is a device or a pipe; {entry.name} is kept there as a file. Remove it.")
    here = path.is_file() and _matches(path, entry)
    if offline or is_offline():
        if not here:
            raise FileError(
                f"{entry.name} is not in the cache, and nothing is downloaded offline. Fetch it where there is a "
                f"network and put it at {path}."
            )
    elif not here or refresh:
        _download(entry, path, progress, timeout)
        return Fetched(entry.name, path, _digest(path), entry.checksum is not None, True)
    return Fetched(entry.name, path, _digest(path), entry.checksum is not None, False)


def _download(entry: RemoteFile, path: Path, progress: Progress | None, timeout: float) -> None:
    mirror = os.environ.get("GLOCAL_MIRROR")
    place = entry.path if entry.name in FILES else f"images/{path.name}" if entry.name in IMAGE_SETS else None
    url = f"{mirror.rstrip('/')}/{quote(place)}" if mirror and place else entry.url
    by_hand = f"Download it elsewhere and put it at {path}."
    shown = without_password(url)
    make_folder(path.parent)
    with atomic_write(path) as stream:
        try:
            if urlsplit(url).scheme == "file":
                _copy(entry, url, stream)
            else:
                _receive(entry, url, stream, progress, timeout)
        except (needed("requests", "fetching").RequestException, ValueError) as error:  # NOTE a redirect to no address
            reason = without_password(_reason(error))
            raise FileError(f"cannot fetch {entry.name} from {shown} ({reason}). {by_hand}") from error
        stream.flush()
        found = Path(stream.name)
        if not _matches(found, entry):
            wanted = entry.checksum if entry.size is None else f"{entry.size} bytes, {entry.checksum}"
            published = place is not None
            what = "not the file that was published" if published else "not the one that was stated or first fetched"
            raise FileError(
                f"{entry.name} as {shown} serves it is {what}: it has {found.stat().st_size} bytes, "
                f"sha256:{_digest(found)}, not {wanted}; nothing was kept. "
                + (by_hand if published else "If you expect the new one, state its sha256.")
            )


def without_password(address: str) -> str:
    """An address that may be shown: without the user and password that it may hold.

    >>> without_password("https://ann:secret@example.org/x")
    'https://example.org/x'
    """
    return re.sub(r"(?<=//)[^/\s]*@", "", address)


def _copy(entry: RemoteFile, url: str, stream: BinaryIO) -> None:
    source = existing_file(url2pathname(urlsplit(url).path), what=entry.name)
    if not source.is_file():
        raise FileError(f"{source} is a device or a pipe. Name a file.")
    with source.open("rb") as opened:
        shutil.copyfileobj(opened, stream)


def _receive(entry: RemoteFile, url: str, stream: BinaryIO, progress: Progress | None, timeout: float) -> None:
    requests = needed("requests", "fetching")
    most = entry.size or (_MOST_OF_A_SET if entry.name in IMAGE_SETS else _MOST_BYTES)
    with requests.get(url, stream=True, timeout=timeout) as answer:
        answer.raise_for_status()
        if answer.status_code != 200:  # part of the file, or nothing
            raise requests.HTTPError(response=answer)
        stated = answer.headers.get("content-length", "")
        done, total = 0, int(stated) if stated.isascii() and stated.isdecimal() else 0
        for piece in answer.iter_content(_PIECE):
            done += len(piece)
            if max(done, total) > most:
                raise FileError(
                    f"{entry.name} is larger than {most} bytes as {without_password(url)} serves it; nothing was kept."
                )
            stream.write(piece)
            if progress is not None:
                progress(min(done, total) if total else done, total)
        if not done:
            raise FileError(f"{entry.name} is empty as {without_password(url)} serves it; nothing was kept.")


def _reason(error: BaseException) -> str:
    """The innermost cause, which names what happened; the outer ones repeat the address."""
    response = getattr(error, "response", None)
    if response is not None and response.is_redirect:
        return "the server redirects without end"
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
