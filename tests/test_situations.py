"""The rule that chooses an arm in a situation, and the differences that it rests on."""

from itertools import combinations

import numpy as np
import pytest
from world import normal, table

from glocal.advice import SituationChoice
from glocal.evaluation.comparison import Result, holm
from glocal.evaluation.intervals import ItemValues
from glocal.scores import ORIGINAL, Score
from glocal.verdict.arms import TransformedArms
from glocal.verdict.choice import choose, decide, differences
from glocal.verdict.examples import Task
from glocal.verdict.images import LabelledImages
from glocal.verdict.situations import tasks

ARMS = ("original", "centred", "near", "far")


# the arm that is chosen | the accuracies of the four arms | the pair whose difference is uncertain
STEPS = """
original | .5 .5 .5 .5
original | .5 .4 .4 .3
centred  | .5 .6 .5 .55
far      | .5 .6 .5 .7
original | .5 .6 .5 .5  | centred original
centred  | .5 .6 .7 .5  | near centred
centred  | .5 .6 .7 .5  | near original
near     | .5 .6 .7 .75 | far near
original | .5 .4 .5 .5
far      | .5 .49 .5 .6 | centred original
centred  | .5 .55 .5 .6 | far centred
"""


@table("chosen, accuracies, uncertain", STEPS)
def test_a_step_needs_a_certain_gain_over_the_present_arm_and_the_first(
    chosen, accuracies, uncertain
):
    """Each later arm is stepped to if it is better than the present arm, than the first one and
    than `centred`, all significantly after the correction; significant alone is not enough.
    """
    gains = {}
    values = dict(zip(ARMS, map(float, accuracies.split()), strict=True))
    for baseline, arm in combinations(ARMS, 2):
        gain = values[arm] - values[baseline]
        p = 0.05 if uncertain == f"{arm} {baseline}" or not gain else 0.001
        gains[arm, baseline] = Score("", "", gain, p=0.04, p_corrected=p)
    assert choose(ARMS, gains, 0.05) == chosen


def results_of(n=40, shifts=(0.0, 0.1, 0.1, 0.4)):
    """Four arms on n items; the third equals the second in every unit."""
    rng = np.random.default_rng(3)
    values = [0.3 + shift + 0.3 * rng.normal(size=n) for shift in shifts]
    values[2] = values[1]
    return {
        arm: Result((Score("task", "metric", float(x.mean())),), ItemValues(values=x))
        for arm, x in zip(ARMS, values, strict=True)
    }


class Measured(Task):
    """A situation whose results are measured already."""

    name = head = reason = ""
    level = 0.05
    is_rough = False
    score = None

    def __init__(self, results, level):
        vars(self).update(results=lambda _: results, level=level, is_rough=level < 0.05)


@pytest.mark.parametrize("level", [0.05, 0.01])
def test_intervals_invert_the_correction(level):
    """P-values are corrected for all pairs that differ in some unit, and an interval excludes 0
    exactly if the corrected p-value is below the level.
    """
    results = results_of()
    gains = differences(results, level)
    pairs = [pair for pair in gains if pair != ("near", "centred")]
    estimates = [results[arm].units.minus(results[baseline].units) for arm, baseline in pairs]
    corrected = holm([estimate.p for estimate in estimates])
    assert [gains[pair].p_corrected for pair in pairs] == pytest.approx(corrected)
    for pair, estimate, p in zip(pairs, estimates, corrected, strict=True):
        gain = gains[pair]
        ends = estimate.interval((-1, 1), 1 - level * estimate.p / p)
        assert gain.settings["level"] == pytest.approx(1 - level * estimate.p / p)
        assert (gain.value, gain.low, gain.high) == pytest.approx((estimate.mean, *ends))
        assert (gain.low > 0 or gain.high < 0) == (p < level)
    equal = gains["near", "centred"]
    assert equal.value == 0
    assert equal.low is None
    assert equal.p_corrected == 1


def test_a_rough_situation_is_decided_at_its_own_level():
    """With a corrected p between both levels a step is taken, and the interval excludes 0, at .05
    alone.
    """
    results = results_of(shifts=(0.0, 0.25, 0.0, 0.1))
    for level, arm in ((0.05, "centred"), (0.01, "original")):
        situation, _, gains, _ = decide(Measured(results, level), TransformedArms({}, {}))
        gain = gains["centred", "original"]
        assert 0.01 < gain.p_corrected < 0.05
        assert situation.arm == arm
        assert situation.rough == (level < 0.05)
        assert (gain.low > 0) == (level == 0.05)


def test_a_p_value_of_0_takes_the_level_of_all_pairs():
    """If p is 0, the interval has the level 1 - .05 over the number of pairs."""
    values = np.linspace(0, 1e-9, 50)
    units = {arm: ItemValues(values=values * k + 0.2 * k) for k, arm in enumerate(ARMS[:3])}
    score = Score("task", "metric", 0.0)
    gains = differences({arm: Result((score,), unit) for arm, unit in units.items()}, 0.05)
    gain = gains["centred", "original"]
    estimate = units["centred"].minus(units["original"])
    assert gain.p == 0
    assert gain.p_corrected == 0
    assert (gain.low, gain.high) == estimate.interval((-1, 1), 1 - 0.05 / 3)


@pytest.mark.nightly
def test_arms_that_are_alike_are_seldom_recommended():
    """Of 20 sets with five arms whose images have the same class means and independent noise, at
    most three get a recommendation in any situation; benchmarks/interval_coverage.py counts more.
    """
    means = normal(4, 16)
    y = np.repeat(np.arange(4), 12)
    counts = {}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        names = (ORIGINAL, *(f"arm {k}" for k in range(1, 5)))
        arms = {name: [means[y] + 2 * rng.normal(size=(48, 16))] for name in names}
        first = arms[ORIGINAL]
        for task in tasks(LabelledImages.from_rows(first, [y])):
            situation, _, gains, _ = decide(task, TransformedArms(arms, {}))
            assert len(gains) == 10
            counts[task.name] = counts.get(task.name, 0) + (
                situation.choice == SituationChoice.RECOMMEND
            )
    assert len(counts) == 4
    assert max(counts.values()) <= 3
