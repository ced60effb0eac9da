"""Few-shot classification: a probe is fitted to each draw of a few images per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.labels import Superclasses, positions
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import Units, class_means
from glocal.evaluation.sides import Labelled, labelled_sides
from glocal.scores import Score
from glocal.similarity import (
    Choices,
    Embedding,
    Mask,
    Numbers,
    Values,
    choice,
    row_slices,
    unit_rows,
)

STRENGTHS = np.logspace(-4, 6, 11)
MIN_DRAWS = 20
"""Intervals from fewer draws of shots are rough."""
MIN_IMAGES_PER_SHOT = 4
"""Intervals are rough if a class has fewer training images for each shot of a draw."""
_DRAWS = 5
_FAST_DRAWS = 40  # a probe without an optimisation
_MAX_FOLDS = 5
_TIE = 1e-9  # relative; scores of float32 rows that are one point differ by rounding alone
_CHUNK = 4096  # test images that are scored at a time

Scorer = Callable[[np.ndarray], np.ndarray]
"""Map (m, p) rows to (m, k) scores, the highest of which is the prediction."""
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
        See `draw_episodes`. Classes with fewer training images than shots are left out, with a
        DataWarning. The default is 40 draws for ``ncm``, which is fast, and 5 for other probes.
    probe : {"logistic", "ncm", "1nn"}
        One of `PROBES`.
    superclasses : mapping or None
        The superclass of each class. Images of other classes are left out, with a DataWarning.

    Returns
    -------
    Result
        ``accuracy``, the mean over draws of the mean accuracy of the predicted classes, with ties
        shared; ``low`` and ``high``, its 95 % interval for other shots and other test images of
        these classes (`episode_estimate`; None for a single draw, or if nothing varies);
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
    is_one_set = X_test is None
    if X_test is None:
        X_test = X_train
        y_test = y_train
    train, test = labelled_sides(X_train, y_train, X_test, y_test, superclasses)
    train, test = _with_enough_images(train, test, shots)
    if draws is None:
        draws = _FAST_DRAWS if probe == "ncm" else _DRAWS
    episodes = draw_episodes(
        train.classes, shots, draws, seed, None if superclasses is None else train.targets
    )
    classes, codes, pool = np.unique(train.targets, return_inverse=True, return_counts=True)
    truth = _truth(classes, test.targets)
    credits = np.full((draws, len(truth)), np.nan)
    for draw, rows in enumerate(episodes):
        is_tested = np.ones(len(truth), dtype=bool)
        if superclasses is not None:
            is_tested = ~np.isin(test.classes, train.classes[rows])
        elif is_one_set:
            is_tested[rows] = False
        scorer = PROBES[probe](train.X[rows], codes[rows], len(classes))
        credits[draw] = _credits(scorer, test.X, truth, is_tested)
    by_class = class_means(credits, truth)
    n_classes = by_class.shape[1]
    lacks_tests = superclasses is not None and n_classes < len(np.unique(truth))
    if not n_classes or lacks_tests or np.isnan(by_class).any():
        raise DataError(
            f"a draw of {shots} shots leaves a class or superclass without a test image. Ask for "
            "fewer shots, and give superclasses of at least two test classes each. Are classes and "
            "superclasses swapped?"
        )
    shot_share = float(np.mean(shots / pool))
    units = Units(values=credits, classes=truth, shot_share=shot_share, is_one_set=is_one_set)
    is_rough = draws < MIN_DRAWS or int(pool.min()) < MIN_IMAGES_PER_SHOT * shots
    settings = {"shots": shots, "draws": draws, "seed": seed, "rough": is_rough}
    n = round(np.count_nonzero(~np.isnan(credits)) / draws)
    score = partial(Score, "few-shot", n=n, settings=settings)
    scores = (
        score(f"accuracy_{probe}", *units.bounded()),
        score(f"accuracy_plain_{probe}", float(np.nanmean(credits, axis=1).mean())),
    )
    per_draw = tuple(by_class.mean(axis=1).tolist())
    return Result.of(scores, units, probe, per_draw=per_draw, chance=1 / len(classes), probe=probe)


def _credits(scorer: Scorer, X: Embedding, truth: Numbers, is_tested: Mask) -> Values:
    """The credit of each test image in one draw, NaN for an image that is not tested."""
    credits = np.full(len(truth), np.nan)
    tested = np.flatnonzero(is_tested)
    for chunk in row_slices(len(tested), _CHUNK):
        images = tested[chunk]
        credits[images] = shared_credit(scorer(X[images]), truth[images])
    return credits


def _with_enough_images(train: Labelled, test: Labelled, shots: int) -> tuple[Labelled, Labelled]:
    """Leave out classes with fewer images than shots, if two remain; a DataWarning names them."""
    names, counts = np.unique(train.classes, return_counts=True)
    is_small = counts < shots
    kept = ~np.isin(train.classes, names[is_small])
    remaining = np.unique(train.targets[kept])
    if not is_small.any() or len(remaining) < 2:
        return train, test
    listing = ", ".join(f"{names[i]} ({counts[i]})" for i in np.flatnonzero(is_small))
    warnings.warn(
        f"classes with fewer than {shots} training images are left out: {listing}. Ask for fewer "
        "shots to include them.",
        DataWarning,
        stacklevel=3,
    )
    lost = np.setdiff1d(train.targets, remaining)
    return train.select(kept), test.select(~np.isin(test.targets, lost))


def _truth(classes: np.ndarray, y_test: np.ndarray) -> Numbers:
    """The class of each test image, as a position among the training classes."""
    if len(classes) < 2:
        raise DataError(
            f"the training labels name {len(classes)} class; classification needs at least 2."
        )
    truth = positions(classes, y_test)
    unknown = y_test[truth < 0]
    if len(unknown):
        raise DataError(
            f"{len(unknown)} test images are of a class without a training image "
            f"(e.g. {unknown[0]}). Leave them out, or add training images."
        )
    return truth


def draw_episodes(
    classes: np.ndarray,
    shots: int,
    draws: int = 5,
    seed: int = 42,
    superclasses: np.ndarray | None = None,
) -> Int[np.ndarray, "draws n"]:
    """Draw `shots` images of every class, or of one class of every superclass, `draws` times.

    The result holds row numbers, grouped by class, and is fully determined by the arguments. All
    arms that score the same rows share the draws, so that their differences are paired. Draw d
    permutes the rows of each class, in the order of the sorted classes, with RandomState((seed,
    d)), whose stream never changes, and takes the first `shots`. A draw therefore does not depend
    on the number of draws, and fewer shots are a part of more shots. RandomState((seed, d, 1))
    picks among the classes of a superclass.
    """
    names, first, counts = np.unique(classes, return_index=True, return_counts=True)
    if counts.min() < shots:
        rarest = int(counts.argmin())
        raise DataError(
            f"class {names[rarest]} has {counts[rarest]} training images but `shots` is {shots}. "
            f"Ask for at most {counts[rarest]} shots, or leave that class out."
        )
    kin = []
    if superclasses is not None:
        of_class = superclasses[first]
        kin = [np.flatnonzero(of_class == name) for name in np.unique(of_class)]
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    episodes = []
    for draw in range(draws):
        rng = np.random.RandomState((seed, draw))
        shots_of = np.stack([rng.permutation(rows)[:shots] for rows in members])
        if kin:
            rng = np.random.RandomState((seed, draw, 1))
            shots_of = shots_of[[rng.choice(numbers) for numbers in kin]]
        episodes.append(shots_of.reshape(-1))
    return np.stack(episodes)


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


def shared_credit(scores: Choices, y: Numbers) -> Values:
    """The credit of each prediction: 1/t if the true class is one of t tied for the highest score.

    It is 0 otherwise. Features that have collapsed to one point therefore score exactly chance in
    every class, whatever the order of the classes.
    """
    tolerance = _TIE * np.abs(scores).max(axis=1, keepdims=True)
    return choice(scores, tolerance)[np.arange(len(y)), y]
