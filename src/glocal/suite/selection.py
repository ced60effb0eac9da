"""The rows that a verdict scores: classes of enough different images, and a sample of many rows."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from glocal.data.features import Features
from glocal.errors import DataError, DataWarning
from glocal.similarity import Labels, Mask, repeated_rows

MIN_IMAGES = 12
"""Classes with fewer images are left out."""
MAX_ROWS = 20_000
"""Of more rows, a sample is scored."""
SAMPLE_ROWS = 4000
"""The approximate size of the sample; the rankings of mAP take time in proportion to its square."""
MAX_LISTED = 8
"""The largest number of classes that a message names."""


class Selection(NamedTuple):
    """The rows to score, and their labels; `whole` are all rows of the classes that enter.

    `left_out` are the classes that have too few images to enter, with their number of images.
    """

    features: Features
    labels: Labels
    whole: Features
    left_out: Mapping[Any, int]


def select_rows(features: Features, labels: Labels) -> Selection:
    """Leave out small classes, and draw a sample of more than `MAX_ROWS` rows.

    DataWarnings say so, and count equal rows. Raises a DataError if fewer than two classes have
    `MIN_IMAGES` different images.
    """
    left_out = _small_classes(labels, _is_repeated(features, labels))
    whole = replace(features, names=None)
    if left_out:
        rows = ~np.isin(labels, [*left_out])
        whole = replace(whole, matrix=features.matrix[rows])
        labels = labels[rows]
    if len(labels) <= MAX_ROWS:
        return Selection(whole, labels, whole, left_out)
    sample = _sample(labels)
    drawn = replace(whole, matrix=whole.matrix[sample])
    return Selection(drawn, labels[sample], whole, left_out)


def _is_repeated(features: Features, labels: Labels) -> Mask:
    """Which rows equal an earlier row of their class; a DataWarning counts all equal rows."""
    n_equal = np.count_nonzero(repeated_rows(features.matrix))
    if n_equal:
        warnings.warn(
            f"{n_equal} of {len(labels)} rows equal an earlier row: images "
            "that are in the set twice make differences look more certain than they are.",
            DataWarning,
            stacklevel=4,
        )
    return repeated_rows(features.matrix, labels)


def _small_classes(labels: Labels, is_repeated: Mask) -> dict[Any, int]:
    """The classes with too few different images, and their number; a DataWarning names them."""
    sizes = Counter(dict.fromkeys(labels.tolist(), 0))
    sizes.update(labels[~is_repeated].tolist())
    small = {name: size for name, size in sorted(sizes.items()) if size < MIN_IMAGES}
    listed = [f"{name} ({size})" for name, size in small.items()] or ["none"]
    listing = ", ".join(listed[:MAX_LISTED]) + ", …" * (len(listed) > MAX_LISTED)
    n_large = len(sizes) - len(small)
    if n_large < 2:
        raise DataError(
            f"a verdict needs two classes of at least {MIN_IMAGES} images, but there are "
            f"{n_large}; smaller classes: {listing}."
        )
    if small:
        message = f"classes with fewer than {MIN_IMAGES} images are left out: {listing}."
        warnings.warn(message, DataWarning, stacklevel=4)
    return small


def _sample(labels: Labels) -> Int[np.ndarray, " k"]:
    """About `SAMPLE_ROWS` rows, in proportion to the sizes of the classes.

    A class keeps at least `MIN_IMAGES` of its rows.
    """
    n = len(labels)
    order = np.random.default_rng(0).permutation(n)
    codes, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)[1:]
    by_class = np.argsort(codes, kind="stable")
    places = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of a row in its class
    quotas = np.maximum(SAMPLE_ROWS * sizes // n, MIN_IMAGES)
    rows = np.sort(order[by_class[places < np.repeat(quotas, sizes)]])
    warnings.warn(
        f"{len(rows)} of {n} rows are scored, in proportion to the classes; the column means are "
        "those of all rows.",
        DataWarning,
        stacklevel=4,
    )
    return rows
