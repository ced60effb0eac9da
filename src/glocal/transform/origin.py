"""The origin of a transform: the bias that moves the mean of images to 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from glocal.data.features import Features, as_matrix
from glocal.data.standardization import Standardization
from glocal.errors import DataError, DataWarning, warn
from glocal.similarity import Values, Weights
from glocal.transform.checks import real_rows
from glocal.transform.mapping import times_weights

MIN_RECENTRING_ROWS = 10
"""Number of images below which `LinearTransform.recentred` warns that their mean is unreliable."""
RECENTRING_WEIGHT = 30.0
"""The weight of the present origin beside the mean of images, as a number of images."""


def image_features(images: Any, p: int) -> Features:
    """The features of a collection of images, at least one row of p real numbers."""
    if isinstance(images, Features):
        return images
    rows = real_rows(as_matrix(images), p)
    if not len(rows):
        raise DataError("there are no images whose mean could become the origin. Give ten.")
    is_numeric = rows.dtype.kind in "fiu"
    return Features(rows if is_numeric else rows.astype(np.float32))


def recentred_bias(
    images: Features,
    weight: float,
    standardization: Standardization,
    W: Weights,
    bias: Values | None,
) -> Values:
    """B' = (n b_images + t b) / (n + t) in float32 for n images and t = `weight`."""
    images.check_finite()
    n = len(images)
    if n < MIN_RECENTRING_ROWS:
        warn(
            f"the mean of {n} images is only a rough estimate of the mean of a collection; "
            f"give at least {MIN_RECENTRING_ROWS}.",
            DataWarning,
        )
    b_images = centring_bias(images, standardization, W)
    b = np.zeros(len(b_images))
    if bias is not None:
        b = bias.astype(np.float64)
    total = n * b_images + weight * b
    mean = total / (n + weight)
    return mean.astype(np.float32)


def centring_bias(images: Features, standardization: Standardization, W: Weights) -> Values:
    """-((mean of the images - mean) / std) W, the bias that maps the mean of the images to 0."""
    scaled_images = images.unit(always=standardization.is_unit)
    offsets = scaled_images.column_means - standardization.mean
    deviations = offsets / standardization.std
    return -times_weights(deviations, W)
