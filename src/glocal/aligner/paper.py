"""`PaperLoop`: fit by the authors' procedure, which leaves out the fold that it watches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from glocal.aligner.data import FitData
from glocal.aligner.exact import Dtype, Solution
from glocal.aligner.folds import fit_folds
from glocal.aligner.settings import ObjectiveSettings
from glocal.data.answers import Answers
from glocal.errors import DivergedError, import_optional
from glocal.options import Options
from glocal.results import SolverReport, Watched
from glocal.solver import Counter

if TYPE_CHECKING:
    from glocal.solver.paper_loop import LoopSettings, Procedure

FOLDS = 4
"""The number of folds of objects and local images; the stopping rule watches fold 0."""


@dataclass(frozen=True)
class LoopProblem:
    """The data of fits by the authors' procedure, and its options."""

    data: FitData
    solver: PaperLoop

    def fit(self, settings: ObjectiveSettings, start: Any = None) -> Solution:
        """Fit by the procedure, which has its own start."""
        return self.solver.solve(self.data, settings)


class PaperLoop(Options):
    """The procedure of the authors' scripts; docs/method.md ("Fidelity") compares it with `Exact`.

    Parameters
    ----------
    eta : float
        Learning rate, above 0.
    optimiser : {"sgd", "adam"}
        SGD has momentum 0.9.
    bias : bool
        Whether to learn b too.
    dtype : {"float32", "float64"}
        Precision of the computation.
    batch_size, max_epochs : int
        The number of answers in a step, and the largest number of epochs. The number of local
        images in a step is the `block_size` of `FitData`.

    References
    ----------
    Muttenthaler et al. 2023, and the authors' scripts: LukasMut/gLocal at commit 635fdaa.
    """

    panel: ClassVar[str] = "Solver"
    name: ClassVar[str] = "paper"

    eta: float = Field(0.01, gt=0, description="Learning rate. [default: 0.01 with --solver paper]")
    optimiser: Literal["sgd", "adam"] = Field(
        "sgd", description="Optimiser of the paper's loop. [default: sgd with --solver paper]"
    )
    bias: bool = Field(False, description="With --solver paper, learn a bias too.")
    dtype: Dtype = Field("float32", description="Precision of the computation.")
    batch_size: int = Field(256, ge=1)
    max_epochs: int = Field(100, ge=1)

    def solve(
        self, data: FitData, settings: ObjectiveSettings, counter: Counter | None = None
    ) -> Solution:
        """Fit an objective without the watched fold; the weights come from the last epoch.

        Raises
        ------
        DivergedError
            The learning rate is too large.
        DataError
            No answer has all its objects inside, or all outside, the watched fold.
        MissingDependencyError
            Lightning is not installed.
        """
        procedure = self._procedure(data, settings, counter or Counter())
        is_stopped = procedure.run()
        epochs = procedure.current_epoch
        steps = procedure.global_step
        parts = procedure.parts("fitted") | {"penalty": float(procedure.penalty().detach())}
        objective = procedure.objective(parts)
        length = f"after {epochs} epochs and {steps} steps at eta {self.eta:g}"
        if not np.isfinite(objective):  # the very last steps were too long
            raise DivergedError(f"the loss is not finite {length}. Lower `eta`.", steps)
        cause = "all epochs are spent"
        if is_stopped:
            loop = procedure.settings
            cause = f"{loop.patience} epochs without a gain of {loop.min_delta:g}"
        W, *learned = (tensor.detach().float().cpu().numpy() for tensor in procedure.parameters())
        transform = data.transform(W)
        biases = [bias for bias in (transform.bias, *learned) if bias is not None]
        return Solution(
            transform=replace(transform, bias=np.sum(biases, axis=0) if biases else None),
            settings=settings,
            threads=procedure.threads,
            report=SolverReport(
                centre=data.fixed_centre,
                objective=objective,
                parts=parts,
                status="stalled" if is_stopped else "budget",
                reason=f"{cause}, {length}; the distance from the optimum is not measured",
                certificate="none: not converged",
                evaluations=steps,
                solver=self.name,
                dtype=self.dtype,
                eta=self.eta,
                optimiser=self.optimiser,
                bias=self.bias,
                epochs=epochs,
                n_fitted=len(procedure.data["fitted"].answers),
                watched=Watched(
                    n=len(procedure.data["watched"].answers), parts=procedure.watched_losses
                ),
            ),
        )

    @staticmethod
    def check_installed() -> None:
        """Raise a MissingDependencyError if Lightning is not installed."""
        import_optional("lightning.pytorch", "solver paper")

    def loop_settings(self, data: FitData, settings: ObjectiveSettings) -> LoopSettings:
        """The settings of the loop, with the authors' rule of stopping."""
        from glocal.solver.paper_loop import LoopSettings

        return LoopSettings(
            method=settings.method,
            alpha=settings.alpha,
            lmbda=settings.penalty,
            tau=settings.tau,
            mix=settings.identity,
            eta=self.eta,
            optimiser=self.optimiser,
            bias=self.bias,
            batch_size=self.batch_size,
            block_size=data.block_size,
            seed=data.seed,
            max_epochs=self.max_epochs,
            min_epochs=20 if settings.local else 15,
            patience=15 if settings.local else 10,
        )

    def _procedure(self, data: FitData, settings: ObjectiveSettings, counter: Counter) -> Procedure:
        self.check_installed()
        import torch

        from glocal.solver.paper_loop import LoopData, Procedure

        fitted, heldout, heldout_images, _ = fit_folds(data, FOLDS, "objects")[0]

        def loop_data(answers: Answers, rows: Any) -> LoopData:
            # NOTE the scripts train the local term on raw rows
            rows = rows if settings.local else slice(0)
            return LoopData(answers, data.evaluation_images.rows(rows))

        return Procedure(
            torch.from_numpy(data.scalars(np.asarray(data.features.matrix), self.dtype)),
            loop_data(fitted.answers, fitted.images),
            loop_data(heldout, heldout_images),
            self.loop_settings(data, settings),
            counter,
        )
