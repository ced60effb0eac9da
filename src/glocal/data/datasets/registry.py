"""Files that `fetch` brings (``files.toml``) and image data sets (``image_sets.toml``), each by its name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import quote


@dataclass(frozen=True)
class RemoteFile:
    """A file that `fetch` is asked for by its `name`.

    It lies at `path` below the cache or output folder. `checksum` is ``sha256:`` or ``git:`` and hexadecimal digits;
    without one the file is fetched as unverified, with a warning. `what` is its content, format and order; `warning`
    what is known to be wrong with it.
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

    `terms` are those that its publisher states, `size` that of its archive. The first of `splits` is the default; none
    where subfolders decide. `folder` is the path below the root that holds its files; `download` says that it can be
    downloaded.
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
