"""A mean, how uncertain it is, and what follows from that: interval and p-value."""

from __future__ import annotations

from dataclasses import dataclass

from glocal.errors import ParameterError


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard `error`, known with `freedom` degrees of freedom.

    Examples
    --------
    >>> low, high = Estimate(0.5, 0.01, 99).interval()
    >>> round(low, 4), round(high, 4)
    (0.4802, 0.5198)
    """

    mean: float
    error: float
    freedom: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's t interval, mean ± t(level) · error; not clipped, since a mean may be a difference."""
        from scipy.special import stdtrit

        if not 0 < level < 1:
            raise ParameterError(f"level is {level}; it must lie between 0 and 1, for example 0.95.")
        half = float(stdtrit(self.freedom, 0.5 + level / 2)) * self.error
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided p-value of a mean of 0."""
        from scipy.special import stdtr

        if self.error == 0:
            return float(self.mean == 0)
        return 2 * float(stdtr(self.freedom, -abs(self.mean) / self.error))
