"""Few-shot classification: a probe is fitted to each draw of a few images per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool

from glocal.data.labels import Superclasses
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import Credits, Episodes, EpisodeValues, class_means, draw_episodes
from glocal.evaluation.sides import Sides, labelled_sides
from glocal.scores import Score
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

STRENGTHS = np.logspace(-4, 6, 11)
MIN_DRAWS = 20
"""Intervals from fewer draws of shots are rough."""
MIN_IMAGES_PER_SHOT = 4
"""Intervals are rough if a class has fewer training images for each shot of a draw."""
_DRAWS = 5
_FAST_DRAWS = 40  # a probe without an optimisation
_MAX_FOLDS = 5
_CHUNK = 4096  # test images that are scored at a time

Scorer = Callable[[np.ndarray], np.ndarray]
"""Map (m, p) rows to (m, k) scores, the highest of which is the prediction."""
Tested = Bool[np.ndarray, "draws images"]
"""Which images each draw tests."""
Probe = Callable[[np.ndarray, np.ndarray, int], Scorer]


def few_shot(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    shots: int = 5,
    draws: int | None = None,
    probe: str = "logistic",
    seed: int = 42,
    superclasses: Superclasses | None = None,
) -> Result:
    """Classify test images from `shots` training images of each class, in several draws.

    With `superclasses`, the probe learns superclasses instead of classes. Each draw takes all shots
    of a superclass from one of its classes, chosen at random, and is tested on images of the
    classes that gave no shots. The accuracy then measures whether members of unseen classes are
    recognised.

    Parameters
    ----------
    X_train, X_test : (n, p) and (m, p) real arrays
        Standardized features, transformed or not; both with the same scalars and transform. Without
        test images, each draw is tested on the training images that it did not take.
    y_train, y_test : (n,) and (m,) int or str arrays
        Classes. A class that only the training images have can be predicted, but never correctly.
    shots, draws, seed : int
        See `glocal.evaluation.episodes.draw_episodes`. Classes with fewer training images than
        shots are left out, with a DataWarning. The default is 40 draws for ``ncm``, which is fast,
        and 5 for other probes.
    probe : {"logistic", "ncm", "1nn"}
        One of `PROBES`.
    superclasses : mapping or None
        The superclass of each class. Images of other classes are left out, with a DataWarning.

    Returns
    -------
    Result
        ``accuracy``, the mean over draws of the mean accuracy of the predicted classes, with ties
        shared; ``low`` and ``high``, its 95 % interval for other shots and other test images of
        these classes (`EpisodeValues`; None for a single draw, or if nothing varies);
        ``per_draw``, the accuracy of each draw; ``accuracy_plain``, the share of test images;
        ``rough``, whether the interval rests on fewer than `MIN_DRAWS` draws, or on a class with
        fewer than `MIN_IMAGES_PER_SHOT` training images per shot; ``chance``, one over the number
        of training classes; ``n`` test images in the mean draw; ``probe``, ``shots``, ``draws`` and
        ``seed``.

    Raises
    ------
    DataError
        If the number of labels is not that of the rows, fewer than two classes have as many images
        as shots, a test class has no training image, a value is NaN or infinite, no test image is
        left, or the only test class of a superclass may give shots.
    ParameterError
        If the probe is unknown.

    References
    ----------
    Muttenthaler et al. (2023), section 5 and appendix: 5-shot logistic regression, superclasses.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([0, 1, 2], 20)
    >>> X = np.eye(3)[y] + 0.1 * rng.normal(size=(60, 3))
    >>> few_shot(X, y, probe="ncm").accuracy
    1.0
    """
    if probe not in PROBES:
        raise ParameterError(f"`probe` is {probe!r}; it must be {' or '.join(PROBES)}.")
    if draws is None:
        draws = _FAST_DRAWS if probe == "ncm" else _DRAWS
    sides = labelled_sides(X_train, y_train, X_test, y_test, superclasses)
    _check_targets(sides)
    sides = _with_enough_images(sides, shots)
    train = sides.train
    of_class = None if superclasses is None else train.targets
    episodes = draw_episodes(train.classes, shots, draws, seed, of_class)
    is_tested = _tested(sides, episodes, superclasses is not None, X_test is None)
    credits = _credits(sides, episodes, is_tested, PROBES[probe])
    pool = np.bincount(train.targets)
    units = EpisodeValues(
        values=credits,
        classes=sides.test.targets,
        shot_share=float(np.mean(shots / pool)),
        is_one_set=X_test is None,
    )
    is_rough = draws < MIN_DRAWS or int(pool.min()) < MIN_IMAGES_PER_SHOT * shots
    settings = {"shots": shots, "draws": draws, "seed": seed, "rough": is_rough}
    per_draw = _accuracy_by_draw(units, shots, superclasses is not None)
    return _result(units, probe, settings, per_draw=per_draw, chance=1 / len(pool))


def _check_targets(sides: Sides) -> None:
    """Raise a DataError if there are no two classes, or test images of another class."""
    if len(sides.targets) < 2:
        raise DataError(
            f"the training labels name {len(sides.targets)} class; classification needs at least 2."
        )
    if len(sides.unknown):
        raise DataError(
            f"{np.count_nonzero(sides.test.targets < 0)} test images are of a class without a "
            f"training image (e.g. {sides.unknown[0]}). Leave them out, or add training images."
        )


def _with_enough_images(sides: Sides, shots: int) -> Sides:
    """Leave out classes with fewer images than shots, if two remain; a DataWarning names them."""
    train, test = sides[:2]
    counts = np.bincount(train.classes)
    is_small = counts < shots
    if not is_small.any():
        return sides
    listing = ", ".join(f"{sides.classes[i]} ({counts[i]})" for i in np.flatnonzero(is_small))
    is_kept = ~is_small[train.classes]
    remaining = np.unique(train.targets[is_kept])
    if len(remaining) < 2:
        raise DataError(
            f"`shots` is {shots}, but fewer than two classes have so many training images: "
            f"{listing}. Ask for fewer shots, or add images."
        )
    warnings.warn(
        f"classes with fewer than {shots} training images are left out: {listing}. Ask for fewer "
        "shots to include them.",
        DataWarning,
        stacklevel=3,
    )
    new_codes = np.full(len(sides.targets), -1)
    new_codes[remaining] = np.arange(len(remaining))
    train = train._replace(targets=new_codes[train.targets]).select(is_kept)
    test = test._replace(targets=new_codes[test.targets])
    test = test.select(test.targets >= 0)
    return sides._replace(train=train, test=test, targets=sides.targets[remaining])


def _tested(
    sides: Sides,
    episodes: Episodes,
    has_superclasses: bool,
    is_one_set: bool,
) -> Tested:
    """Which images each draw tests.

    With superclasses, they are those of classes that gave no shots, else those that are no shots.
    """
    train, test = sides[:2]
    if has_superclasses:
        return np.stack([~np.isin(test.classes, train.classes[rows]) for rows in episodes])
    is_tested = np.ones((len(episodes), len(test.X)), dtype=bool)
    if is_one_set:
        np.put_along_axis(is_tested, episodes, values=False, axis=1)
    return is_tested


def _credits(
    sides: Sides,
    episodes: Episodes,
    is_tested: Tested,
    probe: Probe,
) -> Credits:
    """The credit of each test image in each draw, NaN for an image that is not tested."""
    train, test = sides[:2]
    shown, tested_X = zeros_if_collapsed(train.X, test.X)
    tolerance = tie_tolerance(shown.shape[1])
    credits = np.full(is_tested.shape, np.nan)
    for draw, rows in enumerate(episodes):
        scorer = probe(shown[rows], train.targets[rows], len(sides.targets))
        tested = np.flatnonzero(is_tested[draw])
        for chunk in row_slices(len(tested), _CHUNK):
            images = tested[chunk]
            credits[draw, images] = shared_credit(
                scorer(tested_X[images]), test.targets[images], tolerance
            )
    return credits


def _accuracy_by_draw(units: EpisodeValues, shots: int, has_superclasses: bool) -> Values:
    """The accuracy of each draw, balanced over classes; a DataError if a class is never tested."""
    by_class = class_means(units.values, units.classes)
    n_classes = by_class.shape[1]
    lacks_tests = has_superclasses and n_classes < len(np.unique(units.classes))
    if not n_classes or lacks_tests or np.isnan(by_class).any():
        raise DataError(
            f"a draw of {shots} shots leaves a class or superclass without a test image. Ask for "
            "fewer shots, and give superclasses of at least two test classes each. Are classes and "
            "superclasses swapped?"
        )
    means: np.ndarray = by_class.mean(axis=1)
    return means


def _result(
    units: EpisodeValues,
    probe: str,
    settings: dict[str, Any],
    *,
    per_draw: Values,
    chance: float,
) -> Result:
    """The rows of scores: the accuracy that is balanced over classes, and that of all images."""
    credits = units.values
    n = round(np.count_nonzero(~np.isnan(credits)) / len(credits))
    score = partial(Score, "few-shot", n=n, settings=settings)
    scores = (
        score(f"accuracy_{probe}", *units.bounded()),
        score(f"accuracy_plain_{probe}", float(np.nanmean(credits, axis=1).mean())),
    )
    draws = tuple(per_draw.tolist())
    return Result.of(scores, units, probe, per_draw=draws, chance=chance, probe=probe)


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


def shared_credit(scores: Choices, y: Numbers, tolerance: float) -> Values:
    """The credit of each prediction: 1/t if the true class is one of t tied for the highest score.

    It is 0 otherwise. Scores that differ by at most the tolerance are tied. Features that have
    collapsed to one point therefore score exactly chance in every class, whatever the order of the
    classes.
    """
    return choice(scores, tolerance)[np.arange(len(y)), y]
