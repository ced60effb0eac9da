"""How a file or an array is recognised as unchanged: hashes of content, stamps of files."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from glocal.files.paths import PathLike, unreadable


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


def file_sha256(path: PathLike) -> str:
    """Hash the bytes of a file, as ``sha256sum`` does."""
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(Path(path), "input", error) from error


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


def stamp_of(status: os.stat_result) -> bytes:
    """What changes when a file is written, replaced or renamed: size, times of both changes, place on the disk.

    A file with the same stamp has the same content; one with another stamp may have it too.
    """
    return struct.pack("<QqqQ", status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
