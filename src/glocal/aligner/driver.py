"""Fits without each fold, which start at fits that are near; nothing is scored here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np

from glocal.aligner.exact import Solution, Unfitted, WarmStart
from glocal.aligner.settings import ObjectiveSettings
from glocal.aligner.store import FoldProblem, Outcome, PathStore, SettingsPath
from glocal.errors import DivergedError, TrivialOptimumError
from glocal.similarity import Square
from glocal.transform import LinearTransform

Order = Literal["arms", "paths", "cold"]
"""How fits follow each other and where they start; see `crossfit`."""
OnFit = Callable[[int, ObjectiveSettings, Outcome], None]
"""Called with the number of the fold, the settings and the outcome, as each fit ends."""
FoldSolutions = Sequence[Solution]
"""The solution of each fold for some settings."""
Arguments = Iterable[tuple[Any, ...]]
"""The arguments of several calls of one function."""
Run = Callable[[Callable[..., Any], Arguments], Iterable[Any]]
"""Calls a function with each tuple of arguments, and yields the results in any order."""


class FittedPath(NamedTuple):
    """The outcomes of the fits on a path, without the fold with this number."""

    path: SettingsPath
    number: int
    outcomes: Sequence[Outcome]

    def report(self, on_fit: OnFit) -> None:
        """Call the function for each fit."""
        fits = zip(self.path, self.outcomes, strict=True)
        for settings, outcome in fits:
            on_fit(self.number, settings, outcome)


@dataclass(frozen=True, eq=False)
class FoldFits:
    """The fits of several settings, in the order in which they ended.

    Attributes
    ----------
    solutions : mapping
        The solution of each fold, of the settings whose fits are kept in memory.
    read : function or None
        Reads the solution of each fold of some settings whose fits are stored.
    """

    solutions: Mapping[ObjectiveSettings, FoldSolutions] = field(default_factory=dict)
    read: Callable[[ObjectiveSettings], FoldSolutions] | None = None

    def transforms(self, settings: ObjectiveSettings) -> list[LinearTransform]:
        """The transform of each fold, from memory or from the store."""
        solutions = self.solutions.get(settings)
        if solutions is None:
            assert self.read is not None, "these settings were not fitted"
            solutions = self.read(settings)
        return [solution.transform for solution in solutions]

    def weights(self, settings: ObjectiveSettings) -> list[Square]:
        """The W of each fold."""
        transforms = self.transforms(settings)
        matrices = [transform.weights for transform in transforms]
        return [W.astype(np.float64) for W in matrices]

    def nearest(self, settings: ObjectiveSettings) -> FoldSolutions | None:
        """The solutions of the settings that are nearest in λ and then in α, if there are any."""
        if not self.solutions:
            return None

        def distance(other: ObjectiveSettings) -> tuple[float, float]:
            ratio = other.penalty / settings.penalty
            log_ratio = abs(math.log(ratio))
            difference = abs(other.local_weight - settings.local_weight)
            return log_ratio, difference

        nearest = min(self.solutions, key=distance)
        return self.solutions[nearest]


def crossfit(
    problems: Sequence[FoldProblem],
    paths: Sequence[SettingsPath],
    *,
    start: FoldFits | None = None,
    order: Order,
    run: Run | None = None,
    store: PathStore | None = None,
    on_fit: OnFit | None = None,
) -> FoldFits:
    """Fit the settings of all paths to the data without each fold.

    No fit is certified, since these fits only serve to choose and to judge.

    Parameters
    ----------
    problems : sequence of Problem or LoopProblem
        The data without each fold, with the solver.
    paths : sequence of sequences of ObjectiveSettings
        Neighbours on a path have neighbouring optima.
    start : FoldFits or None
        Earlier fits to the same problems, which are not repeated, and from which others start.
    order : "arms", "paths" or "cold"
        "arms" goes through the folds for each settings. A fit starts at the nearest fit, in λ and
        then in α, of the same fold, moved by the step that the fold before made from its nearest
        fit. Without any other fit it starts at the fit of the fold before. "cold" starts each fit
        at the scaled identity of its own fold. "paths" makes each path of a fold a unit of work, on
        which a fit starts at the one before; fits without an optimum are then `Unfitted`, and none
        is kept in memory.
    run : function or None
        Runs the units of work of "paths"; None runs one after the other.
    store : PathStore or None
        Keeps the finished units of "paths", which are not fitted again.
    on_fit : function or None
        Called as each fit ends, or is read from the store.

    Returns
    -------
    FoldFits
        The fits of `start`, and the new ones.

    Raises
    ------
    TrivialOptimumError, DivergedError
        A fit has no optimum but W = 0, or diverged; not with "paths".
    """
    report = on_fit or (lambda *outcome: None)
    if order == "paths":
        run_units = run or _in_turn
        return _fit_paths(problems, paths, run_units, store, report)
    is_warm = order == "arms"
    fits = start or FoldFits()
    all_settings = chain.from_iterable(paths)
    for settings in all_settings:
        if settings in fits.solutions:
            continue
        near = fits.nearest(settings)
        solutions: list[Solution] = []
        for number, problem in enumerate(problems):
            warm = None
            if is_warm:
                warm = _start(near, solutions)
            solution = problem.fit(settings, warm)
            solutions.append(solution)
            report(number, settings, solution)
        all_solutions = {**fits.solutions, settings: solutions}
        fits = FoldFits(all_solutions)
    return fits


def _start(near: FoldSolutions | None, solutions: FoldSolutions) -> WarmStart | None:
    """Where the fit of the next fold starts, after the fits of the folds before."""
    fold = len(solutions)
    previous_fold = fold - 1
    previous = solutions[previous_fold].warm if solutions else None
    if near is None:
        return previous
    start = near[fold].warm
    if start is None or previous is None:
        return start
    near_previous = near[previous_fold].warm
    return start.moved(near_previous, previous)


def _fit_paths(
    problems: Sequence[FoldProblem],
    paths: Sequence[SettingsPath],
    run: Run,
    store: PathStore | None,
    report: OnFit,
) -> FoldFits:
    """Fit each path on each fold as a unit of work, unless the store has it."""
    missing = []
    for path in paths:
        for number, problem in enumerate(problems):
            outcomes = None if store is None else store.read(problem, path)
            if outcomes is None:
                unit = (problem, path, number)
                missing.append(unit)
            else:
                stored = FittedPath(path, number, outcomes)
                stored.report(report)
    fitted_paths = run(fit_path, missing)
    for fitted in fitted_paths:
        if store is not None:
            problem = problems[fitted.number]
            store.write(problem, fitted.path, fitted.outcomes)
        fitted.report(report)
    if store is None:
        return FoldFits()

    def read(settings: ObjectiveSettings) -> list[Solution]:
        paths_with_settings = (path for path in paths if settings in path)
        path = next(paths_with_settings)
        position = path.index(settings)
        solutions = []
        for problem in problems:
            outcomes = store.read(problem, path) or []
            outcome = outcomes[position]
            if isinstance(outcome, Solution):
                solutions.append(outcome)
        return solutions

    return FoldFits(read=read)


def _in_turn(function: Callable[..., Any], arguments: Arguments) -> Iterator[Any]:
    """Call a function with each tuple of arguments."""
    return (function(*each) for each in arguments)


def fit_path(problem: FoldProblem, path: SettingsPath, number: int) -> FittedPath:
    """Fit a path to the problem of the fold with this number, each fit from the one before."""
    start: WarmStart | None = None
    outcomes: list[Outcome] = []
    for settings in path:
        start_time = time.perf_counter()
        try:
            solution = problem.fit(settings, start)
            start = solution.warm
            outcome: Outcome = replace(solution, warm=None)
        except TrivialOptimumError as error:  # no fit starts from W = 0
            reason = str(error)
            limit = error.lambda_max
            outcome = Unfitted("trivial", reason, lambda_max=limit)
        except DivergedError as error:
            reason = str(error)
            outcome = Unfitted("diverged", reason, evaluations=error.steps)
        end_time = time.perf_counter()
        seconds = end_time - start_time
        outcome = replace(outcome, seconds=seconds)
        outcomes.append(outcome)
    return FittedPath(path, number, outcomes)
