"""Classification: a probe is fitted to draws of a few images per class, or to all labels."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int

from glocal.data.features import Features
from glocal.data.labels import Superclasses
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.evaluation.class_names import NameScores, checked_originals, name_scores
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
from glocal.evaluation.sides import Sides, labelled_sides
from glocal.scores import Score
from glocal.similarity import Embedding, Numbers, Values

MIN_DRAWS = 20
"""Intervals from fewer draws of shots are rough."""
MIN_IMAGES_PER_SHOT = 4
"""Intervals are rough if a class has fewer training images for each shot of a draw."""
FOLDS = 5
"""All labels are cut into so many folds, if there are no test images."""
_DRAWS = 5
_FAST_DRAWS = 40  # a probe without an optimisation
_REPEATS = 3  # of the folds, likewise
TRAINING_VARIANCE = 1.5
"""The variance over images is multiplied by this, because the training images of folds vary too."""


def few_shot(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    shots: int | None = 5,
    draws: int | None = None,
    probe: str | None = None,
    strength: float | None = None,
    seed: int = 42,
    superclasses: Superclasses | None = None,
    texts: Features | None = None,
    originals: np.ndarray | None = None,
    originals_test: np.ndarray | None = None,
) -> Result:
    """Classify test images from `shots` training images of each class, in several draws.

    With `superclasses`, the probe learns superclasses instead of classes. Each draw takes all shots
    of a superclass from one of its classes, chosen at random, and is tested on images of the
    classes that gave no shots. The accuracy then measures whether members of unseen classes are
    recognised.

    With `texts`, class names help: the centred similarities of an image to the class means and to
    the texts of the classes are added, a name counting as `EXAMPLES_IN_A_NAME` examples. Texts meet
    the `originals` alone, never transformed rows (`glocal.evaluation.class_names`). Without shots,
    names decide alone, and all labelled images are tested.

    With `shots=None`, the probe learns from all labels. Without test images, the images are cut
    into five stratified folds, and each fold is classified from the others; the credit of an image
    is its mean over repeats (1 of ``logistic``, whose C is then 100, and 3 of other probes). With
    `texts`, the names and the log-probabilities of ``logistic`` (or the cosines of other probes)
    count alike.

    Parameters
    ----------
    X_train, X_test : (n, p) and (m, p) real arrays
        Standardized features, transformed or not; both with the same scalars and transform. Without
        test images, each draw is tested on the training images that it did not take.
    y_train, y_test : (n,) and (m,) int or str arrays
        Classes. A class that only the training images have can be predicted, but never correctly.
    shots, draws, seed : int or None
        See `glocal.evaluation.episodes.draw_episodes`; None shots are all labels. Classes with
        fewer training images than shots are left out, with a DataWarning. The default is 40 draws
        for ``ncm``, which is fast, and 5 for other probes.
    probe : {"logistic", "ncm", "1nn"} or None
        One of `PROBES`. None is ``ncm`` with texts and a number of shots, which need it, else
        ``logistic``.
    strength : float or None
        C of logistic regression on rows of length 1, less the mean of the shots. None chooses C for
        each draw by cross-validation on the rows as they are.
    superclasses : mapping or None
        The superclass of each class. Images of other classes are left out, with a DataWarning.
    texts : Features or None
        Embeddings of the class names by the text side of the network, with the names of the
        classes. A DataWarning counts texts of no class.
    originals, originals_test : (n, p) and (m, p) real arrays or None
        With `texts`: the rows of the images before any transform.

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
        ``seed``. With all labels, the interval is for other test images, and there are ``folds`` (0
        with test images) in place of ``per_draw``, ``rough`` and the settings of draws.

    Raises
    ------
    DataError
        If the number of labels is not that of the rows, fewer than two classes have as many images
        as shots, a test class has no training image, a value is NaN or infinite, no test image is
        left, the only test class of a superclass may give shots, a class has no text, or a class
        has fewer images than there are folds.
    ParameterError
        If the probe is unknown, or an option is given without another that it needs.

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
    if probe is None:
        probe = "logistic" if texts is None or shots is None else "ncm"
    if probe not in PROBES:
        raise ParameterError(f"`probe` is {probe!r}; it must be {' or '.join(PROBES)}.")
    if shots is None:
        _check_none(draws, superclasses)
        _check_texts(texts, originals, originals_test)
        sides = labelled_sides(X_train, y_train, X_test, y_test)
        names = None
        if texts is not None:
            of_images = checked_originals(originals, originals_test, X_train, X_test)
            names = name_scores(texts, sides.targets, *of_images, shots=0)
        return _by_all_labels(sides, probe, seed, names)
    if draws is None:
        draws = _FAST_DRAWS if probe == "ncm" else _DRAWS
    sides = _learnable(labelled_sides(X_train, y_train, X_test, y_test, superclasses), shots)
    names = None
    if texts is not None:
        if probe != "ncm" or superclasses is not None:
            raise ParameterError(
                f"the texts of classes are added to nearest class means, and `probe` is {probe!r}; "
                "give `probe=ncm`, and no `superclasses`."
            )
        originals, originals_test = checked_originals(originals, originals_test, X_train, X_test)
        tested = originals_test[sides.test.rows]
        names = name_scores(texts, sides.targets, originals, tested, shots)
        if not shots:
            return _by_names_alone(names, sides)
    elif shots < 1:
        raise ParameterError(
            f"`shots={shots}` needs the texts of the classes (--class-texts; texts in Python). "
            "Give them, or at least one shot."
        )
    _check_texts(texts, originals, originals_test)
    return _by_draws(sides, probe, shots, draws, seed, names=names, strength=strength)


def _check_none(*options: Any) -> None:
    """Raise a ParameterError if an option of a few shots is given with all labels."""
    if any(option is not None for option in options):
        raise ParameterError(
            "`shots=None` learns from all labels, and goes with no draws or superclasses. Leave "
            "these out, or give a number of shots."
        )


def _check_texts(texts: Features | None, *originals: np.ndarray | None) -> None:
    """Raise a ParameterError if original rows are given without texts."""
    if texts is None and any(rows is not None for rows in originals):
        raise ParameterError("`originals` are compared with `texts` alone; give texts too.")


def _by_all_labels(sides: Sides, probe: str, seed: int, names: NameScores | None) -> Result:
    """Score a probe on test images, or on each fold after learning from the others."""
    sides.check_targets()
    is_slow = probe == "logistic"
    learn = (
        partial(logistic_of_units, strength=STRENGTH_OF_ALL_LABELS) if is_slow else PROBES[probe]
    )
    if is_slow and names is not None:
        learn = partial(_log_probabilities, probe=learn)
    rows = np.arange(len(sides.train.X))
    splits = [(rows, np.arange(len(sides.test.X)))]
    folds = 0
    inflation = 1.0
    if sides.is_one_set:
        splits = _fold_splits(sides.train.targets, 1 if is_slow else _REPEATS, seed)
        folds = FOLDS
        inflation = TRAINING_VARIANCE
    credits = np.nanmean(split_credits(sides, splits, learn, names=names), axis=0)
    units = ItemValues(values=balanced_values(credits, sides.test.targets, inflation))
    settings = {"folds": folds, **({} if names is None else {"class_texts": True})}
    chance = 1 / len(sides.targets)
    return _result(units, credits[None], probe, settings, task="all-labels", chance=chance)


def _log_probabilities(X: Embedding, y: Numbers, k: int, *, probe: Probe) -> Scorer:
    """The logarithms of the probabilities of a probe, to which other evidence can be added."""
    probabilities = probe(X, y, k)
    return lambda Z: np.log(probabilities(Z) + np.finfo(float).tiny)


def _fold_splits(classes: Numbers, repeats: int, seed: int) -> list[Split]:
    """The splits of each stratified fold in each repeat; all arms share them."""
    from sklearn.model_selection import StratifiedKFold

    smallest = int(np.bincount(classes).min())
    if smallest < FOLDS:
        raise DataError(
            f"a class has {smallest} images, fewer than the {FOLDS} folds. Leave small classes out."
        )
    splits: list[Split] = []
    for repeat in range(repeats):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        splits += folds.split(classes, classes)
    return splits


def few_shot_by_superclass(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    superclasses: Superclasses,
    shots: int = 1,
    draws: int = _FAST_DRAWS,
    seed: int = 42,
) -> Result:
    """Classify by nearest class means; a class of the true superclass is right.

    Arguments and result are those of `few_shot`, balanced over classes, but a probe learns classes,
    each of which has a superclass.
    """
    sides = _learnable(labelled_sides(X_train, y_train, X_test, y_test), shots)
    superclass = np.array([str(superclasses[name]) for name in sides.targets.tolist()])
    kin = superclass[:, None] == superclass
    return _by_draws(sides, "ncm", shots, draws, seed, kin=kin)


def _by_draws(
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
    classifier = PROBES[probe]
    if strength is not None and probe == "logistic":
        classifier = partial(logistic_of_units, strength=strength)
    train, test = sides[:2]
    superclasses = train.targets if sides.by_superclass else None
    episodes = draw_episodes(train.classes, shots, draws, seed, superclasses)
    splits = [(rows, _tested(sides, rows)) for rows in episodes]
    credits = split_credits(sides, splits, classifier, names=names, kin=kin)
    pools = np.bincount(train.targets)
    units = EpisodeValues(
        values=credits,
        classes=test.targets,
        shot_share=float(np.mean(shots / pools)),
        is_one_set=sides.is_one_set,
    )
    settings = {
        "shots": shots,
        "draws": draws,
        "seed": seed,
        "rough": draws < MIN_DRAWS or int(pools.min()) < MIN_IMAGES_PER_SHOT * shots,
        **({} if names is None else {"class_texts": True}),
        **({} if strength is None else {"strength": strength}),
    }
    chance = 1 / len(sides.targets) if kin is None else float(kin.mean())
    per_draw = tuple(_accuracy_by_draw(sides, credits, shots).tolist())
    return _result(units, credits, probe, settings, per_draw=per_draw, chance=chance)


def _accuracy_by_draw(sides: Sides, credits: Credits, shots: int) -> Values:
    """The accuracy of each draw, balanced over classes; an error if a class is never tested."""
    by_class = class_means(credits, sides.test.targets)
    n_classes = by_class.shape[1]
    lacks_tests = sides.by_superclass and n_classes < len(np.unique(sides.test.targets))
    if not n_classes or lacks_tests or np.isnan(by_class).any():
        raise DataError(
            f"a draw of {shots} shots leaves a class or superclass without a test image. Ask for "
            "fewer shots, and give superclasses of at least two test classes each. Are classes and "
            "superclasses swapped?"
        )
    return by_class.mean(axis=1)


def _by_names_alone(names: NameScores, sides: Sides) -> Result:
    """The accuracy of class names alone, with the interval over test images of these classes."""
    codes = sides.test.targets
    credits = shared_credit(names.scores, codes, names.tolerance)
    units = ItemValues(values=balanced_values(credits, codes))
    settings = {"shots": 0, "draws": 1, "class_texts": True}
    per_draw = (float(units.values.mean()),)
    values: dict[str, Any] = {"chance": 1 / len(sides.targets), "by_image": credits}
    return _result(units, credits[None], "ncm", settings, per_draw=per_draw, **values)


def _learnable(sides: Sides, shots: int) -> Sides:
    """Leave out classes with fewer images than shots, if two remain; a DataWarning names them."""
    sides.check_targets()
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
    warn(
        f"classes with fewer than {shots} training images are left out: {listing}. Ask for fewer "
        "shots to include them.",
        DataWarning,
    )
    train = train.select(is_kept)
    test = test.select(np.isin(test.targets, remaining))
    train, test = (
        side._replace(targets=np.searchsorted(remaining, side.targets)) for side in (train, test)
    )
    return sides._replace(train=train, test=test, targets=sides.targets[remaining])


def _tested(sides: Sides, rows: Int[np.ndarray, " shown"]) -> Numbers:
    """The images that a draw of these rows tests.

    With superclasses, they are of the classes that gave no shots, else they are no shots.
    """
    train, test = sides[:2]
    if sides.by_superclass:
        return np.flatnonzero(~np.isin(test.classes, train.classes[rows]))
    images = np.arange(len(test.X))
    return np.delete(images, rows) if sides.is_one_set else images


def _result(
    units: Units,
    credits: Credits,
    probe: str,
    settings: dict[str, Any],
    *,
    task: str = "few-shot",
    **values: Any,
) -> Result:
    """The rows of scores: the accuracy that is balanced over classes, and that of all images."""
    n = round(np.count_nonzero(~np.isnan(credits)) / len(credits))
    score = partial(Score, task, n=n, settings=settings)
    scores = (
        score(f"accuracy_{probe}", *units.bounded()),
        score(f"accuracy_plain_{probe}", float(np.nanmean(credits, axis=1).mean())),
    )
    return Result.from_scores(scores, units, probe, **values, probe=probe)
