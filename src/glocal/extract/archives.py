"""Images inside tar shards, read where they lie without unpacking."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from glocal.errors import FileError
from glocal.extract.folders import is_image_name
from glocal.extract.source import Item
from glocal.files import one_line
from glocal.jobs.leaving import stamp_of, unreadable

TAR = ".tar"
_BLOCK = 512
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def shard_items(shards: list[Path]) -> tuple[list[Item], tuple[str, ...]]:
    """The images of tar shards, shard by shard in the order of the archive, and the names of other members.

    A name is that of the member; with several shards that of the shard goes before it. A link is the image that it
    leads to inside its shard, under its own name. A shard that ends early is an item with its reason, after the images
    that are whole; one that is compressed or no tar file is a FileError.
    """
    items: list[Item] = []
    others: list[str] = []
    for shard in shards:
        if shard.name.lower().endswith(COMPRESSED):
            raise FileError(
                f"image shard {shard} is compressed, so that one image cannot be read without all before it. "
                "Decompress it to a plain .tar, or unpack it into a folder."
            )
        prefix = f"{shard.stem}/" if len(shards) > 1 else ""
        try:
            members, damage = _members(shard)
            stamp = stamp_of(shard.stat())
        except FileError:
            raise
        except OSError as error:
            raise unreadable(shard, "image shard", error) from error
        by_path = {member.path: member for member in members}
        for member in members:
            name = prefix + member.name.removeprefix("./")
            if is_image_name(name):
                items.append(_item(name, member, by_path, shard, stamp))
            else:
                others.append(name if member.leads_to is None else f"{name} -> {member.leads_to}")
        if damage is not None:
            items.append(Item(shard.name, 0, bytes, damage))
    return items, tuple(others)


class _Member(NamedTuple):
    """What lies in a shard under a name: bytes, or a link to another member, or a reason why neither."""

    name: str
    offset: int
    size: int
    leads_to: str | None
    reason: str | None

    @property
    def path(self) -> str:
        return posixpath.normpath(self.name)


def _members(shard: Path) -> tuple[list[_Member], str | None]:
    """The members of a shard that are not folders, and what is wrong with the shard where it is damaged."""
    found: list[_Member] = []
    size = shard.stat().st_size
    last = "its beginning"
    try:
        # NOTE "r:" reads headers only: the data are skipped by a seek
        with tarfile.open(shard, "r:") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
                last = member.name
                if not member.isdir():
                    found.append(_member(member, size))
            rest = _bytes_of(shard, archive.offset, _BLOCK)
            if rest.strip(b"\0") or 0 < len(rest) < _BLOCK:  # NOTE tarfile ends here without a word
                return found, f"is a shard damaged after {last}"
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if last == "its beginning":
            raise FileError(f"image shard {shard} is not a tar file ({one_line(error)}). Pack it again.") from error
        return found, f"is a shard damaged after {last}: {one_line(error)}"
    return found, None


def _member(member: tarfile.TarInfo, size: int) -> _Member:
    leads_to = reason = None
    if member.issym():  # relative to its own folder; a hard link, to the root of the archive
        leads_to = posixpath.join(posixpath.dirname(member.name), member.linkname)
    elif member.islnk():
        leads_to = member.linkname
    elif not member.isfile():
        reason = "is not a regular file"
    elif member.sparse:
        reason = "is stored sparse; pack it again without that"
    elif member.offset_data + member.size > size:
        reason = "is cut off: the shard ends before it does"
    return _Member(member.name, member.offset_data, member.size, leads_to, reason)


def _item(name: str, member: _Member, by_path: Mapping[str, _Member], shard: Path, stamp: bytes) -> Item:
    """The image of a member, or of the one that its links lead to."""
    passed = {member.path}
    while member.leads_to is not None:
        place = posixpath.normpath(member.leads_to)
        if place in passed or place not in by_path:
            lost = "leads back to itself" if place in passed else f"leads to {place}, which is not in the shard"
            return Item(name, 0, bytes, f"is a link that {lost}")
        passed.add(place)
        member = by_path[place]
    return Item(name, member.size, partial(_bytes_of, shard, member.offset, member.size), member.reason, stamp)


def _bytes_of(shard: Path, offset: int, size: int) -> bytes:
    with shard.open("rb") as stream:
        stream.seek(offset)
        return stream.read(size)
