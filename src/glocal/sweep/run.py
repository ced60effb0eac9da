"""Fit and score a grid on folds, choose one setting, and refit it on all data."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from jaxtyping import Float

from glocal._version import __version__
from glocal.aligner import Arm, Exact, FitData, Keep, PaperLoop, fit
from glocal.aligner.data import AUTO, NEIGHBOURS, Fold, pooled_answers
from glocal.aligner.exact import scaled_identity
from glocal.aligner.fitting import Solver
from glocal.aligner.heldout import heldout_scores
from glocal.aligner.keep import DEFAULT_KEEP, keep_curve
from glocal.errors import (
    ClusterError,
    DivergedError,
    GLocalError,
    ParameterError,
    TrivialOptimumError,
    import_optional,
)
from glocal.evaluation.agreement import (
    MIN_REPEATED_SHARE,
    answer_credit,
    ceiling,
    heldout_rows,
    odd_one_out,
)
from glocal.evaluation.change import change_record, embeddings
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.evaluation.view import paired_views, save_view
from glocal.files import PathLike, array_sha256, make_folder, read_object, write_text
from glocal.results import Score, append_rows, read_rows, to_json, write_rows
from glocal.sweep.grid import (
    METRICS,
    SETTING,
    Point,
    Rule,
    Setting,
    choose,
    means_over_folds,
    pareto_front,
    paths,
    settings,
)
from glocal.transform import LinearTransform

POINT_TOLERANCE = 3e-4
"""Relative tolerance of fits that are only scored: a tenth of it changes no score by over .002."""
ORIGINAL: Setting = {"method": "original", "lmbda": None, "mix": None, "alpha": None, "tau": None}
Scores = tuple[dict[str, Any], Float[np.ndarray, " t"] | None]
"""The scores of a transform, and the credit of each held-out answer."""
Points = dict[tuple[Any, ...], Point]
"""The point of each fold and setting, by `_key`."""
_ORIGINAL_OUTCOME = {"objective": None, "status": "converged", "gap": None, "evaluations": 0}


@dataclass(frozen=True, eq=False)
class Sweep:
    """The result of a sweep.

    `points` has a row for each fold and setting, and for the original features on each fold.
    `means` has a row for each setting that was scored on every fold, the original features first.
    Its columns ``front`` and ``chosen`` mark the settings on the front and the chosen setting.
    `best` is the row of the choice, `reason` states why it was chosen, and `transform` is its refit
    on all data. `scores` are the agreement of the original features and of the choice with all
    held-out answers, and their paired difference, whose `p_corrected` is corrected for the number
    of settings to choose from.
    """

    points: pd.DataFrame
    means: pd.DataFrame
    best: dict[str, Any]
    reason: str
    transform: LinearTransform
    scores: list[Score]

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `means` on the front, the original features first and best agreement last."""
        original = self.means[self.means["method"] == "original"]
        front = self.means[self.means["front"]]
        return pd.concat([original, front.sort_values("accuracy_cosine")])


def sweep(
    data: FitData,
    grid: str | Mapping[str, Any] | PathLike = "arms",
    *,
    folds: int = 3,
    select: str | None = None,
    keep: float | None = None,
    solver: Solver | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    progress: Callable[[dict[str, Any], int, int], None] | None = None,
) -> Sweep:
    """Fit and score every setting on every fold, choose one, and refit it on all data.

    A unit of work is a path of settings on one fold, along which each exact fit starts from the
    previous one. The rows of a finished path are appended to ``points.jsonl`` in `out`. A sweep
    that was killed therefore repeats only its unfinished paths.

    Parameters
    ----------
    data : FitData
        Without local features `glocal` is left out, and neighbours are counted among the objects.
        A `centre` of "auto" is chosen before the sweep, by the same rule as in `Keep`.
    grid : "arms", "paper", mapping or path
        See `glocal.sweep.settings`. With fewer than 5,000 answers every λ of "arms" is a multiple
        of p / t.
    folds : int
        The number of folds of the local images, and of the objects, or of the questions if there
        are fewer than 5,000 answers. Each fold is held out once.
    select : str or None
        The rule of the choice, instead of `keep`: "loss", "neighbours_kept>=0.9" or
        "agreement>=0.5", each optionally after a method, as in "naive loss". A rule without a
        method chooses `naive` only if the grid has nothing else.
    keep : float or None
        The share of the neighbours to keep, as a mean over folds. Among the settings that keep it,
        the one with the best agreement is chosen; if there is none, the one that keeps most. None
        is 0.9. ``glocal.fit(data, Keep(keep=…))`` needs no grid, and mixes fits so that little more
        is kept than `keep`.
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
        Whether to continue the sweep in `out`.
    progress : function or None
        Called after each path with its last row, the number of finished points, and their total.

    Raises
    ------
    ParameterError, DataError, FileError
        The grid, the folds, the data or the folder cannot be used. Raised before any fit.
    ClusterError
        The cluster or a worker was lost. The rows of finished paths are kept.

    Examples
    --------
    >>> from glocal.aligner import FitData
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=20000, n_local=90)
    >>> data = FitData(world.objects, world.answers, world.local)
    >>> result = sweep(data, {"lmbda": 0.1, "alpha": [0.1, 0.5]})
    >>> len(result.points), result.best["alpha"]
    (9, 0.5)
    """
    if jobs == 0:
        raise ParameterError("`jobs` is 0; allowed are 1 and above, and -1 for one per core.")
    rule = _rule(select, keep)
    solver = solver or Exact()
    if data.centre == AUTO:
        exact = solver if isinstance(solver, Exact) else None
        data = keep_curve(data, exact, keep=keep or DEFAULT_KEEP).data
    plan = _plan(data, grid, folds, solver)
    rule.check(setting["method"] for setting in plan.settings)
    file = None if out is None else make_folder(out) / "points.jsonl"
    points = {} if file is None else _resumed_points(file, plan, resume)
    calls = [
        joblib.delayed(fit_path)(plan.data, plan.solver, folds, fold, path)
        for fold, path in plan.work
        if _key(fold, path[0]) not in points
    ]
    with _parallel(plan.data, jobs, scheduler) as run:
        for path_points in run(calls):
            points |= {_key(point.row["fold"], point.row): point for point in path_points}
            if file is not None:
                append_rows(file, [point.row for point in path_points])
            if progress is not None:
                progress(path_points[-1].row, len(points), folds * len(plan.settings))
    result = _choice(plan, points, rule, solver)
    transforms = [] if out is None else _fold_transforms(plan, result.best)
    result = replace(result, scores=_gain(plan, points, result.best, transforms))
    if out is not None:
        result = replace(result, transform=_scored(result, plan, transforms))
        _write(result, plan, transforms, Path(out))
    return result


class _Plan(NamedTuple):
    """The data, folds and settings of a sweep, the solver of its points, and its units of work.

    The first of the `settings` stands for the original features. A unit of work is a fold and a
    path of settings on this fold.
    """

    data: FitData
    folds: list[Fold]
    settings: list[Setting]
    solver: Solver
    work: list[tuple[int, list[Setting]]]


def _plan(
    data: FitData, grid: str | Mapping[str, Any] | PathLike, folds: int, solver: Solver
) -> _Plan:
    """Read the grid, and check what can be checked before any fit."""
    has_local = data.local_features is not None
    unit = None
    if data.fold_unit == "questions" and len(data.answers):
        unit = data.features.dimensions / data.answers.effective_size
    grid_settings = settings(grid, local=has_local, eta=isinstance(solver, PaperLoop), unit=unit)
    methods = {setting["method"]: setting for setting in grid_settings}
    data.check(Arm.of(methods.get("glocal", grid_settings[0])))
    if folds < 2:
        raise ParameterError(f"`folds` is {folds}; at least 2 are needed.")
    parts = data.folds(folds)
    if min(len(part.rows) for part in parts) <= NEIGHBOURS:
        kind = data.evaluation_kind
        raise ParameterError(
            f"{folds} folds leave fewer than {NEIGHBOURS + 1} {kind} in a fold, but {NEIGHBOURS} "
            f"neighbours need that many. Use fewer folds, or more {kind}."
        )
    all_paths = [*paths(grid_settings, warm=isinstance(solver, Exact)), [ORIGINAL]]
    if isinstance(solver, Exact):
        solver = solver.replace(tol=solver.tol or POINT_TOLERANCE)
    work = [(fold, path) for path in all_paths for fold in range(folds)]
    return _Plan(data, parts, [ORIGINAL, *grid_settings], solver, work)


def _rule(select: str | None, keep: float | None) -> Rule:
    """The rule of the choice; raises ParameterError if both arguments are given."""
    if select is not None and keep is not None:
        raise ParameterError(
            f"`select={select}` and `keep={keep:g}` are two rules. Give one of them."
        )
    if select is not None:
        return Rule.parse(select)
    return Rule("neighbours_kept", Keep(keep=keep).keep or DEFAULT_KEEP)


def _choice(plan: _Plan, points: Points, rule: Rule, solver: Solver) -> Sweep:
    """Choose one setting, and refit it on all data; `scores` are still empty."""
    folds = range(len(plan.folds))
    rows = [points[_key(fold, setting)].row for setting in plan.settings for fold in folds]
    means = means_over_folds(rows, len(folds))
    chosen, reason = choose(means, rule)
    front = pareto_front(means[means["method"] != "original"]).index
    means = means.assign(front=means.index.isin(front), chosen=means.index == chosen)
    best = json.loads(to_json(means.loc[chosen].to_dict()))
    refit = fit(plan.data, Arm.of(best), _with_eta(solver, best)).transform
    summary = {
        "rule": str(rule),
        "reason": reason,
        "folds": len(folds),
        "heldout": plan.data.fold_unit,
        "seed": plan.data.seed,
        "n_settings": len(plan.settings) - 1,
    }
    transform = replace(refit, meta={**refit.meta, "sweep": summary})
    return Sweep(pd.DataFrame(rows), means, best, reason, transform, scores=[])


def fit_path(
    data: FitData, solver: Solver, folds: int, fold: int, path: list[Setting]
) -> list[Point]:
    """Fit the settings of one path on one fold, each exact fit starting from the previous one."""
    part = data.folds(folds)[fold]
    images = part.data.evaluation_rows(part.rows)
    score = _scorer(part, images)
    points = []
    problem = None
    start = None
    for setting in path:
        start_time = time.perf_counter()
        outcome: dict[str, Any] = dict(_ORIGINAL_OUTCOME)
        scores: Scores = dict.fromkeys(METRICS), None
        try:
            if setting == ORIGINAL:  # the baseline that agreement is compared with
                scores = score(scaled_identity(part.data))
            else:
                arm = Arm.of(setting)
                if isinstance(solver, Exact):
                    has_local = Arm.of(path[-1]).local
                    problem = problem or solver.problem(part.data, local=has_local)
                    solution = solver.minimise(problem, arm, start, certified=False)
                else:
                    solution = _with_eta(solver, setting).solve(part.data, arm)
                start = solution.warm
                outcome = {name: getattr(solution, name) for name in outcome}
                scores = score(solution.transform)
        except TrivialOptimumError as error:  # W = 0 has no scores, and no fit starts from it
            outcome |= {"status": "trivial", "lambda_max": error.lambda_max}
        except DivergedError as error:
            outcome |= {"status": "diverged", "evaluations": error.steps, "reason": str(error)}
        counts = {"n_heldout": len(part.answers), "n_images": len(images)}
        row = {"fold": fold, **setting, **scores[0], **counts, **outcome}
        row["seconds"] = time.perf_counter() - start_time
        points.append(Point(row, scores[1]))
    return points


def _scorer(part: Fold, images: Float[np.ndarray, "m p"]) -> Callable[[LinearTransform], Scores]:
    """The function that scores transforms on the held-out part of a fold."""
    X = part.data.scalars(images, "float64")
    neighbours = neighbourhoods(X, NEIGHBOURS)

    def score(transform: LinearTransform) -> Scores:
        agreement = odd_one_out(part.data.embedding(transform), part.answers, interval=False)
        kept = kept_by_image(X, transform.map_rows(images), NEIGHBOURS, before=neighbours)
        scores = {
            "accuracy_cosine": agreement.accuracy,
            "loss": agreement.loss,
            "neighbours_kept": float(kept.mean()),
        }
        return scores, agreement.units.values

    return score


def _with_eta(solver: Solver, setting: Setting) -> Solver:
    """The solver of one setting; the paper's loop gets the learning rate of the setting, if any."""
    if not isinstance(solver, PaperLoop):
        return solver
    return solver.replace(eta=setting.get("eta") or solver.eta)


def _fold_transforms(plan: _Plan, setting: Setting) -> list[LinearTransform]:
    """Fit a setting without each fold, in the same way as its points."""
    arm = Arm.of(setting)
    solver = _with_eta(plan.solver, setting)
    transforms = []
    for fold in plan.folds:
        if isinstance(solver, Exact):
            solution = solver.solve(fold.data, arm, certified=False)
        else:
            solution = solver.solve(fold.data, arm)
        meta = {"fit": {"n_answers": len(fold.data.answers)}}
        transforms.append(replace(solution.transform, meta=meta))
    return transforms


def _gain(
    plan: _Plan, points: Points, best: Setting, transforms: list[LinearTransform]
) -> list[Score]:
    """The agreement of the original features and of the choice with all held-out answers.

    The third score is the gain, their paired difference. `transforms` are the fits of the choice
    without each fold.
    """
    originals = [scaled_identity(fold.data) for fold in plan.folds]
    credit = {
        "original": _heldout_credit(plan, points, ORIGINAL, originals),
        "chosen": _heldout_credit(plan, points, best, transforms),
    }
    heldout = pooled_answers([fold.answers for fold in plan.folds])
    original, chosen, gain = heldout_rows(credit, heldout)
    # NOTE the choice is the best of many on the same answers, so each setting is one comparison
    n_settings = len(plan.settings) - 1
    corrected = None if gain.p is None else min(1.0, n_settings * gain.p)
    options = {**gain.settings, "n_settings": n_settings, "correction": "Bonferroni"}
    gain = replace(gain, p_corrected=corrected, settings=options)
    return [replace(score, split="all folds") for score in (original, chosen, gain)]


def _heldout_credit(
    plan: _Plan, points: Points, setting: Setting, transforms: list[LinearTransform]
) -> Float[np.ndarray, " t"]:
    """The credit of a setting on the held-out answers of all folds.

    Points that were read from a file have no credit. The `transforms` without each fold are then
    scored instead.
    """
    credits = []
    for number, fold in enumerate(plan.folds):
        credit = points[_key(number, setting)].credit
        if credit is None:
            credit = answer_credit(fold.data.embedding(transforms[number]), fold.answers)
        credits.append(credit)
    return np.concatenate(credits)


def _scored(result: Sweep, plan: _Plan, transforms: list[LinearTransform]) -> LinearTransform:
    """The choice with its scores on the folds, by the `transforms` without each fold."""
    converged = result.best["converged"]
    scores = heldout_scores(plan.data, plan.folds, transforms, converged=converged)
    meta = result.transform.meta
    fitted = {**meta["fit"], "heldout": scores.model_dump()}
    return replace(result.transform, meta={**meta, "fit": fitted})


def _write(result: Sweep, plan: _Plan, transforms: list[LinearTransform], folder: Path) -> None:
    """Write the files of a finished sweep; `transforms` are the choice without each fold.

    The changes that the choice makes are measured on answers that these fits have not seen.
    """
    data = plan.data
    features = data.features
    bounds = ceiling(data.answers, least=MIN_REPEATED_SHARE)
    rows = [*result.scores, *(bounds.scores if bounds is not None else ())]
    result.transform.save(folder / "transform.npz")
    write_text(folder / "means.csv", result.means.to_csv(index=False))
    write_text(folder / "front.csv", result.front.to_csv(index=False))
    write_rows(folder / "rows.jsonl", [score.row() for score in rows])
    X, Z, fold_embeddings = embeddings(result.transform, features, transforms)
    parts = list(zip(fold_embeddings, [fold.answers for fold in plan.folds], strict=True))
    change = change_record(result.transform, features, X, parts, folds=transforms, heldout=True)
    views = paired_views(X, Z, features.labels, name="chosen", change=change, answers=data.answers)
    views_folder = make_folder(folder / "views")
    for name, view in views.items():
        save_view(view, views_folder / f"{name}.npz")


def _fingerprint(plan: _Plan) -> dict[str, Any]:
    """Everything that determines the points, by which the folder of another sweep is rejected."""
    data = plan.data
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    fingerprint = {
        "version": __version__,
        "settings": plan.settings[1:],
        "heldout": data.fold_unit,
        "solver": {"name": type(plan.solver).__name__, **vars(plan.solver)},
        "data": data.hashes(local=True) | {"kind": data.answers.kind},
        "folds": [_fold_hashes(fold) for fold in plan.folds],
        **{name: value for name, value in values.items() if isinstance(value, int | float)},
    }
    return json.loads(to_json(fingerprint))


def _fold_hashes(fold: Fold) -> dict[str, Any]:
    """The hashes of what is fitted without a fold, and of the answers and images that it has."""
    return {
        "fitted": fold.data.hashes(local=True),
        "answers": array_sha256(fold.answers.objects),
        "images": array_sha256(fold.data.evaluation_rows(fold.rows)),
    }


def _resumed_points(file: Path, plan: _Plan, resume: bool) -> Points:
    """Read the points of finished paths in the folder, and drop those of unfinished paths."""
    fingerprint = _fingerprint(plan)
    fingerprint_file = file.with_name("sweep.json")
    if fingerprint_file.exists():
        previous = read_object(fingerprint_file, what="sweep")
        differing = [
            name for name in previous | fingerprint if previous.get(name) != fingerprint.get(name)
        ]
        if differing:
            raise ParameterError(
                f"{file.parent} holds another sweep (its {differing[0]} differs). Choose another "
                "`out`."
            )
    has_rows = file.exists() and file.stat().st_size > 0
    rows = read_rows(file, ("fold", *SETTING[:-1], "status"), what="points") if has_rows else []
    if rows and not resume:
        raise ParameterError(
            f"{file.parent} holds {len(rows)} points of this sweep. Pass `resume=True` to continue "
            "it."
        )
    write_text(fingerprint_file, to_json(fingerprint))
    points = {_key(row["fold"], row): Point(row) for row in rows}
    for fold, path in plan.work:
        keys = [_key(fold, setting) for setting in path]
        if not all(key in points for key in keys):
            for key in keys:
                points.pop(key, None)
    if len(points) < len(rows):
        write_rows(file, [point.row for point in points.values()])
    return points


def _key(fold: int, setting: Mapping[str, Any]) -> tuple[Any, ...]:
    """The key of a point: its fold and its setting, taken from a setting or a row."""
    return (fold, *(setting.get(name) for name in SETTING))


@contextlib.contextmanager
def _parallel(data: FitData, jobs: int, scheduler: str | None) -> Iterator[joblib.Parallel]:
    """Yield the executor of the paths: this process, several processes, or a Dask cluster."""
    backend: dict[str, Any] = {"n_jobs": jobs}
    with contextlib.ExitStack() as stack:
        if scheduler is not None:
            distributed = import_optional("distributed", "`scheduler`")
            argument = "scheduler_file" if Path(scheduler).is_file() else "address"
            try:
                client = stack.enter_context(
                    distributed.Client(**{argument: scheduler}, timeout=10)
                )
            except (OSError, ValueError, TypeError) as error:
                raise ParameterError(
                    f"no Dask scheduler answers at {scheduler}. Give the address that it prints "
                    "when it starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
                ) from error
            backend = {"backend": "dask", "client": client, "scatter": [data]}
        stack.enter_context(joblib.parallel_config(**backend))
        try:
            yield joblib.Parallel(return_as="generator_unordered")
        except Exception as error:
            is_lost = bool(scheduler) or isinstance(error, BrokenProcessPool)
            if isinstance(error, GLocalError) or not is_lost:
                raise
            raise ClusterError(
                f"the processes that ran the paths were lost ({type(error).__name__}). Finished "
                "paths are kept: continue with `resume=True`."
            ) from error
