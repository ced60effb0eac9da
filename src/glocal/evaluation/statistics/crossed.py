"""Intervals of means over a table whose rows and columns are both draws: episodes by classes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError
from glocal.evaluation.statistics.estimate import Estimate


def two_way_estimate(scores: Float[np.ndarray, "draws classes"]) -> Estimate:
    """The mean and its error of a (draws × classes) table of scores for new draws and new classes.

    Draws share their classes and classes share their draws, so the cells are not independent. Under
    y_dc = μ + row_d + column_c + noise_dc the unbiased variance of the mean is that of the analysis of variance,

        Var = (MS_rows + MS_columns - MS_noise) / (draws · classes),

    not less than MS_noise / (draws · classes). The degrees of freedom are Satterthwaite's, at
    least min(draws, classes) - 1. With one draw, or one class, only the other varies.

    Parameters
    ----------
    scores : (draws, classes) float
        For example the few-shot accuracy of each class in each draw; AUROC as (1, classes).

    Returns
    -------
    Estimate

    Raises
    ------
    DataError
        NaN or infinity, or a single cell, from which no interval can be told.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, ch. 4; Satterthwaite (1946), Biometrics 2:110.

    Examples
    --------
    >>> found = two_way_estimate(np.array([[0.5, 0.7], [0.6, 0.9], [0.4, 0.8]]))
    >>> round(found.mean, 3), round(found.error, 3)
    (0.65, 0.155)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise DataError("the table of scores holds NaN or infinity; every draw needs a score for every class.")
    rows, columns = scores.shape
    if rows * columns < 2:
        raise DataError(f"the table of scores is {rows} × {columns}; an interval needs at least two scores.")
    mean = float(scores.mean())
    if min(rows, columns) == 1:
        return Estimate(mean, float(scores.std(ddof=1) / np.sqrt(scores.size)), scores.size - 1.0)
    by_row, by_column = scores.mean(axis=1), scores.mean(axis=0)
    between_rows = columns * float(by_row.var(ddof=1))
    between_columns = rows * float(by_column.var(ddof=1))
    residual = scores - by_row[:, None] - by_column + mean
    noise = float(np.square(residual).sum()) / ((rows - 1) * (columns - 1))
    combined = between_rows + between_columns - noise
    if combined <= noise:
        return Estimate(mean, float(np.sqrt(noise / scores.size)), float((rows - 1) * (columns - 1)))
    spread = between_rows**2 / (rows - 1) + between_columns**2 / (columns - 1) + noise**2 / ((rows - 1) * (columns - 1))
    freedom = max(combined**2 / spread, float(min(rows, columns) - 1))
    return Estimate(mean, float(np.sqrt(combined / scores.size)), freedom)
