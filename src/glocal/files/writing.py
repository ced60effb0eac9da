"""Whole files only: an atomic write of anything."""

from __future__ import annotations

import contextlib
import filecmp
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from glocal.errors import FileError
from glocal.files.claims import UnlockableError, claimed
from glocal.files.paths import PathLike, check_ending, followed, is_special, unwritable

_SLOTS = 8  # names of partial files: as many processes may write one output at once


@contextlib.contextmanager
def atomic_write(path: PathLike, *, durable: bool = True, replace: bool = True) -> Iterator[BinaryIO]:
    """Write to a hidden neighbour, flush it to disk, then move it into place, or say in one sentence why not.

    A killed process, a full disk or an exception leaves the previous file whole. A killed process leaves the neighbour,
    ``.NAME.0.partial``, which the next writer of `path` removes. A symbolic link is followed; a device or a pipe is
    written to as it is. `durable` false leaves it to the system when the bytes reach the disk. `replace` false refuses
    to replace a file of another content.
    """
    path = Path(path)
    try:
        if is_special(path):
            with path.open("wb") as stream:
                yield stream
            return
        path = followed(path)
        with _new_partial(path) as stream:
            partial = Path(stream.name)
            try:
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
                if not replace and path.exists() and not filecmp.cmp(partial, path, shallow=False):
                    raise FileError(
                        f"{path} exists with another content, and is not replaced. Move it away, or rename the file "
                        "that its name is made from."
                    )
                _close_on_windows(stream)
                os.replace(partial, path)  # while it is held: nobody may take it for that of a dead writer
            except BaseException:
                _discard(partial, stream)
                raise
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise unwritable(path, error) from error


def writable_target(path: PathLike, *, what: str = "output", endings: Sequence[str] = ()) -> Path:
    """Check, before hours of work, that `path` can be created, is not a folder, and has an allowed extension."""
    path = Path(path)
    try:
        if path.is_dir():
            raise FileError(f"{what} {path} is a folder. Name a file inside it.")
        if is_special(path):
            return path
        check_ending(path, endings, what=what)
        target = followed(path)
        if not target.parent.exists():
            raise FileError(f"{what} folder {target.parent} does not exist. Create it first: mkdir -p {target.parent}.")
        with _new_partial(target) as probe:
            _discard(Path(probe.name), probe)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise unwritable(path, error) from error
    return path


def _new_partial(path: Path) -> BinaryIO:
    """Create and hold a hidden neighbour of `path`; those that no live process holds are removed."""
    partials = [path.with_name(f".{path.name}.{slot}.partial") for slot in range(_SLOTS)]
    try:
        for partial in filter(os.path.lexists, partials):
            try:
                left = claimed(partial)
            except UnlockableError:
                raise
            except OSError:  # another user's, or no plain file: not ours to remove
                continue
            if left is not None:
                with left:
                    _discard(partial, left)
        for partial in partials:
            stream = claimed(partial, new=True)
            if stream is not None:
                return stream
    except UnlockableError:
        _unlink(partial)
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial").open("xb")


def _discard(partial: Path, stream: BinaryIO) -> None:
    """Remove a partial file that this process holds."""
    _close_on_windows(stream)
    _unlink(partial)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):  # what cannot be removed is not worse than what a killed process leaves
        path.unlink()


def _close_on_windows(stream: BinaryIO) -> None:
    """Windows neither moves nor removes a file that is open."""
    if os.name == "nt":
        stream.close()
