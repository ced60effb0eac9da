"""The charts of the page and of the figures, in Altair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import needed
from glocal.evaluation.view import View
from glocal.report.palette import CATEGORIES, GREY, INK, looks

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

SIDE = 400  # pixels of a map
_SHOWN = 30  # objects whose names and pictures are drawn, where no more are found
_WORDS = {
    "accuracy_cosine": "agreement with people (fraction)", "accuracy_dot": "agreement with people (fraction)",
    "neighbours_kept": "neighbours kept (fraction)", "auroc": "area under the ROC curve (fraction)",
    "map": "mean average precision (fraction)", "loss": "loss (nats)",
}  # fmt: skip


def metric_words(metric: str) -> str:
    """What stands at the axis of a metric.

    >>> metric_words("accuracy_logistic")
    'accuracy, logistic (fraction)'
    """
    return _WORDS.get(metric) or metric.replace("accuracy_", "accuracy, ").replace("_", " ") + " (fraction)"


def front_chart(points: pd.DataFrame, baseline: str) -> alt.LayerChart:
    """Agreement against neighbours kept: every setting, the front of each arm as a line, the choice in a ring."""
    alt = needed("altair", "a report")
    scale = alt.Scale(zero=False, nice=False, padding=12)
    x = alt.X("kept:Q", title=_WORDS["neighbours_kept"], scale=scale)
    y = alt.Y("agreement:Q", title=_WORDS["accuracy_cosine"], scale=scale)
    colour, shape = _looks(
        "arm", list(dict.fromkeys(points["arm"])), baseline, alt.Legend(orient="top", title=None, symbolOpacity=1)
    )
    numbers = [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("agreement", "kept")]
    base = alt.Chart(_data(points)).encode(x, y, tooltip=["arm:N", "setting:N", *numbers])
    strong = base.transform_filter("datum.strong").encode(colour)
    layers = [
        strong.mark_line().encode(order="kept:Q"),
        strong.mark_rule(opacity=0.5).encode(x=alt.X("kept_low:Q"), x2="kept_high:Q"),
        strong.mark_rule(opacity=0.5).encode(y=alt.Y("agreement_low:Q"), y2="agreement_high:Q"),
        base.mark_point(filled=True, size=90).encode(
            colour, shape, opacity=alt.when("datum.strong").then(alt.value(1)).otherwise(alt.value(0.3))
        ),
        base.transform_filter("datum.chosen").mark_point(size=350, color=INK, strokeWidth=2),
    ]
    return alt.layer(*layers).properties(height=380, description="Agreement with people against neighbours kept")


def task_chart(rows: pd.DataFrame, people: pd.DataFrame, arms: Sequence[str], baseline: str) -> alt.LayerChart:
    """The values of one task with their 95 % intervals, an arm a line; what people reach as strokes."""
    alt = needed("altair", "a report")
    words, several = metric_words(str(rows["metric"].iloc[0])), rows["network"].nunique() > 1
    legend = alt.Legend(orient="bottom", title=None, columns=3) if several else None
    colour, shape = _looks("transform", arms, baseline, legend)
    place: dict[str, Any] = {"y": alt.Y("transform:N", sort=list(arms), title=None)}
    if several:
        place = {"y": alt.Y("network:N", title=None), "yOffset": alt.YOffset("transform:N", sort=list(arms))}
    scale, axis = alt.Scale(zero=False, padding=8), alt.Axis(tickCount=4)
    x = alt.X("value:Q", title=words, scale=scale, axis=axis)
    numbers = [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("value", "low", "high")]
    base = alt.Chart(_data(rows[["network", "transform", "value", "low", "high", "n"]])).encode(
        colour, tooltip=["network:N", "transform:N", *numbers, "n:Q"], **place
    )
    layers = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=words, scale=scale, axis=axis), x2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(x, shape),
    ]
    if len(people):
        ceiling = alt.Chart(_data(people[["network", "metric", "value"]])).encode(x, tooltip=["metric:N", "value:Q"])
        mark = ceiling.mark_tick(color=INK) if several else ceiling.mark_rule(color=INK)
        layers.append(mark.encode(**({"y": place["y"]} if several else {})))
    lines = len(rows) * (16 if several else 26)
    return alt.layer(*layers).properties(height=lines, description=f"{words} of each arm with its 95 % interval")


def objects_chart(views: Mapping[str, View], pictures: Mapping[str, str]) -> alt.HConcatChart:
    """The objects before and after a transform: a region that is dragged in one map is lit in both.

    `views` are those of one network by arm, the baseline first; `pictures` are data URIs by the name of the object. The
    largest ten categories have colours. A name that is looked for is shown with its picture.
    """
    alt = needed("altair", "a report")
    before, *others = views
    rows, shown = _rows(views, pictures), set(_categories(views[before]))
    categories = sorted(shown - {"other"})
    colours = {**dict(zip(categories, CATEGORIES, strict=False)), **({"other": GREY} if "other" in shown else {})}
    choices = alt.binding_select(options=others, name="Transform ")
    arm = alt.param("arm", value=others[-1], bind=choices)
    search = alt.param("search", value="", bind=alt.binding(input="search", placeholder="a name", name="Find "))
    legend = alt.selection_point("legend", fields=["category"], bind="legend")
    brushes = [alt.selection_interval("before"), alt.selection_interval("after")]
    lit = legend & brushes[0] & brushes[1] if categories else brushes[0] & brushes[1]
    hit = alt.expr.length(search) & (alt.expr.indexof(alt.expr.lower(alt.datum.name), alt.expr.lower(search)) >= 0)
    colour = alt.Color(
        "category:N", title=None, legend=alt.Legend(orient="bottom", columns=3, labelLimit=100) if categories else None,
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
    )  # fmt: skip
    scale = alt.Scale(zero=False)

    def panel(title: str, x: str, y: str) -> alt.LayerChart:
        base = alt.Chart().transform_filter(alt.datum.arm == arm)
        base = base.encode(alt.X(f"{x}:Q", axis=None, scale=scale), alt.Y(f"{y}:Q", axis=None, scale=scale))
        found = base.transform_filter(hit)
        few = found.transform_joinaggregate(found="count()").transform_filter(f"datum.found <= {_SHOWN}")
        layers = [
            base.mark_circle(size=30).encode(
                color=alt.when(lit).then(colour).otherwise(alt.value("#d8d8d8")),
                tooltip=["name:N", "category:N", "near before:N", "near after:N", "image:N"],
            ),
            found.mark_point(size=150, color=INK, strokeWidth=2),
            few.mark_image(width=36, height=36).encode(url="image:N"),
            few.mark_text(dy=26, color=INK).encode(text="name:N"),
        ]
        return alt.layer(*layers).properties(title=title, width=SIDE, height=SIDE)

    left = panel(f"before: {before}", "x", "y").add_params(*([legend] if categories else []), brushes[0])
    maps = alt.hconcat(left, panel("after", "u", "v").add_params(brushes[1]), data=_data(rows))
    return maps.add_params(arm, search).properties(description="Maps of the objects before and after")


def _rows(views: Mapping[str, View], pictures: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each object and transform: its places and neighbours before and after."""
    first, *others = views.values()
    categories = _categories(first)
    return [
        {
            "arm": arm, "name": name, "category": categories[i], "image": pictures.get(name, ""),
            **dict(zip("xyuv", np.round([*first.positions[i], *view.positions[i]], 3).tolist(), strict=True)),
            "near before": _near(first, i), "near after": _near(view, i),
        }
        for arm, view in zip(list(views)[1:], others, strict=True)
        for i, name in enumerate(first.names)
    ]  # fmt: skip


def _categories(view: View) -> list[str]:
    """The category of each object: one of the largest ten, or other."""
    given = view.categories or ("other",) * len(view.names)
    counts = Counter(name for name in given if name not in ("", "other"))
    largest = [name for name, _ in counts.most_common(len(CATEGORIES))]
    return [name if name in largest else "other" for name in given]


def _near(view: View, row: int) -> str:
    return ", ".join(view.names[i] for i in view.neighbours[row])


def _looks(field: str, arms: Sequence[str], baseline: str, legend: alt.Legend | None) -> tuple[alt.Color, alt.Shape]:
    """The colours and shapes of arms, with one legend for both."""
    alt = needed("altair", "a report")
    colours, shapes = (alt.Scale(domain=list(arms), range=range_) for range_ in looks(arms, baseline))
    return alt.Color(f"{field}:N", legend=legend, scale=colours), alt.Shape(f"{field}:N", legend=legend, scale=shapes)


def _data(rows: pd.DataFrame | list[dict[str, Any]]) -> alt.InlineData:
    """Rows of any number, NaN as null."""
    records = rows if isinstance(rows, list) else rows.to_dict("records")
    values = [{key: None if value != value else value for key, value in row.items()} for row in records]  # noqa: PLR0124
    return needed("altair", "a report").InlineData(values=values)
