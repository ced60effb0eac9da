"""How far classes, or superclasses, stand apart by cosine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from glocal.errors import DataError
from glocal.similarity import unit_rows


class Separation(NamedTuple):
    """Mean cosine of pairs of one class and of pairs of two, and the mean silhouette (-1 to 1) of cosine distance."""

    within: float
    between: float
    silhouette: float

    @property
    def gap(self) -> float:
        """How much nearer, in cosine, images of one class are than images of two."""
        return self.within - self.between


def separation(Z: Float[np.ndarray, "n p"], labels: Shaped[np.ndarray, " n"]) -> Separation:
    """Separation of classes, in one pass: with unit rows the mean cosine to a class is a product with its sum.

    Silhouette of image i: (b - a) / max(a, b) with a its mean cosine distance to the others of its class and b the
    least of its mean distances to another class; 0 for the only member of a class (Rousseeuw 1987).
    """
    rows = unit_rows(np.asarray(Z, dtype=np.float64))
    classes, own = np.unique(labels, return_inverse=True)
    counts = np.bincount(own)
    if len(classes) < 2 or counts.max() < 2:
        raise DataError(
            f"labels put {len(labels)} images into {len(classes)} classes; separation needs two classes and two images "
            "in one of them."
        )
    sums = np.zeros((len(classes), rows.shape[1]))
    np.add.at(sums, own, rows)
    to_class = rows @ sums.T
    image = np.arange(len(rows))
    squares = np.square(rows).sum(axis=1)
    inside = to_class[image, own] - squares
    n_inside = counts[own] - 1
    within = inside.sum() / n_inside.sum()
    between = (to_class.sum() - to_class[image, own].sum()) / (len(rows) ** 2 - np.square(counts).sum())
    a = 1 - inside / np.maximum(n_inside, 1)
    distances = 1 - to_class / counts
    distances[image, own] = np.inf
    b = distances.min(axis=1)
    larger = np.maximum(a, b)
    silhouette = np.where((n_inside > 0) & (larger > 0), (b - a) / np.where(larger > 0, larger, 1), 0)
    return Separation(float(within), float(between), float(silhouette.mean()))
