"""The files that `fetch` knows, from ``files.toml`` beside this module."""

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
