"""Overfitting, seen and not guessed: a second fit without a fold of objects, scored on both sides."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from glocal.aligner.local import LocalBlocks
from glocal.aligner.outcome import solved
from glocal.aligner.settings import Settings
from glocal.data.features import Features
from glocal.data.triplets import Triplets
from glocal.errors import DataError, OverfitWarning
from glocal.evaluation.alignment import odd_one_out
from glocal.objective import Evaluation
from glocal.transform import LinearTransform


def check_parts(train: np.ndarray, heldout: np.ndarray, folds: int) -> None:
    """Raise the sentence for a split with an empty side, before anything is fitted."""
    for part, what in ((train, "outside"), (heldout, "inside")):
        if not part.any():
            raise DataError(
                f"no answer has its three objects {what} fold 0 of {folds}, so nothing can be held out. "
                "Use fewer folds, or more answers."
            )


def holdout_scores(
    features: Features,
    triplets: Triplets,
    train: np.ndarray,
    heldout: np.ndarray,
    folds: int,
    local: LocalBlocks | None,
    start: LinearTransform | None,
    settings: Settings,
    on_step: Callable[[int, Evaluation], None] | None = None,
) -> dict[str, Any]:
    """Fit on the objects outside fold 0 and score both sides: overfitting is seen, not guessed."""
    check_parts(train, heldout, folds)
    scalars = features.standardization
    outcome = solved(features, triplets.select(train), local, scalars, settings, start, on_step)
    X = scalars(features.matrix, "float64")
    Z = LinearTransform(outcome.W, outcome.b, 0.0, 1.0).apply(X)
    scores: dict[str, Any] = {"folds": folds, "seed": settings.seed, "converged": outcome.solution.converged}
    for name, part in (("fitted", train), ("heldout", heldout)):
        answers = triplets.select(part)
        cosine = odd_one_out(Z, answers)
        scores[name] = {
            "accuracy_cosine": cosine.accuracy,
            "low": cosine.low,
            "high": cosine.high,
            "accuracy_dot": odd_one_out(Z, answers, similarity="dot", interval=False).accuracy,
            "loss": cosine.loss,
            "n": cosine.n,
        }
        original = odd_one_out(X * outcome.scale, answers, interval=False)
        scores[name] |= {"original_accuracy_cosine": original.accuracy, "original_loss": original.loss}
    if scores["heldout"]["loss"] > scores["heldout"]["original_loss"]:
        warnings.warn(
            f"overfitting: held-out loss {scores['heldout']['loss']:.4f} is above "
            f"{scores['heldout']['original_loss']:.4f}, "
            f"that of scaled features without a transform (fitted loss {scores['fitted']['loss']:.4f}). Raise lmbda, "
            "unless a warning about the answers names another cause: mend that first.",
            OverfitWarning,
            stacklevel=3,
        )
    return scores
