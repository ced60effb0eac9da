"""What all points of one fold share: standardized data, axes, teachers, and the scores on what is held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from glocal.aligner.problem import Problem, on_device, penalty_of, weighted
from glocal.aligner.settings import Settings
from glocal.data.features import Features
from glocal.data.splits import local_blocks, object_folds, split_triplets
from glocal.data.triplets import Triplets
from glocal.errors import DataError, ParameterError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure import neighbours, shared_neighbours
from glocal.objective import LocalLoss
from glocal.sweep.grid import Point

K = 10
_MOST_CANDIDATES = (
    10_000  # held-out local images whose neighbours are compared; more are sampled, and their number said
)


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
        if self.local.dimensions != self.features.dimensions:
            raise DataError(
                f"local features have {self.local.dimensions} columns but the object features have "
                f"{self.features.dimensions}; both must come from the same model and layer."
            )


class Fold:
    """One fold of objects and of local images held out.

    Parameters
    ----------
    data : SweepData
    fold, folds, seed : int
        Objects and local images are folded alike.
    settings : Settings
        dtype, device and block size count; method, alpha, lmbda and tau come with each point.
    """

    def __init__(self, data: SweepData, fold: int, folds: int, settings: Settings) -> None:
        n, seed = len(data.features), settings.seed
        scalars = data.features.standardization
        train, heldout = split_triplets(data.triplets, n, folds=folds, fold=fold, seed=seed)
        self.base = Problem.build(
            data.features, data.triplets.select(train), None, scalars, replace(settings, method="global")
        )
        self._settings = settings
        images = object_folds(len(data.local), folds, seed)[fold]
        inside = np.zeros(len(data.local), dtype=bool)
        inside[images] = True
        rest = np.flatnonzero(~inside)
        axes = self.base.axes.to(self.base.loss.X)
        self._training = [
            on_device(scalars(np.asarray(data.local.matrix[np.sort(rest[rows])]), settings.dtype), settings.device)
            @ axes
            for rows in local_blocks(len(rest), settings.block_size, seed)
        ]
        candidates = np.sort(images[:_MOST_CANDIDATES])
        self.images = scalars(np.asarray(data.local.matrix[candidates]), "float64")
        self._heldout_blocks = [
            on_device(self.images[rows].astype(settings.dtype), settings.device)
            for rows in local_blocks(len(candidates), settings.block_size, seed)
        ]
        self._before = neighbours(self.images, K)
        objects = np.flatnonzero(np.isin(np.arange(n), object_folds(n, folds, seed)[fold]))
        new_index = np.full(n, -1)
        new_index[objects] = np.arange(len(objects))
        self.heldout, _ = data.triplets.select(heldout).relabel(new_index)
        self.objects = scalars(np.asarray(data.features.matrix[objects]), "float64")
        self._downstream = None
        if data.downstream is not None and data.labels is not None:
            self._downstream = scalars(np.asarray(data.downstream.matrix), "float64"), data.labels
        self._local: dict[tuple[str, float], LocalLoss] = {}
        self.n_train = int(train.sum())

    def problem(self, point: Point) -> Problem:
        """The objective at one point, in the axes of this fold; teachers are computed once for each tau."""
        local = None if point.tau is None else self._local_loss("training", point.tau)
        penalty = penalty_of(point.method, self._settings.squared)
        objective, penalty = weighted(self.base.loss, local, point.alpha or 0.0, point.lmbda, penalty)
        return replace(self.base, objective=objective, penalty=penalty)

    def scores(self, W: np.ndarray, b: np.ndarray | None, tau: float | None) -> dict[str, Any]:
        """Held-out agreement, local loss and neighbours kept of one transform of standardized features."""

        def embedded(X: np.ndarray) -> np.ndarray:
            Z: np.ndarray = X @ W.astype(np.float64)
            return Z if b is None else Z + b

        Z = embedded(self.objects)
        cosine = odd_one_out(Z, self.heldout, interval=False)
        dot = odd_one_out(Z, self.heldout, similarity="dot", interval=False)
        found: dict[str, Any] = {
            "accuracy_cosine": cosine.accuracy,
            "accuracy_dot": dot.accuracy,
            "tie_rate": cosine.tie_rate,
            "loss": cosine.loss,
            "local_loss": None if tau is None else self._heldout_local_loss(W, b, tau),
            "neighbours_kept": shared_neighbours(self._before, neighbours(embedded(self.images), K)),
            "n_heldout": len(self.heldout),
            "n_images": len(self.images),
        }
        if self._downstream is not None:
            X, labels = self._downstream
            nearest = neighbours(embedded(X), 1)[:, 0]
            found["accuracy_1nn"] = float(np.mean(labels[nearest] == labels))
        return found

    def _heldout_local_loss(self, W: np.ndarray, b: np.ndarray | None, tau: float) -> float:
        like = self._heldout_blocks[0]
        loss = self._local_loss("heldout", tau)
        return loss(torch.as_tensor(W).to(like), None if b is None else torch.as_tensor(b).to(like))[0]

    def _local_loss(self, part: str, tau: float) -> LocalLoss:
        if (part, tau) not in self._local:
            blocks = self._training if part == "training" else self._heldout_blocks
            self._local[part, tau] = LocalLoss(blocks, tau)
        return self._local[part, tau]
