"""Intervals for answers that share objects or people, and for tables of draws and images, or of
people and objects; comparisons of arms.
"""

from itertools import combinations

import numpy as np
import pytest
import world
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from glocal.evaluation.comparison import Result, compared, holm
from glocal.evaluation.episodes import EpisodeValues
from glocal.evaluation.intervals import (
    CORRELATION,
    FRACTION,
    CrossedValues,
    Estimate,
    ItemValues,
    ObjectValues,
    mean_estimate,
    pseudo_values,
)
from glocal.scores import Score


def answer_estimate(values, objects, weights=None, persons=None):
    """The estimate of one value for each answer."""
    return ObjectValues(values=values, objects=objects, weights=weights, persons=persons).estimate()


def episode_estimate(credits, classes, is_one_set=False):
    """The estimate of draws that take a fifth of the images of each class."""
    sides = {"shot_share": 0.2, "is_one_set": is_one_set}
    return EpisodeValues(values=credits, classes=classes, **sides).estimate()


def half_width_of_pairs(values, answers, weights):
    """The mean and the half width of its interval, by comparing every two answers."""
    total = float(weights.sum())
    mean = float(weights @ values) / total
    e = weights * (values - mean)
    share = (answers[:, None, :, None] == answers[None, :, None, :]).any(axis=(2, 3))
    same = (np.sort(answers, axis=1)[:, None] == np.sort(answers, axis=1)).all(axis=2)
    disjoint = max(1 - weights @ share @ weights / total**2, 0.1)
    t95 = stats.t.ppf(0.975, len(np.unique(answers[weights > 0])) - 1)
    return mean, t95 * (max(e @ share @ e, e @ same @ e) / disjoint) ** 0.5 / total


def jackknife(values, groups, weights):
    """The variance of a mean, by leaving out one group after the other."""
    kept = [groups != group for group in np.unique(groups[weights > 0])]
    without = np.array([np.average(values[rest], weights=weights[rest]) for rest in kept])
    moved = np.square(without - np.average(values, weights=weights)).sum()
    return (len(kept) - 1) / len(kept) * moved


@pytest.mark.parametrize("m, n", [(3, 9), (3, 9_000), (4, 15), (5, 40)])
def test_the_interval_equals_that_of_all_pairs(m, n):
    """Inclusion and exclusion over subsets of objects equal the sum over all pairs of answers that
    share an object; answers of weight 0 about other objects do not count.
    """
    rng = np.random.default_rng(m)
    some = rng.permutation(n)[: 6 * m]  # few objects, so that sets and pairs repeat
    answers = some[world.answers(120, len(some), "nearest-of-n").objects[:, :m]]
    answers[110:] = range(n, n + m)
    effect = rng.normal(size=n + m)
    values = 0.5 + 0.02 * effect[answers].sum(axis=1) + 0.02 * rng.normal(size=120)
    some_weights = np.append(rng.integers(0, 3, size=110), np.zeros(10))
    for weights in (np.ones(120), some_weights):
        estimate = answer_estimate(values, answers, weights)
        half = estimate.interval()[1] - estimate.mean
        expected = half_width_of_pairs(values, answers, weights)
        assert (estimate.mean, half) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("objects", ["012 120 021", "012 034 132 240", "0123456789 abcdefghij"])
def test_one_cluster_of_answers_has_no_interval(objects):
    """If every two answers share an object, or have more than nine objects, there is no error, no
    interval and no p-value.
    """
    answers = np.array([[int(name, 36) for name in answer] for answer in objects.split()])
    values = np.arange(1.0, len(answers) + 1)
    for weights in (None, values):
        estimate = answer_estimate(values, answers, weights)
        assert estimate.error is None
        assert estimate.p is None
        assert estimate.interval() == (None, None)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / 3])
def test_equal_scores_show_no_spread_and_have_no_interval(value):
    """Equal scores have no interval, whatever their number and kind, since even all right answers
    do not prove a value of exactly 1; a mean of 0 has p = 1 and another no p-value.
    """
    some = np.random.default_rng(0).integers(1, 9, size=200)
    values = np.full(200, value)
    for estimate in (
        answer_estimate(values, world.answers(200, 30).objects, some / 7),
        mean_estimate(values, some),
        CrossedValues(values=values.reshape(5, 40)).estimate(),
        episode_estimate(values.reshape(5, 40), np.arange(40) % 4),
    ):
        p = None if value else 1
        expected = (pytest.approx(value), None, None, p)
        assert (estimate.mean, *estimate.interval(), estimate.p) == expected


def test_the_errors_over_objects_and_persons_add():
    """The variance is that over objects and the jackknife over persons, less that of independent
    answers; a person without weight does not count.
    """
    rng = np.random.default_rng(17)
    answers = world.answers(80, 60).objects
    persons = np.repeat(np.arange(8), 10)
    values = 0.1 * rng.uniform(size=80) + rng.uniform(size=8)[persons]
    weights = rng.uniform(0.5, 2, size=80) * persons
    estimate = answer_estimate(values, answers, weights, persons)
    independent = np.square(weights * (values - estimate.mean)).sum() / weights.sum() ** 2
    over_objects = answer_estimate(values, answers, weights).error ** 2
    expected = over_objects + jackknife(values, persons, weights) - independent
    assert estimate.error**2 == pytest.approx(expected)
    assert estimate.freedom < 7
    alike = np.tile([0.0, 1.0], 40)  # all persons have the same mean
    assert answer_estimate(alike, answers, None, persons) == answer_estimate(alike, answers)


def anova(scores):
    """The mean squares of the rows, the columns and the residuals of a table."""
    (rows, columns) = scores.shape
    grand = scores.mean()
    by_row = scores.mean(axis=1, keepdims=True)
    by_column = scores.mean(axis=0)
    residual = np.square(scores - by_row - by_column + grand).sum() / ((rows - 1) * (columns - 1))
    return by_row.var(ddof=1) * columns, by_column.var(ddof=1) * rows, residual


NOISE = world.matrix("1 -1 0; -1 1 0; 0 0 0")
FEW = world.matrix(".4; .6") + 1e-6 * np.arange(50)
RNG = np.random.default_rng(12)
RANDOM = RNG.normal(size=(5, 1)) + RNG.normal(size=8) + RNG.normal(size=(5, 8))


@pytest.mark.parametrize("scores", [RANDOM, NOISE, FEW])
def test_the_two_way_error_is_that_of_the_analysis_of_variance(scores):
    """The variance is (MS_rows + MS_columns - MS_noise) / cells, but not below that of the noise,
    with Satterthwaite's degrees of freedom: many objects do not lend theirs to two people.
    """
    row, column, noise = anova(scores)
    variance = max(row + column - noise, noise)
    r, c = np.subtract(scores.shape, 1)
    freedom = variance**2 / (row**2 / r + column**2 / c + noise**2 / (r * c))
    error = (variance / scores.size) ** 0.5
    expected = Estimate(scores.mean(), error, max(freedom, min(r, c)))
    assert vars(CrossedValues(values=scores).estimate()) == pytest.approx(vars(expected))


def episodes():
    """A table of draws and images with gaps where images gave shots, and the image classes."""
    rng = np.random.default_rng(3)
    classes = np.repeat([0, 1, 2], [5, 8, 4])
    credits = rng.normal(size=(6, 1)) + rng.normal(size=17) + classes
    credits += 0.5 * rng.normal(size=(6, 17))
    for row in credits:
        row[[rng.choice(np.flatnonzero(classes == c)) for c in range(3)]] = np.nan
    return credits, classes


@pytest.mark.parametrize("is_one_set", [True, False])
def test_the_error_of_episodes_is_that_of_pool_tests_and_draws(is_one_set):
    """The variance is that of the rule by explicit loops: the pool by the component of the draws,
    the tests by that of the images of a class, and what more draws remove.
    """
    credits, classes = episodes()
    draws, images = credits.shape
    estimate = episode_estimate(credits, classes, is_one_set)
    by_class = [classes == c for c in range(3)]
    accuracies = [np.nanmean(credits[:, some], axis=1) for some in by_class]
    assert estimate.mean == pytest.approx(np.mean(accuracies))
    table = np.where(np.isnan(credits), np.nanmean(credits, axis=0), credits)
    v_i = v_x = 0
    for some in by_class:
        _, column, noise = anova(table[:, some])
        share = (some.sum() - 1) / (images - 3)
        v_x += noise * share
        v_i += column / draws * share
    v_i -= v_x / draws
    n = 9 / (1 / 5 + 1 / 8 + 1 / 4)
    of_draws = np.mean([table[:, some].mean(axis=1) for some in by_class], axis=0)
    v_d = np.var(of_draws, ddof=1) - v_x / n
    pool, tests = 0.2 * v_d, v_i / n
    both = (pool**0.5 + tests**0.5) ** 2 if is_one_set else pool + tests
    assert estimate.error**2 == pytest.approx(both + v_d / draws + v_x / (draws * n))
    assert 5 < estimate.freedom < 5 + images - 3


def test_one_draw_or_one_image_a_class_has_no_interval():
    """A single draw does not show how another turns out, nor one image of each class another; an
    image that was never tested does not count.
    """
    credits, classes = episodes()
    never = np.insert(credits, 0, np.nan, axis=1), np.insert(classes, 0, 0)
    assert episode_estimate(*never) == episode_estimate(credits, classes)
    first = np.unique(classes, return_index=True)[1]
    for few in ((credits[:1], classes), (np.nan_to_num(credits[:, first]), classes[first])):
        assert episode_estimate(*few).interval() == (None, None)


def test_a_group_without_which_there_is_no_score_changes_nothing():
    """A score that is undefined without a group counts as unchanged by it."""
    undefined, unchanged = (pseudo_values(0.6, np.array([0.5, x])) for x in (np.nan, 0.6))
    np.testing.assert_array_equal(undefined, unchanged)


def test_scores_of_one_class_are_dependent():
    """The variance is that of leaving out one cluster, of any size; clusters of one score give
    the standard error, and one cluster gives no interval.
    """
    clusters = np.repeat(np.arange(6), [30, *[6] * 5])
    values = np.linspace(0.2, 0.8, 6)[clusters] + 0.01 * world.normal(60)
    variance = mean_estimate(values, clusters).error ** 2
    assert variance == pytest.approx(jackknife(values, clusters, np.ones(60)))
    alike = np.arange(60) % 6  # the error is not below that of independent scores
    for groups in (None, np.arange(60), alike):
        assert mean_estimate(np.sort(values), groups).error == pytest.approx(stats.sem(values))
    for few in (mean_estimate(values[:1]), mean_estimate(values, np.zeros(60))):
        assert few.interval() == (None, None)


@pytest.mark.parametrize("freedom", [1, 3.7, 4.7e6])
def test_interval_and_p_value_come_from_one_t_distribution(freedom):
    """The interval excludes 0 exactly if p is small, since both come from one Student's t."""
    for mean in np.linspace(-3, 3, 30):
        estimate = Estimate(mean, 0.2, freedom)
        expected = (
            *stats.t.interval(0.95, freedom, mean, 0.2),
            2 * stats.t.sf(5 * abs(mean), freedom),
        )
        assert (*estimate.interval(), estimate.p) == pytest.approx(expected)


def test_an_interval_stays_within_what_a_score_can_be():
    """The interval of a fraction stays in [0, 1], that of a correlation in [-1, 1], and that of a
    difference within the range of both.
    """
    wide = Estimate(0.5, 1, 3)
    assert wide.interval(FRACTION) == (0, 1)
    assert wide.interval(CORRELATION) == (-1, 1)
    scores = (Score("task", "metric", 0.5),)
    for limits, largest in ((FRACTION, 1), (CORRELATION, 2)):
        a, b = (ItemValues(values=values, limits=limits) for values in np.eye(2))
        difference = compared({"a": Result(scores, a), "b": Result(scores, b)}, [("a", "b")])[-1]
        assert difference.low == -largest
        assert difference.high == largest


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_equals_its_definition(p):
    """A corrected p-value is the largest of Bonferroni's among all sets of tests with this one."""
    places = range(len(p))
    sets = [some for m in places for some in combinations(places, m + 1)]
    for k, value in enumerate(holm(p)):
        largest = max(len(some) * min(p[i] for i in some) for some in sets if k in some)
        assert value == pytest.approx(min(1, largest))
