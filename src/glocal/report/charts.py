"""The charts of the page and of the figures, in Altair; arms differ without colour too (Okabe & Ito 2008)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import needed
from glocal.evaluation.view import View
from glocal.report.front import front_points
from glocal.report.runs import Run
from glocal.results import PEOPLE
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

SIDE = 400  # pixels of a map
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_STAR = "M0,-1.6L.38,-.51L1.52,-.5L.61,.19L.94,1.3L0,.64L-.94,1.3L-.61,.19L-1.52,-.5L-.38,-.51Z"
_KNOWN = {"glocal": 0, "chosen": 0, "global": 1, "naive": 2}
INK = "#1b1f24"
GREY = "#9a9a9a"
CATEGORIES = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#9d755d", "#72b7b2", "#eeca3b", "#ff9da6", "#439894",
)  # fmt: skip
_SHOWN = 30  # objects whose names and pictures are drawn, where no more are found
_WORDS = {
    "accuracy_cosine": "agreement with people (fraction)", "accuracy_dot": "agreement with people (fraction)",
    "neighbours_kept": "neighbours kept (fraction)", "auroc": "area under the ROC curve (fraction)",
    "map": "mean average precision (fraction)", "loss": "loss (nats)",
}  # fmt: skip


def charts_of(run: Run, pictures: dict[str, str]) -> dict[str, Any]:
    """The charts of a run by name: ``front``, ``task-NAME``, ``objects-NETWORK``."""
    points, of_people = front_points(run), run.rows["transform"] == PEOPLE
    people, order = run.rows[of_people], run.rows.loc[~of_people, "transform"].unique().tolist()
    charts: dict[str, Any] = {}
    for network, found in points.groupby("network", sort=False):
        charts["-".join(filter(None, ("front", network)))] = front_chart(found, run.baseline)
    for task, rows in main_rows(run.rows).groupby("task", sort=False):
        charts[f"task-{task}"] = task_chart(rows, people[people["task"] == task], order, run.baseline)
    for network, views in run.views.items():
        names = next(iter(views.values())).names
        alike = {arm: view for arm, view in views.items() if view.names == names}
        if len(alike) > 1:
            charts[f"objects-{network}"] = objects_chart(alike, pictures)
    return charts


def front_chart(points: pd.DataFrame, baseline: str) -> alt.LayerChart:
    """Agreement against neighbours kept: every setting, the front of each arm as a line, the choice in a ring."""
    alt = needed("altair", "a report")
    scale = alt.Scale(zero=False, nice=False, padding=12)
    x = alt.X("neighbours_kept:Q", title=_WORDS["neighbours_kept"], scale=scale)
    y = alt.Y("accuracy_cosine:Q", title=_WORDS["accuracy_cosine"], scale=scale)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1)
    colour, shape = looks("method", list(dict.fromkeys(points["method"])), baseline, legend)
    numbers = [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("accuracy_cosine", "neighbours_kept")]
    base = alt.Chart(_data(points)).encode(x, y, tooltip=["method:N", "setting:N", *numbers])
    strong = base.transform_filter("datum.strong").encode(colour)
    layers = [
        strong.mark_line().encode(order="neighbours_kept:Q"),
        strong.mark_rule(opacity=0.5).encode(x=alt.X("neighbours_kept_low:Q"), x2="neighbours_kept_high:Q"),
        strong.mark_rule(opacity=0.5).encode(y=alt.Y("accuracy_cosine_low:Q"), y2="accuracy_cosine_high:Q"),
        base.mark_point(filled=True, size=90).encode(
            colour, shape, opacity=alt.when("datum.strong").then(alt.value(1)).otherwise(alt.value(0.3))
        ),
        base.transform_filter("datum.chosen").mark_point(size=350, color=INK, strokeWidth=2),
    ]
    return alt.layer(*layers).properties(height=380, description="Agreement with people against neighbours kept")


def task_chart(rows: pd.DataFrame, people: pd.DataFrame, arms: Sequence[str], baseline: str) -> alt.LayerChart:
    """The values of one task with their 95 % intervals, an arm a line; what people reach as strokes."""
    alt = needed("altair", "a report")
    metric, several = str(rows["metric"].iloc[0]), rows["network"].nunique() > 1
    words = _WORDS.get(metric) or metric.replace("accuracy_", "accuracy, ").replace("_", " ") + " (fraction)"
    legend = alt.Legend(orient="bottom", title=None, columns=3) if several else None
    colour, shape = looks("transform", arms, baseline, legend)
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
    maps = alt.hconcat(left, panel("after", "u", "v").add_params(brushes[1]), data=alt.InlineData(values=rows))
    return maps.add_params(arm, search).properties(description="Maps of the objects before and after")


def _rows(views: Mapping[str, View], pictures: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each object and transform: its places and neighbours before and after."""
    first, *others = views.values()
    categories = _categories(first)

    def near(view: View, row: int) -> str:
        return ", ".join(view.names[i] for i in view.neighbours[row])

    return [
        {
            "arm": arm, "name": name, "category": categories[i], "image": pictures.get(name, ""),
            **dict(zip("xyuv", np.round([*first.positions[i], *view.positions[i]], 3).tolist(), strict=True)),
            "near before": near(first, i), "near after": near(view, i),
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


def looks(field: str, arms: Sequence[str], baseline: str, legend: alt.Legend | None) -> tuple[alt.Color, alt.Shape]:
    """The colours and shapes of arms: those of its method for an arm of its name, a black star for the baseline."""
    alt = needed("altair", "a report")
    free = itertools.cycle(place for place in range(len(_COLOURS)) if place not in _KNOWN.values())
    places = [_KNOWN[arm] if arm in _KNOWN else next(free) for arm in arms]
    given = [
        (INK, _STAR) if arm == baseline else (_COLOURS[i], _SHAPES[i]) for arm, i in zip(arms, places, strict=True)
    ]
    colours, shapes = (alt.Scale(domain=list(arms), range=list(part)) for part in zip(*given, strict=True))
    return alt.Color(f"{field}:N", legend=legend, scale=colours), alt.Shape(f"{field}:N", legend=legend, scale=shapes)


def _data(rows: pd.DataFrame) -> alt.InlineData:
    """Rows of any number, NaN as null."""
    plain = rows.astype(object).where(rows.notna(), None)
    return needed("altair", "a report").InlineData(values=plain.to_dict("records"))
