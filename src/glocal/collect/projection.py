"""How a learning curve goes on: a power law through its points, with the uncertainty of its answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from glocal.collect.curve import Curve

GAIN = 0.01
"""The rise of agreement whose price is told."""
_EXPONENTS = np.linspace(0.25, 1.0, 16)  # of learning curves in the literature; four points alone do not tell
_DRAWS = 400
_AHEAD = (1.0, 1.5, 2.0, 3.0, 4.0)  # times the answers of today
_FAR = 20.0  # times the answers of today: beyond, nothing is told
_FEW = 8  # persons: with fewer, questions are drawn


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """a(n) = c - b n^-γ with b ≥ 0."""

    c: float
    b: float
    gamma: float

    def __call__(self, n: float) -> float:
        """a(n)."""
        return self.c - self.b * n**-self.gamma

    def more(self, n: float, gain: float = GAIN) -> float:
        """How many more than n answers raise a(n) by the gain; infinite where c is nearer.

        >>> round(PowerLaw(0.6, 1.0, 0.5).more(100, 0.05))
        300
        """
        left = self.b * n**-self.gamma - gain
        return (self.b / left) ** (1 / self.gamma) - n if left > 0 else math.inf


def power_law(sizes: Float[np.ndarray, " s"], values: Float[np.ndarray, " s"]) -> PowerLaw:
    """The least-squares power law, γ from 0.25 to 1.

    >>> law = power_law(np.array([100.0, 200, 400, 800]), 0.6 - np.array([100.0, 200, 400, 800]) ** -0.5)
    >>> round(law.c, 6), round(law.gamma, 6)
    (0.6, 0.5)
    """
    found, least = PowerLaw(float(values.mean()), 0.0, 1.0), math.inf
    for gamma in _EXPONENTS:
        x = sizes**-gamma
        away = x - x.mean()
        b = max(0.0, float(-(away @ values) / (away @ away)))
        c = float(values.mean() + b * x.mean())
        error = float(np.square(c - b * x - values).sum())
        if error < least:
            found, least = PowerLaw(c, b, float(gamma)), error
    return found


@dataclass(frozen=True)
class Projection:
    """What is ahead with more answers than the `answers` of today.

    `points` are (answers, agreement, low, high) and `more` (median, low, high) the further answers for `GAIN`, infinite
    where no number is enough; low to high holds 80 % of the draws.
    """

    answers: int
    points: tuple[tuple[int, float, float, float], ...]
    more: tuple[float, float, float]

    @property
    def sentence(self) -> str:
        """The price of the next hundredth in words."""
        gain = f"+{GAIN:.2f}".replace("0.", ".")
        middle, low, high = (value if value <= _FAR * self.answers else math.inf for value in self.more)
        if math.isinf(low):
            return f"{gain} is not in sight: more answers about these images would hardly raise the agreement"
        if math.isinf(middle):
            return f"at least {_rounded(low)} more answers for {gain}, maybe far more"
        if math.isinf(high):
            return f"about {_rounded(middle)} more answers for {gain}; {_rounded(low)} at least, and maybe far more"
        return f"about {_rounded(middle)} more answers for {gain}, likely {_rounded(low)} to {_rounded(high)}"


def project(curve: Curve, answers: int, *, seed: int = 0) -> Projection:
    """Carry a curve on from the `answers` of today.

    The law is fitted again to curves of resampled held-out answers: persons are drawn where there are at least 8,
    otherwise answers. The draws do not hold that other answers might have been fitted, nor that the law may be another
    one, so that the truth is less certain than they say.
    """
    rng = np.random.default_rng(seed)
    person = curve.heldout.person
    names, group = (None, np.arange(len(curve.credit)))
    if person is not None:
        names, codes = np.unique(person, return_inverse=True)
        group = codes if len(names) >= _FEW else group
    n = int(group.max()) + 1
    sums = np.stack([np.bincount(group, one, n) for one in curve.credit.T])
    counts = np.bincount(group, minlength=n)
    ahead = [answers * times for times in _AHEAD]
    more, values = np.empty(_DRAWS), np.empty((_DRAWS, len(ahead)))
    for draw in range(_DRAWS):
        weights = rng.multinomial(n, np.full(n, 1 / n))
        law = power_law(curve.sizes, sums @ weights / (counts @ weights))
        more[draw], values[draw] = law.more(answers), [law(one) for one in ahead]
    law = power_law(curve.sizes, curve.credit.mean(axis=0))
    low, high = np.quantile(values, (0.1, 0.9), axis=0)
    points = tuple((round(one), law(one), float(low[i]), float(high[i])) for i, one in enumerate(ahead))
    ordered = np.sort(more)
    low_more, middle, high_more = (float(ordered[int(share * (_DRAWS - 1))]) for share in (0.1, 0.5, 0.9))
    return Projection(answers, points, (middle, low_more, high_more))


def _rounded(value: float) -> str:
    """Two digits: nothing more is known."""
    value = max(1.0, value)
    step = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{max(1, round(value / step)) * step:,}"
