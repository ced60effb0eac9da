"""What an alignment starts from: a network, images of the objects, answers about them, and local images."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.data.sources import fetch
from glocal.errors import DataError, FileError
from glocal.extract import Extractor, open_images
from glocal.extract.images import Source
from glocal.extract.run import cached_folder
from glocal.files import PathLike, array_sha256, read_lines
from glocal.sweep.run import check_folds

FOLDS = 3  # of the sweep
_PROBE = 8  # images that are run to see how long one takes
_HOW = (
    "Without --answers (answers=) the answers are those that people gave about the 1,854 objects of THINGS, and images "
    "must have the names of these objects. For other images give a file of answers: a line for each, with the two "
    "objects that look most alike and then the odd one; glocal collect asks people about your images."
)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is to be aligned, with which answers.

    Parameters
    ----------
    model : str
        A name as in `glocal.extract.load_model`.
    images : path or pattern
        One image for each object; see `glocal.extract.open_images`.
    answers : Answers or None
        None for those of `things_answers`.
    object_ids : sequence of str or None
        The names that the answers index, joined with the names of the images; None where they index the images in their
        order, or name their objects themselves.
    local_images : path, pattern or None
        Other images, whose neighbours are kept.
    layer : str or None
        None for the model's own choice.
    """

    model: str
    images: PathLike
    answers: Answers | None = None
    object_ids: tuple[str, ...] | None = None
    local_images: PathLike | None = None
    layer: str | None = None

    @cached_property
    def extractor(self) -> Extractor:
        """The network, and the layer that is read."""
        return Extractor(self.model, () if self.layer is None else (self.layer,))

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The images of the objects, and the local images if there are any, as they are opened."""
        given = {"objects": self.images, "local": self.local_images}
        return {name: open_images(images) for name, images in given.items() if images is not None}

    @cached_property
    def probed(self) -> tuple[int, float]:
        """The dimensions of the features, and the seconds that an image takes, from the first few of the objects."""
        source = self.sources["objects"]
        few = replace(source, names=source.names[:_PROBE], labels={})
        probe = Extractor(self.model, self.extractor.layers, batch_size=len(few))
        vars(probe)["loaded"] = self.extractor.loaded  # the network is read once
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            found = probe.extract(few, Path(folder) / "probe")
            return found.features().dimensions, (time.perf_counter() - began) / len(few)

    @cached_property
    def asked(self) -> tuple[Answers, tuple[str, ...] | None]:
        """The answers, and the names that they index."""
        return things_answers() if self.answers is None else (self.answers, self.object_ids)

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Where in the cache the features of each source are, or will be."""
        return {name: cached_folder(self.extractor, source) for name, source in self.sources.items()}

    @cached_property
    def identity(self) -> list[Any]:
        """What determines every result: the network and the images, and the answers."""
        answers, names = self.asked
        lists = [answers.objects, answers.weights, answers.person, answers.seconds, answers.kind, names, answers.names]
        hashes = [array_sha256(np.atleast_1d("" if part is None else part)) for part in lists]
        return [{name: folder.name for name, folder in self.folders.items()}, hashes]

    def joined(self, features: Features | None = None) -> Joined:
        """The answers in rows of the features; before there are any, by the names of the images."""
        if features is None:
            source = self.sources["objects"]
            names = tuple(source.names)
            features = Features(np.zeros((len(source), 1), dtype=np.float32), names, source.described)
        try:
            return join(features, *self.asked)
        except DataError as error:
            if self.answers is not None:
                raise
            raise DataError(f"{error} {_HOW}") from error

    def check(self) -> Joined:
        """The answers joined by the names of the images, where the sweep can cut both into its folds.

        Raises
        ------
        DataError, ParameterError
            They do not belong together, or are too few.
        """
        joined = self.joined()
        objects, local = (
            Features(np.zeros((len(self.sources[name]), 1))) if name in self.sources else None
            for name in ("objects", "local")
        )
        assert objects is not None
        check_folds(FitData(objects, joined.triplets, local), FOLDS)
        return joined


def things_answers(progress: Callable[[int, int], None] | None = None) -> tuple[Answers, tuple[str, ...]]:
    """The published answers about THINGS (10 % of them, 146,168) and the names of the objects; fetched once.

    Raises
    ------
    FileError
        They are neither in the cache nor to be had.
    """
    try:
        files = [fetch(f"things/{name}", progress=progress) for name in ("triplets-test10", "sortindex", "unique-id")]
    except FileError as error:
        raise FileError(f"{error} {_HOW}") from error
    return Answers.load(files[0], order=files[1]), read_lines(files[2], what="object ids")
