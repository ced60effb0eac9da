"""What all points of one fold share: axes, teachers, and the scores on what is held out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from glocal.aligner.problem import Problem, on_device, penalty_of, weighted
from glocal.aligner.settings import Settings
from glocal.data.splits import local_blocks
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure.neighbourhoods import nearest_label_accuracy, neighbourhoods, shared
from glocal.objective import LocalLoss
from glocal.solver.threads import work_of
from glocal.sweep.data import FoldData, K
from glocal.sweep.grid import Point


class Fold:
    """One fold of objects and of local images held out.

    Parameters
    ----------
    data : FoldData
    settings : Settings
        dtype, device, block size and seed count; method, alpha, lmbda, tau and mix come with each point.
    """

    def __init__(self, data: FoldData, settings: Settings) -> None:
        self._settings = settings
        self.number, self.n_train = data.fold, len(data.train)
        self.base = Problem.build(data.features, data.train, None, data.scalars, replace(settings, method="global"))
        axes = self.base.axes.to(self.base.loss.X)
        self._training = [on_device(block, settings.device) @ axes for block in data.local.blocks]
        # NOTE the exact solver works on the copies in these axes alone, and must not keep the data of the fold too
        self._data = data if settings.profile.solver == "minibatch" else None
        self.images = data.scalars(data.images, "float64")
        judged = self.images if data.local_standardized else data.images
        self._heldout_blocks = [
            on_device(judged[rows].astype(settings.dtype), settings.device)
            for rows in local_blocks(len(judged), settings.block_size, settings.seed)
        ]
        self._before = list(neighbourhoods(self.images, K))
        self.heldout = data.heldout
        self.objects = data.scalars(np.asarray(data.features.matrix[data.objects]), "float64")
        self._downstream = None
        if data.downstream is not None and data.labels is not None:
            self._downstream = data.scalars(data.downstream, "float64"), data.labels
        self._local: dict[tuple[str, float], LocalLoss] = {}

    @property
    def data(self) -> FoldData:
        """The data on their original columns, kept for the mini-batch solver only."""
        assert self._data is not None
        return self._data

    @property
    def work(self) -> float:
        """Operations of one evaluation of the objective, for `threads_for`."""
        n, p = self.base.loss.X.shape
        return work_of(n, p, self.n_train, map(len, self._training))

    def problem(self, point: Point) -> Problem:
        """The objective at one point, in the axes of this fold; teachers are computed once for each tau."""
        local = None if point.tau is None else self._local_loss("training", point.tau)
        penalty = penalty_of(point.method, self._settings.squared, point.mix)
        objective = weighted(self.base.loss, local, point.alpha or 0.0, point.lmbda, penalty)
        return replace(self.base, objective=objective, penalty=penalty)

    def scores(self, W: np.ndarray, b: np.ndarray | None, tau: float | None) -> dict[str, Any]:
        """Held-out agreement, local loss and neighbours kept of one transform of standardized features."""

        def embedded(X: np.ndarray) -> np.ndarray:
            Z: np.ndarray = X @ W.astype(np.float64)
            return Z if b is None else Z + b

        Z = embedded(self.objects)
        after = neighbourhoods(embedded(self.images), K)
        kept = np.concatenate([shared(*pair) for pair in zip(self._before, after, strict=True)])
        cosine = odd_one_out(Z, self.heldout, interval=False)
        dot = odd_one_out(Z, self.heldout, similarity="dot", interval=False)
        found: dict[str, Any] = {
            "accuracy_cosine": cosine.accuracy,
            "accuracy_dot": dot.accuracy,
            "tie_rate": cosine.tie_rate,
            "loss": cosine.loss,
            "local_loss": None if tau is None else self._heldout_local_loss(W, b, tau),
            "neighbours_kept": float(kept.mean()),
            "n_heldout": len(self.heldout),
            "n_images": len(self.images),
        }
        if self._downstream is not None:
            X, labels = self._downstream
            found["accuracy_1nn"] = nearest_label_accuracy(embedded(X), labels)
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
