"""Altair charts of fronts and scores, in the colour of each method and in shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glocal.errors import import_optional
from glocal.report.looks import CONTROL, INK, looks
from glocal.report.runs import POINT_COLUMNS, Block, Run
from glocal.scores import AGREEMENT, KEPT, Score, Scores

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_MIN_SHOWN = 3  # least number of points of a front
_FRONT_HEIGHT = 380  # pixels
_LINE_HEIGHT = 20  # pixels
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
_TITLES = {
    "agreement": "agreement with people",
    "neighbours_kept": "neighbours kept",
}


@dataclass(frozen=True, eq=False)
class Chart(Block):
    """The chart of a network beside the headlines, and the ends of the ceiling that it shows."""

    network: str = ""
    is_front: bool = False
    ends: Sequence[float] = ()


def charts_of(run: Run) -> list[Chart]:
    """Return a chart of each network, its front or, of few points, its scores; and of differences.

    The scores are about all tasks, and for one transform about its agreement. A single task comes
    with the ends of the ceiling of people.
    """
    charts = [chart for network in run.scores.networks for chart in _network_charts(run, network)]
    if gains := run.scores.network_gains:
        chart = differences_chart(gains)
        charts.append(Chart("networks", chart=chart, network="Between networks"))
    return charts


def _network_charts(run: Run, network: str) -> Iterator[Chart]:
    """Yield the chart of a network, if it has a front or scores."""
    points = front_points(run)
    front = points[points["network"] == network]
    if len(front) >= _MIN_SHOWN and len(run.agreement_tasks(network)) == 1:
        title = f"front-{network}".rstrip("-")
        yield Chart(title, chart=front_chart(front), network=network, is_front=True)
        return
    tasks = [run.scores.task_of(*AGREEMENT)] if run.featured else run.scores.tasks
    arms = [arm for of_network, arm in run.scores.arms if of_network == network]
    cells = [run.scores.score(network, task, arm) for task in tasks for arm in arms]
    scores = [score for score in cells if score is not None]
    if scores:
        title = f"scores-{network}".rstrip("-")
        ends = _ceiling_ends(run.scores) if len(tasks) == 1 else []
        yield Chart(title, chart=scores_chart(scores, ends), network=network, ends=ends)


def _ceiling_ends(scores: Scores) -> list[float]:
    """The ends of the ceiling of people."""
    return [score.value for score in scores if score.metric.startswith("ceiling_")]


def differences_chart(gains: Sequence[Score]) -> alt.LayerChart:
    """Draw differences between networks as dots with 95 % intervals, beside a line at 0."""
    import pandas as pd

    alt = import_optional("altair", "a report")
    rows = pd.DataFrame(map(vars, gains))
    networks = rows["network"] + " less " + rows["baseline_network"]
    rows["name"] = networks + ", " + rows["transform"] + ", " + rows["task"]
    rows = rows[["name", "value", "low", "high"]]
    value, low = (metric_axis(alt.X, name, "difference") for name in ("value", "low"))
    base = alt.Chart(inline_data(rows)).encode(
        alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=0)),
        tooltip=["name:N", *tooltips("value", "low", "high")],
    )
    return alt.layer(
        base.mark_rule(strokeWidth=2).encode(low, x2="high:Q"),
        base.mark_point(filled=True, size=90, opacity=1, color=INK).encode(value),
        ceiling_rules([0.0], value),
    ).properties(height=2 * _LINE_HEIGHT * len(rows), description="Differences between networks")


def scores_chart(scores: Sequence[Score], ends: Sequence[float]) -> alt.LayerChart:
    """Draw scores as dots with their 95 % intervals, an arm a line, grouped by task.

    A single task has an axis of its metric, with a line at each of the `ends`.
    """
    import pandas as pd

    alt = import_optional("altair", "a report")
    rows = pd.DataFrame(map(vars, scores))[["task", "transform", "value", "low", "high"]]
    arms = rows["transform"].unique().tolist()
    tasks = rows["task"].unique().tolist()
    metric = scores[0].metric if len(tasks) == 1 else ""
    colour, shape, dashes = arm_scales("transform", arms)
    value, low = (metric_axis(alt.X, name, metric) for name in ("value", "low"))
    base = alt.Chart(inline_data(rows)).encode(
        alt.Y("task:N", sort=tasks, title=None, axis=None if metric else alt.Axis()),
        alt.YOffset("transform:N", sort=arms),
        colour,
        tooltip=["task:N", "transform:N", *tooltips("value", "low", "high")],
    )
    layers = [
        base.mark_rule(strokeWidth=2).encode(low, dashes, x2="high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(value, shape),
    ]
    if ends:
        layers.append(ceiling_rules(ends, value))
    height = _LINE_HEIGHT * len(arms) * len(tasks) + 20 * len(tasks)
    return alt.layer(*layers).properties(height=height, description="Scores with intervals")


def ceiling_rules(ends: Sequence[float], axis: Any) -> alt.Chart:
    """Draw a dashed line at each end of the ceiling, across an axis of values."""
    import altair as alt
    import pandas as pd

    rows = inline_data(pd.DataFrame({"value": ends}))
    people = alt.Chart(rows).encode(axis, tooltip=tooltips("value"))
    return people.mark_rule(color=CONTROL.colour, strokeDash=[*CONTROL.dashes])


def front_points(run: Run) -> pd.DataFrame:
    """Return one row for each setting of a sweep, or else for each network and arm, if any.

    The columns are network, method (or the arm), setting (in words), chosen, agreement and
    neighbours_kept, both with …_low and …_high (the 95 % interval, NaN if there is none), and
    strong (whether the point is on the front of its method).
    """
    import pandas as pd

    from glocal.sweep import pareto_front  # loads the solver, which importing this module does not

    points = run.settings
    if points is None:
        rows = [_arm_point(run.scores, network, arm) for network, arm in run.scores.arms]
        points = pd.DataFrame(filter(None, rows), columns=POINT_COLUMNS)
    strong: list[int] = []
    for _, group in points.groupby(["network", "method"]):
        # pareto_front breaks ties by alpha, which points need not have
        strong += pareto_front(group.assign(alpha=0.0)).index.tolist()
    return points.assign(strong=points.index.isin(strong))


def _arm_point(scores: Scores, network: str, arm: str) -> dict[str, Any] | None:
    """The point of an arm; None unless its agreement and its neighbours were both scored."""
    agreement = scores.score(network, scores.task_of(AGREEMENT[0]), arm)
    kept = scores.score(network, scores.task_of(KEPT), arm)
    if agreement is None or kept is None:
        return None
    return {
        "network": network,
        "method": arm,
        "setting": "",
        "chosen": False,
        "agreement": agreement.value,
        "agreement_low": agreement.low,
        "agreement_high": agreement.high,
        "neighbours_kept": kept.value,
        "neighbours_kept_low": kept.low,
        "neighbours_kept_high": kept.high,
    }


def front_chart(points: pd.DataFrame) -> alt.LayerChart:
    """Draw agreement against neighbours kept.

    The chart shows every setting, the front of each arm as a line, and the choice in a ring.
    """
    alt = import_optional("altair", "a report")
    x = metric_axis(alt.X, "neighbours_kept", "neighbours_kept", nice=False)
    y = metric_axis(alt.Y, "agreement", "agreement", nice=False)
    colour, shape, _ = arm_scales("method", points["method"].unique().tolist())
    numbers = tooltips("agreement", "neighbours_kept")
    base = alt.Chart(inline_data(points)).encode(x, y, tooltip=["method:N", "setting:N", *numbers])
    strong = base.transform_filter("datum.strong").encode(colour)
    rule = strong.mark_rule(opacity=0.5)
    layers = [
        strong.mark_line().encode(order="neighbours_kept:Q"),
        rule.encode(x="neighbours_kept_low:Q", x2="neighbours_kept_high:Q"),
        rule.encode(y="agreement_low:Q", y2="agreement_high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(colour, shape),
        base.transform_filter("datum.chosen").mark_point(size=350, color=INK, strokeWidth=2),
    ]
    return alt.layer(*layers).properties(
        height=_FRONT_HEIGHT, description="Agreement with people against neighbours kept"
    )


def metric_axis(channel: type[Any], field: str, metric: str, **scale: Any) -> Any:
    """A channel of shares in per cent, with the title of a metric and four ticks."""
    import altair as alt

    scale = {"zero": False, "padding": 12, **scale}
    title = _TITLES.get(metric, metric or "score")
    axis = alt.Axis(tickCount=4, format="%")
    return channel(f"{field}:Q", title=title, scale=alt.Scale(**scale), axis=axis)


def tooltips(*names: str) -> list[alt.Tooltip]:
    """Tooltips of numbers with three decimal places."""
    import altair as alt

    return [alt.Tooltip(f"{name}:Q", format=".3f") for name in names]


def arm_scales(field: str, arms: Sequence[str]) -> list[Any]:
    """Return the colour, shape and dash channels of arms, by their looks and their order."""
    import altair as alt

    columns = 2 if max(map(len, arms)) <= 20 else 1
    legend = alt.Legend(
        orient="top",
        title=None,
        symbolOpacity=1,
        symbolStrokeWidth=0,
        columns=columns,
        labelLimit=0,
    )
    styles = looks(arms).values()
    ranges: dict[Any, list[Any]] = {
        alt.Color: [style.colour for style in styles],
        alt.Shape: [*_SHAPES],  # from the first again if there are more arms
        alt.StrokeDash: [[*style.dashes] for style in styles],
    }
    return [
        channel(f"{field}:N", legend=legend, scale=alt.Scale(domain=[*arms], range=values))
        for channel, values in ranges.items()
    ]


def inline_data(rows: pd.DataFrame) -> alt.InlineData:
    """The rows as data in the chart, of any length, with NaN as null."""
    import altair as alt

    values = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return alt.InlineData(values=values)
