"""The image data sets that `load_images` knows, from ``image_sets.toml`` beside this module."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class ImageSetTerms:
    """What is known of an image data set before it is opened.

    Parameters
    ----------
    name : str
        What `load_images` is asked for.
    what, size, terms, citation : str
        Content; size of its archive; the terms its publisher states; the paper.
    splits : tuple of str
        Allowed splits, the default first; empty for folders, whose subfolders decide.
    folder : str
        The path below the root that holds its files, ``.`` for the root itself.
    download : bool
        Whether torchvision can fetch it.
    """

    name: str
    what: str
    size: str
    splits: tuple[str, ...]
    folder: str
    terms: str
    citation: str
    download: bool = True


def _listed() -> dict[str, ImageSetTerms]:
    text = files(__package__).joinpath("image_sets.toml").read_text(encoding="utf-8")
    return {one["name"]: ImageSetTerms(**{**one, "splits": tuple(one["splits"])}) for one in tomllib.loads(text)["set"]}


IMAGE_SETS = _listed()
