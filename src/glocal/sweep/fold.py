"""What all points of one fold share: axes, teachers, and the scores on what is held out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from glocal.aligner import Loop
from glocal.aligner.data import LocalBlocks, on_device
from glocal.aligner.problem import Problem
from glocal.data.splits import local_blocks
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.structure.neighbourhoods import nearest_label_accuracy, neighbourhoods, shared
from glocal.objective import LocalLoss
from glocal.solver import best_scale
from glocal.sweep.data import FoldData, K
from glocal.transform import LinearTransform


class Fold:
    """One fold of objects and of local images held out.

    Parameters
    ----------
    data : FoldData
    """

    def __init__(self, data: FoldData) -> None:
        # NOTE the exact solver works on the copies in its axes alone, and must not keep the blocks of the fold too
        self.data = data if isinstance(data.solver, Loop) else replace(data, local=LocalBlocks([]))
        self.number = data.fold
        training, solver = data.training, data.solver
        self.problem = Problem.build(training, data.local, solver.dtype, solver.device)
        self.scale = best_scale(self.problem.loss)
        self.work = training.work(data.local)
        self._images = training.scalars(data.images, "float64")
        judged = self._images if training.local_standardized else data.images
        self._heldout_blocks = [
            on_device(judged[rows].astype(solver.dtype), solver.device)
            for rows in local_blocks(len(judged), training.block_size, training.seed)
        ]
        self._heldout_local: dict[float, LocalLoss] = {}
        self._before = list(neighbourhoods(self._images, K))
        self._objects = training.scalars(np.asarray(training.features.matrix[data.objects]), "float64")

    @property
    def identity(self) -> LinearTransform:
        """The scaled identity that fits the answers best."""
        return LinearTransform(self.scale * np.eye(self._objects.shape[1], dtype=np.float32), None, 0.0, 1.0)

    def scores(self, transform: LinearTransform, tau: float | None = None) -> dict[str, Any]:
        """Held-out agreement, local loss and neighbours kept of one transform of standardized features."""
        data = self.data
        Z = transform.apply(self._objects)
        after = neighbourhoods(transform.apply(self._images), K)
        kept = np.concatenate([shared(*pair) for pair in zip(self._before, after, strict=True)])
        cosine = odd_one_out(Z, data.heldout, interval=False)
        dot = odd_one_out(Z, data.heldout, similarity="dot", interval=False)
        found: dict[str, Any] = {
            "accuracy_cosine": cosine.accuracy,
            "accuracy_dot": dot.accuracy,
            "tie_rate": cosine.tie_rate,
            "loss": cosine.loss,
            "local_loss": None if tau is None else self._local_loss(transform, tau),
            "neighbours_kept": float(kept.mean()),
            "n_heldout": len(data.heldout),
            "n_images": len(self._images),
        }
        if data.downstream is not None and data.labels is not None:
            Z = transform.apply(data.training.scalars(data.downstream, "float64"))
            found["accuracy_1nn"] = nearest_label_accuracy(Z, data.labels)
        return found

    def _local_loss(self, transform: LinearTransform, tau: float) -> float:
        if tau not in self._heldout_local:
            self._heldout_local[tau] = LocalLoss(self._heldout_blocks, tau)
        like = self._heldout_blocks[0]
        b = None if transform.bias is None else torch.as_tensor(transform.bias).to(like)
        return self._heldout_local[tau](torch.as_tensor(transform.weights).to(like), b)[0]
