"""The output of a report: one HTML file that makes no network requests, figures, and tables."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from glocal._version import __version__
from glocal.errors import import_optional
from glocal.files import PathLike, make_folder, write_text
from glocal.finding import MARGIN, direction
from glocal.report.charts import charts_of
from glocal.report.figures import axes_svg, save_figure
from glocal.report.finding import findings, methods_paragraph
from glocal.report.front import warnings_of
from glocal.report.objects import objects_of
from glocal.report.runs import Run
from glocal.report.templates import asset, render
from glocal.results import flattened, to_json, value_at
from glocal.scores import AGREEMENT, KEPT, Scores
from glocal.suite.table import cell, long_scores, score_table

_FIGURE_WIDTH = 440  # pixels
_MAX_NAME = 80  # characters of a file name
_CAPTION = (
    r"Scores [95 \% intervals]. *: differs from the baseline (paired, $p < 0.05$ after correction)."
)


def report_page(
    runs: Sequence[Run], *, title: str | None = None, pictures: dict[str, str] | None = None
) -> str:
    """Return the HTML page of the runs, with one section for each.

    `pictures` are the thumbnails that `load_thumbnails` returns. One copy of Vega-Lite draws the
    charts from data in the page; a page without charts leaves it out. A content security policy
    allows only the page's own scripts, by their hashes, and forbids every request.

    Raises
    ------
    MissingDependencyError
        jinja2, altair or vl-convert is not installed.
    """
    shown: dict[str, dict[str, Any]] = {"charts": {}, "pictures": pictures or {}, "objects": {}}
    sections = [_section(number, run, shown) for number, run in enumerate(runs)]
    bundle = ""
    if shown["charts"]:
        vega = _closed(import_optional("vl_convert", "a report").javascript_bundle())
        bundle = f"(() => {{{vega}\n}})();"
    script = _closed(asset("page.js"))
    return render(
        "page.html",
        title=title or ", ".join(run.name for run in runs),
        version=__version__,
        sections=sections,
        margin=MARGIN,
        bundle=bundle,
        script=script,
        style=asset("style.css"),
        policy=_policy(bundle, script),
        pictures=shown["pictures"],
        shown=script_json(shown),
    )


def save_page(page: str, out: PathLike) -> None:
    """Write a page, whole or not at all."""
    write_text(out, page, errors="replace")  # a file name need not be valid text


def save_figures(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write every chart as PNG, PDF and SVG, as in ``1-front.png``, and return the files."""
    import pandas as pd

    drawings: list[tuple[str, Any]] = []
    for run in runs:
        for name, chart in charts_of(run).items():
            drawings.append((name, chart.properties(width=_FIGURE_WIDTH)))
        for record in axes_records(run):
            axes = pd.DataFrame(record["axes"]).query("factor > 1")
            name = record["network"] or record["arm"]
            title = f"What people’s answers amplify in {name}"
            if len(axes):
                drawings.append((f"axes-{name}", axes_svg(axes, title)))
    written = []
    for number, (name, drawing) in enumerate(drawings, start=1):
        stem = re.sub(r"[^\w.-]+", "-", f"{number}-{name}")[:_MAX_NAME]
        for kind in ("png", "pdf", "svg"):
            written.append(make_folder(folder) / f"{stem}.{kind}")
            save_figure(drawing, written[-1])
    return written


def axes_records(run: Run) -> list[dict[str, Any]]:
    """Return the axes of each featured transform, with its network and arm."""
    records = []
    for finding in findings(run):
        names = {"network": finding.network, "arm": finding.arm}
        for _, views in run.views_of(finding.network, finding.arm):
            change = views[finding.arm].meta.get("change") or {}
            if change.get("axes"):
                records.append({**names, "axes": change["axes"], "chance": change["chance"]})
    return records


def save_tables(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write the scores of each run as CSV and LaTeX, as in ``1-scores.csv``; return the files.

    The CSV files hold plain numbers, one row for each network, arm, task and metric. The numbers of
    a block are a file too, such as ``participants.csv``.
    """
    written = []
    for block in (block for run in runs for block in run.blocks):
        if block.data is not None:
            written.append(make_folder(folder) / f"{block.title.lower()}.csv")
            write_text(written[-1], block.data.to_csv())
    for number, run in enumerate(runs, start=1):
        if not run.scores:
            continue
        table = score_table(run.scores, run.baseline)
        for kind, text in {
            "csv": long_scores(run.scores).fillna({"network": run.name}).to_csv(index=False),
            "tex": table.to_latex(index=False, escape=True, caption=_CAPTION),
        }.items():
            written.append(make_folder(folder) / f"{number}-scores.{kind}")
            write_text(written[-1], text)
    return written


def script_json(value: Any) -> str:
    r"""Serialise a value as JSON that can neither end a script element nor begin another.

    >>> script_json({"name": "</script><b>"})
    '{"name": "\\u003c/script\\u003e\\u003cb\\u003e"}'
    """
    text = to_json(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _section(number: int, run: Run, shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The values from which the template makes the section of a run.

    The charts and the searchable objects, which the script of the page reads, are added to `shown`.
    """
    charts = charts_of(run)
    for name, chart in charts.items():
        shown["charts"][f"{number}-{name}"] = chart.properties(width="container").to_dict()
    headlines = findings(run)
    warned = {sentence for finding in headlines for sentence in finding.warnings}
    objects = list(objects_of(run, headlines, shown["pictures"]))
    for place, part in enumerate(objects):
        shown["objects"][f"{number}-{place}"] = {
            "names": part["names"],
            "lists": part["neighbours"]["lists"],
        }
    return {
        "run": run,
        "findings": headlines,
        "has_ceiling": any(score.metric.startswith("ceiling_leave") for score in run.scores),
        "others": [w.sentence for w in warnings_of(run) if w.sentence not in warned],
        "charts": list(_chart_places(number, run, charts)),
        "objects": objects,
        "scores": _scores(run),
        "methods": methods_paragraph(run, headlines),
        "provenance": _provenance(run),
        "record": {
            key: value if isinstance(value, str) else to_json(value)
            for key, value in flattened(run.record or {"glocal": __version__}).items()
        },
    }


def _chart_places(number: int, run: Run, charts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the id of each chart beside the findings, its caption, and whether it is a front."""
    blocks = {block.title for block in run.blocks}
    for name in charts:
        if name not in blocks:
            kind, _, network = name.partition("-")
            caption = network or run.name
            yield {"id": f"{number}-{name}", "caption": caption, "is_front": kind == "front"}


def _provenance(run: Run) -> str:
    """The network, version, seed and data of a run, as far as its records state them."""
    records = [value_at(record, "provenance") for record in (run.record, *run.fits.values())]
    origin = {**run.record, **next(filter(None, records), {})}
    network = "".join(run.scores.networks) if run.featured else ""
    model = None if network else value_at(origin, "source.model")
    facts = {
        "Features of {}.": network,
        "The transform was fitted on features of {}.": model,
        "Computed by glocal {}.": origin.get("version"),
        "Seed {}.": origin.get("seed"),
        "The record has the SHA-256 hashes of {}.": ", ".join(origin.get("data") or ()),
    }
    sentences = [text.format(fact) for text, fact in facts.items() if fact not in (None, "")]
    return " ".join(sentences) or "No record states where these numbers come from."


def _scores(run: Run) -> dict[str, Any]:
    """Arms × tasks: a line for each network and arm, with the cell and `direction` of each task."""
    scores = run.scores
    titles = {task: task for task in scores.tasks}
    if run.featured:
        shown = {scores.task_of(*AGREEMENT): "agreement", scores.task_of(KEPT): "neighbours kept"}
        titles = {task: shown[task] for task in scores.tasks if task in shown}
    lines: dict[tuple[str, str], dict[str, tuple[str, str]]] = {place: {} for place in scores.arms}
    for task, title in titles.items():
        plain = _plain_accuracies(scores, task)
        for network, arm in scores.arms:
            text = cell(scores, network, task, arm, run.baseline).rstrip("*")
            change = direction(scores.gain(network, task, arm, run.baseline))
            lines[network, arm][title] = (text, change)
            if plain:
                text = plain.get((network, arm), "-")
                lines[network, arm][f"{title}, plain"] = (text, "same")
    directions = {change for line in lines.values() for _, change in line.values()}
    return {
        "tasks": [*next(iter(lines.values()), {})],
        "lines": lines,
        "has_changes": not directions <= {"same"},
        "has_networks": len(scores.networks) > 1,
    }


def _plain_accuracies(scores: Scores, task: str) -> dict[tuple[str, str], str]:
    """The accuracy over all images of each arm, if one differs in print from the balanced one."""
    texts = {}
    differs = False
    for network, arm in scores.arms:
        score = scores.of(network, task, arm)
        if score is not None:
            metric = score.metric.replace("accuracy_", "accuracy_plain_")
            plain = scores.of(network, task, arm, metric) or score
            differs |= plain.cell().value != score.cell().value
            texts[network, arm] = plain.text()
    return texts if differs else {}


def _policy(*scripts: str) -> str:
    """The content security policy of a page with these scripts; the first is Vega-Lite or empty."""
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts if script]
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # NOTE Vega compiles the expressions of a chart, which needs unsafe-eval. Inline scripts run
    # only if their hash is listed.
    unsafe = "'unsafe-eval' " if all(scripts) else ""
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {unsafe}{hashes}"
    )


def _closed(script: str) -> str:
    """Escape the characters of a script that would end its element; its strings stay the same."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
