"""Fits without each fold, which start at fits that are near; nothing is scored here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import numpy as np

from glocal.aligner.exact import Problem, Solution, WarmStart
from glocal.aligner.settings import ObjectiveSettings
from glocal.similarity import Square

Order = Literal["arms", "cold"]
"""How fits follow each other and where they start; see `crossfit`."""
OnFit = Callable[[int, ObjectiveSettings, Solution], None]
"""Called with the number of the fold, the settings and the solution, as each fit ends."""


@dataclass(frozen=True, eq=False)
class FoldFits:
    """The fits of several settings: the solution of each fold, in the order in which they ended."""

    solutions: Mapping[ObjectiveSettings, Sequence[Solution]] = field(default_factory=dict)

    def weights(self, settings: ObjectiveSettings) -> list[Square]:
        """The W of each fold."""
        solutions = self.solutions[settings]
        return [solution.transform.weights.astype(np.float64) for solution in solutions]

    def nearest(self, settings: ObjectiveSettings) -> Sequence[Solution] | None:
        """The solutions of the settings that are nearest in λ and then in α, if there are any."""
        if not self.solutions:
            return None

        def distance(other: ObjectiveSettings) -> tuple[float, float]:
            log_ratio = abs(math.log(other.penalty / settings.penalty))
            return log_ratio, abs(other.local_weight - settings.local_weight)

        return self.solutions[min(self.solutions, key=distance)]


def crossfit(
    problems: Sequence[Problem],
    paths: Sequence[Sequence[ObjectiveSettings]],
    *,
    start: FoldFits | None = None,
    order: Order,
    on_fit: OnFit | None = None,
) -> FoldFits:
    """Fit the settings of all paths to the data without each fold.

    No fit is certified, since these fits only serve to choose and to judge.

    Parameters
    ----------
    problems : sequence of Problem
        The standardized data without each fold, with the solver.
    paths : sequence of sequences of ObjectiveSettings
        Neighbours on a path have neighbouring optima.
    start : FoldFits or None
        Earlier fits to the same problems, which are not repeated, and from which others start.
    order : "arms" or "cold"
        "arms" goes through the folds for each settings. A fit starts at the nearest fit, in λ and
        then in α, of the same fold, moved by the step that the fold before made from its nearest
        fit. Without any other fit it starts at the fit of the fold before. "cold" starts each fit
        at the scaled identity of its own fold.
    on_fit : function or None
        Called as each fit ends.

    Returns
    -------
    FoldFits
        The fits of `start`, and the new ones.
    """
    fits = start or FoldFits()
    for settings in chain.from_iterable(paths):
        if settings in fits.solutions:
            continue
        near = fits.nearest(settings)
        solutions: list[Solution] = []
        for number, problem in enumerate(problems):
            warm = _start(near, solutions) if order == "arms" else None
            solution = problem.solver.minimise(problem, settings, warm, certified=False)
            solutions.append(solution)
            if on_fit is not None:
                on_fit(number, settings, solution)
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
