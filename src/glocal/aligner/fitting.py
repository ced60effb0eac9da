"""The fit: check the data, solve the problem, and record the result; `cross_score` measures it."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from glocal._version import __version__
from glocal.aligner.arm import Arm
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.folds import Fold, fit_folds, fold_unit
from glocal.aligner.heldout import heldout_scores, scaled_identity
from glocal.aligner.keep import Keep
from glocal.aligner.paper import PaperLoop
from glocal.data.seen import sketch
from glocal.errors import (
    CollapseWarning,
    NotConvergedWarning,
    OverfitWarning,
    ParameterError,
)
from glocal.evaluation.axes import chance_level
from glocal.results import UNCHANGED, FitRecord, HeldOutScores, Provenance, SolverReport, to_json
from glocal.similarity import at_chance, one_point
from glocal.solver import Counter, OnStep
from glocal.transform import LinearTransform

Solver = Exact | PaperLoop
"""The solvers that can minimise an arm."""
DEFAULT_FOLDS = 3
MIN_MEASURED_ANSWERS = 30
"""With fewer answers nothing is held out by default, and agreement is not reported."""


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
    on_step: OnStep | None = None,
) -> Fit:
    """Learn a transform that agrees with the answers and keeps a share of the neighbours.

    The fit of an arm measures nothing: `cross_score` does. `Keep` records the scores on the folds
    by which it chose.

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
        The answers or the local features do not seem to belong to the features.
    NotConvergedWarning, CollapseWarning
        See `glocal.errors`.

    Examples
    --------
    >>> from glocal.aligner import Arm, FitData, fit
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=5000, n_local=100)
    >>> fit(FitData(world.objects, world.answers), Arm("global", lmbda=0.1)).record.status
    'converged'
    """
    what, solver = with_defaults(data, what, solver)
    _check(data, what)
    start_time = time.perf_counter()
    solution = _solve(data, what, solver, Counter(on_step))
    return _record_fit(data, solution, time.perf_counter() - start_time)


def cross_score(
    data: FitData,
    what: Arm | Keep | None = None,
    solver: Solver | None = None,
    folds: int | Sequence[Fold] = DEFAULT_FOLDS,
    *,
    transform: LinearTransform | None = None,
    on_step: OnStep | None = None,
) -> HeldOutScores:
    """Fit without each fold, and score these fits on what the folds hold out.

    Folds are of objects, or of questions if there are fewer than 5,000 answers, and of the local
    images. With a `Keep` each of these fits chooses anew, so that the choice is not part of the
    scores.

    Parameters
    ----------
    data, what, solver, on_step
        As in `fit`.
    folds : int or sequence of Fold
        The number of folds, at least 2, or the result of `FitData.folds`.
    transform : LinearTransform or None
        The fit to all data. The record then states how much an axis of it changes by the choice of
        the answers.

    Raises
    ------
    DataError, ParameterError, TrivialOptimumError
        As in `fit`; also if the data cannot be cut into so many folds.

    Warns
    -----
    OverfitWarning
        The held-out loss is above that of features that are only scaled.
    """
    what, solver = with_defaults(data, what, solver)
    _check(data, what)
    parts = fit_folds(data, folds) if isinstance(folds, int) else folds
    counter = Counter(on_step)
    solutions = [_solve(part.data, what, solver, counter) for part in parts]
    scored = [*map(_scored_fit, parts, solutions)]
    transforms = [transform for _, transform in scored]
    converged = all(solution.converged for solution in solutions)
    scores = heldout_scores(data, [fold for fold, _ in scored], transforms, converged=converged)
    is_unchanged = {solution.status for solution in solutions} == {UNCHANGED}
    if scores.loss > scores.original_loss and not is_unchanged:
        warnings.warn(
            f"overfitting: the held-out loss {scores.loss:.4f} is above "
            f"{scores.original_loss:.4f}, that of scaled features without a transform. Raise "
            "lmbda, or let it be chosen. If a warning about the answers names another cause, fix "
            "that first.",
            OverfitWarning,
            stacklevel=2,
        )
    if transform is None:
        return scores
    fractions = [len(part.data.answers) / len(data.answers) for part in parts]
    embeddings = [data.embedding(each) for each in transforms]
    level = chance_level(data.embedding(transform), embeddings, fractions)
    return scores.model_copy(update={"axes_chance": level})


def _scored_fit(fold: Fold, solution: Solution) -> tuple[Fold, LinearTransform]:
    """The fold, centred as its fit chose, and the transform of the fit.

    Features that stay as they are get the scale that fits the answers best.
    """
    data = fold.data
    if solution.keep is not None:
        data = replace(data, centre=float(solution.keep["centre"]))
    transform = solution.transform
    if solution.status == UNCHANGED:
        transform = scaled_identity(data, float(data.centre))
    return fold._replace(data=data), transform


def fit_and_score(
    data: FitData,
    what: Arm | Keep | None,
    solver: Solver | None,
    *,
    holdout: int | None = None,
    on_step: OnStep | None = None,
) -> Fit:
    """Fit, and record the scores of `cross_score` on so many folds.

    A `holdout` of 0 computes no scores. None is 3 for an arm that the exact solver fits to 30 to
    4,999 answers, else 0.
    """
    what, solver = with_defaults(data, what, solver)
    if holdout is None:
        is_quick = isinstance(what, Arm) and isinstance(solver, Exact)
        is_enough = round(data.answers.effective_size) >= MIN_MEASURED_ANSWERS
        is_small = fold_unit(data) == "questions"
        holdout = DEFAULT_FOLDS if is_quick and is_enough and is_small else 0
    if holdout < 0 or holdout == 1:
        raise ParameterError(
            f"`holdout` is {holdout}; it must be 0, for no scores, or 2 folds or more."
        )
    if not holdout:
        return fit(data, what, solver, on_step=on_step)
    folds = fit_folds(data, holdout)  # those that cannot be held out raise an error before any fit
    fitted = fit(data, what, solver, on_step=on_step)
    scores = cross_score(data, what, solver, folds, transform=fitted.transform, on_step=on_step)
    record = replace(fitted.record, heldout=scores)
    meta = {**fitted.transform.meta, "fit": json.loads(to_json(record))}
    return Fit(replace(fitted.transform, meta=meta), record)


def with_defaults(
    data: FitData, what: Arm | Keep | None, solver: Solver | None
) -> tuple[Arm | Keep, Solver]:
    """The arguments of a fit with their defaults; raises ParameterError for another `what`."""
    if not isinstance(data, FitData):
        raise ParameterError(
            f"`data` is a {type(data).__name__}; pass FitData(features, answers, local_features), "
            "or arrays to glocal.Aligner."
        )
    if not isinstance(what, Arm | Keep | None):
        raise ParameterError(
            f"`what` is {what!r}; pass an Arm, such as Arm('global', lmbda=1.0), or a Keep, such "
            "as Keep(0.9)."
        )
    solver = solver or Exact()
    if what is not None:
        return what, solver
    if isinstance(solver, Exact):
        return Keep(), solver
    return Arm.of({}, local=data.local_features is not None), solver


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


def _check(data: FitData, what: Arm | Keep) -> None:
    """Check all data once, before they are cut: each fold would repeat a warning."""
    if isinstance(what, Keep):
        what = Arm.of({}, local=data.local_features is not None)
    data.check(what)


def _solve(data: FitData, what: Arm | Keep, solver: Solver, counter: Counter) -> Solution:
    """Minimise an arm, or let `Keep` choose and fit a transform."""
    if isinstance(what, Keep):
        return what.solve(data, solver, counter)
    return solver.solve(data, what, counter)


def _record_fit(data: FitData, solution: Solution, seconds: float) -> Fit:
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
        **solution.transform.meta,
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
