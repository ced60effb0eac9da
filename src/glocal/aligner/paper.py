"""`PaperLoop`: an arm fitted by the authors' procedure, on all data but a fold that its stopping rule watches."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Dtype, Solution
from glocal.data.answers import Answers
from glocal.errors import DivergedError, needed
from glocal.objective import Evaluation
from glocal.options import Options
from glocal.solver import OnStep
from glocal.transform import LinearTransform

FOLDS = 4
"""The stopping rule watches fold 0 of so many folds of the objects and of the local images, which no step sees."""


class PaperLoop(Options):
    """The procedure of the authors' scripts; docs/fidelity.md lists in what it differs from `Exact`.

    Parameters
    ----------
    eta : float
        Learning rate, above 0.
    optimiser : {"sgd", "adam"}
        SGD has momentum 0.9.
    bias, squared : bool
        Learn b too; let `naive` penalise ‖W‖², as the paper has it, in place of ‖W‖, as its script does.
    dtype : {"float32", "float64"}
    batch_size, max_epochs : int
        Answers in a step (the local images in a step are the `block_size` of `FitData`), and epochs at most.
    min_epochs, patience : int or None
        The loop ends at the first epoch from `min_epochs` on by which the watched loss has not fallen by `min_delta`
        nats in `patience` epochs. None is 20 and 15 for `glocal`, 15 and 10 for the other methods.
    trainer : mapping
        Further arguments of ``lightning.Trainer``: accelerator, callbacks, logger, …

    References
    ----------
    Muttenthaler et al. 2023, and its scripts: LukasMut/gLocal at commit 635fdaa.
    """

    panel: ClassVar[str] = "--solver paper"
    name: ClassVar[str] = "paper"

    eta: float = Field(0.01, gt=0, description="Learning rate of --solver paper.")
    optimiser: Literal["sgd", "adam"] = Field("sgd", description="Optimiser of --solver paper.")
    bias: bool = Field(False, description="Let --solver paper learn a bias too.")
    dtype: Dtype = Field("float32", description="Precision of the computation.")
    squared: bool = False
    batch_size: int = Field(256, ge=1)
    max_epochs: int = Field(100, ge=1)
    min_epochs: int | None = Field(None, ge=0)
    patience: int | None = Field(None, ge=1)
    min_delta: float = Field(1e-4, ge=0)
    trainer: Mapping[str, Any] = Field({})

    def solve(self, data: FitData, arm: Arm, on_step: OnStep | None = None) -> Solution:
        """Fit one arm without the watched fold; the weights are those of the last epoch.

        Raises
        ------
        DivergedError
            The learning rate is too large.
        DataError
            No answer lies inside or outside the watched fold.
        MissingDependencyError
            Lightning is not installed.
        """
        needed("lightning.pytorch", "solver paper")
        import torch

        from glocal.solver.paper_loop import LoopData, Procedure

        fitted, heldout, rows = data.fold(0, FOLDS)
        objects = np.asarray(data.features.matrix)

        local = data.local_features if arm.local else None

        def part(answers: Answers, images: Any) -> LoopData:  # NOTE raw rows: the scripts train the local term on them
            return LoopData(answers.objects, answers.weights, None if local is None else local.matrix[images])

        given = arm.model_dump() | {name: value for name, value in vars(self).items() if value is not None}
        least = {"min_epochs": 20, "patience": 15} if arm.local else {"min_epochs": 15, "patience": 10}
        at = SimpleNamespace(**{**least, **given, "block_size": data.block_size, "seed": data.seed})
        X = torch.from_numpy(data.scalars(objects, self.dtype))
        parts = part(fitted.answers, fitted.images), part(heldout, rows)
        procedure = Procedure(X, data.answers.pairs, *parts, at)
        if on_step is not None:
            none = np.empty((0, 0))
            procedure.on_epoch = lambda steps, parts: on_step(steps, Evaluation(sum(parts.values()), parts, none))
        ended = procedure.walk(self.trainer)
        found = procedure.parts("fitted") | {"penalty": float(procedure.penalty().detach())}
        objective = procedure.objective(found)
        here = f"after {procedure.epochs} epochs and {procedure.steps} steps at eta {self.eta:g}"
        if not np.isfinite(objective):  # the very last steps were too long
            raise DivergedError(f"the loss is not finite {here}. Lower eta.", procedure.steps)
        W, b = procedure.W, procedure.b
        transform = LinearTransform(
            W.detach().float().cpu().numpy(), None if b is None else b.detach().float().cpu().numpy(),
            data.scalars.mean, data.scalars.std,
        )  # fmt: skip
        why = f"{at.patience} epochs without a gain of {self.min_delta:g}" if ended else "all epochs are spent"
        told = {
            "solver": self.name, "dtype": self.dtype, "eta": self.eta, "optimiser": self.optimiser, "bias": self.bias,
            "epochs": procedure.epochs, "n_fitted": len(fitted.answers),
            "watched": {"n": len(heldout), "parts": procedure.watched},
        }  # fmt: skip
        return Solution(
            transform, arm, objective, found, "stalled" if ended else "budget",
            f"{why}, {here}; how far the optimum lies below is not measured", None, "none: not converged",
            procedure.steps, torch.get_num_threads(), told,
        )  # fmt: skip
