"""Tasks of anomaly detection: which images are normal, class after class, and how near each test image is to them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.data.labels import positions
from glocal.errors import DataError, DataWarning
from glocal.evaluation.detection import ANOMALOUS, LEFT_OUT, NORMAL
from glocal.evaluation.structure.collapse import one_point
from glocal.similarity import joined, tie_tolerance, unit_rows

Progress = Callable[[int], None] | None
# the class, and for each test image its similarity to the normal training images and its kind
Task = tuple[int, np.ndarray, np.ndarray]
_BLOCK_NUMBERS = 1 << 23  # 64 MB of cosines at a time
_MANY = 2000  # columns from which looking at the maxima of groups first is faster than one partition


@dataclass(frozen=True, eq=False)
class Comparison:
    """Unit rows of training and test images.

    `train` (n, p) holds the training images class after class, `bounds` (c + 1,) where each class begins, `test` (m, p)
    the test images; `collapsed` says that all rows are one point.
    """

    train: Float[np.ndarray, "n p"]
    test: Float[np.ndarray, "m p"]
    bounds: Int[np.ndarray, " c_1"]
    collapsed: bool

    def typical(self, nearest: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " m"]:
        """The mean of the similarities given of each test image; ties are equal, and of collapsed rows all are."""
        if self.collapsed:
            return np.zeros(len(nearest))
        return joined(nearest.mean(axis=1), tie_tolerance(self.test.shape[1]))


def compare(
    train: Float[np.ndarray, "n p"], groups: Int[np.ndarray, " n"], test: Float[np.ndarray, "m p"]
) -> Comparison:
    """Prepare training images, in groups 0, 1, …, and test images; those of a negative group are left out."""
    order = np.argsort(groups, kind="stable")
    order = order[np.count_nonzero(groups < 0) :]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(groups[order]))])
    rows = np.concatenate([train[order], test], dtype=np.float64)
    rows = unit_rows(rows)
    return Comparison(rows[: len(order)], rows[len(order) :], bounds, one_point(rows))


def nearest_by_class(comparison: Comparison, k: int, progress: Progress = None) -> Iterator[Float[np.ndarray, "m _"]]:
    """Yield, class after class, the k largest similarities of every test image to training images of that class.

    Fewer than k for a class of fewer images. Memory is the rows themselves and 64 MB, whatever the number of classes.
    `progress` is called with the number of training images that all test images have been compared with.
    """
    m = len(comparison.test)
    for begin, end in zip(comparison.bounds[:-1], comparison.bounds[1:], strict=True):
        rows = comparison.train[begin:end].T
        size = end - begin
        nearest = np.empty((m, min(k, size)))
        step = int(np.clip(_BLOCK_NUMBERS // max(1, size), 64, 4096))
        for start in range(0, m, step):
            nearest[start : start + step] = largest(comparison.test[start : start + step] @ rows, k)
            if progress is not None:
                progress(int(begin + size * min(m, start + step) / m))
        yield nearest


def largest(S: Float[np.ndarray, "m n"], k: int) -> Float[np.ndarray, "m _"]:
    """The k largest numbers of each row (all, if it has fewer), in no particular order.

    Of long rows the maxima of groups are looked at first: the k largest numbers lie in the k groups of largest maxima.
    """
    m, n = S.shape
    if n <= k:
        return S
    size = int((n / k) ** 0.5)
    if n >= _MANY and size >= 4:
        count = n // size
        groups = S[:, : size * count].reshape(m, size, count)
        best = np.argpartition(groups.max(axis=1), count - k, axis=1)[:, count - k :]
        inside = np.take_along_axis(groups, best[:, None, :], axis=2).reshape(m, -1)
        S = np.concatenate([inside, S[:, size * count :]], axis=1)
    return np.partition(S, S.shape[1] - k, axis=1)[:, -k:]


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
    """The `positions` of the labels of test images; those of no training image are warned of."""
    codes = positions(classes, labels)
    unknown = labels[codes < 0]
    if len(unknown):
        warnings.warn(
            f"{len(unknown)} test images have a label that no training image has (e.g. {unknown[0]}); they count as "
            "anomalies everywhere.",
            DataWarning,
            stacklevel=3,
        )
    return codes
