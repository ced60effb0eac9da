"""Classification with all labels: each image by a classifier that learned from the other folds."""

from __future__ import annotations

import numpy as np

from glocal.errors import DataError, ParameterError
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import balanced_values
from glocal.evaluation.intervals import ItemValues
from glocal.evaluation.probes import Probe, Scorer, Split, ncm, split_credits
from glocal.evaluation.sides import Sides, labelled_sides
from glocal.scores import Score
from glocal.similarity import Embedding, Numbers, unit_rows

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
    sides.check_targets()
    splits = _splits(sides, seed, REPEATS[probe])
    credits = np.nanmean(split_credits(sides, splits, _PROBES[probe]), axis=0)
    inflation = _TRAINING_VARIANCE if sides.is_one_set else 1.0
    units = ItemValues(values=balanced_values(credits, sides.test.targets, inflation))
    settings = {"folds": FOLDS if sides.is_one_set else 0}
    scores = (
        Score("all-labels", f"accuracy_{probe}", *units.bounded(), len(credits), settings=settings),
        Score("all-labels", f"accuracy_plain_{probe}", float(credits.mean()), n=len(credits)),
    )
    return Result.from_scores(scores, units, probe, chance=1 / len(sides.targets), probe=probe)


def _splits(sides: Sides, seed: int, repeats: int) -> list[Split]:
    """The splits of each fold in each repeat, or one of all rows of either side."""
    codes = sides.train.targets
    if not sides.is_one_set:
        return [(np.arange(len(codes)), np.arange(len(sides.test.X)))]
    from sklearn.model_selection import StratifiedKFold

    smallest = int(np.bincount(codes).min())
    if smallest < FOLDS:
        raise DataError(
            f"a class has {smallest} images, fewer than the {FOLDS} folds. Leave small classes out."
        )
    splits: list[Split] = []
    for repeat in range(repeats):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        splits += folds.split(codes, codes)
    return splits


def _logistic(X: Embedding, y: Numbers, k: int) -> Scorer:
    """The probabilities of the classes, by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    rows = unit_rows(X)
    mean = rows.mean(axis=0)
    model = LogisticRegression(C=STRENGTH, solver="newton-cg", tol=1e-4, max_iter=1000)
    model.fit(rows - mean, y)
    return lambda Z: model.predict_proba(unit_rows(Z) - mean)


_PROBES: dict[str, Probe] = {"logistic": _logistic, "ncm": ncm}
