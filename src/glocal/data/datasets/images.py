"""An image data set: pictures that are opened one at a time, from files or from pixels in memory, with their labels."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from glocal.data.decode import Unreadable, decode_image
from glocal.errors import DataError, FileError
from glocal.files import PathLike, atomic_write, make_folder, one_line

if TYPE_CHECKING:
    from PIL.Image import Image


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

    def label_lines(self) -> dict[str, tuple[str, ...]]:
        """The class name of each picture under ``labels``; with superclasses also under ``labels_coarse``.

        A DataError where two classes would read the same, or one would not be a line of a file.
        """
        lines = {"labels": _lines(self.labels, self.classes, self.source)}
        if self.superlabels is not None:
            lines["labels_coarse"] = _lines(self.superlabels, self.superclasses, self.source)
        return lines

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


def _lines(labels: np.ndarray, names: tuple[str, ...], source: str) -> tuple[str, ...]:
    told = [" ".join(name.split()) for name in names]
    if len(set(told)) < len(told) or "" in told:
        raise DataError(f"{source} has classes whose names differ in spaces alone, or that have none. Rename them.")
    return tuple(told[label] for label in labels)


class OpenedImages(Sequence[Any]):
    """A sequence whose i-th item is opened as an upright RGB ``PIL.Image`` when it is asked for.

    Parameters
    ----------
    held : (n, height, width, 3) uint8 array, or sequence of n paths
    """

    def __init__(self, held: np.ndarray | Sequence[Path]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Image:  # type: ignore[override]  # one at a time, no slices
        """Open one picture; a FileError says why one cannot be."""
        from PIL import Image

        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"picture {i} of {len(self)}")
        if isinstance(self.held, np.ndarray):
            return Image.fromarray(self.held[i])
        path = self.held[i]
        try:
            return decode_image(path.read_bytes())
        except (OSError, Unreadable) as error:
            reason = getattr(error, "strerror", None) or one_line(error)
            raise FileError(f"image file {path} cannot be opened ({reason}). Copy it again, or remove it.") from error
