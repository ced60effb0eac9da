"""The rows that a verdict scores: a sample of many rows, in which classes keep their shares."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from glocal.data.features import Features
from glocal.errors import DataWarning
from glocal.similarity import Labels

MAX_ROWS = 20_000
"""Of more rows, a sample is scored."""
SAMPLE_ROWS = 4000
"""The approximate size of the sample; the rankings of mAP take time in proportion to its square."""
MIN_IMAGES = 12
"""A class keeps at least so many of its rows in a sample."""


class Selection(NamedTuple):
    """The rows to score and their labels, and all rows with theirs."""

    features: Features
    labels: Labels
    whole: Features
    all_labels: Labels


def select_rows(features: Features, labels: Labels) -> Selection:
    """Draw a sample of more than `MAX_ROWS` rows, which a DataWarning says."""
    whole = replace(features, names=None)
    n = len(labels)
    if n <= MAX_ROWS:
        return Selection(whole, labels, whole, labels)
    rows = sample_rows(labels, SAMPLE_ROWS)
    warnings.warn(
        f"{len(rows)} of {n} rows are scored, in proportion to the classes; the column means are "
        "those of all rows.",
        DataWarning,
        stacklevel=3,
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
