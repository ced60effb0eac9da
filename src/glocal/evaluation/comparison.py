"""The result of an evaluation, and the comparison of arms that were scored on the same data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.evaluation.intervals import Units
from glocal.scores import DIFFERENCE, PEOPLE, Score
from glocal.screen import Printable, text_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Result(Printable):
    """The result of an evaluation: ``result.accuracy`` is the value of that name.

    Parameters
    ----------
    scores : tuple of Score
        All rows; tables show the first one, and rows of people have the transform `PEOPLE`.
    units : Units
        The values by which two arms are paired, with the first score as their mean; empty if that
        score is undefined.
    values : mapping
        The values by their names in JSON, which are attributes too. Arrays stay out of JSON.
    """

    scores: tuple[Score, ...]
    units: Units
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_scores(
        cls, scores: Sequence[Score], units: Units, variant: str = "", **values: Any
    ) -> Result:
        """Return a result with the values of all rows, the fields of the first row, and `values`.

        The name of a value is the metric of its row, without the `variant` at its end.
        """
        first = scores[0]
        rows = {score.metric.removesuffix(f"_{variant}"): score.value for score in scores}
        fields = {"low": first.low, "high": first.high, "n": first.n, **first.settings}
        return cls(tuple(scores), units, {**rows, **fields, **values})

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})
        if name not in values:
            raise AttributeError(f"this result has no {name!r}; it has {', '.join(values)}")
        return values[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.values]

    def summary(self) -> str:
        """Say the first score, and how many things are behind it."""
        first = self.scores[0]
        return f"{first.task}: {first.metric} {first.text()}, n {first.n:,}"

    def table(self) -> pd.DataFrame:
        """Return the scores, one a row."""
        import pandas as pd

        return pd.DataFrame([score.row() for score in self.scores])

    def text_lines(self) -> list[str]:
        """The scores, one a line."""
        rows = [[score.metric, score.text(), str(score.n)] for score in self.scores]
        return text_table([["metric", "value", "n"], *rows])

    def record(self) -> dict[str, Any]:
        """The values for JSON, without arrays."""
        return {
            name: value.record() if isinstance(value, Result) else value
            for name, value in self.values.items()
            if not isinstance(value, np.ndarray)
        }


def compared(results: Mapping[str, Result], pairs: Iterable[tuple[str, str]]) -> list[Score]:
    """The score rows of arms that were scored on the same data, and of their differences.

    The rows of each arm come first, then the rows of people once, then the differences. The row of
    a pair (arm, baseline) is the difference of their first scores in paired units. It is left out
    if one of the two is undefined.
    """
    rows = [
        replace(row, transform=arm)
        for arm, result in results.items()
        for row in result.scores
        if row.transform != PEOPLE
    ]
    rows += [row for row in next(iter(results.values())).scores if row.transform == PEOPLE]
    for arm, baseline in pairs:
        rows += difference((arm, results[arm]), (baseline, results[baseline]))
    return rows


def difference(
    arm: tuple[str, Result], baseline: tuple[str, Result], level: float = 0.95
) -> Iterator[Score]:
    """Yield the difference of the first scores of two named arms, unless one is undefined."""
    name, result = arm
    baseline_name, baseline_result = baseline
    units = result.units
    if not (units.values.size and baseline_result.units.values.size):
        return
    score = result.scores[0]
    estimate = units.minus(baseline_result.units)
    lowest, highest = units.limits
    low, high = estimate.interval((lowest - highest, highest - lowest), level)
    yield replace(
        score,
        metric=score.metric + DIFFERENCE,
        value=estimate.mean,
        low=low,
        high=high,
        p=estimate.p,
        transform=name,
        settings={**score.settings, "baseline": baseline_name},
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, which control the probability of any false positive among all.

    With p in ascending order, the k-th of m becomes max over j ≤ k of min(1, (m - j + 1) p_j).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    import pandas as pd

    ascending = pd.Series(p).sort_values(kind="stable")
    steps = ascending * np.arange(len(p), 0, -1)
    return steps.clip(upper=1.0).cummax().sort_index().tolist()
