"""Each data set's files as torchvision reads them, put into one form, and its errors into one sentence."""

from __future__ import annotations

import contextlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from glocal.data.datasets.coarse import coarse_labels
from glocal.data.datasets.pictures import Pictures
from glocal.data.datasets.registry import ImageSetTerms
from glocal.errors import FileError
from glocal.extras import needed
from glocal.files import one_line

_SPLIT_FOLDERS = ("train", "val", "test")


@dataclass(frozen=True)
class Opened:
    """Pictures, classes and names in one order."""

    pictures: Pictures
    labels: Sequence[int]
    classes: Sequence[str]
    names: Sequence[str]
    superlabels: Sequence[int] | None = None
    superclasses: Sequence[str] = ()


def check_root(known: ImageSetTerms, root: Path, download: bool) -> None:
    """Say what is missing, and where it belongs, before torchvision looks for it."""
    wanted = root / known.folder
    if download or wanted.is_dir():
        return
    fetching = f", or pass download=True ({known.size}; {known.terms})" if known.download else ""
    raise FileError(f"{known.name} is not in {root}: there is no folder {wanted}. Put its files there{fetching}.")


def folder_splits(root: Path) -> tuple[str, ...]:
    """The subfolders ``train``, ``val`` and ``test`` that hold class folders; ``all`` if there is none.

    A folder ``train`` that holds pictures is a class, not a split.
    """
    try:
        found = [
            name
            for name in _SPLIT_FOLDERS
            if (root / name).is_dir() and any(part.is_dir() for part in (root / name).iterdir())
        ]
    except OSError as error:
        raise FileError(f"folder {root} cannot be read: {error.strerror}. Check its permissions.") from error
    return tuple(found) or ("all",)


def open_set(known: ImageSetTerms, root: Path, split: str, download: bool) -> Opened:
    """Open one split with torchvision; `check_root` has passed.

    Raises
    ------
    MissingDependencyError
        torchvision is not installed.
    FileError
        Files are damaged or incomplete, or could not be downloaded.
    """
    datasets = needed("torchvision.datasets", f"data set {known.name}")
    with _one_sentence(known, root, download):
        if known.name in ("cifar10", "cifar100"):
            return _cifar(datasets, known, root, split, download)
        if known.name == "dtd":
            found = datasets.DTD(root, split=split, partition=1, download=download)
            return _listed(found, root / known.folder / "images")
        if known.name == "flowers102":
            found = datasets.Flowers102(root, split=split, download=download)
            return _listed(found, root / known.folder / "jpg")
        if known.name == "sun397":
            return _listed(datasets.SUN397(root, download=download), root / known.folder, ordered=False)
        top = root if split == "all" else root / split
        found = datasets.ImageFolder(top)
        return _from_paths([Path(path) for path, _ in found.samples], found.targets, found.classes, top)


def _cifar(datasets: Any, known: ImageSetTerms, root: Path, split: str, download: bool) -> Opened:
    train = split == "train"
    if known.name == "cifar10":
        found = datasets.CIFAR10(root, train=train, download=download)
        coarse, supers = None, ()
    else:
        found = datasets.CIFAR100(root, train=train, download=download)
        # under this key the class names that torchvision reads from the same file are the superclasses
        key = {"meta": {**datasets.CIFAR100.meta, "key": "coarse_label_names"}}
        supers = type("Coarse", (datasets.CIFAR100,), key)(root, train=False).classes
        coarse = coarse_labels(root / known.folder / split, len(found.targets), len(supers))
    names = [f"{split}/{i:05d}.png" for i in range(len(found.data))]
    return Opened(Pictures(found.data), found.targets, found.classes, names, coarse, supers)


def _listed(found: Any, top: Path, *, ordered: bool = True) -> Opened:
    """Open a torchvision data set of files.

    NOTE its two lists are private, but the same in every version since 0.12; public access would open each picture.
    """
    pairs = list(zip(found._image_files, found._labels, strict=True))
    if not ordered:  # as the disk lists them
        pairs.sort(key=lambda pair: (pair[1], pair[0].name))
    return _from_paths([Path(path) for path, _ in pairs], [label for _, label in pairs], found.classes, top)


def _from_paths(paths: Sequence[Path], labels: Sequence[int], classes: Sequence[str], top: Path) -> Opened:
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} of {len(paths)} images are missing, {missing[0]} the first")
    return Opened(Pictures(paths), labels, classes, [path.relative_to(top).as_posix() for path in paths])


@contextlib.contextmanager
def _one_sentence(known: ImageSetTerms, root: Path, download: bool) -> Iterator[None]:
    place = root / known.folder
    try:
        yield
    except FileError:
        raise
    except (URLError, ConnectionError, TimeoutError) as error:
        raise FileError(
            f"{known.name} cannot be downloaded ({one_line(error)}). "
            f"Download it elsewhere and put its files in {place}."
        ) from error
    except (OSError, RuntimeError, ValueError, LookupError, EOFError, tarfile.TarError, zlib.error) as error:
        reason = one_line(error).replace(". You can use download=True to download it", "")
        again = f"Remove {place} and download it again" if download else f"Put the whole data set in {root}"
        if not known.download:
            again = "Put one folder of images for each class there"
        raise FileError(f"{known.name} in {root} is damaged or incomplete ({reason[:300]}). {again}.") from error
