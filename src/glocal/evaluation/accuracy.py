"""The accuracy of a probe on draws of shots or with all labels, and the accuracy of class names."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TypedDict

import numpy as np
from jaxtyping import Int

from glocal.errors import DataError
from glocal.evaluation.class_names import NameScores
from glocal.evaluation.comparison import Result
from glocal.evaluation.episodes import (
    Credits,
    EpisodeValues,
    balanced_values,
    class_means,
    draw_episodes,
)
from glocal.evaluation.intervals import ItemValues, Units
from glocal.evaluation.probes import (
    PROBES,
    STRENGTH_OF_ALL_LABELS,
    Kin,
    Probe,
    Scorer,
    Split,
    logistic_of_units,
    shared_credit,
    split_credits,
)
from glocal.evaluation.sides import Sides
from glocal.scores import Score
from glocal.similarity import Embedding, Numbers, Values

MIN_DRAWS = 20
"""Intervals from fewer draws of shots are rough."""
MIN_IMAGES_PER_SHOT = 4
"""Intervals are rough if a class has fewer training images for each shot of a draw."""
FOLDS = 5
"""All labels are cut into so many folds, if there are no test images."""
_REPEATS = 3  # of the folds, with a probe without an optimisation
TRAINING_VARIANCE = 1.5
"""The variance over images is multiplied by this, because the training images of folds vary too."""


class _Settings(TypedDict, total=False):
    """The settings in the rows of scores; what does not apply is left out."""

    folds: int
    shots: int
    draws: int
    seed: int
    rough: bool
    class_texts: bool
    strength: float


class _Details(TypedDict, total=False):
    """The values of a result that are in no row of scores."""

    per_draw: tuple[float, ...]
    chance: float
    by_image: Values


def score_draws(
    sides: Sides,
    probe: str,
    shots: int,
    draws: int,
    seed: int,
    *,
    names: NameScores | None = None,
    kin: Kin | None = None,
    strength: float | None = None,
) -> Result:
    """Score a probe on draws of shots; `kin` as in `shared_credit`."""
    train, test = sides[:2]
    classifier = PROBES[probe]
    if strength is not None and probe == "logistic":
        classifier = partial(logistic_of_units, strength=strength)
    episodes = draw_episodes(
        train.classes,
        shots,
        draws,
        seed,
        superclasses=train.targets if sides.by_superclass else None,
    )
    splits = [(rows, _tested(sides, rows)) for rows in episodes]
    credits = split_credits(sides, splits, classifier, names=names, kin=kin)
    pool_sizes = np.bincount(train.targets)
    shot_shares = shots / pool_sizes
    units = EpisodeValues(
        values=credits,
        classes=test.targets,
        shot_share=float(np.mean(shot_shares)),
        is_one_set=sides.is_one_set,
    )
    has_small_pool = int(pool_sizes.min()) < MIN_IMAGES_PER_SHOT * shots
    settings = _Settings(
        shots=shots,
        draws=draws,
        seed=seed,
        rough=draws < MIN_DRAWS or has_small_pool,
    )
    if names is not None:
        settings["class_texts"] = True
    if strength is not None:
        settings["strength"] = strength
    accuracies = _accuracy_by_draw(sides, credits, shots)
    details = _Details(
        per_draw=tuple(accuracies.tolist()),
        chance=sides.chance if kin is None else float(kin.mean()),
    )
    return _result(units, credits, probe, settings, details)


def _accuracy_by_draw(sides: Sides, credits: Credits, shots: int) -> Values:
    """The accuracy of each draw, balanced over classes; an error if a class is never tested."""
    by_class = class_means(credits, sides.test.targets)
    n_classes = by_class.shape[1]
    test_targets = np.unique(sides.test.targets)
    lacks_target = sides.by_superclass and n_classes < len(test_targets)
    lacks_test = np.isnan(by_class).any()
    if n_classes == 0 or lacks_target or lacks_test:
        raise DataError(
            f"a draw of {shots} shots leaves a class or superclass without a test image. Ask for "
            "fewer shots, and give superclasses of at least two test classes each. Are classes and "
            "superclasses swapped?"
        )
    return by_class.mean(axis=1)


def score_names_alone(names: NameScores, sides: Sides) -> Result:
    """The accuracy of class names alone, with the interval over test images of these classes."""
    targets = sides.test.targets
    credits = shared_credit(names.scores, targets, names.tolerance)
    values = balanced_values(credits, targets)
    accuracy = float(values.mean())
    settings = _Settings(
        shots=0,
        draws=1,
        class_texts=True,
    )
    details = _Details(
        per_draw=(accuracy,),
        chance=sides.chance,
        by_image=credits,
    )
    return _result(
        ItemValues(values=values),
        credits[None],
        "ncm",
        settings,
        details,
    )


def score_all_labels(sides: Sides, probe: str, seed: int, names: NameScores | None) -> Result:
    """Score a probe on test images, or on each fold after learning from the others."""
    sides.check_targets()
    classifier = PROBES[probe]
    repeats = _REPEATS
    if probe == "logistic":
        classifier = partial(logistic_of_units, strength=STRENGTH_OF_ALL_LABELS)
        repeats = 1
        if names is not None:
            classifier = partial(_log_probabilities, probe=classifier)
    if sides.is_one_set:
        folds = FOLDS
        inflation = TRAINING_VARIANCE
        splits = _fold_splits(sides.train.targets, repeats, seed)
    else:
        folds = 0
        inflation = 1.0
        train_rows = np.arange(len(sides.train.X))
        test_rows = np.arange(len(sides.test.X))
        splits = [(train_rows, test_rows)]
    credits_by_split = split_credits(sides, splits, classifier, names=names)
    credits = np.nanmean(credits_by_split, axis=0)
    values = balanced_values(credits, sides.test.targets, inflation)
    settings = _Settings(folds=folds)
    if names is not None:
        settings["class_texts"] = True
    return _result(
        ItemValues(values=values),
        credits[None],
        probe,
        settings,
        _Details(chance=sides.chance),
        task="all-labels",
    )


def _log_probabilities(X: Embedding, y: Numbers, k: int, *, probe: Probe) -> Scorer:
    """The logarithms of the probabilities of a probe, to which other evidence can be added."""
    smallest = np.finfo(float).tiny
    probabilities = probe(X, y, k)
    return lambda Z: np.log(probabilities(Z) + smallest)


def _fold_splits(classes: Numbers, repeats: int, seed: int) -> list[Split]:
    """The splits of each stratified fold in each repeat; all arms share them."""
    from sklearn.model_selection import StratifiedKFold

    class_sizes = np.bincount(classes)
    smallest = int(class_sizes.min())
    if smallest < FOLDS:
        raise DataError(
            f"a class has {smallest} images, fewer than the {FOLDS} folds. Leave small classes out."
        )
    splits: list[Split] = []
    for repeat in range(repeats):
        folds = StratifiedKFold(
            FOLDS,
            shuffle=True,
            random_state=seed + repeat,
        )
        splits += folds.split(classes, classes)
    return splits


def _tested(sides: Sides, rows: Int[np.ndarray, " shown"]) -> Numbers:
    """The images that a draw of these rows tests.

    With superclasses, they are of the classes that gave no shots, else they are no shots.
    """
    train, test = sides[:2]
    if sides.by_superclass:
        gave_shots = np.isin(test.classes, train.classes[rows])
        return np.flatnonzero(~gave_shots)
    images = np.arange(len(test.X))
    if sides.is_one_set:
        return np.delete(images, rows)
    return images


def _result(
    units: Units,
    credits: Credits,
    probe: str,
    settings: _Settings,
    details: _Details,
    *,
    task: str = "few-shot",
) -> Result:
    """The accuracy that is balanced over classes, and the accuracy of all images."""
    n_draws = len(credits)
    n_credits = np.count_nonzero(~np.isnan(credits))
    plain_accuracies = np.nanmean(credits, axis=1)
    value, low, high = units.bounded()
    balanced = Score(
        task,
        f"accuracy_{probe}",
        value,
        low,
        high,
        n=round(n_credits / n_draws),
        settings=settings,
    )
    over_images = replace(
        balanced,
        metric=f"accuracy_plain_{probe}",
        value=float(plain_accuracies.mean()),
        low=None,
        high=None,
    )
    return Result.from_scores(
        (balanced, over_images),
        units,
        probe,
        **details,
        probe=probe,
    )
