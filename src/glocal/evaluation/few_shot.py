"""Classification: a probe is fitted to draws of a few images per class, or to all labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glocal.data.features import Features
from glocal.data.labels import Superclasses
from glocal.errors import DataError, DataWarning, ParameterError, warn
from glocal.evaluation.accuracy import score_all_labels, score_draws, score_names_alone
from glocal.evaluation.class_names import NameScores, checked_originals, name_scores
from glocal.evaluation.comparison import Result
from glocal.evaluation.probes import PROBES
from glocal.evaluation.sides import Sides, labelled_sides

_DRAWS = 5
_FAST_DRAWS = 40  # a probe without an optimisation


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
        If labels and rows differ in number, fewer than two classes have as many images as shots, a
        test class has no training image, a value is NaN or infinite, no test image is left, the
        only test class of a superclass may give shots, a class has no text, or a class has fewer
        images than there are folds.
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
        needs_means = texts is not None and shots is not None
        probe = "ncm" if needs_means else "logistic"
    _check_options(
        probe,
        shots,
        draws,
        superclasses,
        texts,
        originals=(originals, originals_test),
    )
    images = _Images(X_train, y_train, X_test, y_test, superclasses)
    class_texts = None
    if texts is not None:
        class_texts = _ClassTexts(texts, originals, originals_test)
    if shots is None:
        return _all_labels(images, class_texts, probe, seed)
    if shots == 0 and class_texts is not None:
        return _names_alone(images, class_texts)
    if draws is None:
        draws = _FAST_DRAWS if probe == "ncm" else _DRAWS
    return _few_shots(
        images,
        class_texts,
        probe,
        shots,
        draws,
        seed,
        strength,
    )


class _Images(NamedTuple):
    """The images of a call, as `labelled_sides` takes them."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray | None
    y_test: np.ndarray | None
    superclasses: Superclasses | None

    def sides(self) -> Sides:
        """The training and the test images, checked and numbered."""
        return labelled_sides(
            self.X_train,
            self.y_train,
            self.X_test,
            self.y_test,
            self.superclasses,
        )


class _ClassTexts(NamedTuple):
    """The texts of the classes, and the rows of the images before any transform."""

    texts: Features
    originals: np.ndarray | None
    originals_test: np.ndarray | None

    def scores(self, images: _Images, sides: Sides, shots: int) -> NameScores:
        """The scores of the tested images by the texts, to be added to so many shots."""
        originals, originals_test = checked_originals(
            self.originals,
            self.originals_test,
            images.X_train,
            images.X_test,
        )
        return name_scores(
            self.texts,
            sides.targets,
            originals=originals,
            tested=originals_test[sides.test.rows],
            shots=shots,
        )


def _few_shots(
    images: _Images,
    class_texts: _ClassTexts | None,
    probe: str,
    shots: int,
    draws: int,
    seed: int,
    strength: float | None,
) -> Result:
    """Score a probe that learns from draws of so many shots of each class."""
    sides = _learnable(images.sides(), shots)
    names = None if class_texts is None else class_texts.scores(images, sides, shots)
    return score_draws(
        sides,
        probe,
        shots,
        draws,
        seed,
        names=names,
        strength=strength,
    )


def _all_labels(images: _Images, class_texts: _ClassTexts | None, probe: str, seed: int) -> Result:
    """Score a probe that learns from all labels; the class names, if any, count as much."""
    sides = images.sides()
    names = None if class_texts is None else class_texts.scores(images, sides, shots=0)
    return score_all_labels(sides, probe, seed, names)


def _names_alone(images: _Images, class_texts: _ClassTexts) -> Result:
    """Score the names of the classes, which need no shots."""
    sides = _learnable(images.sides(), shots=0)
    names = class_texts.scores(images, sides, shots=0)
    return score_names_alone(names, sides)


def _check_options(
    probe: str,
    shots: int | None,
    draws: int | None,
    superclasses: Superclasses | None,
    texts: Features | None,
    originals: tuple[np.ndarray | None, np.ndarray | None],
) -> None:
    """Raise a ParameterError if an option is unknown, or is given without another it needs."""
    if probe not in PROBES:
        names = " or ".join(PROBES)
        raise ParameterError(f"`probe` is {probe!r}; it must be {names}.")
    if shots is None:
        _check_all_labels(draws, superclasses)
    else:
        _check_shots(shots, has_texts=texts is not None)
        if texts is not None:
            _check_names_beside(probe, superclasses)
    has_originals = any(rows is not None for rows in originals)
    if texts is None and has_originals:
        raise ParameterError("`originals` are compared with `texts` alone; give texts too.")


def _check_all_labels(draws: int | None, superclasses: Superclasses | None) -> None:
    """Raise a ParameterError if an option of a few shots is given with all labels."""
    if draws is not None or superclasses is not None:
        raise ParameterError(
            "`shots=None` learns from all labels, and goes with no draws or superclasses. Leave "
            "these out, or give a number of shots."
        )


def _check_shots(shots: int, *, has_texts: bool) -> None:
    """Raise a ParameterError if shots are negative, or there is nothing to learn from."""
    if shots < 0:
        raise ParameterError(
            f"`shots` is {shots}; give at least 1, or 0 with the texts of the classes, or None to "
            "learn from all labels."
        )
    if shots == 0 and not has_texts:
        raise ParameterError(
            f"`shots={shots}` needs the texts of the classes (--class-texts; texts in Python). "
            "Give them, or at least one shot."
        )


def _check_names_beside(probe: str, superclasses: Superclasses | None) -> None:
    """Raise a ParameterError if class names cannot be added to the scores of a probe."""
    if probe != "ncm" or superclasses is not None:
        raise ParameterError(
            f"the texts of classes are added to nearest class means, and `probe` is {probe!r}; "
            "give `probe=ncm`, and no `superclasses`."
        )


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

    It takes the arguments of `few_shot` and returns such a result, balanced over classes, but a
    probe learns classes, each of which has a superclass.
    """
    sides = labelled_sides(X_train, y_train, X_test, y_test)
    sides = _learnable(sides, shots)
    classes = sides.targets.tolist()
    superclass_names = np.array([str(superclasses[name]) for name in classes])
    kin = superclass_names[:, None] == superclass_names
    return score_draws(sides, "ncm", shots, draws, seed, kin=kin)


def _learnable(sides: Sides, shots: int) -> Sides:
    """Leave out classes with fewer images than shots, if two remain; a DataWarning names them."""
    sides.check_targets()
    train, test = sides[:2]
    class_sizes = np.bincount(train.classes)
    is_small = class_sizes < shots
    if not is_small.any():
        return sides
    small_classes = np.flatnonzero(is_small)
    listing = ", ".join(f"{sides.classes[i]} ({class_sizes[i]})" for i in small_classes)
    is_learnable = ~is_small[train.classes]
    remaining = np.unique(train.targets[is_learnable])
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
    has_target = np.isin(test.targets, remaining)
    return sides._replace(
        train=train.select(is_learnable).numbered_anew(remaining),
        test=test.select(has_target).numbered_anew(remaining),
        targets=sides.targets[remaining],
    )
