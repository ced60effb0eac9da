"""Retrieval: find the gallery images, or captions, that are nearest to a query."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import Bounded, ItemValues, pseudo_values
from glocal.evaluation.sides import Sides, labelled_sides, leave_out
from glocal.scores import Score
from glocal.similarity import (
    Embedding,
    Labels,
    Numbers,
    Rows,
    cosine_blocks,
    tie_tolerance,
    zeros_if_collapsed,
)

Scores = Float[np.ndarray, "queries e"]
"""Average precision of each query, its hit at each rank, and the precision of its first ten."""
ScoresWithout = Float[np.ndarray, "queries groups _"]
"""The scores of each query without each group of gallery rows; NaN without a relevant row."""
Relevant = Bool[np.ndarray, "b m"]
"""Which candidates of each query of a block have its label."""
Means = Float[np.ndarray, "_ _"]
"""The mean scores without each group; the last may be of more ranks than there are candidates."""
RANKS = (1, 5, 10)
TEN = 10
"""The rank of the precision that a page of search results shows."""
_GALLERY = "gallery rows"
_QUERIES = "queries"
N_GROUPS = 20
"""Groups of images that the jackknife leaves out."""


class _Details(TypedDict, total=False):
    """The values of a result that are in no row of scores."""

    recall: dict[int, Bounded]
    precision: Float[np.ndarray, " queries"]
    hits: Float[np.ndarray, "queries ranks"]
    first_ten: Result


def retrieval(
    queries: Embedding,
    query_labels: Labels,
    gallery: Rows | None = None,
    gallery_labels: Shaped[np.ndarray, " m"] | None = None,
) -> Result:
    """Compute mean average precision, recall at 1, 5 and 10, and precision at 10, by cosine.

    A gallery row is relevant to a query with the same label. R@K is the share of queries with a
    relevant row among the K nearest, and P@10 the share of relevant rows among the ten nearest. One
    is left out if its rank is at least the number of candidates. The average precision (AP) of a
    query is the mean, over its relevant rows in the whole gallery, of the precision at their rank;
    mAP is its mean over queries. Rows whose cosines differ by no more than `tie_tolerance` are
    tied, and a tie counts against the query: relevant rows come last. A collapsed gallery therefore
    scores below chance, with a CollapseWarning. Queries without a relevant row are left out, with a
    DataWarning.

    Intervals are for other images of these classes: a jackknife leaves out groups of images, both
    as queries and as candidates, or with a gallery of its own groups of queries and groups of
    gallery rows in turn. If each query has one relevant row, the queries of a label are left out
    together, and the gallery counts as fixed.

    Parameters
    ----------
    queries, gallery : (n, p) and (m, p) real arrays
        Embeddings, standardized by the same two scalars. If `gallery` is None, each query is
        searched among the other queries.
    query_labels, gallery_labels : (n,) and (m,) integers or names
        Classes, or for captions the image that they describe.

    Returns
    -------
    Result
        ``map``, the mean average precision of ``n`` queries, with ``low`` and ``high``, its 95 %
        interval (None if nothing varies); ``recall``, which maps each rank to (value, low, high);
        ``precision_10``, and ``first_ten``, its own `Result`, by which two arms are compared;
        ``precision``, the average precision of each query, and ``hits``, its credit at each rank.

    Raises
    ------
    DataError
        If there are more or fewer labels than rows, labels are of two kinds, no query has a
        relevant row, or a value is NaN or infinite.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> retrieval(Z, np.array([0, 0, 1, 1])).recall[1][0]
    1.0
    """
    if gallery is None:
        parts = (_QUERIES, _QUERIES)
        sides = labelled_sides(queries, query_labels, parts=parts)
    else:
        parts = (_GALLERY, _QUERIES)
        sides = labelled_sides(gallery, gallery_labels, queries, query_labels, parts=parts)
    codes = sides.test.targets
    n_relevant = _numbers_of_relevant_rows(sides)
    is_scored = n_relevant > 0
    n_lacking = np.count_nonzero(~is_scored)
    leave_out(int(n_lacking), len(is_scored), "queries have no gallery row of the same label")
    groups = _groups(sides.train.targets)
    n_groups = int(groups.max()) + 1
    has_one_relevant_row = n_relevant.max() == 1
    if has_one_relevant_row:
        n_groups = 0
    scores, scores_without = _search(sides, groups, n_groups)
    scores = scores[is_scored]
    scores_without = scores_without[is_scored]
    codes = codes[is_scored]
    if has_one_relevant_row:
        left_out = [_means_without(scores, codes)]
    elif sides.is_one_set:
        _leave_out_queries(scores_without, groups[is_scored])
        left_out = [_mean_of_known(scores_without)]
    else:
        without_gallery_rows = _mean_of_known(scores_without)
        without_queries = _means_without(scores, _groups(codes))
        left_out = [without_gallery_rows, without_queries]
    return _result(scores, left_out)


def _leave_out_queries(scores_without: ScoresWithout, group_of_query: Numbers) -> None:
    """Mark the scores of each query without its own group as unknown, in place."""
    query = np.arange(len(group_of_query))
    scores_without[query, group_of_query] = np.nan


def _numbers_of_relevant_rows(sides: Sides) -> Numbers:
    """The number of gallery rows with the label of each query, other than the query itself."""
    class_sizes = np.bincount(sides.train.targets)
    codes = sides.test.targets
    is_unknown = codes < 0
    n_relevant = class_sizes[codes] - sides.is_one_set
    n_relevant[is_unknown] = 0
    return n_relevant


def _search(sides: Sides, groups: Numbers, n_groups: int) -> tuple[Scores, ScoresWithout]:
    """The scores of each query, and those without each group of gallery rows."""
    gallery, queries = sides[:2]
    n_candidates = len(gallery.X) - sides.is_one_set
    tolerance = tie_tolerance(gallery.X.shape[1])
    (gallery_rows,) = zeros_if_collapsed(gallery.X)
    compared = [gallery_rows] if sides.is_one_set else [queries.X, gallery_rows]
    scores = []
    scores_without = []
    for rows, S in cosine_blocks(*compared):
        codes = queries.targets[rows]
        is_match = codes[:, None] == gallery.targets
        candidates = _nearest_first(S, is_match, tolerance)[:, :n_candidates]
        is_relevant = np.take_along_axis(is_match, candidates, axis=1)
        scores.append(_query_scores(is_relevant))
        block_without = _scores_without(is_relevant, groups[candidates], n_groups)
        scores_without.append(block_without)
    return np.concatenate(scores), np.concatenate(scores_without)


def _nearest_first(
    S: Float[np.ndarray, "b m"],
    is_match: Relevant,
    tolerance: float,
) -> Int[np.ndarray, "b m"]:
    """The gallery rows of each query by descending similarity; relevant ones last in a tie."""
    distances = tolerance * is_match - S
    return np.argsort(distances, axis=1, kind="stable")


def _groups(codes: Numbers) -> Numbers:
    """Deal the images of each class in turn to the groups of the jackknife."""
    n = len(codes)
    n_groups = min(N_GROUPS, n)
    by_class = np.argsort(codes, kind="stable")
    groups = np.empty(n, dtype=int)
    groups[by_class] = np.arange(n) % n_groups
    return groups


def _means_without(scores: Scores, groups: Numbers) -> Means:
    """The mean scores of the queries outside each group."""
    import pandas as pd

    table = pd.DataFrame(scores)
    by_group = table.groupby(groups)
    group_sums = by_group.sum()
    remaining_sums = scores.sum(axis=0) - group_sums
    remaining_queries = len(scores) - by_group.size()
    means = remaining_sums.div(remaining_queries, axis=0)
    return means.to_numpy()


def _mean_of_known(scores: ScoresWithout) -> Means:
    """The mean over the queries that are neither left out nor without a relevant row."""
    sums = np.nansum(scores, axis=0)
    is_known = ~np.isnan(scores)
    n_known = is_known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return sums / n_known


class _RelevantRows(NamedTuple):
    """The query and the rank of relevant rows, query by query, with ascending ranks in each."""

    query: Numbers
    rank: Numbers

    def scores(self) -> tuple[Numbers, Scores]:
        """The queries that have a relevant row, and their scores."""
        queries, first, n_relevant = np.unique(self.query, return_index=True, return_counts=True)
        n_rows = len(self.rank)
        n_before = np.repeat(first, n_relevant)
        n_hits = np.arange(n_rows) - n_before + 1
        precision_sums = np.bincount(self.query, n_hits / self.rank)
        n_in_ten = np.bincount(self.query, self.rank <= TEN)
        first_ranks = self.rank[first]
        columns = [precision_sums[queries] / n_relevant]
        for rank in RANKS:
            is_hit = first_ranks <= rank
            columns.append(is_hit)
        columns.append(n_in_ten[queries] / TEN)
        return queries, np.stack(columns, axis=1)


def _scores_without(
    is_relevant: Relevant,
    groups: Int[np.ndarray, "b m"],
    n_groups: int,
) -> ScoresWithout:
    """The scores of each query without each group of candidates; NaN without a relevant row.

    Candidates are in descending order of similarity.
    """
    query, place = np.nonzero(is_relevant)  # of each relevant row, query by query
    group_of_row = groups[query, place]
    n_queries = len(is_relevant)
    n_scores = len(RANKS) + 2
    scores = np.full((n_queries, n_groups, n_scores), np.nan)
    for group in range(n_groups):
        # the table of all candidates has no name: it would stay in memory beside the next one
        n_removed = np.cumsum(groups == group, axis=1, dtype=np.int32)[query, place]
        rank = place + 1 - n_removed
        is_kept = group_of_row != group
        rows = _RelevantRows(query[is_kept], rank[is_kept])
        queries, scores_of_queries = rows.scores()
        scores[queries, group] = scores_of_queries
    return scores


def _result(query_scores: Scores, left_out: list[Means]) -> Result:
    """Average the scores of `_query_scores`, with the jackknife of the means without each group."""
    n = len(query_scores)
    units = _units(query_scores, left_out)
    precision, *others = [unit.bounded() for unit in units]
    recall = dict(zip(RANKS, others, strict=False))  # the last ranks may be left out
    n_ranks = len(recall)
    scores = [Score("retrieval", "map", *precision, n=n)]
    for rank, bounded in recall.items():
        score = Score("retrieval", f"recall_{rank}", *bounded, n=n)
        scores.append(score)
    details = _Details(
        recall=recall,
        precision=query_scores[:, 0],
        hits=query_scores[:, 1 : 1 + n_ranks],
    )
    if len(others) > n_ranks:
        precision_of_ten = Score("retrieval", f"precision_{TEN}", *others[n_ranks], n=n)
        scores.append(precision_of_ten)
        details["first_ten"] = Result.from_scores([precision_of_ten], units[-1])
    return Result.from_scores(scores, units[0], **details)


def _units(query_scores: Scores, left_out: list[Means]) -> list[ItemValues]:
    """The pseudo-values of the mean of each score."""
    units = []
    means = query_scores.mean(axis=0)
    for column, mean in enumerate(means.tolist()):
        means_without = [part[:, column] for part in left_out]
        values = pseudo_values(mean, *means_without)
        units.append(ItemValues(values=values))
    return units


def _query_scores(is_relevant: Relevant) -> Scores:
    """The scores of each query, whose candidates are in descending order of similarity.

    Ranks that every candidate reaches are left out, and the precision at such a rank.
    """
    n_candidates = is_relevant.shape[1]
    ranks = np.arange(1, n_candidates + 1)
    n_hits = np.cumsum(is_relevant, axis=1)
    precision = n_hits / ranks
    precision_sums = np.sum(precision * is_relevant, axis=1)
    n_relevant = np.maximum(n_hits[:, -1], 1)
    scores = [precision_sums / n_relevant]
    for rank in RANKS:
        if rank < n_candidates:
            is_hit = n_hits[:, rank - 1] > 0
            scores.append(is_hit)
    if n_candidates > TEN:
        precision_of_ten = precision[:, TEN - 1]
        scores.append(precision_of_ten)
    table = np.stack(scores, axis=1)
    return table.astype(float)
