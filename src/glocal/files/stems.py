"""Names of files from names of things: readable, and never one for two of them."""

from __future__ import annotations

import re
from collections.abc import Iterable


def file_stems(names: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """A file name without its extension for each tuple of names.

    The parts are joined by hyphens, and what file systems or shells refuse becomes one. Where two tuples would share a
    name, on a file system that does not tell upper from lower case too, the later one gets a number.

    >>> file_stems([("clip", "a b"), ("clip", "a-b"), ("clip-a", "b")])
    {('clip', 'a b'): 'clip-a-b', ('clip', 'a-b'): 'clip-a-b-2', ('clip-a', 'b'): 'clip-a-b-3'}
    """
    stems: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for parts in names:
        if parts in stems:
            continue
        plain = re.sub(r"[^\w.-]+", "-", "-".join(parts))[:80]
        stem, number = plain, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{plain}-{number}"
        stems[parts] = stem
        taken.add(stem.casefold())
    return stems
