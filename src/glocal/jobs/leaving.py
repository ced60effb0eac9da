"""What the rooms that are being rewritten still use of the old files: it leaves with its last user."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from glocal.errors import FileError, ParameterError
from glocal.files import PathLike, one_line, reading

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}


class UnlockableError(FileError):
    """A file system, or a system, on which no file can be locked."""


def claimed(path: Path, *, wait: bool = False) -> BinaryIO | None:
    """Open a file for writing and hold it until it is closed or this process dies; None where another one holds it."""
    from filelock import lock_descriptor

    flags = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        stream = open(path, "r+b", opener=lambda name, mode: os.open(name, mode | flags, 0o666))  # noqa: SIM115  returned
        try:
            held = lock_descriptor(stream.fileno(), blocking=wait)
            if held and os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return stream
        except FileNotFoundError:
            held = True
        except OSError as error:
            stream.close()
            if error.errno not in _NO_LOCKS:
                raise
            raise UnlockableError(
                f"{path} cannot be locked ({error.strerror}). Choose an output on a file system with file locks."
            ) from error
        except BaseException:
            stream.close()
            raise
        stream.close()  # held by another one; or moved or removed by its holder after it was opened here
        if not held:
            return None


def existing_file(path: PathLike, *, what: str) -> Path:
    """Return `path` if it is a file that has content, else raise the sentence that says why not."""
    with reading(path, what):
        return Path(path)


def check_ending(path: PathLike, endings: Sequence[str], *, what: str = "output") -> str:
    """The ending of a file name in lower case; a ParameterError if it is none of `endings`."""
    path = Path(path)
    ending = path.suffix.lower()
    if endings and ending not in endings and not is_special(path):
        raise ParameterError(f"{what} {path} ends in {ending or 'nothing'}; allowed are {', '.join(endings)}.")
    return ending


def is_special(path: Path) -> bool:
    """A device or a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def unreadable(path: Path, what: str, error: OSError) -> FileError:
    """The sentence for an operating-system error on reading."""
    return FileError(f"{what} file {path} cannot be read: {error.strerror or one_line(error)}. Check its permissions.")


def unwritable(path: Path, error: OSError) -> FileError:
    """The sentence for an operating-system error on writing."""
    return FileError(f"cannot write {path}: {error.strerror or one_line(error)}. Choose another place.")


def read_json(path: PathLike, *, what: str, fix: str) -> Any:
    """The value of a JSON file."""
    with reading(path, what, fix) as file:
        return json.loads(file.read_text(encoding="utf-8-sig"))


def tree_sha256(path: PathLike) -> str:
    """Hash the bytes of a file, or the names and bytes of all files in a folder."""
    path = Path(path)
    if not path.exists():
        raise FileError(f"input {path} does not exist. Check the path.")
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file()):
        digest.update(file.relative_to(path).as_posix().encode())
        try:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise unreadable(file, "input", error) from error
    return digest.hexdigest()


def stamp_of(status: os.stat_result) -> bytes:
    """What changes when a file is written, replaced or renamed: size, times of both changes, place on the disk."""
    return struct.pack("<QqqQ", status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class NpyHeader(NamedTuple):
    """What a ``.npy`` file says of itself; the values begin at byte `offset`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def nbytes(self) -> int:
        """The bytes that the whole file must have."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


def read_npy_header(stream: IO[bytes] | io.BufferedIOBase) -> NpyHeader:
    """Read what a ``.npy`` stream says of itself; a ValueError where numpy could not make an array of that."""
    start = io.BytesIO(stream.read(1 << 14))
    try:
        version = npy_format.read_magic(start)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(start)
    except Exception as error:  # numpy raises whatever a damaged header leads its parser to
        raise ValueError(one_line(error)) from error
    if dtype.itemsize == 0:
        raise ValueError(f"its values are {dtype}, of no size")
    values = math.prod(max(n, 1) for n in shape)
    if min(shape, default=0) < 0 or len(shape) > 32 or values > sys.maxsize // dtype.itemsize:
        raise ValueError(f"no array has the shape {str(shape)[:80]}")
    return NpyHeader(shape, dtype, start.tell())


def write_npy_header(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write what precedes the values of a ``.npy`` file, row after row."""
    described = {"descr": npy_format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy_format.write_array_header_1_0(stream, described)
