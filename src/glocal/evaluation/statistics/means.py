"""Means and how uncertain they are: of independent scores, of scores in clusters, of a table of draws and classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from glocal.errors import DataError, ParameterError

_ROUNDING = 16 * 2.0**-52  # equal scores differ from their rounded mean by some eps


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard `error`, known with `freedom` degrees of freedom.

    `error` is None where it cannot be estimated, and then there is no interval: a single score, or a single cluster of
    dependent scores, does not show how another would turn out, and scores that are all equal show no spread.
    (All of five answers right does not prove an accuracy of exactly 1.)

    Interval and p-value are of one Student's t distribution: the 95 % interval leaves 0 out exactly where p < 0.05.

    Examples
    --------
    >>> low, high = Estimate(0.5, 0.01, 99).interval()
    >>> round(low, 4), round(high, 4)
    (0.4802, 0.5198)
    >>> Estimate(1.0, None, 0).interval()
    (None, None)
    """

    mean: float
    error: float | None
    freedom: float

    @classmethod
    def of_variance(cls, mean: float, variance: float, freedom: float, largest: float) -> Estimate:
        """An estimate from the variance of the mean; without an error where that is nothing but rounding.

        `largest` is the largest absolute score, `freedom` 0 where the scores are a single cluster.
        """
        error = max(variance, 0.0) ** 0.5
        return cls(mean, error if freedom > 0 and error > _ROUNDING * largest else None, freedom)

    def interval(self, level: float = 0.95, *, fraction: bool = False) -> tuple[float | None, float | None]:
        """Student's t interval, mean ± t(level) · error; (None, None) without an error.

        A mean may be a difference: the ends are clipped to [0, 1] only for a `fraction`.
        """
        from scipy.special import stdtrit

        if not 0 < level < 1:
            raise ParameterError(f"level is {level}; it must lie between 0 and 1, for example 0.95.")
        if self.error is None:
            return None, None
        half = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        low, high = self.mean - half, self.mean + half
        return (max(0.0, low), min(1.0, high)) if fraction else (low, high)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of 0: 1 for a mean of exactly 0, else None without an error."""
        from scipy.special import stdtr

        if self.mean == 0:
            return 1.0
        return None if self.error is None else 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error))


def mean_estimate(values: Float[np.ndarray, " n"], clusters: Shaped[np.ndarray, " n"] | None = None) -> Estimate:
    """The mean of scores and its error, where the scores of one cluster are dependent.

    A class may be easy or hard as a whole: another draw of classes then moves the mean by more than another draw of
    images does. With e the deviations from the mean and cluster g of n_g among n scores, the variance is that of the
    jackknife which leaves out one of the C clusters (see `share_variance`),

        Var = (C - 1) / C Σ_g (Σ_{i in g} e_i)² / (n - n_g)²,

    not less than that of independent scores, Σ e² / (n (n - 1)), which is the same formula for clusters of one.
    Everything else that a score was computed from (candidates, gallery) counts as fixed.

    Parameters
    ----------
    values : (n,) float
    clusters : (n,) array or None
        Which cluster each score belongs to; None: all are independent.

    Returns
    -------
    Estimate
        Without an error for one score, one cluster, or equal scores. Its degrees of freedom are the effective number of
        clusters less 1.

    Examples
    --------
    >>> found = mean_estimate(np.array([0.2, 0.4, 0.6]))
    >>> round(found.mean, 3), round(found.error, 3), found.freedom
    (0.4, 0.115, 2.0)
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    mean = float(values.mean())
    alone, freedom = share_variance(values - mean, np.full(n, 1 / n))
    variance = float(alone.sum())
    if clusters is not None:
        _, codes, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
        # the deviation of a whole cluster is the mean of its scores'
        among, freedom = share_variance(np.bincount(codes, values - mean) / sizes, sizes / n)
        variance = max(variance, float(among.sum()))
    return Estimate.of_variance(mean, variance, freedom, float(np.abs(values).max()))


def share_variance(
    deviations: Float[np.ndarray, "*rows k"], shares: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "*rows k"], float]:
    """What each of k independent parts of a weighted mean adds to its variance, and the degrees of freedom.

    Without part c a mean that has the share w_c of it moves by w_c e_c / (1 - w_c), so that the jackknife's variance is

        Var = (k - 1) / k Σ_c (w_c e_c / (1 - w_c))²,

    for equal shares Σ e² / (k (k - 1)). In the usual cluster-robust form, k / (k - 1) Σ (w_c e_c)², a large part hides
    its own deviation by drawing the mean to itself, and intervals are too narrow. Degrees of freedom are the effective
    number of parts 1 / Σ w² (Kish) less 1, at least 1; of a single part variance and degrees are 0.

    References
    ----------
    MacKinnon, Nielsen & Webb (2023), J. Appl. Econometrics 38:671 (CV3, the jackknife); Kish (1965), Survey Sampling;
    Carter, Schnepel & Steigerwald (2017), Rev. Econ. Stat. 99:698, on the effective number of clusters.
    """
    k = len(shares)
    if k < 2:
        return np.zeros_like(deviations), 0.0
    return (k - 1) / k * np.square(deviations * (shares / (1 - shares))), max(1 / float(shares @ shares) - 1, 1.0)


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
