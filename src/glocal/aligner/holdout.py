"""Overfitting, seen and not guessed: a second fit without a fold of objects, scored on both sides."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, LocalBlocks
from glocal.aligner.exact import OnStep
from glocal.aligner.loop import Solver
from glocal.data.splits import split_triplets
from glocal.errors import DataError, OverfitWarning
from glocal.evaluation.alignment import odd_one_out
from glocal.transform import LinearTransform

Mask = Bool[np.ndarray, " t"]


def holdout_parts(data: FitData, folds: int) -> tuple[Mask, Mask]:
    """Which answers lie outside object fold 0, and which inside; a DataError where one side has none."""
    parts = split_triplets(data.triplets, len(data.features), folds=folds, seed=data.seed)
    for part, what in zip(parts, ("outside", "inside"), strict=True):
        if not part.any():
            raise DataError(
                f"no answer has its three objects {what} fold 0 of {folds}, so nothing can be held out. "
                "Use fewer folds, or more answers."
            )
    return parts


def holdout_scores(
    data: FitData,
    folds: int,
    arm: Arm,
    solver: Solver,
    local: LocalBlocks | None,
    start: LinearTransform | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Fit on the objects outside fold 0 and score both sides: overfitting is seen, not guessed."""
    parts = holdout_parts(data, folds)
    outcome = solver.solve(replace(data, triplets=data.triplets.select(parts[0])), arm, local, start, on_step)
    X = data.scalars(data.features.matrix, "float64")
    Z = outcome.transform.apply(X)
    scores: dict[str, Any] = {"folds": folds, "seed": data.seed, "converged": outcome.solution.converged}
    for name, part in zip(("fitted", "heldout"), parts, strict=True):
        answers = data.triplets.select(part)
        cosine = odd_one_out(Z, answers)
        original = odd_one_out(X * outcome.scale, answers, interval=False)
        scores[name] = {
            "accuracy_cosine": cosine.accuracy,
            "low": cosine.low,
            "high": cosine.high,
            "accuracy_dot": odd_one_out(Z, answers, similarity="dot", interval=False).accuracy,
            "loss": cosine.loss,
            "n": cosine.n,
            "original_accuracy_cosine": original.accuracy,
            "original_loss": original.loss,
        }
    heldout = scores["heldout"]
    if heldout["loss"] > heldout["original_loss"]:
        warnings.warn(
            f"overfitting: held-out loss {heldout['loss']:.4f} is above {heldout['original_loss']:.4f}, "
            f"that of scaled features without a transform (fitted loss {scores['fitted']['loss']:.4f}). Raise lmbda, "
            "unless a warning about the answers names another cause: mend that first.",
            OverfitWarning,
            stacklevel=3,
        )
    return scores
