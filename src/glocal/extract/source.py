"""Where inputs come from: a list of named items, each read when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from glocal.data.decode import Unreadable
from glocal.errors import FileError
from glocal.files import one_line


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """One input: its name, its size in bytes, how to read it, or why it cannot be.

    `stamp` changes whenever the file that holds it changes; empty where there is none.
    """

    name: str
    size: int
    read: Callable[[], bytes]
    reason: str | None = None
    stamp: bytes = b""


@dataclass(frozen=True, eq=False)
class Source:
    """Inputs in the order of the rows to come.

    `decode` turns the bytes of an item into the input of a model's preprocessing and raises `Unreadable`. `order` is
    the order in words, for the record; `described` says where the inputs come from, for messages; `ignored` are the
    names of files whose extension is not that of an image; `labels` are the classes of the items, under
    the names of the text files that hold them.
    """

    items: Sequence[Item]
    decode: Callable[[bytes], Any]
    order: str
    described: str
    ignored: tuple[str, ...] = field(default=())
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _digests: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_digests", np.zeros((len(self.items), 32), dtype=np.uint8))  # of what has been read

    def __len__(self) -> int:
        return len(self.items)

    def read(self, number: int) -> Any:
        """The decoded item, in whatever thread this runs; or `Unreadable` with the reason."""
        return self.decode(self.read_bytes(number))

    def read_bytes(self, number: int) -> bytes:
        """The bytes of an item as they are stored."""
        item = self.items[number]
        if item.reason is not None:
            raise Unreadable(item.reason)
        try:
            data = item.read()
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror or one_line(error)}") from error
        if not data:
            raise Unreadable("is empty")
        self._digests[number] = np.frombuffer(hashlib.sha256(data).digest(), dtype=np.uint8)
        return data

    def known_missing(self) -> list[tuple[int, str]]:
        """Items that are known to have no row before anything is decoded."""
        found = []
        for number, item in enumerate(self.items):
            reason = item.reason or ("is empty" if item.size == 0 else None)
            if reason is not None:
                found.append((number, reason))
        return found

    def fingerprint(self) -> str:
        """Hash of names, sizes and order: changes when files come, go or change their length."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(f"{item.size} {item.name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def content_sha256(self, numbers: range | None = None) -> str:
        """Hash of the names and bytes of items, by default of all; what cannot be read counts by its reason.

        What this source has read before is not read again.
        """
        digest = hashlib.sha256()
        for number in range(len(self)) if numbers is None else numbers:
            digest.update(f"{self.items[number].name}\n".encode("utf-8", "surrogateescape"))
            try:
                if not self._digests[number].any():
                    self.read_bytes(number)
                digest.update(self._digests[number].tobytes())
            except Unreadable as reason:
                digest.update(str(reason).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def stamps_sha256(self, numbers: range) -> str:
        """Hash of the stamps of items: while it is the same, so is their content. Empty where one has no stamp."""
        stamps = [self.items[number].stamp for number in numbers]
        return hashlib.sha256(b"\n".join(stamps)).hexdigest() if all(stamps) else ""


def checked_items(items: Sequence[Item], described: str) -> list[Item]:
    """Mark items whose name cannot be a line of ``file_names.txt``, and refuse an empty source."""
    if not items:
        raise FileError(f"there is no image in {described}. Check the path, and that the files have image extensions.")
    return [_with_a_line(item) for item in items]


def _with_a_line(item: Item) -> Item:
    reason = item.reason
    try:
        item.name.encode()
    except UnicodeEncodeError:
        reason = "has a name that is not UTF-8; rename it"
    if len(item.name.splitlines()) != 1 or item.name != item.name.strip():
        reason = "has a name with a line break or with spaces at its ends; rename it"
    return replace(item, reason=reason)
