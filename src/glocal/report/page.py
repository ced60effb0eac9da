"""What a report writes: one HTML file that makes no network requests, figures, and tables as CSV and LaTeX."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import io
import re
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal._version import __version__
from glocal.errors import needed
from glocal.files import PathLike, atomic_write, make_folder, writable_target, write_text
from glocal.report.charts import charts_of
from glocal.report.front import MARGIN, direction, summary, warnings_of
from glocal.report.runs import Run
from glocal.results import to_json
from glocal.suite.table import cell, main_rows, score_table

if TYPE_CHECKING:
    import pandas as pd

_DOTS = 200  # an inch


def report_page(runs: Sequence[Run], *, title: str | None = None, pictures: dict[str, str] | None = None) -> str:
    """The page of runs as text: a section for each, with the `pictures` of `load_thumbnails`.

    Charts are drawn from data in the page by one copy of Vega-Lite. A content security policy lets the page's own
    scripts run (by their hashes) and nothing else, and forbids every request.

    Raises
    ------
    MissingDependencyError
        jinja2, altair or vl-convert is not installed.
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
    write_text(out, page, errors="replace")  # names of files that are no text


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
    written: list[Path] = []
    for run in runs:
        for name, chart in charts_of(run, {}).items():
            figure = chart if name.startswith("objects") else chart.properties(width=440)
            for kind in ("png", "pdf"):
                written.append(_new_file(folder, name, kind, run, runs, written))
                save_figure(figure, written[-1])
    return written


def save_tables(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write the tables of runs, ``methods`` and ``scores``, as ``NAME.csv`` and ``NAME.tex``; the files."""
    written: list[Path] = []
    for run in runs:
        for name, table in (("methods", summary(run)), ("scores", score_table(run.rows))):
            if len(table):
                for kind, text in (("csv", table.to_csv(index=False)), ("tex", _latex(table))):
                    written.append(_new_file(folder, name, kind, run, runs, written))
                    write_text(written[-1], text)
    return written


def _latex(table: pd.DataFrame) -> str:
    """A table of LaTeX, the characters that are special to it escaped in cells and in the head."""
    style = table.style.format(escape="latex").format_index(escape="latex", axis="columns")
    latex: str = style.hide().to_latex(hrules=True)
    return latex


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
    import pandas as pd

    kinds: dict[str, list[tuple[str, str]]] = {"front": [], "task": [], "objects": []}
    for name, chart in charts_of(run, pictures).items():
        kind, _, of = name.partition("-")
        kinds[kind].append((f"{number}-{name}", of))
        charts[f"{number}-{name}"] = (chart if kind == "objects" else chart.properties(width="container")).to_dict()
    table = summary(run)
    record = pd.json_normalize(run.record or {"glocal": __version__}).to_dict("records")[0]
    return {
        "name": run.name, "baseline": run.baseline, "warnings": warnings_of(run), "charts": kinds,
        "methods": {"head": list(table), "rows": table.to_numpy().tolist()}, "chosen": run.choice.get("reason"),
        "error": "one standard error over folds" if run.means is not None else "the 95 % interval",
        "simulated": run.is_simulated, "scores": _scores(run),
        "provenance": [(key, v if isinstance(v, str) else to_json(v)[:2000]) for key, v in record.items()],
    }  # fmt: skip


def _scores(run: Run) -> dict[str, Any]:
    """Arms × tasks: for each network and arm the cells by task, and whether one is better or worse by `direction`."""
    main = main_rows(run.rows)
    lines = [
        (place, {row["task"]: (cell(row).rstrip("*"), direction(row)) for row in found.to_dict("records")})
        for place, found in main.groupby(["network", "transform"], sort=False)
    ]
    return {"tasks": main["task"].unique().tolist(), "lines": lines, "networks": main["network"].nunique() > 1}


def _policy(*scripts: str) -> str:
    # NOTE Vega compiles the expressions of a chart, which needs unsafe-eval; inline scripts run by their hash alone
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-eval' {hashes}"


def _closed(script: str) -> str:
    """A script without the characters that would end its element; inside its strings they mean the same."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return (importlib.resources.files("glocal.report") / name).read_text(encoding="utf-8")


def _new_file(folder: PathLike, name: str, kind: str, run: Run, runs: Sequence[Run], written: list[Path]) -> Path:
    """Where a figure or table goes, of several runs under a name with that of the run; none is written twice."""
    stem = re.sub(r"[^\w.-]+", "-", name if len(runs) == 1 else f"{name}-{run.name}")[:80]
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    taken = {file.name.lower() for file in written}  # some file systems take upper and lower case for the same
    free = next(name for name in names if f"{name}.{kind}".lower() not in taken)
    return make_folder(folder) / f"{free}.{kind}"
