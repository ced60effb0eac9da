"""The names of objects, and which entries of two lists name the same object.

Folders and extensions are ignored. If names repeat without their folders, and all entries have a
folder, the folders are compared too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from glocal.errors import DataError
from glocal.similarity import Numbers

_IMAGE_EXTENSION = re.compile(
    r"\.(avif|bmp|gif|hei[cf]|jfif|jp2|jpe?g|pbm|pgm|png|pnm|ppm|svg|tiff?|webp)$", re.IGNORECASE
)


def object_name(name: str) -> str:
    """The name of an object, without its folder and the extension of an image file.

    >>> object_name("images/crystal1.jpg"), object_name("dr.who")
    ('crystal1', 'dr.who')
    """
    return _IMAGE_EXTENSION.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])


def matching_lines(names: Sequence[str], listed: Sequence[str], what: str) -> Numbers | None:
    """The line of a list that has each name, -1 for none; None if it is no list of these names.

    It is one if the names differ and more than half of them are in it. `what` the list holds is
    said if one of its names repeats.
    """
    (keys, list_keys), ignored = object_keys(names, listed)
    if len({*keys}) < len(keys) or 2 * len({*keys} & {*list_keys}) <= len(keys):
        return None
    line_of = unique_index(list_keys, what, ignored)
    return np.array([line_of.get(key, -1) for key in keys])


def indices_in_list(texts: Iterable[str], listed: Sequence[str]) -> dict[str, int]:
    """The index in a list of each text that names one of its entries.

    A text is compared as it is written, then without its extension, then without its folder too.
    A DataError is raised if it names several entries.

    >>> indices_in_list(["a/1.png", "2", "3"], ["a/1.jpg", "b/1.jpg", "b/2.jpg"])
    {'a/1.png': 0, '2': 2}
    """
    index_of: dict[str, int] = {}
    for key_of in (str, _path, object_name):
        indices_of: dict[str, list[int]] = {}
        for index, name in enumerate(listed):
            indices_of.setdefault(key_of(name), []).append(index)
        for text in texts:
            indices = indices_of.get(key_of(text), [])
            if len(indices) > 1 and text not in index_of:
                raise DataError(
                    f"{text!r} may be {listed[indices[0]]} or {listed[indices[1]]} of the object "
                    "ids. Write it with its folder."
                )
            if indices:
                index_of.setdefault(text, indices[0])
    return index_of


def object_keys(*lists: Sequence[str]) -> tuple[list[list[str]], str]:
    """The keys that identify the objects of the entries of lists, and what is left out of them.

    They are the names, or the paths if names repeat and all entries are paths.
    """
    names = [list(map(object_name, entries)) for entries in lists]
    if any(len({*keys}) < len(keys) for keys in names):
        paths = [list(map(_path, entries)) for entries in lists]
        if all("/" in path for keys in paths for path in keys):
            return paths, "extension"
    return names, "folder and extension"


def _path(name: str) -> str:
    folder, slash, _ = name.replace("\\", "/").rpartition("/")
    return f"{folder}{slash}{object_name(name)}"


def unique_index(keys: Sequence[str], what: str, ignored: str) -> dict[str, int]:
    """The position of each key in a list; a DataError if `what` the list holds repeats.

    `ignored` is the part of the entries that the keys leave out.
    """
    position_of = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    if len(position_of) < len(keys):
        position = next(i for i, key in enumerate(keys) if position_of[key] != i)
        key = keys[position]
        raise DataError(
            f"the {what} hold {key!r} twice (lines {position_of[key] + 1} and {position + 1}, "
            f"{ignored} ignored); names must differ."
        )
    return position_of
