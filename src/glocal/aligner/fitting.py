"""Fit one arm: check the data, solve the problem, record the outcome."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch

from glocal._version import __version__
from glocal.aligner.arm import Arm
from glocal.aligner.chosen import Chosen
from glocal.aligner.data import FitData, LocalBlocks
from glocal.aligner.exact import Exact, OnStep, Solved
from glocal.aligner.holdout import holdout_scores
from glocal.aligner.loop import Solver
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import CollapseWarning, NotConvergedWarning
from glocal.evaluation.structure.collapse import at_chance, one_point
from glocal.results import FitRecord, Provenance, to_json
from glocal.solver.criterion import gradient_norm
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of how it came about (also in ``transform.meta``)."""

    transform: LinearTransform
    record: FitRecord


def fit(
    data: FitData,
    arm: Arm,
    solver: Solver | None = None,
    start: LinearTransform | None = None,
    *,
    holdout: int | None = None,
    on_step: OnStep | None = None,
    on_holdout_step: OnStep | None = None,
) -> Fit:
    """Learn the transform of one arm.

    Parameters
    ----------
    data : FitData
        What it is minimised on.
    arm : Arm
        What is minimised.
    solver : Exact, Loop or None
        How; None is ``Exact()``.
    start : LinearTransform or None
        None starts at the best scaled identity, the loop where its profile says.
    holdout : int or None
        K: also fit without object fold 0 of K and score that fit on the held-out answers.
    on_step : function or None
        Progress: (evaluations, evaluation) after each step; of the loop (steps, evaluation) after each epoch.
    on_holdout_step : function or None
        The same of the fit without the held-out fold, counted from its start.

    Returns
    -------
    Fit

    Raises
    ------
    DataError, ParameterError
        See their messages.
    TrivialOptimumError
        `naive` with lmbda at or above λ_max: the optimum is W = 0.

    Warns
    -----
    DataWarning
        Another column of the answers looks like the odd one, the features carry no information about the answers, or
        the local features have another scale than the object features.
    NotConvergedWarning, CollapseWarning, OverfitWarning

    Examples
    --------
    >>> from glocal.aligner import Arm, FitData, fit
    >>> from glocal.data.world import simulated_world
    >>> world = simulated_world(n_triplets=5000, n_local=100)
    >>> fit(FitData(world.objects, world.triplets), Arm("global", lmbda=0.1)).record.status
    'converged'
    """
    solver = Exact() if solver is None else solver
    data.check(arm, start)
    if holdout is not None:
        data.fold(0, holdout)  # says what cannot be held out before anything is fitted
    began = time.perf_counter()
    local = data.read(solver.dtype, data.local_blocks or solver.most_blocks) if arm.local else None
    outcome = solver.solve(data, arm, local, start, on_step)
    seconds = time.perf_counter() - began
    scores = None
    if holdout is not None:
        scores = holdout_scores(data, holdout, arm, solver.beside("holdout"), start, on_holdout_step)
    record = _record(data, arm, solver, local, outcome, seconds, scores)
    _warn(record, outcome, data.triplets.chance_loss)
    meta = {"fit": json.loads(to_json(record))}
    if data.features.network:
        meta["source"] = data.features.network
    scalars = data.scalars
    return Fit(replace(outcome.transform, mean=scalars.mean, std=scalars.std, meta=meta), record)


def fit_arm(
    features: Features,
    triplets: Answers,
    *,
    local_features: Features | None = None,
    start: LinearTransform | None = None,
    holdout: int | None = None,
    n_dropped: int = 0,
    on_step: OnStep | None = None,
    on_holdout_step: OnStep | None = None,
    **options: Any,
) -> Fit:
    """Learn the transform of one arm: `fit` with the options of `Arm`, `FitData`, `Exact` and `Loop` as keywords.

    Kept for one release; new code calls `fit`.

    Parameters
    ----------
    features, triplets, local_features, n_dropped
        As in `FitData`.
    start, holdout, on_step, on_holdout_step
        As in `fit`.
    **options
        method, alpha, lmbda, tau, mix, bias, squared; tol, max_evaluations, dtype, device; block_size, seed,
        local_blocks, local_standardized; solver, profile, eta, optimiser, validation, engine. See `Chosen`.

    Returns
    -------
    Fit
    """
    choices = Chosen.of(options, local=local_features is not None)
    data = FitData(features, triplets, local_features, n_dropped=n_dropped, **choices.data)
    return fit(
        data, choices.arm, choices.solver, start, holdout=holdout, on_step=on_step, on_holdout_step=on_holdout_step
    )


def _record(
    data: FitData, arm: Arm, solver: Solver, local: LocalBlocks | None, outcome: Solved, seconds: float,
    holdout: dict[str, Any] | None,
) -> FitRecord:  # fmt: skip
    solution = outcome.solution
    loop: dict[str, Any] = {} if solution.epochs is None else {"epochs": solution.epochs, "steps": solution.evaluations}
    return FitRecord(
        method=arm.method,
        alpha=arm.alpha if arm.local else None,
        lmbda=arm.lmbda,
        mix=None if arm.method == "naive" else arm.mix,
        tau=arm.tau if arm.local else None,
        bias=arm.bias,
        squared=arm.squared,
        objective=solution.at.value,
        parts=solution.at.parts,
        converged=solution.converged,
        status=solution.status,
        reason=solution.reason,
        gap=solution.gap,
        certificate=outcome.certificate,
        gradient_norm=gradient_norm(solution.at),
        evaluations=solution.evaluations,
        seconds=seconds,
        n_triplets=len(data.triplets),
        n_dropped=data.n_dropped,
        n_objects=len(data.triplets.named()),
        n_local=0 if local is None else local.n,
        block_size=data.block_size if arm.local else None,
        start_scale=outcome.scale,
        lambda_max=outcome.lambda_max,
        holdout=holdout,
        provenance=Provenance(
            __version__, data.hashes(local), data.seed, solver.device, threads=torch.get_num_threads()
        ),
        rank=outcome.rank,
        n_local_blocks=None if local is None else len(local),
        local_standardized=data.local_standardized if arm.local else None,
        gathered=outcome.gathered,
        n_fitted=outcome.n_fitted,
        watched=outcome.watched,
        **loop,
        **solver.settings(),
    )


def _warn(record: FitRecord, outcome: Solved, chance: float) -> None:
    if not record.converged and record.status != "stationary":
        warnings.warn(f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=3)
    if at_chance(record.parts["global"], chance) or one_point(outcome.embedded.double().cpu().numpy()):
        warnings.warn(
            f"collapse: the global loss {record.parts['global']:.6f} is that of chance ({chance:.6f}) "
            "or all objects are mapped to one point. Lower lmbda, or check that triplets and features belong together.",
            CollapseWarning,
            stacklevel=3,
        )
