"""The points of a sweep: paths of settings, each fitted and scored on one fold."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import joblib

from glocal._version import __version__
from glocal.aligner import Exact, ObjectiveSettings, PaperLoop
from glocal.aligner.exact import Problem, WarmStart
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
    """Every path on every fold, path by path; the hash of all that its rows depend on names it."""
    inputs = [_inputs(fold) for fold in folds]
    units = []
    for path in paths:
        options = {} if path == [ORIGINAL] else {type(solver).__name__: vars(solver)}
        for number in range(len(folds)):
            text = to_json([__version__, number, inputs[number], options, path])
            units.append(Unit(number, path, hashlib.sha256(text.encode()).hexdigest()))
    return units


def _inputs(fold: Fold) -> list[Any]:
    """Everything in a fold that determines its points: hashes and numbers."""
    data = fold.data
    arrays = [fold.answers.objects, fold.answers.all_weights, data.evaluation_rows(fold.rows)]
    numbers = [data.block_size, data.seed, data.centre, data.normalize, data.n_dropped]
    hashes = data.hashes(local=True)
    return [hashes, *map(array_sha256, arrays), data.answers.kind, *numbers]


def fit_units(
    folds: Sequence[Fold],
    solver: Solver,
    units: Sequence[Unit],
    jobs: int,
    scheduler: str | None,
) -> Iterator[tuple[str, list[Row]]]:
    """Yield the name and the rows of each unit as soon as it is fitted.

    The paths are fitted in this process, in several, or on a Dask cluster, which gets what each
    fold holds out once.
    """
    heldout = [FoldScorer([fold]) for fold in folds]
    backend: dict[str, Any] = {"n_jobs": jobs}
    with ExitStack() as stack:
        if scheduler is not None:
            client = _dask_client(scheduler, stack)
            backend = {"backend": "dask", "client": client, "scatter": heldout}
        stack.enter_context(joblib.parallel_config(**backend))
        run = joblib.Parallel(return_as="generator_unordered")
        fit_unit = joblib.delayed(fit_path)
        try:
            yield from run(fit_unit(heldout[unit.fold], solver, unit) for unit in units)
        except Exception as error:
            is_lost = bool(scheduler) or isinstance(error, BrokenProcessPool)
            if isinstance(error, GLocalError) or not is_lost:
                raise
            raise ClusterError(
                f"the processes that ran the paths were lost ({type(error).__name__}). Finished "
                "paths are kept: continue with `resume=True`."
            ) from error


def fit_path(heldout: FoldScorer, solver: Solver, unit: Unit) -> tuple[str, list[Row]]:
    """Fit the settings of one path to the data without a fold, and score them on that fold.

    Returns the name of the unit too.
    """
    data = heldout.folds[0].data
    problem: Problem | None = None
    start: WarmStart | None = None
    rows = []
    for setting in unit.path:
        start_time = time.perf_counter()
        row = {"fold": unit.fold, **setting, **dict.fromkeys(SCORES)}
        row |= {"n_heldout": len(heldout.answers), "n_images": len(heldout.images[0])}
        row |= _ORIGINAL_OUTCOME
        try:
            if setting == ORIGINAL:  # the baseline that agreement is compared with
                transform = scaled_identity(data, 0)
            else:
                arm = ObjectiveSettings.from_values(setting)
                if isinstance(solver, PaperLoop):
                    solution = with_eta(solver, setting).solve(data, arm)
                else:
                    problem = problem or solver.problem(
                        data, local=ObjectiveSettings.from_values(unit.path[-1]).local
                    )
                    solution = solver.minimise(problem, arm, start, certified=False)
                    start = solution.warm
                row |= {name: getattr(solution.report, name) for name in _ORIGINAL_OUTCOME}
                transform = solution.transform
            row |= _scores(heldout, transform)
        except TrivialOptimumError as error:  # W = 0 has no scores, and no fit starts from it
            row |= {"status": "trivial", "lambda_max": error.lambda_max}
        except DivergedError as error:
            row |= {"status": "diverged", "evaluations": error.steps, "reason": str(error)}
        rows.append(row | {"seconds": time.perf_counter() - start_time})
    return unit.name, rows


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


def _dask_client(scheduler: str, stack: ExitStack) -> Any:
    """A client of the Dask cluster at an address or of a scheduler file, closed with the stack."""
    distributed = import_optional("distributed", "`scheduler`")
    argument = "scheduler_file" if Path(scheduler).is_file() else "address"
    try:
        client = stack.enter_context(distributed.Client(**{argument: scheduler}, timeout=10))
    except (OSError, ValueError, TypeError) as error:
        raise ParameterError(
            f"no Dask scheduler answers at {scheduler}. Give the address that it prints when it "
            "starts, e.g. tcp://10.0.0.1:8786, or its scheduler file."
        ) from error
    if client.amm.running():  # it would leave one copy of the inputs, lost with its worker
        client.amm.stop()
        stack.callback(client.amm.start)
    return client
