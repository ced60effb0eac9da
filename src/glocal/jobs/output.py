"""An output of many parts: made beside its place, continued after an interruption, moved there when whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from glocal.errors import DataError, FileError
from glocal.files import make_folder
from glocal.jobs.folder import TaskFolder, lock
from glocal.jobs.leaving import unwritable
from glocal.results import read_rows

_LOG = "done.jsonl"


@dataclass(frozen=True)
class Output:
    """The folder ``.OUT.partial/KEY`` beside the output OUT, where KEY is a hash of all that determines it."""

    out: Path
    folder: Path

    @classmethod
    def of(cls, out: Path, key: str) -> Output:
        """Say where the folder lies; nothing is created."""
        return cls(out, _folder(out) / key)

    @property
    def whole(self) -> Path:
        """Where the output is made."""
        return self.folder / "data" / self.out.name

    def tasks(self) -> TaskFolder:
        """The finished parts, each by its number."""
        return TaskFolder(self.folder, _LOG, lambda row: row["part"], read=partial(read_rows, needed=("part",)))

    def commit(self) -> None:
        """Move what was made to the place of the output, and what was there away.

        A file is replaced at once. A folder is exchanged by two renames. Wherever the process is killed, the next run
        of `building` finds one of two states: no output, then the previous one is put back; or the new one, then what
        is left of the previous one and of this folder is removed.
        """
        try:
            for stray in self.whole.parent.rglob(".*.partial"):  # of a process that was killed while it wrote
                stray.unlink()
            if self.out.is_dir():
                os.rename(self.out, _previous(self.out))
            os.replace(self.whole, self.out)
            _remove(_previous(self.out))
        except OSError as error:
            raise unwritable(self.out, error) from error
        shutil.rmtree(_folder(self.out), ignore_errors=True)


@contextlib.contextmanager
def building(output: Output) -> Iterator[TaskFolder]:
    """Create the folder, or continue with it, for this process alone; work begun with another key is discarded.

    Finished parts stay when the block ends early, unless their input is at fault.
    """
    out = output.out
    if not out.parent.is_dir():
        raise FileError(f"output folder {out.parent} does not exist. Create it first: mkdir -p {out.parent}.")
    folder = _folder(out)
    with contextlib.ExitStack() as stack:
        try:
            make_folder(folder)
            if not stack.enter_context(lock(folder / "lock")):
                raise FileError(f"output {out} is being written by another process. Wait for it, or name another.")
            _mend(output)
            make_folder(output.whole.parent)
            tasks = output.tasks().create()
        except FileError:
            raise
        except OSError as error:
            raise unwritable(out, error) from error
        try:
            yield tasks
        except BaseException as error:
            if isinstance(error, DataError) or not tasks.done():
                _remove(output.folder)
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _mend(output: Output) -> None:
    """Undo or complete an exchange that was cut short, and remove what is of no use to this run."""
    out, ours = output.out, output.folder
    if out.exists():
        _remove(_previous(out))
    elif _previous(out).exists():
        os.rename(_previous(out), out)
    for other in _folder(out).iterdir():
        moved = other == ours and (ours / _LOG).exists() and not output.whole.exists()  # to its place
        if other.is_dir() and (other != ours or moved):
            _remove(other)


def _remove(folder: Path) -> None:
    """Remove a folder, and first what says that parts in it are finished, so that no kill leaves that alone."""
    (folder / _LOG).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _previous(out: Path) -> Path:
    return out.with_name(f".{out.name}.previous")
