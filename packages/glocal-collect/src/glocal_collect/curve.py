"""The learning curve of a study and the ceiling: numbers, table and chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.errors import import_optional
from glocal.evaluation.agreement import ceiling
from glocal.evaluation.comparison import Result
from glocal.report import Block
from glocal.report.charts import COLOURS, INK, inline_data, metric_axis, tooltips
from glocal.scores import Score

if TYPE_CHECKING:
    import altair as alt

_HEIGHT = 260  # pixels
_NO_CEILING = (
    "The ceiling, people’s agreement with each other, is not known: fewer than a tenth of the "
    "answers are to questions that were asked twice or more."
)
_CURVE = (
    "Each quarter of the questions is held out in turn, and fits to parts of the other answers are "
    "scored on it. Agreement is a fraction; in brackets the 95 % interval."
)


@dataclass(frozen=True)
class LearningCurve:
    """Agreement for growing numbers of answers, and the ceiling.

    `scores` has a row for each size and last the gain of the last doubling. `ceiling` is None if
    too few questions were asked twice.
    """

    scores: Sequence[Score]
    ceiling: Result | None

    @classmethod
    def of(cls, features: Features, answers: Answers) -> LearningCurve:
        """Fit growing parts of the answers, which index the rows of the features."""
        from glocal.aligner.curve import learning_curve

        return cls(learning_curve(features, answers), ceiling(answers))

    @property
    def ends(self) -> list[float]:
        """The ends of the ceiling that are known, the lower one first."""
        return [] if self.ceiling is None else [score.value for score in self.ceiling.scores]

    def record(self) -> dict[str, Any]:
        """The curve and the ceiling as JSON values."""
        from glocal.aligner.curve import curve_record

        bounds = None if self.ceiling is None else self.ceiling.record()
        return {"ceiling": bounds, **curve_record(self.scores)}

    def block(self, advice: str) -> Block:
        """The curve as a table and a chart, with the ends of the ceiling and the advice."""
        points = self.record()["curve"]
        sizes = [*(f"{point['answers']:,}" for point in points), "gain of the last doubling"]
        table = pd.DataFrame(
            {"Fitted answers": sizes, "Agreement": [score.text() for score in self.scores]}
        )
        note = f"{_CURVE} A black line is an end of the ceiling." if self.ends else _CURVE
        sentences = (advice, *([] if self.ends else [_NO_CEILING]))
        return Block("Learning curve", sentences, note, table, curve_chart(points, self.ends))


def curve_chart(curve: list[dict[str, Any]], ends: list[float]) -> alt.LayerChart:
    """Draw agreement with held-out answers against the number of fitted ones, and the ceiling."""
    alt = import_optional("altair", "a report")
    points = pd.DataFrame(curve)
    x = alt.X(
        "answers:Q",
        title="fitted answers",
        scale=alt.Scale(type="log", base=2, nice=False, padding=16),
        axis=alt.Axis(values=points["answers"].tolist(), format=",d"),
    )
    y, low = (metric_axis(alt.Y, name, "accuracy_cosine") for name in ("value", "low"))
    tooltip = ["answers:Q", *tooltips("value", "low", "high")]
    base = alt.Chart(inline_data(points)).encode(x, tooltip=tooltip)
    colour = COLOURS[0]
    layers = [
        base.mark_line(color=colour).encode(y),
        base.mark_rule(color=colour, strokeWidth=2).encode(low, y2="high:Q"),
        base.mark_point(color=colour, filled=True, size=80, opacity=1).encode(y),
    ]
    if ends:
        lines = alt.Chart(inline_data(pd.DataFrame({"value": ends}))).mark_rule(color=INK)
        layers.append(lines.encode(y, tooltip="value:Q"))
    return alt.layer(*layers).properties(
        height=_HEIGHT, description="Agreement with people against the fitted answers"
    )
