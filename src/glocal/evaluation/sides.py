"""The two sides of an evaluation: labelled training and test images, or queries and a gallery."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from glocal.data.labels import Superclasses, check_labels, superclass_rows
from glocal.errors import DataError, DataWarning
from glocal.similarity import Embedding, Labels, Mask, finite

SIDES = ("training images", "test images")


class Labelled(NamedTuple):
    """The rows of images, the `targets` that are predicted of them, and their classes.

    A target is the superclass of the image or, without superclasses, its class.
    """

    X: Embedding
    targets: Labels
    classes: Labels

    def select(self, kept: Mask) -> Labelled:
        """Return the images of a mask."""
        return Labelled(*(values[kept] for values in self))


def labelled_sides(
    X_train: np.ndarray,
    y_train: np.ndarray,
    X_test: np.ndarray,
    y_test: np.ndarray | None,
    superclass_of: Superclasses | None,
) -> tuple[Labelled, Labelled]:
    """Check training and test images, and look up their superclasses if there are any."""
    rows = labelled_rows(X_train, y_train, X_test, y_test, SIDES)
    train = _labelled(*rows[:2], superclass_of, "training")
    return train, _labelled(*rows[2:], superclass_of, "test")


def _labelled(
    X: np.ndarray, labels: np.ndarray, superclass_of: Superclasses | None, part: str
) -> Labelled:
    """Select the rows of X whose class is in a superclass; a DataWarning counts the others."""
    if superclass_of is None:
        return Labelled(X, labels, labels)
    rows, superclasses = superclass_rows(labels, superclass_of, part)
    n = len(labels)
    leave_out(n - len(rows), n, f"{part} images are of classes without a superclass")
    return Labelled(X[rows], superclasses, labels[rows])


def leave_out(n: int, total: int, what: str) -> None:
    """Warn that n of `total` images, queries or classes are left out; raise a DataError if all are.

    `what` says which they are and what they lack.
    """
    if n == total:
        raise DataError(f"all {total} {what}; there is nothing to score. Check the labels.")
    if n:
        message = f"{n} of {total} {what}; they are left out."
        warnings.warn(message, DataWarning, stacklevel=3)


def finite_sides(
    first: np.ndarray, second: np.ndarray, names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the finite rows of two sets, after checking that their columns match."""
    first = finite(first, names[0])
    second = finite(second, names[1])
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"{names[0]} have {first.shape[1]} columns and {names[1]} {second.shape[1]}; both must "
            "come from the same model and layer."
        )
    return first, second


def labelled_rows(
    first: np.ndarray,
    first_labels: np.ndarray,
    second: np.ndarray,
    second_labels: np.ndarray | None,
    names: tuple[str, str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows and labels of two sets, after checking that they match."""
    first, second = finite_sides(first, second, names)
    first_labels = check_labels(first_labels, len(first), f"labels of {names[0]}")
    second_labels = check_labels(second_labels, len(second), f"labels of {names[1]}")
    if first_labels.dtype.kind != second_labels.dtype.kind:
        raise DataError(
            f"labels of {names[0]} and {names[1]} are of two kinds, integers and names; write both "
            "in the same way."
        )
    return first, first_labels, second, second_labels
