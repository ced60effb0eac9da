"""Fit and score a grid on folds of objects, choose one setting, refit it on everything."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from jaxtyping import Float

from glocal._version import __version__
from glocal.aligner import Arm, Exact, FitData, Keep, PaperLoop, fit
from glocal.aligner.data import AUTO, NEIGHBOURS, joined
from glocal.aligner.exact import Problem, WarmStart, scaled_identity
from glocal.aligner.fitting import Solver
from glocal.aligner.keep import DEFAULT_KEEP, best_centre
from glocal.data.features import object_name
from glocal.errors import (
    ClusterError,
    DivergedError,
    GLocalError,
    ParameterError,
    TrivialOptimumError,
    needed,
)
from glocal.evaluation.agreement import heldout_rows, odd_one_out
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.evaluation.view import object_view, save_view
from glocal.files import PathLike, array_sha256, make_folder, read_object, write_text
from glocal.results import Score, append_rows, read_rows, to_json
from glocal.sweep.grid import (
    METRICS,
    SETTING,
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
"""Relative tolerance of the fits that are only scored: a tenth of it moves no score by more than .002."""
ORIGINAL: Setting = {"method": "original", "lmbda": None, "mix": None, "alpha": None, "tau": None}


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep found.

    `points` has a row for each fold and setting, and for the original features on each fold;
    `means` one for each setting that was scored on every fold, the original features first, where
    `front` and `chosen` mark the settings that no other beats and the choice. `best` is the row of
    the choice, made for this `reason`, and `transform` its refit on everything. `scores` are the
    agreement of the original features and of the choice with all answers that some fold held out,
    and their paired difference, whose `p_holm` is corrected for the number of settings that could
    have been chosen.
    """

    points: pd.DataFrame
    means: pd.DataFrame
    best: dict[str, Any]
    reason: str
    transform: LinearTransform
    scores: list[Score]

    @property
    def front(self) -> pd.DataFrame:
        """The rows of `means` that are on the front, best agreement last, below the original features."""
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
    """Fit and score every setting on every fold, choose one, and refit it on everything.

    A unit of work is a path of settings on one fold, along which each exact fit starts from the one
    before. The rows of a finished path are appended to ``points.jsonl`` in `out`: a sweep that is
    killed repeats the paths it was walking.

    Parameters
    ----------
    data : FitData
        Without local features there is no `glocal`, and neighbours are counted among the objects.
        `centre` "auto" is chosen first, as `Keep` does.
    grid : "arms", "paper", mapping or path
        See `glocal.sweep.settings`. With fewer than 5,000 answers λ of "arms" are multiples of p /
        t.
    folds : int
        Parts of the objects, or of the questions where there are fewer than 5,000 answers, and of
        the local images; each is held out once.
    select : str or None
        The rule of the choice, in place of `keep`: "loss", "neighbours_kept>=0.9" or
        "agreement>=0.5", each also with a method before it, as in "naive loss"; `naive` is chosen
        only by a rule that names it.
    keep : float or None
        The best agreement among the settings that keep this share of the neighbours, a mean over
        folds; if none does, the one that keeps most. None is 0.9. ``glocal.fit(data,
        Keep(keep=…))`` needs no grid, and mixes fits so that little more is kept than asked.
    solver : Exact, PaperLoop or None
        Of the points and of the refit; None is ``Exact()``. Exact points have no certificate, and a
        tolerance of 3e-4 where `tol` is None.
    jobs : int
        Processes that walk the paths, with an equal share of the processor's threads; -1 takes one
        for each core.
    scheduler : str or None
        Address or scheduler file of a Dask cluster on which the paths are walked.
    out : path or None
        Folder of the sweep; docs/file-formats.md lists its files. None writes nothing.
    resume : bool
        Continue the sweep that `out` holds.
    progress : function or None
        Called with the last row, the number of finished points and their total after each path.

    Raises
    ------
    ParameterError, DataError, FileError
        Before any fit, where the grid, the folds, the data or the folder cannot be used.
    ClusterError
        The cluster or a worker was lost. The rows of finished paths are kept.

    Examples
    --------
    >>> from glocal.aligner import FitData
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=20000, n_local=90)
    >>> result = sweep(FitData(world.objects, world.answers, world.local), {"lmbda": 0.1, "alpha": [0.1, 0.5]})
    >>> len(result.points), result.best["alpha"]
    (9, 0.5)
    """
    rule = _rule(select, keep)
    solver = Exact() if solver is None else solver
    point_solver = (
        solver.replace(tol=solver.tol or POINT_TOLERANCE) if isinstance(solver, Exact) else solver
    )
    if data.centre == AUTO:
        data = best_centre(data).data
    grid_settings = _settings(data, grid, solver)
    _check(data, grid_settings, folds)
    work = _work(grid_settings, folds, warm=isinstance(solver, Exact))
    file = None if out is None else make_folder(out) / "points.jsonl"
    fingerprint = _fingerprint(data, grid_settings, folds, point_solver)
    points = (
        []
        if file is None
        else [Point(row) for row in _resumed_rows(file, fingerprint, work, resume)]
    )
    finished = {_key(point.row["fold"], point.row) for point in points}
    remaining = [(fold, path) for fold, path in work if _key(fold, path[0]) not in finished]
    with _parallel(data, jobs, scheduler) as run:
        for path_points in run(
            joblib.delayed(fit_path)(data, point_solver, folds, *unit) for unit in remaining
        ):
            points += path_points
            if file is not None:
                append_rows(file, [point.row for point in path_points])
            if progress is not None:
                progress(path_points[-1].row, len(points), folds * (len(grid_settings) + 1))
    order = {_key(0, setting): number for number, setting in enumerate([ORIGINAL, *grid_settings])}
    points.sort(key=lambda point: (order[_key(0, point.row)], point.row["fold"]))
    result = _choice(data, points, folds, rule, solver, len(grid_settings))
    if out is not None:
        _write(result, data, Path(out))
    return result


def _rule(select: str | None, keep: float | None) -> Rule:
    """The rule of the choice, of which only one of both may be given."""
    if select is not None and keep is not None:
        raise ParameterError(
            f"`select={select}` and `keep={keep:g}` are two rules. Give one of them."
        )
    if select is not None:
        return Rule.parse(select)
    return Rule("neighbours_kept", Keep(keep=keep).keep or DEFAULT_KEEP)


def _settings(
    data: FitData, grid: str | Mapping[str, Any] | PathLike, solver: Solver
) -> list[Setting]:
    """The settings of the grid that these data and this solver allow."""
    unit = None
    if data.fold_unit == "questions" and len(data.answers):
        unit = data.features.dimensions / data.answers.total_weight
    return settings(
        grid, local=data.local_features is not None, eta=isinstance(solver, PaperLoop), unit=unit
    )


def _check(data: FitData, grid_settings: list[Setting], folds: int) -> None:
    """Say what cannot be fitted or held out before anything is fitted."""
    local = [setting for setting in grid_settings if setting["method"] == "glocal"]
    data.check(Arm.of(local[0] if local else grid_settings[0]))
    if folds < 2:
        raise ParameterError(f"`folds` is {folds}; at least 2 are needed.")
    for fold in data.folds(folds):
        if len(fold.rows) <= NEIGHBOURS:
            kind = data.evaluation_kind
            raise ParameterError(
                f"{folds} folds leave fewer than {NEIGHBOURS + 1} {kind} in one, which {NEIGHBOURS} neighbours need. "
                f"Use fewer folds, or more {kind}."
            )


def _work(
    grid_settings: list[Setting], folds: int, *, warm: bool
) -> list[tuple[int, list[Setting]]]:
    """The units of work: a fold, and a path of settings on it."""
    every_path = [*paths(grid_settings, warm=warm), [ORIGINAL]]
    return [(fold, path) for path in every_path for fold in range(folds)]


def _choice(
    data: FitData, points: list[Point], folds: int, rule: Rule, solver: Solver, n_settings: int
) -> Sweep:
    """Choose one setting, and refit it on everything."""
    rows = [point.row for point in points]
    means = means_over_folds(rows, folds)
    chosen, reason = choose(means, rule)
    on_front = pareto_front(means[means["method"] != "original"]).index
    means = means.assign(front=means.index.isin(on_front), chosen=means.index == chosen)
    best = json.loads(to_json(means.loc[chosen].to_dict()))
    final = fit(data, Arm.of(best), _with_eta(solver, best), holdout=0).transform
    about = {
        "rule": str(rule),
        "reason": reason,
        "folds": folds,
        "heldout": data.fold_unit,
        "seed": data.seed,
        "n_settings": n_settings,
        "best": best,
    }
    transform = replace(final, meta={**final.meta, "sweep": about})
    scores = _gain(data, points, folds, best, n_settings)
    return Sweep(pd.DataFrame(rows), means, best, reason, transform, scores)


class Point(NamedTuple):
    """The row of one setting on one fold, and the credit of each held-out answer, which is not written."""

    row: dict[str, Any]
    credit: Float[np.ndarray, " t"] | None = None


def fit_path(
    data: FitData, solver: Solver, folds: int, fold: int, path: list[Setting]
) -> list[Point]:
    """Fit and score the settings of one path on one fold, each exact fit from the one before."""
    part, heldout, rows = data.split(fold, folds)
    X = np.asarray(data.features.matrix, dtype=np.float64)
    images = data.evaluation_rows(rows)
    before = data.scalars(images, "float64")
    near = neighbourhoods(before, NEIGHBOURS)
    points: list[Point] = []
    problem: Problem | None = None
    start: WarmStart | None = None
    for setting in path:
        began = time.perf_counter()
        scores: dict[str, Any] = dict.fromkeys(METRICS)
        ended: dict[str, Any] = {
            "objective": None,
            "status": "converged",
            "gap": None,
            "evaluations": 0,
        }
        credit = None
        try:
            if setting == ORIGINAL:  # what agreement is compared with
                transform = scaled_identity(replace(part, centre=0.0))
            elif isinstance(solver, Exact):
                arm = Arm.of(setting)
                problem = problem or solver.problem(part, local=arm.local)
                solution = solver.minimise(problem, arm, start, certified=False)
                start = solution.warm
            else:
                solution = _with_eta(solver, setting).solve(part, Arm.of(setting))
            if setting != ORIGINAL:
                transform = solution.transform
                ended = {name: getattr(solution, name) for name in ended}
            agreement = odd_one_out(transform.apply(X), heldout, interval=False)
            credit = agreement.units.values
            kept = kept_by_image(before, transform.apply(images), NEIGHBOURS, before=near)
            scores = {
                "accuracy_cosine": agreement.accuracy,
                "loss": agreement.loss,
                "neighbours_kept": float(kept.mean()),
            }
        except (
            TrivialOptimumError
        ) as error:  # W = 0, of which no score can be made and from which no fit starts
            ended |= {"status": "trivial", "lambda_max": error.lambda_max}
        except DivergedError as error:
            ended |= {"status": "diverged", "evaluations": error.steps, "reason": str(error)}
        counts = {"n_heldout": len(heldout), "n_images": len(images)}
        row = {
            "fold": fold,
            **setting,
            **scores,
            **counts,
            **ended,
            "seconds": time.perf_counter() - began,
        }
        points.append(Point(row, credit))
    return points


def _with_eta(solver: Solver, setting: Setting) -> Solver:
    """The solver of one setting: the paper's loop with its learning rate, if it has one."""
    return (
        solver.replace(eta=setting.get("eta") or solver.eta)
        if isinstance(solver, PaperLoop)
        else solver
    )


def _gain(
    data: FitData, points: list[Point], folds: int, best: Setting, n_settings: int
) -> list[Score]:
    """Agreement of the original and of the choice with all answers that some fold holds out, and what the choice gains.

    The credits of a resumed sweep are not at hand: its choice is scored again.
    """
    known = {_key(point.row["fold"], point.row): point.credit for point in points}
    credits: dict[str, list[np.ndarray]] = {"original": [], "chosen": []}
    solver = Exact(tol=POINT_TOLERANCE)
    for arm, setting in (
        ("original", ORIGINAL),
        ("chosen", {name: best.get(name) for name in SETTING}),
    ):
        for fold in range(folds):
            credit = known.get(_key(fold, setting))
            if credit is None:
                credit = fit_path(data, solver, folds, fold, [setting])[0].credit
            credits[arm].append(np.asarray(credit))
    heldout = joined([fold.answers for fold in data.folds(folds)])
    pooled = {arm: np.concatenate(parts) for arm, parts in credits.items()}
    original, chosen, gain = heldout_rows(pooled, heldout)
    # NOTE the choice is the best of many on these very answers: a comparison for each setting that could have been it
    corrected = None if gain.p is None else min(1.0, n_settings * gain.p)
    about = {**gain.settings, "n_settings": n_settings, "correction": "Bonferroni"}
    gain = replace(gain, p_holm=corrected, settings=about)
    return [replace(score, split="all folds") for score in (original, chosen, gain)]


def _write(result: Sweep, data: FitData, folder: Path) -> None:
    """The files of a finished sweep."""
    result.transform.save(folder / "transform.npz")
    write_text(folder / "means.csv", result.means.to_csv(index=False))
    write_text(folder / "front.csv", result.front.to_csv(index=False))
    write_text(
        folder / "rows.jsonl", "".join(to_json(score.row()) + "\n" for score in result.scores)
    )
    features, views = data.features, make_folder(folder / "views")
    names = [
        object_name(name)
        for name in features.names or [f"object {row}" for row in range(len(features))]
    ]
    original = object_view(
        features.standardization(features.matrix, "float64"), names, meta={"arm": "original"}
    )
    Z = result.transform.apply(np.asarray(features.matrix, dtype=np.float64))
    save_view(original, views / "original.npz")
    save_view(
        object_view(Z, names, baseline=original, meta={"arm": "chosen"}), views / "chosen.npz"
    )


def _fingerprint(
    data: FitData, grid_settings: list[Setting], folds: int, solver: Solver
) -> dict[str, Any]:
    """What determines the points: a folder that holds another sweep is refused."""
    hashes = data.hashes(local=False) | {"kind": data.answers.kind}
    if data.local_features is not None:
        hashes["local_features"] = array_sha256(data.local_features.matrix)
    about = {
        "version": __version__,
        "settings": grid_settings,
        "folds": folds,
        "heldout": data.fold_unit,
        "seed": data.seed,
        "block_size": data.block_size,
        "centre": data.centre,
        "solver": {"name": type(solver).__name__, **vars(solver)},
        "data": hashes,
    }
    return json.loads(to_json(about))


def _resumed_rows(
    file: Path, fingerprint: dict[str, Any], work: list[tuple[int, list[Setting]]], resume: bool
) -> list[dict[str, Any]]:
    """The rows of finished paths that the folder holds; those of a path that was not written whole are forgotten."""
    about = file.with_name("sweep.json")
    if about.exists() and (previous := read_object(about, what="sweep")) != fingerprint:
        differing = next(
            key for key in previous | fingerprint if previous.get(key) != fingerprint.get(key)
        )
        raise ParameterError(
            f"{file.parent} holds another sweep (its {differing} differs). Choose another `out`."
        )
    has_rows = file.exists() and file.stat().st_size > 0
    rows = read_rows(file, ("fold", *SETTING[:-1], "status"), what="points") if has_rows else []
    if rows and not resume:
        raise ParameterError(
            f"{file.parent} holds {len(rows)} points of this sweep. Pass `resume=True` to continue it."
        )
    write_text(about, to_json(fingerprint))
    row_of = {_key(row["fold"], row): row for row in rows}
    finished: list[dict[str, Any]] = []
    for fold, path in work:
        keys = [_key(fold, setting) for setting in path]
        if all(key in row_of for key in keys):
            finished += [row_of[key] for key in keys]
    if len(finished) < len(rows):
        write_text(file, "".join(to_json(row) + "\n" for row in finished))
    return finished


def _key(fold: int, setting: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one point from another; of a setting, or of a row that holds one."""
    return (fold, *(setting.get(name) for name in SETTING))


@contextlib.contextmanager
def _parallel(data: FitData, jobs: int, scheduler: str | None) -> Iterator[joblib.Parallel]:
    """What walks the paths: this process, several, or a Dask cluster."""
    backend: dict[str, Any] = {"n_jobs": jobs}
    with contextlib.ExitStack() as stack:
        if scheduler is not None:
            distributed = needed("distributed", "`scheduler`")
            place = {"scheduler_file" if Path(scheduler).is_file() else "address": scheduler}
            try:
                client = stack.enter_context(distributed.Client(**place, timeout=10))
            except (OSError, ValueError, TypeError) as error:
                raise ParameterError(
                    f"no Dask scheduler answers at {scheduler}. Give the address that it prints when it starts, e.g. "
                    "tcp://10.0.0.1:8786, or its scheduler file."
                ) from error
            backend = {"backend": "dask", "client": client, "scatter": [data]}
        stack.enter_context(joblib.parallel_config(**backend))
        try:
            yield joblib.Parallel(return_as="generator_unordered")
        except Exception as error:
            if isinstance(error, GLocalError) or not (
                scheduler or isinstance(error, BrokenProcessPool)
            ):
                raise
            raise ClusterError(
                f"the processes that ran the paths were lost ({type(error).__name__}). Finished paths are kept: "
                "continue with `resume=True`."
            ) from error
