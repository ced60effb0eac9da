"""The result of an evaluation, and the comparison of arms that were scored on the same data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np

from glocal.evaluation.intervals import Units
from glocal.scores import DIFFERENCE, PEOPLE, Score
from glocal.screen import Printable, text_table

if TYPE_CHECKING:
    import pandas as pd

Json = str | float | Sequence["Json"] | Mapping[str, "Json"] | Mapping[int, "Json"] | None
"""What JSON can hold."""
Value = Union[Json, np.ndarray, "Result"]
"""A value of a result; arrays stay out of JSON."""


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
    values: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def from_scores(
        cls,
        scores: Sequence[Score],
        units: Units,
        variant: str = "",
        **values: Value,
    ) -> Result:
        """Return a result with the values of all rows, the fields of the first row, and `values`.

        The name of a value is the metric of its row, without the `variant` at its end.
        """
        first = scores[0]
        ending = f"_{variant}"
        fields: dict[str, Value] = {}
        for score in scores:
            name = score.metric.removesuffix(ending)
            fields[name] = score.value
        fields["low"] = first.low
        fields["high"] = first.high
        fields["n"] = first.n
        settings = cast("Mapping[str, Value]", first.settings)
        fields.update(settings)
        fields.update(values)
        return cls(tuple(scores), units, fields)

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})
        if name not in values:
            names = ", ".join(values)
            raise AttributeError(f"this result has no {name!r}; it has {names}")
        return values[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.values]

    def summary(self) -> str:
        """Say the first score, and how many things are behind it."""
        first = self.scores[0]
        value = first.text()
        return f"{first.task}: {first.metric} {value}, n {first.n:,}"

    def table(self) -> pd.DataFrame:
        """Return the scores, one a row."""
        import pandas as pd

        rows = [score.row() for score in self.scores]
        return pd.DataFrame(rows)

    def text_lines(self) -> list[str]:
        """The scores, one a line."""
        table = [["metric", "value", "n"]]
        for score in self.scores:
            value = score.text()
            table.append([score.metric, value, str(score.n)])
        return text_table(table)

    def record(self) -> dict[str, Json]:
        """The values for JSON, without arrays."""
        record: dict[str, Json] = {}
        for name, value in self.values.items():
            if isinstance(value, Result):
                record[name] = value.record()
            elif not isinstance(value, np.ndarray):
                record[name] = value
        return record


def compared(results: Mapping[str, Result], pairs: Iterable[tuple[str, str]]) -> list[Score]:
    """The score rows of arms that were scored on the same data, and of their differences.

    The rows of each arm come first, then the rows of people once, then the differences. The row of
    a pair (arm, baseline) is the difference of their first scores in paired units. It is left out
    if one of the two is undefined.
    """
    rows: list[Score] = []
    for arm, result in results.items():
        scores = [score for score in result.scores if score.transform != PEOPLE]
        rows += [replace(score, transform=arm) for score in scores]
    first_result = next(iter(results.values()))
    rows += [score for score in first_result.scores if score.transform == PEOPLE]
    for arm, baseline in pairs:
        rows += difference(
            (arm, results[arm]),
            (baseline, results[baseline]),
        )
    return rows


def difference(
    arm: tuple[str, Result], baseline: tuple[str, Result], level: float = 0.95
) -> Iterator[Score]:
    """Yield the difference of the first scores of two named arms, unless one is undefined."""
    name, result = arm
    baseline_name, baseline_result = baseline
    units = result.units
    baseline_units = baseline_result.units
    if not (units.values.size and baseline_units.values.size):
        return
    score = result.scores[0]
    estimate = units.minus(baseline_units)
    lowest, highest = units.limits
    widest = highest - lowest
    low, high = estimate.interval((-widest, widest), level)
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
    numbers_of_tests = np.arange(len(p), 0, -1)
    corrected = ascending * numbers_of_tests
    increasing = corrected.clip(upper=1.0).cummax()
    return increasing.sort_index().tolist()
