"""What one process does at a time: it holds a lock file, which the system frees when the process dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from glocal.files import writing


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold the file `path` while the block runs; yields False, at once, where another process holds it."""
    lock, held = FileLock(path, thread_local=False), True
    with writing(path):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            held = False
    try:
        yield held
    finally:
        if held:
            lock.release()
