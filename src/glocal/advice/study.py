"""Whether a study has attained what people's answers can give, and whether to go on collecting."""

from __future__ import annotations

from collections.abc import Sequence

from glocal.advice.subject import Agreement
from glocal.scores import Score

MIN_GAIN = 0.01
"""A study can stop if the last doubling certainly added less agreement (a fraction) than this."""


def has_gained(agreement: Agreement) -> bool:
    """Whether the interval of the gain in agreement lies above 0."""
    gain = agreement.gain
    return gain is not None and gain.low is not None and gain.low > 0


def attained_shares(agreement: Agreement, ceiling: Sequence[float]) -> list[float]:
    """The shares of the attainable gain, by each end of the ceiling; none without a certain gain.

    The lower end of the ceiling, with the largest share, comes first.
    """
    if not has_gained(agreement):
        return []
    before = agreement.before.value
    after = agreement.after.value
    return [(after - before) / (end - before) if end > after else 1.0 for end in ceiling]


def attained_sentence(shares: Sequence[float]) -> str:
    """Say how much of the attainable gain a study has; empty if that was not measured."""
    percents = [f"{100 * share:.0f}" for share in shares]
    if not percents:
        return ""
    largest = percents[0]
    smallest = percents[-1]
    if len(percents) == 1:
        words = f"at most {largest}"
    elif smallest == largest:
        words = largest
    else:
        words = f"{smallest} to {largest}"
    return f"The gain is {words} % of what is attainable."


def doubling_sentence(gain: Score) -> str:
    """Say whether to go on collecting, by the gain of the last doubling of the fitted answers."""
    change = f"Twice as many fitted answers changed agreement by {100 * gain.value:+.1f} points"
    low = gain.low
    high = gain.high
    if low is None or high is None:
        return f"{change}: it is open whether more answers about these images would help."
    measured = f"{change} (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    if high < MIN_GAIN:
        return (
            f"{measured}: stop collecting, since more answers about these images would hardly "
            "help. To do better on other images, show more images."
        )
    if low > 0:
        return f"{measured}: go on collecting, since more answers about these images would help."
    return f"{measured}: it is open whether more answers about these images would help."
