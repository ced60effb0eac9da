"""The data, folds, settings and solvers of a sweep, planned before any fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from glocal.aligner import Exact, FitData, ObjectiveSettings, PaperLoop
from glocal.aligner.fitting import Solver
from glocal.aligner.folds import Fold, fit_folds, fold_unit
from glocal.aligner.paper import LoopProblem
from glocal.aligner.store import FoldProblem
from glocal.sweep.grid import GridSource, paths, read_grid

POINT_TOLERANCE = 3e-4
"""Relative tolerance of fits that are only scored: a tenth of it changes no score by over .002."""


PointSolvers = dict[float | None, Solver]
"""The solver of the points for each eta, or for None if the grid lists none."""


class SweepPlan(NamedTuple):
    """The data, folds and paths of a sweep, and the solver of its points for each eta."""

    data: FitData
    folds: list[Fold]
    settings: list[ObjectiveSettings]
    paths: list[list[ObjectiveSettings]]
    solvers: PointSolvers

    @property
    def n_settings(self) -> int:
        """The number of settings, in which each eta counts."""
        n_etas = len(self.solvers)
        return len(self.settings) * n_etas

    @property
    def n_points(self) -> int:
        """The number of points, with the original features on each fold."""
        rows_of_fold = self.n_settings + 1
        return rows_of_fold * len(self.folds)

    def problems(self, solver: Solver) -> list[FoldProblem]:
        """The problem of each fold."""
        problems: list[FoldProblem] = []
        reads_local = _reads_local(self.settings)
        for fold in self.folds:
            problem: FoldProblem
            if isinstance(solver, PaperLoop):
                problem = LoopProblem(fold.data, solver)
            else:
                problem = solver.problem(fold.data, local=reads_local)
            problems.append(problem)
        return problems


def sweep_plan(data: FitData, grid: GridSource, n_folds: int, solver: Solver) -> SweepPlan:
    """Read the grid, and check what can be checked before any fit."""
    is_loop = isinstance(solver, PaperLoop)
    has_local = data.local_features is not None
    smallest_lambda = _smallest_lambda(data)
    lists = read_grid(
        grid,
        local=has_local,
        eta=is_loop,
        smallest=smallest_lambda,
    )
    settings = lists.settings()
    reads_local = _reads_local(settings)
    data.check(reads_local=reads_local)
    folds = fit_folds(data, n_folds)
    setting_paths = paths(settings, warm=not is_loop)
    solvers = _point_solvers(solver, lists.eta)
    return SweepPlan(
        data=data,
        folds=folds,
        settings=settings,
        paths=setting_paths,
        solvers=solvers,
    )


def _reads_local(settings: Sequence[ObjectiveSettings]) -> bool:
    """Whether some settings have a local term."""
    has_local_term = [setting.local for setting in settings]
    return any(has_local_term)


def number_of_fits(data: FitData, grid: GridSource, *, folds: int = 3, solver: Solver) -> int:
    """The number of fits of a sweep and its refit."""
    plan = sweep_plan(data, grid, folds, solver)
    n_fits = folds * plan.n_settings
    return n_fits + 1


def _smallest_lambda(data: FitData) -> float:
    """The smallest λ of the default grid; for few answers the columns per answer."""
    if not len(data.answers):
        return 0.1
    if fold_unit(data) != "questions":
        return 0.1
    n_columns = data.features.dimensions
    return n_columns / data.answers.effective_size


def _point_solvers(solver: Solver, etas: Sequence[float] | None) -> PointSolvers:
    """The solver of the points for each eta, or for None if the grid lists none."""
    if isinstance(solver, Exact):
        tolerance = solver.tol or POINT_TOLERANCE
        point_solver = solver.replace(tol=tolerance)
        return {None: point_solver}
    if not etas:
        return {None: solver}
    solvers: PointSolvers = {}
    for eta in etas:
        solvers[eta] = solver.replace(eta=eta)
    return solvers
