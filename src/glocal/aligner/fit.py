"""Fit one arm: standardize, rotate to principal axes, build the objective, minimise, rotate back, record."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from glocal._version import __version__
from glocal.data.features import Features, Standardization
from glocal.data.splits import local_blocks, split_triplets
from glocal.data.triplets import Triplets
from glocal.errors import (
    CollapseWarning,
    DataError,
    NotConvergedWarning,
    OverfitWarning,
    ParameterError,
    TrivialOptimumError,
)
from glocal.evaluation.alignment import odd_one_out
from glocal.files import array_sha256
from glocal.objective import Evaluation, LocalLoss, Objective, Penalty, TripletLoss
from glocal.records import FitRecord, Provenance
from glocal.solver import (
    Criterion,
    GradientRatio,
    ShrinkageGap,
    Solution,
    best_scale,
    lambda_max,
    minimise,
    minimise_naive,
    symmetric_start,
)
from glocal.solver.criterion import global_certificate, gradient_norm
from glocal.transform import LinearTransform

Method = Literal["naive", "global", "glocal"]
METHODS: tuple[Method, ...] = ("naive", "global", "glocal")
DEFAULT_TOL = {"float32": 1e-5, "float64": 1e-7}


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted transform and the record of how it came about (also in ``transform.meta``)."""

    transform: LinearTransform
    record: FitRecord


@dataclass(frozen=True)
class Settings:
    """The settings of one fit, checked together; see `fit_arm` for their meaning.

    Raises
    ------
    ParameterError
        A value outside its range.
    """

    method: Method
    alpha: float
    lmbda: float
    tau: float
    bias: bool
    squared: bool
    dtype: str
    device: str
    tol: float
    max_evaluations: int
    block_size: int
    seed: int

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ParameterError(f"method is {self.method!r}; allowed are {', '.join(METHODS)}.")
        if not 0 <= self.alpha <= 1:
            raise ParameterError(f"alpha is {self.alpha}; it weighs the local term against the global one: 0 to 1.")
        if not (self.lmbda >= 0 and math.isfinite(self.lmbda)):
            raise ParameterError(f"lmbda is {self.lmbda}; the strength of the penalty must be at least 0 and finite.")
        if not (self.tau > 0 and math.isfinite(self.tau)):
            raise ParameterError(f"tau is {self.tau}; the temperature must be above 0 and finite.")
        if self.dtype not in DEFAULT_TOL:
            raise ParameterError(f"dtype is {self.dtype!r}; allowed are float32 and float64.")
        if not (self.tol > 0 and math.isfinite(self.tol)):
            raise ParameterError(f"tol is {self.tol}; it must be above 0 and finite.")
        if self.max_evaluations < 1:
            raise ParameterError(f"max_evaluations is {self.max_evaluations}; at least 1 is needed.")
        if self.method == "glocal" and self.alpha == 1:
            raise ParameterError(
                "alpha is 1: without the global term every scaled identity is optimal and there is nothing to fit. "
                "Choose alpha below 1."
            )


def fit_arm(
    features: Features,
    triplets: Triplets,
    *,
    local_features: Features | None = None,
    method: Method | None = None,
    alpha: float = 0.1,
    lmbda: float = 0.1,
    tau: float = 0.25,
    bias: bool = False,
    squared: bool = True,
    start: LinearTransform | None = None,
    holdout: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    tol: float | None = None,
    max_evaluations: int = 1000,
    block_size: int = 1024,
    seed: int = 42,
    n_dropped: int = 0,
    on_step: Callable[[int, Evaluation], None] | None = None,
) -> Fit:
    """Learn the transform of one arm.

    Parameters
    ----------
    features : Features
        (n, p) object features; their two scalars standardize everything.
    triplets : Triplets
        Answers whose indices are rows of `features`.
    local_features : Features or None
        (m, p) features of local images; needed by `glocal`, not used by the other arms.
    method : {"naive", "global", "glocal"} or None
        None: `glocal` with local features, `global` without.
    alpha : float
        Weight of the local term, 0 to below 1 (`glocal` only).
    lmbda : float
        Strength of the penalty, at least 0.
    tau : float
        Temperature of the local term, above 0 (`glocal` only).
    bias : bool
        Learn b too.
    squared : bool
        `naive` only: penalise ‖W‖² (True) or ‖W‖ (False, as the authors' script does).
    start : LinearTransform or None
        None starts from the best scaled identity.
    holdout : int or None
        K: also fit without object fold 0 of K and score that fit on the held-out answers.
    dtype, device : str
        Of the computation; any torch device.
    tol : float or None
        Relative tolerance on the objective; None is 1e-5 in float32 and 1e-7 in float64.
    max_evaluations, block_size, seed : int
        Budget of the solver; local images a block; seed of blocks and folds.
    n_dropped : int
        Answers lost in the join, for the record.
    on_step : function or None
        Progress: (evaluations, evaluation) after each step.

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
    NotConvergedWarning, CollapseWarning, OverfitWarning

    References
    ----------
    Muttenthaler et al. 2023, Eq. 3 (naive), Eq. 6 (global, glocal).
    """
    if method is None:
        method = "global" if local_features is None else "glocal"
    settings = Settings(
        method, alpha, lmbda, tau, bias, squared, dtype, device,
        DEFAULT_TOL.get(dtype, 1e-5) if tol is None else tol, max_evaluations, block_size, seed,
    )  # fmt: skip
    if method == "glocal" and local_features is None:
        raise ParameterError("method glocal needs local features: give --local-features (local_features=) or use global.")
    _check_data(features, triplets, local_features, start)
    scalars = features.standardization
    local = _Local.standardized(local_features, scalars, settings) if method == "glocal" else None
    heldout_scores = None
    if holdout is not None:
        train, heldout = split_triplets(triplets, len(features), folds=holdout, seed=seed)
        heldout_scores = _holdout(features, triplets, train, heldout, holdout, local, start, settings)
    began = time.perf_counter()
    problem = _Problem.build(features, triplets, local, scalars, settings)
    solution, start_scale, certificate, lambda_max = _solve(problem, settings, start, on_step)
    W, b = problem.rotate_back(solution)
    seconds = time.perf_counter() - began
    hashes = {"features": array_sha256(features.matrix), "triplets": array_sha256(triplets.answers)}
    if triplets.weights is not None:
        hashes["weights"] = array_sha256(triplets.weights)
    if local_features is not None and local is not None:
        hashes["local_features"] = array_sha256(local_features.matrix)
    glocal = method == "glocal"
    record = FitRecord(
        method=method,
        alpha=alpha if glocal else None,
        lmbda=lmbda,
        tau=tau if glocal else None,
        bias=bias,
        squared=squared,
        objective=solution.at.value,
        parts=solution.at.parts,
        converged=solution.converged,
        status=solution.status,
        reason=solution.reason,
        gap=solution.gap,
        certificate=certificate,
        gradient_norm=gradient_norm(solution.at),
        evaluations=solution.evaluations,
        seconds=seconds,
        n_triplets=len(triplets),
        n_dropped=n_dropped,
        n_objects=len(triplets.objects()),
        n_local=0 if local is None else local.n,
        block_size=block_size if glocal else None,
        start_scale=start_scale,
        tol=settings.tol,
        dtype=dtype,
        lambda_max=lambda_max,
        holdout=heldout_scores,
        provenance=Provenance(__version__, hashes, seed, device, threads=torch.get_num_threads()),
    )
    _warn(record, problem, W)
    meta = {"fit": _json_values(record)}
    return Fit(LinearTransform(W, b, scalars.mean, scalars.std, meta), record)


@dataclass(frozen=True, eq=False)
class _Local:
    """Standardized local images in their blocks."""

    blocks: list[np.ndarray]

    @property
    def n(self) -> int:
        return sum(len(block) for block in self.blocks)

    @classmethod
    def standardized(cls, features: Features | None, scalars: Standardization, settings: Settings) -> _Local:
        assert features is not None  # fit_arm has checked; for the type checker
        X = scalars(features.matrix, settings.dtype)
        return cls([X[rows] for rows in local_blocks(len(X), settings.block_size, settings.seed)])


@dataclass(frozen=True, eq=False)
class _Problem:
    """The objective in principal axes of the object features: x̃ → x̃U, W → UᵀWU, which changes no term."""

    objective: Objective
    loss: TripletLoss
    penalty: Penalty
    axes: Float[Tensor, "p p"]
    second_moments: Float[Tensor, " p"]

    @classmethod
    def build(
        cls,
        features: Features,
        triplets: Triplets,
        local: _Local | None,
        scalars: Standardization,
        settings: Settings,
    ) -> _Problem:
        named = triplets.objects()
        new_index = np.full(len(features), -1, dtype=np.int32)
        new_index[named] = np.arange(len(named), dtype=np.int32)
        dtype = getattr(torch, settings.dtype)
        X = _on_device(scalars(np.asarray(features.matrix[named]), settings.dtype), settings.device)
        moments, axes = torch.linalg.eigh(X.double().cpu().T @ X.double().cpu() / len(X))
        U = axes.to(X.device, dtype)
        loss = TripletLoss(X @ U, new_index[triplets.answers], triplets.weights)
        if settings.method == "naive":
            penalty = Penalty("squared-norm" if settings.squared else "norm")
        else:
            penalty = Penalty("scaled-identity")
        share = settings.alpha if local is not None else 0.0
        terms: tuple[tuple[float, Any], ...] = ((1 - share, loss), (settings.lmbda, penalty))
        if local is not None:
            blocks = [_on_device(block, settings.device) @ U for block in local.blocks]
            terms = (terms[0], (share, LocalLoss(blocks, settings.tau)), terms[1])
        return cls(Objective(terms), loss, penalty, axes.to(X.device), moments.clamp(min=0).to(X))

    def rotate(self, transform: LinearTransform) -> tuple[Tensor, Tensor | None]:
        """A transform in these axes, as a symmetric start."""
        W = torch.as_tensor(transform.weights).to(self.axes)
        b = None if transform.bias is None else torch.as_tensor(transform.bias).to(self.axes)
        W, b = symmetric_start(W, b)
        W = self.axes.T @ W @ self.axes
        return ((W + W.T) / 2).to(self.loss.X), None if b is None else (b @ self.axes).to(self.loss.X)

    def rotate_back(self, solution: Solution) -> tuple[np.ndarray, np.ndarray | None]:
        """W and b on the original columns, float32 as the file stores them."""
        W = self.axes @ solution.W.double() @ self.axes.T
        b = None if solution.b is None else (solution.b.double() @ self.axes.T).float().cpu().numpy()
        return ((W + W.T) / 2).float().cpu().numpy(), b


def _solve(
    problem: _Problem,
    settings: Settings,
    start: LinearTransform | None,
    on_step: Callable[[int, Evaluation], None] | None,
) -> tuple[Solution, float, str, float | None]:
    """Start, criterion, minimisation and certificate of one arm."""
    loss, penalty, lmbda = problem.loss, problem.penalty, settings.lmbda
    p = loss.X.shape[1]
    scale = best_scale(loss, penalty if settings.method == "naive" else None, lmbda)
    identity = scale * torch.eye(p, dtype=loss.X.dtype, device=loss.X.device)
    zero = torch.zeros(p, dtype=loss.X.dtype, device=loss.X.device) if settings.bias else None
    W, b = (identity, zero) if start is None else problem.rotate(start)
    b = zero if not settings.bias or b is None else b
    budget = {"tol": settings.tol, "max_evaluations": settings.max_evaluations}
    largest = lambda_max(loss.double()) if settings.method == "naive" and settings.squared and lmbda > 0 else None
    if largest is not None and lmbda >= largest:
        raise TrivialOptimumError(
            f"lmbda is {lmbda:g}, at or above lambda_max = {largest:.6g} of these answers: the optimum of naive "
            f"is W = 0, which maps every image to one point. Choose lmbda below {largest:.6g}."
        )
    if largest is not None and not settings.bias:
        solution = minimise_naive(
            loss, lmbda, start=None if start is None else W, second_moments=problem.second_moments, on_step=on_step,
            **budget,
        )  # fmt: skip
    else:
        criterion: Criterion = ShrinkageGap(lmbda)
        if settings.bias or lmbda == 0 or settings.method == "naive":
            criterion = GradientRatio(gradient_norm(problem.objective(identity, zero)))
        solution = minimise(
            problem.objective, (W, b), criterion=criterion, second_moments=problem.second_moments, on_step=on_step,
            **budget,
        )  # fmt: skip
    return solution, scale, _certificate(solution, settings), largest


def _certificate(solution: Solution, settings: Settings) -> str:
    if not solution.converged:
        return "none: not converged"
    if settings.method == "glocal" and settings.alpha > 0:
        return "none: the local term is not convex"
    if settings.lmbda == 0:
        return "none: without a penalty"
    if settings.method == "naive":
        if not settings.squared:
            return "none: the unsquared norm is not convex in W Wᵀ"
        return "none: with a bias only the gradient is judged" if settings.bias else "global optimum: duality gap"
    return global_certificate(solution.W)


def _holdout(
    features: Features,
    triplets: Triplets,
    train: np.ndarray,
    heldout: np.ndarray,
    folds: int,
    local: _Local | None,
    start: LinearTransform | None,
    settings: Settings,
) -> dict[str, Any]:
    """Fit on the objects outside fold 0 and score both sides: overfitting is seen, not guessed."""
    for part, what in ((train, "outside"), (heldout, "inside")):
        if not part.any():
            raise DataError(
                f"no answer has its three objects {what} fold 0 of {folds}, so nothing can be held out. "
                "Use fewer folds, or more answers."
            )
    scalars = features.standardization
    problem = _Problem.build(features, triplets.select(train), local, scalars, settings)
    solution, scale, _, _ = _solve(problem, settings, start, None)
    W, b = problem.rotate_back(solution)
    X = scalars(features.matrix, "float64")
    Z = LinearTransform(W, b, 0.0, 1.0).apply(X)
    scores: dict[str, Any] = {"folds": folds, "seed": settings.seed, "converged": solution.converged}
    for name, part in (("fitted", train), ("heldout", heldout)):
        answers = triplets.select(part)
        cosine = odd_one_out(Z, answers)
        scores[name] = {
            "accuracy_cosine": cosine.accuracy,
            "low": cosine.low,
            "high": cosine.high,
            "accuracy_dot": odd_one_out(Z, answers, similarity="dot", interval=False).accuracy,
            "loss": cosine.loss,
            "n": cosine.n,
        }
        original = odd_one_out(X * scale, answers, interval=False)
        scores[name] |= {"original_accuracy_cosine": original.accuracy, "original_loss": original.loss}
    if scores["heldout"]["loss"] > scores["heldout"]["original_loss"]:
        warnings.warn(
            f"overfitting: held-out loss {scores['heldout']['loss']:.4f} is above {scores['heldout']['original_loss']:.4f}, "
            f"that of scaled features without a transform (fitted loss {scores['fitted']['loss']:.4f}). Raise lmbda.",
            OverfitWarning,
            stacklevel=3,
        )
    return scores


def _check_data(
    features: Features, triplets: Triplets, local_features: Features | None, start: LinearTransform | None
) -> None:
    if len(features) < 3:
        raise DataError(f"{features.source} has {len(features)} objects; odd-one-out answers need at least 3.")
    triplets.check_range(len(features))
    if not len(triplets):
        raise DataError("there is no triplet to fit.")
    features.warn_constant_columns()
    p = features.dimensions
    if local_features is not None:
        if local_features.dimensions != p:
            raise DataError(
                f"local features have {local_features.dimensions} columns but the object features have {p}; "
                "both must come from the same model and layer."
            )
        local_features.check_finite()
    if start is not None and start.dimensions != p:
        raise DataError(f"the start transform maps {start.dimensions} dimensions but the features have {p}.")


def _warn(record: FitRecord, problem: _Problem, W: np.ndarray) -> None:
    if not record.converged:
        warnings.warn(f"not converged ({record.status}): {record.reason}.", NotConvergedWarning, stacklevel=3)
    Z = problem.loss.X.double().cpu().numpy() @ (problem.axes.T.cpu().numpy() @ W.astype(np.float64))
    spread, size = float(Z.var(axis=0).sum()), float(np.square(Z).sum(axis=1).mean())
    if record.parts["global"] >= math.log(3) - 1e-6 or spread < 1e-12 * size:
        warnings.warn(
            f"collapse: the global loss {record.parts['global']:.6f} is that of chance (log 3 = {math.log(3):.6f}) or all "
            "objects are mapped to one point. Lower lmbda, or check that triplets and features belong together.",
            CollapseWarning,
            stacklevel=3,
        )


def _on_device(array: np.ndarray, device: str) -> Tensor:
    try:
        return torch.from_numpy(array).to(device)
    except (RuntimeError, AssertionError) as error:
        raise ParameterError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}). Use cpu, or install a torch build for it."
        ) from error


def _json_values(record: FitRecord) -> dict[str, Any]:
    import json

    from glocal.records import to_json

    values: dict[str, Any] = json.loads(to_json(record))
    return values


__all__ = ["METHODS", "Fit", "Method", "Settings", "fit_arm", "replace"]
