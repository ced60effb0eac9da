"""The two sides of an evaluation: labelled training and test images, or a gallery and queries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from glocal.data.labels import Superclasses, row_labels, superclass_rows
from glocal.errors import DataError, DataWarning, warn
from glocal.similarity import (
    Embedding,
    Labels,
    Mask,
    Numbers,
    Rows,
    finite,
)

SIDES = ("training images", "test images")


class Labelled(NamedTuple):
    """The rows of images, with the codes of the `targets` that are predicted and of their classes.

    A target is the superclass of the image or, without superclasses, its class. A code is a place
    among the sorted names of the training side, or -1 for a name that this side lacks. `rows` are
    those of the images among all that were given.
    """

    X: Embedding
    targets: Labels
    classes: Labels
    rows: Numbers

    def select(self, kept: Mask) -> Labelled:
        """Return the images of a mask."""
        return Labelled(*(values[kept] for values in self))


class Sides(NamedTuple):
    """Training and test images, and the names that their codes stand for.

    `unknown` are the targets that only test images have. `is_one_set` says whether the training
    images are also those that are tested, and `by_superclass` whether targets are superclasses.
    """

    train: Labelled
    test: Labelled
    targets: Labels
    classes: Labels
    unknown: Labels
    is_one_set: bool
    by_superclass: bool

    def check_targets(self) -> None:
        """Raise a DataError if there are no two targets, or test images of another target."""
        if len(self.targets) < 2:
            raise DataError(
                f"the training labels name {len(self.targets)} class; classification needs at "
                "least two classes."
            )
        if len(self.unknown):
            raise DataError(
                f"{np.count_nonzero(self.test.targets < 0)} test images are of a class without a "
                f"training image (e.g. {self.unknown[0]}). Leave them out, or add training images."
            )


def labelled_sides(
    X_train: np.ndarray,
    y_train: np.ndarray | None,
    X_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    superclass_of: Superclasses | None = None,
    parts: tuple[str, str] = SIDES,
) -> Sides:
    """Check the images of both sides, and number their classes, and their superclasses if any.

    Without test images, the training images are tested. `parts` name the two sides in messages.
    Images of classes without a superclass are left out, with a DataWarning.
    """
    import pandas as pd

    rows = matching_rows(parts, *([X_train] if X_test is None else [X_train, X_test]))
    train = _named(rows[0], y_train, superclass_of, parts[0])
    test = train
    if X_test is not None:
        test = _named(rows[1], y_test, superclass_of, parts[1])
        if train.classes.dtype.kind != test.classes.dtype.kind:
            raise DataError(
                f"labels of {parts[0]} and {parts[1]} are of two kinds, integers and names; write "
                "both in the same way."
            )
    targets = np.unique(train.targets)
    classes = np.unique(train.classes)
    target_index = pd.Index(targets)
    class_index = pd.Index(classes)
    first, second = (
        side._replace(
            targets=target_index.get_indexer(side.targets),
            classes=class_index.get_indexer(side.classes),
        )
        for side in (train, test)
    )
    unknown = np.setdiff1d(test.targets, targets)
    by_superclass = superclass_of is not None
    return Sides(first, second, targets, classes, unknown, X_test is None, by_superclass)


def _named(
    X: np.ndarray, labels: np.ndarray | None, superclass_of: Superclasses | None, part: str
) -> Labelled:
    """One side with names in place of codes, without rows of classes that lack a superclass."""
    rows, classes = row_labels(labels, len(X), f"labels of {part}")
    if superclass_of is None:
        return Labelled(X[rows], classes, classes, rows)
    kept, superclasses = superclass_rows(classes, superclass_of, part)
    n = len(classes)
    leave_out(n - len(kept), n, f"{part} are of classes without a superclass")
    return Labelled(X[rows[kept]], superclasses, classes[kept], rows[kept])


def leave_out(n: int, total: int, what: str) -> None:
    """Warn that n of `total` images, classes or texts are left out; raise a DataError if all are.

    `what` says which they are and what they lack.
    """
    if n == total:
        raise DataError(f"all {total} {what}; there is nothing to score. Check the labels.")
    if n:
        message = f"{n} of {total} {what}; they are left out."
        warn(message, DataWarning)


def matching_rows(parts: Sequence[str], *sides: np.ndarray) -> list[Rows]:
    """The finite rows of two or more sides; a DataError if their columns do not match.

    `parts` name the sides in messages.
    """
    matching = [finite(rows, part) for part, rows in zip(parts, sides, strict=False)]
    for (first, rows), (second, others) in pairwise(zip(parts, matching, strict=False)):
        if rows.shape[1] != others.shape[1]:
            raise DataError(
                f"{first} have {rows.shape[1]} columns and {second} {others.shape[1]}; both must "
                "come from the same model and layer."
            )
    return matching
