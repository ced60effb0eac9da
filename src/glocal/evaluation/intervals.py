"""The interval of a mean over images, which may come in clusters."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

Z95 = 1.959963984540054


def mean_interval(
    values: Float[np.ndarray, " n"], clusters: Shaped[np.ndarray, " n"] | None = None
) -> tuple[float, float]:
    """95 % interval of the mean of fractions, one an image.

    The normal interval, mean ± 1.96 s, with s² = Σ e_i² / (n (n - 1)) and e the deviations from the mean. Images of one
    cluster (a class that is easy or hard as a whole) are dependent, so with C > 1 clusters s² is at least the
    cluster-robust variance

        C / (C - 1) · Σ_clusters (Σ_{i in cluster} e_i)² / n².

    The other images that a value was computed from (candidates, gallery) count as fixed.

    Parameters
    ----------
    values : (n,) float
        Fractions.
    clusters : (n,) array or None
        Which cluster each image belongs to.

    Returns
    -------
    low, high : float
        Clipped to [0, 1]; of one image 0 and 1.

    References
    ----------
    Liang & Zeger (1986), Biometrika 73:13.
    """
    n = len(values)
    if n < 2:
        return 0.0, 1.0
    mean = float(values.mean())
    e = values - mean
    variance = float(e @ e) / (n * (n - 1))
    if clusters is not None:
        sums = np.bincount(np.unique(clusters, return_inverse=True)[1], e)
        if len(sums) > 1:
            variance = max(variance, len(sums) / (len(sums) - 1) * float(sums @ sums) / n**2)
    half = Z95 * variance**0.5
    return max(0.0, mean - half), min(1.0, mean + half)
