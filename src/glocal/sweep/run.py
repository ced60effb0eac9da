"""Fit and score a grid on folds of objects, choose one setting, refit it on everything."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from glocal._version import __version__
from glocal.aligner import Arm, Exact, FitData, PaperLoop, Solution, fit
from glocal.aligner.data import NEIGHBOURS, joined
from glocal.aligner.exact import Problem
from glocal.aligner.fitting import Solver
from glocal.aligner.keep import Keep
from glocal.data.answers import Answers
from glocal.data.features import object_name
from glocal.errors import ClusterError, DivergedError, GLocalError, ParameterError, TrivialOptimumError, needed
from glocal.evaluation.agreement import answer_credit, heldout_rows, odd_one_out
from glocal.evaluation.structure import kept_by_image, neighbourhoods
from glocal.evaluation.view import object_view, save_view
from glocal.files import PathLike, array_sha256, make_folder, read_object, write_text
from glocal.results import Score, append_rows, read_rows, to_json
from glocal.sweep.grid import SETTING, Setting, check_rule, choose, means_over_folds, pareto_front, paths, settings
from glocal.transform import LinearTransform

ORIGINAL: Setting = {"method": "original", "lmbda": None, "mix": None, "alpha": None, "tau": None}
Rows = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep found.

    `points` has a row for each fold and setting, and for the original features on each fold; `means` one for each
    setting that was scored on every fold, the original features first, where `front` and `chosen` mark the settings
    that no other beats and the choice. `best` is the row of the choice, made for this `reason`, and `transform` its
    refit on everything. `scores` are the agreement of the original features and of the choice with all answers that
    some fold held out, and their paired difference, whose `p_holm` is corrected for the number of settings that could
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
        original, found = self.means[self.means["method"] == "original"], self.means[self.means["front"]]
        return pd.concat([original, found.sort_values("accuracy_cosine")])


def sweep(
    data: FitData,
    grid: str | Mapping[str, Any] | PathLike = "arms",
    *,
    folds: int = 3,
    select: str = "exchange",
    keep: float | None = None,
    solver: Solver | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    progress: Callable[[dict[str, Any], int, int], None] | None = None,
) -> Sweep:
    """Fit and score every setting on every fold, choose one, and refit it on everything.

    A unit of work is a path of settings on one fold, along which each exact fit starts from the one before. The rows of
    a finished path are appended to ``points.jsonl`` in `out`: a sweep that is killed repeats the paths it was walking.

    Parameters
    ----------
    data : FitData
        Without local features there is no `glocal`, and neighbours are counted among the held-out objects.
    grid : "arms", "paper", mapping or path
        See `glocal.sweep.settings`.
    folds : int
        Parts of the objects, and of the local images; each is held out once.
    select : str
        The rule of the choice; see `glocal.sweep.choose`.
    keep : float or None
        In place of a rule: the best agreement among the settings that keep this share of the neighbours, a mean over
        folds. ``glocal.fit(data, keep=…)`` needs no grid, and mixes fits so that little more is kept than asked.
    solver : Exact, PaperLoop or None
        Of the points and of the refit; None is ``Exact()``. A `tol` that is None is 1e-4 for the points.
    jobs : int
        Processes that walk the paths, with an equal share of the processor's threads; -1 takes one for each core.
    scheduler : str or None
        Address or scheduler file of a Dask cluster on which the paths are walked.
    out : path or None
        Folder of the sweep; docs/file-formats.md lists its files. None writes nothing.
    resume : bool
        Go on with the sweep that `out` holds.
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
    >>> found = sweep(FitData(world.objects, world.answers, world.local), {"lmbda": 0.1, "alpha": [0.1, 0.5]})
    >>> len(found.points), found.best["alpha"]
    (9, 0.1)
    """
    select = select if keep is None else f"neighbours_kept>={Keep(keep=keep).keep:g}"
    check_rule(select)
    solver = of_points = Exact() if solver is None else solver
    if exact := isinstance(solver, Exact):
        of_points = solver.replace(tol=solver.tol or 1e-4)
    wanted = settings(grid, local=data.local_features is not None, eta=not exact)
    data.check(Arm.of(next((one for one in wanted if one["method"] == "glocal"), wanted[0])))
    for fold in range(max(folds, 1)):  # says what cannot be held out before anything is fitted
        if len(data.fold(fold, folds)[2]) <= NEIGHBOURS:
            what = data.judged[0]
            raise ParameterError(
                f"{folds} folds leave fewer than {NEIGHBOURS + 1} {what} in one, which {NEIGHBOURS} neighbours need. "
                f"Use fewer folds, or more {what}."
            )
    work = [(fold, path) for path in [*paths(wanted, warm=exact), [ORIGINAL]] for fold in range(folds)]
    file = None if out is None else make_folder(out) / "points.jsonl"
    rows = [] if file is None else _begun(file, _determining(data, wanted, folds, of_points), work, resume)
    done = {_key(row["fold"], row) for row in rows}
    left = [(fold, path) for fold, path in work if _key(fold, path[0]) not in done]
    with _parallel(data, jobs, scheduler) as run:
        for found in run(joblib.delayed(fit_path)(data, of_points, folds, *one) for one in left):
            rows += found
            if file is not None:
                append_rows(file, found)
            if progress is not None:
                progress(found[-1], len(rows), folds * (len(wanted) + 1))
    place = {_key(0, one): number for number, one in enumerate([ORIGINAL, *wanted])}
    rows.sort(key=lambda row: (place[_key(0, row)], row["fold"]))
    means = means_over_folds(rows, folds)
    chosen, reason = choose(means, select)
    on_front = pareto_front(means[means["method"] != "original"]).index
    means = means.assign(front=means.index.isin(on_front), chosen=means.index == chosen)
    best = json.loads(to_json(means.loc[chosen].to_dict()))
    told = {"rule": select, "reason": reason, "folds": folds, "seed": data.seed, "n_settings": len(wanted)}
    final = fit(data, Arm.of(best), _at_rate(solver, best)).transform
    transform = replace(final, meta={**final.meta, "sweep": told | {"best": best}})
    scores = _gain(data, _at_rate(of_points, best), folds, best, len(wanted))
    result = Sweep(pd.DataFrame(rows), means, best, reason, transform, scores)
    if out is not None:
        _write(result, data, Path(out))
    return result


def fit_path(data: FitData, solver: Solver, folds: int, fold: int, path: list[Setting]) -> Rows:
    """Fit and score the settings of one path on one fold, each exact fit from the one before."""
    part, heldout, rows = data.fold(fold, folds)
    X, images = np.asarray(data.features.matrix, dtype=np.float64), data.judged_rows(rows)
    before = data.scalars(images, "float64")
    near, found = neighbourhoods(before, NEIGHBOURS), Rows()
    problem: Problem | None = None
    last: Solution | None = None
    for setting in path:
        began = time.perf_counter()
        scores: dict[str, Any] = dict.fromkeys(("accuracy_cosine", "loss", "neighbours_kept"))
        told: dict[str, Any] = {"objective": None, "status": "converged", "gap": None, "evaluations": 0}
        try:
            if setting == ORIGINAL:  # what agreement is compared with
                transform = part.original()
            else:
                arm = Arm.of(setting)
                if isinstance(solver, Exact):
                    problem = problem or solver.problem(part, local=arm.local)
                    last = solver.minimise(problem, arm, last)
                else:
                    last = _at_rate(solver, setting).solve(part, arm)
                transform, told = last.transform, {name: getattr(last, name) for name in told}
            agreed = odd_one_out(transform.apply(X), heldout, interval=False)
            kept = float(kept_by_image(before, transform.apply(images), NEIGHBOURS, before=near).mean())
            scores = {"accuracy_cosine": agreed.accuracy, "loss": agreed.loss, "neighbours_kept": kept}
        except TrivialOptimumError as error:  # W = 0, of which no score can be made and from which no fit starts
            told |= {"status": "trivial", "lambda_max": error.lambda_max}
        except DivergedError as error:
            told |= {"status": "diverged", "evaluations": error.steps, "reason": str(error)}
        row = {"fold": fold, **setting, **scores, "n_heldout": len(heldout), "n_images": len(images), **told}
        found.append({**row, "seconds": time.perf_counter() - began})
    return found


def _at_rate(solver: Solver, setting: Setting) -> Solver:
    """The solver of one setting: the paper's loop with its learning rate, if it has one."""
    return solver.replace(eta=setting.get("eta") or solver.eta) if isinstance(solver, PaperLoop) else solver


def _gain(data: FitData, solver: Solver, folds: int, best: Setting, n_settings: int) -> list[Score]:
    """Agreement of the original and of the choice with all answers that some fold holds out, and what the choice gains.

    The choice is fitted once more without each fold.
    """
    X, held, credits = np.asarray(data.features.matrix, dtype=np.float64), list[Answers](), []
    for k in range(folds):
        part, heldout, _ = data.fold(k, folds)
        Z = solver.solve(part, Arm.of(best)).transform.apply(X)
        credits.append([answer_credit(rows, heldout) for rows in (data.scalars(X, "float64"), Z)])
        held.append(heldout)
    original, chosen = (np.concatenate(parts) for parts in zip(*credits, strict=True))
    *both, gain = heldout_rows({"original": original, "chosen": chosen}, joined(held))
    # NOTE the choice is the best of many on these very answers: a comparison for each setting that could have been it
    corrected = None if gain.p is None else min(1.0, n_settings * gain.p)
    gain = replace(gain, p_holm=corrected, settings={**gain.settings, "n_settings": n_settings})
    return [replace(score, split="all folds") for score in (*both, gain)]


def _write(found: Sweep, data: FitData, folder: Path) -> None:
    """The files of a finished sweep."""
    found.transform.save(folder / "transform.npz")
    write_text(folder / "means.csv", found.means.to_csv(index=False))
    write_text(folder / "front.csv", found.front.to_csv(index=False))
    write_text(folder / "rows.jsonl", "".join(to_json(score.row()) + "\n" for score in found.scores))
    features, views = data.features, make_folder(folder / "views")
    names = [object_name(name) for name in features.names or [f"object {row}" for row in range(len(features))]]
    original = object_view(data.scalars(features.matrix, "float64"), names, meta={"arm": "original"})
    Z = found.transform.apply(np.asarray(features.matrix, dtype=np.float64))
    save_view(original, views / "original.npz")
    save_view(object_view(Z, names, baseline=original, meta={"arm": "chosen"}), views / "chosen.npz")


def _determining(data: FitData, grid: list[Setting], folds: int, solver: Solver) -> dict[str, Any]:
    """What determines the points: a folder that holds another sweep is refused."""
    local = {} if data.local_features is None else {"local_features": array_sha256(data.local_features.matrix)}
    told = {
        "version": __version__, "settings": grid, "folds": folds, "seed": data.seed, "block_size": data.block_size,
        "solver": {"name": type(solver).__name__, **vars(solver)}, "data": data.hashes(local=False) | local,
    }  # fmt: skip
    return json.loads(to_json(told))


def _begun(file: Path, told: dict[str, Any], work: list[tuple[int, list[Setting]]], resume: bool) -> Rows:
    """The rows of finished paths that the folder holds; those of a path that was not written whole are forgotten."""
    about = file.with_name("sweep.json")
    if about.exists() and (held := read_object(about, what="sweep")) != told:
        other = next(key for key in held | told if held.get(key) != told.get(key))
        raise ParameterError(f"{file.parent} holds another sweep (its {other} differs). Choose another `out`.")
    holds = file.exists() and file.stat().st_size  # 0 where nothing of it could be kept, and no path was walked since
    rows = read_rows(file, ("fold", *SETTING[:-1], "status"), what="points") if holds else []
    if rows and not resume:
        raise ParameterError(
            f"{file.parent} holds {len(rows)} points of this sweep. Pass `resume=True` to continue it."
        )
    write_text(about, to_json(told))
    known, kept = {_key(row["fold"], row): row for row in rows}, Rows()
    for fold, path in work:
        keys = [_key(fold, one) for one in path]
        if all(key in known for key in keys):
            kept += [known[key] for key in keys]
    if len(kept) < len(rows):
        write_text(file, "".join(to_json(row) + "\n" for row in kept))
    return kept


def _key(fold: int, setting: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells one point from another; of a setting, or of a row that holds one."""
    return (fold, *(setting.get(name) for name in SETTING))


@contextlib.contextmanager
def _parallel(data: FitData, jobs: int, scheduler: str | None) -> Iterator[joblib.Parallel]:
    """What walks the paths: this process, several, or a Dask cluster."""
    where: dict[str, Any] = {"n_jobs": jobs}
    with contextlib.ExitStack() as stack:
        if scheduler is not None:
            distributed = needed("distributed", "--scheduler")
            at = {"scheduler_file" if Path(scheduler).is_file() else "address": scheduler}
            try:
                client = stack.enter_context(distributed.Client(**at, timeout=10))
            except (OSError, ValueError, TypeError, AssertionError) as error:
                raise ParameterError(
                    f"no Dask scheduler answers at {scheduler}. Give the address that it prints when it starts, e.g. "
                    "tcp://10.0.0.1:8786, or its scheduler file."
                ) from error
            where = {"backend": "dask", "client": client, "scatter": [data]}
        stack.enter_context(joblib.parallel_config(**where))
        try:
            yield joblib.Parallel(return_as="generator_unordered")
        except Exception as error:
            if isinstance(error, GLocalError) or not (scheduler or isinstance(error, BrokenProcessPool)):
                raise
            raise ClusterError(
                f"the processes that ran the paths were lost ({type(error).__name__}). Finished paths are kept: "
                "continue with --resume."
            ) from error
