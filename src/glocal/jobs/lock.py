"""Locks between processes, on one machine or over a network file system; the system takes them back from the dead."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from glocal.errors import FileError
from glocal.files import claimed, unwritable


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the file `path`, which is created and stays, while the block runs.

    Yields False, at once, where another process or another block of this one holds it and `wait` is false.

    Raises
    ------
    FileError
        `path` cannot be written, or nothing can be locked there.
    """
    try:
        stream = claimed(path, wait=wait)
    except OSError as error:
        raise error if isinstance(error, FileError) else unwritable(path, error) from error
    with contextlib.nullcontext() if stream is None else stream:
        yield stream is not None
