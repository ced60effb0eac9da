"""What tasks read: the files of one network of a suite, or of a command, loaded when used."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, Strict

from glocal._version import __version__
from glocal.aligner import FitData
from glocal.data.answers import Answers
from glocal.data.features import NAMES_FILE, Features, Standardization, object_name
from glocal.data.join import Joined, join
from glocal.data.labels import OTHER, load_categories, load_labels, split_column
from glocal.errors import DataWarning
from glocal.files import file_sha256, read_lines
from glocal.options import Options
from glocal.results import to_json
from glocal.transform import LinearTransform, check_rows

File = Annotated[Path, Strict(False)]
"""A path as text, relative to the root of the suite; ``{network}`` in it is the network's name."""
MaybeFile = Annotated[Path | None, Strict(False)]
Embed = Callable[[Features], np.ndarray]


class Network(Options):
    """The feature files of one network.

    They are of the objects that people judged, and of local images if an arm needs them.
    """

    features: File
    local: MaybeFile = None


class Shared(Options):
    """What all networks of a suite share.

    `object_ids` names the objects that `answers` and RDMs index, where these are not the rows of
    the features, and `categories` colours the objects of views; see `load_categories`. `kind` is
    that of the answers, where their file does not state it.
    """

    answers: MaybeFile = None
    object_ids: MaybeFile = None
    categories: MaybeFile = None
    kind: str | None = None
    seed: int = Field(42, ge=0, lt=2**32)
    folds: int = Field(3, ge=2)


class Sources:
    """The data of one network.

    `read` loads the features of a path; `hashed` has the hashes of all files that were read.
    """

    def __init__(
        self,
        shared: Shared,
        network: Network,
        name: str = "{network}",
        root: Path = Path(),
        read: Callable[[Path], Features] = Features.load,
    ) -> None:
        self.shared = shared
        self.network = network
        self.name = name
        self.root = root
        self.hashed: dict[str, str] = {}
        self._read = read
        self._features: dict[Path, Features] = {}
        self._joined_answers: dict[Path, Joined] = {}
        self._transforms: dict[str, LinearTransform] = {}

    def text(self, file: Path | str) -> str:
        """The path of a file as the suite has it, with the name of the network in its place."""
        return str(file).replace("{network}", self.name)

    def path(self, file: Path | str) -> Path:
        """Where a file lies."""
        return self.root / self.text(file)

    def features(self, file: Path) -> Features:
        """The features of a file."""
        path = self.path(file)
        resolved = Path(os.path.realpath(path))  # Path.resolve fails at a link to itself
        if resolved not in self._features:
            self._features[resolved] = self._read(path)
        return self._features[resolved]

    def labels(self, file: Path, features: Features) -> np.ndarray:
        """The labels of features."""
        return load_labels(self.path(file), len(features))

    def joined_answers(self, file: Path) -> Joined:
        """The answers of a file as rows of the objects.

        A DataWarning counts those about objects without features, which are left out.
        """
        if file not in self._joined_answers:
            answers = Answers.load(self.path(file), kind=self.shared.kind)
            joined = join(self.objects, answers, self.object_ids)
            if joined.n_dropped:
                warnings.warn(
                    f"{joined.n_dropped} of {len(answers)} answers of {self.text(file)} name an "
                    f"object without features of {self.name}; they are left out.",
                    DataWarning,
                    stacklevel=2,
                )
            self._joined_answers[file] = joined
        return self._joined_answers[file]

    def transform(self, name: str) -> LinearTransform:
        """A transform of a file, or of a name that `LinearTransform.from_pretrained` takes."""
        if name not in self._transforms:
            path = self.path(name)
            source = path if os.path.exists(path) else name
            self.hashes(name)
            self._transforms[name] = LinearTransform.from_pretrained(source)
        return self._transforms[name]

    def embedding(self, transform: LinearTransform | None) -> Embed:
        """Features → standardized rows in float64, or what a transform makes of them."""

        def embed(features: Features) -> np.ndarray:
            features.check_finite()
            if transform is None:
                return self.scalars(features.matrix, "float64")
            check_rows(transform, features)
            return transform.apply(np.asarray(features.matrix, dtype=np.float64))

        return embed

    @cached_property
    def objects(self) -> Features:
        """The features of the objects people judged."""
        return self.features(self.network.features)

    @cached_property
    def scalars(self) -> Standardization:
        """What the features are standardized by."""
        return self.objects.standardization

    @cached_property
    def object_ids(self) -> tuple[str, ...] | None:
        """The names of the objects that answers and RDMs index; None: they index the features."""
        ids = self.shared.object_ids
        return None if ids is None else read_lines(self.path(ids), what="object ids")

    @cached_property
    def fold(self) -> tuple[FitData, Answers]:
        """What arms are fitted on, without local images, and the held-out answers of fold 0."""
        assert self.shared.answers is not None
        joined = self.joined_answers(self.shared.answers)
        data = FitData(
            self.objects, joined.answers, seed=self.shared.seed, n_dropped=joined.n_dropped
        )
        fitted, heldout, _ = data.fold(0, self.shared.folds)
        return fitted, heldout

    @cached_property
    def heldout(self) -> Answers:
        """The answers of tasks that name no file of their own."""
        _, heldout = self.fold
        return heldout

    @cached_property
    def named_objects(self) -> Features:
        """The objects with the names by which they are shown."""
        return self.objects.named(self.object_ids)

    @cached_property
    def categories(self) -> tuple[str, ...] | None:
        """The category of each object; "other" for one that the file does not have."""
        if self.shared.categories is None:
            return None
        names = self.named_objects.labels
        ids = self.object_ids or names
        categories = load_categories(self.path(self.shared.categories), ids)
        category_of = dict(zip(map(object_name, ids), categories, strict=True))
        return tuple(str(category_of.get(name, OTHER)) for name in names)

    def key(self, *parts: Any) -> str:
        """A hash of what a file is made from, with what all files of a suite depend on."""
        shared = self.shared
        text = to_json([__version__, shared.seed, shared.folds, shared.kind, *parts])
        return hashlib.sha256(text.encode()).hexdigest()

    def hashes(self, *files: Path | str | None) -> dict[str, str]:
        """The SHA-256 of each file, and of the names beside it; of a folder those of its files."""
        hashes: dict[str, str] = {}
        for path in (split_column(self.path(file))[0] for file in files if file is not None):
            candidates = path.iterdir() if path.is_dir() else (path, path.with_name(NAMES_FILE))
            for candidate in sorted(filter(Path.is_file, candidates)):
                name = os.path.relpath(candidate, self.root)
                if name not in self.hashed:
                    self.hashed[name] = file_sha256(candidate)
                hashes[name] = self.hashed[name]
        return hashes
