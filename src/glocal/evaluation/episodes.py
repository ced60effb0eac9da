"""Draws of a few images of each class, and the accuracy over draws and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
    _, first_members, class_sizes = np.unique(classes, return_index=True, return_counts=True)
    order = np.argsort(classes, kind="stable")
    class_ends = np.cumsum(class_sizes)
    members = np.split(order, class_ends[:-1])
    families: list[np.ndarray] = []
    if superclasses is not None:
        families = _families(superclasses[first_members])
    episodes = []
    for draw in range(draws):
        rng = np.random.RandomState((seed, draw))
        shots_by_class = np.stack([rng.permutation(rows)[:shots] for rows in members])
        if families:
            class_rng = np.random.RandomState((seed, draw, 1))
            drawn_classes = [class_rng.choice(family) for family in families]
            shots_by_class = shots_by_class[drawn_classes]
        episodes.append(shots_by_class.reshape(-1))
    return np.stack(episodes)


def _families(superclass_of_class: Numbers) -> list[np.ndarray]:
    """The classes of each superclass."""
    return [
        np.flatnonzero(superclass_of_class == superclass)
        for superclass in np.unique(superclass_of_class)
    ]


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

        The mean is over draws, and within a draw over classes of tested images. For the variance,
        an image that was not tested in a draw has its own mean there. With v_d, v_i and v_x the
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
        v_d, v_i, v_x, freedoms, n_images = _components(self.values, self.classes)
        n_draws = len(self.values)
        pool_variance = v_d * self.shot_share
        test_variance = v_i / n_images
        shared_variance = 0.0
        if self.is_one_set:
            shared_variance = (pool_variance * test_variance) ** 0.5
        parts = np.array(
            [
                pool_variance + shared_variance + v_d / n_draws,
                test_variance + shared_variance + v_x / (n_draws * n_images),
            ]
        )
        variance = float(parts.sum())
        freedom = satterthwaite(variance, parts, freedoms)
        return Estimate.from_variance(mean, variance, freedom, np.nan_to_num(self.values))


class _Components(NamedTuple):
    """The variance components of `EpisodeValues`, and what they were estimated from.

    `freedoms` are the degrees of freedom of draws and of images, and `n_images` is N.
    """

    v_d: float
    v_i: float
    v_x: float
    freedoms: Float[np.ndarray, " 2"]
    n_images: float


def _components(credits: Credits, classes: Numbers) -> _Components:
    """Estimate the variance components, which are 0 if draws or images cannot vary."""
    is_tested = ~np.isnan(credits).all(axis=0)
    credits = credits[:, is_tested]
    _, codes, class_sizes = np.unique(
        classes[is_tested],
        return_inverse=True,
        return_counts=True,
    )
    n_draws = len(credits)
    n_classes = len(class_sizes)
    n_images = n_classes**2 / float(np.sum(1 / class_sizes))
    freedoms = np.array([n_draws - 1.0, len(codes) - n_classes])
    if not freedoms.all():
        return _Components(0.0, 0.0, 0.0, freedoms, n_images)
    image_means = np.nanmean(credits, axis=0)
    table = np.where(np.isnan(credits), image_means, credits)
    cell_means = class_means(table, codes)
    image_effects = image_means - cell_means.mean(axis=0)[codes]
    residuals = table - cell_means[:, codes] - image_effects
    v_x = float(np.square(residuals).sum()) / freedoms.prod()
    v_i = float(image_effects @ image_effects) / freedoms[1] - v_x / n_draws
    v_d = cell_means.mean(axis=1).var(ddof=1) - v_x / n_images
    return _Components(
        v_d=np.maximum(v_d, 0.0),
        v_i=np.maximum(v_i, 0.0),
        v_x=np.maximum(v_x, 0.0),
        freedoms=freedoms,
        n_images=n_images,
    )


def class_means(credits: Credits, classes: Numbers) -> Float[np.ndarray, "draws classes"]:
    """The mean over the tested images of each class in each draw; NaN marks what was not tested.

    A class without any test is left out.
    """
    import pandas as pd

    credits_by_image = pd.DataFrame(credits.T)
    means = credits_by_image.groupby(classes).mean()
    return means.dropna(how="all").to_numpy().T


def balanced_values(credits: Values, classes: Numbers, inflation: float = 1.0) -> Values:
    """Values whose mean is the mean over classes, and whose independent error is within classes.

    With C classes of n_c images, the variance is Σ_c s_c² / (C² n_c), times `inflation`. A class of
    one image has no error.
    """
    _, codes, class_sizes = np.unique(classes, return_inverse=True, return_counts=True)
    n_classes = len(class_sizes)
    n_images = len(credits)
    class_credits = np.bincount(codes, credits)
    means = class_credits / class_sizes
    # of independent values the error is √(Σ e² / (n (n - 1)))
    freedoms = np.maximum(class_sizes - 1, 1)
    within = class_sizes / freedoms * (1 - 1 / n_images) * inflation
    class_shares = n_images / (n_classes * class_sizes)
    weights = class_shares * within**0.5
    deviations = credits - means[codes]
    return means.mean() + weights[codes] * deviations
