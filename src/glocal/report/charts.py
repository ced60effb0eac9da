"""Charts in Altair; arms differ without colour too (Okabe & Ito 2008)."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from glocal.errors import import_optional
from glocal.evaluation.view import View
from glocal.report.front import front_points
from glocal.report.runs import Run
from glocal.results import PEOPLE
from glocal.suite.table import main_rows

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

SIDE = 400  # pixels of a map
_FRONT_HEIGHT = 380  # pixels
_LINE_HEIGHT = 26  # pixels of an arm in the chart of a task
_CROWDED_LINE_HEIGHT = 16  # of an arm of one of several networks
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7b61c4")
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
_STAR = "M0,-1.6L.38,-.51L1.52,-.5L.61,.19L.94,1.3L0,.64L-.94,1.3L-.61,.19L-1.52,-.5L-.38,-.51Z"
_FIXED_LOOKS = {"glocal": 0, "chosen": 0, "global": 1, "naive": 2}
INK = "#1b1f24"
GREY = "#9a9a9a"
PALE = "#d8d8d8"
CATEGORIES = (
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
)
_MAX_LABELLED = 30  # matches of a search whose names and pictures are drawn
_TITLES = {
    "accuracy_cosine": "agreement with people (fraction)",
    "accuracy_dot": "agreement with people (fraction)",
    "neighbours_kept": "neighbours kept (fraction)",
    "auroc": "area under the ROC curve (fraction)",
    "map": "mean average precision (fraction)",
    "loss": "loss (nats)",
}


def charts_of(run: Run, pictures: dict[str, str]) -> dict[str, Any]:
    """The charts of a run by name: ``front``, ``task-NAME``, ``objects-NETWORK``."""
    is_people = run.rows["transform"] == PEOPLE
    people = run.rows[is_people]
    arms = run.rows.loc[~is_people, "transform"].unique().tolist()
    charts: dict[str, Any] = {}
    for network, points in front_points(run).groupby("network", sort=False):
        name = f"front-{network}" if network else "front"
        charts[name] = front_chart(points, run.baseline)
    for task, rows in main_rows(run.rows).groupby("task", sort=False):
        task_people = people[people["task"] == task]
        charts[f"task-{task}"] = task_chart(rows, task_people, arms, run.baseline)
    for network, views in run.views.items():
        names = next(iter(views.values())).names
        comparable = {arm: view for arm, view in views.items() if view.names == names}
        if len(comparable) > 1:
            charts[f"objects-{network}"] = objects_chart(comparable, pictures)
    return charts


def front_chart(points: pd.DataFrame, baseline: str) -> alt.LayerChart:
    """Agreement against neighbours kept.

    It shows every setting, the front of each arm as a line, and the choice in a ring.
    """
    alt = import_optional("altair", "a report")
    scale = alt.Scale(zero=False, nice=False, padding=12)
    x = alt.X("neighbours_kept:Q", title=_TITLES["neighbours_kept"], scale=scale)
    y = alt.Y("accuracy_cosine:Q", title=_TITLES["accuracy_cosine"], scale=scale)
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1)
    methods = list(dict.fromkeys(points["method"]))
    colour, shape = arm_scales("method", methods, baseline, legend)
    numbers = _tooltips("accuracy_cosine", "neighbours_kept")
    base = alt.Chart(_data(points)).encode(x, y, tooltip=["method:N", "setting:N", *numbers])
    strong = base.transform_filter("datum.strong").encode(colour)
    x_low = alt.X("neighbours_kept_low:Q")
    y_low = alt.Y("accuracy_cosine_low:Q")
    opacity = alt.when("datum.strong").then(alt.value(1)).otherwise(alt.value(0.3))
    layers = [
        strong.mark_line().encode(order="neighbours_kept:Q"),
        strong.mark_rule(opacity=0.5).encode(x=x_low, x2="neighbours_kept_high:Q"),
        strong.mark_rule(opacity=0.5).encode(y=y_low, y2="accuracy_cosine_high:Q"),
        base.mark_point(filled=True, size=90).encode(colour, shape, opacity=opacity),
        base.transform_filter("datum.chosen").mark_point(size=350, color=INK, strokeWidth=2),
    ]
    return alt.layer(*layers).properties(
        height=_FRONT_HEIGHT, description="Agreement with people against neighbours kept"
    )


def task_chart(
    rows: pd.DataFrame, people: pd.DataFrame, arms: Sequence[str], baseline: str
) -> alt.LayerChart:
    """The values of one task with their 95 % intervals, an arm a line; people's as strokes."""
    alt = import_optional("altair", "a report")
    title = _metric_title(str(rows["metric"].iloc[0]))
    has_networks = rows["network"].nunique() > 1
    axes: dict[str, Any] = {"y": alt.Y("transform:N", sort=list(arms), title=None)}
    legend = None
    if has_networks:
        axes = {
            "y": alt.Y("network:N", title=None),
            "yOffset": alt.YOffset("transform:N", sort=list(arms)),
        }
        legend = alt.Legend(orient="bottom", title=None, columns=3)
    colour, shape = arm_scales("transform", arms, baseline, legend)
    x_style = {
        "title": title,
        "scale": alt.Scale(zero=False, padding=8),
        "axis": alt.Axis(tickCount=4),
    }
    x = alt.X("value:Q", **x_style)
    columns = ["network", "transform", "value", "low", "high", "n"]
    tooltip = ["network:N", "transform:N", *_tooltips("value", "low", "high"), "n:Q"]
    base = alt.Chart(_data(rows[columns])).encode(colour, tooltip=tooltip, **axes)
    layers = [
        base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", **x_style), x2="high:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(x, shape),
    ]
    if len(people):
        ceiling = alt.Chart(_data(people[["network", "metric", "value"]]))
        ceiling = ceiling.encode(x, tooltip=["metric:N", "value:Q"])
        if has_networks:
            layers.append(ceiling.mark_tick(color=INK).encode(y=axes["y"]))
        else:
            layers.append(ceiling.mark_rule(color=INK))
    line_height = _CROWDED_LINE_HEIGHT if has_networks else _LINE_HEIGHT
    return alt.layer(*layers).properties(
        height=len(rows) * line_height,
        description=f"{title} of each arm with its 95 % interval",
    )


def _metric_title(metric: str) -> str:
    if metric in _TITLES:
        return _TITLES[metric]
    return metric.replace("accuracy_", "accuracy, ").replace("_", " ") + " (fraction)"


def _tooltips(*names: str) -> list[alt.Tooltip]:
    """Numbers with three digits."""
    alt = import_optional("altair", "a report")
    return [alt.Tooltip(f"{name}:Q", format=".3f") for name in names]


def objects_chart(views: Mapping[str, View], pictures: Mapping[str, str]) -> alt.HConcatChart:
    """The objects before and after a transform: what is selected in one map is lit in both.

    `views` are those of one network by arm, the baseline first; `pictures` are data URIs by the
    name of the object. The largest ten categories have colours. A name that is searched for is
    shown with its picture.
    """
    alt = import_optional("altair", "a report")
    before, *others = views
    categories = set(_categories(views[before]))
    arm = alt.param(
        "arm", value=others[-1], bind=alt.binding_select(options=others, name="Transform ")
    )
    search, is_match = _search()
    legend = alt.selection_point("legend", fields=["category"], bind="legend")
    brush_before = alt.selection_interval("before")
    brush_after = alt.selection_interval("after")
    has_categories = len(categories - {"other"}) > 0
    is_lit = brush_before & brush_after
    if has_categories:
        is_lit = legend & brush_before & brush_after
    colour = alt.when(is_lit).then(_category_colour(categories)).otherwise(alt.value(PALE))

    def panel(title: str, x: str, y: str) -> alt.LayerChart:
        return _panel(title, (x, y), alt.datum.arm == arm, is_match, colour)

    selections = [legend, brush_before] if has_categories else [brush_before]
    maps = alt.hconcat(
        panel(f"before: {before}", "x", "y").add_params(*selections),
        panel("after", "u", "v").add_params(brush_after),
        data=alt.InlineData(values=_rows(views, pictures)),
    )
    return maps.add_params(arm, search).properties(
        description="Maps of the objects before and after"
    )


def _search() -> tuple[Any, Any]:
    """A box for a name, and whether an object has a name with that text."""
    alt = import_optional("altair", "a report")
    box = alt.binding(input="search", placeholder="a name", name="Find ")
    search = alt.param("search", value="", bind=box)
    position = alt.expr.indexof(alt.expr.lower(alt.datum.name), alt.expr.lower(search))
    return search, alt.expr.length(search) & (position >= 0)


def _category_colour(categories: set[str]) -> alt.Color:
    """A colour for each category, grey for the others."""
    alt = import_optional("altair", "a report")
    largest = sorted(categories - {"other"})
    colours = dict(zip(largest, CATEGORIES, strict=False))
    if "other" in categories:
        colours["other"] = GREY
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=100) if largest else None
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return alt.Color("category:N", title=None, legend=legend, scale=scale)


def _panel(
    title: str, axes: tuple[str, str], is_shown: Any, is_match: Any, colour: Any
) -> alt.LayerChart:
    """One map of the objects; matches of the search have a ring, and a few a name and a picture."""
    alt = import_optional("altair", "a report")
    x, y = axes
    scale = alt.Scale(zero=False)
    base = alt.Chart().transform_filter(is_shown)
    base = base.encode(
        alt.X(f"{x}:Q", axis=None, scale=scale), alt.Y(f"{y}:Q", axis=None, scale=scale)
    )
    matches = base.transform_filter(is_match)
    few = matches.transform_joinaggregate(found="count()")
    few = few.transform_filter(f"datum.found <= {_MAX_LABELLED}")
    tooltip = ["name:N", "category:N", "near before:N", "near after:N", "image:N"]
    layers = [
        base.mark_circle(size=30).encode(color=colour, tooltip=tooltip),
        matches.mark_point(size=150, color=INK, strokeWidth=2),
        few.mark_image(width=36, height=36).encode(url="image:N"),
        few.mark_text(dy=26, color=INK).encode(text="name:N"),
    ]
    return alt.layer(*layers).properties(title=title, width=SIDE, height=SIDE)


def _rows(views: Mapping[str, View], pictures: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each object and transform: its positions and neighbours before and after."""
    before, *arms = views
    first = views[before]
    categories = _categories(first)
    rows = []
    for arm in arms:
        view = views[arm]
        for i, name in enumerate(first.names):
            positions = np.round([*first.positions[i], *view.positions[i]], 3).tolist()
            rows.append(
                {
                    "arm": arm,
                    "name": name,
                    "category": categories[i],
                    "image": pictures.get(name, ""),
                    **dict(zip("xyuv", positions, strict=True)),
                    "near before": _neighbour_names(first, i),
                    "near after": _neighbour_names(view, i),
                }
            )
    return rows


def _neighbour_names(view: View, row: int) -> str:
    return ", ".join(view.names[i] for i in view.neighbours[row])


def _categories(view: View) -> list[str]:
    """The category of each object: one of the largest ten, or other."""
    categories = view.categories or ("other",) * len(view.names)
    counts = Counter(name for name in categories if name not in ("", "other"))
    largest = [name for name, _ in counts.most_common(len(CATEGORIES))]
    return [name if name in largest else "other" for name in categories]


def arm_scales(
    field: str, arms: Sequence[str], baseline: str, legend: alt.Legend | None
) -> tuple[alt.Color, alt.Shape]:
    """The colours and shapes of arms.

    An arm with the name of a method has those of the method, the baseline is a black star.
    """
    alt = import_optional("altair", "a report")
    fixed = _FIXED_LOOKS.values()
    free = itertools.cycle(i for i in range(len(_COLOURS)) if i not in fixed)
    colours = []
    shapes = []
    for arm in arms:
        i = _FIXED_LOOKS[arm] if arm in _FIXED_LOOKS else next(free)
        colours.append(INK if arm == baseline else _COLOURS[i])
        shapes.append(_STAR if arm == baseline else _SHAPES[i])
    colour_scale = alt.Scale(domain=list(arms), range=colours)
    shape_scale = alt.Scale(domain=list(arms), range=shapes)
    return (
        alt.Color(f"{field}:N", legend=legend, scale=colour_scale),
        alt.Shape(f"{field}:N", legend=legend, scale=shape_scale),
    )


def _data(rows: pd.DataFrame) -> alt.InlineData:
    """Rows of any number, NaN as null."""
    values = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return import_optional("altair", "a report").InlineData(values=values)
