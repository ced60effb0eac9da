"""What a sweep works on: the whole input, and the part of it that one fold needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from glocal.aligner import Exact, FitData, Loop
from glocal.aligner.data import LocalBlocks
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.labels import check_labels
from glocal.data.splits import split_triplets
from glocal.errors import DataError, ParameterError

K = 10


def check_folds(answers: Answers, n: int, local: int | None, *, folds: int, seed: int) -> None:
    """Raise the sentence for folds of n objects, and of local images if any, that cannot be fitted or scored."""
    answers.check_range(n)
    for fold in range(folds):
        parts = split_triplets(answers, n, folds=folds, fold=fold, seed=seed)
        for part, what in zip(parts, ("to train on", "to validate on"), strict=True):
            if not part.any():
                raise DataError(f"fold {fold} of {folds} has no triplet {what}. Use fewer folds, or more answers.")
    judged, what = (n, "objects") if local is None else (local, "local images")
    if judged < folds * (K + 1):
        raise ParameterError(
            f"{judged} {what} cannot be cut into {folds} folds of at least {K + 1}, which neighbours at k = {K} need. "
            f"Use fewer folds, or more {what}."
        )


@dataclass(frozen=True, eq=False)
class SweepData:
    """The input of a sweep.

    Parameters
    ----------
    fit : FitData
        Without local features there is no `glocal`, and neighbours are counted among the held-out objects.
    downstream, labels
        Labelled images, where downstream scores are wanted.
    most_candidates : int
        Held-out images of a fold whose neighbours are compared; of more, the first drawn. Every row states the number.
    """

    fit: FitData
    downstream: Features | None = None
    labels: np.ndarray | None = None
    most_candidates: int = 10_000

    @property
    def judged(self) -> Features:
        """Those whose neighbours are counted, folded like the objects: the local images, or else the objects."""
        return self.fit.features if self.fit.local_features is None else self.fit.local_features

    def check(self, folds: int) -> None:
        """Raise the sentence for folds that cannot be fitted or scored, before any work is done."""
        local = None if self.fit.local_features is None else len(self.fit.local_features)
        check_folds(self.fit.triplets, len(self.fit.features), local, folds=folds, seed=self.fit.seed)
        self._check_width(self.judged, "local features")
        if self.downstream is not None:
            self._check_width(self.downstream, "downstream features")
            if self.labels is None:
                raise DataError("downstream images have no labels; give one class a row.")
            check_labels(self.labels, len(self.downstream), "downstream labels")

    def _check_width(self, other: Features, what: str) -> None:
        if other.dimensions != self.fit.features.dimensions:
            raise DataError(
                f"{what} have {other.dimensions} columns but the object features have {self.fit.features.dimensions}; "
                "both must come from the same model and layer."
            )


@dataclass(frozen=True, eq=False)
class FoldData:
    """All that one fold needs, in memory and nothing more: it can be sent to another machine.

    Parameters
    ----------
    fold : int
    solver : Exact or Loop
        Of every point.
    squared : bool
        Of `naive`.
    training : FitData
        All objects, the answers outside the fold, and no local features.
    local : LocalBlocks
        The blocks trained on.
    heldout, objects
        Held-out answers, and the rows of the features they index.
    images : (m, p) array
        Held-out images whose neighbours are counted, not standardized.
    downstream, labels
        Labelled images, not standardized, where downstream scores are wanted.
    """

    fold: int
    solver: Exact | Loop
    squared: bool
    training: FitData
    local: LocalBlocks
    heldout: Answers
    objects: Int[np.ndarray, " k"]
    images: Float[np.ndarray, "m p"]
    downstream: np.ndarray | None = None
    labels: np.ndarray | None = None

    @classmethod
    def read(
        cls,
        data: SweepData,
        fold: int,
        folds: int,
        solver: Exact | Loop,
        *,
        squared: bool = True,
    ) -> FoldData:
        """Read one fold; of the local images only the rows that are used.

        Parameters
        ----------
        data : SweepData
        fold, folds : int
            Objects and local images are folded alike.
        solver, squared
            See the class.
        """
        fit, n = data.fit, len(data.fit.features)
        training, heldout, rows = fit.fold(fold, folds)
        local = LocalBlocks([])
        if fit.local_features is not None:
            local = training.read(solver.dtype, fit.local_blocks or solver.most_blocks)
        assert training.objects is not None
        objects = np.setdiff1d(np.arange(n), training.objects)
        new_index = np.full(n, -1)
        new_index[objects] = np.arange(len(objects))
        answers, _ = heldout.relabel(new_index)
        candidates = np.sort(rows[: data.most_candidates])
        features = Features(np.asarray(fit.features.matrix), None, fit.features.source)
        return cls(
            fold,
            solver,
            squared,
            replace(training, features=features, local_features=None, images=None),
            local,
            answers,
            objects,
            _rows(data.judged, candidates),
            None if data.downstream is None else np.asarray(data.downstream.matrix),
            data.labels,
        )


def _rows(features: Features, numbers: Int[np.ndarray, " k"]) -> np.ndarray:
    """Some rows, checked, in the float type of the file."""
    dtype = features.matrix.dtype if features.matrix.dtype.kind == "f" else np.float32
    found = np.empty((len(numbers), features.dimensions), dtype=dtype)
    for positions, chunk in features.rows(numbers):
        found[positions] = chunk
    return found
