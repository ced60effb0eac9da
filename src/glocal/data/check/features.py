"""The doctor of features: values, columns, rows and repeats of one matrix, and local features beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

from glocal.data.check.findings import Finding, finding, warn
from glocal.data.features import Features, Standardization
from glocal.errors import DataError

_FEW = 0.05  # of the columns: infinity in so few of them is theirs, else that of rows
_ALONE = 0.5  # of the variance in one column; of CLIP's outlier .02, of 11 ratings .21
_OFFSET = 0.8  # of the squares in one column about the mean; of CLIP's outlier .42
_LONG = 10.0  # times the median length; of networks on photographs at most 3
_ENOUGH = 8
_SAME = 1e-3  # off mean 0, as half precision stores it
_MANY_IMAGES = 2048
_SHIFT, _SPREAD = 0.25, 2.0  # of one network on objects, ImageNet and CIFAR-10: at most .03 and 1.08
_UNRELATED = 4.0  # standard errors of the correlation of p unrelated columns
_COLUMNS = 64


def check_features(features: Features, what: str = "features") -> Iterator[Finding]:
    """Values, columns, rows and repeats of one feature matrix, which messages call `what`."""
    broken = list(_not_finite(features, what))
    yield from broken
    if broken:
        return
    try:
        scalars = features.standardization
    except DataError as refused:
        yield finding("features", f"{what}: {refused}")
        return
    n, p = features.matrix.shape
    norms, hashes, mean, varies = np.zeros(n), list[int](), np.zeros(p), np.zeros(p, dtype=bool)
    for start, rows in features.chunks():
        chunk = rows.astype(np.float64)
        norms[start : start + len(rows)] = np.linalg.norm(chunk, axis=1)
        hashes += [hash(row.tobytes()) for row in np.ascontiguousarray(rows)]
        mean += chunk.sum(axis=0) / n
        varies |= (rows != features.matrix[0]).any(axis=0)
    variance = sum((np.square(rows - mean).sum(axis=0) for _, rows in features.chunks()), np.zeros(p)) / n
    yield from _columns(mean, variance, varies, what)
    yield from _rows(norms, what)
    yield from _standardized(n, mean[varies], scalars, what)
    yield from _duplicates(np.array(hashes), what)


def _not_finite(features: Features, what: str) -> Iterator[Finding]:
    (n, p), found, bad = features.matrix.shape, list[int](), np.zeros(features.dimensions, dtype=bool)
    for start, rows in features.chunks():
        finite = np.isfinite(rows)
        found += (start + np.flatnonzero(~finite.all(axis=1))).tolist()
        bad |= ~finite.all(axis=0)
    if found:
        columns = np.flatnonzero(bad)
        few = len(columns) <= max(1, _FEW * p) and len(found) > len(columns)
        where = f", all in {len(columns)} of {p} columns (first: column {columns[0]})" if few else ""
        message = f"{what}: {len(found)} of {n} rows hold NaN or infinity (first: row {found[0]}){where}"
        yield finding("overflow" if few else "finite", message)


def _columns(
    mean: Float[np.ndarray, " p"], variance: Float[np.ndarray, " p"], varies: Bool[np.ndarray, " p"], what: str
) -> Iterator[Finding]:
    p = len(mean)
    if not varies.all():
        yield finding("constant", f"{what}: {p - varies.sum()} of {p} columns are constant")
    squares = np.square(mean - mean.mean()) + variance
    spread, offset = variance / max(variance.sum(), 1e-300), squares / squares.sum()
    column = int(np.maximum(spread / _ALONE, offset / _OFFSET).argmax())
    if p >= _ENOUGH and (spread[column] > _ALONE or offset[column] > _OFFSET):
        yield finding(
            "huge",
            f"{what}: column {column} alone has {spread[column]:.0%} of the variance and {offset[column]:.0%} of the "
            f"squares (mean {mean[column]:.3g}, std {np.sqrt(variance[column]):.3g})",
        )


def _rows(norms: Float[np.ndarray, " n"], what: str) -> Iterator[Finding]:
    n, typical = len(norms), float(np.median(norms))
    zero, long = norms <= 1e-6 * typical, norms > _LONG * typical
    told = f"are more than {_LONG:.0f} times as long as the median of {typical:.3g}"
    for check, rows, how in (("zero", zero, "are 0 everywhere"), ("scale", long, told)):
        if 0 < rows.mean() < 0.5:
            yield finding(check, f"{what}: {rows.sum()} of {n} rows {how} (first: row {rows.argmax()})")


def _standardized(n: int, mean: Float[np.ndarray, " v"], scalars: Standardization, what: str) -> Iterator[Finding]:
    """Whether each column that varies, or the whole, was centred before: networks give no such features."""
    centred = len(mean) > 0 and bool(np.abs(mean).max() < _SAME * scalars.std)
    whole = abs(scalars.mean) < 1e-4 and abs(scalars.std - 1) < 1e-4
    if n >= _ENOUGH and (centred or whole):
        how = "every column has mean 0" if centred else "all values together have mean 0 and std 1"
        yield finding("standardized", f"{what}: {how}; they were centred or standardized before")


def _duplicates(hashes: Int[np.ndarray, " n"], what: str) -> Iterator[Finding]:
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    original = first[group]
    copies = np.flatnonzero(original != np.arange(len(hashes)))
    if len(copies):
        row = copies[0]
        message = (
            f"{len(copies)} rows repeat another row exactly (first: row {row}, which is row {original[row]} again)"
        )
        yield finding("duplicates", f"{what}: {message}")


def check_local(features: Features, local: Features, images: Int[np.ndarray, " k"] | None = None) -> Iterator[Finding]:
    """Whether local features, standardized by the two scalars of the object features, look like those.

    Features of one network differ little in their overall mean and spread from one set of images to another, and a
    column that is large or varies much on one set does on others. Those that were normalized, standardized, scaled,
    transformed or reordered on one side only do not. `images` are the rows to look at, by default some from everywhere.
    """
    if local.dimensions != features.dimensions:
        yield finding("shape", f"local features have {local.dimensions} columns, features {features.dimensions}")
        return
    X, Y = _some(features), _some(local, images)
    if not len(X) or not len(Y):
        return  # who reads them says that they are not finite
    Z = features.standardization(Y, "float64")
    mean, std = float(Z.mean()), float(Z.std())
    if abs(mean) > _SHIFT or not 1 / _SPREAD <= std <= _SPREAD:
        ours, theirs = (float(np.median(np.linalg.norm(rows, axis=1))) for rows in (X, Y))
        yield finding(
            "local scale",
            f"local features: standardized like the objects they have mean {mean:.3g} and std {std:.3g}, not about 0 "
            f"and 1; their rows have length {theirs:.3g}, those of the objects {ours:.3g}",
        )
    means, stds = _correlation(X.mean(axis=0), Y.mean(axis=0)), _correlation(X.std(axis=0), Y.std(axis=0))
    limit = _UNRELATED / float(np.sqrt(features.dimensions))
    if features.dimensions >= _COLUMNS and max(means, stds) < limit:
        yield finding(
            "local columns",
            f"local features: the means of their columns correlate {means:.2f} with those of the objects, the stds "
            f"{stds:.2f}; unrelated columns have less than {limit:.2f}",
        )


def warn_of_local(features: Features, local: Features, images: Int[np.ndarray, " k"]) -> None:
    """Warn if the local features of these images were not made as the object features were."""
    warn(check_local(features, local, images))


def _some(features: Features, rows: Int[np.ndarray, " k"] | None = None) -> Float[np.ndarray, "m p"]:
    """The finite ones of these rows, or of some from everywhere: who reads the others names them."""
    if rows is None:
        rows = np.unique(np.linspace(0, len(features) - 1, min(len(features), _MANY_IMAGES)).astype(np.int64))
    found = np.asarray(features.matrix[np.sort(rows)], dtype=np.float64)
    return found[np.isfinite(found).all(axis=1)]


def _correlation(a: Float[np.ndarray, " p"], b: Float[np.ndarray, " p"]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / scale if scale > 0 else 1.0  # columns that are all alike tell nothing
