"""Fit one arm: check the data, solve the problem, record what came of it."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from glocal._version import __version__
from glocal.aligner.holdout import check_parts, holdout_scores
from glocal.aligner.local import LocalBlocks, fit_on_blocks
from glocal.aligner.outcome import Outcome, solved
from glocal.aligner.profile import OptimiserName, Profile, ProfileName, SolverName, expanded
from glocal.aligner.settings import DEFAULT_TOL, METHODS, Dtype, Method, Settings
from glocal.aligner.validation import Validation
from glocal.data.check import warn_of_answers, warn_of_local
from glocal.data.features import Features
from glocal.data.splits import local_blocks as local_blocks_of
from glocal.data.splits import split_triplets
from glocal.data.triplets import Triplets
from glocal.errors import CollapseWarning, DataError, NotConvergedWarning, ParameterError
from glocal.evaluation.structure.collapse import one_point
from glocal.files import array_sha256
from glocal.objective import Evaluation
from glocal.records import FitRecord, Provenance, to_json
from glocal.solver.criterion import gradient_norm
from glocal.solver.minibatch import Engine
from glocal.transform import LinearTransform


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of how it came about (also in ``transform.meta``)."""

    transform: LinearTransform
    record: FitRecord


def fit_arm(
    features: Features,
    triplets: Triplets,
    *,
    local_features: Features | None = None,
    method: Method | None = None,
    alpha: float = 0.1,
    lmbda: float = 0.1,
    mix: float = 1.0,
    tau: float = 0.25,
    bias: bool = False,
    squared: bool | None = None,
    start: LinearTransform | None = None,
    holdout: int | None = None,
    dtype: Dtype = "float32",
    device: str = "cpu",
    tol: float | None = None,
    max_evaluations: int = 1000,
    block_size: int = 1024,
    seed: int = 42,
    rank: int | str | None = None,
    local_blocks: int | None = None,
    local_standardized: bool | None = None,
    solver: SolverName | None = None,
    profile: ProfileName | Profile = "modern",
    eta: float | None = None,
    optimiser: OptimiserName | None = None,
    validation: Validation | None = None,
    engine: Engine | None = None,
    n_dropped: int = 0,
    on_step: Callable[[int, Evaluation], None] | None = None,
    on_holdout_step: Callable[[int, Evaluation], None] | None = None,
) -> Fit:
    """Learn the transform of one arm.

    Parameters
    ----------
    features : Features
        (n, p) object features; their two scalars standardize everything.
    triplets : Triplets
        Answers whose indices are rows of `features`.
    local_features : Features or None
        (m, p) features of local images, as raw as `features`; needed by `glocal`, not used by the other arms.
    method : str or None
        ``"naive"``, ``"global"`` or ``"glocal"``; None: `glocal` with local features, `global` without.
    alpha : float
        Weight of the local term, 0 to below 1 (`glocal` only).
    lmbda : float
        Strength of the penalty, at least 0.
    mix : float
        Share of the scaled identity in the penalty, mix ‖W - cI‖² + (1 - mix) ‖W‖²: above 0, at most 1 (`global` and
        `glocal`; 0 would be `naive`).
    tau : float
        Temperature of the local term, above 0 (`glocal` only).
    bias : bool
        Learn b too.
    squared : bool or None
        `naive` only: penalise ‖W‖² (True) or ‖W‖ (False, as the authors' script does). None: what the profile says.
    start : LinearTransform or None
        None starts where the profile says: at the best scaled identity in ``"modern"``.
    holdout : int or None
        K: also fit without object fold 0 of K and score that fit on the held-out answers.
    dtype, device : str
        Of the computation; any torch device.
    tol : float or None
        Relative tolerance on the objective; None is 1e-5 in float32 and 1e-7 in float64.
    max_evaluations, block_size, seed : int
        Budget of the solver; local images a block; seed of blocks and folds.
    rank : int, "auto" or None
        Fit W = cI + V A Vᵀ on this many principal directions V of the objects (`global` and `glocal`, no bias);
        ``"auto"`` takes as many as bring an estimate of the cost, the record's `rank_bound`, to 1e-3 of the objective.
        None fits all.
    local_blocks : int or None
        Number of blocks of local images to use, counted from the first; all if there are fewer. None: all if at most
        16; otherwise doubled until the record's `local_change` is at most 1e-3 of the objective, and at most 64. Each
        of these fits may spend `max_evaluations`.
    local_standardized : bool or None
        False trains the local term on raw local features, as the authors' code does. None: what the profile says.
    solver : {"lbfgs", "minibatch"} or None
        The exact solver, or the paper's loop, which needs the extra ``paper``. None: what the profile says.
    profile : str or Profile
        ``"modern"``, ``"neurips2023"``, or a `Profile` of your own, made by ``dataclasses.replace``.
    eta, optimiser : float, str or None
        Learning rate and ``"sgd"``, ``"adam"`` or ``"adamw"`` of the loop. None: what the profile says.
    validation : Validation or None
        What the stopping rule of the loop watches, in place of what the profile says.
    engine : Engine or None
        Where the loop runs: devices, precision, checkpoints, logger.
    n_dropped : int
        Answers lost in the join, for the record.
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
        Another column of the answers looks like the odd one, the features know nothing of the answers, or the local
        features are of another scale than the object features.
    NotConvergedWarning, CollapseWarning, OverfitWarning

    References
    ----------
    Muttenthaler et al. 2023, Eq. 3 (naive), Eq. 6 (global, glocal).
    """
    if method is None:
        method = "global" if local_features is None else "glocal"
    choices = expanded(
        profile, solver=solver, eta=eta, optimiser=optimiser, squared=squared, local_standardized=local_standardized
    )
    settings = Settings(
        method, alpha, lmbda, tau, bias, choices.squared, dtype, device,
        DEFAULT_TOL.get(dtype, 1e-5) if tol is None else tol, max_evaluations, block_size, seed, rank,
        local_blocks, choices, Engine() if engine is None else engine, mix,
    )  # fmt: skip
    if choices.solver == "lbfgs" and (validation is not None or engine is not None):
        raise ParameterError(
            "validation and engine are of solver minibatch (with --devices, --precision and --checkpoints), but the "
            "solver is lbfgs; leave them out, or pass --solver minibatch (solver=)."
        )
    if method == "glocal" and local_features is None:
        raise ParameterError(
            "method glocal needs local features: give --local-features (local_features=) or use global."
        )
    _check_data(features, triplets, local_features, start)
    if method == "glocal" and local_features is not None:
        warn_of_local(features, local_features, local_blocks_of(len(local_features), block_size, seed)[0])
    settings.check_rank_below(features.dimensions)
    scalars = features.standardization
    if holdout is not None:
        train, heldout = split_triplets(triplets, len(features), folds=holdout, seed=seed)
        check_parts(train, heldout, holdout)
    spent = 0

    def step(evaluations: int, at: Evaluation) -> None:
        if on_step is not None:
            on_step(spent + evaluations, at)

    def fit(local: LocalBlocks | None, start: LinearTransform | None) -> tuple[Outcome, LinearTransform, float]:
        nonlocal spent
        outcome = solved(features, triplets, local, scalars, settings, start, step, validation)
        spent += outcome.solution.evaluations
        at = outcome.solution.at
        rest = at.value - settings.alpha * at.parts.get("local", 0.0)
        return outcome, LinearTransform(outcome.W, outcome.b, 0.0, 1.0), rest

    began = time.perf_counter()
    local, change = None, None
    if method == "glocal" and local_features is not None:
        progress = fit_on_blocks(
            fit,
            local_features,
            scalars,
            settings.with_all_blocks(),
            start=start,
            standardized=choices.local_standardized,
        )
        local, outcome, change = progress.local, progress.fitted, progress.change
    else:
        outcome = fit(None, start)[0]
    solution = outcome.solution
    seconds = time.perf_counter() - began
    heldout_scores = None
    if holdout is not None:
        heldout_scores = holdout_scores(
            features,
            triplets,
            train,
            heldout,
            holdout,
            local,
            start,
            settings.beside("holdout"),
            on_holdout_step,
        )
    hashes = {"features": array_sha256(features.matrix), "triplets": array_sha256(triplets.answers)}
    if triplets.weights is not None:
        hashes["weights"] = array_sha256(triplets.weights)
    if local_features is not None and local is not None:
        hashes["local_features"] = local.sha256(local_features)
    glocal = method == "glocal"
    record = FitRecord(
        method=method,
        alpha=alpha if glocal else None,
        lmbda=lmbda,
        mix=None if method == "naive" else mix,
        tau=tau if glocal else None,
        bias=bias,
        squared=settings.squared,
        objective=solution.at.value,
        parts=solution.at.parts,
        converged=solution.converged,
        status=solution.status,
        reason=solution.reason,
        gap=solution.gap,
        certificate=outcome.certificate,
        gradient_norm=gradient_norm(solution.at),
        evaluations=spent,
        seconds=seconds,
        n_triplets=len(triplets),
        n_dropped=n_dropped,
        n_objects=len(triplets.named()),
        n_local=0 if local is None else local.n,
        block_size=block_size if glocal else None,
        start_scale=outcome.scale,
        tol=settings.tol,
        dtype=dtype,
        lambda_max=outcome.lambda_max,
        holdout=heldout_scores,
        provenance=Provenance(__version__, hashes, seed, device, threads=torch.get_num_threads()),
        rank=outcome.rank,
        rank_bound=outcome.rank_bound,
        n_local_blocks=None if local is None else len(local),
        local_change=change,
        local_standardized=choices.local_standardized if glocal else None,
        profile=choices.name,
        solver=choices.solver,
        gathered=outcome.gathered,
        **_of_the_loop(outcome, choices),
    )
    _warn(record, outcome, triplets.chance_loss)
    meta = {"fit": _json_values(record)}
    return Fit(LinearTransform(outcome.W, outcome.b, scalars.mean, scalars.std, meta), record)


def _of_the_loop(outcome: Outcome, choices: Profile) -> dict[str, Any]:
    """What a record says of a mini-batch fit; nothing of an exact one."""
    if choices.solver != "minibatch":
        return {}
    return {
        "eta": choices.eta,
        "optimiser": choices.optimiser,
        "epochs": outcome.solution.epochs,
        "steps": outcome.solution.evaluations,
        "n_fitted": outcome.n_fitted,
        "watched": outcome.watched,
    }


def _check_data(
    features: Features, triplets: Triplets, local_features: Features | None, start: LinearTransform | None
) -> None:
    if len(features) < 3:
        raise DataError(f"{features.source} has {len(features)} objects; odd-one-out answers need at least 3.")
    triplets.check_range(len(features))
    if not len(triplets):
        raise DataError("there is no triplet to fit.")
    _ = features.standardization  # says so if a value is not finite or all are the same
    features.warn_constant_columns()
    p = features.dimensions
    if local_features is not None and local_features.dimensions != p:
        raise DataError(
            f"local features have {local_features.dimensions} columns but the object features have {p}; "
            "both must come from the same model and layer."
        )
    if start is not None and start.dimensions != p:
        raise DataError(f"the start transform maps {start.dimensions} dimensions but the features have {p}.")
    warn_of_answers(features, triplets)


def _warn(record: FitRecord, outcome: Outcome, chance: float) -> None:
    if not record.converged and record.status != "stationary":
        warnings.warn(f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=3)
    if record.parts["global"] >= chance - 1e-6 or one_point(outcome.embedded.double().cpu().numpy()):
        warnings.warn(
            f"collapse: the global loss {record.parts['global']:.6f} is that of chance ({chance:.6f}) "
            "or all objects are mapped to one point. Lower lmbda, or check that triplets and features belong together.",
            CollapseWarning,
            stacklevel=3,
        )


def _json_values(record: FitRecord) -> dict[str, Any]:

    values: dict[str, Any] = json.loads(to_json(record))
    return values


__all__ = ["METHODS", "Engine", "Fit", "Profile", "Settings", "Validation", "fit_arm"]
