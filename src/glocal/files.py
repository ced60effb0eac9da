"""Whole files only: a checked read of ``.npy`` and text, an atomic write of anything."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import math
import os
import secrets
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from glocal.errors import FileError, ParameterError

PathLike = str | os.PathLike[str]

_SLOTS = 8  # names of partial files: as many processes may write one output at once
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_HEADER_BYTES = 1 << 14  # numpy refuses a header above 10,000 bytes
_MOST_AXES = 32


class UnlockableError(FileError):
    """A file system, or a system, on which no file can be locked."""


class NpyHeader(NamedTuple):
    """What a ``.npy`` file says of itself; the values begin at byte `offset`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """The bytes that the whole file must have."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


def read_npy(path: PathLike, *, what: str) -> np.ndarray:
    """Open a ``.npy`` file as a read-only memory map, or say in one sentence why not.

    Parameters
    ----------
    path : path
        An array saved by ``numpy.save`` without pickling.
    what : str
        The role of the file in the sentence of an error, e.g. ``"features"``.

    Raises
    ------
    FileError
        Missing, unreadable, empty, not an npy file, truncated, or pickled.
    """
    path = existing_file(path, what=what)
    try:
        with path.open("rb") as stream:
            header = read_npy_header(stream)
    except OSError as error:
        raise unreadable(path, what, error) from error
    except ValueError as error:
        raise FileError(
            f"{what} file {path} is not a whole .npy file ({one_line(error)}). Write it again with numpy.save."
        ) from error
    if header.dtype.hasobject:
        raise FileError(
            f"{what} file {path} holds pickled Python objects, which are never loaded. "
            "Save a plain numeric array: numpy.save(path, numpy.asarray(values, dtype='float32'))."
        )
    found = path.stat().st_size
    if found < header.nbytes:
        raise FileError(
            f"{what} file {path} is truncated: its header promises {header.nbytes} bytes and it has {found}. "
            "Copy or write it again."
        )
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # zero-sized arrays and 0-d arrays cannot be mapped
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise unreadable(path, what, error) from error
    return array


def read_npy_header(stream: IO[bytes] | io.BufferedIOBase) -> NpyHeader:
    """Read what a ``.npy`` stream says of itself, without believing more of it than numpy can make an array of.

    At most 16 kB are read, so that nothing is spent on a header that lies about its own length.

    Raises
    ------
    ValueError
        No header of a ``.npy`` file, or of an array that cannot be; the reason in a few words.
    """
    start = io.BytesIO(stream.read(_HEADER_BYTES))
    try:
        version = npy_format.read_magic(start)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(start)
    except Exception as error:  # numpy raises whatever a damaged header leads its parser to
        raise ValueError(one_line(error)) from error
    if dtype.itemsize == 0:
        raise ValueError(f"its values are {dtype}, of no size")
    values = math.prod(max(n, 1) for n in shape)  # numpy counts an axis of length 0 as 1 too
    if min(shape, default=0) < 0 or len(shape) > _MOST_AXES or values > sys.maxsize // dtype.itemsize:
        raise ValueError(f"no array has the shape {str(shape)[:80]}")
    return NpyHeader(shape, dtype, start.tell())


def read_lines(path: PathLike, *, what: str) -> tuple[str, ...]:
    """Read a UTF-8 text file as its stripped lines; trailing empty lines are dropped."""
    path = existing_file(path, what=what)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise unreadable(path, what, error) from error
    except UnicodeDecodeError as error:
        raise FileError(f"{what} file {path} is not UTF-8 text ({one_line(error)}). Save it as UTF-8.") from error
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


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


@contextlib.contextmanager
def atomic_write(path: PathLike, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Write to a hidden neighbour, flush it to disk, then move it into place.

    A killed process, a full disk or an exception leaves the previous file whole. What a killed process leaves is the
    neighbour, ``.NAME.0.partial``, which the next writer of `path` removes. A symbolic link is followed; a device or a
    pipe is written to as it is. `durable` false leaves it to the system when the bytes reach the disk: whole after a
    killed process, not after a power cut.

    Raises
    ------
    FileError
        The folder does not exist, is not writable, or the disk is full.
    """
    path = Path(path)
    try:
        if _is_special(path):
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
    """Fail before hours of work, not after them: check that `path` can be created, and how its name ends.

    Raises
    ------
    FileError
        The folder is missing or not writable, or `path` is itself a folder.
    ParameterError
        The name ends in none of `endings`, if there are any.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise FileError(f"{what} {path} is a folder. Name a file inside it.")
        if _is_special(path):
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


def check_ending(path: PathLike, endings: Sequence[str], *, what: str = "output") -> str:
    """The ending of a file name in lower case: a file is of the kind that its name says.

    Raises
    ------
    ParameterError
        It is none of `endings`, if there are any, and `path` is no device or pipe. An empty one allows names without.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if endings and ending not in endings and not _is_special(path):
        raise ParameterError(
            f"{what} {path} ends in {ending or 'nothing'}; allowed are {', '.join(filter(None, endings))}. "
            f"Name it {path.with_suffix(endings[0]).name}."
        )
    return ending


def followed(path: Path) -> Path:
    """Where a symbolic link leads, else `path` as it is.

    Raises
    ------
    FileError
        The link leads back to itself.
    """
    real = Path(os.path.realpath(path)) if path.is_symlink() else path
    if real.is_symlink():
        raise FileError(f"cannot write {path}: it is a link that leads back to itself. Choose another name.")
    return real


def claimed(path: Path, *, wait: bool = False, new: bool = False) -> BinaryIO | None:
    """Open a file for writing, and hold it until it is closed or this process dies.

    Parameters
    ----------
    path : path
        Created if it is missing; what it holds is kept.
    wait : bool
        Whether to wait for another holder.
    new : bool
        Whether `path` must not exist yet.

    Returns
    -------
    binary stream or None
        None where another one holds the file, or, with `new`, where it exists.

    Raises
    ------
    UnlockableError
        Nothing can be locked there.
    OSError
        `path` cannot be opened for writing.
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
    with contextlib.suppress(OSError):  # what cannot be removed is no worse than what a killed process leaves
        path.unlink()


def _close_on_windows(stream: BinaryIO) -> None:
    """Windows neither moves nor removes a file that is open."""
    if os.name == "nt":
        stream.close()


def _is_special(path: Path) -> bool:
    """A device or a pipe: there is nothing to replace, and replacing it would destroy it."""
    try:
        return path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:
        raise unwritable(path, error) from error


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


def array_sha256(array: Any, rows: np.ndarray | None = None) -> str:
    """Hash dtype, shape and bytes of an array, in memory or sliced from the disk; equal arrays have equal hashes.

    With `rows`, increasing integers, it is the hash of ``array[rows]``, which is read in pieces.
    """
    shape = array.shape if rows is None else (len(rows), *array.shape[1:])
    digest = hashlib.sha256(f"{array.dtype.str}{shape}".encode())
    step = max(1, (1 << 24) // max(1, array[:1].nbytes))
    for start in range(0, shape[0], step):
        part = slice(start, start + step) if rows is None else rows[start : start + step]
        digest.update(np.ascontiguousarray(array[part]).data)
    return digest.hexdigest()


def stamp_of(status: os.stat_result) -> bytes:
    """What changes when a file is written, replaced or renamed: size, times of both changes, place on the disk.

    A file with the same stamp has the same content; one with another stamp may have it too.
    """
    return struct.pack("<QqqQ", status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def one_line(error: BaseException) -> str:
    """The message of an error on one line, without a final full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def tree_sha256(path: PathLike) -> str:
    """Hash the bytes of a file, or the names and bytes of all files in a folder."""
    path = Path(path)
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file()):
        digest.update(file.relative_to(path).as_posix().encode())
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise unreadable(file, "input", error) from error
    return digest.hexdigest()
