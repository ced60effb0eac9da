"""The learning curve of a study and the ends of the ceiling, as a table and a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from glocal.aligner.curve import curve_record
from glocal.errors import import_optional
from glocal.report import Block
from glocal.report.charts import ceiling_rules, inline_data, metric_axis, tooltips
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
    "Each quarter of the questions is held out in turn, and fits to parts of the other answers are "
    "scored on it. Agreement is a fraction; in brackets the 95 % interval."
)


def curve_block(scores: Sequence[Score], ends: Sequence[float]) -> Block:
    """The learning curve as a table and a chart, with the ends of the ceiling.

    The last of the scores is the gain of the last doubling.
    """
    points = curve_record(scores)["curve"]
    sizes = [*(f"{point['answers']:,}" for point in points), "gain of the last doubling"]
    table = pd.DataFrame({"Fitted answers": sizes, "Agreement": [score.text() for score in scores]})
    note = f"{_CURVE} A dashed line is an end of the ceiling." if ends else _CURVE
    sentences = () if ends else (_NO_CEILING,)
    return Block("Learning curve", sentences, note, table, curve_chart(points, ends))


def curve_chart(curve: list[dict[str, Any]], ends: Sequence[float]) -> alt.LayerChart:
    """Draw agreement with held-out answers against the number of fitted ones, and the ceiling."""
    alt = import_optional("altair", "a report")
    points = pd.DataFrame(curve)
    x = alt.X(
        "answers:Q",
        title="fitted answers",
        scale=alt.Scale(type="log", base=2, nice=False, padding=16),
        axis=alt.Axis(values=points["answers"].tolist(), format=",d"),
    )
    y, low = (metric_axis(alt.Y, name, "agreement") for name in ("value", "low"))
    tooltip = ["answers:Q", *tooltips("value", "low", "high")]
    base = alt.Chart(inline_data(points)).encode(x, tooltip=tooltip)
    colour = COLOURS["global"]
    layers = [
        base.mark_line(color=colour).encode(y),
        base.mark_rule(color=colour, strokeWidth=2).encode(low, y2="high:Q"),
        base.mark_point(color=colour, filled=True, size=80, opacity=1).encode(y),
    ]
    if ends:
        layers.append(ceiling_rules(ends, y))
    return alt.layer(*layers).properties(
        height=_HEIGHT, description="Agreement with people against the fitted answers"
    )
