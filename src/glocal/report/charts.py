"""The charts of the page as Vega-Lite, made by Altair; colours of text and paper come with the theme of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.extras import needed
from glocal.report.fronts import axis_title
from glocal.report.palette import COLOURS, GREY, SHAPES, places

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_STAR = "M0,-1L0.24,-0.32L0.95,-0.31L0.38,0.12L0.59,0.81L0,0.4L-0.59,0.81L-0.38,0.12L-0.95,-0.31L-0.24,-0.32Z"
_FIT = {"type": "fit", "contains": "padding"}


def altair() -> Any:
    """The module, or the sentence that says how to install it."""
    return needed("altair", "a report")


def task_chart(rows: pd.DataFrame, bounds: pd.DataFrame, arms: Sequence[str], metric: str) -> dict[str, Any]:
    """Values of one task with their intervals: one line a network and arm; ceilings of people as strokes.

    Parameters
    ----------
    rows, bounds : DataFrame
        Of this task, as of `main_rows` and `bounds`.
    arms : sequence of str
        All of the report, so that an arm looks alike in every chart.
    metric : str
        Title of the axis.
    """
    alt = altair()
    several = rows["network"].nunique() > 1
    where = ["network", "transform", "value", "low", "high", "n", "difference", "p_holm"]
    base = alt.Chart(alt.Data(values=_records(rows[where])))
    order = list(arms)
    y = alt.Y("network:N", sort=None, title=None, axis=alt.Axis(labelLimit=110)) if several else _arms_axis(alt, order)
    offset = {"yOffset": alt.YOffset("transform:N", sort=order, scale=alt.Scale(paddingInner=0.2))} if several else {}
    number = places(order)
    colour = alt.Color(
        "transform:N", legend=None, scale=alt.Scale(domain=order, range=[COLOURS[number[arm]] for arm in order])
    )
    shape = alt.Shape(
        "transform:N", legend=None, scale=alt.Scale(domain=order, range=[SHAPES[number[arm]] for arm in order])
    )
    tooltip = [
        alt.Tooltip("transform:N", title="arm"), alt.Tooltip("network:N"), *(
            alt.Tooltip(f"{name}:Q", format=".3f") for name in ("value", "low", "high")
        ), alt.Tooltip("n:Q"), alt.Tooltip("difference:Q", format="+.3f"), alt.Tooltip("p_holm:Q", format=".2g"),
    ]  # fmt: skip
    intervals = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=metric, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
        x2="high:Q",
        y=y,
        color=colour,
        **offset,
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("value:Q", title=metric), y=y, color=colour, shape=shape, tooltip=tooltip, **offset
    )
    layers = [intervals, points]
    ceilings = bounds[bounds["metric"].astype(str).str.startswith("ceiling_")]
    if len(ceilings):
        ticks = alt.Chart(alt.Data(values=_records(ceilings[["network", "metric", "value"]])))
        encoded: dict[str, Any] = {"y": y} if several else {}
        strokes = (
            ticks.mark_tick(style="inkfill", thickness=2) if several else ticks.mark_rule(style="ink", strokeWidth=2)
        )
        layers.insert(0, strokes.encode(
            x=alt.X("value:Q", title=metric),
            tooltip=[alt.Tooltip("metric:N", title="people"), alt.Tooltip("value:Q", format=".3f")], **encoded,
        ))  # fmt: skip
    lines = rows.groupby("network")["transform"].nunique().sum() if several else rows["transform"].nunique()
    description = f"{metric} of each arm with its 95 % interval"
    return _done(alt.layer(*layers), description, 60 + (17 if several else 26) * int(lines))


def _arms_axis(alt: Any, order: Sequence[str]) -> alt.Y:
    return alt.Y("transform:N", sort=list(order), title=None, axis=alt.Axis(labelLimit=110))


def front_chart(points: list[dict[str, Any]]) -> dict[str, Any]:
    """Agreement against neighbours kept: every setting, the front, the path of `global`, original and choice.

    `points` have number, sweep, method, alpha, lmbda, tau, accuracy, accuracy_low, accuracy_high, kept, kept_low,
    kept_high, loss, front, chosen, label. The parameter `picked` is the number of the point shown.
    """
    alt = altair()
    picked = alt.param(name="picked", value=-1)
    data = alt.Chart(alt.Data(values=points))
    # NOTE given domains: a layer of marks that shows nothing yet has no extent of its own
    x, y = (
        alt.X("kept:Q", title="neighbours kept (fraction)", scale=_domain(points, "kept")),
        alt.Y("accuracy:Q", title="odd-one-out accuracy", scale=_domain(points, "accuracy")),
    )
    methods = [method for method in ("glocal", "global", "naive") if any(p["method"] == method for p in points)]
    number = places(methods)
    colour = alt.Color(
        "method:N", title=None, legend=alt.Legend(orient="top", symbolOpacity=1),
        scale=alt.Scale(domain=methods, range=[COLOURS[number[method]] for method in methods]),
    )  # fmt: skip
    shape = alt.Shape(
        "method:N", title=None, scale=alt.Scale(domain=methods, range=[SHAPES[number[m]] for m in methods])
    )
    settings = data.transform_filter("datum.method !== 'original'")
    front = settings.transform_filter("datum.front || datum.method !== 'glocal'")
    lines = front.mark_line(strokeWidth=1.5).encode(
        x=x, y=y, color=colour, detail=["sweep:N", "bias:N"], order=alt.Order("path:Q")
    )
    bars = [
        front.mark_rule(opacity=0.5).encode(x=alt.X("kept_low:Q", title=""), x2="kept_high:Q", y=y, color=colour),
        front.mark_rule(opacity=0.5).encode(
            x=x, y=alt.Y("accuracy_low:Q", title=""), y2="accuracy_high:Q", color=colour
        ),
    ]
    dots = settings.mark_point(filled=True, size=50, cursor="pointer").encode(
        x=x, y=y, color=colour, shape=shape, tooltip=alt.Tooltip("label:N"),
        opacity=alt.condition("datum.front || datum.method !== 'glocal'", alt.value(1), alt.value(0.35)),
    )  # fmt: skip
    marks = [
        data.transform_filter("datum.method === 'original'").mark_point(
            shape=_STAR,
            size=220, style="inkfill", filled=True, opacity=1,
        ).encode(x=x, y=y, tooltip=alt.Tooltip("label:N")),
        data.transform_filter("datum.chosen").mark_point(size=240, style="ink", strokeWidth=2, filled=False).encode(
            x=x, y=y, tooltip=alt.Tooltip("label:N")
        ),
        data.transform_filter("datum.number === picked").mark_point(
            size=420, style="picked", strokeWidth=3, filled=False
        ).encode(x=x, y=y),
        _text(alt, data, "datum.method === 'original'", "original", x, y, -16),
        *(
            # choices of several sweeps may lie on each other: every name has a height of its own
            _text(alt, data, f"datum.chosen && datum.method === '{method}'",
                  "chosen" if len(methods) == 1 else f"chosen of {method}", x, y, place)
            for method, place in zip(methods, (-16, 24, -32), strict=False)
        ),
    ]  # fmt: skip
    layered = alt.layer(lines, *bars, dots, *marks).add_params(picked)
    return _done(layered, "Front: odd-one-out accuracy against neighbours kept, every setting of the sweep", 380)


def _domain(points: list[dict[str, Any]], name: str) -> alt.Scale:
    low, high = min(point[f"{name}_low"] for point in points), max(point[f"{name}_high"] for point in points)
    room = 0.06 * (high - low) or 0.01
    return altair().Scale(domain=[low - room, high + room], zero=False, nice=False)


def _text(alt: Any, data: Any, which: str, text: str, x: Any, y: Any, dy: int) -> Any:
    return data.transform_filter(which).mark_text(text=text, style="inkfill", dy=dy, fontSize=12).encode(x=x, y=y)


def slice_chart(rows: list[dict[str, Any]], parameter: str) -> dict[str, Any]:
    """Held-out accuracy against one parameter, the others as chosen: a line a fold, their mean thick.

    `rows` have value, fold, accuracy, kept, sweep; `parameter` is alpha, lmbda, tau, mix or eta.
    """
    alt = altair()
    base = alt.Chart(alt.Data(values=rows))
    positive = all(row["value"] > 0 for row in rows)
    kind = "linear" if parameter in ("alpha", "mix") else "log" if positive else "symlog"
    x = alt.X(
        "value:Q", title=axis_title(parameter),
        scale=alt.Scale(type=kind, nice=False),
        axis=alt.Axis(values=sorted({row["value"] for row in rows}), labelOverlap="greedy", format=".3~g", grid=False),
    )  # fmt: skip
    y = alt.Y("accuracy:Q", title="odd-one-out accuracy", scale=alt.Scale(zero=False))
    tooltip = [
        alt.Tooltip("fold:N"), alt.Tooltip("value:Q", title=parameter), alt.Tooltip("accuracy:Q", format=".3f"),
        alt.Tooltip("kept:Q", title="neighbours kept", format=".3f"), alt.Tooltip("sweep:N"),
    ]  # fmt: skip
    folds = base.mark_line(point=True, strokeWidth=1.2).encode(
        x=x, y=y, tooltip=tooltip,
        strokeDash=alt.StrokeDash("fold:N", title="fold", legend=alt.Legend(orient="top")),
        color=alt.Color("fold:N", title="fold", scale=alt.Scale(range=list(COLOURS)), legend=alt.Legend(orient="top")),
    )  # fmt: skip
    mean = base.mark_line(style="ink", strokeWidth=3, opacity=0.85).encode(x=x, y=alt.Y("mean(accuracy):Q"))
    return _done(alt.layer(folds, mean), f"Held-out accuracy against {parameter}, each fold and the mean", 240)


def map_chart(categories: Sequence[str], description: str, *, others: bool = True) -> dict[str, Any]:
    """Objects in two dimensions; rows come from the page: x, y, name, category, colour, state.

    `categories` are those with a colour of their own; with `others` there is "other" besides.
    """
    alt = altair()
    colours = [
        "#4c78a8",
        "#f58518",
        "#54a24b",
        "#e45756",
        "#b279a2",
        "#9d755d",
        "#72b7b2",
        "#eeca3b",
        "#ff9da6",
        "#439894",
    ]
    rest = ["other"] if others else []
    domain = [*categories, *rest]
    scale = alt.Scale(domain=domain, range=[*colours[: len(categories)], *(GREY for _ in rest)])
    chosen = alt.selection_point(fields=["colour"], bind="legend", name="category")
    hidden = alt.Axis(labels=False, ticks=False, domain=False, grid=True)
    legend = alt.Legend(orient="bottom", columns=3, symbolOpacity=1, labelLimit=110) if categories else None
    base = alt.Chart(alt.NamedData("objects")).encode(
        x=alt.X("x:Q", title=None, axis=hidden), y=alt.Y("y:Q", title=None, axis=hidden), tooltip=alt.Tooltip("name:N")
    )
    dots = base.transform_filter("!datum.state").mark_circle(size=22, cursor="pointer").encode(
        color=alt.Color("colour:N", title=None, legend=legend, scale=scale),
        opacity=alt.condition(chosen, alt.value(0.75), alt.value(0.06)),
    ).add_params(chosen)  # fmt: skip
    near = base.transform_filter("datum.state === 'neighbour'").mark_point(size=70, style="ink", strokeWidth=2)
    here = base.transform_filter("datum.state === 'selected'").mark_point(
        size=200, style="picked", filled=True, opacity=1
    )
    # its name on a halo, since it lies on other marks
    names = [
        base.transform_filter("datum.state === 'selected'")
        .mark_text(dy=-16, fontSize=13, style=style, limit=220)
        .encode(text="name:N")
        for style in ("halo", "inkfill")
    ]
    layered = alt.layer(dots, near, here, *names)
    return {**_done(layered, description, 380), "datasets": {"objects": []}}


def spectrum_chart(field: str, title: str) -> dict[str, Any]:
    """Gain, or share of the variance, along the principal axes of the features; rows come from the page."""
    alt = altair()
    base = alt.Chart(alt.NamedData("axes"))
    x = alt.X("axis:Q", title="principal axis of the features", scale=alt.Scale(type="log", nice=False))
    if field == "gain":
        y = alt.Y("gain:Q", title=title, scale=alt.Scale(zero=True))
        line = base.mark_line(color=COLOURS[0], strokeWidth=1.5).encode(
            x=x, y=y, tooltip=[alt.Tooltip("axis:Q"), alt.Tooltip("gain:Q", format=".3f")]
        )
        one = alt.Chart(alt.Data(values=[{"one": 1}])).mark_rule(style="ink", strokeDash=[4, 3]).encode(y="one:Q")
        chart = alt.layer(line, one)
    else:
        chart = base.mark_line(strokeWidth=1.5).encode(
            x=x, y=alt.Y("share:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", tickCount=5)),
            color=alt.Color(
                "when:N", title=None, legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=["before", "after"], range=[GREY, COLOURS[0]]),
            ),
        )  # fmt: skip
    return {**_done(chart, f"{title} along the principal axes of the features", 220), "datasets": {"axes": []}}


def _done(chart: Any, description: str, height: int) -> dict[str, Any]:
    finished = chart.properties(width="container", height=height, description=description)
    # themes and embedding are the page's: nothing of a session's own settings goes into it
    found: dict[str, Any] = finished.to_dict()
    return {key: value for key, value in found.items() if key != "config"} | {"autosize": _FIT}


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    rows = rows.astype(object).where(rows.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
