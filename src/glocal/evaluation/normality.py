"""Which training and test images a task of anomaly detection takes as normal, class after class."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int

from glocal.errors import DataError, DataWarning
from glocal.evaluation.detection import ANOMALOUS, LEFT_OUT, NORMAL
from glocal.evaluation.nearest import Comparison, largest, nearest_by_class

Progress = Callable[[int], None] | None
# the class, and for each test image its similarity to the normal training images and its kind
Task = tuple[int, np.ndarray, np.ndarray]


def one_vs_rest(
    comparison: Comparison, classes: np.ndarray, codes: np.ndarray, k: int, progress: Progress
) -> Iterator[Task]:
    """Normal: the images of the class itself."""
    sizes = np.diff(comparison.bounds)
    if sizes.min() < k:
        c = int(sizes.argmin())
        raise DataError(
            f"class {classes[c]} has {sizes[c]} training images, fewer than k = {k}. Lower k, add images, or leave "
            "that class out."
        )
    for c, nearest in enumerate(nearest_by_class(comparison, k, progress)):
        yield c, comparison.typical(nearest), np.where(codes == c, NORMAL, ANOMALOUS)


def leave_one_out(
    comparison: Comparison, classes: np.ndarray, codes: np.ndarray, k: int, progress: Progress
) -> Iterator[Task]:
    """Normal: the images of all classes but one.

    The 2k nearest among the k nearest of every class hold, whichever class is left out, the k nearest of the rest.
    """
    sizes = np.diff(comparison.bounds)
    for c, size in enumerate(sizes):
        if sizes.sum() - size < k:
            raise DataError(
                f"without class {classes[c]} there are {sizes.sum() - size} training images, fewer than k = {k}. "
                "Lower k or add images."
            )
    m = len(codes)
    values: np.ndarray = np.empty((m, 0))
    owners: np.ndarray = np.empty((m, 0), dtype=np.int64)
    for c, nearest in enumerate(nearest_by_class(comparison, k, progress)):
        values = np.concatenate([values, nearest], axis=1)
        owners = np.concatenate([owners, np.full(nearest.shape, c)], axis=1)
        if values.shape[1] > 2 * k:
            kept = np.argpartition(values, values.shape[1] - 2 * k, axis=1)[:, -2 * k :]
            values = np.take_along_axis(values, kept, axis=1)
            owners = np.take_along_axis(owners, kept, axis=1)
    for c in range(len(classes)):
        nearest = largest(np.where(owners == c, -np.inf, values), k)
        yield c, comparison.typical(nearest), np.where((codes == c) | (codes < 0), ANOMALOUS, NORMAL)


def shift(
    comparison: Comparison, classes: np.ndarray, codes: np.ndarray, of_seen: np.ndarray, k: int, progress: Progress
) -> Iterator[Task]:
    """Normal: the images of a superclass; the test images whose subclass was trained on (`of_seen`) are left out."""
    for c, similarity, kind in one_vs_rest(comparison, classes, codes, k, progress):
        yield c, similarity, np.where((codes == c) & of_seen, LEFT_OUT, kind)


def trained_half(classes: np.ndarray, groups: np.ndarray, subclasses: np.ndarray) -> np.ndarray:
    """The subclasses that are trained on: of each superclass the first half in sorted order, rounded up."""
    seen: list[np.ndarray] = []
    for c, name in enumerate(classes):
        own = np.unique(subclasses[groups == c])
        if len(own) < 2:
            raise DataError(
                f"superclass {name} has one subclass in training ({own[0]}); shift needs at least two. "
                "Are labels and subclasses exchanged?"
            )
        shared = own[np.isin(own, subclasses[groups != c])]
        if len(shared):
            raise DataError(f"subclass {shared[0]} is of superclass {name} and of another one; give each its own name.")
        seen.append(own[: -(-len(own) // 2)])
    return np.concatenate(seen)


def class_codes(classes: np.ndarray, labels: np.ndarray) -> Int[np.ndarray, " m"]:
    """The position of each label in the sorted `classes`, or -1."""
    at = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    codes = np.where(classes[at] == labels, at, -1)
    unknown = labels[codes < 0]
    if len(unknown):
        warnings.warn(
            f"{len(unknown)} test images have a label that no training image has (e.g. {unknown[0]}); they count as "
            "anomalies everywhere.",
            DataWarning,
            stacklevel=3,
        )
    return codes
