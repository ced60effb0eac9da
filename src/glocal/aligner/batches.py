"""One arm by mini-batches: data, start and stopping rule as the profile says, on the original columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from glocal.aligner.local import LocalBlocks
from glocal.aligner.outcome import Outcome
from glocal.aligner.problem import named_objects, on_device, penalty_of
from glocal.aligner.settings import Settings
from glocal.aligner.validation import Validation, Watched, first_fold, given_fold, watched_accuracy
from glocal.data.features import Features, Standardization
from glocal.data.triplets import Triplets
from glocal.files import array_sha256
from glocal.objective import Evaluation, LocalLoss, Objective, Penalty, TripletLoss
from glocal.solver import best_scale
from glocal.solver.minibatch import SampledObjective, minimise_by_batches
from glocal.transform import LinearTransform


def fit_by_batches(
    features: Features,
    triplets: Triplets,
    local: LocalBlocks | None,
    scalars: Standardization,
    settings: Settings,
    start: LinearTransform | None,
    validation: Validation | None,
    on_step: Callable[[int, Evaluation], None] | None,
) -> Outcome:
    """Fit one arm by the paper's loop.

    The features keep their columns: SGD would not notice a rotation, Adam would. W is what the loop ends with, not made
    symmetric.
    """
    profile = settings.profile
    fitted, watched = Watched(triplets, local), None
    if validation is not None:
        fitted, watched = given_fold(validation, triplets, local, scalars, settings)
    elif profile.validation_folds is not None:
        fitted, watched = first_fold(triplets, local, profile.validation_folds, settings)
    loss = _loss(features, fitted.triplets, scalars, settings)
    penalty = penalty_of(settings.method, profile.squared, settings.mix)
    images: Tensor | None = None
    sizes: tuple[int, ...] = ()
    if fitted.local is not None:
        images = on_device(np.concatenate(fitted.local.blocks), settings.device)
        sizes = tuple(len(block) for block in fitted.local.blocks)
    sampled = SampledObjective(loss, penalty, settings.lmbda, images, sizes, settings.alpha, settings.tau)
    judge = None if watched is None else _judge(features, watched, scalars, settings, penalty)
    scale = best_scale(loss, penalty, settings.lmbda)
    solution = minimise_by_batches(
        sampled,
        _start(start, loss.X, scale, settings),
        profile.training(settings.method, settings.seed),
        watched=judge,
        engine=settings.engine,
        kept_with=_identity(sampled, scalars, settings),
        on_epoch=on_step,
    )
    W = solution.W.float().cpu().numpy()
    b = None if solution.b is None else solution.b.float().cpu().numpy()
    scores = None
    if watched is not None and judge is not None:
        Z = LinearTransform(W, b, scalars.mean, scalars.std).apply(np.asarray(features.matrix))
        parts = judge(solution.W, solution.b).parts
        accuracy = watched_accuracy(Z, watched.triplets, profile.ties)
        scores = {"n": len(watched.triplets), "accuracy_dot": accuracy, "ties": profile.ties, "parts": parts}
    embedded = loss.X @ solution.W
    return Outcome(
        W, b, solution, scale, "none: not converged", None, embedded,
        gathered=loss.gathered, n_fitted=None if watched is None else len(fitted.triplets), watched=scores,
    )  # fmt: skip


def _loss(features: Features, triplets: Triplets, scalars: Standardization, settings: Settings) -> TripletLoss:
    X, answers = named_objects(features, triplets, scalars, settings)
    return TripletLoss(X, answers)


def _judge(
    features: Features, watched: Watched, scalars: Standardization, settings: Settings, penalty: Penalty
) -> Objective:
    """What the stopping rule watches on its fold: weighted as the fit, or L_global + L_local."""
    loss = _loss(features, watched.triplets, scalars, settings)
    weighted = settings.profile.weighted_watch
    terms: list[tuple[float, Any]] = [(1.0, loss)]
    if watched.local is not None:
        blocks = [on_device(block, settings.device) for block in watched.local.blocks]
        alpha = settings.alpha
        terms = [(1 - alpha if weighted else 1.0, loss), (alpha if weighted else 1.0, LocalLoss(blocks, settings.tau))]
    return Objective((*terms, (settings.lmbda if weighted else 0.0, penalty)))


def _start(start: LinearTransform | None, X: Tensor, scale: float, settings: Settings) -> tuple[Tensor, Tensor | None]:
    profile = settings.profile
    zero = X.new_full((X.shape[1],), profile.start_bias) if settings.bias else None
    if start is None:
        c = scale if profile.start_scale is None else profile.start_scale
        return c * torch.eye(X.shape[1], dtype=X.dtype, device=X.device), zero
    b = zero if start.bias is None or not settings.bias else torch.as_tensor(start.bias).to(X)
    return torch.as_tensor(start.weights).to(X), b


def _identity(sampled: SampledObjective, scalars: Standardization, settings: Settings) -> dict[str, Any]:
    """What a checkpoint is of; hashed only where checkpoints are written."""
    if settings.engine.checkpoints is None:
        return {}
    given = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name != "engine"}
    given["profile"] = dataclasses.asdict(settings.profile)
    answers, weights = sampled.answers.given
    data = {"objects": sampled.answers.X, "answers": answers, "weights": weights, "local images": sampled.images}
    hashes = {
        name: array_sha256(part.cpu().numpy() if isinstance(part, Tensor) else part)
        for name, part in data.items()
        if part is not None
    }
    return {"mean": scalars.mean, "std": scalars.std, "fit": given, "data": hashes}
