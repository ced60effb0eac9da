"""Few-shot classification: fit a probe on each draw of a few images a class, score it on the test images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from glocal.data.labels import check_sides, positions
from glocal.data.splits import check_seed
from glocal.errors import DataError, ParameterError
from glocal.evaluation.intervals import Units
from glocal.results import Score
from glocal.similarity import unit_rows

STRENGTHS = np.logspace(-4, 6, 11)
_TIE = 1e-9  # relative: float32 rows that have collapsed to one point differ by rounding alone
_CHUNK = 4096

Scorer = Callable[[np.ndarray], np.ndarray]
"""(m, p) rows to (m, k) scores, the highest of which is the prediction."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FewShot:
    """Few-shot accuracy of one set of features, ties shared, and that of each draw, on `n` test images each.

    `low` and `high` are the 95 % interval over draws and classes (None where nothing varies), `chance` is one over the
    number of training classes. `units` hold the accuracy of each tested class in each draw, weighted by its images.
    """

    accuracy: float
    low: float | None
    high: float | None
    per_draw: tuple[float, ...]
    chance: float
    n: int
    probe: str
    shots: int
    draws: int
    seed: int
    units: Units = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The accuracy."""
        settings = {"shots": self.shots, "draws": self.draws, "seed": self.seed}
        metric = f"accuracy_{self.probe}"
        return (Score("few-shot", metric, self.accuracy, self.low, self.high, self.n, settings=settings),)


def few_shot(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray,
    *,
    shots: int = 5,
    draws: int = 5,
    probe: str = "logistic",
    seed: int = 42,
    leave_out_shots: bool = False,
) -> FewShot:
    """Classify test images from `shots` training images of each class, in several draws.

    Parameters
    ----------
    X_train, X_test : (n, p) and (m, p) real arrays
        Standardized features, transformed or not; both with the same scalars and transform.
    y_train, y_test : (n,) and (m,) int or str arrays
        Classes. One that only the training images have takes part as a wrong answer.
    shots, draws, seed : int
        See `draw_episodes`.
    probe : {"logistic", "ncm", "1nn"}
        One of `PROBES`.
    leave_out_shots : bool
        Training and test rows are the same images: each draw is tested on those it did not draw.

    Raises
    ------
    DataError
        Labels and rows that do not fit, fewer than two classes, a class with fewer images than shots, a test class
        without training image, NaN or infinity, no test image left.

    References
    ----------
    Muttenthaler et al. (2023), section 5 and appendix: 5-shot logistic regression.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1, 2], 20)
    >>> X = np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3))
    >>> few_shot(X, y, X, y, probe="ncm", leave_out_shots=True).accuracy
    1.0
    """
    if probe not in PROBES:
        raise ParameterError(f"`probe` is {probe!r}; allowed are {', '.join(PROBES)}.")
    y_train, y_test = check_sides(X_train, y_train, X_test, y_test, ("training features", "test features"))
    classes, codes = np.unique(y_train, return_inverse=True)
    truth, k = positions(classes, y_test), len(classes)
    if k < 2:
        raise DataError(f"the training labels name {k} class; at least 2 are needed to tell apart.")
    if truth.min(initial=0) < 0:
        stray = y_test[truth < 0]
        raise DataError(
            f"{len(stray)} test images are of a class without a training image (e.g. {stray[0]}). Leave them out, or "
            "add training images."
        )
    episodes = draw_episodes(y_train, shots, draws, seed)
    counts = np.bincount(truth, minlength=k)  # of each class, in every draw
    if leave_out_shots:
        counts -= shots
    if not counts.any():
        raise DataError(f"no test image is left beside the {shots} shots of each class. Ask for fewer shots.")
    right = np.zeros((draws, k))
    for draw, shown in enumerate(episodes):
        scorer = PROBES[probe](_finite(X_train[shown]), codes[shown], k)
        kept = np.setdiff1d(np.arange(len(truth)), shown if leave_out_shots else [])
        for start in range(0, len(kept), _CHUNK):
            rows = kept[start : start + _CHUNK]
            credit = shared_credit(scorer(_finite(X_test[rows])), truth[rows])
            right[draw] += np.bincount(truth[rows], credit, k)
    tested = counts > 0
    weights = counts[tested].astype(np.float64)
    units = Units(values=right[:, tested] / weights, weights=weights)
    per_draw = right.sum(axis=1) / counts.sum()
    low, high = units.estimate().interval(fraction=True)
    return FewShot(
        accuracy=float(per_draw.mean()), low=low, high=high, per_draw=tuple(per_draw.tolist()), chance=1 / k,
        n=int(counts.sum()), probe=probe, shots=shots, draws=draws, seed=seed, units=units,
    )  # fmt: skip


def draw_episodes(labels: np.ndarray, shots: int, draws: int = 5, seed: int = 42) -> Int[np.ndarray, "draws n"]:
    """Draw `shots` images of every class, `draws` times, from one seed: row numbers, grouped by class.

    Fully determined by the arguments: all arms that score the same rows share the draws, so that their differences are
    paired. Draw d permutes the rows of each class, in the order of the sorted classes, with RandomState((seed, d)),
    whose stream never changes, and takes the first: a draw does not depend on how many others are asked for, and fewer
    shots are a part of more.
    """
    check_seed(seed)
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if counts.min() < shots:
        scarce = int(counts.argmin())
        raise DataError(
            f"class {classes[scarce]} has {counts[scarce]} training images but `shots` is {shots}. "
            f"Ask for at most {counts[scarce]} shots, or leave that class out."
        )
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    generators = (np.random.RandomState((seed, draw)) for draw in range(draws))
    return np.stack([np.concatenate([rng.permutation(rows)[:shots] for rows in members]) for rng in generators])


def logistic(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Multinomial logistic regression, its C of 10⁻⁴ … 10⁶ chosen by cross-validated accuracy within the shots.

    min C Σ_i -log p_i,y_i + ½‖W‖², intercept unpenalised (scikit-learn). The penalty keeps the weights in the span of
    the shots, so that the solver gets their coordinates in it: n columns in place of p. Member j of each class is in
    fold j mod min(5, images of the rarest class); among equally accurate C the smallest wins. One shot cannot be
    cross-validated: C is then 1. Muttenthaler et al. (2023), section 5, take as many folds as shots.
    """
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import PredefinedSplit

    counts, order, fold = np.bincount(y), np.argsort(y, kind="stable"), np.empty(len(y), dtype=np.int64)
    folds, mean = min(5, int(counts.min())), X.mean(axis=0)
    fold[order] = np.concatenate([np.arange(count) % folds for count in counts])
    _, s, Vt = np.linalg.svd(X - mean, full_matrices=False)
    V = Vt[s >= 1e-10 * s.max()].T
    settings: dict[str, Any] = {"solver": "newton-cg", "tol": 1e-3, "max_iter": 200}
    if folds > 1:
        settings |= {"Cs": STRENGTHS, "cv": PredefinedSplit(fold), "scoring": "accuracy"}
    with warnings.catch_warnings():
        # few images of many classes are what is asked for; later versions have other defaults for what is not used
        warnings.filterwarnings("ignore", message="The number of unique classes")
        warnings.simplefilter("ignore", FutureWarning)
        model = (LogisticRegression if folds == 1 else LogisticRegressionCV)(**settings).fit((X - mean) @ V, y)

    def scores(Z: np.ndarray) -> Float[np.ndarray, "m k"]:
        found: np.ndarray = model.decision_function((Z - mean) @ V)
        return np.stack([-found, found], axis=1) if k == 2 else found  # of two classes the second alone is scored

    return scores


def ncm(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Nearest class mean: the cosine with the mean of each class's rows, scaled to length 1 before."""
    means = np.zeros((k, X.shape[1]))
    np.add.at(means, y, unit_rows(X))
    return lambda Z: unit_rows(Z) @ unit_rows(means).T


def nearest(X: Float[np.ndarray, "n p"], y: Int[np.ndarray, " n"], k: int) -> Scorer:
    """Nearest neighbour: the largest cosine with a training row of each class."""
    order, starts = np.argsort(y, kind="stable"), np.cumsum(np.bincount(y)) - np.bincount(y)
    return lambda Z: np.maximum.reduceat(unit_rows(Z) @ unit_rows(X)[order].T, starts, axis=1)


PROBES: dict[str, Callable[[np.ndarray, np.ndarray, int], Scorer]] = {"logistic": logistic, "ncm": ncm, "1nn": nearest}


def shared_credit(scores: Float[np.ndarray, "m k"], y: Int[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """How right each prediction is: 1/t if the true class is among the t tied for the highest score, else 0.

    So features that have collapsed to one point score exactly chance in every class, whatever their order.
    """
    best = scores >= scores.max(axis=1, keepdims=True) - _TIE * np.abs(scores).max(axis=1, keepdims=True)
    return best[np.arange(len(y)), y] / best.sum(axis=1)


def _finite(rows: np.ndarray) -> Float[np.ndarray, "m p"]:
    rows = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(rows).all():
        raise DataError("features hold NaN or infinity. Remove or recompute those images' features.")
    return rows
