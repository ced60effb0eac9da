"""`load_images`: an image data set by name, opened lazily, with its labels, to feed feature extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.datasets.pictures import Pictures
from glocal.data.datasets.registry import IMAGE_SETS
from glocal.errors import DataError, ParameterError
from glocal.files import PathLike, atomic_write, make_folder


@dataclass(frozen=True, eq=False)
class ImageSet:
    """n pictures with their classes.

    Parameters
    ----------
    images : sequence of n PIL images
        RGB; the i-th is opened when it is asked for.
    labels : (n,) int64
        Class of each picture, an index of `classes`.
    classes : tuple of str
        Names of the classes, in the data set's own order.
    superlabels : (n,) int64 or None
        Superclass of each picture, an index of `superclasses`.
    superclasses : tuple of str
        Empty where there are none.
    names : tuple of n str
        File-like names in the order of the pictures.
    source : str
        Data set, split and root, for messages and provenance.

    Raises
    ------
    DataError
        Parts of different length, or a label without a name.

    Notes
    -----
    The CIFAR-100-shift task of the paper is ``evaluate anomaly --mode shift`` with `superlabels` as labels and
    `labels` as subclasses; CIFAR-100-coarse is any task with `superlabels` as labels.
    """

    images: Sequence[Any]
    labels: Int[np.ndarray, " n"]
    classes: tuple[str, ...]
    superlabels: Int[np.ndarray, " n"] | None
    superclasses: tuple[str, ...]
    names: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        n = len(self.images)
        if n == 0:
            raise DataError(f"{self.source} holds no picture.")
        for what, part in (("labels", self.labels), ("superlabels", self.superlabels), ("names", self.names)):
            if part is not None and len(part) != n:
                raise DataError(f"{self.source} has {n} pictures but {len(part)} {what}; each picture needs one.")
        for labels, names in ((self.labels, self.classes), (self.superlabels, self.superclasses)):
            if labels is not None and not (labels.min() >= 0 and labels.max() < len(names)):
                raise DataError(
                    f"{self.source} has labels {labels.min()} to {labels.max()} but {len(names)} class names."
                )

    def __len__(self) -> int:
        return len(self.images)

    def save_labels(self, folder: PathLike) -> tuple[Path, ...]:
        """Write the labels beside features, as the ``--train-labels`` and ``--test-labels`` of ``evaluate`` read them.

        ``labels.npy`` and ``classes.txt``; with superclasses also ``superlabels.npy`` and ``superclasses.txt``: row i
        of the first is picture i, line c of the second the name of class c.

        Returns
        -------
        tuple of Path
            The files written.

        Raises
        ------
        FileError
            The folder cannot be made or written.
        """
        folder = make_folder(folder)
        written = []
        for stem, labels, names_file, names in (
            ("labels", self.labels, "classes", self.classes),
            ("superlabels", self.superlabels, "superclasses", self.superclasses),
        ):
            if labels is None:
                continue
            with atomic_write(folder / f"{stem}.npy") as stream:
                np.save(stream, labels, allow_pickle=False)
            with atomic_write(folder / f"{names_file}.txt") as stream:
                stream.write("".join(f"{name}\n" for name in names).encode())
            written += [folder / f"{stem}.npy", folder / f"{names_file}.txt"]
        return tuple(written)


def load_images(name: str, root: PathLike, *, split: str | None = None, download: bool = False) -> ImageSet:
    """Open an image data set that torchvision knows, or a folder of class folders.

    Parameters
    ----------
    name : {"cifar10", "cifar100", "dtd", "sun397", "flowers102", "imagenet", "imagefolder"}
        `IMAGE_SETS` says what each is and on what terms.
    root : path
        The folder that torchvision calls root: it holds ``cifar-10-batches-py``, ``cifar-100-python``, ``dtd/dtd``,
        ``SUN397`` or ``flowers-102``; for the last two, class folders, or ``train``, ``val`` and ``test`` with them.
    split : str or None
        None is ``train`` where there is one, else ``all``. A folder has the splits whose subfolders it has.
    download : bool
        Let torchvision download what is not there; the only use of the network.

    Returns
    -------
    ImageSet
        CIFAR: in the order of its files, names ``SPLIT/00000.png`` counting up. DTD and Flowers: in the order of the
        split's list. SUN397, ImageNet and folders: by class, then file name. Class numbers are the data set's own;
        those of folders count the class folders in alphabetical order.

    Raises
    ------
    ParameterError
        An unknown name, split, or a download of what cannot be downloaded.
    FileError
        Files are missing or damaged, or the server cannot be reached.
    MissingDependencyError
        torchvision is not installed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as root:
    ...     for kind in ("cat", "dog"):
    ...         (Path(root) / kind).mkdir()
    ...         Image.new("RGB", (8, 8)).save(Path(root) / kind / "1.png")
    ...     pets = load_images("imagefolder", root)
    ...     pets.names, pets.labels.tolist(), pets.images[0].size
    (('cat/1.png', 'dog/1.png'), [0, 1], (8, 8))
    """
    from glocal.data.datasets import sources

    if name not in IMAGE_SETS:
        raise ParameterError(f"image data set is {name!r}; allowed are {', '.join(IMAGE_SETS)}.")
    known, root = IMAGE_SETS[name], Path(root).expanduser()
    if download and not known.download:
        raise ParameterError(f"{name} cannot be downloaded here ({known.terms}). Put its class folders in {root}.")
    sources.check_root(known, root, download)
    splits = known.splits or sources.folder_splits(root)
    if split is not None and split not in splits:
        raise ParameterError(f"{name} in {root} has no split {split!r}; allowed are {', '.join(splits)}.")
    opened = sources.open_set(known, root, split or splits[0], download)
    pictures: Pictures = opened.pictures
    return ImageSet(
        pictures,
        np.asarray(opened.labels, dtype=np.int64),
        tuple(opened.classes),
        None if opened.superlabels is None else np.asarray(opened.superlabels, dtype=np.int64),
        tuple(opened.superclasses),
        tuple(opened.names),
        f"{name} ({split or splits[0]}) in {root}",
    )
