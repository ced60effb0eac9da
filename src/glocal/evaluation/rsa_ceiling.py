"""How well the average person predicts one person: the bounds of any model's RSA."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class NoiseCeiling:
    """Bounds of the agreement that the best possible model reaches: `lower` is cautious, `upper` optimistic."""

    lower: float
    upper: float


def noise_ceiling(human: Float[np.ndarray, "people pairs"], method: str = "spearman") -> NoiseCeiling:
    """The mean correlation of each person with the average person.

    upper: with the mean over all people, the person included; lower: with the mean over the others. Before
    averaging, people are rank-transformed for Spearman and brought to mean 0 and standard deviation 1 for Pearson.

    Parameters
    ----------
    human : (people, pairs) float
        Upper triangles of the RDMs of at least two people; NaN pairs are left out.
    method : {"spearman", "pearson"}

    Returns
    -------
    NoiseCeiling
        NaN if no person shares varying pairs with the others.

    References
    ----------
    Nili et al. (2014), PLoS Comput. Biol. 10:e1003553.
    """
    from scipy.stats import rankdata

    scaled = np.array(human, dtype=np.float64)
    for person in scaled:
        known = ~np.isnan(person)
        values = person[known]
        # ranks stay whole numbers, so that equal mean ranks stay tied
        person[known] = rankdata(values) if method == "spearman" else (values - values.mean()) / values.std()

    def agreement(person: int, others: np.ndarray) -> float:
        counts = (~np.isnan(others)).sum(axis=0)
        average = np.where(counts > 0, np.nansum(others, axis=0) / np.maximum(counts, 1), np.nan)
        known = ~np.isnan(human[person]) & ~np.isnan(average)
        a, b = human[person][known], average[known]
        if len(a) < 2 or a.max() == a.min() or b.max() == b.min():
            return np.nan
        if method == "spearman":
            a, b = rankdata(a), rankdata(b)
        return float(np.corrcoef(a, b)[0, 1])

    upper = [agreement(person, scaled) for person in range(len(human))]
    lower = [agreement(person, np.delete(scaled, person, axis=0)) for person in range(len(human))]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return NoiseCeiling(float(np.nanmean(lower)), float(np.nanmean(upper)))
