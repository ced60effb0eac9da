"""Checks of features: values, columns, rows and copies of a matrix, and of local features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.check.findings import Finding, finding
from glocal.data.features import Features, Standardization
from glocal.data.rows import difference, row_statistics, spaced_rows
from glocal.errors import DataError

_MAX_SHARE_OF_VARIANCE = 0.5  # of one column; CLIP's outlier has .02, a column of 11 ratings .21
_MAX_SHARE_OF_SQUARES = 0.8  # of one column, about the overall mean; CLIP's outlier has .42
_MAX_RELATIVE_LENGTH = 10.0  # relative to the median row; networks on photographs reach at most 3
_MIN_RELATIVE_LENGTH = 1e-6  # relative to the median row; shorter rows count as 0
_MIN_SIZE = 8  # fewest rows or columns for which such a share is unusual
_MAX_RELATIVE_MEAN = 1e-3  # relative to the std: a mean of 0 as half precision stores it
_MAX_MEAN_OF_STANDARDIZED = 1e-4
_MAX_IMAGES = 2048


def check_features(features: Features, what: str = "features") -> Iterator[Finding]:
    """Check values, columns, rows and copies of one feature matrix, which messages call `what`."""
    try:
        scalars = features.standardization
    except DataError as error:
        yield finding("features", f"{what}: {error}")
        return
    n, p = features.matrix.shape
    lengths = np.zeros(n)
    mean = features.column_means
    variance = np.zeros(p)
    varies = np.zeros(p, dtype=bool)
    for start, rows in features.chunks():
        chunk = rows.astype(np.float64)
        lengths[start : start + len(chunk)] = np.linalg.norm(chunk, axis=1)
        chunk -= mean
        variance += np.einsum("ij,ij->j", chunk, chunk) / n
        varies |= (rows != features.matrix[0]).any(axis=0)
    yield from _columns(mean, variance, varies, what)
    yield from _rows(lengths, what)
    yield from _copies(features.matrix, lengths, what)
    yield from _standardized(n, mean[varies], variance[varies], scalars, what)


def _columns(
    mean: Float[np.ndarray, " p"],
    variance: Float[np.ndarray, " p"],
    varies: Bool[np.ndarray, " p"],
    what: str,
) -> Iterator[Finding]:
    """Find constant columns, and a column that determines the standardization scalars.

    Constant columns are units of a network that no image activates, or they are not features. A
    column determines the scalars if it holds most of the variance or is far from the overall mean.
    """
    constants = mean[~varies]
    message = f"{what}: {len(constants)} of {len(mean)} columns are constant"
    if constants.any():
        yield finding("constant", message)
    elif len(constants):
        yield finding("inactive", f"{message}, 0 everywhere")
    squares = np.square(mean - mean.mean()) + variance
    spread = variance / max(variance.sum(), 1e-300)
    offset = squares / squares.sum()
    excess = np.maximum(spread / _MAX_SHARE_OF_VARIANCE, offset / _MAX_SHARE_OF_SQUARES)
    column = int(excess.argmax())
    if len(mean) >= _MIN_SIZE and excess[column] > 1:
        yield finding(
            "huge",
            f"{what}: column {column} alone has {spread[column]:.0%} of the variance and "
            f"{offset[column]:.0%} of the squares (mean {mean[column]:.3g}, std "
            f"{np.sqrt(variance[column]):.3g})",
        )


def _rows(lengths: Float[np.ndarray, " n"], what: str) -> Iterator[Finding]:
    """Find rows of zeros, and rows that are much longer than others."""
    n = len(lengths)
    typical = float(np.median(lengths))
    description = (
        f"are more than {_MAX_RELATIVE_LENGTH:.0f} times as long as the median of {typical:.3g}"
    )
    checks = (
        ("zero", lengths <= _MIN_RELATIVE_LENGTH * typical, "are 0 everywhere"),
        ("scale", lengths > _MAX_RELATIVE_LENGTH * typical, description),
    )
    for check, rows, words in checks:
        if 0 < rows.mean() < 0.5:
            message = f"{rows.sum()} of {n} rows {words} (first: row {rows.argmax()})"
            yield finding(check, f"{what}: {message}")


def _copies(matrix: np.ndarray, lengths: Float[np.ndarray, " n"], what: str) -> Iterator[Finding]:
    """Find rows that repeat another one; only rows of the same length are compared."""
    _, group, sizes = np.unique(lengths, return_inverse=True, return_counts=True)
    first_of: dict[bytes, int] = {}
    originals = {
        row: first_of.setdefault(matrix[row].tobytes(), row)
        for row in np.flatnonzero(sizes[group] > 1).tolist()
    }
    copies = [row for row, original in originals.items() if original != row]
    if copies:
        subject = "1 row repeats" if len(copies) == 1 else f"{len(copies)} rows repeat"
        yield finding(
            "duplicates",
            f"{what}: {subject} another row exactly (first: row {copies[0]}, which is row "
            f"{originals[copies[0]]} again)",
        )


def _standardized(
    n: int,
    mean: Float[np.ndarray, " v"],
    variance: Float[np.ndarray, " v"],
    scalars: Standardization,
    what: str,
) -> Iterator[Finding]:
    """Find features that were centred by column, or standardized, after the network gave them.

    Constant columns are left out, because one that is large would make all other means look small.
    """
    largest = _MAX_RELATIVE_MEAN * np.sqrt(variance.mean()) if len(variance) else 0.0
    columns_are_centred = np.abs(mean).max(initial=0) < largest
    is_standardized = max(abs(scalars.mean), abs(scalars.std - 1)) < _MAX_MEAN_OF_STANDARDIZED
    if n < _MIN_SIZE or not (columns_are_centred or is_standardized):
        return
    sign = "all values together have mean 0 and std 1"
    if columns_are_centred:
        sign = "every column has mean 0"
    yield finding("standardized", f"{what}: {sign}; they were centred or standardized before")


def check_local(
    features: Features, local: Features, images: Int[np.ndarray, " k"] | None = None
) -> Iterator[Finding]:
    """Check whether local features resemble the object features.

    They do not if only one of the two files was normalized, standardized, scaled, transformed or
    reordered. `images` are the rows to check, by default some that are evenly spaced.
    """
    p = features.dimensions
    if local.dimensions != p:
        message = f"local features have {local.dimensions} columns but features have {p}"
        yield finding("shape", message)
        return
    rows = local.matrix if images is None else local.matrix[np.sort(images)]
    rows = spaced_rows(rows, _MAX_IMAGES)
    features = features.unit(always=False)
    other = difference(rows, row_statistics(features), features.standardization, "objects")
    if other is not None:
        yield finding("local", f"local features: {other.sentence}")
