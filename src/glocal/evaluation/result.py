"""What every evaluation returns: rows of scores, and the units in which two arms are compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from glocal.evaluation.statistics import PairedDifference, paired_difference
from glocal.results import DIFFERENCE, Score


@dataclass(frozen=True, eq=False, kw_only=True)
class Units:
    """The values whose (weighted) mean is the first score of a result, and what they share.

    `answers`, `weights` and `clusters` are those of `paired_difference`.
    """

    values: Float[np.ndarray, "*shape"]
    answers: Int[np.ndarray, "t m"] | None = None
    weights: Float[np.ndarray, " w"] | None = None
    clusters: Shaped[np.ndarray, " n"] | None = None

    def less(self, baseline: Units) -> PairedDifference:
        """How much higher this arm scores than the baseline on the same items."""
        return paired_difference(
            self.values, baseline.values, answers=self.answers, weights=self.weights, clusters=self.clusters
        )


@runtime_checkable
class EvaluationResult(Protocol):
    """What the command line, a suite and a report use of any evaluation.

    The first of the `scores` stands for the result in tables. `units` are None where that score is not defined.
    """

    @property
    def scores(self) -> tuple[Score, ...]:
        """All rows, without split and transform; those about people themselves have the transform `people`."""

    @property
    def units(self) -> Units | None:
        """What two arms are paired in."""


@dataclass(frozen=True, eq=False)
class KeptResult:
    """A result of which nothing but scores and units was kept."""

    scores: tuple[Score, ...]
    units: Units | None


def difference_score(first: Score, difference: PairedDifference, baseline: str) -> Score:
    """The row of an arm's first score less that of the baseline."""
    return replace(
        first, metric=first.metric + DIFFERENCE, value=difference.difference, low=difference.low,
        high=difference.high, p=difference.p, settings={**first.settings, "baseline": baseline},
    )  # fmt: skip
