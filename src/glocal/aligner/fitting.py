"""The fit: check the data, solve the problem, and record the result; `cross_score` measures it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from glocal._version import __version__
from glocal.advice import Subject, advise
from glocal.aligner.data import SCALAR, Centre, FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.folds import Fold, fit_folds, fold_unit
from glocal.aligner.heldout import FoldScorer, scaled_identity
from glocal.aligner.keep import Keep, curve_at
from glocal.aligner.paper import PaperLoop
from glocal.aligner.search import NO_TRANSFORM
from glocal.aligner.settings import ObjectiveSettings
from glocal.data.seen import sketch
from glocal.errors import CollapseWarning, NotConvergedWarning, OverfitWarning, ParameterError, warn
from glocal.evaluation.axes import chance_level
from glocal.results import FitRecord, HeldOutScores, Provenance, SolverReport
from glocal.scores import MIN_MEASURED_ANSWERS
from glocal.screen import Printable
from glocal.similarity import one_point
from glocal.solver import Counter, OnStep
from glocal.transform import LinearTransform
from glocal.transform.record import Source

_LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    import pandas as pd

Solver = Exact | PaperLoop
"""The solvers of a fit."""
DEFAULT_FOLDS = 3
_CHANCE_SLACK = 1e-6  # nats


@dataclass(frozen=True, eq=False, repr=False)
class Fit(Printable):
    """A fitted transform and the record of its fit, which is also in ``transform.record``."""

    transform: LinearTransform
    record: FitRecord

    def summary(self) -> str:
        """Say what the transform does to held-out answers and images, and what was fitted."""
        record = self.record
        if record.heldout is None:
            return record.summary()
        advice = advise(Subject.from_fit(record))
        return f"{advice.sentence} {record.summary()}"

    def with_heldout(self, scores: HeldOutScores | None) -> Fit:
        """The fit with the scores of fits without its folds in its record."""
        record = self.record.model_copy(update={"heldout": scores})
        whole = self.transform.record.model_copy(update={"fit": record})
        transform = replace(self.transform, record=whole)
        return Fit(transform, record)

    def table(self) -> pd.DataFrame:
        """Return the record, one field a row."""
        return self.record.table()


def at_chance(loss: float, chance: float) -> bool:
    """Whether a loss on the fitted answers, in nats, is no lower than the loss of guessing."""
    threshold = chance - _CHANCE_SLACK
    return loss >= threshold


def fit(
    data: FitData,
    what: ObjectiveSettings | Keep | None = None,
    solver: Solver | None = None,
    *,
    on_step: OnStep | None = None,
) -> Fit:
    """Learn a transform that agrees with the answers and keeps a share of the neighbours.

    A fit of given settings measures nothing: `cross_score` does. `Keep` records the scores on the
    folds by which it chose.

    Parameters
    ----------
    data : FitData
    what : ObjectiveSettings, Keep or None
        An objective with its parameters, or the share of each image's ten nearest neighbours to
        keep: method, α, λ and τ are then chosen for you. None is ``Keep()``. With local features it
        keeps 0.9 of the neighbours. Without any, it chooses λ of `global` on folds of questions,
        and returns the original features if there is nothing to gain. With the paper's loop None is
        the default method, `glocal` with local features and `global` without.
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
    >>> from glocal.aligner import ObjectiveSettings, FitData, fit
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_answers=5000, n_local=100)
    >>> settings = ObjectiveSettings("global", lmbda=0.1)
    >>> fit(FitData(world.objects, world.answers), settings).record.status
    'converged'
    """
    plan = fit_plan(data, what, solver)
    return _fit(plan, on_step)


def cross_score(
    data: FitData,
    what: ObjectiveSettings | Keep | None = None,
    solver: Solver | None = None,
    folds: int | np.integer = DEFAULT_FOLDS,
    *,
    transform: LinearTransform | None = None,
    on_step: OnStep | None = None,
) -> HeldOutScores:
    """Fit without each fold, and score these fits on what the folds hold out.

    Folds are of objects, or of questions if there are fewer than 5,000 answers, and of the local
    images. With a `Keep` each of these fits chooses anew, so that the choice does not flatter the
    scores.

    Parameters
    ----------
    data, what, solver, on_step
        As in `fit`.
    folds : int
        The number of folds, at least 2.
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
        Features that are only scaled have a lower held-out loss.
    """
    plan = fit_plan(data, what, solver)
    parts = fit_folds(data, int(folds))
    return _cross_score(plan, parts, transform, on_step)


class FitPlan(NamedTuple):
    """What is fitted to which data, and by which solver: nothing is left to a default."""

    data: FitData
    what: ObjectiveSettings | Keep
    solver: Solver

    def solve(self, data: FitData, counter: Counter) -> Solution:
        """Fit to the data of the plan or to a part of them."""
        if isinstance(self.what, Keep):
            return self.what.solve(data, self.solver, counter)
        if self.what.lmbda is not None:
            return self.solver.solve(data, self.what, counter)
        curve = curve_at(data, Exact(), None, counter)
        if curve.penalty == NO_TRANSFORM:
            solution = curve.solve(None, counter)
            return solution.with_report(solver=self.solver.name, dtype=self.solver.dtype)
        settings = self.what.replace(lmbda=curve.penalty)
        solution = self.solver.solve(data, settings, counter)
        reason = f"{solution.report.reason}; lmbda was chosen on held-out questions"
        return solution.with_report(reason=reason)


def fit_plan(
    data: FitData, what: ObjectiveSettings | Keep | None, solver: Solver | None
) -> FitPlan:
    """Fill in the defaults of a fit, and check its data, before they are cut into folds.

    It raises and warns as `fit` does.
    """
    if not isinstance(data, FitData):
        raise ParameterError(
            f"`data` is a {type(data).__name__}; pass FitData(features, answers, local_features), "
            "or arrays to glocal.Aligner."
        )
    if not isinstance(what, ObjectiveSettings | Keep | None):
        raise ParameterError(
            f"`what` is {what!r}; pass ObjectiveSettings, such as ObjectiveSettings('global', "
            "lmbda=1.0), or a Keep, such as Keep(0.9)."
        )
    if not isinstance(solver, Exact | PaperLoop | None):
        raise ParameterError(
            f"`solver` is {solver!r}; pass glocal.Exact(…), glocal.PaperLoop(…), or None."
        )
    solver = solver or Exact()
    data = with_centre(data, solver)
    has_local = data.local_features is not None
    if what is None and isinstance(solver, Exact):
        what = Keep()
    if what is None:
        what = ObjectiveSettings.from_values({}, local=has_local)
    reads_local = has_local if isinstance(what, Keep) else what.local
    data.check(reads_local=reads_local)
    return FitPlan(data, what, solver)


def with_centre(data: FitData, solver: Solver) -> FitData:
    """The data with the centre that the solver takes if none is given."""
    if data.centre is not None:
        return data
    centre: Centre = SCALAR if isinstance(solver, PaperLoop) else 0
    return replace(data, centre=centre)


def fit_and_score(
    plan: FitPlan, *, holdout: int | None = None, on_step: OnStep | None = None
) -> Fit:
    """Fit, and record the scores of `cross_score` on so many folds.

    0 leaves no scores in the record. None is 3 for settings that the exact solver fits to
    30 to 4,999 answers; for others it leaves those by which `Keep` chose, if any.
    """
    if holdout is None:
        holdout = _default_holdout(plan)
    if holdout is None:
        return _fit(plan, on_step)
    if holdout < 0 or holdout == 1:
        raise ParameterError(
            f"`holdout` is {holdout}; it must be 0, for no scores, or 2 folds or more."
        )
    if holdout == 0:
        return _fit(plan, on_step).with_heldout(None)
    folds = fit_folds(plan.data, holdout)  # before the fit: it may raise errors
    fitted = _fit(plan, on_step)
    scores = _cross_score(plan, folds, fitted.transform, on_step)
    return fitted.with_heldout(scores)


def _default_holdout(plan: FitPlan) -> int | None:
    """The number of folds if nobody gives one: 3 if their fits are quick, else None."""
    has_settings = isinstance(plan.what, ObjectiveSettings)
    is_exact = isinstance(plan.solver, Exact)
    n_answers = round(plan.data.answers.effective_size)
    is_measurable = n_answers >= MIN_MEASURED_ANSWERS
    if not (has_settings and is_exact and is_measurable):
        return None
    unit = fold_unit(plan.data)
    return DEFAULT_FOLDS if unit == "questions" else None


def settings_or_keep(
    keep: Keep, settings: ObjectiveSettings, *, local: bool
) -> ObjectiveSettings | Keep | None:
    """The settings if one of them is given, else the `Keep` if a share is given, else None.

    Raises ParameterError if both are given.
    """
    options = settings.model_fields_set
    names = [name for name in ObjectiveSettings.model_fields if name in options]
    if not names:
        return None if keep.keep is None else keep
    if keep.keep is not None:
        raise ParameterError(
            f"`keep={keep.keep}` chooses the method and its parameters, but `{names[0]}` is given "
            "too. Give one of them."
        )
    if local or "method" in names:
        return settings
    return settings.replace(method="global")


def fit_each_fold(
    plan: FitPlan, folds: Sequence[Fold], counter: Counter | None = None
) -> list[Solution]:
    """Fit to the data without each fold; a `Keep` chooses for each."""
    counter = counter or Counter()
    return [plan.solve(fold.data, counter) for fold in folds]


def _cross_score(
    plan: FitPlan,
    folds: Sequence[Fold],
    transform: LinearTransform | None,
    on_step: OnStep | None,
) -> HeldOutScores:
    """Fit without each fold, and score these fits; `transform` is the fit to all data."""
    solutions = fit_each_fold(plan, folds, Counter(on_step))
    transforms = [_scored_transform(*pair) for pair in zip(folds, solutions, strict=True)]
    is_converged = all(solution.converged for solution in solutions)
    scores = FoldScorer(folds).scores(transforms, converged=is_converged)
    is_fitted = not all(solution.is_unchanged for solution in solutions)
    if is_fitted and scores.loss > scores.original_loss:
        warn(
            f"overfitting: the held-out loss {scores.loss:.4f} is above "
            f"{scores.original_loss:.4f}, that of scaled features without a transform. Raise "
            "lmbda, or let it be chosen. If a warning about the answers names another cause, fix "
            "that first.",
            OverfitWarning,
        )
    if transform is None:
        return scores
    level = _axes_chance(plan.data, folds, transforms, transform)
    return scores.model_copy(update={"axes_chance": level})


def _scored_transform(fold: Fold, solution: Solution) -> LinearTransform:
    """The transform of a fold to score: the best scale of the features if nothing was fitted."""
    if solution.is_unchanged:
        return scaled_identity(fold.data, fold.data.fixed_centre)
    return solution.transform


def _axes_chance(
    data: FitData,
    folds: Sequence[Fold],
    transforms: Sequence[LinearTransform],
    transform: LinearTransform,
) -> float:
    """How much an axis of the fit to all data changes by the choice of the answers."""
    n_answers = len(data.answers)
    fractions = [len(fold.data.answers) / n_answers for fold in folds]
    X = np.asarray(data.features.matrix, dtype=np.float64)
    embeddings = [each.map_rows(X) for each in transforms]
    Z = transform.map_rows(X)
    return chance_level(Z, embeddings, fractions)


def _fit(plan: FitPlan, on_step: OnStep | None) -> Fit:
    """Solve, record the fit, and warn of problems that the record shows."""
    solution = _timed_solution(plan, on_step)
    record = _record(plan.data, solution)
    _LOG.info("fitted %s", record.summary())
    _warn_of_fit(plan.data, solution.transform, record)
    transform = _with_record(solution.transform, plan.data, record)
    return Fit(transform, record)


def _timed_solution(plan: FitPlan, on_step: OnStep | None) -> Solution:
    """The solution for all data of a plan, with the seconds that it took."""
    start_time = time.perf_counter()
    solution = plan.solve(plan.data, Counter(on_step))
    seconds = time.perf_counter() - start_time
    return replace(solution, seconds=seconds)


def _record(data: FitData, solution: Solution) -> FitRecord:
    """The record of a solution: how its fit ended, and how many data it read."""
    report = solution.report
    # files leave out what was never set: if nothing was fitted, what only a fit has
    names = report.model_fields_set if solution.is_unchanged else set(SolverReport.model_fields)
    outcome = {name: getattr(report, name) for name in names}
    reads_local = _reads_local(data, solution)
    blocks = data.blocks if reads_local else []
    block_sizes = [len(block) for block in blocks]
    provenance = Provenance(
        version=__version__,
        data=data.hashes(local=reads_local),
        seed=data.seed,
        threads=solution.threads,
    )
    return FitRecord(
        **outcome,
        keep=solution.keep,
        heldout=solution.heldout,
        **solution.parameters,
        converged=solution.converged,
        seconds=solution.seconds,
        n_answers=len(data.answers),
        n_dropped=data.n_dropped,
        n_objects=len(data.answers.named_objects()),
        n_local=sum(block_sizes),
        n_local_blocks=len(block_sizes) if reads_local else None,
        block_size=data.block_size if reads_local else None,
        n_people=data.answers.n_people,
        chance=data.answers.chance,
        provenance=provenance,
    )


def _reads_local(data: FitData, solution: Solution) -> bool:
    """Whether there are local features, and `Keep` or a local term read them."""
    if data.local_features is None:
        return False
    if solution.keep is not None:
        return True
    settings = solution.settings
    return settings is not None and settings.local


def _warn_of_fit(data: FitData, transform: LinearTransform, record: FitRecord) -> None:
    """Warn if the fit did not converge, or if its transform tells no objects apart.

    `Keep` chose by held-out scores, so that its mixtures need no look at their loss.
    """
    if not record.converged:
        warn(f"not converged ({record.status}): {record.reason}.", NotConvergedWarning)
    if record.keep is None and record.parts is not None:
        _warn_if_collapsed(record.parts["global"], transform, data)


def _warn_if_collapsed(loss: float, transform: LinearTransform, data: FitData) -> None:
    """Warn if the global loss is at chance, or the transform maps all objects to one point."""
    chance = data.answers.chance_loss
    rows = data.features.matrix[data.answers.named_objects()]
    X = np.asarray(rows, dtype=np.float64)
    Z = transform.map_rows(X)
    is_collapsed = at_chance(loss, chance) or one_point(Z)
    if is_collapsed:
        warn(
            f"collapse: the global loss {loss:.6f} is that of chance ({chance:.6f}), or all "
            "objects are mapped to one point. Lower `lmbda`, or check that the answers and the "
            "features belong together.",
            CollapseWarning,
        )


def _with_record(transform: LinearTransform, data: FitData, record: FitRecord) -> LinearTransform:
    """The transform with the record of its fit, and of the data by which they are recognised."""
    fitted = sketch(data.features, data.answers)
    source = Source(**data.features.network)
    whole = transform.record.model_copy(
        update={"fit": record, "fitted": fitted, "source": source},
    )
    return replace(transform, record=whole)
