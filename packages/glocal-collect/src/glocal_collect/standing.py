"""Where a study stands by measurement, what more answers would add, and whether to go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from glocal.data.answers import Answers
from glocal.data.planning import attained_share
from glocal.scores import Score

MIN_GAIN = 0.01
"""A study can stop if twice as many answers certainly add less agreement (a fraction) than this."""
_OPEN = "It is open whether more answers about these images would help."


class Standing(NamedTuple):
    """Where a study stands, on answers to questions that the fit had not seen.

    `before` and `after` are the agreement as fractions, `has_gained` says whether the gain is
    certain. `attained` are the shares of the attainable gain by the lower end of the ceiling, which
    is the largest, and by its upper end, if they are known. `remaining` is the agreement that is
    still attainable; None without an upper end or a certain gain.
    """

    before: float
    after: float
    has_gained: bool
    attained: tuple[float, ...] = ()
    remaining: float | None = None

    def sentence(self) -> str:
        """Where the study stands, as measured."""
        measured = (
            "Measured on answers to questions that the fit had not seen, agreement is "
            f"{100 * self.before:.1f} % before and {100 * self.after:.1f} % after the fit"
        )
        if not self.has_gained:
            return f"{measured}: no certain gain so far."
        if not self.attained:
            return f"{measured}."
        most, *least = (f"{100 * share:.0f}" for share in self.attained)
        share = f"at most {most}"
        if least:
            share = most if least == [most] else f"{least[0]} to {most}"
        return f"{measured}. That is {share} % of what is attainable."


def standing(before: float, after: float, gain: Score | None, ends: Sequence[float]) -> Standing:
    """Compare the gain of a fit with the ends of the ceiling, the lower one first, if known."""
    has_gained = gain is not None and (gain.low or 0.0) > 0
    if not has_gained:
        return Standing(before, after, has_gained)
    attained = tuple((after - before) / (end - before) if end > after else 1.0 for end in ends)
    remaining = max(0.0, ends[1] - after) if len(ends) > 1 else None
    return Standing(before, after, has_gained, attained, remaining)


def advise(last_doubling: Score, answers: Answers, remaining: float | None) -> tuple[str, str]:
    """Return the advice whether to go on collecting, and the reason.

    The formula of `glocal.plan_study` says which share of the `remaining` gain twice as many
    answers would add. Where it is not known what remains, the last doubling of the learning curve,
    a less certain guide, decides alone.
    """
    n_answers = len(answers)
    n_objects = len(answers.named_objects())
    share, share_of_twice = (attained_share(t, n_objects) for t in (n_answers, 2 * n_answers))
    gain = math.nan
    if remaining is not None:
        gain = remaining * (share_of_twice - share) / (1 - share)
    low, high = (
        math.nan if end is None else end for end in (last_doubling.low, last_doubling.high)
    )
    interval = "" if math.isnan(low) else f" (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    reason = (
        f"The plan forecasts for an average study that {n_answers:,} answers about {n_objects:,} "
        f"images give about {100 * share:.0f} % of what is attainable for these images, and twice "
        f"as many, from {answers.n_people or 0:,} more people like these, "
        f"{100 * share_of_twice:.0f} %. The last doubling of the learning curve changed agreement "
        f"by {100 * last_doubling.value:+.1f} points{interval}."
    )
    return _advice(gain, low, high), reason


def _advice(gain: float, low: float, high: float) -> str:
    """The advice by the forecast gain, and by the interval of the last doubling; NaN if unknown."""
    if high < MIN_GAIN or gain < MIN_GAIN:
        return (
            "Stop collecting: more answers about these images would hardly help. To do better on "
            "other images, show more images."
        )
    if gain >= MIN_GAIN:
        return (
            "Go on collecting: twice as many answers about these images would add about "
            f"{100 * gain:.1f} points of agreement."
        )
    return "Go on collecting: more answers about these images would help." if low > 0 else _OPEN
