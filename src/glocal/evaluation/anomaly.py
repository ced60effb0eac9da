"""Anomaly detection: an image is anomalous if it is far from its nearest training images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Shaped

from glocal.data.labels import Superclasses
from glocal.errors import DataError, ParameterError
from glocal.evaluation.alarms import NearestCosines, nearest_cosines
from glocal.evaluation.comparison import Result
from glocal.evaluation.detection import DetectionSettings, DetectionTask, result_of_tasks
from glocal.evaluation.sides import (
    SIDES,
    Labelled,
    Sides,
    labelled_sides,
    matching_rows,
)
from glocal.similarity import (
    Embedding,
    Labels,
    Mask,
    Numbers,
    Rows,
    zeros_if_collapsed,
)

MODES = ("one-vs-rest", "leave-one-out", "shift")
Table = Bool[np.ndarray, "m c"]
"""A mask of the test images for each task."""
OfTasks = Float[np.ndarray, "m c"]
"""The similarity of each test image to the training images of each task."""


def anomaly(
    train: Embedding,
    train_labels: Labels,
    test: Rows,
    test_labels: Shaped[np.ndarray, " m"],
    *,
    mode: str | None = None,
    k: int = 5,
    superclasses: Superclasses | None = None,
) -> Result:
    """Detect test images of other classes than the training images, with one task per class.

    The anomaly score of a test image z, which is higher for anomalies, is

        score(z) = - mean of the k largest cos(z, t) over the training images t of the task.

    ============== ======================== ======================== =============================
    mode, class c  training images          normal test images       anomalies
    ============== ======================== ======================== =============================
    one-vs-rest    of c                     of c                     all others
    leave-one-out  of all classes but c     of training classes but  all others, among them
                                            c                        those of c
    shift          of the trained half of c of the unseen half of c  of all other superclasses
    ============== ======================== ======================== =============================

    In `shift`, c is a superclass and labels are its classes. Training images are those of the first
    half (rounded up), in sorted order, of the classes that a superclass has in training. Test
    images of this half are not normal images of any task. With 3 of 5 classes, this is
    CIFAR-100-shift. For files whose training and test classes already differ (BREEDS), give the
    superclasses as labels, without `superclasses`.

    Scores that differ by no more than rounding (`tie_tolerance`) are ties. Test images of a class
    without training images are anomalies in every task. Classes without normal or without anomalous
    test images are left out, with a DataWarning. If all rows are one point, every score is a tie,
    with a CollapseWarning.

    Parameters
    ----------
    train, test : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars.
    train_labels, test_labels : (n,) and (m,) integers or names
    mode : str or None
        None is `shift` with superclasses, else `one-vs-rest`.
    superclasses : mapping or None
        The superclass of each label, which the mode `shift` needs. Images of other classes are left
        out, with a DataWarning.
    k : int
        Number of neighbours, at most the number of training images of the smallest class.

    Returns
    -------
    Result
        ``auroc``, ``aupr`` and ``fpr95``, means over classes of what `detection` returns; ``low``
        and ``high``, the 95 % interval of ``auroc`` for other test images of these classes, with
        the training images as they are; ``mode``; ``k``; ``n`` test images; ``per_class``, one row
        per class.

    Raises
    ------
    DataError
        If a class has fewer than k training images, labels are of two kinds or their number is not
        that of the rows, no class has both normal and anomalous test images, or a value is NaN or
        infinite.
    ParameterError
        If the mode is unknown, superclasses for a shift are missing, or superclasses are given in
        another mode.

    References
    ----------
    Muttenthaler et al. 2023, section 4.3; Bergman, Cohen & Hoshen (2020), arXiv 2002.10445.

    Examples
    --------
    >>> train = np.array([[1.0, 0.1], [1.0, 0.2], [0.1, 1.0], [0.2, 1.0]])
    >>> labels = np.array(["cat", "cat", "dog", "dog"])
    >>> anomaly(train, labels, train[::-1].copy(), labels[::-1].copy(), k=1).auroc
    1.0
    """
    if mode is None:
        mode = "one-vs-rest" if superclasses is None else "shift"
    if mode not in MODES:
        modes = " or ".join(MODES)
        raise ParameterError(f"`mode` is {mode!r}; it must be {modes}.")
    is_shift = mode == "shift"
    has_superclasses = superclasses is not None
    if is_shift != has_superclasses:
        relation = "needs" if is_shift else "does not go with"
        raise ParameterError(
            f"`mode={mode!r}` {relation} `superclasses`, which are those of the labels. Give both "
            "or neither."
        )
    sides = labelled_sides(train, train_labels, test, test_labels, superclasses)
    return _detect(sides, mode, k)


def anomaly_against(
    train: Embedding,
    test: Rows,
    anomalies: Float[np.ndarray, "l p"],
    *,
    k: int = 5,
) -> Result:
    """Detect images from another data set than the training data (CIFAR-10 vs CIFAR-100).

    The test images of the training data set are normal. Score, errors and result are those of
    `anomaly`. The only task is named "all".
    """
    parts = (*SIDES, "anomalies")
    train, test, anomalies = matching_rows(parts, train, test, anomalies)
    images = np.concatenate([test, anomalies])
    train_labels = np.full(len(train), "all")
    test_labels = np.full(len(test), "all")
    anomaly_labels = np.full(len(anomalies), "others")
    labels = np.concatenate([test_labels, anomaly_labels])
    sides = labelled_sides(train, train_labels, images, labels)
    return _detect(sides, "against", k)


def anomaly_of_class(
    X: Embedding,
    is_normal: Mask,
    X_test: Rows | None = None,
    is_normal_test: Bool[np.ndarray, " m"] | None = None,
    *,
    k: int = 5,
) -> Result:
    """Detect images that are not normal by the normal ones.

    Without test images, each normal image is compared with the other normal ones, and all others
    are anomalies. Score and result are those of `anomaly`; the only task is named "all".

    Raises
    ------
    ParameterError
        If one of `X_test` and `is_normal_test` is missing.
    """
    is_one_set = X_test is None
    lacks_kinds = is_normal_test is None
    if is_one_set != lacks_kinds:
        raise ParameterError("`X_test` and `is_normal_test` go together: give both, or neither.")
    if X_test is None or is_normal_test is None:
        X_test = X
        is_normal_test = is_normal
    sides = matching_rows(SIDES, X, X_test)
    X, X_test = zeros_if_collapsed(*sides)
    normal = X[is_normal]
    n_images, n_columns = X_test.shape
    n_neighbours = len(normal) - is_one_set
    _check_size("all", n_neighbours, k)
    nearest = np.empty((n_images, k))
    is_new = np.full(n_images, True)
    if is_one_set:
        cosines = nearest_cosines(None, normal, k)
        nearest[is_normal] = cosines[:, 0]
        is_new = ~is_normal
    new = X_test[is_new]
    cosines = nearest_cosines(new, normal, k)
    nearest[is_new] = cosines[:, 0]
    task = DetectionTask(
        name="all",
        similarity=nearest.mean(axis=1),
        normal=is_normal_test,
        anomalous=~is_normal_test,
    )
    settings = DetectionSettings(mode="one-class", k=k)
    return result_of_tasks([task], n_columns, is_normal_test, settings)


def _detect(sides: Sides, mode: str, k: int) -> Result:
    """The result of a task for each target, of the modes of `anomaly` or against other data."""
    trained, tested, targets = sides[:3]
    if mode == "shift":
        first_halves = _first_halves(trained)
        is_of_first_half = np.isin(trained.classes, first_halves)
        trained = trained.select(is_of_first_half)
    _check_sizes(trained, targets, k)
    nearest = _nearest_of_targets(trained, tested, k)
    similarity = nearest.mean(axis=2)
    if mode == "leave-one-out":
        similarity = _without_each_class(nearest)
    n_targets = len(targets)
    normal, anomalous = _normal_and_anomalous(mode, n_targets, trained, tested)
    tasks = []
    for target, name in enumerate(targets.tolist()):
        task = DetectionTask(
            name=name,
            similarity=similarity[:, target],
            normal=normal[:, target],
            anomalous=anomalous[:, target],
        )
        tasks.append(task)
    n_columns = tested.X.shape[1]
    settings = DetectionSettings(mode=mode, k=k)
    return result_of_tasks(tasks, n_columns, tested.targets, settings)


def _nearest_of_targets(trained: Labelled, tested: Labelled, k: int) -> NearestCosines:
    """The k largest cosines of each test image with the training images of each target."""
    train, test = zeros_if_collapsed(trained.X, tested.X)
    by_target = np.argsort(trained.targets, kind="stable")
    gallery = train[by_target]
    class_sizes = np.bincount(trained.targets)
    return nearest_cosines(test, gallery, k, class_sizes.tolist())


def _normal_and_anomalous(
    mode: str, n_targets: int, trained: Labelled, tested: Labelled
) -> tuple[Table, Table]:
    """Which test images are normal, and which are anomalies, in the task of each target."""
    targets = tested.targets[:, None]
    target_codes = np.arange(n_targets)
    is_of_class = targets == target_codes
    if mode == "leave-one-out":
        has_training_images = targets >= 0
        is_of_other_class = ~is_of_class
        normal = is_of_other_class & has_training_images
        return normal, ~normal
    if mode == "shift":
        is_of_trained = np.isin(tested.classes, trained.classes)
        normal = is_of_class & ~is_of_trained[:, None]
        return normal, ~is_of_class
    return is_of_class, ~is_of_class


def _check_sizes(trained: Labelled, targets: Labels, k: int) -> None:
    """Raise a DataError if the smallest class has too few training images."""
    class_sizes = np.bincount(trained.targets)
    smallest = class_sizes.argmin()
    _check_size(targets[smallest], int(class_sizes[smallest]), k)


def _check_size(name: object, size: int, k: int) -> None:
    """Raise a DataError if a class has too few training images."""
    if size < k:
        raise DataError(
            f"class {name} has {size} training images, fewer than `k={k}`. Lower `k`, add images, "
            "or leave that class out."
        )


def _without_each_class(nearest: NearestCosines) -> OfTasks:
    """The mean of the k largest cosines with the images of all classes but one, for each class.

    The k nearest images of all classes but one are among the 2k nearest images of all classes.
    """
    n, n_classes, k = nearest.shape
    cosines = nearest.reshape(n, -1)
    order = np.argsort(-cosines, axis=1)
    candidates = order[:, : 2 * k]
    candidate_cosines = np.take_along_axis(cosines, candidates, axis=1)
    classes = candidates // k
    means = []
    for left_out_class in range(n_classes):
        is_left_out = classes == left_out_class
        cosines_of_others = np.where(is_left_out, -np.inf, candidate_cosines)
        ascending = np.sort(cosines_of_others, axis=1)
        largest = ascending[:, -k:]
        means_of_largest = largest.mean(axis=1)
        means.append(means_of_largest)
    return np.stack(means, axis=1)


def _first_halves(images: Labelled) -> Numbers:
    """The first half of the classes of each superclass."""
    halves = []
    for superclass in np.unique(images.targets):
        is_of_superclass = images.targets == superclass
        labels = images.classes[is_of_superclass]
        classes = np.unique(labels)
        rounded_up = (len(classes) + 1) // 2
        halves.append(classes[:rounded_up])
    return np.concatenate(halves)
