"""Fits without each fold, which start at fits that are near; nothing is scored here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

import numpy as np

from glocal.aligner.exact import Solution, Unfitted, WarmStart
from glocal.aligner.settings import ObjectiveSettings
from glocal.aligner.store import FoldProblem, Outcome, PathStore
from glocal.errors import DivergedError, TrivialOptimumError
from glocal.similarity import Square
from glocal.transform import LinearTransform

Order = Literal["arms", "paths", "cold"]
"""How fits follow each other and where they start; see `crossfit`."""
OnFit = Callable[[int, ObjectiveSettings, Outcome], None]
"""Called with the number of the fold, the settings and the outcome, as each fit ends."""
Run = Callable[[Callable[..., Any], Iterable[tuple[Any, ...]]], Iterable[Any]]
"""Calls a function with each tuple of arguments, and yields the results in any order."""


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

    solutions: Mapping[ObjectiveSettings, Sequence[Solution]] = field(default_factory=dict)
    read: Callable[[ObjectiveSettings], Sequence[Solution]] | None = None

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
        return [transform.weights.astype(np.float64) for transform in transforms]

    def nearest(self, settings: ObjectiveSettings) -> Sequence[Solution] | None:
        """The solutions of the settings that are nearest in λ and then in α, if there are any."""
        if not self.solutions:
            return None

        def distance(other: ObjectiveSettings) -> tuple[float, float]:
            log_ratio = abs(math.log(other.penalty / settings.penalty))
            return log_ratio, abs(other.local_weight - settings.local_weight)

        return self.solutions[min(self.solutions, key=distance)]


def crossfit(
    problems: Sequence[FoldProblem],
    paths: Sequence[Sequence[ObjectiveSettings]],
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
        return _fit_paths(problems, paths, run or _in_turn, store, report)
    fits = start or FoldFits()
    for settings in chain.from_iterable(paths):
        if settings in fits.solutions:
            continue
        near = fits.nearest(settings)
        solutions: list[Solution] = []
        for number, problem in enumerate(problems):
            warm = _start(near, solutions) if order == "arms" else None
            solutions.append(problem.fit(settings, warm))
            report(number, settings, solutions[-1])
        fits = FoldFits({**fits.solutions, settings: solutions})
    return fits


def _start(near: Sequence[Solution] | None, solutions: Sequence[Solution]) -> WarmStart | None:
    """Where the fit of the next fold starts, after the fits of the folds before."""
    previous = solutions[-1].warm if solutions else None
    if near is None:
        return previous
    start = near[len(solutions)].warm
    if start is None or previous is None:
        return start
    return start.moved(near[len(solutions) - 1].warm, previous)


def _fit_paths(
    problems: Sequence[FoldProblem],
    paths: Sequence[Sequence[ObjectiveSettings]],
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
                missing.append((problem, path, number))
            else:
                _report(report, number, path, outcomes)
    for path, number, outcomes in run(fit_path, missing):
        if store is not None:
            store.write(problems[number], path, outcomes)
        _report(report, number, path, outcomes)
    if store is None:
        return FoldFits()

    def read(settings: ObjectiveSettings) -> list[Solution]:
        path = next(path for path in paths if settings in path)
        fits = [store.read(problem, path) or [] for problem in problems]
        position = path.index(settings)
        outcomes = [outcomes[position] for outcomes in fits]
        return [outcome for outcome in outcomes if isinstance(outcome, Solution)]

    return FoldFits(read=read)


def _in_turn(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    """Call a function with each tuple of arguments."""
    return (function(*each) for each in arguments)


def _report(
    report: OnFit, number: int, path: Sequence[ObjectiveSettings], outcomes: Sequence[Outcome]
) -> None:
    for settings, outcome in zip(path, outcomes, strict=True):
        report(number, settings, outcome)


def fit_path(
    problem: FoldProblem, path: Sequence[ObjectiveSettings], number: int
) -> tuple[Sequence[ObjectiveSettings], int, list[Outcome]]:
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
            outcome = Unfitted("trivial", str(error), lambda_max=error.lambda_max)
        except DivergedError as error:
            outcome = Unfitted("diverged", str(error), evaluations=error.steps)
        seconds = time.perf_counter() - start_time
        outcomes.append(replace(outcome, seconds=seconds))
    return path, number, outcomes
