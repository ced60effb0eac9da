"""The charts of the page and of the figures, made by Altair: Vega-Lite in the colours of `palette.theme`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glocal.extras import needed
from glocal.report.labels import labels
from glocal.report.palette import CATEGORIES, COLOURS, GREY, SHAPES, places
from glocal.report.words import axis_title, metric_words

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_STAR = "M0,-1L0.24,-0.32L0.95,-0.31L0.38,0.12L0.59,0.81L0,0.4L-0.59,0.81L-0.38,0.12L-0.95,-0.31L-0.24,-0.32Z"
_LABEL = 110  # pixels of the name of an arm, a network or a category


def altair() -> Any:
    """The module, or the sentence that says how to install it."""
    return needed("altair", "a report")


def task_chart(
    rows: pd.DataFrame, bounds: pd.DataFrame, arms: Sequence[str], *, legend: bool = False
) -> alt.LayerChart:
    """Values of one task with their intervals: one line a network and arm; ceilings of people as strokes.

    `arms` are all of the report, so that an arm looks alike in every chart.
    """
    alt = altair()
    metric, several = str(rows["metric"].iloc[0]), rows["network"].nunique() > 1
    words = metric_words(metric)
    base = alt.Chart(
        _data(rows[["network", "transform", "value", "low", "high", "n", "difference", "p_holm"]])
    )  # fmt: skip
    line = "network" if several else "transform"
    y: dict[str, Any] = {
        "y": alt.Y(f"{line}:N", sort=None if several else list(arms), title=None, axis=alt.Axis(labelLimit=_LABEL))
    }
    if several:
        y["yOffset"] = alt.YOffset("transform:N", sort=list(arms), scale=alt.Scale(paddingInner=0.2))
    colour, shape = _looks("transform", arms, alt.Legend(orient="bottom", columns=4) if legend and several else None)
    across: dict[str, Any] = {"title": words, "scale": alt.Scale(zero=False), "axis": alt.Axis(tickCount=4)}
    intervals = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", **across), x2="high:Q", color=colour, **y)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=alt.X("value:Q", **across), color=colour, shape=shape, **y,
        tooltip=[
            alt.Tooltip("transform:N", title="arm"), "network:N",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("value", "low", "high")),
            "n:Q", alt.Tooltip("difference:Q", format="+.3f"), alt.Tooltip("p_holm:Q", format=".2g"),
        ],
    )  # fmt: skip
    layers = [intervals, points] if rows["low"].notna().any() else [points]
    ceilings = bounds[bounds["metric"].astype(str).str.startswith("ceiling_")]
    if len(ceilings):
        people = alt.Chart(_data(ceilings[["network", "metric", "value"]]))
        strokes = people.mark_tick(style="inkfill", thickness=2) if several else people.mark_rule(style="ink", size=2)
        layers.insert(0, strokes.encode(
            x=alt.X("value:Q", title=words),
            tooltip=[alt.Tooltip("metric:N", title="people"), alt.Tooltip("value:Q", format=".3f")],
            **({"y": y["y"]} if several else {}),
        ))  # fmt: skip
    lines = rows.groupby("network")["transform"].nunique().sum()
    return alt.layer(*layers).properties(
        height=60 + (17 if several else 26) * int(lines), description=f"{words} of each arm with its 95 % interval"
    )


def front_chart(points: Sequence[dict[str, Any]], among: Sequence[dict[str, Any]] = ()) -> alt.LayerChart:
    """Agreement against neighbours kept: every setting, the front of each arm by name, the original and the choice.

    `points` are those of a front; `among` are those of all fronts that are shown side by side, on the same axes. The
    parameter `picked` is the number of the point shown.
    """
    alt, among = altair(), among or points
    data = alt.Chart(alt.Data(values=list(points)))
    # NOTE given domains: a layer of marks that shows nothing yet has no extent of its own
    x, y = (
        alt.X(
            "kept:Q",
            title="neighbours kept (fraction)",
            scale=_domain(among, "kept"),
            axis=alt.Axis(tickCount=5, labelExpr="datum.value > 1 ? '' : datum.label"),
        ),
        alt.Y(
            "accuracy:Q",
            title="agreement with people (accuracy)",
            scale=_domain(among, "accuracy"),
            axis=alt.Axis(tickCount=5),
        ),
    )
    methods = list(dict.fromkeys(point["method"] for point in among if point["method"] != "original"))
    colour, shape = _looks("method", methods, None)

    def of(which: str) -> alt.Chart:
        return data.transform_filter(which).encode(x=x, y=y)

    settings, front = of("datum.method !== 'original'"), of("datum.method !== 'original' && datum.strong")
    original, chosen = of("datum.method === 'original'"), of("datum.chosen")
    layers = [
        front.mark_line(strokeWidth=1.5).encode(color=colour, detail=["bias:N"], order=alt.Order("kept:Q")),
        front.mark_rule(opacity=0.5).encode(x=alt.X("kept_low:Q", title=""), x2="kept_high:Q", color=colour),
        front.mark_rule(opacity=0.5).encode(y=alt.Y("accuracy_low:Q", title=""), y2="accuracy_high:Q", color=colour),
        settings.mark_point(filled=True, size=50, cursor="pointer").encode(
            color=colour, shape=shape, tooltip="label:N",
            opacity=alt.condition("datum.strong", alt.value(1), alt.value(0.3)),
        ),
        original.mark_point(shape=_STAR, size=220, style="inkfill", filled=True, opacity=1).encode(tooltip="label:N"),
        chosen.mark_point(size=240, style="ink", strokeWidth=2, filled=False).encode(tooltip="label:N"),
        of("datum.number === picked").mark_point(size=420, style="picked", strokeWidth=3, filled=False),
    ]  # fmt: skip
    for label in labels(points, _ends(among, "kept"), _ends(among, "accuracy")):
        place = alt.Chart(alt.Data(values=[label.at])).encode(x=x, y=y)
        colours: dict[str, Any] = {"color": colour} if label.at["method"] in methods else {}
        for style in ("halo", None if colours else "inkfill"):
            mark = {"style": style} if style else {}
            text = place.mark_text(
                text=label.text, dx=label.dx, dy=label.dy, align=label.align, fontSize=12, fontWeight=600, **mark
            )
            layers.append(text.encode(**({} if style else colours)))
    return alt.layer(*layers).add_params(alt.param(name="picked", value=-1)).properties(
        height=380, description="Front: agreement with people against neighbours kept, every setting"
    )  # fmt: skip


def slice_chart(rows: Sequence[dict[str, Any]], parameter: str) -> alt.LayerChart:
    """Held-out accuracy against one parameter, the others as chosen: a line a fold, their mean thick.

    `rows` have value, fold, accuracy, kept, sweep; `parameter` is alpha, lmbda, tau, mix or eta.
    """
    alt = altair()
    base = alt.Chart(alt.Data(values=list(rows)))
    positive = all(row["value"] > 0 for row in rows)
    kind = "linear" if parameter in ("alpha", "mix") else "log" if positive else "symlog"
    x = alt.X(
        "value:Q", title=axis_title(parameter),
        scale=alt.Scale(type=kind, nice=False),
        axis=alt.Axis(values=sorted({row["value"] for row in rows}), labelOverlap="greedy", format=".3~g", grid=False),
    )  # fmt: skip
    legend = alt.Legend(orient="top", symbolType="stroke")
    folds = base.mark_line(point=True, strokeWidth=1.2).encode(
        x=x, y=alt.Y("accuracy:Q", title="agreement with people (accuracy)", scale=alt.Scale(zero=False)),
        strokeDash=alt.StrokeDash("fold:N", title="fold", legend=legend),
        color=alt.Color("fold:N", title="fold", scale=alt.Scale(range=list(COLOURS)), legend=legend),
        tooltip=[
            "fold:N", alt.Tooltip("value:Q", title=parameter), alt.Tooltip("accuracy:Q", format=".3f"),
            alt.Tooltip("kept:Q", title="neighbours kept", format=".3f"), "sweep:N",
        ],
    )  # fmt: skip
    mean = base.mark_line(style="ink", strokeWidth=3, opacity=0.85).encode(x=x, y="mean(accuracy):Q")
    return alt.layer(folds, mean).properties(
        height=240, description=f"Held-out accuracy against {parameter}, each fold and the mean"
    )


def map_chart(
    categories: Sequence[str],
    when: str,
    *,
    others: bool = True,
    rows: Sequence[dict[str, Any]] | None = None,
    named: bool = True,
) -> alt.LayerChart:
    """Objects in two dimensions before or after a transform: x, y, name, category, colour and state of each.

    `categories` are those with a colour of their own, in a legend if `named`; without `rows` the page fills them in.
    """
    alt = altair()
    rest = ["other"] if others else []
    scale = alt.Scale(
        domain=[*categories, *rest], range=[*CATEGORIES[: len(categories)], *(GREY for _ in rest)]
    )  # fmt: skip
    picked = alt.selection_point(fields=["colour"], bind="legend", name=f"category_{when}")
    hidden = alt.Axis(labels=False, ticks=False, domain=False, grid=True)
    legend = alt.Legend(orient="bottom", columns=3, symbolOpacity=1, labelLimit=_LABEL)
    base = alt.Chart(_rows("objects", rows)).encode(
        x=alt.X("x:Q", title=None, axis=hidden), y=alt.Y("y:Q", title=None, axis=hidden), tooltip="name:N"
    )
    near, here = (base.transform_filter(f"datum.state === '{state}'") for state in ("neighbour", "selected"))
    layers = [
        base.transform_filter("!datum.state").mark_circle(size=22, cursor="pointer").encode(
            color=alt.Color("colour:N", title=None, legend=legend if categories and named else None, scale=scale),
            opacity=alt.condition(picked, alt.value(0.75), alt.value(0.06)),
        ).add_params(picked),
        near.mark_point(size=70, style="ink", strokeWidth=2),
        here.mark_point(size=200, style="picked", filled=True, opacity=1),
        # its name on a halo, since it lies on other marks
        *(
            here.mark_text(dy=-16, fontSize=13, style=style, limit=220).encode(text="name:N")
            for style in ("halo", "inkfill")
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(height=380, description=f"Map of the objects {when} the transform")


def spectrum_chart(field: str, title: str, *, rows: Sequence[dict[str, Any]] | None = None) -> alt.LayerChart:
    """Gain, or share of the variance, along the principal axes of the features; without `rows` the page has them."""
    alt = altair()
    base = alt.Chart(_rows("axes", rows)).encode(
        x=alt.X("axis:Q", title="principal axis of the features", scale=alt.Scale(type="log", nice=False))
    )
    if field == "gain":
        line = base.mark_line(color=COLOURS[0], strokeWidth=1.5).encode(
            y=alt.Y("gain:Q", title=title, scale=alt.Scale(zero=True)),
            tooltip=["axis:Q", alt.Tooltip("gain:Q", format=".3f")],
        )
        one = alt.Chart(alt.Data(values=[{"one": 1}])).mark_rule(style="ink", strokeDash=[4, 3]).encode(y="one:Q")
        layers = [line, one]
    else:
        layers = [base.mark_line(strokeWidth=1.5).encode(
            y=alt.Y("share:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", tickCount=5)),
            color=alt.Color(
                "when:N", title=None, legend=alt.Legend(orient="top"),
                scale=alt.Scale(domain=["before", "after"], range=[GREY, COLOURS[0]]),
            ),
        )]  # fmt: skip
    return alt.layer(*layers).properties(
        height=220, description=f"{title} along the principal axes of the features"
    )  # fmt: skip


def matrix_chart(url: str, low: float, high: float, title: str, bands: Sequence[Sequence[Any]]) -> alt.LayerChart:
    """A matrix that is drawn already, with its scale from `low` to `high` and the names of its `bands` beside it.

    A band is [category, from, to] in fractions of the side, from the top.
    """
    alt, side = altair(), 240
    values, names = [{"value": low}, {"value": high}], [{"name": band[0], "at": sum(band[1:]) / 2} for band in bands]
    place = {"x": alt.value(side / 2), "y": alt.value(side / 2)}
    layers = [
        alt.Chart(alt.Data(values=[{"url": url}])).mark_image(
            width=side, height=side, aspect=False, smooth=False
        ).encode(url="url:N", **place),
        # NOTE nothing of these points is seen but their legend
        alt.Chart(alt.Data(values=values)).mark_point(opacity=0).encode(
            color=alt.Color(
                "value:Q", title=title, scale=alt.Scale(scheme="viridis", domain=[low, high], nice=False),
                legend=alt.Legend(orient="bottom", gradientLength=side, tickCount=4, titleLimit=side),
            ), **place,
        ),
        alt.Chart(alt.Data(values=names)).mark_text(align="right", style="inkfill", limit=_LABEL, fontSize=10).encode(
            text="name:N", x=alt.value(-5),
            y=alt.Y("at:Q", axis=None, scale=alt.Scale(domain=[0, 1], nice=False, reverse=True)),
        ),
    ]  # fmt: skip
    return alt.layer(*layers).properties(width=side, height=side)


def _looks(field: str, order: Sequence[str], legend: alt.Legend | None) -> tuple[alt.Color, alt.Shape]:
    """The colours and shapes of arms or methods, with one legend for both."""
    alt, number = altair(), places(order)
    return tuple(
        kind(
            f"{field}:N", title=None, legend=legend,
            scale=alt.Scale(domain=list(order), range=[looks[number[arm]] for arm in order]),
        )
        for kind, looks in ((alt.Color, COLOURS), (alt.Shape, SHAPES))
    )  # fmt: skip


def _domain(points: Sequence[dict[str, Any]], name: str) -> alt.Scale:
    return altair().Scale(domain=_ends(points, name), zero=False, nice=False)


def _ends(points: Sequence[dict[str, Any]], name: str) -> list[float]:
    low, high = min(point[f"{name}_low"] for point in points), max(point[f"{name}_high"] for point in points)
    room = 0.06 * (high - low) or 0.01
    return [low - room, high + room]


def _rows(name: str, rows: Sequence[dict[str, Any]] | None) -> alt.Data:
    alt = altair()
    return alt.NamedData(name) if rows is None else alt.Data(values=list(rows))


def _data(rows: pd.DataFrame) -> alt.Data:
    rows = rows.astype(object).where(rows.notna(), None)
    return altair().Data(values=[{str(key): value for key, value in row.items()} for row in rows.to_dict("records")])
