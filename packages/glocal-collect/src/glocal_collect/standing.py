"""Where a study stands by measurement, what more answers would add, and whether to go on."""

from __future__ import annotations

import math
from typing import NamedTuple

from glocal.data.answers import Answers
from glocal.data.planning import attained_share
from glocal.evaluation.comparison import Result
from glocal.scores import Score

MIN_GAIN = 0.01
"""A study can stop if twice as many answers certainly add less agreement (a fraction) than this."""
_OPEN = "It is open whether more answers about these images would help."


class Standing(NamedTuple):
    """The agreement before and after a fit, on answers to questions that the fit had not seen.

    `gain` is their paired difference, or None if it is not known. `lower` and `upper` are the ends
    of the ceiling as fractions, or None where they are not known.
    """

    before: float
    after: float
    gain: Score | None
    lower: float | None
    upper: float | None

    @classmethod
    def of(cls, before: Score, after: Score, gain: Score | None, bounds: Result | None) -> Standing:
        """The standing by the scores of a fit and by the ceiling."""
        lower = upper = None
        if bounds is not None:
            lower = float(bounds.leave_one_out[0])
            upper = None if bounds.majority is None else float(bounds.majority[0])
        return cls(before.value, after.value, gain, lower, upper)

    @property
    def has_gained(self) -> bool:
        """Whether the fit has certainly gained."""
        return self.gain is not None and (self.gain.low or 0.0) > 0

    @property
    def attained(self) -> tuple[float | None, float | None]:
        """The least and the largest share of the attainable gain that is attained.

        The attainable gain is the ceiling less the agreement before. Its upper end gives the least
        share, and its lower end the largest.
        """
        return self._share(self.upper), self._share(self.lower)

    def _share(self, ceiling: float | None) -> float | None:
        if not self.has_gained or ceiling is None or ceiling <= self.before:
            return None
        return min(1.0, (self.after - self.before) / (ceiling - self.before))

    @property
    def remaining(self) -> float | None:
        """The agreement that is still attainable; None without an upper end or a certain gain."""
        if not self.has_gained or self.upper is None:
            return None
        return max(0.0, self.upper - self.after)

    def sentence(self) -> str:
        """Where the study stands, as measured."""
        measured = (
            f"Measured on answers to questions that the fit had not seen, agreement rises from "
            f"{100 * self.before:.1f} to {100 * self.after:.1f} %."
        )
        if not self.has_gained:
            return (
                f"Measured on answers to questions that the fit had not seen, agreement is "
                f"{100 * self.before:.1f} % before and {100 * self.after:.1f} % after the fit: no "
                f"certain gain so far."
            )
        least, largest = self.attained
        if largest is None:
            return measured
        share = f"at most {100 * largest:.0f} %"
        if least is not None:
            share = f"{100 * least:.0f} to {100 * largest:.0f} %"
        return f"{measured} That is {share} of what is attainable."

    def record(self) -> dict[str, float | None]:
        """The numbers as JSON values."""
        least, largest = self.attained
        return {
            "before": self.before,
            "after": self.after,
            "attained_at_least": least,
            "attained_at_most": largest,
        }


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
