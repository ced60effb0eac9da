"""Anomaly detection: an image is anomalous if it is far from its nearest training images."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.data.labels import positions
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.intervals import FRACTION, Result, Units
from glocal.evaluation.sides import SIDES, check_columns, labelled_sides
from glocal.results import Score
from glocal.similarity import (
    cosine_blocks,
    finite,
    snap_ties,
    tie_tolerance,
    zeros_if_collapsed,
)

METRICS = ("auroc", "aupr", "fpr95")
MODES = ("one-vs-rest", "leave-one-out", "shift")
_AGAINST = "against"  # the mode of `anomaly_against`


_Task = tuple[Float[np.ndarray, "m k"], Bool[np.ndarray, " m"], Bool[np.ndarray, " m"]]
"""One detection: the k largest cosines of all test images, which are anomalies, and which are used.
"""


def anomaly(
    train: Float[np.ndarray, "n p"],
    train_labels: Shaped[np.ndarray, " n"],
    test: Float[np.ndarray, "m p"],
    test_labels: Shaped[np.ndarray, " m"],
    *,
    mode: str = "one-vs-rest",
    k: int = 5,
    superclasses: Mapping[Any, str] | None = None,
) -> Result:
    """Detect test images of other classes than the training images, with one task per class.

    The anomaly score of a test image z, which is higher for anomalies, is

        score(z) = - mean of the k largest cos(z, t) over the training images t of the task.

    ============== ======================== ======================== =============================
    mode, class c  training images          normal test images       anomalies
    ============== ======================== ======================== =============================
    one-vs-rest    those of c               those of c               all others
    leave-one-out  of all classes but c     of training classes but  all others, among them
                                            c                        those of c
    shift          of the trained half of c of the unseen half of c  of all other superclasses
    ============== ======================== ======================== =============================

    In `shift`, c is a superclass and labels are its classes. Training images are those of the first
    half (rounded up), in sorted order, of the classes that a superclass has in training. Test
    images of this half are not normal images of any task. With 3 of 5 classes, this is
    CIFAR-100-shift. Files whose training and test classes already differ (BREEDS) need
    `one-vs-rest` instead of `shift`.

    Scores that differ by no more than rounding (`tie_tolerance`) are ties. Test images of a class
    without training images are anomalies in every task. Classes without normal or without anomalous
    test images are left out, with a DataWarning. If all rows are one point, every score is a tie,
    with a CollapseWarning.

    Parameters
    ----------
    train, test : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars.
    train_labels, test_labels : (n,) and (m,) integers or names
    superclasses : mapping or None
        The superclass of each label, with which the mode is `shift`. Images of other classes are
        left out, with a DataWarning.
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
        the mode `leave-one-out`.

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
    if mode not in (*MODES, _AGAINST):
        raise ParameterError(f"`mode` is {mode!r}; it must be {' or '.join(MODES)}.")
    if superclasses is not None and mode != "leave-one-out":
        mode = "shift"
    if (mode == "shift") != (superclasses is not None):
        raise ParameterError(
            f"`mode={mode!r}` {'needs' if mode == 'shift' else 'does not go with'} `superclasses`, "
            "which are those of the labels. Give both or neither."
        )
    shown, tested = labelled_sides(train, train_labels, test, test_labels, superclasses)
    classes, codes = np.unique(shown.superclasses, return_inverse=True)
    test_codes = positions(classes, tested.superclasses)  # -1 of a class without training image
    is_shown = np.ones(len(codes), dtype=bool)
    is_tested = np.ones(len(test_codes), dtype=bool)
    if mode == "shift":
        halves = [_first_half(shown.classes[codes == c]) for c in range(len(classes))]
        is_shown = np.isin(shown.classes, np.concatenate(halves))
        is_tested = ~np.isin(tested.classes, np.concatenate(halves))
    nearest = _nearest(shown.X[is_shown], codes[is_shown], classes, tested.X, k)
    if mode == "leave-one-out":
        tasks = _leave_one_out(nearest, test_codes)
    else:
        tasks = _one_vs_rest(nearest, test_codes, is_tested)
    tasks_by_class = dict(zip(classes.tolist(), tasks, strict=True))
    return _scored(tasks_by_class, test_codes, mode, k, tested.X.shape[1])


def anomaly_against(
    train: Float[np.ndarray, "n p"],
    test: Float[np.ndarray, "m p"],
    anomalies: Float[np.ndarray, "l p"],
    *,
    k: int = 5,
) -> Result:
    """Detect images from another data set than the training data (CIFAR-10 vs CIFAR-100).

    The test images of the training data set are normal. Score, errors and result are those of
    `anomaly`. The only task is named "all" and has no interval.
    """
    test = finite(test, SIDES[1])
    anomalies = finite(anomalies, "anomalies")
    check_columns(test, anomalies, (SIDES[1], "anomalies"))
    images = np.concatenate([test, anomalies])
    labels = np.repeat(["all", "anomalies"], [len(test), len(anomalies)])
    return anomaly(train, np.repeat(["all"], len(train)), images, labels, mode=_AGAINST, k=k)


def detection(
    anomalous: Bool[np.ndarray, " m"], score: Float[np.ndarray, " m"]
) -> tuple[float, float, float]:
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


def _one_vs_rest(
    nearest: Float[np.ndarray, "m c k"],
    test_codes: Int[np.ndarray, " m"],
    is_tested: Bool[np.ndarray, " m"],
) -> Iterator[_Task]:
    """Yield the task of each class against all others, without untested normal images."""
    for c in range(nearest.shape[1]):
        anomalous = test_codes != c
        yield nearest[:, c], anomalous, is_tested | anomalous


def _leave_one_out(
    nearest: Float[np.ndarray, "m c k"], test_codes: Int[np.ndarray, " m"]
) -> Iterator[_Task]:
    """Yield the task of all classes but one, for each class that is left out.

    The k nearest images of all classes but one are among the 2k nearest images of all classes.
    """
    n, n_classes, k = nearest.shape
    cosines = nearest.reshape(n, -1)  # (m, c k)
    candidates = np.argsort(-cosines, axis=1)[:, : 2 * k]
    is_used = np.ones(n, dtype=bool)
    cosines = np.take_along_axis(cosines, candidates, axis=1)
    for c in range(n_classes):
        others = np.where(candidates // k == c, -np.inf, cosines)
        yield np.sort(others, axis=1)[:, -k:], (test_codes == c) | (test_codes < 0), is_used


def _first_half(subclasses: np.ndarray) -> np.ndarray:
    names = np.unique(subclasses)
    return names[: -(-len(names) // 2)]


def _nearest(
    train: np.ndarray, codes: Int[np.ndarray, " n"], classes: np.ndarray, test: np.ndarray, k: int
) -> Float[np.ndarray, "m c k"]:
    """The k largest cosines of every test image with the training images of each class."""
    sizes = np.bincount(codes)
    if sizes.min() < k:
        raise DataError(
            f"class {classes[sizes.argmin()]} has {sizes.min()} training images, fewer than "
            f"`k={k}`. Lower `k`, add images, or leave that class out."
        )
    train, test = zeros_if_collapsed(train, test)
    gallery = train[np.argsort(codes, kind="stable")]
    blocks = []
    for _, S in cosine_blocks(test, gallery):
        by_class = np.split(S, np.cumsum(sizes)[:-1], axis=1)
        blocks.append(np.stack([np.partition(part, -k, axis=1)[:, -k:] for part in by_class], 1))
    return np.concatenate(blocks)


def _scored(
    tasks: dict[int | str, _Task], test_codes: Int[np.ndarray, " m"], mode: str, k: int, p: int
) -> Result:
    """Score the tasks that have both normal and anomalous test images."""
    metrics = []
    rows = []
    influence = np.zeros(len(test_codes))
    for name, (similarities, is_anomaly, is_used) in tasks.items():
        anomalous = is_anomaly[is_used]
        if anomalous.any() and not anomalous.all():
            score = -snap_ties(similarities[is_used].mean(axis=1), tie_tolerance(p))
            metrics.append(detection(anomalous, score))
            influence[is_used] += _influence(anomalous, score)
            counts = {"normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())}
            rows.append({"class": name, **dict(zip(METRICS, metrics[-1], strict=True)), **counts})
    if not rows:
        raise DataError(
            "no class has both normal and anomalous test images; there is nothing to detect."
        )
    if len(rows) < len(tasks):
        warnings.warn(
            f"{len(tasks) - len(rows)} of {len(tasks)} classes lack normal or anomalous test "
            "images; they are left out of the average.",
            DataWarning,
            stacklevel=3,
        )
    means = dict(zip(METRICS, np.mean(metrics, axis=0).tolist(), strict=True))
    units = Units(values=means["auroc"] + _within_classes(influence / len(rows), test_codes))
    low, high = units.estimate().interval(FRACTION)
    n = len(test_codes)
    settings = {"mode": mode, "k": k}
    scores = [Score("anomaly", name, mean, n=n, settings=settings) for name, mean in means.items()]
    scores[0] = replace(scores[0], low=low, high=high)
    values = {**means, "low": low, "high": high, **settings, "n": n, "per_class": rows}
    return Result(tuple(scores), units, values)


def _influence(
    anomalous: Bool[np.ndarray, " m"], score: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """The share of each image in the error of an AUROC.

    The placement value of a normal image is the share of anomalies with a higher score, that of an
    anomaly the share of normal images with a lower one; ties count half. The AUROC is the mean of
    either kind, and an image moves it by the deviation of its placement value from this mean,
    divided by the number of its kind.

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


def _within_classes(
    influence: Float[np.ndarray, " m"], classes: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """Values of mean 0, whose independent error is that of images within these classes."""
    codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)[1:]
    within = influence - (np.bincount(codes, influence) / sizes)[codes]
    n = len(influence)
    return n * within * ((n - 1) / max(n - len(sizes), 1)) ** 0.5
