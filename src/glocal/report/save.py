"""Figures as PNG and PDF, tables as CSV and LaTeX."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glocal.errors import needed
from glocal.files import PathLike, atomic_write, make_folder, writable_target
from glocal.report.charts import front_chart, objects_chart, task_chart
from glocal.report.front import front_points, summary
from glocal.report.runs import Run
from glocal.suite.table import arms, bounds, main_rows, score_table

_DOTS = 200  # an inch


def charts_of(run: Run, pictures: dict[str, str]) -> dict[str, Any]:
    """The charts of a run by name: ``front``, ``task-NAME``, ``objects-NETWORK``."""
    points, people, order = front_points(run), bounds(run.rows), arms(run.rows)
    charts: dict[str, Any] = {}
    for network, found in points.groupby("network", sort=False) if len(points) else ():
        charts["-".join(filter(None, ("front", network)))] = front_chart(found, run.baseline)
    for task, rows in main_rows(run.rows).groupby("task", sort=False):
        charts[f"task-{task}"] = task_chart(rows, people[people["task"] == task], order, run.baseline)
    for network, views in run.views.items():
        names = next(iter(views.values())).names
        alike = {arm: view for arm, view in views.items() if view.names == names}
        if len(alike) > 1:
            charts[f"objects-{network}"] = objects_chart(alike, pictures)
    return charts


def save_figure(chart: Any, out: PathLike) -> None:
    """Draw a chart of Altair as PNG (200 dots an inch), PDF or SVG, by the ending of the file, atomically."""
    kind = writable_target(out, what="figure", endings=(".png", ".pdf", ".svg")).suffix[1:]
    needed("vl_convert", "a figure")
    drawn: Any = io.StringIO() if kind == "svg" else io.BytesIO()
    chart.save(drawn, format=kind, **({"ppi": _DOTS} if kind == "png" else {}))
    found = drawn.getvalue()
    with atomic_write(out) as stream:
        stream.write(found.encode() if kind == "svg" else found)


def save_figures(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write every chart of runs as ``NAME.png`` and ``NAME.pdf``; the files."""
    written = []
    for name, chart in _named(runs, [charts_of(run, {}) for run in runs]):
        figure = chart if name.startswith("objects") else chart.properties(width=440)
        for kind in ("png", "pdf"):
            written.append(make_folder(folder) / f"{name}.{kind}")
            save_figure(figure, written[-1])
    return written


def save_tables(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write the tables of runs, ``methods`` and ``scores``, as ``NAME.csv`` and ``NAME.tex``; the files."""
    written = []
    tables = [{"methods": summary(run, front_points(run)), "scores": score_table(run.rows)} for run in runs]
    for name, table in _named(runs, tables):
        if len(table):
            latex: str = table.style.format(escape="latex").hide().to_latex(hrules=True)
            for kind, text in (("csv", table.to_csv(index=False)), ("tex", latex)):
                written.append(make_folder(folder) / f"{name}.{kind}")
                with atomic_write(written[-1]) as stream:
                    stream.write(text.encode())
    return written


def _named(runs: Sequence[Run], parts: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Each part with a name that a file may have, of several runs with that of its folder."""
    return [
        (re.sub(r"[^\w.-]+", "-", name if len(runs) == 1 else f"{name}-{run.name}")[:80], part)
        for run, of_run in zip(runs, parts, strict=True)
        for name, part in of_run.items()
    ]
