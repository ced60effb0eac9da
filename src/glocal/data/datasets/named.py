"""Image data sets as the command line names them: ``NAME`` or ``NAME:SPLIT``, and where they lie."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from glocal.data.datasets.download import Progress, cache_folder
from glocal.data.datasets.images import ImageSet
from glocal.data.datasets.registry import IMAGE_SETS
from glocal.data.datasets.sources import load_images
from glocal.errors import ParameterError
from glocal.files import PathLike

_OWN_PLACE = "."  # the folder of a set that lies where its user keeps it


def parse_set(text: str) -> tuple[str, str | None] | None:
    """The name and split of a data set, or None where the text is a path, a pattern or something else.

    A path that exists wins over a name.

    Raises
    ------
    ParameterError
        A name that is nearly or, before a colon, not at all one of `IMAGE_SETS`.

    Examples
    --------
    >>> parse_set("cifar100:test"), parse_set("sun397"), parse_set("photos/*.jpg")
    (('cifar100', 'test'), ('sun397', None), None)
    """
    name, colon, split = text.partition(":")
    if os.path.exists(text) or any(sign in text for sign in "/\\*?["):
        return None
    if name in IMAGE_SETS:
        return name, split or None
    near = difflib.get_close_matches(name.lower(), IMAGE_SETS, n=1, cutoff=0.5 if colon else 0.8)
    if not near and not colon:
        return None
    hint = f"Did you mean {near[0]}{colon}{split}?" if near else f"Allowed are {', '.join(IMAGE_SETS)}."
    raise ParameterError(f"no file and no image data set is called {text!r}. {hint} See glocal data list.")


def open_set(
    name: str,
    split: str | None = None,
    root: PathLike | None = None,
    *,
    download: bool = False,
    progress: Progress | None = None,
) -> ImageSet:
    """Open an image data set where it lies; by default in the folder ``images`` of the cache.

    Parameters are those of `load_images`. A ParameterError where a set that lies where its user keeps it has no `root`.
    """
    if root is None:
        if IMAGE_SETS[name].folder == _OWN_PLACE:
            raise ParameterError(
                f"{name} lies where you keep it; name its folder with --root ({IMAGE_SETS[name].what})."
            )
        root = cache_folder() / "images"
    return load_images(name, Path(root), split=split, download=download, progress=progress)
