"""What scipy does not check in a MATLAB 5 file: the type of the numbers, by which it looks up a pointer."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_FULL = range(6, 16)  # classes of full arrays of numbers
_COMPLEX = 0x800
_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
_PIECE = 1 << 20


def check_number_types(path: Path) -> None:
    """Refuse a file in which the numbers of an array are of a type that MATLAB does not have: scipy would crash.

    Raises
    ------
    ValueError
        With the unknown type; zlib's own error where compressed bytes are damaged, struct's where they end early.
    """
    with path.open("rb") as stream:
        order = {b"IM": "<", b"MI": ">"}.get(stream.read(_HEADER)[-2:])
        while order and len(tag := stream.read(8)) == 8:
            kind, size = struct.unpack(f"{order}2I", tag)
            end = stream.tell() + size
            variable: Any = stream
            if kind == _COMPRESSED:
                variable = io.BufferedReader(_Inflated(stream, size))
                kind, _ = struct.unpack(f"{order}2I", variable.read(8))
            if kind == _MATRIX:
                _check_variable(variable, order)
            stream.seek(end)


def _check_variable(stream: Any, order: str) -> None:
    flags = struct.unpack(f"{order}I", stream.read(16)[8:12])[0]
    _skip(stream, order)  # dimensions
    _skip(stream, order)  # name
    if flags & 0xFF in _FULL:
        for _ in range(2 if flags & _COMPLEX else 1):
            kind = _skip(stream, order)
            if kind not in _NUMBERS:
                raise ValueError(f"its numbers are of the unknown type {kind}")


def _skip(stream: Any, order: str) -> int:
    """Pass over one element; its type. An element of at most four bytes has its size beside the type."""
    kind, size = struct.unpack(f"{order}2I", stream.read(8))
    if kind >> 16:
        return int(kind & 0xFFFF)
    left = size + -size % 8
    while left and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
    return int(kind)


class _Inflated(io.RawIOBase):
    """The next `size` bytes of a stream, inflated as they are read."""

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._left, self._inflate = stream, size, zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = b""
        while not data and not self._inflate.eof:
            held = self._inflate.unconsumed_tail or self._stream.read(min(self._left, _PIECE))
            self._left -= 0 if self._inflate.unconsumed_tail else len(held)
            if not held:
                break
            data = self._inflate.decompress(held, len(buffer))
        buffer[: len(data)] = data
        return len(data)


__all__ = ["check_number_types"]
