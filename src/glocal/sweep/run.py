"""Fit and score a grid on folds, choose one setting, and refit it on all data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from glocal._version import __version__
from glocal.aligner import Exact, FitData, Keep, ObjectiveSettings, fit
from glocal.aligner.driver import FoldFits, Run, crossfit
from glocal.aligner.fitting import Solver, with_centre
from glocal.aligner.heldout import FoldScorer
from glocal.aligner.store import PathStore
from glocal.errors import ParameterError
from glocal.evaluation.axes import FoldTransform, embeddings
from glocal.evaluation.view import change_record, paired_views, save_view
from glocal.files import PathLike, make_folder, write_text
from glocal.results import HeldOutScores, to_json
from glocal.scores import ORIGINAL
from glocal.sweep.choice import SettingMeans, choose, means_over_folds, pareto_front
from glocal.sweep.grid import GridSource
from glocal.sweep.plan import SweepPlan, sweep_plan
from glocal.sweep.points import Point, Points, Progress, runner
from glocal.transform import LinearTransform
from glocal.transform.record import SweepChoice


@dataclass(frozen=True, eq=False)
class Sweep:
    """The result of a sweep.

    `points` has a row for each fold and setting, and for the original features on each fold.
    `means` has a row for each setting that was scored on every fold, the original features first.
    Its columns ``front`` and ``chosen`` mark the settings on the front and the chosen setting.
    `best` is the row of the choice, `reason` states why it was chosen, and `transform` is its refit
    on all data. `heldout` has the scores of the choice on all folds, on which it was also chosen,
    so that they are slightly too high.
    """

    points: pd.DataFrame
    means: pd.DataFrame
    best: SettingMeans
    reason: str
    transform: LinearTransform
    heldout: HeldOutScores

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `means` on the front, the original features first and best agreement last."""
        is_original = self.means["method"] == ORIGINAL
        original = self.means[is_original]
        front = self.means[self.means["front"]]
        ascending = front.sort_values("agreement")
        return pd.concat([original, ascending])


def sweep(
    data: FitData,
    grid: GridSource = "arms",
    *,
    folds: int = 3,
    select: Literal["loss"] | None = None,
    keep: float | None = None,
    solver: Solver | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Sweep:
    """Fit and score every setting on every fold, choose one, and refit it on all data.

    A unit of work is a path of settings on one fold, along which each exact fit starts from the
    previous one. A finished path is a file in `out`, named by the hash of everything that
    determines it. A sweep that goes on in its folder, after an interruption or with other data,
    settings or options, therefore fits only the paths that are missing.

    Parameters
    ----------
    data : FitData
        Without local features `glocal` is left out, and neighbours are counted among the objects.
    grid : "arms", "paper", mapping or path
        See `glocal.sweep.read_grid`. With fewer than 5,000 answers every λ of "arms" is a multiple
        of p / t.
    folds : int
        The number of folds of the local images, and of the objects, or of the questions if there
        are fewer than 5,000 answers. Each fold is held out once.
    select : "loss" or None
        "loss" chooses the smallest held-out loss, instead of `keep`. `naive` is chosen only if the
        grid has nothing else.
    keep : float or None
        The share of the neighbours to keep. Each setting has a conservative estimate: its mean over
        folds minus one standard error. Among the settings whose estimate reaches `keep`, the one
        with the best agreement is chosen; if there is none, the one with the largest estimate. None
        is 0.9 with local features, and else chooses by the loss, as in `Keep`.
        ``glocal.fit(data, Keep(keep=…))`` needs no grid, and mixes fits so that little more is kept
        than `keep`.
    solver : Exact, PaperLoop or None
        The solver of the points and of the refit; None is ``Exact()``. Points of the exact solver
        have no certificate, and a tolerance of 3e-4 if `tol` is None.
    jobs : int
        The number of processes that fit paths, which share the threads of the processor equally. -1
        is one process per core.
    scheduler : str or None
        The address or scheduler file of a Dask cluster that fits the paths.
    out : path or None
        The folder of the sweep; docs/file-formats.md lists its files. None writes nothing.
    resume : bool
        Whether to go on in an `out` that has finished paths.
    progress : function or None
        Called after each path with its last row, the number of finished points, and their total.

    Raises
    ------
    ParameterError, DataError, FileError
        The grid, the folds, the data or the folder cannot be used. Raised before any fit.
    ClusterError
        The cluster or a worker was lost. Finished paths are kept.

    Examples
    --------
    >>> from glocal.aligner import FitData
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_object=2, n_answers=20000, n_local=60)
    >>> data = FitData(world.objects, world.answers, world.local)
    >>> result = sweep(data, {"lmbda": 0.1, "alpha": [0.1, 0.5]})
    >>> len(result.points), result.best["alpha"]
    (9, 0.5)
    """
    if jobs == 0:
        raise ParameterError("`jobs` is 0; it must be 1 or more, or -1 for one per core.")
    if select is not None and (select != "loss" or keep is not None):
        raise ParameterError(
            f"`select` is {select!r} and `keep` {keep}; give `select=loss`, or `keep` alone."
        )
    share = None
    if select is None:
        share = Keep(keep=keep).share(data)
    solver = solver or Exact()
    data = with_centre(data, solver)
    plan = sweep_plan(data, grid, folds, solver)
    folder = None
    points_file = None
    if out is not None:
        folder = _open_folder(Path(out), plan, resume=resume)
        points_file = folder / "points.jsonl"
    points = Points(
        folds=plan.folds,
        paths=plan.paths,
        total=plan.n_points,
        file=points_file,
        progress=progress,
    )
    fits = _point_fits(plan, points, folder, jobs, scheduler)
    points.write()
    rows = points.by_path()
    result, fold_transforms = _choice(plan, rows, fits, share, solver)
    if folder is not None:
        _write(result, plan, fold_transforms, folder)
    return result


def _point_fits(
    plan: SweepPlan,
    points: Points,
    sweep_folder: Path | None,
    n_processes: int,
    scheduler_address: str | None,
) -> dict[float | None, FoldFits]:
    """The fits of the points for each eta, whose paths are stored in the folder."""
    store = None
    if sweep_folder is not None:
        store = PathStore(sweep_folder / "paths")
    fits = {}
    for eta, solver in plan.solvers.items():
        problems = plan.problems(solver)
        with runner(n_processes, scheduler_address, problems) as run:
            fits[eta] = crossfit(
                problems,
                plan.paths,
                order="paths",
                run=partial(_run_and_write, run, points),
                store=store,
                on_fit=partial(points.add, eta=eta),
            )
    return fits


def _run_and_write(
    run: Run,
    points: Points,
    function: Callable[..., Any],
    path_arguments: Iterable[tuple[Any, ...]],
) -> Iterator[Any]:
    """Run paths, and write the points before the first and after each of them."""
    points.write()
    for result in run(function, path_arguments):
        yield result
        points.write()


def _open_folder(folder: Path, plan: SweepPlan, *, resume: bool) -> Path:
    """Make the folder of a sweep, and write what is fitted."""
    make_folder(folder)
    paths_folder = make_folder(folder / "paths")
    has_paths = any(paths_folder.iterdir())
    if has_paths and not resume:
        raise ParameterError(
            f"{folder} holds finished paths of a sweep. Pass `resume=True` to go on with it, or "
            "choose another `out`."
        )
    data = plan.data
    solver = next(iter(plan.solvers.values()))
    solver_options = {"name": solver.name, **vars(solver)}
    settings = [setting.parameters for setting in plan.settings]
    record = {
        "version": __version__,
        "settings": settings,
        "eta": [*plan.solvers],
        "folds": len(plan.folds),
        "fold_unit": plan.folds[0].unit,
        "seed": data.seed,
        "centre": data.centre,
        "solver": solver_options,
        "data": data.hashes(local=True),
    }
    text = to_json(record)
    write_text(folder / "sweep.json", text)
    return folder


def _choice(
    plan: SweepPlan,
    points: Sequence[Point],
    fits: dict[float | None, FoldFits],
    keep: float | None,
    solver: Solver,
) -> tuple[Sweep, list[FoldTransform]]:
    """Choose a setting, fit it to all data, and score its fits without each fold."""
    means = means_over_folds(points, len(plan.folds))
    chosen, reason = choose(means, keep)
    means = _marked(means, chosen)
    best_row = means.loc[chosen].to_dict()
    best: SettingMeans = json.loads(to_json(best_row))
    settings = ObjectiveSettings.from_values(best)
    eta = best.get("eta")
    fold_transforms = _fold_transforms(plan, fits[eta], settings, plan.solvers[eta])
    heldout = FoldScorer(plan.folds).scores(
        [each.transform for each in fold_transforms],
        converged=best["converged"],
    )
    final_solver = solver
    if eta is not None:
        final_solver = plan.solvers[eta]
    refit = fit(plan.data, settings, final_solver)
    refit = refit.with_heldout(heldout)
    sweep_choice = SweepChoice(
        keep=keep,
        reason=reason,
        folds=len(plan.folds),
        fold_unit=plan.folds[0].unit,
        seed=plan.data.seed,
        n_settings=plan.n_settings,
    )
    record = refit.transform.record.model_copy(update={"sweep": sweep_choice})
    result = Sweep(
        points=pd.DataFrame(points),
        means=means,
        best=best,
        reason=reason,
        transform=replace(refit.transform, record=record),
        heldout=heldout,
    )
    return result, fold_transforms


def _marked(means: pd.DataFrame, chosen: int) -> pd.DataFrame:
    """The means with columns that mark the front and the choice."""
    is_fitted = means["method"] != ORIGINAL
    front = pareto_front(means[is_fitted])
    return means.assign(
        front=means.index.isin(front.index),
        chosen=means.index == chosen,
    )


def _fold_transforms(
    plan: SweepPlan, fits: FoldFits, settings: ObjectiveSettings, solver: Solver
) -> list[FoldTransform]:
    """The transform of each fold: of the point if it is stored, else of another fit."""
    if fits.read is None:
        problems = plan.problems(solver)
        fits = crossfit(problems, [[settings]], order="cold")
    transforms = fits.transforms(settings)
    sizes = [len(fold.data.answers) for fold in plan.folds]
    return [*map(FoldTransform, transforms, sizes)]


def _write(
    result: Sweep, plan: SweepPlan, fold_transforms: list[FoldTransform], folder: Path
) -> None:
    """Write the files of a finished sweep; `fold_transforms` are the choice without each fold.

    The changes that the choice makes are measured on answers that these fits have not seen.
    """
    features = plan.data.features
    transform = result.transform
    transform.save(folder / "transform.npz")
    means = result.means.to_csv(index=False)
    front = result.front.to_csv(index=False)
    write_text(folder / "means.csv", means)
    write_text(folder / "front.csv", front)
    X, Z, fold_embeddings = embeddings(transform, features, fold_transforms)
    fold_answers = [fold.answers for fold in plan.folds]
    answer_parts = [*zip(fold_embeddings, fold_answers, strict=True)]
    change = change_record(
        transform,
        features,
        X,
        answer_parts,
        folds=fold_transforms,
        is_unseen=True,
    )
    views = paired_views(X, Z, features.labels, name="chosen", change=change)
    views_folder = make_folder(folder / "views")
    for name, view in views.items():
        save_view(view, views_folder / f"{name}.npz")
