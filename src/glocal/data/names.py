"""Which entries of two lists name the same object.

Entries that are written alike do. Of the others, two name the same object if they are alike without
capital letters, the folder and the ending of an image file, and if this is true of no other entry
of either list. Entries that both have a folder are compared with their folders first.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from glocal.errors import DataError

_IMAGE_ENDINGS = (
    *("avif", "bmp", "gif", "heic", "heif", "jfif", "jp2", "jpeg", "jpg"),
    *("pbm", "pgm", "png", "pnm", "ppm", "svg", "tif", "tiff", "webp"),
)


def object_name(name: str) -> str:
    """The name of an object, without its folder and the ending of an image file.

    >>> object_name("images/crystal1.jpg"), object_name("dr.who")
    ('crystal1', 'dr.who')
    """
    file = name.replace("\\", "/").rpartition("/")[2]
    stem, _, ending = file.rpartition(".")
    return stem if ending.lower() in _IMAGE_ENDINGS and "." in file else file


class Matches(NamedTuple):
    """The entry of a list that names the same object as a text, by text.

    `ambiguous` is a sentence with the first entries of which it is not clear which names which, or
    empty.
    """

    entry_of: dict[str, str]
    ambiguous: str


def matching_entries(texts: Sequence[str], entries: Iterable[str]) -> Matches:
    """Find the entry that names the same object as each text, by the rule of this module.

    >>> matching_entries(["im/CUP.jpg", "egg", "hat"], ["egg.png", "cup.png"]).entry_of
    {'im/CUP.jpg': 'cup.png', 'egg': 'egg.png'}
    """
    listed = dict.fromkeys(entries)
    entry_of = {text: text for text in texts if text in listed}
    ambiguous = ""
    for key_of in (_path, _bare_name):
        entries_of = _by_key(listed, key_of)
        for key, same_texts in _by_key(dict.fromkeys(texts), key_of).items():
            same_entries = entries_of.get(key, [])
            if len(same_texts) == len(same_entries) == 1:
                entry_of.setdefault(same_texts[0], same_entries[0])
            elif key_of is _bare_name and same_entries and not entry_of.keys() >= {*same_texts}:
                ambiguous = ambiguous or (
                    f"{' and '.join(map(repr, same_texts[:2]))} may name "
                    f"{' or '.join(map(repr, same_entries[:2]))}, since capital letters, folders "
                    "and endings of images do not count. Write both lists alike, with their "
                    "folders."
                )
    return Matches(entry_of, ambiguous)


def positions_of(texts: Sequence[str], entries: Sequence[str], what: str) -> dict[str, int]:
    """The position of the entry that names the same object as each text, as far as there is one.

    If that is ambiguous, or if `what` the entries are called repeats, a DataError is raised.
    """
    position_of = positions_in(entries, what)
    entry_of, ambiguous = matching_entries(texts, entries)
    if ambiguous:
        raise DataError(ambiguous)
    return {text: position_of[entry] for text, entry in entry_of.items()}


def positions_in(names: Sequence[str], what: str) -> dict[str, int]:
    """The position of each name in a list; a DataError if `what` the list holds repeats."""
    position_of: dict[str, int] = {}
    for position, name in enumerate(names):
        first = position_of.setdefault(name, position)
        if first != position:
            raise DataError(
                f"the {what} hold {name!r} twice (lines {first + 1} and {position + 1}); names "
                "must differ."
            )
    return position_of


def _bare_name(entry: str) -> str:
    """An entry without what does not count; accents are joined to letters, as not all disks do."""
    return unicodedata.normalize("NFC", object_name(entry)).casefold()


def _path(entry: str) -> str:
    """The folder and the bare name; empty without a folder."""
    folder, slash, _ = entry.replace("\\", "/").rpartition("/")
    folder = unicodedata.normalize("NFC", folder).casefold()
    return f"{folder}/{_bare_name(entry)}" if slash else ""


def _by_key(entries: Iterable[str], key_of: Callable[[str], str]) -> dict[str, list[str]]:
    """The entries of each key that is not empty."""
    entries_of: dict[str, list[str]] = {}
    for entry in entries:
        if key := key_of(entry):
            entries_of.setdefault(key, []).append(entry)
    return entries_of
