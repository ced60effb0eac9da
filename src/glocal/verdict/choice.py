"""The choice of an arm in a situation, by paired differences of all pairs of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

from glocal.advice import SituationChoice
from glocal.evaluation.comparison import compared, difference, holm
from glocal.scores import ORIGINAL, Score
from glocal.suite.labelled import warn_at_chance
from glocal.transform import LinearTransform
from glocal.verdict.arms import CENTRED, RECENTRED, TransformedArms
from glocal.verdict.examples import ONE_LABEL, WITHOUT_MAP, Results, Task
from glocal.verdict.situations import NOT_CLASS

Gains = Mapping[tuple[str, str], Score]
"""The paired difference of each arm from each earlier arm."""


@dataclass(frozen=True)
class Situation:
    """The choice in one situation.

    Parameters
    ----------
    name : str
        The situation, as in ``"1 label a class"``.
    head : str
        The same in the words of a sentence, with the number of labels that decided.
    choice : SituationChoice
        ``"recommend"``; ``"nothing"``, if the features stay as they are or the names alone are
        best; or ``"undecided"``, for the `reason`.
    arm : str or None
        The arm to use: ``"original"`` leaves the features as they are, ``"centred"`` subtracts
        their column means, ``"names alone"`` uses no example, ``"examples alone"`` no names and
        ``"names and examples"`` both, and all others are transforms. None
        if the situation cannot be decided.
    metric : str
        What `value` is, as in the rows of scores: ``"accuracy_ncm"``, ``"map"``, ``"auroc"``, …
    value, low, high : float or None
        The score of this arm with its 95 % interval.
    gain, gain_low, gain_high : float or None
        The gain over `original`, or beside class names over the names alone, with the interval at
        the level that is corrected for all pairs of arms (`differences`). None without a gain.
    gain_over_mean, gain_over_mean_low, gain_over_mean_high : float or None
        The gain of a transform over `centred`, with such an interval.
    gain_of_mean : float or None
        The gain of `centred` over the same arm as `gain`, beside which a transform is judged.
    precision_10, precision_10_gain, … : float or None
        Of a search, the share of right images among the first ten, with its 95 % interval, and its
        gain over `original` with an interval that is corrected as for `gain`.
    rough : bool
        Whether the smallest class has fewer than 12 images. The level is then .005.
    reason : str
        Why the situation cannot be decided; or empty.
    losses : tuple of str
        The arms recommended elsewhere that are certainly worse here, each with its loss.
    transform : str or None
        What `glocal apply` takes as its transform.
    recentred : bool
        Whether it is recentred.
    share_of_others : float or None
        Of what is not a class, the share of other images in the mean that is subtracted; None in
        other situations, or if `means` gives it.
    """

    name: str
    head: str
    choice: SituationChoice = SituationChoice.UNDECIDED
    arm: str | None = None
    metric: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    gain_over_mean: float | None = None
    gain_over_mean_low: float | None = None
    gain_over_mean_high: float | None = None
    gain_of_mean: float | None = None
    precision_10: float | None = None
    precision_10_low: float | None = None
    precision_10_high: float | None = None
    precision_10_gain: float | None = None
    precision_10_gain_low: float | None = None
    precision_10_gain_high: float | None = None
    rough: bool = False
    reason: str = ""
    losses: tuple[str, ...] = ()
    transform: str | None = None
    recentred: bool = False
    share_of_others: float | None = None

    @property
    def finds_anomalies(self) -> bool:
        """Whether the situation is to find what is not of some classes."""
        return self.name.startswith(NOT_CLASS)


class Decision(NamedTuple):
    """The choice in a situation, the differences that it rests on, and the rows of scores.

    `transforms` has the transform of each arm that has one.
    """

    situation: Situation
    transforms: Mapping[str, LinearTransform]
    gains: Gains
    scores: list[Score]


class _Interval(NamedTuple):
    """A value and the ends of its interval; all None without a score."""

    value: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def from_score(cls, score: Score | None) -> _Interval:
        """Return the value and the ends of a score, if there is one."""
        if score is None:
            return cls()
        return cls(score.value, score.low, score.high)


@dataclass(frozen=True)
class _Comparison:
    """The results of all arms and the gains over each other; `first_ten` of a search alone."""

    results: Results
    gains: Gains
    first_ten: Results
    gains_in_ten: Gains

    @classmethod
    def from_results(cls, results: Results, level: float) -> _Comparison:
        """Compare all arms, with the gains corrected at a level."""
        first_ten = {
            arm: result.first_ten for arm, result in results.items() if "first_ten" in result.values
        }
        return cls(
            results=results,
            gains=differences(results, level),
            first_ten=first_ten,
            gains_in_ten=differences(first_ten, level),
        )

    @property
    def first(self) -> str:
        """The arm that the others are compared with."""
        return next(iter(self.results))

    def rows(self) -> list[Score]:
        """The scores of all arms, and their gains over the first arm and over `centred`."""
        rows = compared(self.results, ())
        rows += _gains_over(self.first, self.gains)
        rows += _gains_over(self.first, self.gains_in_ten)
        rows += _gains_over(CENTRED, self.gains)
        return rows


def _gains_over(baseline: str, gains: Gains) -> list[Score]:
    """The gains over one arm."""
    return [gain for (_, other), gain in gains.items() if other == baseline]


def decide(
    task: Task,
    arms: TransformedArms,
    share_of_others: float | None = None,
) -> Decision:
    """Choose an arm in a situation."""
    situation = Situation(
        name=task.name,
        head=task.head,
        reason=task.reason,
        share_of_others=share_of_others,
    )
    if task.reason:
        return Decision(
            situation=situation,
            transforms=arms.transforms,
            gains={},
            scores=[],
        )
    results = task.results(arms.rows)
    if task.name == ONE_LABEL:
        first_result = next(iter(results.values()))
        warn_at_chance(first_result, first_result.chance)
    comparison = _Comparison.from_results(results, task.level)
    arm = choose([*results], comparison.gains, task.level)
    situation = replace(situation, rough=task.is_rough)
    return Decision(
        situation=_with_arm(situation, arm, comparison),
        transforms=arms.transforms,
        gains=comparison.gains,
        scores=[replace(row, task=task.name) for row in comparison.rows()],
    )


def _with_arm(situation: Situation, arm: str, comparison: _Comparison) -> Situation:
    """The situation with the chosen arm, its score, its gains, and its transform."""
    first = comparison.first
    score = comparison.results[arm].scores[0]
    gain = _Interval.from_score(comparison.gains.get((arm, first)))
    over_mean = _gain_over_mean(arm, comparison)
    gain_over_mean = _Interval.from_score(over_mean)
    gain_of_mean = None
    if over_mean is not None:
        gain_of_mean = comparison.gains[CENTRED, first].value
    precision = _Interval()
    if comparison.first_ten:
        precision = _Interval.from_score(comparison.first_ten[arm].scores[0])
    precision_gain = _Interval.from_score(comparison.gains_in_ten.get((arm, first)))
    stays = arm in WITHOUT_MAP
    return replace(
        situation,
        choice=SituationChoice.NOTHING if stays else SituationChoice.RECOMMEND,
        arm=arm,
        metric=score.metric,
        value=score.value,
        low=score.low,
        high=score.high,
        gain=gain.value,
        gain_low=gain.low,
        gain_high=gain.high,
        gain_over_mean=gain_over_mean.value,
        gain_over_mean_low=gain_over_mean.low,
        gain_over_mean_high=gain_over_mean.high,
        gain_of_mean=gain_of_mean,
        precision_10=precision.value,
        precision_10_low=precision.low,
        precision_10_high=precision.high,
        precision_10_gain=precision_gain.value,
        precision_10_gain_low=precision_gain.low,
        precision_10_gain_high=precision_gain.high,
        transform=None if stays else arm.removesuffix(RECENTRED),
        recentred=arm.endswith(RECENTRED),
    )


def _gain_over_mean(arm: str, comparison: _Comparison) -> Score | None:
    """The gain of a transform over the mean subtracted; None for another arm."""
    first = comparison.first
    gains = comparison.gains
    is_transform = arm not in (first, ORIGINAL, CENTRED)
    if not is_transform or (CENTRED, first) not in gains:
        return None
    if (arm, CENTRED) in gains:
        return gains[arm, CENTRED]
    return reversed_difference(gains[CENTRED, arm])


def reversed_difference(gain: Score) -> Score:
    """The gain of the baseline over the arm."""
    return replace(
        gain,
        value=-gain.value,
        low=None if gain.high is None else -gain.high,
        high=None if gain.low is None else -gain.low,
    )


def differences(results: Results, level: float) -> Gains:
    """The paired differences of all pairs of arms, corrected for each other by Holm's method.

    Pairs that are equal in every unit are no test. With p the p-value of a pair and p_c the
    corrected one, the interval has the level 1 - level · p / p_c, and thus excludes 0 exactly if
    p_c is below the level; where p is 0, the ratio is 1 over the number of tests.
    """
    rows: list[Score] = []
    for baseline, arm in combinations(results.items(), 2):
        rows += difference(arm, baseline)
    p_values = [row.p or 0.0 for row in rows if row.low is not None]
    n_tests = len(p_values)
    corrected_values = iter(holm(p_values))
    gains: dict[tuple[str, str], Score] = {}
    for row in rows:
        arm_name = row.transform
        baseline_name = row.baseline or ""
        p_corrected = row.p
        ratio = 1 / max(n_tests, 1)
        if row.low is not None:
            p_corrected = next(corrected_values)
            if row.p and p_corrected:
                ratio = row.p / p_corrected
        pair_level = 1 - level * ratio
        (gain,) = difference(
            (arm_name, results[arm_name]),
            (baseline_name, results[baseline_name]),
            pair_level,
        )
        gains[arm_name, baseline_name] = replace(
            gain,
            p_corrected=p_corrected,
            settings={**gain.settings, "level": pair_level},
        )
    return gains


def choose(arms: Sequence[str], gains: Gains, level: float) -> str:
    """Go through the arms and step to each that is certainly better.

    A step needs a positive gain over the present arm, over the first one, and over `centred` if
    this stands before it, each with a corrected p-value below the level.
    """
    first, *candidates = arms
    arm = first
    for candidate in candidates:
        is_better = True
        for baseline in (arm, first, CENTRED):
            gain = gains.get((candidate, baseline))
            if gain is not None and not is_certain(gain, level):
                is_better = False
        if is_better:
            arm = candidate
    return arm


def is_certain(gain: Score, level: float) -> bool:
    """Whether a gain is positive and significant after the correction."""
    if gain.p_corrected is None:
        return False
    return gain.value > 0 and gain.p_corrected < level
