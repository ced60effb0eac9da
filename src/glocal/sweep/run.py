"""Fit and score a grid on folds of objects, choose one setting, refit it on everything."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
from jaxtyping import Int

from glocal._version import __version__
from glocal.aligner import Exact, FitData, Solution, fit
from glocal.aligner.fitting import Solver
from glocal.data.features import check_finite, object_name
from glocal.errors import ClusterError, DivergedError, GLocalError, ParameterError, TrivialOptimumError
from glocal.evaluation.agreement import answer_credit, heldout_rows, odd_one_out
from glocal.evaluation.neighbours import neighbours_kept
from glocal.evaluation.view import object_view, save_view
from glocal.extras import needed
from glocal.files import PathLike, array_sha256, atomic_write, make_folder, one_line, read_object
from glocal.results import Score, append_rows, read_rows, to_json
from glocal.sweep.choice import METRICS, SETTING, check_rule, choose, means_over_folds, pareto_front
from glocal.sweep.grid import Setting, arm_of, paths, settings
from glocal.transform import LinearTransform

if TYPE_CHECKING:
    import pandas as pd

K = 10  # neighbours
ALL_FOLDS = "all folds"
"""The split of scores of answers that were held out in any of the folds."""
_MOST = 10_000  # held-out images whose neighbours are compared
_GO_ON = "Finished paths are kept: go on with --resume."
ORIGINAL: Setting = {"method": "original", "lmbda": None, "mix": None, "alpha": None, "tau": None}
Progress = Callable[[dict[str, Any], int, int], None]
Heldout = list[tuple[LinearTransform, Int[np.ndarray, " _"]]]


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep found.

    Parameters
    ----------
    points : DataFrame
        One row for each fold and setting, and for the original features on each fold.
    means : DataFrame
        One row for each setting that was scored on every fold, the original features first; `front` and `chosen` mark
        the settings that no other beats and the choice.
    best : dict
        The row of the choice.
    reason : str
        Why it was chosen.
    transform : LinearTransform
        The choice refitted on everything.
    scores : list of Score
        Agreement of the original features and of the choice with all answers that some fold held out, and their paired
        difference, whose `p_holm` is corrected for the number of settings that could have been chosen.
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
        import pandas as pd

        original, found = self.means[self.means["method"] == "original"], self.means[self.means["front"]]
        return pd.concat([original, found.sort_values("accuracy_cosine")])


def sweep(
    data: FitData,
    grid: str | Mapping[str, Any] | PathLike = "arms",
    *,
    folds: int = 3,
    select: str = "exchange",
    solver: Solver | None = None,
    jobs: int = 1,
    scheduler: str | None = None,
    out: PathLike | None = None,
    resume: bool = False,
    progress: Progress | None = None,
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
    solver : Exact, PaperLoop or None
        Of every point; None is ``Exact(tol=1e-4)``. The choice is refitted with the default tolerance.
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
    check_rule(select)
    solver = Exact(tol=1e-4) if solver is None else solver
    wanted = settings(grid, local=data.local_features is not None, eta=not isinstance(solver, Exact))
    data.check(arm_of(next((one for one in wanted if one["method"] == "glocal"), wanted[0])))
    check_folds(data, folds)
    every = [ORIGINAL, *wanted]
    work = [[ORIGINAL], *paths(wanted, warm=isinstance(solver, Exact))]
    rows = _Rows(out, _told(data, wanted, folds, solver), resume)
    left = rows.left([(fold, path) for path in reversed(work) for fold in range(folds)])
    with _parallel(data, jobs, scheduler) as run:
        for found in run(joblib.delayed(fit_path)(data, solver, folds, *one) for one in left):
            rows.append(found)
            if progress is not None:
                progress(found[-1], len(rows.held), folds * len(every))
    points = sorted(rows.held, key=lambda row: (every.index(_setting(row)), row["fold"]))
    means = means_over_folds(points, folds)
    chosen, reason = choose(means, select)
    on_front = pareto_front(means[means["method"] != "original"]).index
    means = means.assign(front=means.index.isin(on_front), chosen=means.index == chosen)
    best = json.loads(to_json(means.loc[chosen].to_dict()))
    transform = fit(data, arm_of(best), _solver_of(best, solver, tol=None)).transform
    record = {
        "rule": select,
        "reason": reason,
        "folds": folds,
        "seed": data.seed,
        "n_settings": len(wanted),
        "best": best,
    }
    transform = replace(transform, meta={**transform.meta, "sweep": record})
    heldout = _heldout(data, solver, folds, best)
    result = Sweep(_frame(points), means, best, reason, transform, _scores(data, heldout, len(wanted)))
    if out is not None:
        _write(result, data, heldout, Path(out))
    return result


def check_folds(data: FitData, folds: int) -> None:
    """Raise an error for folds that cannot be fitted or scored."""
    what, judged = ("objects", data.features) if data.local_features is None else ("local images", data.local_features)
    if len(judged) < folds * (K + 1):
        raise ParameterError(
            f"{len(judged)} {what} cannot be cut into {folds} folds of at least {K + 1}, which {K} neighbours need. "
            f"Use fewer folds, or more {what}."
        )
    for k in range(folds):
        data.fold(k, folds)


def fit_path(data: FitData, solver: Solver, folds: int, fold: int, path: list[Setting]) -> list[dict[str, Any]]:
    """Fit and score the settings of one path on one fold, each exact fit from the one before."""
    part, heldout, rows = data.fold(fold, folds)
    X = np.asarray(data.features.matrix)
    judged = data.features if data.local_features is None else data.local_features
    images = np.asarray(judged.matrix[np.sort(rows[:_MOST])])
    check_finite(images, judged.source, np.sort(rows[:_MOST]))
    fitter, before, found = (
        _Fitter(part, solver, local=path[0]["alpha"] is not None),
        data.scalars(images, "float64"),
        [],
    )
    for setting in path:
        began = time.perf_counter()
        row, scores = {"fold": fold, **setting}, dict.fromkeys(METRICS)
        transform, told = fitter.fit(setting)
        if transform is not None:
            agreed = odd_one_out(transform.apply(X), heldout, interval=False)
            kept = neighbours_kept(before, transform.apply(images), K)
            scores = {"accuracy_cosine": agreed.accuracy, "loss": agreed.loss, "neighbours_kept": kept}
        row |= {**scores, "n_heldout": len(heldout), "n_images": len(images), **told}
        found.append({**row, "seconds": time.perf_counter() - began})
    return found


class _Fitter:
    """One fold, on which settings are fitted one after the other."""

    def __init__(self, part: FitData, solver: Solver, *, local: bool) -> None:
        self.part, self.solver = part, solver
        self._before: Solution | None = None
        self._problem = solver.problem(part, local=local) if isinstance(solver, Exact) else None

    def fit(self, setting: Setting) -> tuple[LinearTransform | None, dict[str, Any]]:
        """The transform, None where there is none to score, and what the row says of the fit."""
        if setting["method"] == "original":  # what agreement is compared with
            return self.part.original(), _of_fit("converged")
        try:
            if isinstance(self.solver, Exact) and self._problem is not None:
                found = self.solver.minimise(self._problem, arm_of(setting), self._before)
            else:
                found = _solver_of(setting, self.solver).solve(self.part, arm_of(setting))
        except TrivialOptimumError as error:  # W = 0, of which no score can be made and from which no fit starts
            return None, {**_of_fit("trivial"), "lambda_max": error.lambda_max}
        except DivergedError as error:
            return None, {**_of_fit("diverged", evaluations=error.steps), "reason": str(error)}
        self._before = found
        return found.transform, _of_fit(found.status, found.objective, found.gap, found.evaluations)


def _of_fit(
    status: str, objective: float | None = None, gap: float | None = None, evaluations: int = 0
) -> dict[str, Any]:
    return {"objective": objective, "status": status, "gap": gap, "evaluations": evaluations}


def _solver_of(setting: Mapping[str, Any], solver: Solver, **changes: Any) -> Solver:
    """The solver of one setting: with its learning rate, if it has one."""
    if not isinstance(solver, Exact):
        changes = {} if setting.get("eta") is None else {"eta": setting["eta"]}
    changed: Solver = replace(solver, **changes)  # type: ignore[type-var]
    return changed


def _heldout(data: FitData, solver: Solver, folds: int, best: Setting) -> Heldout:
    """The choice fitted once more without each fold, and the numbers of the answers that the fold holds out."""
    found = []
    for k in range(folds):
        part, _, _ = data.fold(k, folds)
        assert part.objects is not None
        inside = np.ones(len(data.features), dtype=bool)
        inside[part.objects] = False
        transform, _ = _Fitter(part, _solver_of(best, solver), local=best["alpha"] is not None).fit(dict(best))
        assert transform is not None
        found.append((transform, np.flatnonzero(data.answers.inside(inside)[1])))
    return found


def _scores(data: FitData, heldout: Heldout, n_settings: int) -> list[Score]:
    """Agreement of the original and the choice with all answers that some fold holds out, and what the choice gains."""
    answers, X = data.answers, np.asarray(data.features.matrix, dtype=np.float64)
    credits = {
        "original": [answer_credit(data.scalars(X, "float64"), answers.select(held)) for _, held in heldout],
        "chosen": [answer_credit(transform.apply(X), answers.select(held)) for transform, held in heldout],
    }
    *both, gain = heldout_rows(
        {name: np.concatenate(parts) for name, parts in credits.items()},
        answers.select(np.concatenate([held for _, held in heldout])),
    )
    # NOTE the choice is the best of many on these very answers: a comparison for each setting that could have been it
    corrected = None if gain.p is None else min(1.0, n_settings * gain.p)
    gain = replace(gain, p_holm=corrected, settings={**gain.settings, "n_settings": n_settings})
    return [replace(score, split=ALL_FOLDS) for score in (*both, gain)]


def _write(found: Sweep, data: FitData, heldout: Heldout, folder: Path) -> None:
    """The files of a finished sweep."""
    found.transform.save(folder / "transform.npz")
    for name, table in (("means.csv", found.means), ("front.csv", found.front)):
        with atomic_write(folder / name) as stream:
            stream.write(table.to_csv(index=False).encode())
    with atomic_write(folder / "rows.jsonl") as stream:
        stream.write("".join(to_json(score.row()) + "\n" for score in found.scores).encode())
    features, views = data.features, make_folder(folder / "views")
    names = [object_name(name) for name in features.names or [f"object {row}" for row in range(len(features))]]
    raw, X = np.asarray(features.matrix, dtype=np.float64), data.scalars(features.matrix, "float64")
    meta = {"network": "", "arm": "original", "baseline": "original"}
    original = object_view(X, names, meta=meta)
    told = {**meta, "arm": "chosen", "settings": _setting(found.best)}
    chosen = object_view(found.transform.apply(raw), names, baseline=original, meta=told)
    for name, view in (("original", original), ("chosen", chosen)):
        save_view(view, views / f"{name}.npz")


def _told(data: FitData, grid: list[Setting], folds: int, solver: Solver) -> dict[str, Any]:
    """What determines the points: a folder that holds another sweep is refused."""
    answers, local = data.answers, data.local_features
    arrays = {
        "features": data.features.matrix, "answers": answers.objects, "weights": answers.weights,
        "local_features": None if local is None else local.matrix,
    }  # fmt: skip
    hashes = {name: array_sha256(array) for name, array in arrays.items() if array is not None}
    told = {
        "version": __version__, "settings": grid, "folds": folds, "seed": data.seed, "block_size": data.block_size,
        "local_blocks": data.local_blocks, "solver": {"name": type(solver).__name__, **vars(solver)},
        "mean": data.scalars.mean, "std": data.scalars.std, "data": hashes,
    }  # fmt: skip
    return json.loads(to_json(told))


class _Rows:
    """The rows of a sweep: in memory, and with a folder in its ``points.jsonl`` beside ``sweep.json``."""

    def __init__(self, out: PathLike | None, told: dict[str, Any], resume: bool) -> None:
        self.held: list[dict[str, Any]] = []
        self._file = None if out is None else make_folder(out) / "points.jsonl"
        if self._file is None:
            return
        about = self._file.with_name("sweep.json")
        if about.exists() and (held := read_object(about, what="sweep")) != told:
            other = next(key for key in told if held.get(key) != told[key])
            raise ParameterError(f"{out} holds another sweep (its {other} differs). Choose another --out.")
        if self._file.exists():
            self.held = read_rows(self._file, ("fold", *SETTING[:-1], "status"), what="points")
        if self.held and not resume:
            raise ParameterError(f"{out} holds {len(self.held)} points of this sweep. Pass --resume to go on with it.")
        with atomic_write(about) as stream:
            stream.write(to_json(told).encode())

    def left(self, work: list[tuple[int, list[Setting]]]) -> list[tuple[int, list[Setting]]]:
        """The paths that are not finished; rows of a path that a killed sweep did not write whole are forgotten."""
        held, kept, left = {_key(row): row for row in self.held}, list[dict[str, Any]](), []
        for fold, path in work:
            keys = [_key({"fold": fold, **one}) for one in path]
            if all(key in held for key in keys):
                kept += [held[key] for key in keys]
            else:
                left.append((fold, path))
        if len(kept) < len(self.held) and self._file is not None:
            with atomic_write(self._file) as stream:
                stream.write("".join(to_json(row) + "\n" for row in kept).encode())
        self.held = kept
        return left

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Keep the rows of a finished path."""
        self.held += rows
        if self._file is not None:
            append_rows(self._file, rows)


def _setting(row: Mapping[str, Any]) -> Setting:
    return {name: row[name] for name in SETTING if name in row}


def _key(row: Mapping[str, Any]) -> str:
    return to_json([row["fold"], *(row.get(name) for name in SETTING)])


def _frame(points: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(points)


@contextlib.contextmanager
def _parallel(data: FitData, jobs: int, scheduler: str | None) -> Iterator[joblib.Parallel]:
    """What walks the paths: this process, several, or a Dask cluster."""
    where: Any = joblib.parallel_config(n_jobs=jobs)
    with contextlib.ExitStack() as stack:
        if scheduler is not None:
            client = stack.enter_context(_client(scheduler))
            where = joblib.parallel_config(backend="dask", client=client, scatter=[data])
        stack.enter_context(where)
        try:
            yield joblib.Parallel(return_as="generator_unordered")
        except GLocalError:
            raise
        except BrokenProcessPool as error:
            raise ClusterError(f"a process that walked a path died ({one_line(error)[:100]}). {_GO_ON}") from error
        except Exception as error:
            if scheduler is None:
                raise
            raise ClusterError(
                f"the Dask cluster failed ({type(error).__name__}: {one_line(error)[:100]}). {_GO_ON}"
            ) from error


def _client(scheduler: str) -> Any:
    """A client of a Dask scheduler that is running."""
    distributed = needed("distributed", "--scheduler")
    where = {"scheduler_file" if Path(scheduler).is_file() else "address": scheduler}
    try:
        return distributed.Client(**where, timeout=10)
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler} ({one_line(error)[:100]}). Give the address that it prints when "
            "it starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
        ) from error
