"""Means over independent scores, or over scores that come in clusters."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from glocal.evaluation.statistics.estimate import Estimate


def mean_estimate(values: Float[np.ndarray, " n"], clusters: Shaped[np.ndarray, " n"] | None = None) -> Estimate:
    """The mean of scores and its error, where the scores of one cluster are dependent.

    A class may be easy or hard as a whole: another draw of classes then moves the mean by more than another draw of
    images does. With e the deviations from the mean and cluster g of n_g among n scores, the variance is that of the
    jackknife which leaves out one of the C clusters (see `share_variance`),

        Var = (C - 1) / C Σ_g (Σ_{i in g} e_i)² / (n - n_g)²,

    not less than that of independent scores, Σ e² / (n (n - 1)), which is the same formula for clusters of one.
    What else a score was computed from (candidates, gallery) counts as fixed.

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
