"""The two sides of an evaluation: labelled training and test images, or a gallery and queries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

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
    among the sorted names of the training side, or -1 for a name that this side lacks. `rows` says
    where these images stand among all images that were given.
    """

    X: Embedding
    targets: Labels
    classes: Labels
    rows: Numbers

    def select(self, kept: Mask) -> Labelled:
        """Return the images of a mask."""
        return Labelled(
            X=self.X[kept],
            targets=self.targets[kept],
            classes=self.classes[kept],
            rows=self.rows[kept],
        )

    def numbered_anew(self, remaining: Numbers) -> Labelled:
        """Return the images with targets numbered among the codes that remain."""
        targets = np.searchsorted(remaining, self.targets)
        return self._replace(targets=targets)


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

    @property
    def chance(self) -> float:
        """The accuracy of guessing."""
        return 1 / len(self.targets)

    def check_targets(self) -> None:
        """Raise a DataError if there are no two targets, or test images of another target."""
        if len(self.targets) < 2:
            raise DataError(
                f"the training labels name {len(self.targets)} class; classification needs at "
                "least two classes."
            )
        if len(self.unknown):
            is_unknown = self.test.targets < 0
            raise DataError(
                f"{np.count_nonzero(is_unknown)} test images are of a class without a "
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
    training_part, test_part = parts
    has_test = X_test is not None
    matrices = [X_train] if X_test is None else [X_train, X_test]
    rows = matching_rows(parts, *matrices)
    train = _named(rows[0], y_train, superclass_of, training_part)
    test = train
    if has_test:
        test = _named(rows[1], y_test, superclass_of, test_part)
        if train.classes.dtype.kind != test.classes.dtype.kind:
            raise DataError(
                f"labels of {training_part} and {test_part} are of two kinds, integers and names; "
                "write both in the same way."
            )
    targets = np.unique(train.targets)
    classes = np.unique(train.classes)
    return Sides(
        train=_numbered(train, targets, classes),
        test=_numbered(test, targets, classes),
        targets=targets,
        classes=classes,
        unknown=np.setdiff1d(test.targets, targets),
        is_one_set=not has_test,
        by_superclass=superclass_of is not None,
    )


def _named(
    X: np.ndarray,
    labels: np.ndarray | None,
    superclass_of: Superclasses | None,
    part: str,
) -> Labelled:
    """One side with names in place of codes, without rows of classes that lack a superclass."""
    rows, classes = row_labels(labels, len(X), f"labels of {part}")
    if superclass_of is None:
        return Labelled(
            X=X[rows],
            targets=classes,
            classes=classes,
            rows=rows,
        )
    kept, superclasses = superclass_rows(classes, superclass_of, part)
    n = len(classes)
    n_lacking = n - len(kept)
    leave_out(n_lacking, n, f"{part} are of classes without a superclass")
    kept_rows = rows[kept]
    return Labelled(
        X=X[kept_rows],
        targets=superclasses,
        classes=classes[kept],
        rows=kept_rows,
    )


def _numbered(
    side: Labelled,
    targets: Shaped[np.ndarray, " targets"],
    classes: Shaped[np.ndarray, " classes"],
) -> Labelled:
    """A side with codes in place of names; -1 for a name that is not among them."""
    import pandas as pd

    target_index = pd.Index(targets)
    class_index = pd.Index(classes)
    return side._replace(
        targets=target_index.get_indexer(side.targets),
        classes=class_index.get_indexer(side.classes),
    )


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
    widths = [rows.shape[1] for rows in matching]
    named_widths = zip(parts, widths, strict=False)
    for (part, width), (next_part, next_width) in pairwise(named_widths):
        if width != next_width:
            raise DataError(
                f"{part} have {width} columns and {next_part} {next_width}; both must come from "
                "the same model and layer."
            )
    return matching
