"""A folder of keyed tasks: what is claimed, and what is done; nothing is lost by a kill, nothing done twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from glocal.errors import FileError
from glocal.files import PathLike, make_folder
from glocal.jobs.leaving import UnlockableError, claimed, unwritable
from glocal.results import append_rows, read_rows

Row = dict[str, Any]


class TaskFolder:
    """The tasks of one piece of work, shared by all processes that take part in it.

    A `log` holds one line of JSON for each finished task, appended in one write after the result of the task is on the
    disk: a task is done when its line is there, whose `key` says which it is. A process claims a task, or several that
    belong together, by a lock in the folder ``claims``, which the system frees when the process dies.
    """

    def __init__(
        self,
        folder: PathLike,
        log: str,
        key: Callable[[Row], Any],
        *,
        claims: tuple[str, str] = ("claims", ""),
        read: Callable[[Path], list[Row]] = read_rows,
    ) -> None:
        self.folder = Path(folder)
        self.log = self.folder / log
        self._key, self._read = key, read
        self._claims, self._ending = self.folder / claims[0], claims[1]
        self._held: dict[str, contextlib.ExitStack] = {}

    def create(self) -> TaskFolder:
        """Create the folder, or continue with it."""
        make_folder(self._claims)
        return self

    def close(self) -> None:
        """Release all claims."""
        for name in list(self._held):
            self.release(name)

    def rows(self) -> list[Row]:
        """The lines of the log, whichever process wrote them; of a task with several lines, the first."""
        if not self.log.exists() or not self.log.stat().st_size:
            return []
        rows: dict[Any, Row] = {}
        for row in self._read(self.log):
            rows.setdefault(self._key(row), row)
        return list(rows.values())

    def done(self) -> dict[Any, Row]:
        """The line of each finished task by its key."""
        return {self._key(row): row for row in self.rows()}

    def commit(self, row: Row) -> None:
        """Record that a task is done, once its result is on the disk."""
        append_rows(self.log, [row])

    def take(self, name: str, *, wait: bool = False) -> bool:
        """Claim `name` until `release`, or the death of this process.

        False if another process holds it and `wait` is false, or has finished all and removed the folder.
        """
        held = contextlib.ExitStack()
        try:
            mine = held.enter_context(lock(self._claims / f"{name}{self._ending}", wait=wait))
        except FileError:
            if self._claims.is_dir():
                raise
            return False
        if mine:
            self._held[name] = held
        return mine

    def release(self, name: str) -> None:
        """Release a claim."""
        self._held.pop(name).close()

    def claim(self, tasks: Iterable[tuple[str, Collection[Any]]], *, wait: bool = False) -> Iterator[str]:
        """Claim what is not done, each name when it is asked for; skip, or wait for, what other processes hold.

        `tasks` are the names of what is claimed together and the keys of its tasks.
        """
        done = self.done()
        for name, keys in tasks:
            if done.keys() >= set(keys) or not self.take(name, wait=wait):
                continue
            done = self.done()  # again: whoever held it may have done it
            if done.keys() >= set(keys):
                self.release(name)
            else:
                yield name


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the file `path`, which is created and stays, while the block runs.

    Yields False, at once, where another process or another block of this one holds it and `wait` is false.
    """
    try:
        stream = claimed(path, wait=wait)
    except FileError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
    with contextlib.nullcontext() if stream is None else stream:
        yield stream is not None


@contextlib.contextmanager
def once(path: Path) -> Iterator[bool]:
    """Make a file once: yields whether it is to be made, after waiting for another process that is making it.

    Where nothing can be locked, two processes may both make it; it is whole all the same.
    """
    if path.exists():
        yield False
        return
    place = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(UnlockableError):
            stack.enter_context(lock(place, wait=True))
        try:
            yield not path.exists()
        finally:
            place.unlink(missing_ok=True)


def sweep_out(folder: Path) -> None:
    """Remove the locks and partial files that killed processes left in a folder; live ones keep theirs."""
    for left in [*folder.glob(".*.lock"), *folder.glob(".*.partial")]:
        with contextlib.suppress(OSError):  # another user's, or on a file system without locks: left alone
            stream = claimed(left)
            if stream is not None:
                with stream:
                    left.unlink()
