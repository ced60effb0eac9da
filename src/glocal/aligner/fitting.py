"""The fit: check the data, solve the problem, score held-out folds, and record the result."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData, Fold, neighbour_count, pooled_answers
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
from glocal.evaluation.agreement import credit_units, odd_one_out
from glocal.evaluation.change import chance_level
from glocal.evaluation.intervals import FRACTION, Units
from glocal.evaluation.structure import kept_by_image
from glocal.results import UNCHANGED, FitRecord, Provenance, SolverReport, to_json
from glocal.similarity import at_chance, one_point
from glocal.solver import Counter, OnStep
from glocal.transform import LinearTransform, row_statistics

Solver = Exact | PaperLoop
"""The solvers that can minimise an arm."""
DEFAULT_FOLDS = 3
MIN_MEASURED_ANSWERS = 30
"""With fewer answers nothing is held out by default, and agreement is not reported."""
MIN_HELDOUT_ANSWERS = 170
"""With fewer held-out answers a 95 % interval of a difference is wider than ±.05."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of its fit, which is also in ``transform.meta``."""

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
    """Learn a transform that agrees with the answers and keeps a share of the neighbours.

    Parameters
    ----------
    data : FitData
    what : Arm, Keep or None
        An objective with its parameters, or the share of each image's ten nearest neighbours to
        keep: method, α, λ and τ are then chosen for you. None is ``Keep()``. With local features it
        keeps 0.9 of the neighbours. Without any, it chooses λ of `global` on folds of questions,
        and returns the original features if there is nothing to gain. With the paper's loop None is
        the default arm, `glocal` with local features and `global` without.
    solver : Exact, PaperLoop or None
        The solver; None is ``Exact()``.
    holdout : int or None
        The number of folds K. A second fit leaves out fold 0 of K folds of the objects and of the
        local images, and is scored on this fold. With fewer than 5,000 answers, each of K folds of
        the questions is held out in turn instead. 0 holds nothing out. None is 3 for an arm that
        the exact solver fits to 30 to 4,999 answers, else 0.
    on_step : function or None
        Called with (evaluations, evaluation) after each step, to report progress. `evaluations` is
        the number over all fits so far.

    Raises
    ------
    DataError, ParameterError
        The data cannot be fitted, or the arguments do not match the data or each other.
    TrivialOptimumError
        lmbda is at or above λ_max for `naive` or a mix below 1: the optimum is W = 0.

    Warns
    -----
    DataWarning
        The answers or the local features do not seem to belong to the features, or the held-out
        answers are too few.
    NotConvergedWarning, CollapseWarning, OverfitWarning
        See `glocal.errors`.

    Examples
    --------
    >>> from glocal.aligner import Arm, FitData, fit
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=5000, n_local=100)
    >>> fit(FitData(world.objects, world.answers), Arm("global", lmbda=0.1)).record.status
    'converged'
    """
    if not isinstance(data, FitData):
        raise ParameterError(
            f"`data` is a {type(data).__name__}; pass FitData(Features(X), "
            "Answers.from_array(triplets)), or use glocal.Aligner, which takes arrays."
        )
    if not isinstance(what, Arm | Keep | None):
        raise ParameterError(
            f"`what` is {what!r}; pass an Arm, such as Arm('global', lmbda=1.0), or a Keep, such "
            "as Keep(0.9)."
        )
    solver = solver or Exact()
    if what is None and isinstance(solver, Exact):
        what = Keep()
    elif what is None:
        what = Arm.of({}, local=data.local_features is not None)
    # folds that cannot be held out raise an error before any fit
    parts = _heldout_parts(data, what, solver, holdout)
    start_time = time.perf_counter()
    counter = Counter(on_step)
    solution = _solve(data, what, solver, counter)
    seconds = time.perf_counter() - start_time
    scores = None
    if parts:
        solutions = [_solve(part.data, what, solver, counter) for part in parts]
        scores = _holdout_scores(data, solution, parts, solutions, holdout or DEFAULT_FOLDS)
    return _record_fit(data, solution, seconds, scores)


def arm_or_keep(
    keep: float | None, settings: Mapping[str, Any], *, local: bool
) -> Arm | Keep | None:
    """Build the arm of some settings, or the `Keep` of a share of neighbours.

    A setting that is None is not set. The result is None if nothing is set. Raises ParameterError
    if both `keep` and a setting are given.
    """
    names = [name for name in Arm.model_fields if settings.get(name) is not None]
    if keep is None:
        return Arm.of(settings, local=local) if names else None
    if names:
        raise ParameterError(
            f"`keep={keep}` chooses the method and its parameters, but `{names[0]}` is given "
            "too. Give one of them."
        )
    return Keep(keep=keep)


def _heldout_parts(
    data: FitData, what: Arm | Keep, solver: Solver, holdout: int | None
) -> list[Fold]:
    """All folds of questions, or fold 0 of the objects; an empty list if nothing is held out."""
    n_answers = round(data.answers.effective_size)
    is_small_study = data.fold_unit == "questions" and n_answers >= MIN_MEASURED_ANSWERS
    is_quick = isinstance(what, Arm) and isinstance(solver, Exact)
    if holdout is None:
        holdout = DEFAULT_FOLDS if is_small_study and is_quick else 0
    if holdout < 0 or holdout == 1:
        raise ParameterError(
            f"`holdout` is {holdout}; allowed are 2 or more folds, and 0 for no hold-out."
        )
    if not holdout:
        return []
    if data.fold_unit == "questions":
        return data.folds(holdout)
    fold = data.fold(0, holdout)
    n_heldout = round(fold.answers.effective_size)
    if n_heldout < MIN_HELDOUT_ANSWERS:
        n_needed = -(-MIN_HELDOUT_ANSWERS * n_answers // n_heldout)
        warnings.warn(
            f"the hold-out has only {n_heldout} answers, so that a gain is known to about "
            f"±{0.65 / n_heldout**0.5:.2f}. A hold-out of {MIN_HELDOUT_ANSWERS} answers needs "
            f"about {n_needed:,} answers in all, or fewer folds than {holdout}.",
            DataWarning,
            stacklevel=3,
        )
    return [fold]


def _solve(data: FitData, what: Arm | Keep, solver: Solver, counter: Counter) -> Solution:
    """Minimise an arm, or let `Keep` choose and fit a transform."""
    if isinstance(what, Keep):
        return what.solve(data, solver, counter)
    data.check(what)
    return solver.solve(data, what, counter)


def _holdout_scores(
    data: FitData, solution: Solution, parts: list[Fold], solutions: list[Solution], folds: int
) -> dict[str, Any]:
    """Score each fit on its fitted and on its held-out answers, and warn if the fits overfit."""
    embeddings = [
        data.embedding(_scaled(part.data, fit)) for part, fit in zip(parts, solutions, strict=True)
    ]
    originals = [data.embedding(scaled_identity(part.data)) for part in parts]
    fitted = [part.data.answers for part in parts]
    fitted_scores = _agreement(embeddings, originals, fitted)
    scores = _agreement(embeddings, originals, [part.answers for part in parts])
    scores |= _kept(data, parts, solutions)
    if scores["loss"] > scores["original_loss"]:
        warnings.warn(
            f"overfitting: the held-out loss {scores['loss']:.4f} is above "
            f"{scores['original_loss']:.4f}, that of scaled features without a transform (the loss "
            f"on the fitted answers is {fitted_scores['loss']:.4f}). Raise lmbda, or let it be "
            "chosen. If a warning about the answers names another cause, fix that first.",
            OverfitWarning,
            stacklevel=3,
        )
    fractions = [len(answers) / len(data.answers) for answers in fitted]
    return {
        "of": data.fold_unit,
        "folds": folds,
        "seed": data.seed,
        "converged": all(fit.converged for fit in solutions),
        "fitted": fitted_scores,
        "heldout": scores,
        # the change of an axis that the choice of the answers alone explains
        "axes_chance": chance_level(data.embedding(solution.transform), embeddings, fractions),
    }


def _scaled(data: FitData, solution: Solution) -> LinearTransform:
    """The transform of a fit; if it changes nothing, at the scale that fits the answers best."""
    if solution.status == UNCHANGED and solution.keep is not None:
        return scaled_identity(data, solution.keep["centre"])
    return solution.transform


def _kept(data: FitData, parts: list[Fold], solutions: list[Solution]) -> dict[str, Any]:
    """The shares of the centred and of the raw neighbours that the held-out images keep."""
    k = neighbour_count(parts)
    shares = []
    raw_shares = []
    for part, solution in zip(parts, solutions, strict=True):
        images = data.evaluation_rows(part.rows)
        Z = solution.transform.map_rows(images)
        centre = data.centre if solution.keep is None else solution.keep["centre"]
        X = replace(data, centre=centre).scalars(images, "float64")
        shares.append(kept_by_image(X, Z, k))
        raw_shares.append(shares[-1])
        if centre:
            raw_shares[-1] = kept_by_image(data.features.standardization(images, "float64"), Z, k)
    return {
        "neighbours_kept": float(np.concatenate(shares).mean()),
        "kept_raw": float(np.concatenate(raw_shares).mean()),
        "k": k,
        "n_images": round(float(np.mean([len(each) for each in shares]))),
    }


def _agreement(
    embeddings: list[np.ndarray], originals: list[np.ndarray], answers: list[Answers]
) -> dict[str, Any]:
    """Agreement and loss of transformed and original objects, over the answers of all folds."""
    units, loss = _pooled_score(embeddings, answers)
    original_units, original_loss = _pooled_score(originals, answers)
    agreement = units.estimate()
    gain = units.minus(original_units)
    low, high = agreement.interval(FRACTION)
    gain_low, gain_high = gain.interval((-1.0, 1.0))
    return {
        "accuracy_cosine": agreement.mean,
        "low": low,
        "high": high,
        "loss": loss,
        "n": len(units.values),
        "original_accuracy_cosine": original_units.estimate().mean,
        "original_loss": original_loss,
        "gain": gain.mean,
        "gain_error": gain.error,
        "gain_low": gain_low,
        "gain_high": gain_high,
    }


def _pooled_score(embeddings: list[np.ndarray], answers: list[Answers]) -> tuple[Units, float]:
    """The credit of all answers, each under the embedding of its fold, and their mean loss."""
    scores = [
        odd_one_out(Z, part, interval=False) for Z, part in zip(embeddings, answers, strict=True)
    ]
    units = credit_units(
        np.concatenate([score.units.values for score in scores]), pooled_answers(answers)
    )
    weights = [part.total_weight for part in answers]
    return units, float(np.average([score.loss for score in scores], weights=weights))


def _record_fit(
    data: FitData, solution: Solution, seconds: float, holdout: dict[str, Any] | None
) -> Fit:
    """Record the fit of a solution, and warn of problems that the record shows."""
    reads_local = solution.keep is not None or (solution.arm is not None and solution.arm.local)
    local = data.local_features is not None and reads_local
    block_sizes = [len(block) for block in data.blocks] if local else []
    report = {entry.name: getattr(solution, entry.name) for entry in fields(SolverReport)}
    record = FitRecord(
        **solution.settings,
        **report,
        converged=solution.converged,
        seconds=seconds,
        n_answers=len(data.answers),
        n_dropped=data.n_dropped,
        n_objects=len(data.answers.named_objects()),
        n_local=sum(block_sizes),
        n_local_blocks=len(block_sizes) if local else None,
        block_size=data.block_size if local else None,
        holdout=holdout,
        n_people=data.answers.n_people,
        chance=data.answers.chance,
        provenance=Provenance(
            __version__, data.hashes(local=local), data.seed, threads=solution.threads
        ),
    )
    if not record.converged:
        warnings.warn(
            f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=3
        )
    if solution.keep is None and solution.parts is not None:
        _warn_of_collapse(data, solution.transform, solution.parts["global"])
    meta: dict[str, Any] = {
        "fit": json.loads(to_json(record)),
        "rows": row_statistics(data.features, solution.transform.std),
        "fitted": sketch(data.features, data.answers),
    }
    if data.features.network:
        meta["source"] = data.features.network
    return Fit(replace(solution.transform, meta=meta), record)


def _warn_of_collapse(data: FitData, transform: LinearTransform, loss: float) -> None:
    chance = data.answers.chance_loss
    X = np.asarray(data.features.matrix[data.answers.named_objects()], dtype=np.float64)
    if at_chance(loss, chance) or one_point(transform.map_rows(X)):
        warnings.warn(
            f"collapse: the global loss {loss:.6f} is that of chance ({chance:.6f}), or all "
            "objects are mapped to one point. Lower `lmbda`, or check that the answers and the "
            "features belong together.",
            CollapseWarning,
            stacklevel=4,
        )
