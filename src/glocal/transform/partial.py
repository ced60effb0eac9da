"""An output of many parts: made beside its place, taken up again after an interruption, moved there when whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glocal.errors import DataError, FileError
from glocal.files import make_folder, unwritable


@dataclass(frozen=True)
class Partial:
    """The folder ``.OUT.partial/KEY`` beside the output OUT, where KEY is a hash of all that determines it.

    Parameters
    ----------
    out : path
        The output, a folder or a file.
    data : path
        Folder of what is written.
    done : path
        Folder of one empty file for each finished part, named by its number.
    """

    out: Path
    data: Path
    done: Path

    @classmethod
    def of(cls, out: Path, key: str) -> Partial:
        """Say where the folder lies; nothing is created."""
        folder = _folder(out) / key
        return cls(out, folder / "data", folder / "done")

    def marker(self, number: int) -> Path:
        """The file that says that a part is finished."""
        return self.done / str(number)

    def finished(self) -> set[int]:
        """The numbers of the finished parts."""
        return {int(marker.name) for marker in self.done.iterdir()}

    def commit(self, whole: Path) -> None:
        """Move `whole`, which lies in `data`, to the place of the output, and what was there away.

        A file is replaced at once. A folder is exchanged by two renames; if the process is killed between them, the
        previous output is put back by the next run.
        """
        try:
            for stray in self.data.rglob(".*.partial"):  # of a process that was killed while it wrote
                stray.unlink()
            if self.out.is_dir():
                os.rename(self.out, _previous(self.out))
            os.replace(whole, self.out)
        except OSError as error:
            raise unwritable(self.out, error) from error
        shutil.rmtree(_previous(self.out), ignore_errors=True)
        shutil.rmtree(_folder(self.out), ignore_errors=True)


@contextlib.contextmanager
def holding(partial: Partial) -> Iterator[None]:
    """Create the folder, or take it up, for this process alone; what was begun with another key is thrown away.

    What is finished stays when the block ends early, unless its input is at fault.

    Raises
    ------
    FileError
        The folder of `out` is missing or not writable, or another process writes this output.
    """
    out = partial.out
    if not out.parent.is_dir():
        raise FileError(f"output folder {out.parent} does not exist. Create it first: mkdir -p {out.parent}.")
    folder = _folder(out)
    with contextlib.ExitStack() as stack:
        try:
            make_folder(folder)
            lock = stack.enter_context((folder / "lock").open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _previous(out).exists() and not out.exists():
                os.rename(_previous(out), out)
            for other in folder.iterdir():
                if other.is_dir() and other != partial.data.parent:
                    shutil.rmtree(other)
            make_folder(partial.data)
            make_folder(partial.done)
        except BlockingIOError as error:
            raise FileError(
                f"output {out} is being written by another process. Wait for it, or name another."
            ) from error
        except OSError as error:
            raise error if isinstance(error, FileError) else unwritable(out, error) from error
        try:
            yield
        except BaseException as error:
            if isinstance(error, DataError) or not any(partial.done.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _previous(out: Path) -> Path:
    return out.with_name(f".{out.name}.previous")


__all__ = ["Partial", "holding"]
