"""The paper's loop as a solver: mini-batches, with data, start and a stopping rule as the profile says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, LocalBlocks, on_device
from glocal.aligner.exact import Exact, OnStep, Solved
from glocal.aligner.problem import penalty_of
from glocal.aligner.profile import MODERN, Profile
from glocal.aligner.settings import Dtype, SolverOptions
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import DataError
from glocal.files import array_sha256
from glocal.objective import ChoiceLoss, LocalLoss, Objective
from glocal.options import options_of
from glocal.similarity import credit, of_pairs, pair_tolerance
from glocal.solver import best_scale
from glocal.solver.minibatch import Engine, SampledObjective, minimise_by_batches
from glocal.transform import LinearTransform

Part = tuple[FitData, LocalBlocks | None]


@dataclass(frozen=True, eq=False)
class Validation:
    """Answers (rows of the object features) and local images that the stopping rule watches and no fit sees."""

    triplets: Answers
    local_features: Features | None = None


@dataclass(frozen=True)
class Loop:
    """Stochastic gradients on mini-batches, by Lightning.

    The features keep their columns: SGD would not notice a rotation, Adam would. W is kept as the loop leaves it; it is
    not made symmetric.

    Parameters
    ----------
    profile : Profile
        Learning rate, optimiser, schedule, start and stopping rule.
    engine : Engine
        Precision, checkpoints, logger.
    validation : Validation or None
        What the stopping rule watches, in place of what the profile says.
    dtype, device : str
        Of the computation; any torch device.
    """

    profile: Profile = MODERN
    engine: Engine = field(default=Engine())
    validation: Validation | None = None
    dtype: Dtype = SolverOptions.dtype
    device: str = SolverOptions.device

    name: ClassVar[str] = "minibatch"
    most_blocks: ClassVar[int | None] = None  # it takes them in turn

    def __post_init__(self) -> None:
        options_of(SolverOptions)["dtype"].check("dtype", self.dtype)

    @property
    def epochs(self) -> int | None:
        """The epochs of the loop at most."""
        return self.profile.max_epochs

    def beside(self, name: str) -> Loop:
        """The same for a further fit, with checkpoints in a folder of their own; it watches what the profile says."""
        engine = self.engine
        if engine.checkpoints is not None:
            engine = replace(engine, checkpoints=Path(engine.checkpoints) / name)
        return replace(self, engine=engine, validation=None)

    def settings(self) -> dict[str, Any]:
        """What the record of a fit says of its solver."""
        profile = self.profile
        return {
            "solver": self.name, "profile": profile.name, "tol": None, "dtype": self.dtype, "eta": profile.eta,
            "optimiser": profile.optimiser,
        }  # fmt: skip

    def solve(
        self,
        data: FitData,
        arm: Arm,
        local: LocalBlocks | None = None,
        start: LinearTransform | None = None,
        on_step: OnStep | None = None,
    ) -> Solved:
        """Fit one arm by the paper's loop; a learning rate that is too large is a DivergedError."""
        profile = self.profile
        fitted: Part = (data, local)
        watched: Part | None = None
        if self.validation is not None:
            fitted, watched = given_fold(self.validation, data, local, self.dtype)
        elif profile.validation_folds is not None:
            fitted, watched = first_fold(data, local, profile.validation_folds, self.dtype)
        loss, penalty = self._loss(fitted[0]), penalty_of(arm)
        images: Tensor | None = None
        sizes: tuple[int, ...] = ()
        if fitted[1] is not None:
            images = on_device(np.concatenate(fitted[1].blocks), self.device)
            sizes = tuple(len(block) for block in fitted[1].blocks)
        sampled = SampledObjective(loss, penalty, arm.lmbda, images, sizes, arm.share, arm.tau)
        judge = None if watched is None else self._judge(watched, arm)
        scale = best_scale(loss, penalty, arm.lmbda)
        solution = minimise_by_batches(
            sampled,
            self._start(start, loss.X, scale, arm),
            profile.of(arm.method),
            seed=data.seed,
            watched=judge,
            engine=self.engine,
            kept_with=self._identity(sampled, data, arm),
            on_epoch=on_step,
        )
        b = None if solution.b is None else solution.b.float().cpu().numpy()
        transform = LinearTransform(solution.W.float().cpu().numpy(), b, 0.0, 1.0)
        scores, n_fitted = None, None
        if watched is not None and judge is not None:
            n_fitted, answers = len(fitted[0].triplets), watched[0].triplets
            Z = replace(transform, mean=data.scalars.mean, std=data.scalars.std).apply(np.asarray(data.features.matrix))
            parts = judge(solution.W, solution.b).parts
            accuracy = watched_accuracy(Z, answers, profile.ties)
            scores = {"n": len(answers), "accuracy_dot": accuracy, "ties": profile.ties, "parts": parts}
        return Solved(
            transform, solution, scale, "none: not converged", loss.X @ solution.W, gathered=loss.gathered,
            n_fitted=n_fitted, watched=scores,
        )  # fmt: skip

    def _loss(self, data: FitData) -> ChoiceLoss:
        X, answers = data.named(self.dtype, self.device)
        return ChoiceLoss(X, answers)

    def _judge(self, watched: Part, arm: Arm) -> Objective:
        """What the stopping rule watches on its fold: weighted as in the fit, or L_global + L_local."""
        weighted = self.profile.weighted_watch
        loss = self._loss(watched[0])
        terms: list[tuple[float, Any]] = [(1.0, loss)]
        if watched[1] is not None:
            blocks = [on_device(block, self.device) for block in watched[1].blocks]
            local = LocalLoss(blocks, arm.tau)
            terms = [(1 - arm.share, loss), (arm.share, local)] if weighted else [(1.0, loss), (1.0, local)]
        return Objective((*terms, (arm.lmbda if weighted else 0.0, penalty_of(arm))))

    def _start(self, start: LinearTransform | None, X: Tensor, scale: float, arm: Arm) -> tuple[Tensor, Tensor | None]:
        profile = self.profile
        zero = X.new_full((X.shape[1],), profile.start_bias) if arm.bias else None
        if start is None:
            c = scale if profile.start_scale is None else profile.start_scale
            return c * torch.eye(X.shape[1], dtype=X.dtype, device=X.device), zero
        b = zero if start.bias is None or not arm.bias else torch.as_tensor(start.bias).to(X)
        return torch.as_tensor(start.weights).to(X), b

    def _identity(self, sampled: SampledObjective, data: FitData, arm: Arm) -> dict[str, Any]:
        """What identifies the fit of a checkpoint; hashed only where checkpoints are written."""
        if self.engine.checkpoints is None:
            return {}
        answers, weights = sampled.answers.given
        given = {"objects": sampled.answers.X, "answers": answers, "weights": weights, "local images": sampled.images}
        hashes = {
            name: array_sha256(part.cpu().numpy() if isinstance(part, Tensor) else part)
            for name, part in given.items()
            if part is not None
        }
        settings = {**dataclasses.asdict(arm), "seed": data.seed, "dtype": self.dtype}
        settings["profile"] = dataclasses.asdict(self.profile)
        return {"mean": data.scalars.mean, "std": data.scalars.std, "fit": settings, "data": hashes}


Solver = Exact | Loop
"""How an arm is minimised."""


def first_fold(data: FitData, local: LocalBlocks | None, folds: int, dtype: str) -> tuple[Part, Part]:
    """The fit without fold 0 of the objects and of the local images, and that fold."""
    try:
        trained, answers, rows = data.fold(0, folds)
    except DataError as error:
        raise DataError(f"the stopping rule watches a fold: {error} --profile modern watches what it fits.") from error
    if local is None:
        return (trained, None), (replace(data, triplets=answers), None)
    watched = replace(data, triplets=answers, images=np.sort(rows))
    fitted, judged = (part.read(dtype, data.local_blocks) for part in (trained, watched))
    return (trained, fitted), (watched, judged)


def given_fold(validation: Validation, data: FitData, local: LocalBlocks | None, dtype: str) -> tuple[Part, Part]:
    """The training data unchanged, and the user's validation set."""
    images = validation.local_features
    watched = replace(data, triplets=validation.triplets, local_features=images, images=None)
    if local is None:
        return (data, None), (watched, None)
    if images is None:
        raise DataError("the stopping rule watches a fold without local images; method glocal needs some there.")
    return (data, local), (watched, watched.read(dtype))


def watched_accuracy(Z: Float[np.ndarray, "n p"], triplets: Answers, ties: str) -> float:
    """Agreement of dot products with the watched answers under one of the two tie rules, unweighted."""
    S = of_pairs(Z, triplets, "dot")
    earned = credit(S, pair_tolerance(Z, "dot"))[0] if ties == "shared" else strict_credit(S)
    return float(earned.mean())


def strict_credit(S: Float[np.ndarray, "t k"]) -> Float[np.ndarray, " t"]:
    """1 where the chosen pair is the most probable and no two probabilities are equal, else 0.

    The tie rule of the authors' training metric: in float32, any two equal probabilities count as wrong, also those of
    the other pairs, and so do all of them where they agree to two decimals. A collapsed model scores 0.
    """
    S = S.astype(np.float32)
    exponentials = np.exp(S - S.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    rounded = p.round(2)
    distinct = (np.diff(np.sort(p, axis=1), axis=1) > 0).all(axis=1) & ~(rounded == rounded[:, :1]).all(axis=1)
    return (distinct & (p[:, 0] > p[:, 1:].max(axis=1))).astype(np.float64)
