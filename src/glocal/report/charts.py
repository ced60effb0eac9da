"""Altair charts, in colours for all kinds of colour vision (Okabe & Ito 2008) and in shapes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.report.front import front_points
from glocal.report.runs import Run

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_MIN_SHOWN = 3  # least number of points of a chart: a table shows two as well
_FRONT_HEIGHT = 380  # pixels
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
_SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)
_STAR = "M0,-1L.24,-.32L.95,-.31L.38,.12L.59,.81L0,.4L-.59,.81L-.38,.12L-.95,-.31L-.24,-.32Z"
_FIXED_LOOKS = {"glocal": 0, "chosen": 0, "global": 1, "naive": 2}
INK = "#1b1f24"
_TITLES = {
    "accuracy_cosine": "agreement with people (fraction)",
    "neighbours_kept": "neighbours kept (fraction)",
}


def charts_of(run: Run) -> dict[str, Any]:
    """Return the charts by name: those of blocks, and ``front`` or ``front-NETWORK``.

    A front with fewer than three points has no chart.
    """
    charts: dict[str, Any] = {
        block.title: block.chart for block in run.blocks if block.chart is not None
    }
    for network, points in front_points(run).groupby("network", sort=False):
        if len(points) >= _MIN_SHOWN:
            name = f"front-{network}" if network else "front"
            charts[name] = front_chart(points, run.baseline)
    return charts


def front_chart(points: pd.DataFrame, baseline: str) -> alt.LayerChart:
    """Draw agreement against neighbours kept.

    The chart shows every setting, the front of each arm as a line, and the choice in a ring.
    """
    alt = import_optional("altair", "a report")
    x = metric_axis(alt.X, "kept", "neighbours_kept", nice=False)
    y = metric_axis(alt.Y, "agreement", "accuracy_cosine", nice=False)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1, columns=3, labelLimit=90)
    methods = list(dict.fromkeys(points["method"]))
    colour, shape = arm_scales("method", methods, baseline, legend)
    numbers = tooltips("agreement", "kept")
    base = alt.Chart(inline_data(points)).encode(x, y, tooltip=["method:N", "setting:N", *numbers])
    strong = base.transform_filter("datum.strong").encode(colour)
    rule = strong.mark_rule(opacity=0.5)
    opacity = alt.when("datum.strong").then(alt.value(1)).otherwise(alt.value(0.3))
    layers = [
        strong.mark_line().encode(order="kept:Q"),
        rule.encode(x="kept_low:Q", x2="kept_high:Q"),
        rule.encode(y="agreement_low:Q", y2="agreement_high:Q"),
        base.mark_point(filled=True, size=90).encode(colour, shape, opacity=opacity),
        base.transform_filter("datum.chosen").mark_point(size=350, color=INK, strokeWidth=2),
    ]
    return alt.layer(*layers).properties(
        height=_FRONT_HEIGHT, description="Agreement with people against neighbours kept"
    )


def metric_axis(channel: type[Any], field: str, metric: str, **scale: Any) -> Any:
    """A channel of numbers with the title of a metric and four ticks."""
    alt = import_optional("altair", "a report")
    scale = {"zero": False, "padding": 12, **scale}
    title = _TITLES[metric]
    return channel(f"{field}:Q", title=title, scale=alt.Scale(**scale), axis=alt.Axis(tickCount=4))


def tooltips(*names: str) -> list[alt.Tooltip]:
    """Tooltips of numbers with three decimal places."""
    alt = import_optional("altair", "a report")
    return [alt.Tooltip(f"{name}:Q", format=".3f") for name in names]


def arm_scales(
    field: str, arms: Sequence[str], baseline: str, legend: alt.Legend | None
) -> tuple[alt.Color, alt.Shape]:
    """Return the colour and shape channels of arms.

    An arm with the name of a method has the colour and shape of that method. The baseline is a
    black star.
    """
    alt = import_optional("altair", "a report")
    fixed = _FIXED_LOOKS.values()
    free = itertools.cycle(i for i in range(len(COLOURS)) if i not in fixed)
    colours = []
    shapes = []
    for arm in arms:
        i = _FIXED_LOOKS[arm] if arm in _FIXED_LOOKS else next(free)
        colours.append(INK if arm == baseline else COLOURS[i])
        shapes.append(_STAR if arm == baseline else _SHAPES[i])
    colour_scale = alt.Scale(domain=list(arms), range=colours)
    shape_scale = alt.Scale(domain=list(arms), range=shapes)
    return (
        alt.Color(f"{field}:N", legend=legend, scale=colour_scale),
        alt.Shape(f"{field}:N", legend=legend, scale=shape_scale),
    )


def inline_data(rows: pd.DataFrame) -> alt.InlineData:
    """The rows as data in the chart, of any length, with NaN as null."""
    values = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return import_optional("altair", "a report").InlineData(values=values)
