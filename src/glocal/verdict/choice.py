"""The choice of an arm in a situation, by paired differences of all pairs of arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

from glocal.advice import SituationChoice
from glocal.evaluation.comparison import compared, difference, holm
from glocal.scores import ORIGINAL, Score
from glocal.suite.labelled import warn_at_chance
from glocal.transform import LinearTransform
from glocal.verdict.arms import CENTRED, RECENTRED, TransformedArms
from glocal.verdict.situations import (
    NOT_CLASS,
    ONE_LABEL,
    WITHOUT_MAP,
    Results,
    Task,
)

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


def decide(task: Task, arms: TransformedArms, share_of_others: float | None = None) -> Decision:
    """Choose an arm in a situation."""
    situation = Situation(task.name, task.head, reason=task.reason, share_of_others=share_of_others)
    if task.reason:
        return Decision(situation, arms.transforms, {}, [])
    results = task.results(arms.rows)
    first, *others = results
    if task.name == ONE_LABEL:
        warn_at_chance(results[first], results[first].chance)
    gains = differences(results, task.level)
    arm = choose([*results], gains, task.level)
    first_ten = {
        name: result.first_ten for name, result in results.items() if "first_ten" in result.values
    }
    gains_in_ten = differences(first_ten, task.level)
    score = results[arm].scores[0]
    situation = replace(
        situation,
        arm=arm,
        metric=score.metric,
        choice=SituationChoice.NOTHING if arm in WITHOUT_MAP else SituationChoice.RECOMMEND,
        rough=task.is_rough,
        **_ends("", score),
        **_gains(arm, first, gains),
        **_ends("precision_10", first_ten[arm].scores[0] if first_ten else None),
        **_ends("precision_10_gain", gains_in_ten.get((arm, first))),
        **_application(arm),
    )
    rows = compared(results, ())
    rows += [gains[name, first] for name in others]
    rows += [gain for (_, baseline), gain in gains_in_ten.items() if baseline == first]
    if CENTRED in results:
        rows += [gain for (_, baseline), gain in gains.items() if baseline == CENTRED]
    rows = [replace(row, task=task.name) for row in rows]
    return Decision(situation, arms.transforms, gains, rows)


def _ends(name: str, score: Score | None) -> dict[str, Any]:
    """A number with its ends, as fields of a situation; nothing without one."""
    if score is None:
        return {}
    prefix = f"{name}_" if name else ""
    return {name or "value": score.value, f"{prefix}low": score.low, f"{prefix}high": score.high}


def _gains(arm: str, first: str, gains: Gains) -> dict[str, Any]:
    """The gains of an arm over the first one and, of a transform, over the mean subtracted."""
    fields = _ends("gain", gains.get((arm, first)))
    is_transform = arm not in (first, ORIGINAL, CENTRED)
    if not is_transform or (CENTRED, first) not in gains:
        return fields
    over_mean = gains.get((arm, CENTRED)) or reversed_difference(gains[CENTRED, arm])
    of_mean = gains[CENTRED, first].value
    return {**fields, **_ends("gain_over_mean", over_mean), "gain_of_mean": of_mean}


def reversed_difference(gain: Score) -> Score:
    """The gain of the baseline over the arm."""
    low = None if gain.high is None else -gain.high
    high = None if gain.low is None else -gain.low
    return replace(gain, value=-gain.value, low=low, high=high)


def _application(arm: str) -> dict[str, Any]:
    """The transform of an arm by its name, and whether it is recentred."""
    if arm in WITHOUT_MAP:
        return {}
    transform = arm.removesuffix(RECENTRED)
    return {"transform": transform, "recentred": transform != arm}


def differences(results: Results, level: float) -> Gains:
    """The paired differences of all pairs of arms, corrected for each other by Holm's method.

    Pairs that are equal in every unit are no test. With p the p-value of a pair and p_c the
    corrected one, the interval has the level 1 - level · p / p_c, and thus excludes 0 exactly if
    p_c is below the level; where p is 0, the ratio is 1 over the number of tests.
    """
    pairs = combinations(results.items(), 2)
    rows = [row for baseline, arm in pairs for row in difference(arm, baseline)]
    p_values = [row.p or 0.0 for row in rows if row.low is not None]
    corrected = iter(holm(p_values))
    gains: dict[tuple[str, str], Score] = {}
    for row in rows:
        arm = row.transform
        baseline = row.baseline or ""
        is_test = row.low is not None
        p_corrected = next(corrected) if is_test else row.p
        ratio = 1 / max(len(p_values), 1)
        if is_test and row.p and p_corrected:
            ratio = row.p / p_corrected
        level_of_pair = 1 - level * ratio
        (gain,) = difference((arm, results[arm]), (baseline, results[baseline]), level_of_pair)
        settings = {**gain.settings, "level": level_of_pair}
        gains[arm, baseline] = replace(gain, p_corrected=p_corrected, settings=settings)
    return gains


def choose(arms: Sequence[str], gains: Gains, level: float) -> str:
    """Go through the arms and step to each that is certainly better.

    A step needs a positive gain over the present arm, over the first one, and over `centred` if
    this stands before it, each with a corrected p-value below the level.
    """
    first, *others = arms
    arm = first
    for candidate in others:
        baselines = [name for name in (arm, first, CENTRED) if (candidate, name) in gains]
        if all(is_certain(gains[candidate, name], level) for name in baselines):
            arm = candidate
    return arm


def is_certain(gain: Score, level: float) -> bool:
    """Whether a gain is positive and significant after the correction."""
    return gain.value > 0 and gain.p_corrected is not None and gain.p_corrected < level
