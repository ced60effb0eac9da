"""`load_images`: an image data set by name, as torchvision reads its files, and its errors in one sentence."""

from __future__ import annotations

import contextlib
import pickletools
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glocal.data.datasets.archives import unpack_set
from glocal.data.datasets.download import TIMEOUT, Progress
from glocal.data.datasets.images import ImageSet, OpenedImages
from glocal.data.datasets.registry import IMAGE_SETS, ImageSetTerms
from glocal.errors import FileError, GLocalError, ParameterError
from glocal.extras import needed
from glocal.files import PathLike, one_line

_SPLIT_FOLDERS = ("train", "val", "test")
_KEY = "coarse_labels"
_DAMAGE: tuple[type[Exception], ...] = (
    *(OSError, RuntimeError, ValueError, LookupError, OverflowError, EOFError, tarfile.TarError, zlib.error),
)
_INTEGERS = {"BININT1", "BININT2", "BININT", "INT", "LONG1"}
# what stands between the numbers of a list: its beginning, its pieces, and their places in the memo
_BETWEEN = {"EMPTY_LIST", "LIST", "MARK", "APPEND", "APPENDS", "BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}


def load_images(
    name: str,
    root: PathLike,
    *,
    split: str | None = None,
    download: bool = False,
    progress: Progress | None = None,
    timeout: float = TIMEOUT,
) -> ImageSet:
    """Open an image data set that torchvision knows, or a folder of class folders.

    Parameters
    ----------
    name : {"cifar10", "cifar100", "cifar100-coarse", "dtd", "sun397", "flowers102", "imagenet", "imagefolder"}
        `IMAGE_SETS` says what each is and on what terms.
    root : path
        The folder that torchvision calls root: it holds ``cifar-10-batches-py``, ``cifar-100-python``, ``dtd/dtd``,
        ``SUN397`` or ``flowers-102``; for the last two, class folders, or ``train``, ``val`` and ``test`` with them.
    split : str or None
        None is ``train`` where there is one, else ``all``. A folder has the splits whose subfolders it has.
    download : bool
        Download what is not there, compare it with its checksum and unpack it below `root`, whole or not at all; the
        only use of the network. ``$GLOCAL_MIRROR`` is asked for ``images/`` and the name of the archive.
    progress : callable or None
        Called with (bytes so far, bytes in all; 0 if unknown) of a download.
    timeout : float
        Seconds without a byte after which a download is abandoned.

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
    if name not in IMAGE_SETS:
        raise ParameterError(f"image data set is {name!r}; allowed are {', '.join(IMAGE_SETS)}.")
    known, root = IMAGE_SETS[name], Path(root).expanduser()
    if download and not known.download:
        raise ParameterError(f"{name} cannot be downloaded here ({known.terms}). Put its class folders in {root}.")
    wanted = root / known.folder
    if not download and not wanted.is_dir():
        fetching = f", or download them ({known.size}; {known.terms}): --download, in Python download=True"
        fetching = fetching if known.download else ""
        raise FileError(f"{name} is not in {root}: there is no folder {wanted}. Put its files there{fetching}.")
    splits = known.splits or _folder_splits(root)
    if split is not None and split not in splits:
        raise ParameterError(f"{name} in {root} has no split {split!r}; allowed are {', '.join(splits)}.")
    datasets = needed("torchvision.datasets", f"data set {name}")
    with _one_sentence(known, root, download):
        if download:
            unpack_set(datasets, known, root, progress, timeout)
        return _open(datasets, known, root, split or splits[0])


def _folder_splits(root: Path) -> tuple[str, ...]:
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


def _open(datasets: Any, known: ImageSetTerms, root: Path, split: str) -> ImageSet:
    source = f"{known.name} ({split}) in {root}"
    if known.name.startswith("cifar"):
        return _cifar(datasets, known, root, split, source)
    if known.name == "dtd":
        found = datasets.DTD(root, split=split, partition=1)
        return _listed(found, root / known.folder / "images", source)
    if known.name == "flowers102":
        found = datasets.Flowers102(root, split=split)
        return _listed(found, root / known.folder / "jpg", source)
    if known.name == "sun397":
        return _listed(datasets.SUN397(root), root / known.folder, source, ordered=False)
    top = root if split == "all" else root / split
    found = datasets.ImageFolder(top)
    return _of_files(found.samples, found.classes, top, source)


def _cifar(datasets: Any, known: ImageSetTerms, root: Path, split: str, source: str) -> ImageSet:
    kind = datasets.CIFAR10 if known.name == "cifar10" else datasets.CIFAR100
    found = kind(root, train=split == "train")
    pictures, names = OpenedImages(found.data), tuple(f"{split}/{i:05d}.png" for i in range(len(found.data)))
    labels, classes = np.array(found.targets), tuple(found.classes)
    if known.name == "cifar10":
        return ImageSet(pictures, labels, classes, None, (), names, source)
    # under this key the class names that torchvision reads from the same file are the superclasses
    key = {"meta": {**kind.meta, "key": "coarse_label_names"}}
    supers = tuple(type("Coarse", (kind,), key)(root, train=False).classes)
    coarse = np.array(coarse_labels(root / known.folder / split, len(found.targets), len(supers)))
    if known.name == "cifar100":
        return ImageSet(pictures, labels, classes, coarse, supers, names, source)
    return ImageSet(pictures, coarse, supers, None, (), names, source)


def _listed(found: Any, top: Path, source: str, *, ordered: bool = True) -> ImageSet:
    """Open a torchvision data set of files.

    NOTE its two lists are private, but the same in every version since 0.12; public access would open each picture.
    """
    pairs = list(zip(found._image_files, found._labels, strict=True))
    if not ordered:  # as the disk lists them
        pairs.sort(key=lambda pair: (pair[1], pair[0].name))
    return _of_files(pairs, found.classes, top, source)


def _of_files(pairs: Sequence[tuple[str | Path, int]], classes: Sequence[str], top: Path, source: str) -> ImageSet:
    paths = [Path(path) for path, _ in pairs]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} of {len(paths)} images are missing, {missing[0]} the first")
    names = tuple(path.relative_to(top).as_posix() for path in paths)
    labels = np.array([label for _, label in pairs], dtype=np.int64)
    return ImageSet(OpenedImages(paths), labels, tuple(classes), None, (), names, source)


@contextlib.contextmanager
def _one_sentence(known: ImageSetTerms, root: Path, download: bool) -> Iterator[None]:
    place = root / known.folder
    try:
        yield
    except GLocalError:
        raise
    except _DAMAGE as error:
        reason = one_line(error).replace(". You can use download=True to download it", "")
        again = f"Remove {place} and download it again" if download else f"Put the whole data set in {root}"
        if not known.download:
            again = "Put one folder of images for each class there"
        raise FileError(f"{known.name} in {root} is damaged or incomplete ({reason[:300]}). {again}.") from error


def coarse_labels(path: Path, n: int, classes: int) -> list[int]:
    """Read the list under ``coarse_labels`` without unpickling: opcodes are read, none is executed.

    A ValueError unless ``cifar-100-python/train`` or ``test`` has one of `n` labels below `classes`.
    """
    labels: list[int] | None = None
    # NOTE an open file that is asked for more bytes than it has sets memory aside for all of them
    for opcode, argument, _ in pickletools.genops(path.read_bytes()):
        if labels is None:
            labels = [] if argument in (_KEY, _KEY.encode()) else None
        elif opcode.name in _INTEGERS:
            labels.append(int(argument or 0))
        elif opcode.name not in _BETWEEN:
            break
    if labels is None or len(labels) != n or not all(0 <= label < classes for label in labels):
        raise ValueError(f"{path} has no list of {n} {_KEY} from 0 to {classes - 1}")
    return labels
