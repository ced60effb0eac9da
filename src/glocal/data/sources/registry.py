"""The published files that ``glocal data fetch`` knows, as ``files.toml`` lists them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from glocal.errors import ParameterError, did_you_mean
from glocal.files import PathLike, read_object

REGISTRY = Path(__file__).with_name("files.toml")


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Parameters
    ----------
    name, path : str
        The name in `fetch`, and the path in the cache or below an output folder.
    url, commit : str
        The address, and the version of the repository that publishes the file.
    checksum : str
        ``sha256:`` or ``git:`` and hexadecimal digits.
    what : str
        Content, format and order.
    licence, citation : str
    size : int or None
        Bytes, if they are known.
    warning : str or None
        A known error of the file.
    kind : str
        ``"file"``, ``"features"`` or ``"answers"``.
    downloaded : str
        The path in the cache of what is downloaded, if it is not `path`.
    names, order, ids : str
        Published files from which this one is made: the table of the names of feature rows, the
        sort index of answers, and the list of their objects.
    """

    name: str
    path: str
    url: str
    checksum: str
    what: str
    licence: str
    citation: str
    size: int | None = None
    warning: str | None = None
    _: KW_ONLY
    commit: str = ""
    kind: str = "file"
    downloaded: str = ""
    names: str = ""
    order: str = ""
    ids: str = ""

    @property
    def parts(self) -> list[str]:
        """The other published files from which this one is made."""
        return [name for name in (self.names, self.order, self.ids) if name]

    @property
    def size_in_words(self) -> str:
        """The size of the download, or that it is unknown."""
        return f"{self.size / 1e6:.3g} MB" if self.size else "size unknown"


@dataclass(frozen=True)
class RemoteFeatures(RemoteFile):
    """Published features of a network: `path` is a feature folder, into which they are put.

    Its part is the published table with the names of the rows.

    Parameters
    ----------
    names_column : str
        The title of the column of the names.
    rows, width : int
        The number of rows, which must be right, and the number of columns that is expected.
    network, known_by : str
        The network as its publisher calls it, and how it is known.
    model, layer : str or None
        What names the same weights for ``glocal extract``, if anything does.
    """

    _: KW_ONLY
    names_column: str
    rows: int
    width: int
    network: str
    known_by: str
    model: str | None = None
    layer: str | None = None


@cache
def published() -> dict[str, RemoteFile]:
    """The files that `fetch` knows, by name."""
    return read_registry(REGISTRY)


def published_file(name: str) -> RemoteFile:
    """The published file of this name; a ParameterError if there is none."""
    if name not in published():
        hint = did_you_mean(name, published())
        raise ParameterError(
            f"no published file is called {name!r}.{hint} glocal data fetch lists all."
        )
    return published()[name]


def read_registry(path: PathLike) -> dict[str, RemoteFile]:
    """Read a list of published files, by name."""
    registry = read_object(path, what="registry")
    entries = {}
    for fields in registry["file"]:
        repository = registry["repositories"][fields.pop("repository")]
        source = fields.pop("source")
        fields.setdefault("path", source)
        fields["citation"] = registry["citations"][fields["citation"]]
        fields["url"] = f"{repository}/{quote(source)}"
        fields["commit"] = repository.rpartition("/")[2]
        kind = RemoteFeatures if fields.get("kind") == "features" else RemoteFile
        entries[fields["name"]] = kind(**fields)
    return entries
