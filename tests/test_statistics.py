"""Intervals for answers that share objects and for tables that share draws and classes; comparisons of arms."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from glocal.data.answers import Answers
from glocal.data.world import simulated_answers
from glocal.errors import DataError, ParameterError
from glocal.evaluation.alignment import odd_one_out
from glocal.evaluation.statistics import (
    Estimate,
    answer_estimate,
    clusters,
    holm,
    mean_estimate,
    paired_difference,
    triplet_estimate,
    two_way_estimate,
)


def triplet_interval(values, answers, weights=None):
    return triplet_estimate(values, answers, weights).interval(fraction=True)


def loop_half_width(values, answers, weights):
    """The mean and half its interval by an explicit double loop over answers that share an object."""
    mean = float(weights @ values) / float(weights.sum())
    e = weights * (values - mean)
    shared = overlap = least = 0.0
    for t, first in enumerate(answers.tolist()):
        for u, second in enumerate(answers.tolist()):
            if set(first) & set(second):
                shared += e[t] * e[u]
                overlap += weights[t] * weights[u]
            if set(first) == set(second):
                least += e[t] * e[u]
    disjoint = 1 - overlap / float(weights.sum()) ** 2
    t95 = stats.t.ppf(0.975, len(np.unique(answers[weights > 0])) - 1)
    return mean, t95 * math.sqrt(max(shared, least) / disjoint) / float(weights.sum())


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
    """With no shared object the error is that of independent answers, s / √t with s² over t - 1."""
    values = np.random.default_rng(0).uniform(0.3, 0.7, size=50)
    estimate = triplet_estimate(values, np.arange(150).reshape(50, 3))
    assert estimate.error == pytest.approx(stats.sem(values), rel=1e-12)
    assert estimate.freedom == 149


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
        half = 1.96 * math.sqrt(values.mean() * (1 - values.mean()) / 400)
        naive += abs(values.mean() - 0.5) <= half
    assert robust / repeats >= 0.88
    assert naive / repeats <= 0.7


def test_many_objects_take_another_way_to_the_same_estimate(monkeypatch):
    """Pairs sorted, where there are too many objects to count them in a table, give the same estimate."""
    rng = np.random.default_rng(4)
    answers = np.array([rng.permutation(20)[:3] for _ in range(300)])
    values, weights = rng.uniform(size=300), rng.integers(0, 3, size=300).astype(float)
    for w in (None, weights):
        before = triplet_estimate(values, answers, w)
        with monkeypatch.context() as patched:
            patched.setattr(clusters, "_MOST_CELLS", 1)
            after = triplet_estimate(values, answers + 100_000, w)
        assert (after.mean, after.error, after.freedom) == pytest.approx((before.mean, before.error, before.freedom))


def test_an_integer_weight_is_that_many_copies_in_the_error():
    """An answer of weight 3 counts like three copies, also in the error."""
    rng = np.random.default_rng(5)
    answers = np.array([rng.permutation(12)[:3] for _ in range(60)])
    values, weights = rng.uniform(size=60), rng.integers(1, 4, size=60)
    weighted = triplet_estimate(values, answers, weights.astype(float))
    copied = triplet_estimate(np.repeat(values, weights), np.repeat(answers, weights, axis=0))
    assert copied.mean == pytest.approx(weighted.mean, rel=1e-12)
    assert copied.error == pytest.approx(weighted.error, rel=1e-9)


@pytest.mark.parametrize(
    "answers",
    [[[0, 1, 2]], [[0, 1, 2], [1, 2, 0], [0, 2, 1]], [[0, 1, 2], [0, 3, 4], [1, 3, 2], [2, 4, 0]]],
    ids=["one answer", "three objects", "five objects"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_one_cluster_of_answers_has_no_interval(answers, weighted):
    """Answers of which no two are without a common object tell no error: no interval, and no p-value."""
    answers = np.array(answers)
    values = np.arange(1.0, len(answers) + 1)
    weights = values if weighted else None
    estimate = triplet_estimate(values, answers, weights)
    assert (estimate.error, estimate.p) == (None, None)
    assert triplet_interval(values, answers, weights) == (None, None)
    found = paired_difference(values, np.zeros(len(answers)), answers=answers, weights=weights)
    assert (found.low, found.high, found.p) == (None, None, None)


def test_the_fewest_answers_with_an_interval_are_two_without_a_common_object():
    """Two disjoint answers are two clusters, with the error of two independent values."""
    estimate = triplet_estimate(np.array([1.0, 0.0]), np.array([[0, 1, 2], [3, 4, 5]]))
    assert estimate.error == pytest.approx(0.5)
    assert estimate.freedom == 5


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / 3])
def test_equal_scores_show_no_spread_and_have_no_interval(value):
    """All right does not prove a value of exactly 1: equal scores have no interval, whatever their number and kind."""
    rng = np.random.default_rng(0)
    answers = np.array([rng.permutation(30)[:3] for _ in range(200)])
    for estimate in (
        triplet_estimate(np.full(200, value), answers),
        triplet_estimate(np.full(200, value), answers, rng.uniform(size=200)),
        mean_estimate(np.full(200, value)),
        mean_estimate(np.full(200, value), rng.integers(0, 9, size=200)),
        two_way_estimate(np.full((5, 40), value)),
        two_way_estimate(np.full((5, 40), value), rng.uniform(size=40)),
    ):
        assert estimate.mean == pytest.approx(value)
        assert estimate.interval() == (None, None)


@pytest.fixture(scope="module")
def population():
    """Objects whose answers are easy or hard, and the expected credit over all their triplets."""
    mind = np.random.default_rng(9).normal(size=(400, 4)) * np.random.default_rng(10).uniform(0.3, 1.5, size=(400, 1))
    rng = np.random.default_rng(11)
    sets = np.array([rng.permutation(400)[:3] for _ in range(60_000)])
    Z = mind + 0.5 * rng.normal(size=mind.shape)
    a, b, c = sets.T
    expected = 0.0
    for order in ((a, b, c), (a, c, b), (b, c, a)):
        i, j, k = order
        dots = [np.einsum("ij,ij->i", mind[u], mind[v]) for u, v in ((i, j), (i, k), (j, k))]
        share = 1 / (1 + np.exp(dots[1] - dots[0]) + np.exp(dots[2] - dots[0]))
        S = [np.einsum("ij,ij->i", Z[u], Z[v]) for u, v in ((i, j), (i, k), (j, k))]
        expected += float((share * ((S[0] > S[1]) & (S[0] > S[2]))).mean())
    return mind, Z, expected


def test_intervals_cover_the_accuracy_on_new_objects_and_answers(population):
    """Over 100 draws of objects and answers the interval holds the expected accuracy at least 90 times."""
    mind, Z, truth = population
    held = 0
    for world in range(100):
        drawn = np.random.default_rng(world).choice(400, 60, replace=False)
        answers = simulated_answers(mind[drawn], 800, seed=world)
        score = odd_one_out(Z[drawn], answers, similarity="dot")
        held += score.low <= truth <= score.high
    assert 90 <= held < 100, "an interval that always holds it is too wide"


def test_permuted_answers_are_at_chance(population):
    """With the odd one drawn at random accuracy is 1/3 on average, and about 95 % of the intervals hold it."""
    mind, Z, _ = population
    found = []
    for world in range(100):
        answers = simulated_answers(mind, 1500, seed=world).answers
        permuted = np.random.default_rng(world).permuted(answers, axis=1)
        found.append(odd_one_out(Z, Answers.from_array(permuted)))
    accuracy = np.array([score.accuracy for score in found])
    assert abs(accuracy.mean() - 1 / 3) < 4 * accuracy.std() / 10
    assert 90 <= sum(score.low <= 1 / 3 <= score.high for score in found) <= 99


def anova(scores):
    """Mean squares of rows, columns and what is left, by explicit sums."""
    rows, columns = scores.shape
    grand = scores.mean()
    row_square = sum((scores[r].mean() - grand) ** 2 for r in range(rows)) * columns / (rows - 1)
    column_square = sum((scores[:, c].mean() - grand) ** 2 for c in range(columns)) * rows / (columns - 1)
    left = sum(
        (scores[r, c] - scores[r].mean() - scores[:, c].mean() + grand) ** 2
        for r, c in itertools.product(range(rows), range(columns))
    )
    return row_square, column_square, left / ((rows - 1) * (columns - 1))


def test_the_two_way_error_is_that_of_the_analysis_of_variance():
    """(MS_rows + MS_columns - MS_noise) / cells, with Satterthwaite's degrees of freedom."""
    rng = np.random.default_rng(12)
    scores = rng.normal(size=(5, 1)) + rng.normal(size=(1, 8)) + 0.3 * rng.normal(size=(5, 8))
    row, column, noise = anova(scores)
    found = two_way_estimate(scores)
    assert found.mean == pytest.approx(scores.mean())
    assert found.error == pytest.approx(math.sqrt((row + column - noise) / 40))
    freedom = (row + column - noise) ** 2 / (row**2 / 4 + column**2 / 7 + noise**2 / 28)
    assert found.freedom == pytest.approx(max(freedom, 4))
    assert two_way_estimate(scores.T).error == pytest.approx(found.error)


def test_a_table_of_pure_noise_has_the_error_of_its_noise():
    """Where rows and columns differ no more than noise makes them, the error is not less than that of the noise."""
    scores = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = two_way_estimate(scores)
    assert found.error == pytest.approx(math.sqrt(anova(scores)[2] / 9))
    assert found.freedom == 4


@pytest.mark.parametrize("shape", [(1, 7), (7, 1)])
def test_one_draw_or_one_class_is_a_plain_mean(shape):
    """With a single row or column the interval is Student's of the others."""
    values = np.random.default_rng(13).normal(size=7)
    found = two_way_estimate(values.reshape(shape))
    assert found.interval() == pytest.approx(stats.t.interval(0.95, 6, values.mean(), stats.sem(values)))
    assert two_way_estimate(values[:1, None]).interval() == (None, None)


def test_the_two_way_interval_covers_where_the_plain_one_does_not():
    """Draws and classes at random: the mean of another draw is held as often as promised; cells as independent fail."""
    rng = np.random.default_rng(14)
    crossed = plain = 0
    for _ in range(300):
        scores = 0.3 * rng.normal(size=(5, 1)) + rng.normal(size=(1, 10)) + 0.5 * rng.normal(size=(5, 10))
        low, high = two_way_estimate(scores).interval()
        crossed += low <= 0 <= high
        plain += abs(scores.mean()) <= 1.96 * scores.std() / math.sqrt(50)
    assert 0.9 <= crossed / 300 <= 0.99
    assert plain / 300 < 0.8


def unequal_table(rng, sizes):
    """A (draws, classes) table around 0, of classes with some numbers of images."""
    k = len(sizes)
    return 0.3 * rng.normal(size=(4, 1)) + rng.normal(size=(1, k)) + 0.5 * rng.normal(size=(4, k)) / np.sqrt(sizes)


def test_weights_of_a_table_are_the_sizes_of_its_classes():
    """The mean is that over images; equal weights are none; a class of weight 0 is not there."""
    rng = np.random.default_rng(20)
    sizes = np.array([40.0, 8, 6, 5, 4, 3])
    scores = unequal_table(rng, sizes)
    found = two_way_estimate(scores, sizes)
    assert found.mean == pytest.approx(np.repeat(scores, sizes.astype(int), axis=1).mean())
    plain, equal = two_way_estimate(scores), two_way_estimate(scores, np.full(6, 7.0))
    assert (equal.mean, equal.error, equal.freedom) == pytest.approx((plain.mean, plain.error, plain.freedom))
    without = two_way_estimate(np.hstack([scores, 99 * np.ones((4, 1))]), np.append(sizes, 0.0))
    assert (without.mean, without.error) == pytest.approx((found.mean, found.error))
    for wrong in (-sizes, 0 * sizes, np.full(6, np.nan)):
        with pytest.raises(DataError, match="give each a weight"):
            two_way_estimate(scores, wrong)


def test_weighted_classes_have_the_error_of_the_jackknife():
    """With one draw the variance is that of leaving out one class at a time, by an explicit loop."""
    sizes = np.array([40.0, 8, 6, 5, 4, 3])
    scores = np.random.default_rng(21).normal(size=(1, 6))
    mean = np.average(scores[0], weights=sizes)
    left = [np.average(np.delete(scores[0], c), weights=np.delete(sizes, c)) for c in range(6)]
    found = two_way_estimate(scores, sizes)
    assert found.error == pytest.approx(math.sqrt(5 / 6 * sum((one - mean) ** 2 for one in left)))
    assert found.freedom == pytest.approx(sizes.sum() ** 2 / np.square(sizes).sum() - 1)


def test_weighted_differences_have_value_interval_and_p_of_one_mean():
    """A large class that gets worse while small ones get better: the weighted mean falls, and p speaks of that mean."""
    rng = np.random.default_rng(22)
    sizes = np.array([300.0, *[10] * 9])
    change = np.array([-0.02, *[0.02] * 9])
    a, b = rng.uniform(size=(2, 5, 10)) * 0.002
    found = paired_difference(a + change, b, weights=sizes)
    assert found.difference == pytest.approx(np.average((a + change - b).mean(axis=0), weights=sizes))
    assert found.difference < 0
    plain = paired_difference(a + change, b)
    assert plain.difference > 0
    assert plain.p < 0.05
    assert found.p > 0.05, "one class decides: the sign of a mean over other classes is open"


def a_difference(kind, rng, shift):
    """Two arms of some kind of scores whose difference is about `shift` of its standard error."""
    if kind == "answers":
        answers = np.array([rng.permutation(25)[:3] for _ in range(120)])
        noise, share = rng.normal(size=120), {"answers": answers, "weights": rng.uniform(0.2, 2, size=120)}
    elif kind == "table":
        noise, share = rng.normal(size=(4, 9)), {"weights": rng.uniform(0.2, 2, size=9)}
    elif kind == "clusters":
        noise, share = rng.normal(size=60), {"clusters": rng.integers(0, 8, size=60)}
    else:
        noise, share = rng.normal(size=30), {}
    return noise + shift / math.sqrt(noise.size), np.zeros_like(noise), share


@pytest.mark.parametrize("kind", ["answers", "table", "clusters", "list"])
def test_the_interval_leaves_0_out_exactly_where_p_is_small(kind):
    """Interval and p-value are of one distribution around one value, at every level, weighted or not."""
    rng = np.random.default_rng(23)
    small = 0
    for _ in range(60):
        a, b, share = a_difference(kind, rng, shift=2.5)
        for level in (0.8, 0.95, 0.99):
            found = paired_difference(a, b, **share, level=level)
            assert (found.low > 0 or found.high < 0) == (found.p < 1 - level)
            assert (found.low + found.high) / 2 == pytest.approx(found.difference)
            small += found.p < 1 - level
    assert 10 < small < 170, "both sides are met"


def test_clusters_of_unequal_size_are_covered_where_the_plain_mean_is_not():
    """A class with most of the images does not hide its own spread: about 95 % of intervals hold the truth."""
    rng = np.random.default_rng(24)
    sizes = np.array([50, *[5] * 10])
    codes = np.repeat(np.arange(11), sizes)
    clustered = crossed = plain = 0
    for _ in range(300):
        values = rng.normal(size=11)[codes] + rng.normal(size=100)
        low, high = mean_estimate(values, codes).interval()
        clustered += low <= 0 <= high
        low, high = two_way_estimate(unequal_table(rng, sizes), sizes.astype(float)).interval()
        crossed += low <= 0 <= high
        low, high = mean_estimate(values).interval()
        plain += low <= 0 <= high
    assert clustered / 300 >= 0.93
    assert crossed / 300 >= 0.93
    assert plain / 300 < 0.6


def test_single_scores_have_students_interval_and_clusters_of_one_are_single_scores():
    """Without clusters the interval is Student's of a mean, and so it is with one score in each cluster."""
    values = np.random.default_rng(25).uniform(0.3, 0.7, size=20)
    wanted = stats.t.interval(0.95, 19, values.mean(), stats.sem(values))
    assert mean_estimate(values).interval() == pytest.approx(wanted)
    assert mean_estimate(values, np.arange(20)).interval() == pytest.approx(wanted)
    for one in (mean_estimate(values[:1]), mean_estimate(values, np.zeros(20))):
        assert one.interval() == (None, None)
    assert mean_estimate(np.array([1.0, 1.0, 0.9])).interval(fraction=True)[1] == 1.0


def test_paired_lists_have_the_paired_t_test():
    """Without answers a list of scores is compared by Student's paired test."""
    rng = np.random.default_rng(15)
    a = rng.normal(size=12)
    b = a - 0.3 + 0.5 * rng.normal(size=12)
    found, wanted = paired_difference(a, b), stats.ttest_rel(a, b)
    assert found.p == pytest.approx(wanted.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(wanted.confidence_interval()))
    assert found.n == 12


def test_paired_answers_and_tables_are_estimates_of_the_difference():
    """With answers the difference is clustered by object, a table by draws and classes; swapping flips signs."""
    rng = np.random.default_rng(16)
    answers = np.array([rng.permutation(20)[:3] for _ in range(150)])
    a, b, w = rng.uniform(size=150), rng.uniform(size=150), rng.uniform(size=150)
    found = paired_difference(a, b, answers=answers, weights=w)
    estimate = triplet_estimate(a - b, answers, w)
    assert (found.difference, found.low, found.high) == pytest.approx((estimate.mean, *estimate.interval()))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(estimate.mean) / estimate.error, 19))
    swapped = paired_difference(b, a, answers=answers, weights=w)
    assert (swapped.difference, swapped.low, swapped.high) == pytest.approx(
        (-found.difference, -found.high, -found.low)
    )
    a, b = rng.uniform(size=(4, 6)), rng.uniform(size=(4, 6))
    table, estimate = paired_difference(a, b), two_way_estimate(a - b)
    assert (table.low, table.high, table.n) == (*estimate.interval(), 24)


def test_an_arm_does_not_differ_from_itself():
    """Equal scores differ by 0 with p = 1; without any spread there is neither an interval nor another p-value."""
    same = paired_difference(np.ones(5), np.ones(5))
    assert (same.difference, same.low, same.high, same.p) == (0, None, None, 1)
    apart = paired_difference(np.full(5, 2.0), np.ones(5))
    assert (apart.difference, apart.low, apart.high, apart.p) == (1, None, None, None)


def test_pairing_beats_two_intervals():
    """Two arms that share most of their mistakes differ clearly although their own intervals overlap."""
    rng = np.random.default_rng(17)
    answers = np.array([rng.permutation(50)[:3] for _ in range(600)])
    b = (rng.uniform(size=600) < 0.5).astype(float)
    a = np.where(rng.uniform(size=600) < 0.08, 1.0, b)
    assert triplet_interval(b, answers)[1] > triplet_interval(a, answers)[0]
    assert paired_difference(a, b, answers=answers).low > 0


@pytest.mark.parametrize(
    "p", [[0.01, 0.04, 0.03, 0.5], [0.2], [0.03, 0.03, 0.03], [0.9, 0.8], [0.001, 0.0011, 0.04, 0.06]]
)
def test_holm_equals_its_definition(p):
    """Corrected p-values reject exactly what Holm's step-down procedure rejects, at every level."""
    corrected = holm(p)
    for level in np.linspace(0.001, 0.999, 97):
        rejected = set()
        for step, which in enumerate(np.argsort(p, kind="stable")):
            if p[which] * (len(p) - step) > level:
                break
            rejected.add(which)
        assert {k for k, value in enumerate(corrected) if value <= level} == rejected


def test_equal_arms_are_seldom_told_apart():
    """With five arms that do not differ, any corrected p-value below 0.05 is as rare as promised."""
    rng = np.random.default_rng(19)
    false_claims = 0
    for _ in range(200):
        first, *others = rng.normal(size=(6, 20))
        false_claims += min(holm([paired_difference(arm, first).p for arm in others])) < 0.05
    assert false_claims <= 17  # 200 × 0.05 and two standard errors


@pytest.mark.usefixtures("as_a_user")
def test_scores_that_cannot_be_compared_are_refused():
    """Each kind of wrong input is one sentence."""
    a, answers = np.zeros(4), np.arange(12).reshape(4, 3)
    cases = [
        (lambda: paired_difference(a, np.zeros(5)), DataError, r"shape \(4,\) and \(5,\)"),
        (lambda: paired_difference(np.zeros((2, 2, 2)), np.zeros((2, 2, 2))), DataError, "draws, classes"),
        (lambda: paired_difference(np.array([0, np.nan]), a[:2]), DataError, "NaN or infinity"),
        (lambda: paired_difference(a[:0], a[:0]), DataError, "are none"),
        (lambda: paired_difference(a, a, answers=answers[:3]), DataError, "there are 3 answers"),
        (lambda: paired_difference(a, a, weights=a), DataError, "weights belong to answers"),
        (lambda: paired_difference(a, a, level=1.0), ParameterError, "between 0 and 1"),
        (lambda: paired_difference(a, a, answers=answers, clusters=a[:3]), DataError, "clusters are of a list"),
        (lambda: paired_difference(a, a, clusters=a[:2]), DataError, "give each score one"),
        (lambda: two_way_estimate(np.array([[1.0, np.inf]])), DataError, "NaN or infinity"),
    ]
    for call, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_an_estimate_is_students():
    """Interval and p-value of an estimate are those of Student's t."""
    estimate = Estimate(0.3, 0.2, 7.5)
    assert estimate.interval(0.9) == pytest.approx(stats.t.interval(0.9, 7.5, 0.3, 0.2))
    assert estimate.p == pytest.approx(2 * stats.t.sf(1.5, 7.5))


def test_the_error_over_persons_is_that_of_one_left_out():
    """Where persons differ it is the jackknife's of the weighted mean, computed again without each of them."""
    rng = np.random.default_rng(17)
    answers = np.array([rng.permutation(60)[:3] for _ in range(80)])
    persons, lenient = np.repeat(np.arange(8), 10), np.repeat(rng.uniform(size=8), 10)
    values, weights = 0.1 * rng.uniform(size=80) + lenient, rng.uniform(0.5, 2, size=80) * (1 + persons)
    found, through = answer_estimate(values, answers, weights, persons)
    without = [np.average(values[persons != one], weights=weights[persons != one]) for one in range(8)]
    assert through == "persons"
    assert found.error**2 == pytest.approx(7 / 8 * np.square(np.array(without) - found.mean).sum())


def test_a_person_without_weight_is_no_person():
    """Answers of weight 0 change neither estimate, also where they are all that a person gave."""
    rng = np.random.default_rng(4)
    answers = np.array([rng.permutation(90)[:3] for _ in range(80)])
    persons, lenient = np.repeat(np.arange(8), 10), np.repeat(rng.uniform(size=8), 10)
    values = (rng.uniform(size=80) < lenient).astype(float)
    weights = np.where(persons == 3, 0.0, 1.0)
    found, through = answer_estimate(values, answers, weights, persons)
    there = weights > 0
    wanted, also = answer_estimate(values[there], answers[there], weights[there], persons[there])
    assert through == also == "persons"
    assert found.interval() == pytest.approx(wanted.interval(), rel=1e-12)
