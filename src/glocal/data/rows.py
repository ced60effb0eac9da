"""Statistics of the rows of a fit, and the comparison of other rows with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from glocal.data.features import Features, Standardization, as_matrix
from glocal.similarity import unit_rows

_MAX_UNIT_DEVIATION = 2e-3  # largest deviation of the length of a unit row from 1
# standardized features of one network on objects, ImageNet and CIFAR-10 have a mean of at most .03
# and a standard deviation of at most 1.08
_MAX_SHIFT = 0.25  # largest accepted mean of standardized features, in standard deviations
_MAX_SPREAD_RATIO = 2.0  # largest accepted factor between their standard deviation and 1
_MIN_ROWS = 10  # fewest rows whose mean and standard deviation are compared
_MAX_COLUMNS = 16  # most columns that are recorded as standing out
_MIN_COLUMNS = 4  # fewer columns that stand out are not recorded
_MIN_COLUMN_MEAN = 1.5  # smallest |mean| of a column that stands out, in standard deviations
# measured with CLIP and a ViT: other images at least .81, texts at most .39, other networks .18
_MIN_COLUMN_AGREEMENT = 0.5


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


def difference(
    rows: Float[np.ndarray, "n p"],
    statistics: dict[str, Any],
    scalars: Standardization,
    of: str = "fit",
) -> str | None:
    """The first difference of raw rows from those of a fit, in words; None if there is none.

    Compared are the lengths of the rows, the mean and spread of all values, and the columns that
    stand out. The first two differ little between sets of images that one network has seen in the
    same way, and such a column stands out on other images too. `statistics` are those of
    `row_statistics`, or empty, and `of` is what the rows of the fit are called.
    """
    lengths = np.linalg.norm(rows, axis=1)
    lengths = lengths[lengths > 0]
    is_unit = _are_unit(lengths)
    if len(lengths) and is_unit != statistics.get("normalised", is_unit):
        fitted_length = statistics["mean_length"]
        fix = "" if is_unit else ": divide each row by its length"
        return (
            f"the rows have mean length {lengths.mean():.3g}, but those of the {of} "
            f"{fitted_length:.3g}{fix}"
        )
    if len(rows) < _MIN_ROWS:
        return None
    standardized = scalars(rows, "float64")
    spread = statistics.get("spread", 1.0)
    mean = float(standardized.mean()) / spread
    std = float(standardized.std()) / spread
    if not (abs(mean) <= _MAX_SHIFT and 1 / _MAX_SPREAD_RATIO <= std <= _MAX_SPREAD_RATIO):
        return (
            f"standardized like those of the {of}, the rows have mean {mean:.3g} and std "
            f"{std:.3g}, not about 0 and 1: they come from another network or layer, or were "
            "scaled or normalized"
        )
    columns = statistics.get("columns") or {}
    fitted_means = np.array([*columns.values()])
    means = standardized[:, [int(column) for column in columns]].mean(axis=0)
    if columns and means @ fitted_means < _MIN_COLUMN_AGREEMENT * fitted_means @ fitted_means:
        return (
            f"the columns that stand out in the rows of the {of} ({', '.join([*columns][:4])}, …) "
            "do not stand out in these rows: they come from another network or layer, or from "
            "texts instead of images"
        )
    return None


def scaled_to_length_1(X: np.ndarray) -> Float[np.ndarray, "n p"]:
    """Scale each row to length 1, in float64; a row of zeros stays unchanged."""
    rows = X.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)  # dividing by it avoids overflow
    return unit_rows(rows / np.where(largest > 0, largest, 1.0))


def spaced_rows(matrix: Any, size: int) -> Float[np.ndarray, "m p"]:
    """Up to `size` evenly spaced rows in float64, without rows that are not finite."""
    n = len(matrix)
    if n > size:
        matrix = matrix[np.unique(np.linspace(0, n - 1, size).astype(np.int64))]
    rows = np.asarray(as_matrix(matrix), dtype=np.float64)
    return rows[np.isfinite(rows).all(axis=1)]


def _are_unit(lengths: np.ndarray) -> bool:
    """Whether there is at least one length, and all lengths are 1."""
    return bool(len(lengths) and np.abs(lengths - 1).max() < _MAX_UNIT_DEVIATION)
