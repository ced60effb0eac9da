"""Neighbours kept: what a transform does to each image's surroundings."""

import numpy as np
import pytest

from glocal.errors import DataError, ParameterError
from glocal.evaluation.structure import neighbourhoods, neighbours, neighbours_kept

RNG = np.random.default_rng(2)
X = RNG.normal(size=(60, 9))
Z = X @ RNG.normal(size=(9, 5))


def loop_neighbours(Z, k):
    """The k nearest rows of each row by cosine, by plain Python."""
    found = []
    for i in range(len(Z)):
        cosines = [
            (float(Z[i] @ Z[j]) / float(np.linalg.norm(Z[i]) * np.linalg.norm(Z[j])), j)
            for j in range(len(Z))
            if j != i
        ]
        found.append({j for _, j in sorted(cosines, reverse=True)[:k]})
    return found


@pytest.mark.parametrize("k", [1, 10, 59])
def test_neighbours_equal_explicit_loops(k):
    """The k nearest by cosine, the image itself excluded, are those that loops find."""
    assert [set(row.tolist()) for row in neighbours(Z, k)] == loop_neighbours(Z, k)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_neighbours_kept_equal_explicit_loops(k):
    """Neighbours kept is the mean over images of the shared share of the two neighbourhoods."""
    before, after = loop_neighbours(X, k), loop_neighbours(Z, k)
    wanted = np.mean([len(b & a) / k for b, a in zip(before, after, strict=True)])
    assert neighbours_kept(X, Z, k) == pytest.approx(wanted, rel=1e-12)
    assert 0 < wanted < 1


def test_blocks_of_rows_find_the_same_neighbours(monkeypatch):
    """The blocked search equals the search in one block."""
    whole = np.sort(neighbours(Z, 10), axis=1)
    monkeypatch.setattr(neighbourhoods, "_BLOCK", 7)
    np.testing.assert_array_equal(np.sort(neighbours(Z, 10), axis=1), whole)


def test_the_identity_keeps_all_neighbours():
    """Nothing changes under the identity, a scaling, a rotation, or a scaling of each image of its own."""
    Q = np.linalg.qr(RNG.normal(size=(9, 9)))[0]
    lengths = RNG.uniform(0.1, 10, size=(60, 1))
    for same in (X, 1e-3 * X, X @ Q, X * lengths, X.astype(np.float32)):
        assert neighbours_kept(X, same) == 1.0


def test_keeping_neighbours_is_symmetric():
    """Before and after may be exchanged, and relabelling the images changes nothing."""
    order = RNG.permutation(60)
    kept = neighbours_kept(X, Z)
    assert neighbours_kept(Z, X) == pytest.approx(kept, rel=1e-12)
    assert neighbours_kept(X[order], Z[order]) == pytest.approx(kept, rel=1e-12)


def test_unrelated_embeddings_keep_what_chance_keeps():
    """Two independent embeddings share k / (n - 1) of their neighbours on average."""
    kept = neighbours_kept(RNG.normal(size=(400, 20)), RNG.normal(size=(400, 20)), 20)
    assert kept == pytest.approx(20 / 399, abs=0.01)


@pytest.mark.parametrize("k", [0, 60])
def test_a_number_of_neighbours_that_cannot_be_is_refused(k):
    """k is 1 to n - 1."""
    with pytest.raises(ParameterError, match=f"k is {k} but 60 images allow 1 to 59"):
        neighbours_kept(X, Z, k)


def test_other_images_after_than_before_are_refused(as_a_user):
    """The rows before and after must be the same images."""
    with pytest.raises(DataError, match="60 rows before the transform and 59 after"):
        neighbours_kept(X, Z[:-1])
