"""Files read and written whole, or one sentence why not. Documents, tables and stems have modules of their own."""

from glocal.files.claims import UnlockableError, claimed
from glocal.files.documents import read_lines
from glocal.files.hashes import array_sha256, stamp_of, tree_sha256
from glocal.files.npy import NpyHeader, check_text, read_npy, read_npy_header
from glocal.files.paths import (
    PathLike,
    check_ending,
    existing_file,
    followed,
    is_special,
    make_folder,
    one_line,
    unreadable,
    unwritable,
)
from glocal.files.writing import atomic_write, writable_target

__all__ = [
    "NpyHeader",
    "PathLike",
    "UnlockableError",
    "array_sha256",
    "atomic_write",
    "check_ending",
    "check_text",
    "claimed",
    "existing_file",
    "followed",
    "is_special",
    "make_folder",
    "one_line",
    "read_lines",
    "read_npy",
    "read_npy_header",
    "stamp_of",
    "tree_sha256",
    "unreadable",
    "unwritable",
    "writable_target",
]
