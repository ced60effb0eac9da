"""What a sweep works on: the whole input, and the part of it that one fold needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from glocal.aligner.local import LocalBlocks
from glocal.aligner.settings import Settings
from glocal.data.features import Features, Standardization
from glocal.data.labels import check_labels
from glocal.data.splits import object_folds, split_triplets
from glocal.data.triplets import Triplets
from glocal.errors import DataError, ParameterError

K = 10
MOST_CANDIDATES = 10_000  # held-out local images whose neighbours are compared; of more the first drawn, number stated


@dataclass(frozen=True, eq=False)
class SweepData:
    """The input of a sweep; `labels` are those of the rows of `downstream`, where downstream scores are wanted."""

    features: Features
    triplets: Triplets
    local: Features
    downstream: Features | None = None
    labels: np.ndarray | None = None

    def check(self, folds: int, seed: int) -> None:
        """Raise the sentence for folds that cannot be fitted or scored, before any work is done."""
        n = len(self.features)
        self.triplets.check_range(n)
        for fold in range(folds):
            train, heldout = split_triplets(self.triplets, n, folds=folds, fold=fold, seed=seed)
            for part, what in ((train, "to train on"), (heldout, "to validate on")):
                if not part.any():
                    raise DataError(f"fold {fold} of {folds} has no triplet {what}. Use fewer folds, or more answers.")
        if len(self.local) < folds * (K + 1):
            raise ParameterError(
                f"{len(self.local)} local images cannot be cut into {folds} folds of at least {K + 1}, which "
                f"neighbours at k = {K} need. Use fewer folds, or more local images."
            )
        self._check_width(self.local, "local features")
        if self.downstream is not None:
            self._check_width(self.downstream, "downstream features")
            if self.labels is None:
                raise DataError("downstream images have no labels; give one class a row.")
            check_labels(self.labels, len(self.downstream), "downstream labels")

    def training_images(self, fold: int, folds: int, seed: int) -> Int[np.ndarray, " k"]:
        """The rows of the local features outside a fold, in the order of the file."""
        inside = np.zeros(len(self.local), dtype=bool)
        inside[object_folds(len(self.local), folds, seed)[fold]] = True
        return np.flatnonzero(~inside)

    def _check_width(self, other: Features, what: str) -> None:
        if other.dimensions != self.features.dimensions:
            raise DataError(
                f"{what} have {other.dimensions} columns but the object features have {self.features.dimensions}; "
                "both must come from the same model and layer."
            )


@dataclass(frozen=True, eq=False)
class FoldData:
    """All that one fold needs, in memory and nothing more: it can be sent to another machine.

    Parameters
    ----------
    fold : int
    features : Features
        All objects, not standardized.
    scalars : Standardization
        Of the object features.
    train : Triplets
        Answers on rows of `features`.
    heldout, objects
        Held-out answers, and the rows of `features` they index.
    local : LocalBlocks
        The blocks trained on.
    images : (m, p) array
        Held-out local images, not standardized.
    downstream, labels
        Labelled images, not standardized, where downstream scores are wanted.
    local_standardized : bool
        Whether the local term sees standardized features.
    """

    fold: int
    features: Features
    scalars: Standardization
    train: Triplets
    heldout: Triplets
    objects: Int[np.ndarray, " k"]
    local: LocalBlocks
    images: Float[np.ndarray, "m p"]
    downstream: np.ndarray | None = None
    labels: np.ndarray | None = None
    local_standardized: bool = True

    @classmethod
    def read(
        cls,
        data: SweepData,
        fold: int,
        folds: int,
        settings: Settings,
        *,
        blocks: int | None = None,
        local_standardized: bool = True,
    ) -> FoldData:
        """Read one fold; of the local images only the rows that are used.

        Parameters
        ----------
        data : SweepData
        fold, folds : int
            Objects and local images are folded alike.
        settings : Settings
            Seed, dtype and block size.
        blocks : int or None
            Blocks of local images to train on, the first ones; None takes all.
        local_standardized : bool
            See the class.
        """
        n, seed = len(data.features), settings.seed
        scalars = data.features.standardization
        train, heldout = split_triplets(data.triplets, n, folds=folds, fold=fold, seed=seed)
        objects = np.sort(object_folds(n, folds, seed)[fold])
        new_index = np.full(n, -1)
        new_index[objects] = np.arange(len(objects))
        answers, _ = data.triplets.select(heldout).relabel(new_index)
        candidates = np.sort(object_folds(len(data.local), folds, seed)[fold][:MOST_CANDIDATES])
        local = LocalBlocks.standardized(
            data.local, scalars, settings, last=blocks, standardized=local_standardized,
            images=data.training_images(fold, folds, seed),
        )  # fmt: skip
        rest: dict[str, Any] = {}
        if data.downstream is not None:
            rest = {"downstream": np.asarray(data.downstream.matrix), "labels": data.labels}
        return cls(
            fold, Features(np.asarray(data.features.matrix), None, data.features.source), scalars,
            data.triplets.select(train), answers, objects, local, _rows(data.local, candidates),
            local_standardized=local_standardized, **rest,
        )  # fmt: skip


def _rows(features: Features, numbers: Int[np.ndarray, " k"]) -> np.ndarray:
    """Some rows, checked, in the float type of the file."""
    dtype = features.matrix.dtype if features.matrix.dtype.kind == "f" else np.float32
    found = np.empty((len(numbers), features.dimensions), dtype=dtype)
    for positions, chunk in features.rows(numbers):
        found[positions] = chunk
    return found
