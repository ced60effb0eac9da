"""The check of rows against those that a transform was fitted on.

`LinearTransform` itself calls it when it is applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import numpy as np

from glocal.data.features import Features, as_matrix
from glocal.data.rows import difference, scaled_to_length_1, spaced_rows
from glocal.errors import DataWarning
from glocal.transform.formats import normalised_name

_SAMPLE_ROWS = 2000
_SAMPLE_ROWS_OF_A_CALL = 256
_warned: WeakSet[Any] = WeakSet()  # transforms for which a warning was issued


def check_rows(transform: Any, X: Any, *, normalize: bool = False) -> None:
    """Warn if rows differ from those that a transform was fitted on.

    Only a sample is checked: 2,000 rows of Features, 256 rows of an array.

    Parameters
    ----------
    X : Features, (n, p) array or tensor
        Raw (not standardized) rows. Features of `glocal extract` record their model and layer,
        which are compared too.
    normalize : bool
        Whether the rows will be scaled to length 1 first.

    Raises
    ------
    DataError
        The rows do not have the input dimension of the transform.

    Warns
    -----
    DataWarning
        The scale of the rows differs from that of the fit (recorded by
        `glocal.data.rows.row_statistics`, or else given by the mean and std of the transform);
        other columns stand out; or the model or layer differs.
    """
    transform.check_shape(tuple((X.matrix if isinstance(X, Features) else X).shape))
    _warn_of_differences(transform, X, normalize, stacklevel=3)


def check_once(transform: Any, X: Any, normalize: bool) -> None:
    """Warn as `check_rows` does, unless a warning was already issued for this transform."""
    if transform not in _warned:
        _warn_of_differences(transform, X, normalize, stacklevel=4)


def check_zero_rows(transform: Any, X: Any, source: str, first: int) -> None:
    """Warn once about a row of zeros, which has no direction; rows are counted from `first`."""
    rows = np.flatnonzero(as_matrix((X == 0).all(1)))
    if len(rows) and transform not in _warned:
        _warned.add(transform)
        warnings.warn(
            f"{source} is 0 in every column of row {first + rows[0]}: a row of zeros has no "
            "direction, and all such rows get the same result. Remove or recompute them.",
            DataWarning,
            stacklevel=4,
        )


def _warn_of_differences(transform: Any, X: Any, normalize: bool, stacklevel: int) -> None:
    """Issue a warning for each difference, and remember the transform."""
    for sentence in _differences(transform, X, normalize):
        _warned.add(transform)
        message = f"{sentence}. The transformed rows will be wrong."
        warnings.warn(message, DataWarning, stacklevel=stacklevel)


def _differences(transform: Any, X: Any, normalize: bool) -> Iterator[str]:
    """Yield how a sample of rows, and the network they come from, differ from those of the fit."""
    network: dict[str, str] = {}
    size = _SAMPLE_ROWS_OF_A_CALL
    if isinstance(X, Features):
        network = X.network
        size = _SAMPLE_ROWS
        X = X.matrix
    rows = spaced_rows(X, size)
    if normalize:
        rows = scaled_to_length_1(rows)
    statistics = transform.meta.get("rows") or {}
    with np.errstate(over="ignore", invalid="ignore"):  # values near the limits of float64
        sentence = difference(rows, statistics, transform.standardization)
    if sentence is not None:
        yield sentence
    source = transform.meta.get("source") or {}
    for name in ("model", "layer"):
        current = network.get(name)
        fitted = source.get(name)
        if current and fitted and normalised_name(current) != normalised_name(fitted):
            yield f"the features are of {name} {current}, but the transform was fitted on {fitted}"
