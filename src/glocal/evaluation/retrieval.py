"""Retrieval: find the gallery images, or captions, that are nearest to a query."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from glocal.evaluation.comparison import Result
from glocal.evaluation.intervals import ItemValues, pseudo_values
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
_PARTS = ("gallery rows", "queries")
N_GROUPS = 20
"""Groups of images that the jackknife leaves out."""


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
        sides = labelled_sides(queries, query_labels, parts=_PARTS[1:] * 2)
    else:
        sides = labelled_sides(gallery, gallery_labels, queries, query_labels, parts=_PARTS)
    of_class = np.bincount(sides.train.targets)
    codes = sides.test.targets
    n_relevant = np.where(codes < 0, 0, of_class[codes] - sides.is_one_set)
    is_scored = n_relevant > 0
    n_lacking = int(np.count_nonzero(~is_scored))
    leave_out(n_lacking, len(is_scored), "queries have no gallery row of the same label")
    groups = _groups(sides.train.targets)
    has_one_relevant_row = n_relevant.max() == 1
    n_groups = 0 if has_one_relevant_row else int(groups.max()) + 1
    scores, scores_without = (part[is_scored] for part in _search(sides, groups, n_groups))
    codes = codes[is_scored]
    if has_one_relevant_row:
        left_out = [_means_without(scores, codes)]
    elif sides.is_one_set:
        scores_without[np.arange(len(codes)), groups[is_scored]] = np.nan  # as queries too
        left_out = [_mean_of_known(scores_without)]
    else:
        left_out = [_mean_of_known(scores_without), _means_without(scores, _groups(codes))]
    return _result(scores, left_out)


def _search(sides: Sides, groups: Numbers, n_groups: int) -> tuple[Scores, ScoresWithout]:
    """The scores of each query, and those without each group of gallery rows."""
    gallery, queries = sides[:2]
    n_candidates = len(gallery.X) - sides.is_one_set
    tolerance = tie_tolerance(gallery.X.shape[1])
    (rows_of_gallery,) = zeros_if_collapsed(gallery.X)
    compared = [rows_of_gallery] if sides.is_one_set else [queries.X, rows_of_gallery]
    scores = []
    scores_without = []
    for rows, S in cosine_blocks(*compared):
        is_match = queries.targets[rows, None] == gallery.targets
        # relevant rows come last among tied ones
        order = np.argsort(tolerance * is_match - S, axis=1, kind="stable")[:, :n_candidates]
        is_relevant = np.take_along_axis(is_match, order, axis=1)
        scores.append(_query_scores(is_relevant))
        scores_without.append(_scores_without(is_relevant, groups[order], n_groups))
    return np.concatenate(scores), np.concatenate(scores_without)


def _groups(codes: Numbers) -> Numbers:
    """Deal the images of each class in turn to the groups of the jackknife."""
    groups = np.empty(len(codes), dtype=int)
    groups[np.argsort(codes, kind="stable")] = np.arange(len(codes)) % min(N_GROUPS, len(codes))
    return groups


def _means_without(scores: Scores, groups: Numbers) -> Means:
    """The mean scores of the queries outside each group."""
    import pandas as pd

    by_group = pd.DataFrame(scores).groupby(groups)
    sums = scores.sum(axis=0) - by_group.sum()
    return sums.div(len(scores) - by_group.size(), axis=0).to_numpy()


def _mean_of_known(scores: ScoresWithout) -> Means:
    """The mean over the queries that are neither left out nor without a relevant row."""
    with np.errstate(invalid="ignore"):
        return np.nansum(scores, axis=0) / (~np.isnan(scores)).sum(axis=0)


def _scores_without(is_relevant: Relevant, groups: Int[np.ndarray, "b m"], n: int) -> ScoresWithout:
    """The scores of each query without each of n groups of candidates; NaN without a relevant row.

    Candidates are in descending order of similarity.
    """
    query, place = np.nonzero(is_relevant)  # of each relevant row, query by query
    group_of_row = groups[query, place]
    scores = np.full((len(is_relevant), n, 2 + len(RANKS)), np.nan)
    for group in range(n):
        n_removed = np.cumsum(groups == group, axis=1, dtype=np.int32)[query, place]
        is_kept = group_of_row != group
        rank = (place + 1 - n_removed)[is_kept]  # ascending in each query
        query_of_row = query[is_kept]
        queries, first, n_relevant = np.unique(query_of_row, return_index=True, return_counts=True)
        n_found = np.arange(len(rank)) - np.repeat(first, n_relevant) + 1
        sums = np.bincount(query_of_row, n_found / rank)
        n_in_ten = np.bincount(query_of_row, rank <= TEN)
        scores[queries, group, 0] = sums[queries] / n_relevant
        scores[queries, group, 1:-1] = rank[first, None] <= np.array(RANKS)
        scores[queries, group, -1] = n_in_ten[queries] / TEN
    return scores


def _result(query_scores: Scores, left_out: list[Means]) -> Result:
    """Average the scores of `_query_scores`, with the jackknife of the means without each group."""
    units = [
        ItemValues(values=pseudo_values(mean, *(part[:, column] for part in left_out)))
        for column, mean in enumerate(query_scores.mean(axis=0).tolist())
    ]
    precision, *others = [unit.bounded() for unit in units]
    recall = dict(zip(RANKS, others, strict=False))  # the last ranks may be left out
    score = partial(Score, "retrieval", n=len(query_scores))
    scores = [score("map", *precision)]
    scores += [score(f"recall_{rank}", *bounded) for rank, bounded in recall.items()]
    values: dict[str, Any] = {}
    if len(others) > len(RANKS):
        scores.append(score(f"precision_{TEN}", *others[-1]))
        values["first_ten"] = Result.from_scores(scores[-1:], units[-1])
    return Result.from_scores(
        scores,
        units[0],
        recall=recall,
        precision=query_scores[:, 0],
        hits=query_scores[:, 1 : 1 + len(recall)],
        **values,
    )


def _query_scores(is_relevant: Relevant) -> Scores:
    """The scores of each query, whose candidates are in descending order of similarity.

    Ranks that every candidate reaches are left out, and the precision at such a rank.
    """
    n_candidates = is_relevant.shape[1]
    n_found = np.cumsum(is_relevant, axis=1)
    precision = n_found / np.arange(1, n_candidates + 1)
    n_relevant = np.maximum(n_found[:, -1], 1)
    scores = [(precision * is_relevant).sum(axis=1) / n_relevant]
    scores += [n_found[:, rank - 1] > 0 for rank in RANKS if rank < n_candidates]
    if n_candidates > TEN:
        scores.append(precision[:, TEN - 1])
    return np.stack(scores, axis=1).astype(float)
