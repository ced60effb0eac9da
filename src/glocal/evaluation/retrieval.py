"""Retrieval: which gallery images, or captions, stand nearest to a query."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Shaped

from glocal.data.labels import check_labels
from glocal.errors import CollapseWarning, DataError, DataWarning, ParameterError
from glocal.evaluation.ranking import Ranking
from glocal.evaluation.result import Units
from glocal.evaluation.statistics import mean_estimate
from glocal.evaluation.structure.collapse import collapsed
from glocal.scores import Score
from glocal.similarity import tie_tolerance, unit_rows

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
    labels, own, theirs = _codes(queries, query_labels, G, gallery_labels)
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


def _codes(
    queries: np.ndarray, query_labels: np.ndarray, gallery: np.ndarray, gallery_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The checked labels of the queries, and the labels of both sides as numbers."""
    labels = check_labels(query_labels, len(queries), "query labels")
    others = labels if gallery_labels is None else check_labels(gallery_labels, len(gallery), "gallery labels")
    if labels.dtype.kind != others.dtype.kind:
        raise DataError("query labels and gallery labels are integers on one side and names on the other; use one.")
    if queries.shape[1] != gallery.shape[1]:
        raise DataError(
            f"queries have {queries.shape[1]} columns and the gallery {gallery.shape[1]}; both must come from one "
            "space."
        )
    _, codes = np.unique(np.concatenate([labels, others]), return_inverse=True)
    return labels, codes[: len(labels)], codes[len(labels) :]


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
