"""The nearest training images of every test image, class by class: one pass of blocked products, exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.evaluation.structure.collapse import SMALLEST_SPREAD
from glocal.similarity import unit_rows

_CHUNK = 1 << 12
_BLOCK_NUMBERS = 1 << 24  # 64 MB of float32 products at a time
_MANY = 2000  # columns from which looking at the maxima of groups first is faster than one partition
_DIGITS = 18


@dataclass(frozen=True, eq=False)
class Comparison:
    """Unit rows of training and test images, ready for cosines that keep their digits.

    With û the rows scaled to length 1, μ the mean of those of the training images and d = û - μ (float64, stored as
    float32),

        cos(i, j) - ‖μ‖² = d_i·d_j + d_i·μ + d_j·μ,

    so that rows that all point nearly the same way, as features with a large common part do, are told apart although
    the products are float32. Similarities here are cosines less the constant ‖μ‖².

    `train` (n, p) holds the d of the training images class after class, `bounds` (c + 1,) where each class begins,
    `train_along` (n,) and `test_along` (m,) the products with μ, `test` (m, p) the d of the test images; `grid` is the
    step that scores are rounded to (2⁻¹⁸ of their scale, above what float32 products lose), so that equal images are
    ties; 0 if all rows are one point.
    """

    train: Float[np.ndarray, "n p"]
    train_along: Float[np.ndarray, " n"]
    test: Float[np.ndarray, "m p"]
    test_along: Float[np.ndarray, " m"]
    bounds: Int[np.ndarray, " c_1"]
    grid: float

    def typical(self, nearest: Float[np.ndarray, "m k"]) -> Float[np.ndarray, " m"]:
        """The mean similarity of each test image to those given, on the grid."""
        if self.grid == 0:
            return np.zeros(len(nearest))
        mean: np.ndarray = nearest.mean(axis=1, dtype=np.float64) + self.test_along
        return np.round(mean / self.grid) * self.grid


def compare(
    train: Float[np.ndarray, "n p"], groups: Int[np.ndarray, " n"], test: Float[np.ndarray, "m p"]
) -> Comparison:
    """Prepare training images, in groups 0, 1, …, and test images; those of a negative group are left out."""
    order = np.argsort(groups, kind="stable")
    order = order[np.count_nonzero(groups < 0) :]
    bounds = np.concatenate([[0], np.cumsum(np.bincount(groups[order]))])
    mean = np.zeros(train.shape[1])
    for rows in _chunks(train, order):
        mean += rows.sum(axis=0)
    mean /= len(order)
    d_train, train_along, a = _deviations(train, order, mean)
    d_test, test_along, b = _deviations(test, np.arange(len(test)), mean)
    spread = (a + b) / (len(order) + len(test))
    # rows of length 1: their mean square is 1, or 0 where all are 0
    grid = 0.0 if spread <= SMALLEST_SPREAD else 2.0 ** (np.floor(np.log2(spread)) - _DIGITS)
    return Comparison(d_train, train_along.astype(np.float32), d_test, test_along, bounds, float(grid))


def nearest_by_class(
    comparison: Comparison, k: int, progress: Callable[[int], None] | None = None
) -> Iterator[Float[np.ndarray, "m _"]]:
    """Yield, class after class, the k largest similarities of every test image to training images of that class.

    Fewer than k for a class of fewer images. Memory is the rows themselves and 64 MB, whatever the number of classes.
    `progress` is called with the number of training images that all test images have been compared with.
    """
    m = len(comparison.test)
    for begin, end in zip(comparison.bounds[:-1], comparison.bounds[1:], strict=True):
        rows, along = comparison.train[begin:end].T, comparison.train_along[begin:end]
        size = end - begin
        nearest = np.empty((m, min(k, size)), dtype=np.float32)
        step = int(np.clip(_BLOCK_NUMBERS // max(1, size), 64, 4096))
        for start in range(0, m, step):
            S = comparison.test[start : start + step] @ rows
            S += along
            nearest[start : start + step] = largest(S, k)
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


def _chunks(X: np.ndarray, order: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(order), _CHUNK):
        yield unit_rows(X[order[start : start + _CHUNK]].astype(np.float64, copy=False))


def _deviations(X: np.ndarray, order: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The unit rows of X less `mean` in this order (float32), their products with it, and their summed squares."""
    rows = np.empty((len(order), X.shape[1]), dtype=np.float32)
    along = np.empty(len(order))
    total, done = 0.0, 0
    for chunk in _chunks(X, order):
        np.subtract(chunk, mean, out=chunk)
        part = slice(done, done + len(chunk))
        rows[part], along[part] = chunk, chunk @ mean
        total += float(np.vdot(chunk, chunk))
        done += len(chunk)
    return rows, along, total
