"""Files that `fetch` brings (``files.toml``) and image data sets (``image_sets.toml``), each by its name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import quote


@dataclass(frozen=True)
class RemoteFile:
    """One downloadable file.

    Parameters
    ----------
    name : str
        What `fetch` is asked for.
    path : str
        Where it lies below the cache or the output folder.
    url : str
        http or https.
    checksum : str or None
        ``sha256:`` or ``git:`` and hexadecimal digits; None is fetched as unverified, and said so.
    size : int or None
        Bytes; None where it was not at hand.
    what, licence, citation : str
        Content with its format and order; the terms its publisher states; the paper.
    warning : str or None
        What is known to be wrong with it, in one sentence.
    """

    name: str
    path: str
    url: str
    checksum: str | None
    size: int | None
    what: str
    licence: str
    citation: str
    warning: str | None = None


def _registered() -> dict[str, RemoteFile]:
    listed = tomllib.loads(files(__package__).joinpath("files.toml").read_text(encoding="utf-8"))
    return {
        entry["name"]: RemoteFile(
            name=entry["name"],
            path=entry.get("path", entry["source"]),
            url="https://raw.githubusercontent.com/"
            f"{listed['repositories'][entry['repository']]}/{quote(entry['source'])}",
            checksum=entry.get("checksum"),
            size=entry.get("size"),
            what=entry["what"],
            licence=entry["licence"],
            citation=listed["citations"][entry["citation"]],
            warning=entry.get("warning"),
        )
        for entry in listed["file"]
    }


FILES = _registered()


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
