"""Paths that can be read or written, or one sentence why not."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from glocal.errors import FileError, ParameterError

PathLike = str | os.PathLike[str]


def existing_file(path: PathLike, *, what: str) -> Path:
    """Return `path` if it is a file that has content, else raise the sentence that says why not."""
    path = Path(path)
    try:
        if not path.exists():
            raise FileError(f"{what} file {path} does not exist. Check the path.")
        if path.is_dir():
            raise FileError(f"{what} file {path} is a folder. Name the file inside it.")
        if path.is_file() and path.stat().st_size == 0:
            raise FileError(f"{what} file {path} is empty. Write it again.")
    except PermissionError as error:
        raise unreadable(path, what, error) from error
    return path


def check_ending(path: PathLike, endings: Sequence[str], *, what: str = "output") -> str:
    """The ending of a file name in lower case; a ParameterError if it is none of `endings`, an empty one allowing none.

    A device or a pipe may have any name, and any name is allowed where there are no `endings`.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if endings and ending not in endings and not is_special(path):
        raise ParameterError(
            f"{what} {path} ends in {ending or 'nothing'}; allowed are {', '.join(filter(None, endings))}. "
            f"Name it {path.with_suffix(endings[0]).name}."
        )
    return ending


def followed(path: Path) -> Path:
    """Where a symbolic link leads, else `path` as it is; a FileError if it leads back to itself."""
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    if real.is_symlink():
        raise FileError(f"cannot write {path}: it is a link that leads back to itself. Choose another name.")
    return real


def make_folder(path: PathLike) -> Path:
    """Create an output folder with its parents, or say in one sentence why not."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        found = "is a link that leads nowhere" if path.is_symlink() and not path.exists() else "exists as a file"
        raise FileError(f"output folder {path} {found}. Choose another name.") from error
    except OSError as error:
        raise unwritable(path, error) from error
    return path


def is_special(path: Path) -> bool:
    """A device or a pipe: there is nothing to replace, and replacing it would destroy it."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:
        raise unwritable(path, error) from error


def unreadable(path: Path, what: str, error: OSError) -> FileError:
    """The sentence for an operating-system error on reading."""
    return FileError(f"{what} file {path} cannot be read: {error.strerror or one_line(error)}. Check its permissions.")


def unwritable(path: Path, error: OSError) -> FileError:
    """The sentence for an operating-system error on writing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileError(f"cannot write {path}: the disk is full. Free some space or choose another place.")
    if error.errno == errno.EFBIG:
        return FileError(f"cannot write {path}: it would exceed the largest file size allowed here.")
    reason = error.strerror or one_line(error)
    return FileError(f"cannot write {path}: {reason}. Choose a folder you may write to.")


def one_line(error: BaseException) -> str:
    """The message of an error on one line, without a final full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
