"""Classification with all labels: each image by a classifier that learned from the other folds."""

from __future__ import annotations

import numpy as np

from glocal.errors import DataError, ParameterError
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import balanced_values
from glocal.evaluation.intervals import ItemValues
from glocal.evaluation.probes import Probe, Scorer, ncm, shared_credit
from glocal.evaluation.sides import Sides, labelled_sides
from glocal.scores import Score
from glocal.similarity import (
    Embedding,
    Numbers,
    Values,
    tie_tolerance,
    unit_rows,
    zeros_if_collapsed,
)

FOLDS = 5
REPEATS = {"logistic": 1, "ncm": 3}
"""How often the images are cut into folds anew, by classifier."""
STRENGTH = 100.0
"""C of logistic regression, on rows of length 1."""
_TRAINING_VARIANCE = 1.5
"""The variance over images is multiplied by this, because training sets vary too."""


def all_labels(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    probe: str = "logistic",
    seed: int = 42,
) -> Result:
    """Classify each image by what was learned from the labels of all others.

    Without test images, the images are cut into five stratified folds, which all arms share, and
    each fold is classified from the others. The credit of an image is its mean over repeats.

    Parameters
    ----------
    X_train, y_train, X_test, y_test
        As for `few_shot`. A class needs five training images without test images.
    probe : {"logistic", "ncm"}
        Multinomial logistic regression with C = 100 on rows of length 1, or nearest class means.
    seed : int
        Seed of the folds.

    Returns
    -------
    Result
        ``accuracy``, the mean over classes, with ``low`` and ``high``, its 95 % interval for other
        images of these classes; ``accuracy_plain``, the share of images; ``chance``; ``n`` images.

    Raises
    ------
    DataError
        As for `few_shot`, and if a class has too few images for the folds.
    """
    if probe not in REPEATS:
        raise ParameterError(f"`probe` is {probe!r}; it must be {' or '.join(REPEATS)}.")
    sides = labelled_sides(X_train, y_train, X_test, y_test)
    if len(sides.targets) < 2 or len(sides.unknown):
        raise DataError("two classes with training images are needed, and test images of no other.")
    is_one_set = X_test is None
    credits = _cross_validated(sides, probe, seed) if is_one_set else _tested(sides, probe)
    inflation = _TRAINING_VARIANCE if is_one_set else 1.0
    units = ItemValues(values=balanced_values(credits, sides.test.targets, inflation))
    settings = {"folds": FOLDS if is_one_set else 0}
    scores = (
        Score("all-labels", f"accuracy_{probe}", *units.bounded(), len(credits), settings=settings),
        Score("all-labels", f"accuracy_plain_{probe}", float(credits.mean()), n=len(credits)),
    )
    return Result.of(scores, units, probe, chance=1 / len(sides.targets), probe=probe)


def _tested(sides: Sides, probe: str) -> Values:
    """The credit of each test image by what was learned from all training images."""
    train, test = sides[:2]
    rows, tested = (unit_rows(Z) for Z in zeros_if_collapsed(train.X, test.X))
    scores = _PROBES[probe](rows, train.targets, len(sides.targets))(tested)
    return shared_credit(scores, test.targets, tie_tolerance(rows.shape[1]))


def _cross_validated(sides: Sides, probe: str, seed: int) -> Values:
    """The mean credit of each image over repeats, by what was learned from the other folds."""
    from sklearn.model_selection import StratifiedKFold

    codes = sides.train.targets
    smallest = int(np.bincount(codes).min())
    if smallest < FOLDS:
        raise DataError(
            f"a class has {smallest} images, fewer than the {FOLDS} folds. Leave small classes out."
        )
    rows = unit_rows(zeros_if_collapsed(sides.train.X)[0])
    tolerance = tie_tolerance(rows.shape[1])
    credits = np.zeros(len(rows))
    for repeat in range(REPEATS[probe]):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        for shown, tested in folds.split(rows, codes):
            scorer = _PROBES[probe](rows[shown], codes[shown], len(sides.targets))
            credits[tested] += shared_credit(scorer(rows[tested]), codes[tested], tolerance)
    return credits / REPEATS[probe]


def _logistic(X: Embedding, y: Numbers, k: int) -> Scorer:
    """The probabilities of the classes, by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    mean = X.mean(axis=0)
    model = LogisticRegression(C=STRENGTH, solver="newton-cg", tol=1e-4, max_iter=1000)
    model.fit(X - mean, y)
    return lambda Z: model.predict_proba(Z - mean)


_PROBES: dict[str, Probe] = {"logistic": _logistic, "ncm": ncm}
