"""The nearest training images of every test image, class by class: one pass of blocked products, exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.evaluation.structure.collapse import one_point
from glocal.similarity import joined, tie_tolerance, unit_rows

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


def nearest_by_class(
    comparison: Comparison, k: int, progress: Callable[[int], None] | None = None
) -> Iterator[Float[np.ndarray, "m _"]]:
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
