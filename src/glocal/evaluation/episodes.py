"""Draws of a few images of each class, and the accuracy over draws and images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.evaluation.intervals import Estimate, Units
from glocal.evaluation.variances import satterthwaite
from glocal.similarity import Numbers, Values

Episodes = Int[np.ndarray, "draws shown"]
"""The rows that give the shots of each draw."""
Credits = Float[np.ndarray, "draws images"]
"""The credit of each image in each draw of shots, NaN where it was not tested."""


def draw_episodes(
    classes: Numbers,
    shots: int,
    draws: int = 5,
    seed: int = 42,
    superclasses: Numbers | None = None,
) -> Episodes:
    """Draw `shots` images of every class, or of one class of every superclass, `draws` times.

    Every class has at least `shots` images. The result holds row numbers, grouped by class, and is
    fully determined by the arguments. All arms that score the same rows share the draws, so that
    their differences are paired. Draw d permutes the rows of each class, in ascending order of the
    classes, with RandomState((seed, d)), whose stream never changes, and takes the first `shots`. A
    draw therefore does not depend on the number of draws, and fewer shots are a part of more shots.
    RandomState((seed, d, 1)) picks among the classes of a superclass.
    """
    _, first, counts = np.unique(classes, return_index=True, return_counts=True)
    kin = []
    if superclasses is not None:
        of_class = superclasses[first]
        kin = [np.flatnonzero(of_class == code) for code in np.unique(of_class)]
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(counts)[:-1])
    episodes = []
    for draw in range(draws):
        rng = np.random.RandomState((seed, draw))
        shots_of = np.stack([rng.permutation(rows)[:shots] for rows in members])
        if kin:
            rng = np.random.RandomState((seed, draw, 1))
            shots_of = shots_of[[rng.choice(numbers) for numbers in kin]]
        episodes.append(shots_of.reshape(-1))
    return np.stack(episodes)


@dataclass(frozen=True, eq=False, kw_only=True)
class EpisodeValues(Units):
    """The credit of each image in each draw, (draws, images); NaN for an image not tested in it.

    `classes` holds the class of each image. Scores are about these classes, whose differences are
    no error. `shot_share` is the share of its images that a class gives to a draw of shots (its
    mean over classes), and `is_one_set` whether the images that give shots are also those that are
    tested.
    """

    classes: Numbers
    shot_share: float
    is_one_set: bool = False

    def estimate(self) -> Estimate:
        """Estimate accuracy, balanced over classes, for other shots and images of the classes.

        The mean is that over draws of the mean over classes of the tested images; an image that was
        not tested in a draw has its own mean there for the variance. With v_d, v_i and v_x the
        components of draws, of images within their class, and of cells, and N = C² / Σ_c 1/n_c
        images,

            a = v_d · shot_share       (the pool of shots)
            b = v_i / N                (the test images)
            Var = a + b + v_d / D + v_x / (D N),    (√a + √b)² for a + b if one set gives both.

        All draws are from one pool, so that more of them do not show how another pool would do:
        their mean is a U-statistic of degree k in the n images of a class, with variance k² ζ₁ / n,
        and ζ₁ ≤ v_d / k. Where an image is both a shot and a test, an odd one hurts twice, and the
        two errors add. The degrees of freedom are Satterthwaite's.

        References
        ----------
        Hoeffding (1948), Ann. Math. Stat. 19:293; Searle, Casella & McCulloch (1992), Variance
        Components, ch. 4.
        """
        mean = float(class_means(self.values, self.classes).mean())
        (v_d, v_i, v_x), freedoms, n = _components(self.values, self.classes)
        draws = len(self.values)
        pool = v_d * self.shot_share
        tests = v_i / n
        both = (pool * tests) ** 0.5 if self.is_one_set else 0.0
        parts = np.array([pool + both + v_d / draws, tests + both + v_x / (draws * n)])
        variance = float(parts.sum())
        freedom = satterthwaite(variance, parts, freedoms)
        return Estimate.from_variance(mean, variance, freedom, np.nan_to_num(self.values))


def _components(
    credits: Credits, classes: Numbers
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 2"], float]:
    """v_d, v_i and v_x of `EpisodeValues`, the freedoms of draws and of images, and N.

    The components are 0 if draws or images cannot vary.
    """
    is_used = ~np.isnan(credits).all(axis=0)
    credits = credits[:, is_used]
    codes, sizes = np.unique(classes[is_used], return_inverse=True, return_counts=True)[1:]
    draws = len(credits)
    n = len(sizes) ** 2 / float(np.sum(1 / sizes))
    freedoms = np.array([draws - 1.0, len(codes) - len(sizes)])
    if not freedoms.all():
        return np.zeros(3), freedoms, n
    by_image = np.nanmean(credits, axis=0)
    table = np.where(np.isnan(credits), by_image, credits)
    by_cell = class_means(table, codes)
    within = by_image - by_cell.mean(axis=0)[codes]
    residual = table - by_cell[:, codes] - within
    v_x = float(np.square(residual).sum()) / freedoms.prod()
    v_i = float(within @ within) / freedoms[1] - v_x / draws
    v_d = by_cell.mean(axis=1).var(ddof=1) - v_x / n
    return np.maximum([v_d, v_i, v_x], 0.0), freedoms, n


def class_means(credits: Credits, classes: Numbers) -> Float[np.ndarray, "draws classes"]:
    """The mean over the tested images of each class in each draw; NaN marks what was not tested.

    A class without any test is left out.
    """
    import pandas as pd

    means = pd.DataFrame(credits.T).groupby(classes).mean().dropna(how="all")
    return means.to_numpy().T


def balanced_values(credits: Values, classes: Numbers, inflation: float = 1.0) -> Values:
    """Values whose mean is that over classes, and whose independent error is within the classes.

    With C classes of n_c images, the variance is Σ_c s_c² / (C² n_c), times `inflation`. A class of
    one image has no error.
    """
    codes, sizes = np.unique(classes, return_inverse=True, return_counts=True)[1:]
    means = np.bincount(codes, credits) / sizes
    n = len(credits)
    # of independent values the error is √(Σ e² / (n (n - 1)))
    within = sizes / np.maximum(sizes - 1, 1) * (1 - 1 / n) * inflation
    weights = n / (len(sizes) * sizes) * within**0.5
    return means.mean() + weights[codes] * (credits - means[codes])
