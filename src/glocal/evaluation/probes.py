"""Classifiers that learn from a few rows of each class, and the credit of their predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from glocal.evaluation.class_names import NameScores
from glocal.evaluation.episodes import Credits
from glocal.evaluation.sides import Labelled, Sides
from glocal.similarity import (
    Choices,
    Embedding,
    Numbers,
    Values,
    choice,
    row_slices,
    tie_tolerance,
    unit_rows,
    zeros_if_collapsed,
)

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

STRENGTHS = np.logspace(-4, 6, 11)
STRENGTH_OF_ALL_LABELS = 100.0
"""C of logistic regression on all labels."""
_MAX_FOLDS = 5
_CHUNK = 4096  # test images that are scored at a time

Scorer = Callable[[np.ndarray], np.ndarray]
"""Map (m, p) rows to (m, k) scores, the highest of which is the prediction."""
Kin = Bool[np.ndarray, "k k"]
"""The classes that count as right for each true class."""
Probe = Callable[[np.ndarray, np.ndarray, int], Scorer]
Split = tuple[np.ndarray, np.ndarray]
"""The training rows that a probe learns from, and the test rows that it is tested on."""


def logistic(X: Embedding, y: Numbers, k: int) -> Scorer:
    """Multinomial logistic regression, with C chosen by cross-validation within the shots.

    It minimises C Σ_i -log p_i,y_i + ½‖W‖², with C from 10⁻⁴ to 10⁶ and the intercept unpenalised
    (scikit-learn). The penalty keeps the weights in the span of the shots, so that the solver gets
    the coordinates of the shots in this span: at most n columns instead of p. Member j of each
    class is in fold j mod min(5, images of the rarest class). Among equally accurate C the smallest
    wins. One shot cannot be cross-validated, and C is then 1. Muttenthaler et al. (2023), section
    5, take as many folds as shots.
    """
    import pandas as pd
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import PredefinedSplit

    mean = X.mean(axis=0)
    centred = X - mean
    _, singular_values, Vt = np.linalg.svd(centred, full_matrices=False)
    smallest = 1e-10 * singular_values.max()
    V = Vt[singular_values >= smallest].T  # (p, rank): the span of the shots
    class_sizes = np.bincount(y)
    folds = min(_MAX_FOLDS, int(class_sizes.min()))
    if folds > 1:
        members = pd.Series(y).groupby(y).cumcount()
        model = LogisticRegressionCV(
            Cs=STRENGTHS,
            cv=PredefinedSplit(members % folds),
            scoring="accuracy",
            solver="newton-cg",
            tol=1e-3,
            max_iter=200,
        )
    else:
        # a single fit is cheap, and one that stops at 1e-3 is off by up to .02 in accuracy
        model = LogisticRegression(solver="newton-cg", tol=1e-5, max_iter=200)
    _fit(model, centred @ V, y)
    return lambda Z: model.predict_proba((Z - mean) @ V)


def logistic_of_units(X: Embedding, y: Numbers, k: int, *, strength: float) -> Scorer:
    """Multinomial logistic regression on rows of length 1 less their mean, with a fixed C.

    If there are fewer rows than columns, the solver gets their coordinates in their own span, in
    which the weights lie.
    """
    from sklearn.linear_model import LogisticRegression

    n_rows, n_columns = X.shape
    rows = unit_rows(X)
    mean = rows.mean(axis=0)
    centred = rows - mean
    model = LogisticRegression(
        C=strength,
        solver="newton-cg",
        tol=1e-4,
        max_iter=1000,
    )
    if n_rows >= n_columns:
        _fit(model, centred, y)
        return lambda Z: model.predict_proba(unit_rows(Z) - mean)
    _, _, Vt = np.linalg.svd(centred, full_matrices=False)
    basis = Vt.T
    _fit(model, centred @ basis, y)
    return lambda Z: model.predict_proba((unit_rows(Z) - mean) @ basis)


def _fit(model: LogisticRegression, X: Embedding, y: Numbers) -> None:
    """Fit a regression without the warnings that do not concern a user."""
    with warnings.catch_warnings():
        # few images of many classes are intended, and future defaults do not matter here
        warnings.filterwarnings("ignore", message="The number of unique classes")
        warnings.filterwarnings("ignore", message="(?i).*line search")  # rounding ends the descent
        warnings.simplefilter("ignore", FutureWarning)
        model.fit(X, y)


def ncm(X: Embedding, y: Numbers, k: int) -> Scorer:
    """Nearest class mean: the cosine with the mean of the unit-length rows of each class."""
    membership = np.eye(k)[y]
    sums = membership.T @ unit_rows(X)
    means = unit_rows(sums)
    return lambda Z: unit_rows(Z) @ means.T


def nearest(X: Embedding, y: Numbers, k: int) -> Scorer:
    """Nearest neighbour: the largest cosine with a training row of each class."""
    by_class = np.argsort(y, kind="stable")
    rows = unit_rows(X)[by_class]
    class_sizes = np.bincount(y)
    starts = np.cumsum(class_sizes) - class_sizes
    return lambda Z: np.maximum.reduceat(unit_rows(Z) @ rows.T, starts, axis=1)


PROBES: dict[str, Probe] = {
    "logistic": logistic,
    "ncm": ncm,
    "1nn": nearest,
}


def split_credits(
    sides: Sides,
    splits: Sequence[Split],
    probe: Probe,
    *,
    names: NameScores | None = None,
    kin: Kin | None = None,
) -> Credits:
    """The credit of each test image in each split, NaN for an image that is not tested.

    The scores of `names` are added to the scores of the probe, and `kin` is as in `shared_credit`.
    """
    train, test = sides[:2]
    train_rows, test_rows = zeros_if_collapsed(train.X, test.X)
    test = test._replace(X=test_rows)
    credits = np.full((len(splits), len(test_rows)), np.nan)
    for split, (shots, tested) in enumerate(splits):
        scorer = probe(
            train_rows[shots],
            train.targets[shots],
            len(sides.targets),
        )
        credits[split, tested] = _tested_credit(scorer, test, tested, names, kin)
    return credits


def _tested_credit(
    scorer: Scorer, test: Labelled, tested: Numbers, names: NameScores | None, kin: Kin | None
) -> Values:
    """The credit of each tested image, in the order of `tested`."""
    credit = np.empty(len(tested))
    n_columns = test.X.shape[1]
    # names need the scores of all images of a split, whose root mean square is their unit
    chunk_size = _CHUNK if names is None else len(tested)
    for chunk in row_slices(len(tested), chunk_size):
        images = tested[chunk]
        scores = scorer(test.X[images])
        tolerance = tie_tolerance(n_columns)
        if names is not None:
            scores, tolerance = names.beside(scores, images, tolerance)
        targets = test.targets[images]
        credit[chunk] = shared_credit(scores, targets, tolerance, kin)
    return credit


def shared_credit(
    scores: Choices,
    y: Numbers,
    tolerance: float,
    kin: Kin | None = None,
) -> Values:
    """The credit of each prediction: 1/t if the true class is one of t tied for the highest score.

    It is 0 otherwise. Scores that differ by at most the tolerance are tied. Features that have
    collapsed to one point therefore score exactly chance in every class, whatever the order of the
    classes. `kin` marks the classes that count as right for each true class; None is only itself.
    """
    shares = choice(scores, tolerance)
    if kin is not None:
        right_shares = shares * kin[y]
        return right_shares.sum(axis=1)
    images = np.arange(len(y))
    return shares[images, y]
