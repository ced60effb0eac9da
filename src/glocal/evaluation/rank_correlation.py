"""Spearman and Pearson correlations over pairs of objects, for many weights of the objects at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from glocal.similarity import new_group

_SMALLEST = 1e-20


@dataclass(frozen=True, eq=False)
class Sorted:
    """Pairs in ascending order of one variable: their two objects, and where each group of ties starts."""

    first: Int[np.ndarray, " k"]
    second: Int[np.ndarray, " k"]
    starts: Int[np.ndarray, " g"]

    def weights(self, counts: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r k"]:
        """How often each pair occurs if object i occurs counts_i times: the product."""
        product: np.ndarray = counts[:, self.first] * counts[:, self.second]
        return product

    def midranks(self, w: Float[np.ndarray, "r k"]) -> Float[np.ndarray, "r k"]:
        """The mean rank of each pair, up to a constant, when every pair is repeated w times."""
        if len(self.starts) == w.shape[1]:
            return np.cumsum(w, axis=1) - w / 2
        group = np.add.reduceat(w, self.starts, axis=1)
        lengths = np.diff(self.starts, append=w.shape[1])
        return np.repeat(np.cumsum(group, axis=1) - group / 2, lengths, axis=1)


@dataclass(frozen=True, eq=False)
class PairTable:
    """Two variables over the pairs of n objects, sorted once so that any weights of the objects are quick.

    `moments` holds 1, x, y, x², y², xy of the two variables brought to mean 0 and standard deviation 1, in ascending
    order of x; `place` says where each of these pairs stands in ascending order of y.
    """

    moments: Float[np.ndarray, "k 6"]
    by_x: Sorted
    by_y: Sorted
    place: Int[np.ndarray, " k"]

    @classmethod
    def of(cls, x: Float[np.ndarray, " pairs"], y: Float[np.ndarray, " pairs"], n: int) -> PairTable:
        """Build from the upper triangles of two RDMs.

        Pairs where y is NaN are left out. Ties are equal values: join beforehand what rounding set apart.
        """
        known = ~np.isnan(y)
        first, second = (index[known] for index in np.triu_indices(n, 1))
        x, y = x[known], y[known]
        x_order, y_order = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
        first, second = first.astype(np.int32), second.astype(np.int32)
        place = np.empty(len(y), dtype=np.int32)
        place[y_order] = np.arange(len(y), dtype=np.int32)
        x, y = x[x_order], y[y_order]
        starts = [np.flatnonzero(new_group(ordered, 0.0)) for ordered in (x, y)]
        place = place[x_order]
        x, y = _standardized(x), _standardized(y)[place]
        return cls(
            np.stack([np.ones(len(x)), x, y, x * x, y * y, x * y], axis=1),
            Sorted(first[x_order], second[x_order], starts[0]),
            Sorted(first[y_order], second[y_order], starts[1]),
            place,
        )

    @property
    def size(self) -> int:
        """The number of pairs."""
        return len(self.moments)

    def correlations(self, counts: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "2 r"]:
        """Spearman and Pearson correlation for each row of object counts; NaN where one variable is constant."""
        w = self.by_x.weights(counts)
        total = w.sum(axis=1, keepdims=True)
        # the weighted mean of midranks is half the total, whatever the ties
        rank_x = self.by_x.midranks(w) - total / 2
        rank_y = self.by_y.midranks(self.by_y.weights(counts))[:, self.place] - total / 2
        weighted_x = w * rank_x
        spearman = _ratio(
            _dot(weighted_x, rank_y), _dot(weighted_x, rank_x), _dot(w * rank_y, rank_y), total[:, 0] ** 6
        )
        total, x, y, xx, yy, xy = (w @ self.moments).T
        total = np.maximum(total, 1.0)  # a replicate of one object alone has no pair
        pearson = _ratio(xy - x * y / total, xx - x * x / total, yy - y * y / total, total**2)
        return np.stack([spearman, pearson])


def _dot(a: Float[np.ndarray, "r k"], b: Float[np.ndarray, "r k"]) -> Float[np.ndarray, " r"]:
    product: np.ndarray = np.einsum("rk,rk->r", a, b)
    return product


def _ratio(xy: np.ndarray, xx: np.ndarray, yy: np.ndarray, scale: np.ndarray) -> Float[np.ndarray, " r"]:
    """The ratio xy / √(xx yy); NaN where one of the two is nothing but rounding beside the scale of their product."""
    varies = xx * yy > _SMALLEST * scale
    correlation: np.ndarray = np.where(varies, xy / np.sqrt(np.where(varies, xx * yy, 1.0)), np.nan)
    return correlation


def _standardized(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    values = values - values.mean()
    scaled: np.ndarray = values / (values.std() or 1.0)
    return scaled
