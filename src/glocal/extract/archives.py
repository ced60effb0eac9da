"""Images inside tar shards, read where they lie without unpacking."""

from __future__ import annotations

import os
import tarfile
from functools import partial
from pathlib import Path

from glocal.errors import FileError
from glocal.extract.order import is_image_name
from glocal.extract.source import Item
from glocal.files import one_line, unreadable

TAR = ".tar"
_BLOCK = 512
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def is_compressed(path: Path) -> bool:
    """Whether the name is that of a compressed tar file."""
    return path.name.lower().endswith(COMPRESSED)


def refuse_compressed(path: Path) -> FileError:
    """The sentence for a tar file whose members cannot be read one by one."""
    return FileError(
        f"image shard {path} is compressed, so that one image cannot be read without all before it. "
        "Decompress it to a plain .tar, or unpack it into a folder."
    )


def shard_items(shards: list[Path]) -> tuple[list[Item], tuple[str, ...]]:
    """The images of tar shards, shard by shard in the order of the archive, and the names of other members.

    A name is that of the member; with several shards that of the shard goes before it. A shard that ends early is an
    item with its reason, after the images that are whole.
    """
    items: list[Item] = []
    others: list[str] = []
    for shard in shards:
        prefix = f"{shard.stem}/" if len(shards) > 1 else ""
        size = shard.stat().st_size
        last = "its beginning"
        try:
            # NOTE "r:" reads headers only: the data are skipped by a seek
            with tarfile.open(shard, "r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
                    last = member.name
                    name = prefix + member.name.removeprefix("./")
                    if not member.isfile():
                        continue
                    if not is_image_name(name):
                        others.append(name)
                        continue
                    whole = member.offset_data + member.size <= size and not member.sparse
                    reason = None if whole else "is cut off: the shard ends before it does"
                    read = partial(_read, shard, member.offset_data, member.size)
                    items.append(Item(name, member.size, read, reason))
                rest = _after(shard, archive.offset)
                if rest.strip(b"\0") or 0 < len(rest) < _BLOCK:  # NOTE tarfile ends here without a word
                    items.append(Item(shard.name, 0, bytes, f"is a shard damaged after {last}"))
        except (tarfile.TarError, EOFError, ValueError) as error:
            if last == "its beginning":
                raise FileError(f"image shard {shard} is no tar file ({one_line(error)}). Pack it again.") from error
            items.append(Item(shard.name, 0, bytes, f"is a shard damaged after {last}: {one_line(error)}"))
        except OSError as error:
            raise unreadable(shard, "image shard", error) from error
    return items, tuple(others)


def _after(shard: Path, offset: int) -> bytes:
    """What stands where the archive ended: zeros, or nothing, in a whole one."""
    with shard.open("rb") as stream:
        return os.pread(stream.fileno(), _BLOCK, offset)


def _read(shard: Path, offset: int, size: int) -> bytes:
    with shard.open("rb") as stream:
        return os.pread(stream.fileno(), size, offset)
