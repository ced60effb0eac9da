"""Altair charts of fronts and scores, in the colour of each method and in shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from glocal.errors import import_optional
from glocal.report.looks import CONTROL, INK, looks
from glocal.report.runs import POINT_COLUMNS, Block, FrontPoint, Run
from glocal.scores import AGREEMENT, KEPT, Score, Scores

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

_MIN_SHOWN = 3  # least number of points of a front
_FRONT_HEIGHT = 380  # pixels
_LINE_HEIGHT = 20  # pixels
_TASK_GAP = 20  # pixels
_DOT_SIZE = 90  # square pixels
_RING_SIZE = 350  # square pixels
_MAX_CHARACTERS_OF_TWO_COLUMNS = 20
_NUMBERS = ("value", "low", "high")
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
    "": "score",
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
    """Return a chart of each network that has arms to compare, and one of differences of networks.

    The chart of a network shows its front or, of few points, its scores. The scores are about all
    tasks, and for one transform about its agreement. A single task comes with the ends of the
    ceiling of people. A single number has no chart.
    """
    charts: list[Chart] = []
    for network in run.scores.networks:
        chart = _network_chart(run, network)
        if chart is not None:
            charts.append(chart)
    gains = run.scores.network_gains
    if len(gains) > 1:
        drawing = differences_chart(gains)
        chart = Chart("networks", chart=drawing, network="Between networks")
        charts.append(chart)
    return charts


def _network_chart(run: Run, network: str) -> Chart | None:
    """The chart of a network; None unless it has a front or scores of two arms."""
    points = front_points(run)
    is_of_network = points["network"] == network
    front = points[is_of_network]
    is_shown = len(front) >= _MIN_SHOWN
    agreement_tasks = run.agreement_tasks(network)
    has_one_task = len(agreement_tasks) == 1
    if has_one_task and is_shown:
        title = f"front-{network}".rstrip("-")
        drawing = front_chart(front)
        return Chart(title, chart=drawing, network=network, is_front=True)
    tasks = run.scores.tasks
    if run.featured:
        task = run.scores.task_of(*AGREEMENT)
        tasks = [task]
    scores = _network_scores(run.scores, network, tasks)
    arms = {score.transform for score in scores}
    has_two_arms = len(arms) >= 2
    if not has_two_arms:
        return None
    title = f"scores-{network}".rstrip("-")
    ends: list[float] = []
    if len(tasks) == 1:
        ends = _ceiling_ends(run.scores)
    drawing = scores_chart(scores, ends)
    return Chart(title, chart=drawing, network=network, ends=ends)


def _network_scores(
    scores: Scores,
    network: str,
    tasks: Sequence[str],
) -> list[Score]:
    """The scores of the arms of a network, task by task."""
    network_scores: list[Score] = []
    cells = itertools.product(tasks, scores.arms)
    for task, (network_of_arm, arm) in cells:
        if network_of_arm != network:
            continue
        score = scores.score(network, task, arm)
        if score is not None:
            network_scores.append(score)
    return network_scores


def _ceiling_ends(scores: Scores) -> list[float]:
    """The ends of the ceiling of people."""
    ends = []
    for score in scores:
        if score.metric.startswith("ceiling_"):
            ends.append(score.value)
    return ends


def differences_chart(gains: Sequence[Score]) -> alt.LayerChart:
    """Draw differences between networks as dots with 95 % intervals, beside a line at 0."""
    alt = import_optional("altair", "a report")
    rows = _named_differences(gains)
    axis = alt.Axis(labelLimit=0)
    y = alt.Y("name:N", sort=None, title=None, axis=axis)
    labels = ["name:N"]
    chart = chart_of_rows(rows, labels, _NUMBERS)
    base = chart.encode(y)
    value = metric_axis(alt.X, "value", "difference")
    dots = base.mark_point(filled=True, size=_DOT_SIZE, opacity=1, color=INK)
    differences = dots.encode(value)
    intervals = _intervals(base, "difference")
    zero = ceiling_rules([0.0], value)
    layered = alt.layer(intervals, differences, zero)
    height = 2 * _LINE_HEIGHT * len(rows)
    return layered.properties(height=height, description="Differences between networks")


def _intervals(chart: alt.Chart, metric: str) -> alt.Chart:
    """A line over the interval of each row of a chart."""
    import altair as alt

    low = metric_axis(alt.X, "low", metric)
    rules = chart.mark_rule(strokeWidth=2)
    return rules.encode(low, x2="high:Q")


def _named_differences(gains: Sequence[Score]) -> pd.DataFrame:
    """Differences with their intervals, named by the networks, the arm and the task."""
    import pandas as pd

    records = map(vars, gains)
    rows = pd.DataFrame(records)
    first = rows["network"]
    second = rows["baseline_network"]
    networks = first + " less " + second
    arms_and_tasks = rows[["transform", "task"]]
    rows["name"] = networks.str.cat(arms_and_tasks, sep=", ")
    columns = ["name", *_NUMBERS]
    return rows[columns]


def scores_chart(scores: Sequence[Score], ends: Sequence[float]) -> alt.LayerChart:
    """Draw scores as dots with their 95 % intervals, an arm a line, grouped by task.

    A single task has an axis of its metric, with a line at each of the `ends`.
    """
    import pandas as pd

    alt = import_optional("altair", "a report")
    records = map(vars, scores)
    rows = pd.DataFrame(records)
    tasks = rows["task"].unique()
    arms = rows["transform"].unique()
    scales = arm_scales("transform", arms.tolist())
    base = _arms_by_task(rows, scales.colour)
    metric = ""
    if len(tasks) == 1:
        metric = scores[0].metric
    value = metric_axis(alt.X, "value", metric)
    intervals = _intervals(base, metric)
    dots = base.mark_point(filled=True, size=_DOT_SIZE, opacity=1)
    layers = [
        intervals.encode(scales.dashes),
        dots.encode(value, scales.shape),
    ]
    if ends:
        people = ceiling_rules(ends, value)
        layers.append(people)
    height_of_task = _LINE_HEIGHT * len(arms) + _TASK_GAP
    layered = alt.layer(*layers)
    return layered.properties(
        height=height_of_task * len(tasks),
        description="Scores with intervals",
    )


def _arms_by_task(rows: pd.DataFrame, colour: alt.Color) -> alt.Chart:
    """A chart of scores, an arm a line, grouped by task; a single task is not named."""
    import altair as alt

    tasks = rows["task"].unique()
    arms = rows["transform"].unique()
    is_single = len(tasks) == 1
    axis = None if is_single else alt.Axis()
    task_order = tasks.tolist()
    arm_order = arms.tolist()
    y = alt.Y("task:N", sort=task_order, title=None, axis=axis)
    offset = alt.YOffset("transform:N", sort=arm_order)
    columns = ["task", "transform", *_NUMBERS]
    shown = rows[columns]
    labels = ["task:N", "transform:N"]
    chart = chart_of_rows(shown, labels, _NUMBERS)
    return chart.encode(y, offset, colour)


def ceiling_rules(ends: Sequence[float], axis: Any) -> alt.Chart:
    """Draw a dashed line at each end of the ceiling, across an axis of values."""
    import pandas as pd

    rows = pd.DataFrame({"value": ends})
    numbers = ["value"]
    chart = chart_of_rows(rows, [], numbers)
    people = chart.encode(axis)
    colour = CONTROL.colour
    dashes = list(CONTROL.dashes)
    return people.mark_rule(color=colour, strokeDash=dashes)


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
        arm_points = _arm_points(run.scores)
        points = pd.DataFrame(arm_points, columns=POINT_COLUMNS)
    strong: list[int] = []
    groups = points.groupby(["network", "method"])
    for _, group in groups:
        # pareto_front breaks ties by alpha, which points need not have
        comparable = group.assign(alpha=0.0)
        front = pareto_front(comparable)
        strong += front.index.tolist()
    is_strong = points.index.isin(strong)
    return points.assign(strong=is_strong)


def _arm_points(scores: Scores) -> Iterator[FrontPoint]:
    """Yield the point of each arm whose agreement and neighbours were both scored."""
    agreement_task = scores.task_of(AGREEMENT[0])
    kept_task = scores.task_of(KEPT)
    for network, arm in scores.arms:
        agreement = scores.score(network, agreement_task, arm)
        kept = scores.score(network, kept_task, arm)
        if agreement is not None and kept is not None:
            yield FrontPoint(
                network=network,
                method=arm,
                setting="",
                chosen=False,
                agreement=agreement.value,
                agreement_low=agreement.low,
                agreement_high=agreement.high,
                neighbours_kept=kept.value,
                neighbours_kept_low=kept.low,
                neighbours_kept_high=kept.high,
            )


def front_chart(points: pd.DataFrame) -> alt.LayerChart:
    """Draw agreement against neighbours kept.

    The chart shows every setting, the front of each arm as a line, and the choice in a ring.
    """
    alt = import_optional("altair", "a report")
    methods = points["method"].unique().tolist()
    scales = arm_scales("method", methods)
    x = _front_axis(alt.X, "neighbours_kept")
    y = _front_axis(alt.Y, "agreement")
    labels = ["method:N", "setting:N"]
    numbers = ["agreement", "neighbours_kept"]
    chart = chart_of_rows(points, labels, numbers)
    base = chart.encode(x, y)
    dots = base.mark_point(filled=True, size=_DOT_SIZE, opacity=1)
    chosen = base.transform_filter("datum.chosen")
    ring = chosen.mark_point(size=_RING_SIZE, color=INK, strokeWidth=2)
    fronts = _front_layers(base, scales.colour)
    points_of_arms = dots.encode(scales.colour, scales.shape)
    layered = alt.layer(*fronts, points_of_arms, ring)
    return layered.properties(
        height=_FRONT_HEIGHT,
        description="Agreement with people against neighbours kept",
    )


def _front_layers(base: alt.Chart, colour: alt.Color) -> list[alt.Chart]:
    """The front of each arm as a line, and the intervals of its points."""
    is_strong = base.transform_filter("datum.strong")
    front = is_strong.encode(colour)
    line = front.mark_line()
    intervals = front.mark_rule(opacity=0.5)
    return [
        line.encode(order="neighbours_kept:Q"),
        intervals.encode(x="neighbours_kept_low:Q", x2="neighbours_kept_high:Q"),
        intervals.encode(y="agreement_low:Q", y2="agreement_high:Q"),
    ]


def _front_axis(channel: type[Any], metric: str) -> Any:
    """The axis of a metric of points, which ends near the outermost of them."""
    axis = metric_axis(channel, metric, metric)
    axis["scale"]["nice"] = False
    return axis


def chart_of_rows(
    rows: pd.DataFrame,
    labels: Sequence[str],
    numbers: Sequence[str],
) -> alt.Chart:
    """A chart of rows, with a tooltip of its labels and of numbers with three decimal places."""
    import altair as alt

    data = inline_data(rows)
    chart = alt.Chart(data)
    tooltip: list[str | alt.Tooltip] = list(labels)
    for name in numbers:
        field = f"{name}:Q"
        number = alt.Tooltip(field, format=".3f")
        tooltip.append(number)
    return chart.encode(tooltip=tooltip)


def metric_axis(channel: type[Any], field: str, metric: str) -> Any:
    """A channel of shares in per cent, with the title of a metric and four ticks."""
    import altair as alt

    title = _TITLES.get(metric, metric)
    scale = alt.Scale(zero=False, padding=12)
    axis = alt.Axis(tickCount=4, format="%")
    field_of_numbers = f"{field}:Q"
    return channel(field_of_numbers, title=title, scale=scale, axis=axis)


class ArmScales(NamedTuple):
    """The channels that tell arms apart."""

    colour: alt.Color
    shape: alt.Shape
    dashes: alt.StrokeDash


def arm_scales(field: str, arms: Sequence[str]) -> ArmScales:
    """Return the colour, shape and dash channels of arms, by their looks and their order."""
    import altair as alt

    lengths = [len(arm) for arm in arms]
    is_short = max(lengths) <= _MAX_CHARACTERS_OF_TWO_COLUMNS
    legend = alt.Legend(
        orient="top",
        title=None,
        symbolOpacity=1,
        symbolStrokeWidth=0,
        columns=2 if is_short else 1,
        labelLimit=0,
    )
    styles = looks(arms).values()
    colours = [style.colour for style in styles]
    dashes = [list(style.dashes) for style in styles]
    domain = list(arms)

    def channel(kind: type[Any], values: Sequence[Any]) -> Any:
        scale = alt.Scale(domain=domain, range=list(values))
        return kind(f"{field}:N", legend=legend, scale=scale)

    return ArmScales(
        colour=channel(alt.Color, colours),
        shape=channel(alt.Shape, _SHAPES),  # from the first again if there are more arms
        dashes=channel(alt.StrokeDash, dashes),
    )


def inline_data(rows: pd.DataFrame) -> alt.InlineData:
    """The rows as data in the chart, of any length, with NaN as null."""
    import altair as alt

    is_known = rows.notna()
    objects = rows.astype(object)
    nullable = objects.where(is_known, None)
    records = nullable.to_dict("records")
    return alt.InlineData(values=records)
