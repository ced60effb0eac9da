"""Similarities of pairs, the choice of the model, and ties that share the credit."""

import math

import numpy as np
import pytest
import world
from scipy.special import log_softmax

from glocal.similarity import (
    candidate_pairs,
    choice,
    choice_loss,
    credit,
    of_pairs,
    pair_tolerance,
    tie_tolerance,
)

RNG = np.random.default_rng(0)
PAIRS = candidate_pairs("odd-one-out")
ANSWERS = world.answers(200, 12).objects
# small whole numbers, so that many dot products tie exactly
EMBEDDING = RNG.integers(0, 2, size=(12, 3)).astype(float)


def scored(Z, answers, kind):
    return credit(of_pairs(Z, answers, PAIRS, kind), pair_tolerance(Z, kind))


def test_a_tie_is_a_difference_of_a_few_roundings():
    """Pairs closer than 8 √p eps max|S| are tied, pairs farther apart are not."""
    tolerance = tie_tolerance(9, 4.0)
    assert tolerance == 8 * 3 * np.finfo(float).eps * 4 == 4 * tie_tolerance(9)
    assert pair_tolerance(2 * np.eye(9), "dot") == tolerance
    S = np.array([[1, 1 + 0.9 * tolerance, 0], [1, 1 + 1.2 * tolerance, 0], [1, 0, 0]])
    shares, ties = credit(S, tolerance)
    assert shares.tolist() == [0.5, 0.0, 1.0]
    assert ties.tolist() == [True, False, False]


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_many_objects_score_like_few(kind):
    """Pairs that are multiplied one by one, as among 20,000 objects, equal the entries of the Gram
    matrix, with the same ties.
    """
    result = of_pairs(EMBEDDING, ANSWERS, PAIRS, kind)
    far = np.concatenate([EMBEDDING, np.zeros((20_000, 3))])
    np.testing.assert_allclose(of_pairs(far, ANSWERS, PAIRS, kind), result, atol=1e-15)
    np.testing.assert_equal(scored(far, ANSWERS, kind), scored(EMBEDDING, ANSWERS, kind))


def test_loss_equals_minus_log_softmax():
    """The loss is -log softmax at the chosen pair, log 3 if all pairs are equal, and finite for
    huge similarities.
    """
    pairs = RNG.normal(size=(50, 3))
    np.testing.assert_allclose(choice_loss(pairs), -log_softmax(pairs, axis=1)[:, 0], rtol=1e-13)
    huge = world.matrix("1e4 -1e4 0; -1e4 1e4 0; 5 5 5")
    np.testing.assert_allclose(choice_loss(huge), [0, 2e4, math.log(3)])


def test_the_choice_is_shared_among_the_highest():
    """Each of the k highest pairs gets 1/k and the others nothing, so that the shares of an answer
    add up to 1.
    """
    shares = choice(world.matrix("3 3 1; 2 2 2; 1 2 2"), 1e-12)
    np.testing.assert_allclose(6 * shares, world.matrix("3 3 0; 2 2 2; 0 3 3"))
