"""Retrieval: which gallery images, or captions, stand nearest to a query."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Shaped

from glocal.data.labels import check_sides
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.intervals import FRACTION, Units
from glocal.results import Score
from glocal.similarity import finite, new_group, tie_tolerance, unit_rows, zeros_if_collapsed

RANKS = (1, 5, 10)
_BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Retrieval:
    """Retrieval of relevant gallery rows by cosine.

    `map` is the mean average precision of `n` queries with its 95 % interval over queries (None for queries of a single
    label, or that are all equal); `recall` maps each rank to (value, low, high). `units` hold the average precision of
    each query, `hits` what each earns at each rank.
    """

    map: float
    low: float | None
    high: float | None
    recall: dict[int, tuple[float, float | None, float | None]]
    n: int
    units: Units = field(repr=False)
    hits: Float[np.ndarray, "n ranks"] = field(repr=False)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Mean average precision, then recall at each rank."""
        first = Score("retrieval", "map", self.map, self.low, self.high, self.n)
        return first, *(Score("retrieval", f"recall_{k}", *found, self.n) for k, found in self.recall.items())


def retrieval(
    queries: Float[np.ndarray, "n p"],
    query_labels: Shaped[np.ndarray, " n"],
    gallery: Float[np.ndarray, "m p"] | None = None,
    gallery_labels: Shaped[np.ndarray, " m"] | None = None,
) -> Retrieval:
    """Recall at 1, 5 and 10 and mean average precision of cosine retrieval; a row of the same label is relevant.

    R@K is the share of queries with a relevant row among the K nearest, left out where K is at least the size of the
    gallery; AP = mean over the relevant rows of the precision at their rank, over the whole gallery; mAP its mean over
    queries. Rows whose cosines differ by no more than `tie_tolerance` are tied, and a query earns what it would on
    average if tied rows came in random order: a collapsed gallery scores chance, never more, with a CollapseWarning.
    Queries without a relevant row are left out, with a DataWarning. The gallery counts as fixed in the intervals.

    Parameters
    ----------
    queries, gallery : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars. None: the queries are searched, each without itself.
    query_labels, gallery_labels : (n,) and (m,) integers or names
        Classes, or for captions the image that they describe.

    Raises
    ------
    DataError
        Labels of another number than rows or of two kinds, no query with a relevant row, NaN or infinity.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> retrieval(Z, np.array([0, 0, 1, 1])).recall[1][0]
    1.0
    """
    queries = finite(queries, "queries")
    gallery = None if gallery is None else finite(gallery, "gallery rows")
    alone = gallery is None
    if alone != (gallery_labels is None):
        raise ParameterError("`gallery` and `gallery_labels` go together: give both, or neither.")
    G, others = (queries, query_labels) if gallery is None or gallery_labels is None else (gallery, gallery_labels)
    labels, others = check_sides(queries, query_labels, G, others, ("queries", "the gallery"))
    own, theirs = np.split(np.unique(np.concatenate([labels, others]), return_inverse=True)[1], [len(labels)])
    possible = tuple(rank for rank in RANKS if rank < len(G) - alone)
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
    Q, (G,) = unit_rows(queries), map(unit_rows, zeros_if_collapsed(G))
    earned, step = [], max(1, _BLOCK_NUMBERS // len(G))
    for start in range(0, len(kept), step):
        rows = kept[start : start + step]
        S = Q[rows] @ G.T
        if alone:
            S[np.arange(len(rows)), rows] = -np.inf  # it goes last, and is cut off
        order = np.argsort(-S, axis=1, kind="stable")[:, : len(G) - alone]
        relevant = own[rows, None] == theirs[order]
        earned.append(_earned(np.take_along_axis(S, order, 1), relevant, tie_tolerance(G.shape[1]), possible))
    of_query = np.concatenate(earned)  # average precision, then the hit at each rank
    units = [Units(values=values, clusters=own[kept]) for values in of_query.T]
    found = [(float(one.values.mean()), *one.estimate().interval(FRACTION)) for one in units]
    return Retrieval(
        map=found[0][0], low=found[0][1], high=found[0][2], recall=dict(zip(possible, found[1:], strict=True)),
        n=len(kept), units=units[0], hits=of_query[:, 1:],
    )  # fmt: skip


def _earned(
    S: Float[np.ndarray, "b m"], relevant: Bool[np.ndarray, "b m"], tolerance: float, ranks: tuple[int, ...]
) -> Float[np.ndarray, "b e"]:
    """Average precision and hits of each query, similarities in falling order, tied rows in random order.

        AP = 1/R Σ over ranks t of P(relevant at t) · E[relevant up to t | relevant at t] / t.

    In a group of g tied rows, r of them relevant, after `before` relevant ones, position j (from 0) is relevant with
    probability r/g, and then j (r - 1)/(g - 1) of those ahead of it in the group are expected to be relevant. With s
    places of a rank left to the group, none of them is relevant with probability C(g - r, s)/C(g, s).
    McSherry & Najork (2008), ECIR, Computing information retrieval performance measures efficiently in the presence of
    tied scores.
    """
    from scipy.special import comb

    starts = np.flatnonzero(new_group(S, tolerance))  # of the groups of all queries, one after the other
    size = np.diff(starts, append=S.size)
    counted = np.cumsum(relevant, axis=1).ravel()
    right = np.add.reduceat(relevant.ravel(), starts, dtype=np.int64)
    before = counted[starts] - relevant.ravel()[starts]
    group = np.repeat(np.arange(len(starts)), size)
    ahead = (np.arange(S.size) - starts[group]) * (right - 1)[group] / np.maximum(size - 1, 1)[group]
    terms = (right / size)[group] * (before[group] + 1 + ahead) / (np.arange(S.size) % S.shape[1] + 1)
    earned = [terms.reshape(S.shape).sum(axis=1) / relevant.sum(axis=1)]
    for rank in ranks:
        last = np.arange(len(S)) * S.shape[1] + rank - 1
        of = group[last]
        places = last + 1 - starts[of]
        earned.append(1 - (before[of] == 0) * comb(size[of] - right[of], places) / comb(size[of], places))
    return np.stack(earned, axis=1)
