"""Checks of features: values, columns, rows and copies of a matrix, and of local features."""

from __future__ import annotations

import numpy as np

from glocal.data.check.findings import Findings, finding
from glocal.data.features import Features
from glocal.data.rows import difference, row_statistics, spaced_rows
from glocal.errors import DataError
from glocal.similarity import Numbers, repeated_rows

_MIN_RELATIVE_LENGTH = 1e-6  # relative to the median row; shorter rows count as 0
_MIN_ROWS = 8  # fewest rows whose column means tell something
_MAX_RELATIVE_MEAN = 1e-3  # relative to the std: a mean of 0 as half precision stores it
_MAX_IMAGES = 2048


def check_features(features: Features, what: str = "features") -> Findings:
    """Check values, columns, rows and copies of one feature matrix, which messages call `what`."""
    try:
        scalars = features.standardization
    except DataError as error:
        yield finding("features", f"{what}: {error}")
        return
    means = features.column_means
    squares = np.zeros(features.dimensions)
    is_constant = np.ones(features.dimensions, dtype=bool)
    for _, rows in features.chunks():
        squares += np.square(np.subtract(rows, scalars.mean, dtype=np.float64)).sum(axis=0)
        is_constant &= (rows == features.matrix[0]).all(axis=0)
    if is_constant.any():
        # columns of 0 are units of a network that no image activates; others are no features
        n_constant = np.count_nonzero(is_constant)
        verb = "is" if n_constant == 1 else "are"
        message = f"{what}: {n_constant} of {len(means)} columns {verb} constant"
        yield finding("constant", message, severity=None if means[is_constant].any() else "note")
    is_zero = features.lengths <= _MIN_RELATIVE_LENGTH * np.median(features.lengths)
    if 0 < is_zero.mean() < 0.5:
        share = f"{is_zero.sum()} of {len(is_zero)} rows"
        message = f"{what}: {share} are 0 everywhere (first: row {is_zero.argmax()})"
        yield finding("zero", message)
    is_copy = repeated_rows(features.matrix)
    if is_copy.any():
        row = is_copy.argmax()
        original = (features.matrix == features.matrix[row]).all(axis=1).argmax()
        yield finding(
            "duplicates",
            f"{what}: {is_copy.sum()} of {len(features)} rows repeat another row exactly (first: "
            f"row {row}, which is row {original} again)",
        )
    variance = squares / len(features) - np.square(means - scalars.mean)
    largest = np.square(means[~is_constant]).max(initial=0)
    if len(features) >= _MIN_ROWS and largest < _MAX_RELATIVE_MEAN**2 * variance.mean():
        yield finding("standardized", f"{what}: every column has mean 0")


def check_local(features: Features, local: Features, images: Numbers | None = None) -> Findings:
    """Check whether local features resemble the object features.

    They do not if only one of the two files was normalized, standardized, scaled, transformed or
    reordered. `images` are the rows to check, by default some that are evenly spaced.
    """
    if local.dimensions != features.dimensions:
        widths = f"{local.dimensions} columns but features have {features.dimensions}"
        yield finding("shape", f"local features have {widths}")
        return
    rows = spaced_rows(local.matrix if images is None else local.matrix[images], _MAX_IMAGES)
    features = features.unit(always=False)
    other = difference(rows, row_statistics(features), features.standardization, "objects")
    if other is not None:
        yield finding("local", f"local features: {other.sentence}")
