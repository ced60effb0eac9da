"""Figures for papers from a run, one call each: the charts of the page as SVG, PNG and PDF."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from glocal.errors import DataError, FileError
from glocal.evaluation.views import View
from glocal.evaluation.views.view import UNKNOWN, Matrix
from glocal.files import PathLike, atomic_write, make_folder, writable_target
from glocal.report.captions import (
    arm_name,
    front_title,
    gain_title,
    map_title,
    matrix_title,
    share_title,
    slice_title,
    task_title,
)
from glocal.report.charts import altair, front_chart, map_chart, matrix_chart, slice_chart, spectrum_chart, task_chart
from glocal.report.fronts import Front, front_points, fronts
from glocal.report.loading import Run, load_run
from glocal.report.objects import category_bands, coloured, picture
from glocal.report.palette import theme
from glocal.report.vega import drawn
from glocal.suite.table import arms, bounds, main_rows
from glocal.suite.text import file_stems

if TYPE_CHECKING:
    import altair as alt

FORMATS = (".png", ".pdf", ".svg")
_NAME = 150  # characters of a title
_LETTER = 7.2  # pixels of a character of it


def front_figure(folders: PathLike | Sequence[PathLike], *, title: str = "") -> alt.TopLevelMixin:
    """Draw the settings of one or several sweeps, their fronts, the original features and the choices.

    Parameters
    ----------
    folders : path or sequence of paths
        Output folders of sweeps of the same features and answers, e.g. one of `glocal` and one of `global`; the
        settings of `global` and `naive` are joined along lmbda.
    title : str

    Returns
    -------
    altair.TopLevelMixin
        A chart of means over folds; bars are standard errors.

    Raises
    ------
    FileError
        A folder holds no finished sweep.
    MissingDependencyError
        Altair is not installed.
    """
    run = load_run(folders)
    points = front_points(run.sweeps)
    if not points or any(sweep.means is None or sweep.front is None for sweep in run.sweeps):
        raise FileError(f"{', '.join(run.names)}: no finished sweep. glocal sweep --resume goes on with it.")
    return _figure([(title, front_chart(points))], width=420)


def fronts_figure(found: Sequence[Front]) -> alt.TopLevelMixin:
    """The fronts of one or several networks on the same axes, a panel each."""
    among = [point for front in found for point in front.points]
    width = 420 if len(found) == 1 else 330
    return _figure([(_titled(front, found), front_chart(front.points, among)) for front in found], width=width)


def _titled(front: Front, among: Sequence[Front]) -> str:
    return front.title if len(among) > 1 else front_title(front)


def scores_figure(run: Run) -> alt.TopLevelMixin:
    """One panel a task: every arm with its 95 % interval, networks below each other, ceilings of people as strokes."""
    people, order = bounds(run.rows), arms(run.rows)
    return _figure([
        (task_title(rows), task_chart(rows, people[people["task"] == task], order, legend=True))
        for task, rows in main_rows(run.rows).groupby("task", sort=False)
    ])  # fmt: skip


def slices_figure(run: Run) -> alt.TopLevelMixin:
    """Held-out accuracy against one parameter, the others as chosen: a line a fold, their mean thick."""
    slices = [one for front in fronts(run) for one in front.slices]
    return _figure([
        (f"{sweep}: {slice_title(rows, parameter)}", slice_chart(rows, parameter)) for sweep, parameter, rows in slices
    ])  # fmt: skip


def map_figure(before: View, after: View) -> alt.TopLevelMixin:
    """Objects in two dimensions before and after, coloured by category (the largest ten)."""
    categories = before.categories or [""] * len(before.names)
    shown = coloured(categories)
    colours = [category if category in shown else "other" for category in categories]
    panels = []
    for when, view in (("before", before), ("after", after)):
        rows = [
            {"x": x, "y": y, "name": name, "colour": colour, "state": ""}
            for (x, y), name, colour in zip(view.positions.tolist(), view.names, colours, strict=True)
        ]
        chart = map_chart(shown, when, others="other" in colours, rows=rows)
        panels.append((arm_name(view), chart.properties(height=300)))
    return _figure(panels, width=300, title=map_title(before, after))


def matrix_figure(before: View, after: View) -> alt.TopLevelMixin:
    """Dissimilarities of all pairs before and after on one scale, and people's own where there are answers."""
    low, high = (
        pick(getattr(view.rdm, name) for view in (before, after)) for pick, name in ((min, "low"), (max, "high"))
    )
    shown = [(arm_name(view), _scaled(view.rdm, low, high), "1 - cosine") for view in (before, after)]
    if before.people is not None:
        shown.append(("people", before.people, "share that found another pair more alike"))
    bands = category_bands(before)
    panels = [
        (name, matrix_chart(picture(matrix)["url"], matrix.low, matrix.high, unit, bands))
        for name, matrix, unit in shown
    ]
    return _figure(panels, legends="independent", title=matrix_title(before, after))


def spectrum_figure(view: View) -> alt.TopLevelMixin:
    """Gain of each principal direction, and where the variance lies before and after.

    The view is that of an arm with a transform.
    """
    axes = view.axes
    if axes is None:
        raise DataError(f"the view of {arm_name(view)} has no spectrum, since it has no transform.")
    gains = [{"axis": place, "gain": gain} for place, gain in enumerate(axes.gains.tolist(), start=1)]
    shares = [
        {"axis": place, "share": share, "when": when}
        for when, of in (("before", axes.share_before), ("after", axes.share_after))
        for place, share in enumerate(of.tolist(), start=1)
        if share > 1e-8
    ]
    panels = [
        (gain_title(axes), spectrum_chart("gain", "gain", rows=gains)),
        (share_title(axes), spectrum_chart("share", "share of the variance", rows=shares)),
    ]
    return _figure(panels, width=330, legends="independent", title=arm_name(view))


def save_figure(figure: alt.TopLevelMixin, out: PathLike) -> None:
    """Write a figure, or any chart of Altair, as PNG (200 dots an inch), PDF or SVG, by its ending, atomically.

    Raises
    ------
    ParameterError
        Another ending.
    FileError
        It cannot be written.
    MissingDependencyError
        vl-convert is not installed.
    """
    ending = writable_target(out, what="the figure", endings=FORMATS).suffix.lower()
    ((content,),) = drawn([figure.to_dict()], [ending])
    with atomic_write(out) as stream:
        stream.write(content)


def save_figures(run: Run, out: PathLike) -> list[Path]:
    """Write every figure that the run has material for, as PNG and PDF; the files."""
    where, endings = make_folder(out), (".png", ".pdf")
    figures = _figures(run)
    written = []
    for name, contents in zip(figures, drawn([one.to_dict() for one in figures.values()], endings), strict=True):
        for ending, content in zip(endings, contents, strict=True):
            written.append(where / f"{name}{ending}")
            with atomic_write(written[-1]) as stream:
                stream.write(content)
    return written


def _figures(run: Run) -> dict[str, alt.TopLevelMixin]:
    """The figures of a run by name."""
    found: dict[str, alt.TopLevelMixin] = {}
    if len(main_rows(run.rows)):
        found["scores"] = scores_figure(run)
    if shown := [front for front in fronts(run) if front.points]:
        found["front"] = fronts_figure(shown)
    if any(front.slices for front in fronts(run)):
        found["slices"] = slices_figure(run)
    stems = file_stems((network, arm) for network, views in run.views.items() for arm in views)
    for network, views in run.views.items():
        before, *others = views.items()
        for arm, after in others:
            name = stems[network, arm]
            found |= {f"map-{name}": map_figure(before[1], after), f"matrix-{name}": matrix_figure(before[1], after)}
            if after.axes is not None:
                found[f"spectrum-{name}"] = spectrum_figure(after)
    return found


def _figure(
    panels: Sequence[tuple[str, Any]],
    *,
    width: int = 240,
    title: str = "",
    legends: Literal["shared", "independent"] = "shared",
) -> alt.TopLevelMixin:
    """Titles and charts side by side, three in a row, on white paper; a shared legend stands once."""
    charts = [chart.properties(width=width, title=_lines(name, width)) for name, chart in panels]
    whole = charts[0] if len(charts) == 1 else altair().concat(*charts, columns=3).resolve_scale(color=legends)
    if title:
        whole = whole.properties(title=_lines(title, width * min(3, len(charts))))
    return whole.configure(**theme() | {"background": "#ffffff"})


def _lines(title: str, width: int) -> str | list[str]:
    """A title in lines of a width in pixels; one that is far too long ends in dots."""
    short = title if len(title) <= _NAME else title[: _NAME - 1] + "…"
    lines = textwrap.wrap(short, int(width / _LETTER))
    return short if len(lines) < 2 else lines


def _scaled(matrix: Matrix, low: float, high: float) -> Matrix:
    """The same matrix in 8 bits from `low` to `high`."""
    cells = np.rint((matrix.values() - low) / (high - low or 1.0) * 254)
    return Matrix(np.where(np.isnan(cells), UNKNOWN, cells).astype(np.uint8), low, high)
