"""`report_page`: one HTML file that holds all it needs, opens from the disk and makes no network requests."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from glocal._version import __version__
from glocal.extras import needed
from glocal.files import PathLike, atomic_write
from glocal.report import palette, vega
from glocal.report.captions import (
    SLICE_CAPTION,
    SPECTRUM_CAPTION,
    front_caption,
    front_title,
    slice_title,
    task_caption,
    task_title,
)
from glocal.report.charts import front_chart, map_chart, slice_chart, spectrum_chart, task_chart
from glocal.report.findings import all_clear, findings
from glocal.report.fronts import Front, fronts
from glocal.report.loading import Run
from glocal.report.objects import object_data
from glocal.report.provenance import brief, provenance
from glocal.report.thumbnails import Thumbnails
from glocal.report.verdict import MARGIN, direction, verdict
from glocal.results import to_json
from glocal.suite.table import arms, bounds, cell, main_rows


def report_page(run: Run, *, title: str | None = None, thumbnails: Thumbnails | None = None) -> str:
    """The page of a run as text.

    Parameters
    ----------
    run : Run
        Of `load_run`.
    title : str or None
        None names the folders.
    thumbnails : Thumbnails or None
        Pictures of the objects, of `load_thumbnails`.

    Raises
    ------
    MissingDependencyError
        jinja2, altair, vl-convert or pillow is not installed.

    Notes
    -----
    Charts are drawn from data in the page by one copy of Vega-Lite. A content security policy lets the page's own
    scripts run (by their hashes) and nothing else, and forbids every request.
    """
    check_extra()
    found = fronts(run)
    data: dict[str, Any] = {
        "fronts": [front.points for front in found],
        "themes": {"light": palette.theme(), "dark": palette.theme(dark=True)},
    }
    if run.views:
        data["objects"] = object_data(run, thumbnails)
    data["charts"] = {name: _in_place(chart) for name, chart in _charts(run, found, data.get("objects"))}
    looks = palette.places(arms(run.rows))
    shown = {
        "title": title or "Report: " + ", ".join(run.names), "version": __version__, "brief": brief(run),
        "verdict": [marked(sentence) for sentence in verdict(run)], "margin": MARGIN,
        "clear": all_clear(run), "findings": [marked(sentence) for sentence in findings(run)],
        "provenance": provenance(run),
        "table": _table(run), "baseline": run.baseline,
        "arms": [(arm, palette.COLOURS[place], palette.SIGNS[place]) for arm, place in looks.items()],
        "captions": [(front_title(front), front_caption(front)) for front in found],
        "slice_caption": SLICE_CAPTION, "spectrum_caption": SPECTRUM_CAPTION, "slice_title": slice_title,
        "task_captions": list(_task_captions(run)), "simulated": run.simulated,
        "fronts": found, "objects": data.get("objects"),
        "pictures_said": () if thumbnails is None else thumbnails.said,
    }  # fmt: skip
    bundle, script = _bundle(), _script()
    return str(
        _template().render(
            **shown, bundle=bundle, script=script, style=_asset("style.css"), policy=_policy(bundle, script),
            data=script_json(data),
        )
    )  # fmt: skip


def check_extra() -> None:
    """Import all that a page needs, so that what is missing is said before any work."""
    for module in ("PIL.Image", "jinja2", "altair", "vl_convert"):
        needed(module, "a report", extra="report")


def save_page(page: str, out: PathLike) -> None:
    """Write a page, whole or not at all."""
    with atomic_write(out) as stream:
        stream.write(page.encode(errors="replace"))  # names of files that are no text


def script_json(value: Any) -> str:
    r"""JSON that may stand inside a script element: no character of it can end the element or begin another.

    >>> script_json({"name": "</script><b>"})
    '{"name": "\\u003c/script\\u003e\\u003cb\\u003e"}'
    """
    text = to_json(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def marked(sentence: str) -> Any:
    """A sentence as markup: names between backticks stand out, nothing in it is markup of its own."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]*)`", r"<b><bdi>\1</bdi></b>", str(escape(sentence))))


def _charts(run: Run, found: Sequence[Front], objects: dict[str, Any] | None) -> Iterator[tuple[str, Any]]:
    """The charts of the page by the name of their place."""
    people, order = bounds(run.rows), arms(run.rows)
    for number, (task, rows) in enumerate(main_rows(run.rows).groupby("task", sort=False)):
        yield f"task-{number}", task_chart(rows, people[people["task"] == task], order)
    for number, front in enumerate(found):
        if front.points:
            yield f"front-{number}", front_chart(front.points, [point for one in found for point in one.points])
        for place, (_, parameter, rows) in enumerate(front.slices):
            yield f"slice-{number}-{place}", slice_chart(rows, parameter)
    if objects is not None:
        for when in ("before", "after"):
            yield f"map-{when}", map_chart(objects["coloured"], when, others=objects["others"])
        yield "gain", spectrum_chart("gain", "gain")
        yield "share", spectrum_chart("share", "share of the variance")


def _task_captions(run: Run) -> Iterator[tuple[str, str]]:
    people = bounds(run.rows)
    for task, rows in main_rows(run.rows).groupby("task", sort=False):
        metrics = people[people["task"] == task]["metric"].astype(str)
        yield task_title(rows), task_caption(rows, [name for name in metrics.unique() if name.startswith("ceiling_")])


def _in_place(chart: Any) -> dict[str, Any]:
    """The specification of a chart as wide as its place; its colours come with the theme of the page."""
    spec: dict[str, Any] = chart.properties(width="container").to_dict()
    del spec["config"]
    return {**spec, "autosize": {"type": "fit", "contains": "padding"}}


def _table(run: Run) -> dict[str, Any]:
    """Arms × tasks: for each network and arm the cells by task, and whether one is better or worse by `direction`."""
    main = main_rows(run.rows)
    lines: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in main.to_dict("records"):
        value, _, interval = cell(row).rstrip("*").partition(" ")
        differs = ("higher" if row["difference"] > 0 else "lower") if direction(row) in ("better", "worse") else ""
        line = lines.setdefault((str(row["network"]), str(row["transform"])), {})
        line[str(row["task"])] = {"value": value, "interval": interval, "differs": differs}
    tasks = list(dict.fromkeys(map(str, main["task"])))
    return {"tasks": tasks, "lines": list(lines.items()), "networks": any(network for network, _ in lines)}


def _policy(*scripts: str) -> str:
    # NOTE Vega compiles the expressions of a chart, which needs unsafe-eval; inline scripts run by their hash alone
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-eval' {hashes}"


@cache
def _bundle() -> str:
    return f"(() => {{{_closed(vega.bundle())}\n}})();"


def _script() -> str:
    return _closed("".join(_asset(name) for name in ("charts.js", "front.js", "objects.js", "start.js")))


def _closed(script: str) -> str:
    """A script without the characters that would end its element; inside its strings they mean the same."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _template() -> Any:
    jinja2 = needed("jinja2", "a report")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return (importlib.resources.files("glocal.report") / "templates" / name).read_text(encoding="utf-8")
