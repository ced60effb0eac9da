"""Files that one process holds; the system frees them when the process dies."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from glocal.errors import FileError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class UnlockableError(FileError):
    """A file system, or a system, on which no file can be locked."""


def claimed(path: Path, *, wait: bool = False, new: bool = False) -> BinaryIO | None:
    """Open a file for writing, created if it is missing, and hold it until it is closed or this process dies.

    None where another one holds it and `wait` is false, or where it exists and must be `new`. An UnlockableError where
    nothing can be locked, the system's OSError where it cannot be opened.
    """
    from filelock import lock_descriptor

    flags = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | (os.O_EXCL if new else 0)
    while True:
        try:
            stream = open(path, "r+b", opener=lambda name, mode: os.open(name, mode | flags, 0o666))  # noqa: SIM115  returned
        except FileExistsError:
            return None
        try:
            held = lock_descriptor(stream.fileno(), blocking=wait)
            if held and _is_file_at(stream, path):
                return stream
        except OSError as error:
            stream.close()
            if error.errno not in _NO_LOCKS:
                raise
            raise UnlockableError(
                f"{path} cannot be locked ({error.strerror}), and without locks two processes could write the same at "
                "once. Choose an output on a file system with file locks, such as a local disk."
            ) from error
        except BaseException:
            stream.close()
            raise
        stream.close()  # held by another one; or moved or removed by its holder after it was opened here
        if not held or new:
            return None


def _is_file_at(stream: BinaryIO, path: Path) -> bool:
    """Whether `path` is still the name of the open file."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
