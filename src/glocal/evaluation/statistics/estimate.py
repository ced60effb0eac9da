"""A mean, how uncertain it is, and what follows from that: interval and p-value."""

from __future__ import annotations

from dataclasses import dataclass

from glocal.errors import ParameterError

_ROUNDING = 16 * 2.0**-52  # equal scores differ from their rounded mean by some eps


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard `error`, known with `freedom` degrees of freedom.

    `error` is None where the scores cannot tell it, and then there is no interval: of a single score or a single
    cluster of dependent scores nothing is known of how another would turn out, and scores that are all equal show no
    spread to judge by. (All of five answers right does not prove an accuracy of exactly 1.)

    Interval and p-value are of one Student's t distribution: the 95 % interval leaves 0 out exactly where p < 0.05.

    Examples
    --------
    >>> low, high = Estimate(0.5, 0.01, 99).interval()
    >>> round(low, 4), round(high, 4)
    (0.4802, 0.5198)
    >>> Estimate(1.0, None, 0).interval()
    (None, None)
    """

    mean: float
    error: float | None
    freedom: float

    @classmethod
    def of_variance(cls, mean: float, variance: float, freedom: float, largest: float) -> Estimate:
        """An estimate from the variance of the mean; without an error where that is nothing but rounding.

        `largest` is the largest absolute score, `freedom` 0 where the scores are a single cluster.
        """
        error = max(variance, 0.0) ** 0.5
        return cls(mean, error if freedom > 0 and error > _ROUNDING * largest else None, freedom)

    def interval(self, level: float = 0.95, *, fraction: bool = False) -> tuple[float | None, float | None]:
        """Student's t interval, mean ± t(level) · error; (None, None) without an error.

        A mean may be a difference: the ends are clipped to [0, 1] only for a `fraction`.
        """
        from scipy.special import stdtrit

        if not 0 < level < 1:
            raise ParameterError(f"level is {level}; it must lie between 0 and 1, for example 0.95.")
        if self.error is None:
            return None, None
        half = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        low, high = self.mean - half, self.mean + half
        return (max(0.0, low), min(1.0, high)) if fraction else (low, high)

    @property
    def p(self) -> float | None:
        """Two-sided p-value of a mean of 0: 1 for a mean of exactly 0, else None without an error."""
        from scipy.special import stdtr

        if self.mean == 0:
            return 1.0
        return None if self.error is None else 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error))
