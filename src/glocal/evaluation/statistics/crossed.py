"""Means over a table whose rows and columns are both draws: episodes by classes, people by objects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from glocal.errors import DataError
from glocal.evaluation.statistics.estimate import Estimate
from glocal.evaluation.statistics.means import share_variance


def two_way_estimate(
    scores: Float[np.ndarray, "draws classes"], weights: Float[np.ndarray, " classes"] | None = None
) -> Estimate:
    """The (weighted) mean of a (draws × classes) table of scores and its error, for new draws and new classes.

    Draws share their classes and classes share their draws, so the cells are not independent. With w_c the share of
    class c, a_d the weighted mean of draw d, ā_c the mean of class c and ā that of all, the two-way analysis of
    variance gives for equal weights

        V_draws   = Σ_d (a_d - ā)² / (D (D - 1))
        V_classes = Σ_c (ā_c - ā)² / (K (K - 1))
        V_cells   = Σ_dc (x_dc - a_d - ā_c + ā)² / (D (D - 1) K (K - 1))
        Var       = V_draws + V_classes - V_cells

    since both margins contain the noise of the cells once; Var is not less than any of the three. With weights the
    sums over classes are those of `share_variance`. Degrees of freedom are Satterthwaite's, at least those of the
    smaller margin. With one draw, or one class, only the other varies.

    Parameters
    ----------
    scores : (draws, classes) float
        For example the few-shot accuracy of each class in each draw, or the differences of two arms.
    weights : (classes,) float or None
        The number of test images of each class, so that the mean is that over images; equal for None. Classes of
        weight 0 are left out.

    Returns
    -------
    Estimate
        Without an error for a single cell, or cells that are all equal.

    Raises
    ------
    DataError
        NaN or infinity, no cell, or weights of another number, negative or all 0.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, ch. 4; Satterthwaite (1946), Biometrics 2:110; Owen (2007),
    Ann. Appl. Stat. 1:386, for why one-way intervals of crossed data are too narrow.

    Examples
    --------
    >>> found = two_way_estimate(np.array([[0.5, 0.7], [0.6, 0.9], [0.4, 0.8]]))
    >>> round(found.mean, 3), round(found.error, 3)
    (0.65, 0.155)
    """
    scores = np.asarray(scores, dtype=np.float64)
    w = np.ones(scores.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != scores.shape[1:] or not (np.isfinite(w).all() and (w >= 0).all() and w.any()):
        raise DataError(f"the table of scores has {scores.shape[1]} classes; give each a weight, not all of them 0.")
    scores, w = scores[:, w > 0], w[w > 0] / w.sum()
    if not scores.size or not np.isfinite(scores).all():
        raise DataError(
            "the table of scores is empty or holds NaN or infinity; every draw needs a score for every class."
        )
    draws = len(scores)
    by_draw, by_class = scores @ w, scores.mean(axis=0)
    mean = float(by_draw.mean())
    among_draws, draw_freedom = share_variance(by_draw - mean, np.full(draws, 1 / draws))
    among_classes, class_freedom = share_variance(by_class - mean, w)
    among_cells, _ = share_variance(scores - by_draw[:, None] - by_class + mean, w)
    parts = (
        (float(among_draws.sum()), draw_freedom),
        (float(among_classes.sum()), class_freedom),
        (float(among_cells.sum()) / (draws * max(draws - 1, 1)), draw_freedom * class_freedom),
    )
    variance = max(parts[0][0] + parts[1][0] - parts[2][0], *(part for part, _ in parts))
    spread = sum(part**2 / freedom for part, freedom in parts if freedom)
    least = min((freedom for _, freedom in parts[:2] if freedom), default=0.0)
    freedom = max(variance**2 / spread, least) if spread else least
    return Estimate.of_variance(mean, variance, freedom, float(np.abs(scores).max()))
