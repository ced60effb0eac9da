"""Anomaly detection: an image is anomalous if it is far from its nearest training images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

from glocal.data.labels import Superclasses
from glocal.errors import DataError, ParameterError
from glocal.evaluation.alarms import NearestCosines, nearest_cosines
from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import FRACTION, ItemValues
from glocal.evaluation.sides import (
    SIDES,
    Labelled,
    Sides,
    labelled_sides,
    leave_out,
    matching_rows,
)
from glocal.scores import Score
from glocal.similarity import (
    Embedding,
    Labels,
    Mask,
    Numbers,
    Rows,
    Values,
    snap_ties,
    tie_tolerance,
    zeros_if_collapsed,
)

METRICS = ("auroc", "aupr", "fpr95")
MODES = ("one-vs-rest", "leave-one-out", "shift")
Table = Bool[np.ndarray, "m c"]
"""A mask of the test images for each task."""
OfTasks = Float[np.ndarray, "m c"]
"""The similarity of each test image to the training images of each task."""


class _Task(NamedTuple):
    """The test images of a task: their similarity to its training images, and what they are.

    An image that is neither normal nor anomalous has no part in the task.
    """

    name: Any
    similarity: Values
    normal: Mask
    anomalous: Mask


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
        raise ParameterError(f"`mode` is {mode!r}; it must be {' or '.join(MODES)}.")
    if (mode == "shift") != (superclasses is not None):
        raise ParameterError(
            f"`mode={mode!r}` {'needs' if mode == 'shift' else 'does not go with'} `superclasses`, "
            "which are those of the labels. Give both or neither."
        )
    return _detect(labelled_sides(train, train_labels, test, test_labels, superclasses), mode, k)


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
    train, test, anomalies = matching_rows((*SIDES, "anomalies"), train, test, anomalies)
    labels = np.repeat(["all", "others"], [len(test), len(anomalies)])
    images = np.concatenate([test, anomalies])
    sides = labelled_sides(train, np.full(len(train), "all"), images, labels)
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
    if is_one_set != (is_normal_test is None):
        raise ParameterError("`X_test` and `is_normal_test` go together: give both, or neither.")
    if X_test is None or is_normal_test is None:
        X_test = X
        is_normal_test = is_normal
    X, X_test = zeros_if_collapsed(*matching_rows(SIDES, X, X_test))
    normal = X[is_normal]
    _check_sizes(np.array(["all"]), np.array([len(normal) - is_one_set]), k)
    nearest = np.empty((len(X_test), k))
    is_new = np.full(len(X_test), True)
    if is_one_set:
        nearest[is_normal] = nearest_cosines(None, normal, k)[:, 0]
        is_new = ~is_normal
    nearest[is_new] = nearest_cosines(X_test[is_new], normal, k)[:, 0]
    task = _Task("all", nearest.mean(axis=1), is_normal_test, ~is_normal_test)
    return _score([task], X.shape[1], is_normal_test, {"mode": "one-class", "k": k})


def _detect(sides: Sides, mode: str, k: int) -> Result:
    """The result of a task for each target, of the modes of `anomaly` or against other data."""
    trained, tested, targets = sides[:3]
    if mode == "shift":
        trained = trained.select(np.isin(trained.classes, _first_halves(trained)))
    sizes = np.bincount(trained.targets)
    _check_sizes(targets, sizes, k)
    train, test = zeros_if_collapsed(trained.X, tested.X)
    gallery = train[np.argsort(trained.targets, kind="stable")]
    nearest = nearest_cosines(test, gallery, k, sizes.tolist())
    similarity = nearest.mean(axis=2)
    if mode == "leave-one-out":
        similarity = _without_each_class(nearest)
    normal, anomalous = _masks(mode, len(targets), trained, tested)
    columns = (similarity.T, normal.T, anomalous.T)
    tasks = [_Task(*values) for values in zip(targets.tolist(), *columns, strict=True)]
    return _score(tasks, test.shape[1], tested.targets, {"mode": mode, "k": k})


def _masks(mode: str, n_targets: int, trained: Labelled, tested: Labelled) -> tuple[Table, Table]:
    """Which test images are normal, and which are anomalies, in the task of each target."""
    is_of_class = tested.targets[:, None] == np.arange(n_targets)
    if mode == "leave-one-out":
        is_known = (tested.targets >= 0)[:, None]
        normal = ~is_of_class & is_known
        return normal, ~normal
    if mode == "shift":
        is_of_trained = np.isin(tested.classes, trained.classes)
        return is_of_class & ~is_of_trained[:, None], ~is_of_class
    return is_of_class, ~is_of_class


def _check_sizes(names: Labels, sizes: Numbers, k: int) -> None:
    """Raise a DataError if a class has too few training images."""
    if sizes.min() < k:
        raise DataError(
            f"class {names[sizes.argmin()]} has {sizes.min()} training images, fewer than "
            f"`k={k}`. Lower `k`, add images, or leave that class out."
        )


def detection(anomalous: Mask, score: Values) -> tuple[float, float, float]:
    """AUROC, AUPR, and the share of normal images flagged when 95 % of the anomalies are (FPR95).

    A lower FPR95 is better. Tied images pass a threshold together, but for FPR95 they are flagged
    in random order (the ROC curve is linear within a tie). If all scores are equal, the three
    values are 1/2, the share of anomalies, and 0.95.
    """
    from sklearn.metrics import auc, average_precision_score, roc_curve

    false_rate, true_rate, _ = roc_curve(anomalous, score, drop_intermediate=False)
    fpr95 = np.interp(0.95 - 1e-12, true_rate, false_rate)  # lowest rate of a flat part
    aupr = average_precision_score(anomalous, score)
    return float(auc(false_rate, true_rate)), float(aupr), float(fpr95)


def _without_each_class(nearest: NearestCosines) -> OfTasks:
    """The mean of the k largest cosines with the images of all classes but one, for each class.

    The k nearest images of all classes but one are among the 2k nearest images of all classes.
    """
    n, n_classes, k = nearest.shape
    cosines = nearest.reshape(n, -1)
    candidates = np.argsort(-cosines, axis=1)[:, : 2 * k]
    cosines = np.take_along_axis(cosines, candidates, axis=1)
    means = []
    for c in range(n_classes):
        others = np.where(candidates // k == c, -np.inf, cosines)
        means.append(np.sort(others, axis=1)[:, -k:].mean(axis=1))
    return np.stack(means, axis=1)


def _first_halves(images: Labelled) -> Numbers:
    """The first half of the classes of each superclass."""
    halves = []
    for superclass in np.unique(images.targets):
        classes = np.unique(images.classes[images.targets == superclass])
        halves.append(classes[: -(-len(classes) // 2)])
    return np.concatenate(halves)


def _score(
    tasks: Sequence[_Task], n_columns: int, classes: Labels, settings: dict[str, Any]
) -> Result:
    """Average the metrics of the tasks; the interval is over other test images of the `classes`."""
    tolerance = tie_tolerance(n_columns)
    complete = [task for task in tasks if task.normal.any() and task.anomalous.any()]
    n = len(tasks)
    leave_out(n - len(complete), n, "classes lack normal or anomalous test images")
    influence = np.zeros(len(classes))
    rows = []
    for task in complete:
        is_used = task.normal | task.anomalous
        anomalous = task.anomalous[is_used]
        score = -snap_ties(task.similarity[is_used], tolerance)
        influence[is_used] += _influence(anomalous, score) / len(complete)
        rows.append(_row(task, detection(anomalous, score)))
    means = [float(np.mean([row[name] for row in rows])) for name in METRICS]
    units = ItemValues(values=means[0] + _within_classes(influence, classes))
    score_row = partial(Score, "anomaly", n=len(classes), settings=settings)
    scores = [*map(score_row, METRICS, means)]
    scores[0] = score_row("auroc", means[0], *units.estimate().interval(FRACTION))
    return Result.from_scores(scores, units, per_class=rows)


def _row(task: _Task, metrics: Sequence[float]) -> dict[str, Any]:
    """The metrics of a task, and its numbers of test images."""
    return {
        "class": task.name,
        **dict(zip(METRICS, metrics, strict=True)),
        "normal": int(task.normal.sum()),
        "anomalous": int(task.anomalous.sum()),
    }


def _influence(anomalous: Mask, score: Values) -> Values:
    """The share of each image in the error of an AUROC.

    The placement value of a normal image is the share of anomalies with a higher score. For an
    anomaly it is the share of normal images with a lower score. Ties count half. The AUROC is the
    mean of either kind, and an image moves it by the deviation of its placement value from this
    mean, divided by the number of its kind.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837.
    """
    from scipy.stats import rankdata

    placement = rankdata(score)
    for kind in (anomalous, ~anomalous):
        placement[kind] -= rankdata(score[kind])  # images of the other kind with a lower score
    n_anomalous = np.count_nonzero(anomalous)
    n_normal = len(anomalous) - n_anomalous
    placement = np.where(anomalous, placement / n_normal, 1 - placement / n_anomalous)
    auroc = placement[anomalous].mean()
    return (placement - auroc) / np.where(anomalous, n_anomalous, n_normal)


def _within_classes(influence: Values, classes: Labels) -> Values:
    """Values of mean 0, whose independent error is that of images within these classes."""
    codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)[1:]
    within = influence - (np.bincount(codes, influence) / sizes)[codes]
    n = len(influence)
    return n * within * ((n - 1) / max(n - len(sizes), 1)) ** 0.5
