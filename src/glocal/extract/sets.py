"""Image data sets by name (``image_sets.toml``), read by torchvision, with their classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from glocal.data.sources.download import cache_folder, check_online
from glocal.errors import FileError, GLocalError, ParameterError, import_optional, one_line
from glocal.extract.images import Source
from glocal.files import PathLike, make_folder, read_object


@cache
def _table() -> dict[str, Any]:
    """The content of ``image_sets.toml``."""
    return read_object(Path(__file__).with_name("image_sets.toml"), what="table")


def image_sets() -> dict[str, dict[str, Any]]:
    """The description, size, splits, folder, terms and citation of each set."""
    return {entry["name"]: entry for entry in _table()["set"]}


def parse_set(text: str) -> tuple[str, str | None] | None:
    """Return the name and split of a data set; None for any other text, and for a path that exists.

    >>> parse_set("cifar100:test"), parse_set("dtd"), parse_set("photos/*.jpg")
    (('cifar100', 'test'), ('dtd', None), None)
    """
    name, _, split = text.partition(":")
    if name not in image_sets() or os.path.exists(text):
        return None
    return name, split or None


def load_images(
    name: str, split: str | None = None, root: PathLike | None = None, *, download: bool = False
) -> Source:
    """Open a data set that torchvision knows.

    Parameters
    ----------
    name : {"cifar10", "cifar100", "dtd", "flowers102"}
        Name of the set; `image_sets` has the description and the terms of each.
    split : str or None
        None is the first split.
    root : path or None
        The folder that torchvision calls root. It holds ``cifar-10-batches-py``,
        ``cifar-100-python``, ``dtd/dtd`` or ``flowers-102``. None is the folder ``images`` of the
        cache.
    download : bool
        Let torchvision download, verify and unpack a missing set. The set appears only once it is
        complete.

    Returns
    -------
    Source
        The images, with the class of each under ``labels``, and for CIFAR-100 its superclass under
        ``labels_coarse``. CIFAR keeps the order of its files and has the names ``SPLIT/00000.png``
        and so on. DTD and Flowers keep the order of their lists.

    Raises
    ------
    ParameterError
        The name or split is unknown.
    FileError
        Files are missing or damaged, or the download failed.
    """
    entry = image_sets().get(name)
    if entry is None:
        raise ParameterError(
            f"the image data set is {name!r}; it must be {' or '.join(image_sets())}."
        )
    root = Path(root or cache_folder() / "images").expanduser()
    splits = entry["splits"]
    split = split or splits[0]
    if split not in splits:
        raise ParameterError(f"{name} has no split {split!r}; it has {', '.join(splits)}.")
    datasets = import_optional("torchvision.datasets", f"data set {name}")
    try:
        if download and not (root / entry["folder"]).is_dir():
            _download(datasets, entry, root)
        return _open(datasets, entry, root, split)
    except GLocalError:
        raise
    except Exception as error:  # missing or damaged files can make torchvision raise anything
        reason = one_line(error).replace(". You can use download=True to download it", "")[:300]
        raise FileError(
            f"{name} in {root} is missing or damaged ({reason}). Put it there, or download it with "
            f"`download=True` ({entry['size']}; {entry['terms']})."
        ) from error


def _download(datasets: Any, entry: dict[str, Any], root: Path) -> None:
    """Download a set into a temporary folder of its own, then move it to its place."""
    folder = root / entry["folder"]
    check_online(folder)
    with TemporaryDirectory(prefix=".partial-", dir=make_folder(root)) as partial:
        getattr(datasets, entry["torchvision"])(Path(partial), download=True)
        make_folder(folder.parent)
        try:
            (Path(partial) / entry["folder"]).rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise


def _open(datasets: Any, entry: dict[str, Any], root: Path, split: str) -> Source:
    """The images of a set, which are arrays in CIFAR and else files, and their classes."""
    read = getattr(datasets, entry["torchvision"])
    description = f"{entry['name']} ({split}) in {root}"
    if not entry["name"].startswith("cifar"):
        images = read(root, split=split)
        # NOTE private, but unchanged since torchvision 0.12; public access would open each image
        labels = {"labels": [images.classes[number] for number in images._labels]}
        return _files(images._image_files, root / entry["images"], description, labels)
    images = read(root, train=split == "train")
    labels = {"labels": [images.classes[number] for number in images.targets]}
    if entry["name"] == "cifar100":
        labels["labels_coarse"] = [_superclass_of_cifar100()[label] for label in labels["labels"]]
    names = [f"{split}/{i:05d}.png" for i in range(len(images.data))]
    return Source(names, images.data.__getitem__, description, labels)


def _files(
    files: Sequence[Path], folder: Path, description: str, labels: dict[str, list[str]]
) -> Source:
    """The images of a set in files, by their paths in its folder."""
    paths = [os.fspath(path) for path in files]
    if missing := [path for path in paths if not os.path.isfile(path)]:
        raise FileError(
            f"{description} lacks {len(missing)} of {len(paths)} images; the first is {missing[0]}."
        )
    top = f"{folder}{os.sep}"
    names = [path.removeprefix(top).replace(os.sep, "/") for path in paths]
    return Source(names, paths.__getitem__, description, labels)


@cache
def _superclass_of_cifar100() -> dict[str, str]:
    """The superclass of each class of CIFAR-100."""
    return {
        label: superclass
        for superclass, members in _table()["superclasses_of_cifar100"].items()
        for label in members.split()
    }
