"""Retrieval: recall, average precision, ties and intervals."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestNeighbors
from world import run

from glocal.errors import CollapseWarning, DataError, DataWarning, GLocalError
from glocal.evaluation.retrieval import retrieval
from glocal.similarity import unit_rows

RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 5, size=60)
CENTRES = RNG.normal(size=(5, 8))
Q = CENTRES[LABELS] + 1.5 * RNG.normal(size=(60, 8))
G_LABELS = RNG.integers(0, 5, size=45)
G = CENTRES[G_LABELS] + 1.5 * RNG.normal(size=(45, 8))


def cosines(A, B):
    return unit_rows(A) @ unit_rows(B).T


def test_recall_and_precision_equal_scikit_learn():
    """R@K is that of scikit-learn's neighbours and mAP the mean of its average precision, also in
    blocks.
    """
    result = retrieval(Q, LABELS, G, G_LABELS)
    search = NearestNeighbors(metric="cosine", algorithm="brute").fit(G)
    for rank in (1, 5, 10):
        near = search.kneighbors(Q, rank)[1]
        expected = (G_LABELS[near] == LABELS[:, None]).any(axis=1)
        np.testing.assert_allclose(result.hits[:, (1, 5, 10).index(rank)], expected)
        assert result.recall[rank][0] == pytest.approx(expected.mean(), rel=1e-12)
    relevant = LABELS[:, None] == G_LABELS
    expected = list(map(average_precision_score, relevant, cosines(Q, G)))
    np.testing.assert_allclose(result.precision, expected, rtol=1e-12)
    assert result.map == pytest.approx(np.mean(expected), rel=1e-12)
    assert result.n == 60
    many = retrieval(np.tile(Q, (400, 1)), np.tile(LABELS, 400), G, G_LABELS)  # in blocks
    np.testing.assert_allclose(many.precision, np.tile(result.precision, 400), rtol=1e-12)
    np.testing.assert_array_equal(many.hits, np.tile(result.hits, (400, 1)))


def test_a_rotation_breaks_no_tie():
    """Rows of two signs tie often, and a rotation of the space changes no score of a query."""
    rng = np.random.default_rng(6)
    signs = rng.choice([-1.0, 1.0], size=(60, 2))
    before = retrieval(signs, LABELS)
    for _ in range(5):
        after = retrieval(signs @ np.linalg.qr(rng.normal(size=(2, 2)))[0], LABELS)
        np.testing.assert_allclose(after.hits, before.hits, rtol=1e-12)
        np.testing.assert_allclose(after.precision, before.precision, rtol=1e-12)


def test_the_query_itself_is_left_out():
    """Without a gallery, each query is searched for among the other queries."""
    result = retrieval(Q, LABELS)
    for i in range(60):
        others = np.delete(np.arange(60), i)
        single = retrieval(Q[[i]], LABELS[[i]], Q[others], LABELS[others])
        assert result.precision[i] == pytest.approx(single.precision[0], rel=1e-12)
        assert result.hits[i].tolist() == single.hits[0].tolist()


def expected(relevant, groups):
    """The mean first hits, to rank 1 and 5, and AP over all orders of a ranking with ties."""
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
    labels = relevant[order].astype(int)
    result = retrieval(np.array([[1.0, 0.0]]), np.array([1]), gallery[order], labels)
    groups = [np.flatnonzero(levels == level) for level in range(3)]
    scores = [*result.hits[0, :2], result.precision[0]]
    np.testing.assert_allclose(scores, expected(relevant, groups), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("noise", [0, 1e-9])
@pytest.mark.parametrize("alone", [True, False])
def test_a_collapsed_gallery_scores_chance(noise, alone):
    """A gallery at one point gives every query the hits of random draws, with a warning."""
    files = [1 + noise * Q, LABELS] if alone else [Q, LABELS, 1 + noise * G, G_LABELS]
    with pytest.warns(CollapseWarning, match="those of chance"):
        result = retrieval(*files)
    m = len(files[-1]) - alone
    n_relevant = [np.sum(files[-1] == label) - alone for label in LABELS]
    for column, rank in enumerate((1, 5, 10)):
        expected = [1 - math.comb(int(m - r), rank) / math.comb(m, rank) for r in n_relevant]
        np.testing.assert_allclose(result.hits[:, column], expected, rtol=1e-10)
    assert result.recall[1][0] < 0.4
    assert result.map < 0.45


def test_queries_without_a_relevant_row_are_left_out_aloud():
    """Queries without another row of their label are not scored, with a warning."""
    labels = LABELS.copy()
    labels[[3, 8]] = 99
    with pytest.warns(DataWarning, match="2 of 60 queries have no gallery row"):
        result = retrieval(Q, labels, G, G_LABELS)
    assert result.n == 58
    expected = np.delete(retrieval(Q, LABELS, G, G_LABELS).precision, [3, 8])
    np.testing.assert_allclose(result.precision, expected)
    labels[8] = 98
    with pytest.warns(DataWarning, match="2 of 60"):
        assert retrieval(Q, labels).n == 58
    with pytest.raises(DataError, match="no query has a gallery row of the same label"):
        retrieval(Q, LABELS, G, G_LABELS + 10)


def test_a_command_warns_once_of_what_two_arms_meet(tmp_path):
    """Queries without a relevant row in both arms are reported in one line."""
    np.save(tmp_path / "q.npy", Q)
    labels = ["alone", *map(str, LABELS[1:])]
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    files = ("--queries", tmp_path / "q.npy", "--query-labels", tmp_path / "labels.txt")
    code, _, err = run("evaluate", "retrieval", *files, "--baseline", "centred")
    assert code == 0
    assert err.count("1 of 60 queries have no gallery row") == 1


def test_ranks_that_any_order_satisfies_are_left_out():
    """R@K is left out if K is at least the size of the gallery."""
    assert set(retrieval(Q, LABELS, G[:7], np.array([0, 1, 2, 3, 4, 0, 1])).recall) == {1, 5}
    assert set(retrieval(Q[:6], np.array([0, 0, 1, 1, 2, 2])).recall) == {1}


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
    groups = dealt(LABELS)
    kept = [groups != group for group in range(20)]
    without = [retrieval(Q[rows], LABELS[rows]) for rows in kept]
    result = retrieval(Q, LABELS)
    assert result.units.estimate().error ** 2 == pytest.approx(jackknife([r.map for r in without]))
    recall = [r.recall[5][0] for r in without]
    half = stats.t.ppf(0.975, 19) * jackknife(recall) ** 0.5
    assert result.recall[5][1] == pytest.approx(result.recall[5][0] - half)
    result = retrieval(Q, LABELS, G, G_LABELS)
    queries = [result.precision[rows].mean() for rows in kept]
    groups = dealt(G_LABELS)
    rows = [retrieval(Q, LABELS, G[groups != g], G_LABELS[groups != g]).map for g in range(20)]
    variance = jackknife(queries) + jackknife(rows)
    assert result.units.estimate().error ** 2 == pytest.approx(variance)


def test_captions_of_an_image_are_left_out_together():
    """If each query has one relevant row, the interval is over the labels of the queries."""
    labels = np.arange(60) // 5
    result = retrieval(Q, labels, G[:12], np.arange(12))
    without = [result.precision[labels != label].mean() for label in range(12)]
    assert result.units.estimate().error ** 2 == pytest.approx(jackknife(without))
