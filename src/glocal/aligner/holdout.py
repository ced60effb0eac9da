"""Overfitting, seen and not guessed: a second fit without a fold of objects, scored on both sides."""

from __future__ import annotations

import warnings
from typing import Any

from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import OnStep
from glocal.aligner.loop import Solver
from glocal.errors import OverfitWarning
from glocal.evaluation.alignment import odd_one_out
from glocal.transform import LinearTransform


def holdout_scores(
    data: FitData,
    folds: int,
    arm: Arm,
    solver: Solver,
    start: LinearTransform | None = None,
    on_step: OnStep | None = None,
) -> dict[str, Any]:
    """Fit without fold 0 of the objects and of the local images, and score both sides."""
    fitted, heldout, _ = data.fold(0, folds)
    local = fitted.read(solver.dtype, data.local_blocks or solver.most_blocks) if arm.local else None
    outcome = solver.solve(fitted, arm, local, start, on_step)
    X = data.scalars(data.features.matrix, "float64")
    Z = outcome.transform.apply(X)
    scores: dict[str, Any] = {"folds": folds, "seed": data.seed, "converged": outcome.solution.converged}
    for name, answers in (("fitted", fitted.triplets), ("heldout", heldout)):
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
    loss, original_loss = scores["heldout"]["loss"], scores["heldout"]["original_loss"]
    if loss > original_loss:
        warnings.warn(
            f"overfitting: held-out loss {loss:.4f} is above {original_loss:.4f}, "
            f"that of scaled features without a transform (fitted loss {scores['fitted']['loss']:.4f}). Raise lmbda, "
            "unless a warning about the answers names another cause: mend that first.",
            OverfitWarning,
            stacklevel=3,
        )
    return scores
