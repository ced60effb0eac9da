"""Intervals for answers that share objects."""

import math

import numpy as np
import pytest

from glocal.evaluation.statistics import triplet_interval

Z95 = 1.959963984540054


def loop_half_width(values, answers, weights):
    """Half the interval by an explicit double loop over answers that share an object."""
    mean = float(weights @ values) / float(weights.sum())
    e = weights * (values - mean)
    shared = 0.0
    for t, first in enumerate(answers.tolist()):
        for u, second in enumerate(answers.tolist()):
            if set(first) & set(second):
                shared += e[t] * e[u]
    return mean, Z95 * math.sqrt(max(shared, float(e @ e))) / float(weights.sum())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("weighted", [False, True])
def test_the_interval_equals_the_double_loop(seed, weighted):
    """Inclusion and exclusion over objects, pairs and sets equals the sum over all pairs of answers that share one."""
    rng = np.random.default_rng(seed)
    answers = np.array([rng.permutation(9)[:3] for _ in range(120)])  # 84 sets: repeated sets and pairs are met
    effect = rng.normal(size=9)
    values = 0.5 + 0.02 * effect[answers].sum(axis=1) + 0.02 * rng.normal(size=120)
    weights = rng.integers(0, 3, size=120).astype(float) if weighted else np.ones(120)
    mean, half = loop_half_width(values, answers, weights)
    low, high = triplet_interval(values, answers, weights if weighted else None)
    assert (low + high) / 2 == pytest.approx(mean, rel=1e-12)
    assert (high - low) / 2 == pytest.approx(half, rel=1e-9)


def test_answers_that_share_nothing_have_the_independent_interval():
    """With no shared object the variance is that of independent answers."""
    values = np.random.default_rng(0).uniform(0.3, 0.7, size=50)
    low, high = triplet_interval(values, np.arange(150).reshape(50, 3))
    assert (high - low) / 2 == pytest.approx(Z95 * values.std() / math.sqrt(50), rel=1e-9)


def test_the_interval_stays_inside_0_and_1():
    """An accuracy is a fraction, and so are the ends of its interval."""
    answers = np.arange(12).reshape(4, 3)
    low, high = triplet_interval(np.array([1.0, 1.0, 0.0, 1.0]), answers)
    assert (low >= 0, high) == (True, 1.0)
    low, high = triplet_interval(np.array([0.0, 0.0, 1.0, 0.0]), answers)
    assert (low, high <= 1) == (0.0, True)


def test_the_interval_does_not_depend_on_names_or_order():
    """Relabelling the objects, shuffling the answers or the objects inside them changes nothing."""
    rng = np.random.default_rng(3)
    answers = np.array([rng.permutation(20)[:3] for _ in range(80)])
    values = rng.uniform(0.2, 0.8, size=80)
    before = triplet_interval(values, answers)
    order, names = rng.permutation(80), rng.permutation(50_000)[:20]
    assert triplet_interval(values[order], names[answers[order]][:, [2, 0, 1]]) == pytest.approx(before, rel=1e-9)


def test_the_interval_covers_where_the_binomial_one_does_not():
    """Where answers share random objects it covers the truth about as often as it says, the binomial one does not."""
    rng = np.random.default_rng(0)
    robust = naive = 0
    repeats = 300
    for _ in range(repeats):
        effect = 0.15 * rng.normal(size=40)  # some objects are easy, some hard
        answers = np.array([rng.permutation(40)[:3] for _ in range(400)])
        values = (rng.uniform(size=400) < 0.5 + effect[answers].sum(axis=1)).astype(float)
        low, high = triplet_interval(values, answers)
        robust += low <= 0.5 <= high
        half = Z95 * math.sqrt(values.mean() * (1 - values.mean()) / 400)
        naive += abs(values.mean() - 0.5) <= half
    assert robust / repeats >= 0.88
    assert naive / repeats <= 0.7
