"""A fit: check the data, solve the problem, hold a fold out, and record it all with warnings of what is wrong."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner.arm import Arm
from glocal.aligner.data import NEIGHBOURS, FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.keep import DEFAULT_KEEP, Keep, dial
from glocal.aligner.paper import PaperLoop
from glocal.errors import CollapseWarning, NotConvergedWarning, OverfitWarning, ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.results import FitRecord, Provenance, to_json
from glocal.similarity import at_chance, one_point
from glocal.solver import OnStep
from glocal.solver.naive import counted_on
from glocal.transform import LinearTransform, row_statistics

Solver = Exact | PaperLoop
"""How an arm is minimised."""
Learner = Callable[[FitData, OnStep | None], Solution]
"""A fit of data, or of a part of them."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of how it came about (also in ``transform.meta``)."""

    transform: LinearTransform
    record: FitRecord


def fit(
    data: FitData,
    arm: Arm | None = None,
    solver: Solver | None = None,
    *,
    keep: float | None = None,
    holdout: int | None = None,
    on_step: OnStep | None = None,
) -> Fit:
    """Learn a transform: the one that agrees most with the answers and keeps a share of the neighbours, or one arm.

    Parameters
    ----------
    data : FitData
    arm : Arm or None
        What is minimised. None leaves that to `keep`.
    solver : Exact, PaperLoop or None
        How; None is ``Exact()``.
    keep : float or None
        The share of each image's ten nearest neighbours that must stay, above 0 to 1: method, α, λ and τ follow from it
        (`glocal.aligner.keep.dial`). With local features and no arm None is 0.9. Without local features None is the arm
        ``Arm("global")``, since neighbours could be counted among the objects alone; a `keep` that is given is about
        those.
    holdout : int or None
        K: also fit without fold 0 of K of the objects and of the local images, and score that fit on what it has not
        seen.
    on_step : function or None
        Progress: (evaluations, evaluation) after each step, counted on through all fits.

    Raises
    ------
    DataError, ParameterError
    TrivialOptimumError
        `naive`, or a mix below 1, with lmbda at or above λ_max: the optimum is W = 0.

    Warns
    -----
    DataWarning
        The answers or the local features do not look like those of these features.
    NotConvergedWarning, CollapseWarning, OverfitWarning

    Examples
    --------
    >>> from glocal.aligner import Arm, FitData, fit
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=5000, n_local=100)
    >>> fit(FitData(world.objects, world.answers), Arm("global", lmbda=0.1)).record.status
    'converged'
    """
    solver = Exact() if solver is None else solver
    learn = _learner(data, arm, solver, keep)
    if holdout is not None:
        data.fold(0, holdout)  # says what cannot be held out before anything is fitted
    began = time.perf_counter()
    found = learn(data, on_step)
    seconds = time.perf_counter() - began
    scores = None if holdout is None else _holdout(data, holdout, learn, counted_on(on_step, found.evaluations))
    return _recorded(data, found, seconds, scores)


def _learner(data: FitData, arm: Arm | None, solver: Solver, keep: float | None) -> Learner:
    """The fit by `keep` or by an arm, after what cannot be fitted has been refused."""
    if arm is None and keep is None:
        if data.local_features is not None and isinstance(solver, Exact):
            keep = DEFAULT_KEEP
        else:
            arm = Arm(method="global" if data.local_features is None else "glocal")
    if keep is None and arm is not None:
        data.check(arm)
        return lambda part, on_step: solver.solve(part, arm, on_step)
    if keep is None or arm is not None or not isinstance(solver, Exact):
        raise ParameterError(
            f"`keep={keep}` chooses method, alpha, lmbda, tau and mix, and fits with the exact solver: give `keep` "
            "alone, or leave it out."
        )
    Keep(keep=keep)
    return lambda part, on_step: dial(part, solver, on_step=on_step).solve(keep, on_step)


def _holdout(data: FitData, folds: int, learn: Learner, on_step: OnStep | None) -> dict[str, Any]:
    """Fit without fold 0 of the objects and of the local images, and score both sides: overfitting is seen."""
    fitted, heldout, rows = data.fold(0, folds)
    found = learn(fitted, on_step)
    objects, original = np.asarray(data.features.matrix, dtype=np.float64), fitted.original()
    scores: dict[str, Any] = {"folds": folds, "seed": data.seed, "converged": found.converged}
    for name, answers in (("fitted", fitted.answers), ("heldout", heldout)):
        cosine = odd_one_out(found.transform(objects), answers)
        before = odd_one_out(original(objects), answers, interval=False)
        scores[name] = {
            "accuracy_cosine": cosine.accuracy, "low": cosine.low, "high": cosine.high,
            "loss": cosine.loss, "n": cosine.n,
            "original_accuracy_cosine": before.accuracy, "original_loss": before.loss,
        }  # fmt: skip
    images = data.judged_rows(rows)
    k = min(NEIGHBOURS, len(images) - 1)
    kept = neighbours_kept(original(images), found.transform(images), k)
    scores["heldout"] |= {"neighbours_kept": kept, "k": k, "n_images": len(images)}
    loss, before_loss = scores["heldout"]["loss"], scores["heldout"]["original_loss"]
    if loss > before_loss:
        warnings.warn(
            f"overfitting: the held-out loss {loss:.4f} is above {before_loss:.4f}, that of scaled features without a "
            f"transform (loss on the fitted answers {scores['fitted']['loss']:.4f}). Raise `lmbda`, unless a warning "
            "about the answers names another cause: fix that first.",
            OverfitWarning,
            stacklevel=3,
        )
    return scores


def _recorded(data: FitData, found: Solution, seconds: float, holdout: dict[str, Any] | None = None) -> Fit:
    """The fit that a solution makes, after warnings of what its record shows."""
    arm = found.arm
    local = data.local_features is not None and (arm.local or "keep" in found.told)
    images = [len(block) for block in data.blocks] if local else []
    record = FitRecord(**{
        **arm.settings, "objective": found.objective, "parts": found.parts, "converged": found.converged,
        "status": found.status, "reason": found.reason, "gap": found.gap, "certificate": found.certificate,
        "evaluations": found.evaluations, "seconds": seconds,
        "n_answers": len(data.answers), "n_dropped": data.n_dropped, "n_objects": len(data.answers.named()),
        "n_local": sum(images), "n_local_blocks": len(images) if local else None,
        "block_size": data.block_size if local else None, "holdout": holdout,
        "provenance": Provenance(__version__, data.hashes(local=local), data.seed, threads=found.threads),
        **found.told,
    })  # fmt: skip
    if not record.converged:
        warnings.warn(f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=3)
    chance, loss = data.answers.chance_loss, record.parts["global"]
    named = np.asarray(data.features.matrix[data.answers.named()], dtype=np.float64)
    if at_chance(loss, chance) or one_point(found.transform(named)):
        warnings.warn(
            f"collapse: the global loss {loss:.6f} is that of chance ({chance:.6f}), or all objects are mapped to one "
            "point. Lower `lmbda`, or check that the answers and the features belong together.",
            CollapseWarning,
            stacklevel=3,
        )
    meta: dict[str, Any] = {"fit": json.loads(to_json(record)), "rows": row_statistics(data.features)}
    if data.features.network:
        meta["source"] = data.features.network
    return Fit(replace(found.transform, meta=meta), record)
