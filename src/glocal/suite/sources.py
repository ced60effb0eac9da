"""The data of tasks: the files of one network of a suite or command, loaded when first used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from pydantic import Field, Strict

from glocal._version import __version__
from glocal.aligner.data import Centre, FitData
from glocal.aligner.folds import Fold, Unit, fit_folds
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import Joined, join
from glocal.data.names import positions_of
from glocal.data.standardization import Standardization
from glocal.errors import DataError, DataWarning, warn
from glocal.files import read_lines
from glocal.options import Model, Options
from glocal.results import to_json
from glocal.suite.network_files import NetworkFiles
from glocal.transform import LinearTransform, check_rows
from glocal.transform.checks import table_rows
from glocal.transform.reduction import baseline

File = Annotated[Path, Strict(False)]
"""A path relative to the root of the suite; ``{network}`` in it stands for the network's name."""
MaybeFile = Annotated[Path | None, Strict(False)]
TomlValue: TypeAlias = (
    bool | int | float | str | datetime | date | time | Sequence[object] | Mapping[str, object]
)
"""A value in the table of a suite file; a list and a table hold values of the same kinds."""
MIN_HELDOUT_ANSWERS = 1_000
"""With fewer held-out answers the order of two networks is hardly more than chance."""
Embed = Callable[[Features], np.ndarray]


class Network(Options):
    """The feature files of one network.

    People judged the objects of `features`. Only some arms need `local`, the features of the local
    images.
    """

    features: File
    local: MaybeFile = None


class Shared(Options):
    """The files and settings that all networks of a suite share.

    `object_ids` names the objects that `answers` and RDMs index, if these are not the rows of the
    features. With `normalize` all arms begin from rows scaled to length 1. Fits take `centre`, see
    `FitData`. `split` is what fold 0 of the `folds` holds out: objects, questions or
    people; by default objects, or questions if there are fewer than 5,000 answers.
    """

    answers: MaybeFile = None
    object_ids: MaybeFile = None
    normalize: bool = False
    centre: Centre | None = None
    seed: int = Field(42, ge=0, lt=2**32)
    folds: int = Field(3, ge=2)
    split: Unit | None = None


@dataclass(frozen=True, eq=False)
class Sources:
    """The data of one network.

    `pretrained` are the names of the transforms that were fitted elsewhere;
    `glocal.transform.checks.table_rows` checks them, by `force`. Baselines are made from the
    features `means`, by default from the objects. `has_fits` says whether arms are fitted to the
    answers: only then a part of these is held out. `shared_objects` are the objects that other
    networks have too; only these are scored then. `listed` names the objects that RDMs, and answers
    without names, index.
    """

    shared: Shared
    network: Network
    files: NetworkFiles = field(default_factory=NetworkFiles)
    _: KW_ONLY
    pretrained: Sequence[str] = ()
    means: Path | None = None
    force: bool = True
    has_fits: bool = True
    shared_objects: Features | None = None
    listed: tuple[str, ...] | None = None
    _joined_answers: dict[Path, Joined] = field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.files.name

    def joined_answers(self, file: Path) -> Joined:
        """The answers of a file as rows of the objects.

        Answers about objects without features are left out; a DataWarning counts them.
        """
        if file not in self._joined_answers:
            self._joined_answers[file] = self._join_answers(file)
        return self._joined_answers[file]

    def _join_answers(self, file: Path) -> Joined:
        path = self.files.path(file)
        answers = Answers.load(path, names=self.object_ids)
        ids = self.object_ids
        if answers.names is None:
            ids = self.listed_objects
        joined = join(self.objects, answers, ids)
        if joined.n_dropped:
            warn(
                f"{joined.n_dropped} of {len(answers)} answers of {self.files.text(file)} name an "
                f"object that {self.objects.source} lacks; they are left out.",
                DataWarning,
            )
        return joined

    def baseline(self, name: str) -> LinearTransform:
        """A baseline of `glocal.transform.reduction`."""
        if self.means is None:
            return baseline(name, self.objects)
        means = self.files.features(self.means)
        if self.objects.is_unit:
            means = means.unit()
        return baseline(name, means)

    def embedding(self, transform: LinearTransform | None) -> Embed:
        """A function from features to rows in float64, scaled or transformed."""

        def embed(features: Features) -> np.ndarray:
            features.check_finite()
            if transform is None:
                return self.scaling(features.matrix, "float64")
            check_rows(transform, features, force=self.force)
            X = np.asarray(features.matrix, dtype=np.float64)
            return transform.map_rows(X)

        return embed

    @cached_property
    def objects(self) -> Features:
        """The features of the objects that people judged, as all arms begin from them."""
        transforms = {name: self.files.transform(name) for name in self.pretrained}
        features = self.shared_objects or self.files.features(self.network.features)
        normalize = self.shared.normalize
        return table_rows(transforms, features, normalize=normalize, force=self.force)

    @property
    def settings(self) -> dict[str, bool]:
        """Settings that all scores share: `normalize` if all arms begin from rows of length 1."""
        return {"normalize": True} if self.objects.is_unit else {}

    @cached_property
    def scaling(self) -> Standardization:
        """The scale of the original features, which is measured on the objects."""
        objects = self.objects
        return replace(objects.scaling, is_unit=objects.is_unit)

    @cached_property
    def object_ids(self) -> tuple[str, ...] | None:
        """The names of the objects that answers and RDMs index; None if they index the features."""
        file = self.shared.object_ids
        if file is None:
            return None
        return read_lines(self.files.path(file), what="object ids")

    @property
    def listed_objects(self) -> tuple[str, ...] | None:
        """The names of the objects that answers without names, and RDMs, index."""
        return self.listed if self.object_ids is None else self.object_ids

    @cached_property
    def fold(self) -> Fold:
        """Fold 0: the data of the fits, without local images, and the held-out answers.

        A DataWarning says that few answers are held out.
        """
        assert self.shared.answers is not None
        joined = self.joined_answers(self.shared.answers)
        data = FitData(
            self.objects,
            joined.answers,
            seed=self.shared.seed,
            centre=self.shared.centre,
            n_dropped=joined.n_dropped,
        )
        folds = fit_folds(data, self.shared.folds, self.shared.split)
        fold = folds[0]
        n_answers = round(joined.answers.effective_size)
        n_heldout = round(fold.answers.effective_size)
        if n_heldout < MIN_HELDOUT_ANSWERS:
            remedy = "Set fewer `folds`, or collect more answers."
            if fold.unit == "objects":
                remedy = 'Set `split = "questions"` or `split = "people"`.'
            warn(
                f"fold 0 of {self.shared.folds} of the {fold.unit} leaves {n_heldout:,} of "
                f"{n_answers:,} answers to score, fewer than {MIN_HELDOUT_ANSWERS:,}: the "
                "order of networks and arms may change with others. "
                f"{remedy}",
                DataWarning,
            )
        return fold

    @property
    def heldout_answers(self) -> Answers:
        """The answers of tasks that do not name a file: the held-out ones, or all without a fit."""
        if self.has_fits:
            return self.fold.answers
        assert self.shared.answers is not None
        return self.joined_answers(self.shared.answers).answers

    @property
    def split_name(self) -> str:
        """What `heldout_answers` are, as scores record it."""
        if not self.has_fits:
            return "all"
        return f"fold 0 of {self.shared.folds} of the {self.fold.unit}"

    def key(self, *parts: Any) -> str:
        """The hash of all that a file is made from: `parts`, the version and shared settings."""
        shared = self.shared
        is_unit = self.objects.is_unit
        folds = [shared.folds, shared.split]
        common_parts = [__version__, shared.seed, folds, shared.centre, is_unit]
        text = to_json([*common_parts, *parts])
        return hashlib.sha256(text.encode()).hexdigest()


def options_from_table(model: type[Model], table: Mapping[str, TomlValue]) -> Model:
    """The options of a model in a table of a suite file."""
    return model(**table)


def shared_objects(networks: Sequence[Features]) -> list[Features]:
    """Return the rows of the objects that all networks have, in the order of the first one.

    Rows have the names of the first network. If one has no names, row i of each is taken to be the
    same object, with a DataWarning.

    Raises
    ------
    DataError
        No object is in all networks; a name repeats; or one has no names and another number of
        rows.
    """
    import pandas as pd

    unnamed = [features.source for features in networks if features.names is None]
    if unnamed:
        if len({*map(len, networks)}) > 1:
            counts = " and ".join(f"{len(each)} in {each.source}" for each in networks)
            raise DataError(
                f"{unnamed[0]} has no names to join its objects by, and the numbers of rows "
                f"differ: {counts}. Put a file_names.txt with one line per row beside it."
            )
        warn(
            f"{unnamed[0]} has no names: row i of each network is taken to be the same object.",
            DataWarning,
        )
        return [*networks]
    names = networks[0].names or ()
    columns = []
    for features in networks:
        positions = positions_of(names, features.names or (), f"names of {features.source}")
        columns.append(pd.Series(positions))
    rows = pd.concat(columns, axis=1, join="inner")
    if rows.empty:
        sources = " and ".join(features.source for features in networks)
        raise DataError(f"no object is in all of {sources}. Name their rows alike.")
    shared_names = tuple(rows.index)
    shared = []
    for number, features in enumerate(networks):
        X = np.asarray(features.matrix)
        shared_rows = X[rows[number]]
        shared.append(replace(features, matrix=shared_rows, names=shared_names))
    return shared
