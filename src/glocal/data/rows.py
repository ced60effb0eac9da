"""Statistics of the rows of a fit, and the comparison of other rows with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from glocal.data.features import Features, are_unit, as_matrix
from glocal.data.standardization import Standardization
from glocal.results import RowStatistics
from glocal.similarity import Embedding

# standardized features of one network on objects, ImageNet and CIFAR-10 have a mean of at most .03
# and a standard deviation of at most 1.08
_MAX_SHIFT = 0.25  # largest accepted mean of standardized features, in standard deviations
_MAX_SPREAD_RATIO = 2.0  # largest accepted factor between their standard deviation and 1
_MIN_ROWS = 10  # fewest rows whose mean and standard deviation are compared
_MAX_STANDARD_ERRORS = 4.0  # of the mean of few rows, beyond the largest accepted mean
_MAX_COLUMNS = 16  # most columns that are recorded as standing out
_MIN_COLUMNS = 4  # fewer columns that stand out are not recorded
_MIN_COLUMN_MEAN = 1.5  # smallest |mean| of a column that stands out, in standard deviations
# measured with CLIP and a ViT: other images at least .81, texts at most .39, other networks .18
_MIN_COLUMN_AGREEMENT = 0.5
_MIN_POSSIBLE_AGREEMENT = 0.25  # below it the rows are certainly of another network


class Difference(NamedTuple):
    """A difference of rows from those of a fit, and whether it is certain that they are others."""

    sentence: str
    is_certain: bool


def row_statistics(X: Features | np.ndarray) -> RowStatistics:
    """The statistics of the rows of a fit, which the transform keeps as ``record.rows``.

    Parameters
    ----------
    X : Features or (n, p) array

    Returns
    -------
    RowStatistics
        The outputs of transformers have columns that stand out whatever the input. ``columns`` is
        empty if fewer than four do.
    """
    features = X if isinstance(X, Features) else Features(X)
    scalars = features.standardization
    means = (features.column_means - scalars.mean) / scalars.std
    order = np.argsort(-np.abs(means), kind="stable")[:_MAX_COLUMNS]
    columns = {
        str(column): round(float(means[column]), 4)
        for column in order.tolist()
        if abs(means[column]) >= _MIN_COLUMN_MEAN
    }
    return RowStatistics(
        mean=scalars.mean,
        std=scalars.std,
        mean_length=float(features.lengths.mean()),
        normalize=features.unit(always=False).is_unit,
        columns=columns if len(columns) >= _MIN_COLUMNS else {},
    )


def difference(
    rows: Embedding,
    statistics: RowStatistics | None,
    scalars: Standardization,
    origin: str = "fit",
) -> Difference | None:
    """The first difference of raw rows from those of a fit; None if there is none.

    Compared are the lengths of the rows, the mean and spread of all values, and the columns that
    stand out. The first two differ little between sets of images that one network has seen in the
    same way, and such a column stands out on other images too. `statistics` are those of
    `row_statistics`, or None; `scalars` then take the place of their mean and std, and no
    difference is certain. `origin` is what the fit is called.
    """
    lengths = np.linalg.norm(rows, axis=1)
    lengths = lengths[lengths > 0]
    if statistics is not None and not scalars.is_unit and are_unit(lengths):
        sentence = (
            f"the rows have length 1, but those of the {origin} have mean length "
            f"{statistics.mean_length:.3g}"
        )
        return Difference(sentence, is_certain=True)
    if len(rows) < _MIN_ROWS:
        return None
    if statistics is not None:
        scalars = replace(scalars, mean=statistics.mean, std=statistics.std)
    standardized = scalars(rows, "float64")
    mean = float(standardized.mean())
    std = float(standardized.std())
    error = float(standardized.mean(axis=1).std()) / len(rows) ** 0.5
    max_shift = _MAX_SHIFT + _MAX_STANDARD_ERRORS * error
    if not (abs(mean) <= max_shift and 1 / _MAX_SPREAD_RATIO <= std <= _MAX_SPREAD_RATIO):
        sentence = (
            f"standardized like those of the {origin}, the rows have mean {mean:.3g} and std "
            f"{std:.3g}, not about 0 and 1: they come from another network or layer, or were "
            "scaled or normalized"
        )
        return Difference(sentence, statistics is not None)
    columns = {} if statistics is None else statistics.columns
    fitted_means = np.array([*columns.values()])
    means = standardized[:, [int(column) for column in columns]].mean(axis=0)
    agreement = means @ fitted_means / (fitted_means @ fitted_means) if columns else 1.0
    if agreement < _MIN_COLUMN_AGREEMENT:
        sentence = (
            f"the columns that stand out in the rows of the {origin} "
            f"({', '.join([*columns][:4])}, …) do not stand out in these rows: they come from "
            "another network or layer, or from texts instead of images"
        )
        return Difference(sentence, agreement < _MIN_POSSIBLE_AGREEMENT)
    return None


def spaced_rows(matrix: Any, size: int) -> Embedding:
    """Up to `size` evenly spaced rows in float64, without rows that are not finite."""
    n = len(matrix)
    if n > size:
        matrix = matrix[np.unique(np.linspace(0, n - 1, size).astype(np.int64))]
    rows = np.asarray(as_matrix(matrix), dtype=np.float64)
    return rows[np.isfinite(rows).all(axis=1)]
