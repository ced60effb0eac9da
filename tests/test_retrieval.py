"""Retrieval: recall, average precision, ties and intervals."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors
from world import folder, run

from glocal.errors import CollapseWarning, DataError, DataWarning, GLocalError
from glocal.evaluation.retrieval import retrieval
from glocal.similarity import unit_rows

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 5, size=60)
CENTRES = RNG.normal(size=(5, 8))
Q = CENTRES[LABELS] + 1.5 * RNG.normal(size=(60, 8))
G_LABELS = RNG.integers(0, 5, size=45)
G = CENTRES[G_LABELS] + 1.5 * RNG.normal(size=(45, 8))


def test_recall_and_precision_equal_scikit_learn():
    """R@K is that of scikit-learn's neighbours and mAP the mean of its average precision, also in
    blocks.
    """
    result = retrieval(np.tile(Q, (400, 1)), np.tile(LABELS, 400), G, G_LABELS)
    search = NearestNeighbors(metric="cosine", algorithm="brute").fit(G)
    near = G_LABELS[search.kneighbors(Q, 10)[1]] == LABELS[:, None]
    hits = np.stack([near[:, :rank].any(axis=1) for rank in (1, 5, 10)], axis=1)
    np.testing.assert_allclose(result.hits, np.tile(hits, (400, 1)))
    recall = [result.recall[rank][0] for rank in (1, 5, 10)]
    assert recall == pytest.approx(hits.mean(axis=0), rel=1e-12)
    relevant = LABELS[:, None] == G_LABELS
    precision = list(map(average_precision_score, relevant, unit_rows(Q) @ unit_rows(G).T))
    np.testing.assert_allclose(result.precision, np.tile(precision, 400), rtol=1e-12)
    assert (result.map, result.n) == (pytest.approx(np.mean(precision), rel=1e-12), 24_000)


def test_a_rotation_breaks_no_tie():
    """Rows of two signs tie often, and a rotation of the space changes no score of a query."""
    rng = np.random.default_rng(6)
    signs = rng.choice([-1.0, 1.0], size=(60, 2))
    before = retrieval(signs, LABELS)
    for _ in range(5):
        after = retrieval(signs @ np.linalg.qr(rng.normal(size=(2, 2)))[0], LABELS)
        for name in ("hits", "precision"):
            np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-12)


def test_the_query_itself_is_left_out():
    """Without a gallery, each query is searched for among the other queries."""
    result = retrieval(Q, LABELS)
    for i in range(60):
        others = np.arange(60) != i
        single = retrieval(Q[[i]], LABELS[[i]], Q[others], LABELS[others])
        assert result.precision[i] == pytest.approx(single.precision[0], rel=1e-12)
        assert result.hits[i].tolist() == single.hits[0].tolist()


def expected(relevant, levels):
    """The mean first hits, to rank 1 and 5, and AP over all orders of a ranking with ties."""
    groups = [np.flatnonzero(levels == level) for level in range(3)]
    means = []
    for orders in itertools.product(*map(itertools.permutations, groups)):
        ordered = relevant[list(itertools.chain(*orders))]
        ranks = np.flatnonzero(ordered) + 1
        precision = np.mean(np.arange(1, len(ranks) + 1) / ranks)
        means.append((ordered[0], ordered[:5].any(), precision))
    return np.mean(means, axis=0)


@pytest.mark.parametrize("seed", range(8))
def test_ties_earn_the_mean_over_their_orders(seed):
    """Hits and average precision equal the mean over every order of the tied rows."""
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.integers(0, 3, size=7))
    relevant = rng.uniform(size=7) < 0.4
    relevant[rng.integers(7)] = True
    angles = np.array([0.1, 0.5, 0.9])[levels]
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(1, 2, size=(7, 1))
    order = rng.permutation(7)
    result = retrieval(np.eye(1, 2), np.array([1]), gallery[order], relevant[order].astype(int))
    scores = [*result.hits[0, :2], result.precision[0]]
    np.testing.assert_allclose(scores, expected(relevant, levels), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("noise", [0, 1e-9])
@pytest.mark.parametrize("alone", [True, False])
def test_a_collapsed_gallery_scores_chance(noise, alone):
    """A gallery at one point gives every query the hits of random draws, with a warning."""
    files = [1 + noise * Q, LABELS] if alone else [Q, LABELS, 1 + noise * G, G_LABELS]
    with pytest.warns(CollapseWarning, match="those of chance"):
        result = retrieval(*files)
    relevant = (files[-1] == LABELS[:, None]).sum(axis=1, keepdims=True) - alone
    misses = stats.hypergeom.pmf(0, len(files[-1]) - alone, relevant, [1, 5, 10])
    np.testing.assert_allclose(result.hits, 1 - misses, rtol=1e-10)
    assert result.recall[1][0] < 0.4
    assert result.map < 0.45


def test_queries_without_a_relevant_row_are_left_out_aloud(tmp_path):
    """Queries without another row of their label are not scored, with one warning, also where two
    arms meet them.
    """
    labels = LABELS.copy()
    labels[[3, 8]] = 99, 98
    with pytest.warns(DataWarning, match="2 of 60 queries have no gallery row"):
        result = retrieval(Q, labels, G, G_LABELS)
    expected = np.delete(retrieval(Q, LABELS, G, G_LABELS).precision, [3, 8])
    np.testing.assert_allclose(result.precision, expected)
    with pytest.warns(DataWarning, match="2 of 60"):
        assert retrieval(Q, labels).n == result.n == 58
    with pytest.raises(DataError, match="queries have no gallery row of the same label"):
        retrieval(Q, LABELS, G, G_LABELS + 10)
    files = folder(tmp_path, q_npy=Q, labels_npy=labels)
    line = f"--queries {files}/q.npy --query-labels {files}/labels.npy --baseline centred"
    code, _, err = run(f"evaluate retrieval {line}")
    assert (code, err.count("2 of 60 queries have no gallery row")) == (0, 1)


def test_ranks_that_any_order_satisfies_are_left_out():
    """R@K is left out if K is at least the size of the gallery."""
    assert set(retrieval(Q, LABELS, G[:7], np.arange(7) % 5).recall) == {1, 5}
    assert set(retrieval(Q[:6], np.arange(6) // 2).recall) == {1}


def test_bad_input_is_refused(as_a_user):
    """Labels of two types, a gallery without labels and other columns are refused."""
    for call, noun in (
        (lambda: retrieval(Q, LABELS, G, G_LABELS.astype(str)), "names"),
        (lambda: retrieval(Q, LABELS, G), "gallery"),
        (lambda: retrieval(Q, LABELS, G[:, :3], G_LABELS), "columns"),
    ):
        with pytest.raises(GLocalError, match=noun):
            call()


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
