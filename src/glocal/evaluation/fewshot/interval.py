"""An interval for accuracies that are crossed: every class is tested in every draw."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def crossed_interval(
    cells: Float[np.ndarray, "draws k"], weights: Float[np.ndarray, " k"] | None = None
) -> tuple[float | None, float | None]:
    """95 % interval of the weighted mean of cells, with draws and classes both random.

    With w_c the share of class c, a_d the weighted mean of draw d, ā_c the mean of class c and ā the mean of all, the
    two-way analysis of variance gives

        V_draws   = Σ_d (a_d - ā)² / (D (D - 1))
        V_classes = K / (K - 1) Σ_c w_c² (ā_c - ā)²
        V_cells   = K / (K - 1) Σ_dc w_c² (x_dc - a_d - ā_c + ā)² / (D (D - 1))
        V         = max(V_draws + V_classes - V_cells, V_draws, V_classes)

    since both margins contain the noise of the cells once. The quantile is Student's, with the degrees of freedom of
    Welch and Satterthwaite, V² / (V_draws² / (D - 1) + V_classes² / (K - 1)). The test images of a class are the same
    in every draw: what they do to the mean is part of V_classes. With one draw the interval covers classes only, with
    one class draws only; with one of both there is none.

    The same function gives the interval of a paired difference, of the cells of one arm less those of another.

    Parameters
    ----------
    cells : (draws, classes) float
        The accuracy of each class in each draw; a class that is not tested is left out before.
    weights : (classes,) float or None
        The number of test images of each class; equal for None.

    Returns
    -------
    low, high : float or None
        Not clipped.

    References
    ----------
    Searle, Casella & McCulloch (1992), Variance Components, chapter 4; Owen (2007), The pigeonhole bootstrap, Ann.
    Appl. Stat. 1:386, for why one-way intervals of crossed data are too narrow.
    """
    draws, k = cells.shape
    if draws * k < 2:
        return None, None
    w = np.full(k, 1 / k) if weights is None else weights / weights.sum()
    by_draw, by_class = cells @ w, cells.mean(axis=0)
    mean = float(by_draw.mean())
    between = max(draws - 1, 1) * draws
    bessel = k / max(k - 1, 1)
    of_draws = float(np.square(by_draw - mean).sum()) / between
    of_classes = bessel * float(w**2 @ np.square(by_class - mean))
    residual = cells - by_draw[:, None] - by_class + mean
    of_cells = bessel * float((np.square(residual) @ w**2).sum()) / between
    variance = max(of_draws + of_classes - of_cells, of_draws, of_classes)
    if variance <= 0:
        return mean, mean
    freedom = variance**2 / (of_draws**2 / max(draws - 1, 1) + of_classes**2 / max(k - 1, 1))
    from scipy.special import stdtrit

    half = float(stdtrit(freedom, 0.975)) * variance**0.5
    return mean - half, mean + half
