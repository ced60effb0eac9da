"""The drawings of the owner's page, light and dark: agreement against answers, and the map before and after the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.collect.drawing import COLOURS, altair, drawn, map_chart, theme
from glocal.files import atomic_write

if TYPE_CHECKING:
    import altair as alt

DRAWINGS = ("curve", "before", "after")
THEMES = ("light", "dark")
_SECTORS = 6


def draw(state: Mapping[str, Any], folder: Path) -> list[str]:
    """Write ``NAME-light.svg`` and ``NAME-dark.svg`` of what the state of a fit has, and return the names.

    `state` has `curve` and optionally `projection`, `ceiling` and `map`, as the page gets them.
    """
    charts: dict[str, Any] = {}
    if state.get("curve"):
        charts["curve"] = curve_chart(state).properties(width=400)
    if places := state.get("map"):
        sectors = _sectors(places["before"])
        for when in ("before", "after"):
            rows = [
                {"x": x, "y": y, "name": "", "state": "", "colour": sector}
                for (x, y), sector in zip(places[when], sectors, strict=True)
            ]
            shown = map_chart(sorted(set(sectors)), when, others=False, rows=rows, named=False)
            charts[when] = shown.properties(width=380)
    specs = [chart.configure(**theme(dark=dark == "dark")).to_dict() for chart in charts.values() for dark in THEMES]
    files = [f"{name}-{dark}.svg" for name in charts for dark in THEMES]
    for file, (content,) in zip(files, drawn(specs, [".svg"]), strict=True):
        with atomic_write(folder / file) as stream:
            stream.write(content)
    return list(charts)


def curve_chart(state: Mapping[str, Any]) -> alt.LayerChart:
    """Agreement on held-out answers with its intervals, the projection dashed, the ceiling of people as a line."""
    alt = altair()
    points, ahead = list(state["curve"]), list((state.get("projection") or {}).get("points") or [])
    x = alt.X(
        "answers:Q", title="answers", axis=alt.Axis(tickCount=4, format=",d"), scale=alt.Scale(zero=False, nice=False)
    )
    y = alt.Y("value:Q", title="agreement (accuracy)", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5))
    base = alt.Chart(alt.Data(values=points)).encode(x=x)
    layers = [
        base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(y=alt.Y("low:Q", title=""), y2="high:Q"),
        base.mark_line(strokeWidth=2, color=COLOURS[0]).encode(y=y),
        base.mark_point(filled=True, size=60, opacity=1, color=COLOURS[0]).encode(y=y),
    ]
    if ahead:
        line = alt.Chart(alt.Data(values=ahead)).encode(x=x, y=y)
        layers.insert(0, line.mark_line(strokeWidth=2, strokeDash=[5, 4], color=COLOURS[0]))
        if all("low" in point for point in ahead):
            band = alt.Chart(alt.Data(values=ahead)).encode(x=x, y=alt.Y("low:Q", title=""), y2="high:Q")
            layers.insert(0, band.mark_area(opacity=0.15, color=COLOURS[0]))
    if (ceiling := state.get("ceiling")) and ceiling.get("value") is not None:
        level = alt.Chart(alt.Data(values=[{"value": ceiling["value"]}])).encode(y=y)
        words = {"x": alt.value(6), "text": alt.value("people with each other")}
        layers += [
            level.mark_rule(style="ink"),
            level.mark_text(align="left", dy=-7, style="inkfill", fontSize=12).encode(**words),
        ]
    return alt.layer(*layers).properties(height=260, description="Agreement on held-out answers against their number")


def _sectors(places: Sequence[Sequence[float]]) -> list[str]:
    """The sector of each point around the middle of all, so that the map after shows what has moved."""
    away = np.asarray(places, dtype=float) - np.median(places, axis=0)
    turn = (np.arctan2(away[:, 1], away[:, 0]) / (2 * np.pi)) % 1
    return [str(int(sector)) for sector in turn * _SECTORS]
