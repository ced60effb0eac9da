"""Retrieval: recall, average precision, ties and intervals."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors

from glocal import retrieval
from glocal.errors import CollapseWarning, DataError, DataWarning
from glocal.similarity import unit_rows

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 5, size=60)
CENTRES = RNG.normal(size=(5, 8))
Q = CENTRES[LABELS] + 1.5 * RNG.normal(size=(60, 8))
G_LABELS = RNG.integers(0, 5, size=45)
G = CENTRES[G_LABELS] + 1.5 * RNG.normal(size=(45, 8))


def test_recall_and_precision_equal_scikit_learn():
    """R@K and P@10 are those of scikit-learn's neighbours and mAP the mean of its average
    precision, also in blocks.
    """
    result = retrieval(np.tile(Q, (400, 1)), np.tile(LABELS, 400), G, G_LABELS)
    search = NearestNeighbors(metric="cosine", algorithm="brute").fit(G)
    near = G_LABELS[search.kneighbors(Q, 10)[1]] == LABELS[:, None]
    hits = np.stack([near[:, :rank].any(axis=1) for rank in (1, 5, 10)], axis=1)
    np.testing.assert_allclose(result.hits, np.tile(hits, (400, 1)))
    relevant = LABELS[:, None] == G_LABELS
    precision = list(map(average_precision_score, relevant, unit_rows(Q) @ unit_rows(G).T))
    np.testing.assert_allclose(result.precision, np.tile(precision, 400), rtol=1e-12)
    means = [result.map, *(result.recall[rank][0] for rank in (1, 5, 10)), result.precision_10]
    assert means == pytest.approx([np.mean(precision), *hits.mean(axis=0), near.mean()])


def test_the_query_itself_is_left_out():
    """Without a gallery, each query is searched for among the other queries."""
    result = retrieval(Q, LABELS)
    for i, others in enumerate(~np.eye(60, dtype=bool)):
        single = retrieval(Q[[i]], LABELS[[i]], Q[others], LABELS[others])
        np.testing.assert_allclose(result.hits[i], single.hits[0])
        assert result.precision[i] == pytest.approx(single.map)


@pytest.mark.parametrize("seed", range(6))
def test_a_tie_counts_against_the_query(seed):
    """Hits and average precision equal the least over every order of the tied rows."""
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.integers(0, 3, size=6))
    relevant = rng.uniform(size=6) < 0.4
    relevant[rng.integers(6)] = True
    angles = np.array([0.1, 0.5, 0.9])[levels]
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(1, 2, size=(6, 1))
    order = rng.permutation(6)
    result = retrieval(np.eye(1, 2), np.array([1]), gallery[order], relevant[order].astype(int))
    scores = []
    for places in map(list, itertools.permutations(range(6))):
        if (np.diff(levels[places]) >= 0).all():
            ordered = relevant[places]
            precision = average_precision_score(ordered, -np.arange(6))
            scores.append((ordered[0], ordered[:5].any(), precision))
    assert (*result.hits[0], result.map) == pytest.approx(np.min(scores, axis=0))


@pytest.mark.parametrize("noise", [0, 1e-9])
def test_a_collapsed_gallery_scores_no_more_than_chance(noise):
    """In a gallery at one point every relevant row comes last, with a warning."""
    with pytest.warns(CollapseWarning, match="chance"):
        result = retrieval(Q, LABELS, 1 + noise * G, G_LABELS)
    relevant = (LABELS[:, None] == G_LABELS).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(result.hits, 45 - relevant < [1, 5, 10])
    assert result.precision_10 <= relevant.mean() / 45


def test_queries_without_a_relevant_row_are_left_out_aloud():
    """Queries without another row of their label are not scored, with a warning; without any, or
    without labels of the gallery, there is no score.
    """
    labels = LABELS.copy()
    labels[[3, 8]] = 99, 98
    with pytest.warns(DataWarning, match="2 of 60 queries have no gallery row"):
        result = retrieval(Q, labels, G, G_LABELS)
    expected = np.delete(retrieval(Q, LABELS, G, G_LABELS).precision, [3, 8])
    np.testing.assert_allclose(result.precision, expected)
    with pytest.warns(DataWarning, match="2 of 60"):
        assert retrieval(Q, labels).n == 58
    with pytest.raises(DataError, match="queries have no gallery row of the same label"):
        retrieval(Q, LABELS, G, G_LABELS + 10)
    with pytest.raises(DataError, match="gallery"):
        retrieval(Q, LABELS, G)


def test_ranks_that_any_order_satisfies_are_left_out():
    """R@K and P@10 are left out if the rank is at least the size of the gallery."""
    few = retrieval(Q, LABELS, G[:7], np.arange(7) % 5)
    assert set(few.recall) == {1, 5}
    assert few.hits.shape == (60, 2)
    assert "precision_10" not in few.values
    assert set(retrieval(Q[:6], np.arange(6) // 2).recall) == {1}


def dealt(labels):
    """The group of each image: those of a class are dealt in turn to 20 groups."""
    groups = np.empty(len(labels), dtype=int)
    groups[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % 20
    return groups


def jackknife(scores):
    """The variance of a jackknife."""
    return (len(scores) - 1) * np.var(scores)


def test_the_interval_is_that_of_leaving_out_groups_of_images():
    """The error is that of scoring again without each group: as queries and candidates, or with a
    gallery of its own in turn as one and as the other.
    """
    variance = lambda result: result.units.estimate().error ** 2
    kept = [dealt(LABELS) != group for group in range(20)]
    without = [retrieval(Q[rows], LABELS[rows]) for rows in kept]
    result = retrieval(Q, LABELS)
    assert variance(result) == pytest.approx(jackknife([other.map for other in without]))
    half = stats.t.ppf(0.975, 19) * jackknife([other.recall[5][0] for other in without]) ** 0.5
    assert result.recall[5][1] == pytest.approx(result.recall[5][0] - half)
    half = stats.t.ppf(0.975, 19) * jackknife([other.precision_10 for other in without]) ** 0.5
    assert result.first_ten.low == pytest.approx(result.precision_10 - half)
    result = retrieval(Q, LABELS, G, G_LABELS)
    queries = [result.precision[rows].mean() for rows in kept]
    kept = [dealt(G_LABELS) != group for group in range(20)]
    gallery = [retrieval(Q, LABELS, G[rows], G_LABELS[rows]).map for rows in kept]
    assert variance(result) == pytest.approx(jackknife(queries) + jackknife(gallery))


def test_captions_of_an_image_are_left_out_together():
    """If each query has one relevant row, the interval is over the labels of the queries."""
    labels = np.arange(60) // 5
    result = retrieval(Q, labels, G[:12], np.arange(12))
    without = [result.precision[labels != label].mean() for label in range(12)]
    assert result.units.estimate().error ** 2 == pytest.approx(jackknife(without))
