"""Rows of features: what a transform records of those of its fit, and whether others are like them.

What takes a `transform` is called by `LinearTransform` too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features, as_matrix, is_of_scale, spaced_rows
from glocal.errors import DataWarning
from glocal.similarity import unit_rows
from glocal.transform.formats import normalised_name

_SAMPLE_ROWS = 2000
_SAMPLE_ROWS_OF_A_CALL = 256
_MAX_UNIT_DEVIATION = 2e-3  # of the length of a row from 1
_MIN_ROWS = 10  # whose mean and standard deviation say something
_MAX_COLUMNS = 16  # that are recorded
_MIN_COLUMNS = 4
_MIN_COLUMN_MEAN = 1.5  # of a column that stands out, in standard deviations
# of CLIP and a ViT on other images at least .81, of texts at most .39, of other networks .18
_MIN_COLUMN_AGREEMENT = 0.5
_warned: WeakSet[Any] = WeakSet()  # transforms about whose rows a warning was issued


def row_statistics(X: Features | np.ndarray, std: float | None = None) -> dict[str, Any]:
    """What a transform records of the rows that it was fitted on: ``meta["rows"]``.

    Parameters
    ----------
    X : Features or (n, p) array
    std : float or None
        What the transform divides rows by, where that is not their own standard deviation: it is
        smaller for a transform that was fitted to centred rows.

    Returns
    -------
    dict
        ``spread``, the standard deviation of the rows over `std`; ``mean_length`` and
        ``std_length``, of the Euclidean lengths of the rows; ``normalised``: all are 1; and
        ``columns``, by their numbers the means of the columns that stand out, standardized as the
        whole is. The outputs of transformers have such columns, whatever they are shown; where
        fewer than four stand out there are none.
    """
    features = X if isinstance(X, Features) else Features(X)
    scalars = features.standardization
    lengths = np.concatenate(
        [np.linalg.norm(rows.astype(np.float64), axis=1) for _, rows in features.chunks()]
    )
    spread = 1.0 if std is None else scalars.std / std
    means = (features.column_means - scalars.mean) / scalars.std
    order = np.argsort(-np.abs(means), kind="stable")[:_MAX_COLUMNS]
    columns = {
        str(column): round(spread * float(means[column]), 4)
        for column in order.tolist()
        if abs(means[column]) >= _MIN_COLUMN_MEAN
    }
    return {
        "spread": spread,
        "mean_length": float(lengths.mean()),
        "std_length": float(lengths.std()),
        "normalised": _are_unit(lengths),
        "columns": columns if len(columns) >= _MIN_COLUMNS else {},
    }


def check_rows(transform: Any, X: Any, *, normalize: bool = False) -> None:
    """Warn where a transform does not fit the rows that it is to be applied to.

    A sample is looked at: 2,000 rows of Features, 256 of an array.

    Parameters
    ----------
    X : Features, (n, p) array or tensor
        Raw (not standardized) rows. Those of `glocal extract` name their model and layer, which
        are compared too.
    normalize : bool
        They will be scaled to length 1 first.

    Raises
    ------
    DataError
        The dimensions differ.

    Warns
    -----
    DataWarning
        The rows are of another scale than those of the fit, which `row_statistics` recorded or
        else the mean and std of the transform tell; other columns of theirs stand out; or they are
        of another model or layer.
    """
    transform.check_shape(tuple((X.matrix if isinstance(X, Features) else X).shape))
    _warn_of_differences(transform, X, normalize, stacklevel=3)


def check_once(transform: Any, X: Any, normalize: bool) -> None:
    """Warn as `check_rows`, unless a warning about rows of the transform was issued before."""
    if transform not in _warned:
        _warn_of_differences(transform, X, normalize, stacklevel=4)


def check_zero_rows(transform: Any, X: Any, source: str, first: int) -> None:
    """Warn once of a row of zeros, which has no direction; rows are counted from `first`."""
    rows = np.flatnonzero(as_matrix((X == 0).all(1)))
    if len(rows) and transform not in _warned:
        _warned.add(transform)
        warnings.warn(
            f"{source} is 0 in every column of row {first + rows[0]}: a row of zeros has no "
            "direction, and all such rows get the same result. Remove or recompute them.",
            DataWarning,
            stacklevel=4,
        )


def scaled_to_length_1(X: np.ndarray) -> Float[np.ndarray, "n p"]:
    """Rows of length 1, in float64, of rows of any length; a row of zeros stays one."""
    rows = X.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)  # its square may leave the range of float64
    return unit_rows(rows / np.where(largest > 0, largest, 1.0))


def _warn_of_differences(transform: Any, X: Any, normalize: bool, stacklevel: int) -> None:
    """Warn of each difference, and remember the transform."""
    for sentence in _differences(transform, X, normalize):
        _warned.add(transform)
        message = f"{sentence}. Its results will be wrong."
        warnings.warn(message, DataWarning, stacklevel=stacklevel)


def _differences(transform: Any, X: Any, normalize: bool) -> Iterator[str]:
    """How a sample of rows, and the network they are of, differ from those of the fit."""
    network: dict[str, str] = {}
    size = _SAMPLE_ROWS_OF_A_CALL
    if isinstance(X, Features):
        network = X.network
        size = _SAMPLE_ROWS
        X = X.matrix
    rows = spaced_rows(X, size)
    with np.errstate(over="ignore", invalid="ignore"):  # of values near the end of float64
        difference = next(_row_differences(transform, rows, normalize), None)
    if difference is not None:
        yield difference
    source = transform.meta.get("source") or {}
    for name in ("model", "layer"):
        current = network.get(name)
        fitted = source.get(name)
        if current and fitted and normalised_name(current) != normalised_name(fitted):
            yield f"the features are of {name} {current}; the transform was fitted on {fitted}"


def _row_differences(transform: Any, rows: np.ndarray, normalize: bool) -> Iterator[str]:
    """Differences in the length of rows, in their scale, and in the columns that stand out."""
    fitted = transform.meta.get("rows") or {}
    lengths = np.linalg.norm(rows, axis=1)
    lengths = lengths[lengths > 0]
    is_unit = normalize or _are_unit(lengths)
    if len(lengths) and fitted.get("normalised", is_unit) and not is_unit:
        yield (
            f"the rows have length {lengths.mean():.3g} and the transform was fitted on rows of "
            "length 1: divide each row by its length, as `normalize=True` does"
        )
    if len(lengths) and is_unit and not fitted.get("normalised", is_unit):
        yield (
            "the rows have length 1 and the transform was fitted on rows of length "
            f"{fitted['mean_length']:.3g}"
        )
    if len(rows) < _MIN_ROWS:
        return
    raw = scaled_to_length_1(rows) if normalize else rows
    standardized = transform.standardization(raw, "float64")
    spread = fitted.get("spread", 1.0)
    mean = float(standardized.mean()) / spread
    std = float(standardized.std()) / spread
    if not is_of_scale(mean, std):
        yield (
            f"standardized by the transform the rows have mean {mean:.3g} and std {std:.3g}, not "
            "about 0 and 1: they are of another network or layer than it was fitted on, or were "
            "scaled or normalized"
        )
    columns = fitted.get("columns") or {}
    numbers = [int(column) for column in columns]
    fitted_means = np.array([*columns.values()])
    means = standardized[:, numbers].mean(axis=0)
    if columns and means @ fitted_means < _MIN_COLUMN_AGREEMENT * fitted_means @ fitted_means:
        yield (
            f"the columns that stand out in the rows of the fit ({', '.join([*columns][:4])}, …) "
            "do not in these: they are of another network or layer, or of texts in place of images"
        )


def _are_unit(lengths: np.ndarray) -> bool:
    """Whether there are lengths, and all are 1."""
    return bool(len(lengths) and np.abs(lengths - 1).max() < _MAX_UNIT_DEVIATION)
