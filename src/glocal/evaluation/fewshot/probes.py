"""Four classifiers of few images with one face: fit on the shots, then score every class for any rows.

A probe is ``probe(X, y, k) -> scorer``: X (n, p) training rows, y (n,) their classes in 0..k - 1, each present; the
scorer maps (m, p) rows to (m, k) scores, the highest of which is the prediction. Ties are kept, to be shared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.errors import NotConvergedWarning, ParameterError
from glocal.evaluation.fewshot.logistic import Rows, minimise_logistic, row_space
from glocal.similarity import unit_rows

Scorer = Callable[[np.ndarray], np.ndarray]

STRENGTHS = np.logspace(-4, 6, 11)
RIDGE_STRENGTHS = np.logspace(-6, 4, 21)
FOLDS = 5
# folds decide by accuracy, which a part in a thousand of the objective hardly changes; the last fit is closer
_FOLD_TOLERANCE = 1e-3
# scores nearer than this, relative to the largest, are tied: float32 features that have collapsed to one point differ
# by rounding alone, which moves scores by 1e-7 squared; a difference that means something is far larger
_TIE = 1e-9


def logistic(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int, *, max_steps: int = 100) -> Scorer:
    """Multinomial logistic regression, its C of 10⁻⁴ … 10⁶ chosen by cross-validated accuracy within the shots.

    min C Σ_i -log p_i,y_i + ½‖W‖², intercept unpenalised. The folds are stratified: of each class, member j is in fold
    j mod folds, with min(5, images of the rarest class) folds; among equally accurate C the smallest wins, as in
    scikit-learn. One shot cannot be cross-validated: C is then 1. The problems of all folds and C share one
    decomposition of the shots; each C starts from the one before it, or from the line through the two before it
    (margins grow with log C).

    References
    ----------
    Muttenthaler et al. (2023), section 5: C in 10⁻⁴ … 10⁶ by cross-validation with as many folds as shots.
    """
    Q, V = row_space(X)
    start = np.zeros((Q.shape[1], k))
    folds = min(FOLDS, int(np.bincount(y, minlength=k).min()))
    C = 1.0
    if folds > 1:
        C, start = _cross_validated(Q, y, k, folds)
    theta, converged = minimise_logistic(Rows.of(Q, y, k), C, [start], max_steps=max_steps)
    if not converged:
        warnings.warn(f"the logistic probe is not converged at C = {C:g}.", NotConvergedWarning, stacklevel=2)
    W = V @ theta[:-1]
    return _affine(W, theta[-1] - X.mean(axis=0) @ W)


def _cross_validated(Q: np.ndarray, y: np.ndarray, k: int, folds: int) -> tuple[float, np.ndarray]:
    """The best C, and the mean over folds of its solutions: a start for the fit on all shots."""
    fold = stratified_folds(y, folds)
    rows = [Rows.of(Q[fold != f], y[fold != f], k) for f in range(folds)]
    zero = np.zeros((Q.shape[1], k))
    at, before = [zero] * folds, [zero] * folds
    best, chosen, start = -1.0, 0.0, zero
    for C in STRENGTHS:
        right = 0.0
        for f in range(folds):
            theta, _ = minimise_logistic(rows[f], float(C), [at[f], 2 * at[f] - before[f]], _FOLD_TOLERANCE)
            before[f], at[f] = at[f], theta
            right += float(shared_credit(Q[fold == f] @ theta, y[fold == f]).mean())
        if right > best + 1e-12:
            best, chosen, start = right, float(C), np.mean(at, axis=0)
    return chosen, start


def stratified_folds(y: Int[np.ndarray, " n"], folds: int) -> Int[np.ndarray, " n"]:
    """The fold of each row: member j of its class, in order, goes to fold j mod folds."""
    order = np.argsort(y, kind="stable")
    counts = np.bincount(y)
    position = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = position % folds
    return fold


def ridge(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Ridge regression on one-hot targets, its strength chosen by closed-form leave-one-out squared error.

    min ‖Y - X W - b‖² + λ‖W‖², b unpenalised; with centred X = U S Vᵀ, W = V diag(s / (s² + λ)) Uᵀ Y for every λ from
    one decomposition, and the residual of image i under the fit without it is e_i / (1 - h_i), where
    h_i = 1/n + Σ_j u_ij² s_j² / (s_j² + λ). λ is 10⁻⁶ … 10⁴ times the mean squared length of the centred rows, so that
    the scale of the features does not matter; the strongest of equally good ones wins.
    """
    Y = np.eye(k)[y]
    center, base = X.mean(axis=0), Y.mean(axis=0)
    Q, V = row_space(X)
    s = np.linalg.norm(Q[:, :-1], axis=0)
    U = Q[:, :-1] / s
    A = U.T @ (Y - base)
    scale = float(s @ s) / len(X)
    best, W = np.inf, np.zeros((X.shape[1], k))
    for strength in RIDGE_STRENGTHS[::-1] * scale if len(s) else []:
        shrunk = s**2 / (s**2 + strength)
        left = (Y - base - U @ (shrunk[:, None] * A)) / (1 - 1 / len(X) - U**2 @ shrunk)[:, None]
        error = float(np.square(left).sum())
        if error < best:
            best, W = error, V @ ((shrunk / s)[:, None] * A)
    return _affine(W, base - center @ W)


def ncm(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Nearest class mean: the cosine with the mean of each class's rows, scaled to length 1 before."""
    means = np.zeros((k, X.shape[1]))
    np.add.at(means, y, unit_rows(X))
    directions = unit_rows(means).T
    return lambda Z: unit_rows(Z) @ directions


def nearest(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Nearest neighbour: the largest cosine with a training row of each class."""
    order = np.argsort(y, kind="stable")
    rows = unit_rows(X)[order].T
    starts = np.searchsorted(y[order], np.arange(k))
    return lambda Z: np.maximum.reduceat(unit_rows(Z) @ rows, starts, axis=1)


PROBES: dict[str, Callable[[np.ndarray, np.ndarray, int], Scorer]] = {
    "logistic": logistic,
    "ridge": ridge,
    "ncm": ncm,
    "1nn": nearest,
}


def probe_named(name: str) -> Callable[[np.ndarray, np.ndarray, int], Scorer]:
    """The probe of that name, or the sentence that lists them."""
    if name not in PROBES:
        raise ParameterError(f"probe is {name!r}; allowed are {', '.join(PROBES)}.")
    return PROBES[name]


def tied_best(scores: Float[np.ndarray, "m k"]) -> Bool[np.ndarray, "m k"]:
    """The classes of each row whose score is the highest, up to rounding."""
    best: np.ndarray = scores >= scores.max(axis=1, keepdims=True) - _TIE * np.abs(scores).max(axis=1, keepdims=True)
    return best


def shared_credit(scores: Float[np.ndarray, "m k"], y: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """How right each prediction is: 1/t if the true class is among the t tied for the highest score, else 0.

    That is the expected accuracy of a fair choice among tied classes, so features that have collapsed to one point
    score exactly chance, in every class, whatever the order of the classes.
    """
    best = tied_best(scores)
    return best[np.arange(len(y)), y] / best.sum(axis=1)


def _affine(W: np.ndarray, b: np.ndarray) -> Scorer:
    return lambda Z: Z @ W + b
