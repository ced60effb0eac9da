"""What every evaluation returns: rows of scores, and the units in which two arms are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from glocal.evaluation.intervals import Estimate, Units
from glocal.results import DIFFERENCE, Score


@runtime_checkable
class EvaluationResult(Protocol):
    """What the command line, a suite and a report use of any evaluation.

    The first of the `scores` stands for the result in tables; it is the mean of the `units`, which are None where it is
    not defined.
    """

    @property
    def scores(self) -> tuple[Score, ...]:
        """All rows, without split and transform; those about people themselves have the transform `people`."""

    @property
    def units(self) -> Units | None:
        """What two arms are paired in."""


@dataclass(frozen=True, eq=False)
class KeptResult:
    """A result reduced to its scores and units."""

    scores: tuple[Score, ...]
    units: Units | None


def difference_score(first: Score, difference: Estimate, baseline: str) -> Score:
    """The row of an arm's first score less that of the baseline."""
    low, high = difference.interval()
    return replace(
        first, metric=first.metric + DIFFERENCE, value=difference.mean, low=low, high=high, p=difference.p,
        settings={**first.settings, "baseline": baseline},
    )  # fmt: skip
