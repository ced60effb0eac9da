"""The learning curve of a study and the ends of the ceiling, as a table and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from glocal.aligner.curve import curve_record
from glocal.errors import import_optional
from glocal.report import Block
from glocal.report.charts import ceiling_rules, chart_of_rows, metric_axis
from glocal.report.looks import COLOURS
from glocal.scores import Score

if TYPE_CHECKING:
    import altair as alt

_HEIGHT = 260  # pixels
_NO_CEILING = (
    "The ceiling, people’s agreement with each other, is not known: too few questions were asked "
    "twice or more."
)
_CURVE = (
    "Each third of the questions is held out in turn, and fits to parts of the other answers are "
    "scored on it. Agreement is a fraction; in brackets the 95 % interval."
)


def curve_block(scores: Sequence[Score], ends: Sequence[float]) -> Block:
    """The learning curve as a table and a chart, with the ends of the ceiling.

    The last of the scores is the gain of the last doubling.
    """
    record = curve_record(scores)
    points = pd.DataFrame(record["curve"])
    sizes = [f"{answers:,}" for answers in points["answers"]]
    sizes.append("gain of the last doubling")
    table = pd.DataFrame()
    table["Fitted answers"] = sizes
    table["Agreement"] = [score.text() for score in scores]
    note = f"{_CURVE} A dashed line is an end of the ceiling." if ends else _CURVE
    sentences = () if ends else (_NO_CEILING,)
    chart = curve_chart(points, ends)
    return Block("Learning curve", sentences, note, table, chart)


def curve_chart(points: pd.DataFrame, ends: Sequence[float]) -> alt.LayerChart:
    """Draw agreement with held-out answers against the number of fitted ones, and the ceiling."""
    alt = import_optional("altair", "a report")
    sizes = points["answers"].tolist()
    scale = alt.Scale(type="log", base=2, nice=False, padding=16)
    axis = alt.Axis(values=sizes, format=",d")
    x = alt.X("answers:Q", title="fitted answers", scale=scale, axis=axis)
    value = metric_axis(alt.Y, "value", "agreement")
    low = metric_axis(alt.Y, "low", "agreement")
    chart = chart_of_rows(points, ["answers:Q"], ["value", "low", "high"])
    base = chart.encode(x)
    colour = COLOURS["global"]
    lines = base.mark_line(color=colour)
    rules = base.mark_rule(color=colour, strokeWidth=2)
    dots = base.mark_point(color=colour, filled=True, size=80, opacity=1)
    layers = [
        lines.encode(value),
        rules.encode(low, y2="high:Q"),
        dots.encode(value),
    ]
    if ends:
        layers.append(ceiling_rules(ends, value))
    return alt.layer(*layers).properties(
        height=_HEIGHT, description="Agreement with people against the fitted answers"
    )
