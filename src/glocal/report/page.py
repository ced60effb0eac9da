"""`report_page`: one HTML file that holds all it needs, opens from the disk and makes no network requests."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glocal._version import __version__
from glocal.errors import needed
from glocal.files import PathLike, atomic_write
from glocal.report.front import front_points, summary
from glocal.report.runs import Run
from glocal.report.save import charts_of
from glocal.report.warnings import MARGIN, direction, warnings_of
from glocal.results import to_json
from glocal.suite.table import cell, main_rows


def report_page(runs: Sequence[Run], *, title: str | None = None, pictures: dict[str, str] | None = None) -> str:
    """The page of runs as text.

    Parameters
    ----------
    runs : sequence of Run
        Runs from `load_runs`; each has a section of its own.
    title : str or None
        None names the folders.
    pictures : dict or None
        Pictures of the objects, of `load_thumbnails`.

    Raises
    ------
    MissingDependencyError
        jinja2, altair or vl-convert is not installed.

    Notes
    -----
    Charts are drawn from data in the page by one copy of Vega-Lite. A content security policy lets the page's own
    scripts run (by their hashes) and nothing else, and forbids every request.
    """
    jinja2 = needed("jinja2", "a report")
    charts: dict[str, dict[str, Any]] = {}
    sections = [_section(number, run, charts, pictures or {}) for number, run in enumerate(runs)]
    bundle = f"(() => {{{_closed(needed('vl_convert', 'a report').javascript_bundle())}\n}})();"
    script = _closed(_asset("page.js"))
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page: str = environment.from_string(_asset("page.html")).render(
        title=title or "Report: " + ", ".join(run.name for run in runs), version=__version__, sections=sections,
        margin=MARGIN, bundle=bundle, script=script, style=_asset("style.css"), policy=_policy(bundle, script),
        charts=script_json(charts),
    )  # fmt: skip
    return page


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


def _section(number: int, run: Run, charts: dict[str, dict[str, Any]], pictures: dict[str, str]) -> dict[str, Any]:
    """What the template shows of a run; its charts are added to those of the page."""
    kinds: dict[str, list[tuple[str, str]]] = {"front": [], "task": [], "objects": []}
    for name, chart in charts_of(run, pictures).items():
        kind, _, of = name.partition("-")
        kinds[kind].append((f"{number}-{name}", of))
        charts[f"{number}-{name}"] = (chart if kind == "objects" else chart.properties(width="container")).to_dict()
    table = summary(run, front_points(run))
    return {
        "name": run.name, "baseline": run.baseline, "warnings": warnings_of(run), "charts": kinds,
        "methods": {"head": list(table), "rows": table.to_numpy().tolist()}, "chosen": run.choice.get("reason"),
        "error": "one standard error over folds" if run.means is not None else "the 95 % interval",
        "simulated": bool((run.rows["metric"] == "ceiling_people").any()), "scores": _scores(run),
        "provenance": list(_flat({"glocal": __version__} if not run.record else run.record)),
    }  # fmt: skip


def _scores(run: Run) -> dict[str, Any]:
    """Arms × tasks: for each network and arm the cells by task, and whether one is better or worse by `direction`."""
    lines: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    main = main_rows(run.rows)
    for row in main.to_dict("records"):
        line = lines.setdefault((str(row["network"]), str(row["transform"])), {})
        line[str(row["task"])] = (cell(row).rstrip("*"), direction(row))
    tasks = list(dict.fromkeys(map(str, main["task"])))
    return {"tasks": tasks, "lines": list(lines.items()), "networks": len({network for network, _ in lines}) > 1}


def _flat(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """A record as names and values: ``plan.seed``, 42."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", str(value) if isinstance(value, str) else to_json(value)[:2000]


def _policy(*scripts: str) -> str:
    # NOTE Vega compiles the expressions of a chart, which needs unsafe-eval; inline scripts run by their hash alone
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-eval' {hashes}"


def _closed(script: str) -> str:
    """A script without the characters that would end its element; inside its strings they mean the same."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return (importlib.resources.files("glocal.report") / name).read_text(encoding="utf-8")
