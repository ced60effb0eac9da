"""The published files that ``glocal data fetch`` knows, as ``files.toml`` lists them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from glocal.data.features import FEATURES_FILE
from glocal.errors import ParameterError, did_you_mean
from glocal.files import PathLike, read_object

REGISTRY = Path(__file__).with_name("files.toml")


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    `path` is relative to the cache or an output folder. `checksum` is ``sha256:`` or ``git:``
    followed by hexadecimal digits. `what` describes content, format and order, and `warning` a
    known error of the file. `size` is in bytes, None if it is not known. `commit` is the version of
    the repository that publishes it.
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

    @property
    def size_in_words(self) -> str:
        """The size of the download, as far as it is known."""
        return f"{self.size / 1e6:.3g} MB" if self.size else "size unknown"

    @property
    def downloaded(self) -> str:
        """The path of the downloaded content, relative to the cache."""
        return self.path

    @property
    def parts(self) -> tuple[str, ...]:
        """The other published files that this one is made of."""
        return ()


@dataclass(frozen=True)
class RemoteFeatures(RemoteFile):
    """Published features of a network: `path` is a feature folder, into which they are put.

    Parameters
    ----------
    names, names_column : str
        The published table with the names of the rows, and the title of its column.
    rows, width : int
        The number of rows, which must be right, and the number of columns that is expected.
    network, known_by : str
        The network as its publisher calls it, and how it is known.
    model, layer : str or None
        What names the same weights for ``glocal extract``, if anything does.
    transform : str or None
        A published transform of the network, which was fitted to these answers.
    """

    _: KW_ONLY
    names: str
    names_column: str
    rows: int
    width: int
    network: str
    known_by: str
    model: str | None = None
    layer: str | None = None
    transform: str | None = None

    @property
    def size_in_words(self) -> str:
        """The size of the download: that of the file, or else that of float32."""
        if self.size:
            return super().size_in_words
        return f"about {4 * self.rows * self.width / 1e6:.3g} MB"

    @property
    def downloaded(self) -> str:
        """The feature file in the folder."""
        return f"{self.path}/{FEATURES_FILE}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The table of the names."""
        return (self.names,)


@dataclass(frozen=True)
class RemoteAnswers(RemoteFile):
    """Published answers: `path` is an ``.npz`` that is made from the file at `url`.

    `raw` is the path of that file in the cache, `order` the published sort index, and `ids` the
    published list of the objects in the order into which the answers are brought.
    """

    _: KW_ONLY
    raw: str
    order: str
    ids: str

    @property
    def downloaded(self) -> str:
        """The file as it was published."""
        return self.raw

    @property
    def parts(self) -> tuple[str, ...]:
        """The sort index and the list of the objects."""
        return (self.order, self.ids)


_KINDS = {"file": RemoteFile, "features": RemoteFeatures, "answers": RemoteAnswers}


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
        entries[fields["name"]] = _KINDS[fields.get("kind", "file")](**fields)
    return entries
