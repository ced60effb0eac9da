"""Classifiers that learn from a few rows of each class, and the credit of their predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool

from glocal.similarity import Choices, Embedding, Numbers, Values, choice, unit_rows

STRENGTHS = np.logspace(-4, 6, 11)
_MAX_FOLDS = 5

Scorer = Callable[[np.ndarray], np.ndarray]
"""Map (m, p) rows to (m, k) scores, the highest of which is the prediction."""
Kin = Bool[np.ndarray, "k k"]
"""The classes that count as right for each true class."""
Probe = Callable[[np.ndarray, np.ndarray, int], Scorer]


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
    _, s, Vt = np.linalg.svd(X - mean, full_matrices=False)
    V = Vt[s >= 1e-10 * s.max()].T  # (p, rank): the span of the shots
    settings: dict[str, Any] = {"solver": "newton-cg", "tol": 1e-3, "max_iter": 200}
    # a single fit is cheap, and one that stops at 1e-3 is off by up to .02 in accuracy
    model = LogisticRegression(**settings | {"tol": 1e-5})
    folds = min(_MAX_FOLDS, int(np.bincount(y).min()))
    if folds > 1:
        cv = PredefinedSplit(pd.Series(y).groupby(y).cumcount() % folds)
        model = LogisticRegressionCV(Cs=STRENGTHS, cv=cv, scoring="accuracy", **settings)
    with warnings.catch_warnings():
        # few images of many classes are intended, and future defaults do not matter here
        warnings.filterwarnings("ignore", message="The number of unique classes")
        warnings.filterwarnings("ignore", message="(?i).*line search")  # rounding ends the descent
        warnings.simplefilter("ignore", FutureWarning)
        model.fit((X - mean) @ V, y)

    return lambda Z: model.predict_proba((Z - mean) @ V)


def ncm(X: Embedding, y: Numbers, k: int) -> Scorer:
    """Nearest class mean: the cosine with the mean of the unit-length rows of each class."""
    means = unit_rows(np.eye(k)[y].T @ unit_rows(X))
    return lambda Z: unit_rows(Z) @ means.T


def nearest(X: Embedding, y: Numbers, k: int) -> Scorer:
    """Nearest neighbour: the largest cosine with a training row of each class."""
    rows = unit_rows(X)[np.argsort(y, kind="stable")]  # grouped by class
    counts = np.bincount(y)
    starts = np.cumsum(counts) - counts
    return lambda Z: np.maximum.reduceat(unit_rows(Z) @ rows.T, starts, axis=1)


PROBES: dict[str, Probe] = {
    "logistic": logistic,
    "ncm": ncm,
    "1nn": nearest,
}


def shared_credit(scores: Choices, y: Numbers, tolerance: float, kin: Kin | None = None) -> Values:
    """The credit of each prediction: 1/t if the true class is one of t tied for the highest score.

    It is 0 otherwise. Scores that differ by at most the tolerance are tied. Features that have
    collapsed to one point therefore score exactly chance in every class, whatever the order of the
    classes. `kin` marks the classes that count as right for each true class; None is only itself.
    """
    shares = choice(scores, tolerance)
    if kin is None:
        return shares[np.arange(len(y)), y]
    return (shares * kin[y]).sum(axis=1)
