"""The labelled images of a verdict: which rows are scored, and how many images each class has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from glocal.data.features import Features
from glocal.data.labels import row_labels
from glocal.errors import DataWarning, warn
from glocal.similarity import Labels, repeated_rows

MIN_IMAGES = 12
"""Different images that the smallest class needs, and that a class keeps in a sample."""
MAX_IMAGES = 2500
"""With more images, a sample of so many decides what all labels give."""
MAX_ROWS = 20_000
"""Of more rows, a sample is scored."""
SAMPLE_ROWS = 4000
"""The approximate size of the sample; the rankings of mAP take time in proportion to its square."""

Rows = Sequence[np.ndarray]
"""The rows of an arm: those whose labels are learned and, if they are others, those tested."""
Arms = Mapping[str, Rows]


class Selection(NamedTuple):
    """The rows of one side to score and their labels, and all rows with theirs."""

    features: Features
    labels: Labels
    whole: Features
    all_labels: Labels


def select_rows(X: Any, labels: Labels | None) -> Selection:
    """Check rows and labels; of more than `MAX_ROWS` draw a sample, which a DataWarning says."""
    features = X if isinstance(X, Features) else Features(X)
    rows, labels = row_labels(labels, len(features))
    if len(rows) < len(features):
        features = replace(features, matrix=features.matrix[rows], names=None)
    features.check_finite()
    whole = replace(features, names=None)
    if len(labels) <= MAX_ROWS:
        return Selection(whole, labels, whole, labels)
    rows = sample_rows(labels, SAMPLE_ROWS)
    warn(
        f"{len(rows)} of {len(labels)} rows are scored, in proportion to the classes; the column "
        "means are those of all rows.",
        DataWarning,
    )
    return Selection(replace(whole, matrix=whole.matrix[rows]), labels[rows], whole, labels)


def sample_rows(labels: Labels, size: int) -> Int[np.ndarray, " k"]:
    """About `size` rows, in proportion to the sizes of the classes; all rows if they are no more.

    A class keeps at least `MIN_IMAGES` of its rows.
    """
    n = len(labels)
    if n <= size:
        return np.arange(n)
    order = np.random.default_rng(0).permutation(n)
    codes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)[1:]
    by_class = np.argsort(codes, kind="stable")
    places = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of a row in its class
    quotas = np.maximum(size * sizes // n, MIN_IMAGES)
    return np.sort(order[by_class[places < np.repeat(quotas, sizes)]])


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """The labels of images on one side or two, and the different images of each class.

    `counts` has them for each side, and `sizes` the smaller number of both sides for each class of
    the first side. `totals` are the labels of each class before a sample of them was drawn.
    """

    labels: Sequence[Labels]
    counts: Sequence[Mapping[Any, int]]
    sizes: Mapping[Any, int]
    totals: Mapping[Any, int]

    @classmethod
    def from_rows(
        cls, rows: Rows, labels: Sequence[Labels], drawn_from: Labels | None = None
    ) -> LabelledImages:
        """Count the different images of each class; `drawn_from` are the labels before a sample."""
        counts = [
            Counter(y[~repeated_rows(X, y)].tolist()) for X, y in zip(rows, labels, strict=True)
        ]
        classes = np.unique(labels[0]).tolist()
        sizes = {label: min(count[label] for count in counts) for label in classes}
        totals = Counter((labels[0] if drawn_from is None else drawn_from).tolist())
        return cls(labels, counts, sizes, totals)

    def classes_of(self, least: int) -> list[Any]:
        """The classes with at least so many different images."""
        return [label for label, size in self.sizes.items() if size >= least]

    def sides(self, classes: Sequence[Any], rows: Rows) -> list[np.ndarray]:
        """The rows of some classes and their labels, for each side."""
        sides: list[np.ndarray] = []
        for X, y in zip(rows, self.labels, strict=True):
            is_used = np.isin(y, classes)
            sides += [X[is_used], y[is_used]]
        return sides

    def warn_of_unknown_classes(self) -> None:
        """Count the test images of classes that the first side lacks, in a DataWarning."""
        tested = self.labels[-1]
        is_unknown = ~np.isin(tested, self.labels[0])
        if is_unknown.any():
            warn(
                f"{np.count_nonzero(is_unknown)} of {len(tested)} test images are of a class that "
                f"`labels` lacks (e.g. {tested[is_unknown][0]}). They are left out; only `normal` "
                "counts them, as others.",
                DataWarning,
            )


def warn_of_equal_rows(rows: Rows) -> None:
    """Count the rows that equal an earlier one, on either side, in a DataWarning."""
    is_equal = repeated_rows(np.concatenate(rows))
    if n_equal := np.count_nonzero(is_equal):
        warn(
            f"{n_equal} of {len(is_equal)} rows equal an earlier row: images that are in "
            "the set twice make differences look more certain than they are.",
            DataWarning,
        )
