"""Checks of features: values, columns, rows and copies of a matrix, and of local features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from glocal.data.check.findings import Findings, Severity, finding
from glocal.data.features import Features
from glocal.data.rows import difference, row_statistics, spaced_rows
from glocal.errors import DataError
from glocal.similarity import Mask, Numbers, Values, repeated_rows

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
    columns = _columns(features, scalars.mean)
    yield from _check_constant(columns, what)
    yield from _check_zero(features, what)
    yield from _check_copies(features, what)
    varying_means = columns.means[~columns.is_constant]
    largest = np.square(varying_means).max(initial=0)
    max_square = _MAX_RELATIVE_MEAN**2 * columns.variances.mean()
    if len(features) >= _MIN_ROWS and largest < max_square:
        yield finding("standardized", f"{what}: every column has mean 0")


class _Columns(NamedTuple):
    """The mean and the variance of each column, and whether all its values are equal."""

    means: Values
    variances: Values
    is_constant: Mask


def _columns(features: Features, mean: float) -> _Columns:
    """The statistics of the columns of features; `mean` is the mean of all entries."""
    squares = np.zeros(features.dimensions)
    is_constant = np.ones(features.dimensions, dtype=bool)
    first_row = features.matrix[0]
    for _, rows in features.chunks():
        deviations = np.subtract(rows, mean, dtype=np.float64)
        squares += np.square(deviations).sum(axis=0)
        is_equal = rows == first_row
        is_constant &= is_equal.all(axis=0)
    means = features.column_means
    mean_square = squares / len(features)
    mean_deviations = means - mean
    variances = mean_square - np.square(mean_deviations)
    return _Columns(means, variances, is_constant)


def _check_constant(columns: _Columns, what: str) -> Findings:
    """Report columns whose values are all equal."""
    n_constant = np.count_nonzero(columns.is_constant)
    if not n_constant:
        return
    # columns of 0 are units of a network that no image activates; others are no features
    constants = columns.means[columns.is_constant]
    severity: Severity | None = None if constants.any() else "note"
    verb = "is" if n_constant == 1 else "are"
    message = f"{what}: {n_constant} of {len(columns.means)} columns {verb} constant"
    yield finding("constant", message, severity=severity)


def _check_zero(features: Features, what: str) -> Findings:
    """Report rows of zeros, unless at least half of all rows are."""
    lengths = features.lengths
    min_length = _MIN_RELATIVE_LENGTH * np.median(lengths)
    is_zero = lengths <= min_length
    share_of_zero = is_zero.mean()
    if 0 < share_of_zero < 0.5:
        share = f"{is_zero.sum()} of {len(is_zero)} rows"
        message = f"{what}: {share} are 0 everywhere (first: row {is_zero.argmax()})"
        yield finding("zero", message)


def _check_copies(features: Features, what: str) -> Findings:
    """Report rows that repeat an earlier row."""
    is_copy = repeated_rows(features.matrix)
    if not is_copy.any():
        return
    row = is_copy.argmax()
    is_equal = features.matrix == features.matrix[row]
    is_original = is_equal.all(axis=1)
    original = is_original.argmax()
    message = (
        f"{what}: {is_copy.sum()} of {len(features)} rows repeat another row exactly (first: "
        f"row {row}, which is row {original} again)"
    )
    yield finding("duplicates", message)


def check_local(features: Features, local: Features, images: Numbers | None = None) -> Findings:
    """Check whether local features resemble the object features.

    They do not if only one of the two files was normalized, standardized, scaled, transformed or
    reordered. `images` are the rows to check, by default some that are evenly spaced.
    """
    if local.dimensions != features.dimensions:
        widths = f"{local.dimensions} columns but features have {features.dimensions}"
        yield finding("shape", f"local features have {widths}")
        return
    matrix = local.matrix if images is None else local.matrix[images]
    rows = spaced_rows(matrix, _MAX_IMAGES)
    features = features.unit(always=False)
    statistics = row_statistics(features)
    other = difference(rows, statistics, features.standardization, "objects")
    if other is not None:
        yield finding("local", f"local features: {other.sentence}")
