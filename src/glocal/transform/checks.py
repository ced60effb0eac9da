"""Statistics of the rows that a transform was fitted on, and the check of other rows against them.

`LinearTransform` itself calls the checks when it is applied.
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
_MAX_UNIT_DEVIATION = 2e-3  # largest deviation of the length of a unit row from 1
_MIN_ROWS = 10  # fewest rows whose mean and standard deviation are compared
_MAX_COLUMNS = 16  # most columns that are recorded as standing out
_MIN_COLUMNS = 4  # fewer columns that stand out are not recorded
_MIN_COLUMN_MEAN = 1.5  # smallest |mean| of a column that stands out, in standard deviations
# measured with CLIP and a ViT: other images at least .81, texts at most .39, other networks .18
_MIN_COLUMN_AGREEMENT = 0.5
_warned: WeakSet[Any] = WeakSet()  # transforms for which a warning was issued


def row_statistics(X: Features | np.ndarray, std: float | None = None) -> dict[str, Any]:
    """The statistics of the rows of a fit, which the transform keeps as ``meta["rows"]``.

    Parameters
    ----------
    X : Features or (n, p) array
    std : float or None
        The scalar that the transform divides by, if it is not the standard deviation of `X`. It is
        smaller for a transform that was fitted to centred rows.

    Returns
    -------
    dict
        ``spread``, the standard deviation of the rows over `std`; ``mean_length`` and
        ``std_length``, the mean and standard deviation of the Euclidean lengths of the rows;
        ``normalised``, whether all lengths are 1; and ``columns``, the standardized means of up to
        16 columns that stand out, by column number. The outputs of transformers have such columns
        whatever the input. ``columns`` is empty if fewer than four stand out.
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
        The scale of the rows differs from that of the fit (recorded by `row_statistics`, or else
        given by the mean and std of the transform); other columns stand out; or the model or layer
        differs.
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


def scaled_to_length_1(X: np.ndarray) -> Float[np.ndarray, "n p"]:
    """Scale each row to length 1, in float64; a row of zeros stays unchanged."""
    rows = X.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)  # dividing by it avoids overflow
    return unit_rows(rows / np.where(largest > 0, largest, 1.0))


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
    with np.errstate(over="ignore", invalid="ignore"):  # values near the limits of float64
        difference = next(_row_differences(transform, rows, normalize), None)
    if difference is not None:
        yield difference
    source = transform.meta.get("source") or {}
    for name in ("model", "layer"):
        current = network.get(name)
        fitted = source.get(name)
        if current and fitted and normalised_name(current) != normalised_name(fitted):
            yield f"the features are of {name} {current}, but the transform was fitted on {fitted}"


def _row_differences(transform: Any, rows: np.ndarray, normalize: bool) -> Iterator[str]:
    """Yield the differences in row length, in scale, and in the columns that stand out."""
    fitted = transform.meta.get("rows") or {}
    lengths = np.linalg.norm(rows, axis=1)
    lengths = lengths[lengths > 0]
    is_unit = normalize or _are_unit(lengths)
    if len(lengths) and fitted.get("normalised", is_unit) and not is_unit:
        yield (
            f"the rows have mean length {lengths.mean():.3g}, but the transform was fitted on rows "
            "of length 1: divide each row by its length, as `normalize=True` does"
        )
    if len(lengths) and is_unit and not fitted.get("normalised", is_unit):
        yield (
            "the rows have length 1, but the transform was fitted on rows of mean length "
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
            f"standardized by the transform, the rows have mean {mean:.3g} and std {std:.3g}, not "
            "about 0 and 1: they come from another network or layer than the rows of the fit, or "
            "were scaled or normalized"
        )
    columns = fitted.get("columns") or {}
    numbers = [int(column) for column in columns]
    fitted_means = np.array([*columns.values()])
    means = standardized[:, numbers].mean(axis=0)
    if columns and means @ fitted_means < _MIN_COLUMN_AGREEMENT * fitted_means @ fitted_means:
        yield (
            f"the columns that stand out in the rows of the fit ({', '.join([*columns][:4])}, …) "
            "do not stand out in these rows: they come from another network or layer, or from "
            "texts instead of images"
        )


def _are_unit(lengths: np.ndarray) -> bool:
    """Whether there is at least one length, and all lengths are 1."""
    return bool(len(lengths) and np.abs(lengths - 1).max() < _MAX_UNIT_DEVIATION)
