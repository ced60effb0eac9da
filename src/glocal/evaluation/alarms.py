"""Anomaly scores of single images, and the threshold above which an image is called an anomaly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError, ParameterError
from glocal.evaluation.sides import matching_rows
from glocal.similarity import (
    Embedding,
    Mask,
    Numbers,
    Rows,
    Values,
    cosine_blocks,
    repeated_rows,
    row_hashes,
    tie_tolerance,
    zeros_if_collapsed,
)

NearestCosines = Float[np.ndarray, "m c k"]
"""The k largest cosines of each image with the images of each class."""
_PARTS = ("normal images", "new images")
_MAX_ALARM = 0.5


class Anomalies(NamedTuple):
    """The scores of new images, which of them are anomalies, and the nearest normal row of each.

    An anomaly has a score above the `threshold`, which rests on `n_normal` different normal rows.
    `n_known` new rows equal a normal one.
    """

    scores: Values
    is_anomaly: Mask
    nearest: Numbers
    threshold: float
    n_normal: int
    n_known: int


def anomaly_scores(normal: Embedding, new: Rows, k: int = 5) -> Float[np.ndarray, " m"]:
    """Score how unlike the normal images each new image is; a higher score is more anomalous.

        score(z) = - mean of the k largest cos(z, t) over the different normal rows t.

    Parameters
    ----------
    normal, new : (n, p) and (m, p) real arrays
        Embeddings, original or mapped by the same transform. Equal normal rows count once.
    k : int
        Number of neighbours, at most the number of different normal rows.

    Raises
    ------
    DataError
        If there are fewer than k different normal rows, the columns of both differ, or a value is
        NaN or infinite.

    Examples
    --------
    >>> normal = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1]])
    >>> anomaly_scores(normal, np.array([[2.0, 0.0], [0.0, 1.0]]), k=1).round(4).tolist()
    [-1.0, -0.0995]
    """
    normal, new = matching_rows(_PARTS, normal, new)
    is_repeated = repeated_rows(normal)
    return _scores(normal[~is_repeated], new, k)


def find_anomalies(normal: Embedding, new: Rows, *, alarm: float = 0.05, k: int = 5) -> Anomalies:
    """Score new images, and call those anomalies that are less alike than almost all normal ones.

    The threshold is the ⌈(n + 1)(1 - alarm)⌉-th smallest score of the n different normal rows, each
    scored against the others. Of new normal images, about the share `alarm` has a higher score, in
    the mean over sets of normal images; in one set it can be twice as much, or nearly none.

    Parameters
    ----------
    normal, new, k
        As for `anomaly_scores`.
    alarm : float
        Share of new normal images that may be called anomalies, above 0 and at most 0.5.

    Raises
    ------
    DataError
        As for `anomaly_scores`, and if there are too few different normal rows for this `alarm`.
    ParameterError
        If `alarm` is out of its range.
    """
    if not 0 < alarm <= _MAX_ALARM:
        raise ParameterError(f"`alarm` is {alarm}; it must be above 0 and at most {_MAX_ALARM}.")
    normal, new = matching_rows(_PARTS, normal, new)
    is_repeated = repeated_rows(normal)
    rows = np.flatnonzero(~is_repeated)
    scores = _scores(normal[rows], new, k)
    n_normal = len(rows)
    least_for_alarm = math.ceil(1 / alarm - 1 - 1e-9)  # 1 / .05 may be above 20
    least = max(least_for_alarm, k + 1)
    _check_number(n_normal, least, f"`alarm={alarm}` and `k={k}`")
    (gallery,) = zeros_if_collapsed(normal[rows])
    threshold = _threshold(gallery, alarm, k)
    tolerance = tie_tolerance(new.shape[1])
    nearest = [S.argmax(axis=1) for _, S in cosine_blocks(new, gallery)]
    is_known = np.isin(row_hashes(new), row_hashes(normal))
    return Anomalies(
        scores=scores,
        is_anomaly=scores > threshold + tolerance,
        nearest=rows[np.concatenate(nearest)],
        threshold=threshold,
        n_normal=n_normal,
        n_known=int(np.count_nonzero(is_known)),
    )


def _threshold(gallery: Embedding, alarm: float, k: int) -> float:
    """The ⌈(n + 1)(1 - alarm)⌉-th smallest score of normal rows, each scored by the others."""
    cosines = nearest_cosines(None, gallery, k)
    scores = -cosines.mean(axis=(1, 2))
    rank = math.ceil((len(gallery) + 1) * (1 - alarm) - 1e-9)
    return float(np.sort(scores)[rank - 1])


def _scores(gallery: Embedding, new: Rows, k: int) -> Float[np.ndarray, " m"]:
    """The scores of new images by different normal rows."""
    _check_number(len(gallery), k, f"`k={k}`")
    gallery, new = zeros_if_collapsed(gallery, new)
    cosines = nearest_cosines(new, gallery, k)
    return -cosines.mean(axis=(1, 2))


def _check_number(n: int, least: int, reason: str) -> None:
    """Raise a DataError if there are too few different normal rows."""
    if n < least:
        raise DataError(
            f"there are {n} different normal images, but {reason} need at least {least}. Add "
            "normal images."
        )


def nearest_cosines(
    images: np.ndarray | None, gallery: Embedding, k: int, sizes: Sequence[int] = ()
) -> NearestCosines:
    """The k largest cosines of every image with the rows of each class of the gallery.

    `sizes` are the numbers of rows of the classes, which are grouped; without them all rows are one
    class. Without images, the rows of the gallery are compared with each other, each not with
    itself.
    """
    class_ends = np.cumsum(sizes, dtype=int)[:-1]
    n_classes = len(class_ends) + 1
    blocks = [np.empty((0, n_classes, k))]
    compared = [gallery] if images is None else [images, gallery]
    for _, S in cosine_blocks(*compared):
        largest_by_class = []
        for cosines in np.split(S, class_ends, axis=1):
            ascending = np.partition(cosines, -k, axis=1)
            largest_by_class.append(ascending[:, -k:])
        blocks.append(np.stack(largest_by_class, axis=1))
    return np.concatenate(blocks)
