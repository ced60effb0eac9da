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
        labelled = features.matrix[rows]
        features = replace(features, matrix=labelled, names=None)
    features.check_finite()
    whole = replace(features, names=None)
    if len(labels) <= MAX_ROWS:
        return Selection(
            features=whole,
            labels=labels,
            whole=whole,
            all_labels=labels,
        )
    sample = sample_rows(labels, SAMPLE_ROWS)
    warn(
        f"{len(sample)} of {len(labels)} rows are scored, in proportion to the classes; the column "
        "means are those of all rows.",
        DataWarning,
    )
    matrix = whole.matrix[sample]
    return Selection(
        features=replace(whole, matrix=matrix),
        labels=labels[sample],
        whole=whole,
        all_labels=labels,
    )


def sample_rows(labels: Labels, size: int) -> Int[np.ndarray, " k"]:
    """About `size` rows, in proportion to the sizes of the classes; all rows if they are no more.

    A class keeps at least `MIN_IMAGES` of its rows.
    """
    n = len(labels)
    if n <= size:
        return np.arange(n)
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    shuffled = labels[order]
    _, codes, sizes = np.unique(shuffled, return_inverse=True, return_counts=True)
    by_class = np.argsort(codes, kind="stable")
    starts = np.cumsum(sizes) - sizes
    starts_of_rows = np.repeat(starts, sizes)
    places_in_class = np.arange(n) - starts_of_rows
    quotas = np.maximum(size * sizes // n, MIN_IMAGES)
    quotas_of_rows = np.repeat(quotas, sizes)
    is_drawn = places_in_class < quotas_of_rows
    rows_by_class = order[by_class]
    return np.sort(rows_by_class[is_drawn])


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
        cls,
        rows: Rows,
        labels: Sequence[Labels],
        all_labels: Labels | None = None,
    ) -> LabelledImages:
        """Count the different images of each class; `all_labels` are the labels before a sample."""
        counts: list[Counter[Any]] = []
        for X, y in zip(rows, labels, strict=True):
            is_repeated = repeated_rows(X, y)
            distinct = y[~is_repeated].tolist()
            count = Counter(distinct)
            counts.append(count)
        first_labels = labels[0]
        classes = np.unique(first_labels)
        sizes: dict[Any, int] = {}
        for label in classes.tolist():
            sizes[label] = min(count[label] for count in counts)
        if all_labels is None:
            all_labels = first_labels
        names = all_labels.tolist()
        totals = Counter(names)
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
        is_known = np.isin(tested, self.labels[0])
        unknown = tested[~is_known]
        if len(unknown):
            warn(
                f"{len(unknown)} of {len(tested)} test images are of a class that `labels` lacks "
                f"(e.g. {unknown[0]}). They are left out; only `normal` counts them, as others.",
                DataWarning,
            )


def warn_of_equal_rows(rows: Rows) -> None:
    """Count the rows that equal an earlier one, on either side, in a DataWarning."""
    is_equal = repeated_rows(np.concatenate(rows))
    n_equal = np.count_nonzero(is_equal)
    if n_equal:
        warn(
            f"{n_equal} of {len(is_equal)} rows equal an earlier row: images that are in "
            "the set twice make differences look more certain than they are.",
            DataWarning,
        )
