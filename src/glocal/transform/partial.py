"""An output of many parts: made beside its place, taken up again after an interruption, moved there when whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glocal.errors import DataError, FileError
from glocal.files import make_folder, unwritable
from glocal.locks import lock


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

        A file is replaced at once. A folder is exchanged by two renames. Wherever the process is killed, the next run
        of `holding` finds one of two states: no output, then the previous one is put back; or the new one, then what
        is left of the previous one and of this folder is removed.
        """
        try:
            for stray in self.data.rglob(".*.partial"):  # of a process that was killed while it wrote
                stray.unlink()
            if self.out.is_dir():
                os.rename(self.out, _previous(self.out))
            os.replace(whole, self.out)
            _remove(_previous(self.out))
        except OSError as error:
            raise unwritable(self.out, error) from error
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
            if not stack.enter_context(lock(folder / "lock")):
                raise FileError(f"output {out} is being written by another process. Wait for it, or name another.")
            _mend(partial)
            make_folder(partial.data)
            make_folder(partial.done)
        except OSError as error:
            raise error if isinstance(error, FileError) else unwritable(out, error) from error
        try:
            yield
        except BaseException as error:
            if isinstance(error, DataError) or not any(partial.done.iterdir()):
                shutil.rmtree(partial.done, ignore_errors=True)
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _mend(partial: Partial) -> None:
    """Undo or complete an exchange that was cut short, and remove what is of no use to this run."""
    out, ours = partial.out, partial.data.parent
    if out.exists():
        _remove(_previous(out))
    elif _previous(out).exists():
        os.rename(_previous(out), out)
    for other in _folder(out).iterdir():
        moved = other == ours and partial.done.is_dir() and not (partial.data / out.name).exists()  # to its place
        if other.is_dir() and (other != ours or moved):
            _remove(other)


def _remove(folder: Path) -> None:
    """Remove a folder, and first what says that parts in it are finished, so that no kill leaves that alone."""
    shutil.rmtree(folder / "done", ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _previous(out: Path) -> Path:
    return out.with_name(f".{out.name}.previous")


__all__ = ["Partial", "holding"]
