"""Which entries of two lists name the same object.

Identical entries match. Of the others, two name the same object if they are alike without capital
letters, the folder and the ending of an image file, and if no third entry is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

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


def matching_entries(texts: Sequence[str], entries: Iterable[str]) -> dict[str, str]:
    """Map each text to the entry that names the same object; texts without one are left out.

    Raises
    ------
    DataError
        If texts or entries that are not identical differ in nothing that counts.

    Examples
    --------
    >>> matching_entries(["im/CUP.jpg", "egg", "hat"], ["egg.png", "cup.png"])
    {'im/CUP.jpg': 'cup.png', 'egg': 'egg.png'}
    """
    unmatched = dict.fromkeys(entries)
    entry_of = {text: text for text in texts if text in unmatched}
    for text in entry_of:
        del unmatched[text]
    entries_of = _by_bare_name(unmatched)
    others = dict.fromkeys(text for text in texts if text not in entry_of)
    for name, same_texts in _by_bare_name(others).items():
        same_entries = entries_of.get(name, [])
        n_pairs = len(same_texts) * len(same_entries)
        if n_pairs > 1:
            raise DataError(
                f"{' and '.join(map(repr, same_texts[:2]))} may name "
                f"{' or '.join(map(repr, same_entries[:2]))}, since capital letters, folders and "
                "endings of images do not count. Write both lists alike, with their folders."
            )
        entry_of |= dict(zip(same_texts, same_entries, strict=False))
    return entry_of


def positions_of(texts: Sequence[str], entries: Sequence[str], what: str) -> dict[str, int]:
    """Map each text to the position of its entry; texts without one are left out.

    Raise a DataError if a match is ambiguous or an entry repeats; `what` names the entries in
    messages.
    """
    position_of = positions_in(entries, what)
    return {text: position_of[entry] for text, entry in matching_entries(texts, entries).items()}


def positions_in(names: Sequence[str], what: str) -> dict[str, int]:
    """Map each name to its position.

    Raise a DataError if a name repeats; `what` names the list in the message.
    """
    position_of: dict[str, int] = {}
    for position, name in enumerate(names):
        first = position_of.setdefault(name, position)
        if first != position:
            raise DataError(
                f"the {what} hold {name!r} twice (lines {first + 1} and {position + 1}); names "
                "must differ."
            )
    return position_of


def _by_bare_name(entries: Iterable[str]) -> dict[str, list[str]]:
    """The entries of each name without what does not count; empty names are left out."""
    entries_of: dict[str, list[str]] = {}
    for entry in entries:
        # accents are joined to letters, as not all disks do
        name = unicodedata.normalize("NFC", object_name(entry)).casefold()
        if name:
            entries_of.setdefault(name, []).append(entry)
    return entries_of
