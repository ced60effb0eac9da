"""A fit: check the data, solve the problem, hold a fold out, and record it all with warnings of what is wrong."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner.arm import Arm
from glocal.aligner.crossfit import neighbour_count
from glocal.aligner.data import FitData, Fold, joined
from glocal.aligner.exact import Exact, Solution, scaled_identity
from glocal.aligner.keep import Keep
from glocal.aligner.paper import PaperLoop
from glocal.data.answers import Answers
from glocal.data.seen import sketch
from glocal.errors import (
    CollapseWarning,
    DataWarning,
    NotConvergedWarning,
    OverfitWarning,
    ParameterError,
)
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.intervals import FRACTION
from glocal.evaluation.structure import kept_by_image
from glocal.results import FitRecord, Provenance, to_json
from glocal.similarity import at_chance, one_point
from glocal.solver import Counter, OnStep
from glocal.transform import LinearTransform, row_statistics

Solver = Exact | PaperLoop
"""How an arm is minimised."""
DEFAULT_FOLDS = 3
MIN_MEASURED_ANSWERS = 30
"""Held-out answers below which nothing is said about agreement."""
MIN_HELDOUT_ANSWERS = 170
"""Held-out answers below which a 95 % interval of a difference is wider than ±.05."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of how it came about (also in ``transform.meta``)."""

    transform: LinearTransform
    record: FitRecord


def fit(
    data: FitData,
    what: Arm | Keep | None = None,
    solver: Solver | None = None,
    *,
    holdout: int | None = None,
    on_step: OnStep | None = None,
) -> Fit:
    """Learn a transform: the one that agrees most with the answers and keeps a share of the neighbours, or one arm.

    Parameters
    ----------
    data : FitData
    what : Arm, Keep or None
        An objective with its parameters, or the share of each image's ten nearest neighbours to
        keep, from which method, α, λ and τ follow. None is ``Keep()``: 0.9 with local features;
        without any, λ of `global` is chosen on folds of questions, and the features stay as they
        are where nothing is to be gained. With the paper's loop None is ``Arm()``.
    solver : Exact, PaperLoop or None
        How; None is ``Exact()``.
    holdout : int or None
        K: also fit without fold 0 of K of the objects and of the local images, and score that fit
        on what it has not seen. With fewer than 5,000 answers, K folds of the questions are held
        out in turn instead. 0 holds nothing out. None is 3 for an arm with fewer than 5,000 answers
        and the exact solver, else 0.
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
        The answers or the local features do not look like those of these features, or the held-out
        answers are too few.
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
    if what is None:
        local = data.local_features is not None
        what = Keep() if isinstance(solver, Exact) else Arm(method="glocal" if local else "global")
    _check_types(data, what)
    folds = _holdout_folds(data, what, solver, holdout)
    # says what cannot be held out before any fit
    heldout_folds = _folds_to_score(data, folds) if folds else []
    began = time.perf_counter()
    counter = Counter(on_step)
    solution = _solve(data, what, solver, counter)
    seconds = time.perf_counter() - began
    scores = None
    if folds:
        solutions = [_solve(part.data, what, solver, counter) for part in heldout_folds]
        scores = _holdout_scores(data, heldout_folds, solutions, folds)
    return _recorded(data, solution, seconds, scores)


def _check_types(data: Any, what: Any) -> None:
    """Say what to pass in place of arrays and names."""
    if not isinstance(data, FitData):
        raise ParameterError(
            f"`data` is a {type(data).__name__}; pass FitData(Features(X), Answers.from_array(triplets)), or use "
            "glocal.Aligner, which takes arrays."
        )
    if not isinstance(what, Arm | Keep):
        raise ParameterError(
            f"`what` is {what!r}; pass an Arm, as Arm('global', lmbda=1.0), or a Keep, as Keep(0.9)."
        )


def _holdout_folds(data: FitData, what: Arm | Keep, solver: Solver, holdout: int | None) -> int:
    """How many folds, 0 for none."""
    if holdout is not None:
        if holdout < 0 or holdout == 1:
            raise ParameterError(
                f"`holdout` is {holdout}; allowed are 2 and more folds, and 0 for no hold-out."
            )
        return holdout
    few = data.fold_unit == "questions" and len(data.answers) >= MIN_MEASURED_ANSWERS
    return DEFAULT_FOLDS if few and isinstance(what, Arm) and isinstance(solver, Exact) else 0


def _folds_to_score(data: FitData, folds: int) -> list[Fold]:
    """All folds of questions, or fold 0 of the objects; a warning where these are too few answers."""
    if data.fold_unit == "questions":
        return [data.question_fold(k, folds) for k in range(folds)]
    fold = data.fold(0, folds)
    heldout = len(fold.answers)
    if heldout < MIN_HELDOUT_ANSWERS:
        needed = -(-MIN_HELDOUT_ANSWERS * len(data.answers) // heldout)
        warnings.warn(
            f"the hold-out has {heldout} answers, so that a gain is known to about ±{0.65 / heldout**0.5:.2f}; "
            f"{MIN_HELDOUT_ANSWERS} need about {needed:,} answers in all, or fewer folds than {folds}.",
            DataWarning,
            stacklevel=3,
        )
    return [fold]


def _solve(data: FitData, what: Arm | Keep, solver: Solver, counter: Counter) -> Solution:
    """The solution of an arm, or of what `Keep` chooses."""
    if isinstance(what, Keep):
        return what.solve(data, solver, counter)
    data.check(what)
    return solver.solve(data, what, counter)


def _holdout_scores(
    data: FitData, parts: list[Fold], solutions: list[Solution], folds: int
) -> dict[str, Any]:
    """The scores of fits without some folds on both sides of each: overfitting is seen."""
    raw = replace(data, centre=0.0)
    objects = np.asarray(data.features.matrix, dtype=np.float64)
    originals = [scaled_identity(replace(part.data, centre=0.0))(objects) for part in parts]
    embeddings = [solution.transform(objects) for solution in solutions]
    scores: dict[str, Any] = {
        "of": data.fold_unit,
        "folds": folds,
        "seed": data.seed,
        "converged": all(solution.converged for solution in solutions),
    }
    for name, answers in (
        ("fitted", [part.data.answers for part in parts]),
        ("heldout", [part.answers for part in parts]),
    ):
        scores[name] = _agreement(embeddings, originals, answers)
    kept: list[np.ndarray] = []
    for part, solution in zip(parts, solutions, strict=True):
        images = data.evaluation_rows(part.rows)
        k = neighbour_count(len(images))
        kept.append(kept_by_image(raw.scalars(images, "float64"), solution.transform(images), k))
        scores["heldout"] |= {"k": k, "n_images": len(images)}
    scores["heldout"]["neighbours_kept"] = float(np.concatenate(kept).mean())
    loss, before_loss = scores["heldout"]["loss"], scores["heldout"]["original_loss"]
    if loss > before_loss:
        warnings.warn(
            f"overfitting: the held-out loss {loss:.4f} is above {before_loss:.4f}, that of scaled features without a "
            f"transform (loss on the fitted answers {scores['fitted']['loss']:.4f}). Raise lmbda, or let it be chosen, "
            "unless a warning about the answers names another cause: fix that first.",
            OverfitWarning,
            stacklevel=3,
        )
    return scores


def _agreement(
    embeddings: list[np.ndarray], originals: list[np.ndarray], answers: list[Answers]
) -> dict[str, float | int | None]:
    """Agreement and loss of the transformed and the original objects of each fold, over the answers of all."""
    after = [
        odd_one_out(Z, part, interval=False) for Z, part in zip(embeddings, answers, strict=True)
    ]
    before = [
        odd_one_out(Z, part, interval=False) for Z, part in zip(originals, answers, strict=True)
    ]
    pooled = joined(answers)
    share = [part.total_weight for part in answers]
    units = replace(
        after[0].units,
        **_units_of(pooled),
        values=np.concatenate([score.units.values for score in after]),
    )
    original_units = replace(units, values=np.concatenate([score.units.values for score in before]))
    estimate, original, gain = (
        units.estimate(),
        original_units.estimate(),
        units.less(original_units),
    )
    low, high = estimate.interval(FRACTION)
    gain_low, gain_high = gain.interval((-1.0, 1.0))
    return {
        "accuracy_cosine": estimate.mean,
        "low": low,
        "high": high,
        "loss": float(np.average([score.loss for score in after], weights=share)),
        "n": len(pooled),
        "original_accuracy_cosine": original.mean,
        "original_loss": float(np.average([score.loss for score in before], weights=share)),
        "gain": gain.mean,
        "gain_error": gain.error,
        "gain_low": gain_low,
        "gain_high": gain_high,
    }


def _units_of(answers: Answers) -> dict[str, Any]:
    """What the scores of answers share."""
    return {"answers": answers.objects, "weights": answers.weights, "clusters": answers.person}


def _recorded(
    data: FitData, solution: Solution, seconds: float, holdout: dict[str, Any] | None = None
) -> Fit:
    """The fit that a solution makes, after warnings of what its record shows."""
    arm = solution.arm
    local = data.local_features is not None and (arm.local or "keep" in solution.details)
    images = [len(block) for block in data.blocks] if local else []
    record = FitRecord(**{
        **arm.settings, "objective": solution.objective, "parts": solution.parts, "converged": solution.converged,
        "status": solution.status, "reason": solution.reason, "gap": solution.gap, "certificate": solution.certificate,
        "evaluations": solution.evaluations, "seconds": seconds,
        "n_answers": len(data.answers), "n_dropped": data.n_dropped, "n_objects": len(data.answers.named()),
        "n_local": sum(images), "n_local_blocks": len(images) if local else None,
        "block_size": data.block_size if local else None, "holdout": holdout,
        "provenance": Provenance(__version__, data.hashes(local=local), data.seed, threads=solution.threads),
        **solution.details,
    })  # fmt: skip
    if not record.converged:
        warnings.warn(
            f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=3
        )
    chance, loss = data.answers.chance_loss, record.parts["global"]
    named = np.asarray(data.features.matrix[data.answers.named()], dtype=np.float64)
    if at_chance(loss, chance) or one_point(solution.transform(named)):
        warnings.warn(
            f"collapse: the global loss {loss:.6f} is that of chance ({chance:.6f}), or all objects are mapped to one "
            "point. Lower `lmbda`, or check that the answers and the features belong together.",
            CollapseWarning,
            stacklevel=3,
        )
    meta: dict[str, Any] = {
        "fit": json.loads(to_json(record)),
        "rows": row_statistics(data.features),
        "fitted": sketch(data.features, data.answers),
    }
    if data.features.network:
        meta["source"] = data.features.network
    return Fit(replace(solution.transform, meta=meta), record)
