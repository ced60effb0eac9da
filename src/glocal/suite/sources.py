"""The files of one network of a suite, loaded when they are asked for and kept."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import NAMES_FILE, Features, object_name
from glocal.data.join import join
from glocal.data.labels import load_categories, load_labels
from glocal.files import file_sha256, read_lines
from glocal.options import Options

File = Annotated[Path, Strict(False)]
"""A path as text, relative to the root of the suite; ``{network}`` in it stands for the name of the network."""


class Network(Options):
    """The feature files of one network: of the objects people judged, and of local images if an arm needs them."""

    features: File
    local: File | None = None


class Shared(Options):
    """What all networks of a suite share.

    Parameters
    ----------
    answers : path or None
        People's answers.
    object_ids : path or None
        The names of the objects that answers and RDMs index, where these are not the rows of the features.
    categories : path or None
        The objects' superordinate categories, by which views are coloured; see `load_categories`.
    kind : str or None
        Kind of the answers, if their file does not state it.
    seed, folds : int
    """

    answers: File | None = None
    object_ids: File | None = None
    categories: File | None = None
    kind: str | None = None
    seed: int = 42
    folds: int = Field(3, ge=2)


class Sources:
    """The data of one network of a suite."""

    def __init__(self, shared: Shared, root: Path, name: str, network: Network) -> None:
        self.shared, self.root, self.name, self.network = shared, root, name, network
        self._loaded: dict[Path, Features] = {}
        self._hashes: dict[str, str] = {}

    def path(self, file: Path) -> Path:
        """Where a file lies."""
        return self.root / str(file).replace("{network}", self.name)

    def features(self, file: Path) -> Features:
        """The features of a file."""
        if file not in self._loaded:
            self._loaded[file] = Features.load(self.path(file))
        return self._loaded[file]

    def labels(self, file: Path, features: Features) -> np.ndarray:
        """The labels of features."""
        return load_labels(self.path(file), len(features))

    def answers(self, file: Path) -> Answers:
        """The answers of a file, as rows of the objects; those about objects without features are left out."""
        answers = Answers.load(self.path(file), kind=self.shared.kind)
        return join(self.objects, answers, self.object_ids).answers

    @cached_property
    def objects(self) -> Features:
        """The features of the objects people judged."""
        return self.features(self.network.features)

    @cached_property
    def object_ids(self) -> tuple[str, ...] | None:
        """The names of the objects that answers and RDMs index; None: they index the features."""
        ids = self.shared.object_ids
        return None if ids is None else read_lines(self.path(ids), what="object ids")

    @cached_property
    def fold(self) -> tuple[FitData, Answers]:
        """What arms are fitted on, without local images, and the answers about the objects of fold 0, held out."""
        assert self.shared.answers is not None
        data = FitData(self.objects, self.answers(self.shared.answers), seed=self.shared.seed)
        return data.fold(0, self.shared.folds)[:2]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """A name for each object, to be shown."""
        ids, n = self.object_ids, len(self.objects)
        names = self.objects.names or (ids if ids is not None and len(ids) == n else None)
        return tuple(f"object {row}" for row in range(n)) if names is None else tuple(map(object_name, names))

    @cached_property
    def categories(self) -> tuple[str, ...] | None:
        """The category of each object; "other" for one that the file does not have."""
        if self.shared.categories is None:
            return None
        ids = self.object_ids or self.names
        found = dict(zip(map(object_name, ids), load_categories(self.path(self.shared.categories), ids), strict=True))
        return tuple(str(found.get(name, "other")) for name in self.names)

    def hashes(self, *files: Path | None) -> dict[str, str]:
        """The SHA-256 of each file, and of the names beside it; of a folder those of its files."""
        found: dict[str, str] = {}
        for path in (self.path(file) for file in files if file is not None):
            beside = path.iterdir() if path.is_dir() else (path, path.with_name(NAMES_FILE))
            for file in sorted(file for file in beside if file.is_file()):
                name = str(file.relative_to(self.root))
                if name not in self._hashes:
                    self._hashes[name] = file_sha256(file)
                found[name] = self._hashes[name]
        return found
