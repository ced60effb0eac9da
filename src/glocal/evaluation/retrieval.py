"""Retrieval: which gallery images, or captions, stand nearest to a query; tied ones may come in any order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Shaped

from glocal.data.labels import check_sides
from glocal.errors import CollapseWarning, DataError, DataWarning, ParameterError
from glocal.evaluation.result import Units
from glocal.evaluation.statistics import mean_estimate
from glocal.evaluation.structure.collapse import collapsed
from glocal.results import Score
from glocal.similarity import new_group, tie_tolerance, unit_rows

RANKS = (1, 5, 10)
WithInterval = tuple[float, float | None, float | None]
_BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Retrieval:
    """Retrieval of relevant gallery rows by cosine.

    `recall` and `mean_average_precision` map to (value, low, high), fractions with 95 % intervals over queries (None
    for queries of a single label, or that are all equal);
    `hits` (n, ranks) and `precisions` (n,) hold each query's own values, in the order of the queries kept (`kept`,
    their row numbers, and `labels`), for paired comparisons. `n` queries were scored
    against `n_gallery` rows (the query itself not counted), `n_without` had no relevant row and were left out.
    """

    recall: dict[int, WithInterval]
    mean_average_precision: WithInterval
    n: int
    n_gallery: int
    n_without: int
    hits: Float[np.ndarray, "n ranks"] = field(repr=False)
    precisions: Float[np.ndarray, " n"] = field(repr=False)
    kept: Shaped[np.ndarray, " n"] = field(repr=False)
    labels: Shaped[np.ndarray, " n"] = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Mean average precision, then recall at each rank."""
        named = {"map": self.mean_average_precision, **{f"recall_{k}": value for k, value in self.recall.items()}}
        return tuple(Score("retrieval", name, *value, self.n) for name, value in named.items())

    @property
    def units(self) -> Units:
        """The average precision of each query; queries of a label are alike."""
        return Units(values=self.precisions, clusters=np.unique(self.labels, return_inverse=True)[1])


def retrieval(
    queries: Float[np.ndarray, "n p"],
    query_labels: Shaped[np.ndarray, " n"],
    gallery: Float[np.ndarray, "m p"] | None = None,
    gallery_labels: Shaped[np.ndarray, " m"] | None = None,
    *,
    ranks: tuple[int, ...] = RANKS,
    progress: Callable[[int], None] | None = None,
) -> Retrieval:
    """Recall at some ranks and mean average precision of cosine retrieval; a row is relevant if its label is the same.

    R@K is the share of queries with a relevant row among the K nearest; AP = mean over the relevant rows of the
    precision at their rank, over the whole gallery; mAP its mean over queries. Rows whose cosines differ by no more
    than `tie_tolerance` are tied, and a query earns what it would on average if tied rows came in random order: a
    collapsed gallery scores chance, never more. Blocked and exact, float64.

    The intervals are over queries, wider where the queries of a label are alike; the gallery counts as fixed.

    Parameters
    ----------
    queries, gallery : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars. No gallery: the queries themselves, each left out of its own
        ranking.
    query_labels, gallery_labels : (n,) and (m,) integers or names
        Classes, or for captions the image that they describe.
    ranks : tuple of int
        The K of R@K; those of at least the size of the gallery, which any order would satisfy, are left out.
    progress : function or None
        Called with the number of queries done so far.

    Returns
    -------
    Retrieval

    Raises
    ------
    DataError
        Labels of another number than rows or of two kinds, or no query with a relevant row.

    Warns
    -----
    DataWarning
        Queries without a relevant row are left out.
    CollapseWarning
        The gallery is one point.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> retrieval(Z, np.array([0, 0, 1, 1])).recall[1][0]
    1.0
    """
    alone = gallery is None
    if any(rank < 1 for rank in ranks):
        raise ParameterError(f"ranks are {ranks}; each is at least 1.")
    if alone != (gallery_labels is None):
        raise ParameterError("a gallery and its labels come together; give both or neither.")
    G = queries if gallery is None else gallery
    others = query_labels if gallery_labels is None else gallery_labels
    labels, others = check_sides(queries, query_labels, G, others, ("queries", "the gallery"))
    own, theirs = np.split(np.unique(np.concatenate([labels, others]), return_inverse=True)[1], [len(labels)])
    n_gallery = len(G) - alone
    kept = np.flatnonzero(np.bincount(theirs, minlength=int(own.max()) + 1)[own] > alone)
    if not len(kept):
        raise DataError("no query has a gallery row of the same label; are the two label files of one kind?")
    if len(kept) < len(labels):
        warnings.warn(
            f"{len(labels) - len(kept)} of {len(labels)} queries have no gallery row of the same label; "
            "they are left out.",
            DataWarning,
            stacklevel=2,
        )
    flat = collapsed(G)
    if flat:
        warnings.warn("collapse: the gallery is one point; scores are those of chance.", CollapseWarning, stacklevel=2)
    tolerance = np.inf if flat else tie_tolerance(G.shape[1])
    possible = tuple(rank for rank in ranks if rank < n_gallery)
    hits, precisions = np.empty((len(kept), len(possible))), np.empty(len(kept))
    for part, S in _similarities(queries, G, kept, alone):
        order = np.argsort(-S, axis=1, kind="stable")[:, :n_gallery]
        same = own[kept[part], None] == theirs[order]
        ranked = Ranking.of(np.take_along_axis(S, order, 1), same, tolerance)
        precisions[part] = ranked.average_precision()
        hits[part] = np.stack([ranked.hit(rank) for rank in possible], axis=1) if possible else 0
        if progress is not None:
            progress(part.stop)
    return Retrieval(
        recall={rank: _with_interval(hits[:, i], labels[kept]) for i, rank in enumerate(possible)},
        mean_average_precision=_with_interval(precisions, labels[kept]), n=len(kept), n_gallery=n_gallery,
        n_without=len(labels) - len(kept), hits=hits, precisions=precisions, kept=kept, labels=labels[kept],
    )  # fmt: skip


def _similarities(
    queries: np.ndarray, gallery: np.ndarray, kept: np.ndarray, alone: bool
) -> Iterator[tuple[slice, Float[np.ndarray, "b m"]]]:
    """Yield (some of the queries kept, their cosines to the gallery); alone, -inf to itself: it goes last."""
    Q, G = (unit_rows(np.asarray(rows, dtype=np.float64)) for rows in (queries, gallery))
    step = max(1, _BLOCK_NUMBERS // len(G))
    for start in range(0, len(kept), step):
        part = slice(start, min(start + step, len(kept)))
        rows = kept[part]
        S = Q[rows] @ G.T
        if alone:
            S[np.arange(len(rows)), rows] = -np.inf
        yield part, S


def _with_interval(values: np.ndarray, labels: np.ndarray) -> WithInterval:
    return float(values.mean()), *mean_estimate(values, labels).interval(fraction=True)


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
