"""What a ranking earns when tied rows may come in any order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from glocal.similarity import new_group


@dataclass(frozen=True, eq=False)
class Ranking:
    """Gallery rows of each query from the nearest on: relevant or not, and the group of ties each stands in.

    `first` is the rank (from 0) at which the group begins, `size` its number of rows, `right` that of relevant rows in
    it, `before` that of relevant rows ahead of it.

    References
    ----------
    McSherry & Najork (2008), ECIR, Computing information retrieval performance measures efficiently in the presence of
    tied scores.
    """

    relevant: Bool[np.ndarray, "b m"]
    first: Shaped[np.ndarray, "b m"]
    size: Shaped[np.ndarray, "b m"]
    right: Shaped[np.ndarray, "b m"]
    before: Shaped[np.ndarray, "b m"]

    @classmethod
    def of(cls, S: Float[np.ndarray, "b m"], relevant: Bool[np.ndarray, "b m"], tolerance: float) -> Ranking:
        """From similarities in falling order: neighbours in it that differ by at most `tolerance` are tied."""
        at = np.broadcast_to(np.arange(S.shape[1]), S.shape)
        new = new_group(S, tolerance)
        last_of = np.ones(S.shape, dtype=bool)
        last_of[:, :-1] = new[:, 1:]
        first = np.maximum.accumulate(np.where(new, at, 0), axis=1)
        end = np.where(last_of, at, S.shape[1])
        last = np.minimum.accumulate(end[:, ::-1], axis=1)[:, ::-1]
        counted = np.cumsum(relevant, axis=1)
        before = np.take_along_axis(counted - relevant, first, 1)
        return cls(relevant, first, last - first + 1, np.take_along_axis(counted, last, 1) - before, before)

    def average_precision(self) -> Float[np.ndarray, " b"]:
        """AP = 1/R Σ over ranks t of P(relevant at t) · E[relevant up to t | relevant at t] / t, ties in random order.

        In a group of g rows, r of them relevant, after `before` relevant ones, position j is relevant with probability
        r/g, and then (j - 1)(r - 1)/(g - 1) of those ahead of it in the group are expected to be relevant.
        """
        t = np.arange(1, self.relevant.shape[1] + 1)
        ahead = (t - 1 - self.first) * (self.right - 1) / np.maximum(self.size - 1, 1)
        terms = self.right / self.size * (self.before + 1 + ahead) / t
        return terms.sum(axis=1) / self.relevant.sum(axis=1)

    def hit(self, rank: int) -> Float[np.ndarray, " b"]:
        """P(a relevant row is among the first `rank`): 1 - C(g - r, s)/C(g, s) for s places left to a group of ties."""
        first, size, right, before = (a[:, rank - 1] for a in (self.first, self.size, self.right, self.before))
        miss = (before == 0).astype(np.float64)
        for i in range(rank):
            left = i < rank - first
            miss *= np.where(left, np.maximum(size - right - i, 0) / np.maximum(size - i, 1), 1)
        return 1 - miss
