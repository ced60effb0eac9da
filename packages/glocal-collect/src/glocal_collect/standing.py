"""Where a study stands by measurement, and whether more answers would help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from glocal.scores import Score

MIN_GAIN = 0.01
"""A study can stop if the last doubling certainly added less agreement (a fraction) than this."""


class Standing(NamedTuple):
    """Where a study stands, on answers to questions that the fit had not seen.

    `before` and `after` are the agreement as fractions, `has_gained` says whether the gain is
    certain. `attained` are the shares of the attainable gain by the lower end of the ceiling, which
    is the largest, and by its upper end, if they are known.
    """

    before: float
    after: float
    has_gained: bool
    attained: tuple[float, ...] = ()

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
    if gain is None or gain.low is None or gain.low <= 0:
        return Standing(before, after, has_gained=False)
    attained = tuple((after - before) / (end - before) if end > after else 1.0 for end in ends)
    return Standing(before, after, True, attained)


def advise(last_doubling: Score) -> str:
    """Whether to go on collecting, by what the last doubling of the fitted answers added."""
    gain = (
        f"Twice as many fitted answers changed agreement by {100 * last_doubling.value:+.1f} points"
    )
    low, high = last_doubling.low, last_doubling.high
    if low is None or high is None:
        return f"{gain}: it is open whether more answers about these images would help."
    measured = f"{gain} (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    if high < MIN_GAIN:
        return (
            f"{measured}: stop collecting, since more answers about these images would hardly "
            "help. To do better on other images, show more images."
        )
    if low > 0:
        return f"{measured}: go on collecting, since more answers about these images would help."
    return f"{measured}: it is open whether more answers about these images would help."
