"""Structure: neighbours kept, with ties, CKA, dissimilarities, and collapse."""

import math

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from world import normal

from glocal import GLocalError, neighbours_kept, structure
from glocal.aligner.fitting import at_chance
from glocal.errors import CollapseWarning, DataWarning
from glocal.evaluation.intervals import mean_estimate
from glocal.evaluation.structure import cka, kept_by_image, neighbourhoods, neighbours
from glocal.similarity import is_collapsed

X = normal(60, 9, seed=2)
Z = X @ normal(9, 5, seed=1)


@pytest.mark.parametrize("rows", [Z, normal(1500, 4, seed=3)])
def test_neighbours_come_nearest_first_as_in_scikit_learn(rows):
    """Neighbours are in the order of scikit-learn's search, also with more images than one search
    takes.
    """
    search = NearestNeighbors(n_neighbors=13, metric="cosine", algorithm="brute").fit(rows)
    nearest = neighbours(rows, 12)
    np.testing.assert_array_equal(nearest, search.kneighbors(rows)[1][:, 1:])
    columns = neighbourhoods(rows, 12).tocoo().col.reshape(-1, 12)
    np.testing.assert_array_equal(columns, np.sort(nearest, axis=1))


# all rows have the same length, so that cosines are whole numbers over p and ties are exact
SIGNS = np.random.default_rng(5).choice([-1.0, 1.0], size=(36, 128))
SIGNS[::7] = SIGNS[1]
FEWER = SIGNS[:, :9]


def rotation(p):
    """A random rotation."""
    return np.linalg.qr(normal(p, p, seed=p))[0]


def loop_shares(signs, k):
    """The probability that j is among the k nearest of i, by whole numbers, with ties
    in random order.
    """
    P = np.zeros((len(signs), len(signs)))
    for i, row in enumerate(signs):
        dots = signs @ row
        others = np.delete(dots, i)
        for j in set(range(len(signs))) - {i}:
            nearer, tied = np.sum(others > dots[j]), np.sum(others == dots[j])
            P[i, j] = min(1, max(0, (k - nearer) / tied))
    return P


@pytest.mark.parametrize("k", [1, 5, 35])
def test_ties_share_the_last_places(k):
    """With ties, each image keeps Σ min(P, P') / k of its neighbours, by whole numbers, also after
    a rotation.
    """
    before = loop_shares(SIGNS, k)
    kept = np.minimum(before, loop_shares(FEWER, k)).sum(axis=1) / k
    for rows in (SIGNS, SIGNS @ rotation(128)):
        np.testing.assert_allclose(neighbourhoods(rows, k).toarray(), before)
        np.testing.assert_allclose(kept_by_image(rows, FEWER, k), kept)


@pytest.mark.parametrize(
    "C", [np.ones((60, 4)), 0 * X, 1 + 1e-8 * X, np.abs(X[:, :1]) * np.ones((1, 4))]
)
def test_a_collapsed_transform_scores_chance(C):
    """If either side or both are collapsed, the share of neighbours kept is k / (n - 1)."""
    assert is_collapsed(C)
    for before, after in ((X, C), (C, X), (C, C)):
        with pytest.warns(CollapseWarning, match="chance or below"):
            result = structure(before, after)
        assert result.neighbours_kept == pytest.approx(10 / 59, rel=1e-12)
        assert result.low is None
        assert result.high is None
        assert result.cka == 0


def test_what_is_spread_is_not_collapsed():
    """A small spread, a plane, a line with both its ends, and a loss 1e-5 nats below chance do not
    count as collapsed.
    """
    assert not any(map(is_collapsed, (X, 1e-9 * X, 1 + 1e-5 * X, X[:, :2], X[:, :1])))
    assert [at_chance(math.log(3) - gap, math.log(3)) for gap in (1e-7, 1e-5)] == [True, False]


def gram_cka(X, Z):
    """The CKA of unbiased estimates of HSIC (Song et al. 2012) from Gram matrices."""
    n = len(X)
    K, L = (rows @ rows.T * (1 - np.eye(n)) for rows in (X, Z))

    def hsic(A, B):
        sums = A.sum() * B.sum() / ((n - 1) * (n - 2))
        return (A * B).sum() + sums - 2 * A.sum(axis=0) @ B.sum(axis=0) / (n - 2)

    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def test_cka_from_features_equals_cka_from_gram_matrices():
    """CKA equals that of Gram matrices, which is 1 for a rotation."""
    assert cka(X, Z) == pytest.approx(gram_cka(X, Z), rel=1e-9)
    assert cka(X, 4 * X @ rotation(9) + 1) == pytest.approx(1)


def test_structure_gathers_the_measures(as_a_user):
    """Each field has the value of the function with its name, and the interval is over images; a k
    out of range is refused.
    """
    result = structure(X, Z, k=7)
    kept = kept_by_image(Z, X, 7)
    assert result.neighbours_kept == neighbours_kept(X, Z, 7) == kept.mean()
    np.testing.assert_array_equal(kept_by_image(X, Z, 7, before=neighbourhoods(X, 7)), kept)
    assert result.units.estimate() == mean_estimate(kept)
    assert result.cka == cka(X, Z)
    for k, noun in ((60, "1 to 59 neighbours"), (0, "k. is 0")):
        with pytest.raises(GLocalError, match=noun):
            structure(X, Z, k=k)


def test_of_many_images_a_sample_is_compared_and_said(monkeypatch):
    """Above the largest number of images, a sample is compared, the same for every transform, with
    a warning; the result counts both.
    """
    monkeypatch.setattr("glocal.evaluation.structure.MAX_IMAGES", 40)
    with pytest.warns(DataWarning, match="40 of 60 images"):
        result = structure(X, Z)
    assert (result.n, result.n_images) == (40, 60)
    lost = 1 - result.neighbours_kept
    with pytest.warns(DataWarning):
        assert structure(X, X).units.minus(result.units).mean == pytest.approx(lost)
    rows = np.sort(np.random.default_rng(0).choice(60, 40, replace=False))
    assert result.neighbours_kept == neighbours_kept(X[rows], Z[rows])
    assert structure(X[:40], Z[:40]).n_images == 40
