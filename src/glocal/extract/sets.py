"""Image data sets by name (``image_sets.toml``), as torchvision reads them: a source of images, and their classes."""

from __future__ import annotations

import os
import shutil
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from glocal.data.sources.fetch import cache_folder, check_online
from glocal.errors import FileError, GLocalError, ParameterError, needed, one_line
from glocal.extract.images import Source
from glocal.files import PathLike, make_folder

# the class of torchvision, and the folder of the pictures below that of the set
_OF_TORCHVISION = {
    "cifar10": ("CIFAR10", ""),
    "cifar100": ("CIFAR100", ""),
    "dtd": ("DTD", "images"),
    "sun397": ("SUN397", ""),
    "flowers102": ("Flowers102", "jpg"),
}


@cache
def _listed() -> dict[str, Any]:
    """The content of ``image_sets.toml``."""
    return tomllib.loads(files(__package__).joinpath("image_sets.toml").read_text(encoding="utf-8"))


def image_sets() -> dict[str, dict[str, Any]]:
    """What is known of each set before it is opened: what it is, size, splits, folder, terms and citation."""
    return {one["name"]: one for one in _listed()["set"]}


def parse_set(text: str) -> tuple[str, str | None] | None:
    """The name and split of a data set, or None where the text is none; a path that exists wins over a name.

    >>> parse_set("cifar100:test"), parse_set("sun397"), parse_set("photos/*.jpg")
    (('cifar100', 'test'), ('sun397', None), None)
    """
    name, _, split = text.partition(":")
    return (name, split or None) if name in image_sets() and not os.path.exists(text) else None


def load_images(name: str, split: str | None = None, root: PathLike | None = None, *, download: bool = False) -> Source:
    """Open a data set that torchvision knows, or folders of images, one for each class.

    Parameters
    ----------
    name : {"cifar10", "cifar100", "dtd", "sun397", "flowers102", "imagenet", "imagefolder"}
        `image_sets` says what each is and on what terms.
    split : str or None
        None is the first split of the set. The last two have the splits whose subfolders they have;
        None is ``train`` where that holds class folders, else `root` itself.
    root : path or None
        The folder that torchvision calls root: it holds ``cifar-10-batches-py``,
        ``cifar-100-python``, ``dtd/dtd``, ``SUN397`` or ``flowers-102``, or the class folders. None
        is the folder ``images`` of the cache.
    download : bool
        Let torchvision download, verify and unpack the set where it is not there; it appears when
        it is whole.

    Returns
    -------
    Source
        With the class of each picture under ``labels``, and for CIFAR-100 its superclass under
        ``labels_coarse``. CIFAR is in the order of its files, with the names ``SPLIT/00000.png``
        and so on; DTD and Flowers in that of their lists; the others by class, then file name.

    Raises
    ------
    ParameterError
        An unknown name or split, or no root for class folders.
    FileError
        Files are missing or damaged, or the download failed.
    """
    known = image_sets().get(name)
    if known is None:
        raise ParameterError(f"the image data set is {name!r}; allowed are {', '.join(image_sets())}.")
    if name not in _OF_TORCHVISION and (root is None or download):
        raise ParameterError(f"{name} is not downloaded; name the folder where you keep it (root=).")
    root = Path(root or cache_folder() / "images").expanduser()
    if known["splits"] and (split := split or known["splits"][0]) not in known["splits"]:
        raise ParameterError(f"{name} has no split {split!r}; allowed are {', '.join(known['splits'])}.")
    datasets = needed("torchvision.datasets", f"data set {name}")
    try:
        if download and not (folder := root / known["folder"]).is_dir():
            check_online(folder)
            # beside the place, then renamed: a killed run leaves nothing under the name, and its archive to the next
            partial = make_folder(root / f".partial-{name}")
            getattr(datasets, _OF_TORCHVISION[name][0])(partial, download=True)
            make_folder(folder.parent)
            (partial / known["folder"]).rename(folder)
            shutil.rmtree(partial)
        return _open(datasets, name, root, split)
    except GLocalError:
        raise
    except Exception as error:  # torchvision raises whatever missing or damaged files lead it to
        reason = one_line(error).replace(". You can use download=True to download it", "")[:300]
        fix = f"Put it there, or download it ({known['size']}; {known['terms']}): download=True."
        raise FileError(f"{name} in {root} is missing or damaged ({reason}). {fix}") from error


def _open(datasets: Any, name: str, root: Path, split: str | None) -> Source:
    """The pictures of a set that is there, and their classes."""
    kind, below = _OF_TORCHVISION.get(name, ("ImageFolder", ""))
    top, source = root / image_sets()[name]["folder"] / below, f"{name} ({split or 'all'}) in {root}"
    if name.startswith("cifar"):
        found = getattr(datasets, kind)(root, train=split == "train")
        names, opened, numbers = [f"{split}/{i:05d}.png" for i in range(len(found.data))], found.data, found.targets
    else:
        if name not in _OF_TORCHVISION:
            found = datasets.ImageFolder(top := _side(root, split))
            pairs = [(Path(path), label) for path, label in found.samples]
        else:
            found = getattr(datasets, kind)(root, **({"split": split} if name != "sun397" else {}))
            # NOTE private to torchvision, but the same in every version since 0.12; public access opens each picture
            pairs = list(zip(found._image_files, found._labels, strict=True))
        if name == "sun397":  # as the disk lists them
            pairs.sort(key=lambda pair: (pair[1], pair[0].name))
        opened, numbers = [path for path, _ in pairs], [label for _, label in pairs]
        if missing := [path for path in opened if not path.is_file()]:
            raise FileError(f"{source} lacks {len(missing)} of {len(opened)} images, {missing[0]} the first.")
        names = [path.relative_to(top).as_posix() for path in opened]
    labels = {"labels": [found.classes[number] for number in numbers]}
    if name == "cifar100":
        table = _listed()["superclasses_of_cifar100"]
        of = {one: superclass for superclass, members in table.items() for one in members.split()}
        labels["labels_coarse"] = [of[one] for one in labels["labels"]]
    return Source(names, opened.__getitem__, source, labels)


def _side(root: Path, split: str | None) -> Path:
    """The folder of the class folders: that of the split, or the first split that is there, or the root itself."""
    sides = [root / split] if split else [root / side for side in ("train", "val", "test")]
    return next((side for side in sides if split or any(part.is_dir() for part in side.glob("*"))), root)
