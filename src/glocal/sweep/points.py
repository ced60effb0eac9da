"""The points of a sweep: paths of settings, each fitted and scored on one fold."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import joblib

from glocal._version import __version__
from glocal.aligner import Arm, Exact, FitData, PaperLoop, Solution
from glocal.aligner.exact import WarmStart
from glocal.aligner.fitting import Solver
from glocal.aligner.folds import Fold, FoldScorer, scaled_identity
from glocal.errors import (
    ClusterError,
    DivergedError,
    GLocalError,
    ParameterError,
    TrivialOptimumError,
    import_optional,
)
from glocal.files import array_sha256
from glocal.results import to_json
from glocal.sweep.grid import SCORES, Setting
from glocal.transform import LinearTransform

POINT_TOLERANCE = 3e-4
"""Relative tolerance of fits that are only scored: a tenth of it changes no score by over .002."""
ORIGINAL: Setting = {"method": "original", "lmbda": None, "mix": None, "alpha": None, "tau": None}
Row = dict[str, Any]
"""A point, as ``points.jsonl`` has it: a fold, a setting, its scores, and how its fit ended."""
_ORIGINAL_OUTCOME = {"objective": None, "status": "converged", "gap": None, "evaluations": 0}


class Unit(NamedTuple):
    """A unit of work: a path of settings on one fold, and the name of its file."""

    fold: int
    path: list[Setting]
    name: str


def units_of(folds: Sequence[Fold], paths: list[list[Setting]], solver: Solver) -> list[Unit]:
    """Every path on every fold, path by path."""
    inputs = [_inputs(fold) for fold in folds]
    return [
        Unit(number, path, _unit_name(number, inputs[number], solver, path))
        for path in paths
        for number in range(len(folds))
    ]


def _inputs(fold: Fold) -> dict[str, Any]:
    """Everything in a fold that determines its points: hashes and numbers."""
    data = fold.data
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    return {
        "fitted": data.hashes(local=True),
        "answers": array_sha256(fold.answers.objects),
        "weights": array_sha256(fold.answers.all_weights),
        "images": array_sha256(data.evaluation_rows(fold.rows)),
        "kind": data.answers.kind,
        **{name: value for name, value in values.items() if isinstance(value, int | float)},
    }


def _unit_name(fold: int, inputs: dict[str, Any], solver: Solver, path: list[Setting]) -> str:
    """The hash of everything that determines the rows of a path on a fold."""
    options = {} if path == [ORIGINAL] else {type(solver).__name__: vars(solver)}
    text = to_json([__version__, fold, inputs, options, path])
    return hashlib.sha256(text.encode()).hexdigest()


def fit_units(
    folds: Sequence[Fold],
    solver: Solver,
    units: Sequence[Unit],
    jobs: int,
    scheduler: str | None,
) -> Iterator[tuple[str, list[Row]]]:
    """Yield the name and the rows of each unit as soon as it is fitted."""
    heldout = [FoldScorer([fold]) for fold in folds]
    with _parallel(heldout, jobs, scheduler) as run:
        yield from run(joblib.delayed(fit_path)(heldout[unit.fold], solver, unit) for unit in units)


def fit_path(heldout: FoldScorer, solver: Solver, unit: Unit) -> tuple[str, list[Row]]:
    """Fit the settings of one path to the data without a fold, and score them on that fold.

    Returns the name of the unit too.
    """
    (data,) = heldout.data
    counts = {"n_heldout": len(heldout.answers), "n_images": len(heldout.images[0])}
    fit_next = _fits_along(data, solver, unit.path)
    rows = []
    for setting in unit.path:
        start_time = time.perf_counter()
        row = {"fold": unit.fold, **setting, **dict.fromkeys(SCORES), **counts}
        row |= _ORIGINAL_OUTCOME
        if setting == ORIGINAL:  # the baseline that agreement is compared with
            row |= _scores(heldout, scaled_identity(data, 0.0))
        else:
            row |= _fitted_and_scored(fit_next, heldout, setting)
        rows.append(row | {"seconds": time.perf_counter() - start_time})
    return unit.name, rows


def _fitted_and_scored(
    fit_next: Callable[[Setting], Solution], heldout: FoldScorer, setting: Setting
) -> Row:
    """How the fit of a setting ended, and its scores if it has any."""
    try:
        solution = fit_next(setting)
    except TrivialOptimumError as error:  # W = 0 has no scores, and no fit starts from it
        return {"status": "trivial", "lambda_max": error.lambda_max}
    except DivergedError as error:
        return {"status": "diverged", "evaluations": error.steps, "reason": str(error)}
    outcome = {name: getattr(solution.report, name) for name in _ORIGINAL_OUTCOME}
    return outcome | _scores(heldout, solution.transform)


def _fits_along(
    data: FitData, solver: Solver, path: list[Setting]
) -> Callable[[Setting], Solution]:
    """A function that fits the next setting of a path; an exact fit starts from the one before."""
    if isinstance(solver, PaperLoop):
        return lambda setting: with_eta(solver, setting).solve(data, Arm.of(setting))
    problem = None
    start: WarmStart | None = None

    def fit_next(setting: Setting) -> Solution:
        nonlocal problem, start
        problem = problem or solver.problem(data, local=Arm.of(path[-1]).local)
        solution = solver.minimise(problem, Arm.of(setting), start, certified=False)
        start = solution.warm
        return solution

    return fit_next


def _scores(heldout: FoldScorer, transform: LinearTransform) -> dict[str, float]:
    """The scores of a transform on what a fold holds out."""
    credit, loss = heldout.credit_and_loss([transform])
    Z = [transform.map_rows(images) for images in heldout.images]
    scores = {
        "agreement": heldout.mean(credit),
        "loss": loss,
        "neighbours_kept": float(heldout.kept(Z).mean()),
    }
    if heldout.is_centred:
        scores["neighbours_kept_centred"] = float(heldout.kept(Z, centred=True).mean())
    return scores


def with_eta(solver: Solver, setting: Setting) -> Solver:
    """The solver of one setting; the paper's loop gets the learning rate of the setting, if any."""
    if isinstance(solver, Exact):
        return solver
    return solver.replace(eta=setting.get("eta") or solver.eta)


@contextlib.contextmanager
def _parallel(inputs: Sequence[Any], jobs: int, scheduler: str | None) -> Iterator[joblib.Parallel]:
    """Yield the executor of the paths: this process, several processes, or a Dask cluster.

    A cluster gets each of the `inputs` once.
    """
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
            if client.amm.running():  # it would leave one copy of the inputs, lost with its worker
                client.amm.stop()
                stack.callback(client.amm.start)
            backend = {"backend": "dask", "client": client, "scatter": inputs}
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
