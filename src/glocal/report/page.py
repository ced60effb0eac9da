"""The output of a report: one HTML file that makes no network requests, figures, and tables."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glocal._version import __version__
from glocal.advice import (
    MAKE,
    MARGIN,
    NO_TRANSFORM,
    SituationRow,
    direction,
    neighbours_sentence,
)
from glocal.errors import import_optional
from glocal.files import (
    PathLike,
    atomic_write,
    ending,
    make_folder,
    writable_target,
    write_text,
)
from glocal.report.charts import charts_of
from glocal.report.headline import headlines, methods_paragraph, warnings_of
from glocal.report.objects import axes_records, objects_of
from glocal.report.runs import Run, RunRecord
from glocal.report.templates import render
from glocal.results import Provenance, flattened
from glocal.scores import AGREEMENT, KEPT, Scores
from glocal.suite.table import long_scores, score_table
from glocal.transform.catalogue import bundled

if TYPE_CHECKING:
    import pandas as pd

_FIGURE_WIDTH = 440  # pixels
_DOTS_PER_INCH = 200
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
    scripts = [render("page.js")]
    if shown["charts"]:
        vega = import_optional("vl_convert", "a report").javascript_bundle()
        closed = vega.replace("</script", "<\\/script").replace("<!--", "<\\!--")
        scripts.insert(0, f"(() => {{{closed}\n}})();")
    return render(
        "page.html",
        title=title,
        version=__version__,
        sections=sections,
        margin=MARGIN,
        direction=direction,
        scripts=scripts,
        hashes=map(_script_hash, scripts),
        shown=shown,
    )


def save_page(page: str, out: PathLike) -> None:
    """Write a page, whole or not at all."""
    write_text(out, page, errors="replace")  # a file name need not be valid text


def save_figures(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write every chart as PNG, PDF and SVG, as in ``1-front.png``, and return the files."""
    titled = [drawing for run in runs for drawing in _drawings(run)]
    files = []
    for number, (title, drawing) in enumerate(titled, start=1):
        stem = re.sub(r"[^\w.-]+", "-", f"{number}-{title}")[:_MAX_NAME]
        for kind in ("png", "pdf", "svg"):
            file = make_folder(folder) / f"{stem}.{kind}"
            save_figure(drawing, file)
            files.append(file)
    return files


def _drawings(run: Run) -> Iterator[tuple[str, Any]]:
    """Yield the title of each chart of a run, and of the axes of each of its transforms."""
    import pandas as pd

    for part in (*run.blocks, *charts_of(run)):
        if part.chart is not None:
            yield part.title, part.chart.properties(width=_FIGURE_WIDTH)
    for record in axes_records(run):
        axes = pd.DataFrame(record["axes"]).query("factor > 1")
        name = record["network"] or record["arm"]
        if len(axes):
            yield f"axes-{name}", axes_svg(axes, f"What people’s answers amplify in {name}")


def save_figure(drawing: Any, out: PathLike) -> None:
    """Save an Altair chart or an SVG drawing as PNG, PDF or SVG, by the ending of the file.

    An SVG drawing follows the colour scheme of the page that shows it. PNG has 200 dots per inch.
    """
    kind = ending(writable_target(out, what="figure", endings=(".png", ".pdf", ".svg")))
    if not isinstance(drawing, str):
        drawing = import_optional("vl_convert", "a figure").vegalite_to_svg(drawing.to_dict())
    content = drawing.encode()
    if kind == ".png":
        content = import_optional("vl_convert", "a figure").svg_to_png(drawing, ppi=_DOTS_PER_INCH)
    if kind == ".pdf":
        content = import_optional("vl_convert", "a figure").svg_to_pdf(drawing)
    with atomic_write(out) as file:
        file.write(content)


def axes_svg(table: pd.DataFrame, title: str = "", *, narrow: bool = False) -> str:
    """Draw axes as SVG, with dark colours too; a narrow drawing is for a phone.

    Parameters
    ----------
    table : DataFrame
        The rows of `glocal.axes` to draw.
    title : str
        Its heading, with a sentence that explains the bars.
    narrow : bool
    """
    layout = "narrow" if narrow else "wide"
    return render(
        "axes.svg", rows=table.to_dict("records"), title=title, layout=layout, pictures=()
    )


def save_tables(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write the scores of each run as CSV and LaTeX, as in ``1-scores.csv``; return the files.

    The CSV files hold plain numbers, one row for each network, arm, task and metric. The numbers of
    a block are a file too, such as ``participants.csv``, and so are the axes of all transforms.
    """
    texts: dict[str, str] = {}
    if axes := [row for run in runs for row in _axes_rows(run)]:
        texts["axes.csv"] = _csv(axes)
    for number, run in enumerate(runs, start=1):
        for block in run.blocks:
            if block.data is not None:
                texts[f"{block.title.lower()}.csv"] = block.data.to_csv()
        if run.scores:
            rows = long_scores(run.scores).fillna({"network": run.name})
            table = score_table(run.scores, run.baseline)
            latex = table.to_latex(index=False, escape=True, caption=_CAPTION)
            texts[f"{number}-scores.csv"] = rows.to_csv(index=False)
            texts[f"{number}-scores.tex"] = latex
    files = {make_folder(folder) / name: text for name, text in texts.items()}
    for file, text in files.items():
        write_text(file, text)
    return list(files)


def _axes_rows(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the axes of each transform of a run as rows of a table."""
    for record in axes_records(run):
        names = {"run": run.name, "network": record["network"], "arm": record["arm"]}
        for axis in record["axes"]:
            yield names | axis


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as the text of a CSV file."""
    import pandas as pd

    return pd.DataFrame(rows).to_csv(index=False)


def _script_hash(script: str) -> str:
    """The hash of a script in the content security policy of a page."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _section(number: int, run: Run, shown: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The values from which the template makes the section of a run.

    The charts and the searchable objects, which the script of the page reads, are added to `shown`.
    """
    charts = [] if run.situations else charts_of(run)
    for part in (*charts, *run.blocks):
        if part.chart is not None:
            chart = part.chart.properties(width="container").to_dict()
            shown["charts"][f"{number}-{part.title}"] = chart
    of_networks = headlines(run)
    objects = list(objects_of(run, of_networks))
    for place, shown_objects in enumerate(objects):
        shown["objects"][f"{number}-{place}"] = shown_objects["neighbours"]
    return {
        "run": run,
        "neighbours_kept": _neighbours_sentence(run.situations),
        "making": [] if _has_bundled_transform(run.scores) else [NO_TRANSFORM, *MAKE],
        "headlines": of_networks,
        "warnings": list(warnings_of(run)),
        "charts": charts,
        "objects": objects,
        "columns": list(_columns(run)),
        "methods": methods_paragraph(run, of_networks),
        "model": "" if run.record.source is None else run.record.source.model,
        "provenance": _provenance(run),
        "rows_origin": _origin_of_rows(run.scores),
        "record": flattened(
            run.record.model_dump(exclude_defaults=True) or {"glocal": __version__}
        ),
    }


def _has_bundled_transform(scores: Scores) -> bool:
    """Whether a transform of the package was scored."""
    return any(arm in bundled() for _, arm in scores.arms)


def _neighbours_sentence(rows: Sequence[SituationRow]) -> str:
    """What the recommended arms of some situations keep of the neighbours."""
    return neighbours_sentence(
        {str(row.arm): row.neighbours_kept for row in rows if row.neighbours_kept is not None}
    )


def _provenance(run: Run) -> Provenance | RunRecord:
    """The origin of the scores, or else of the first fit; a sweep records its own."""
    fitted = (fit.provenance for fit in run.fits.values())
    origins = [origin for origin in (run.record.provenance, *fitted) if origin is not None]
    return origins[0] if origins else run.record


def _origin_of_rows(scores: Scores) -> str:
    """The dates and versions that rows of scores record, in a sentence; empty if none has one."""
    dates = sorted({score.date[:10] for score in scores if score.date})
    versions = sorted({score.version for score in scores if score.version})
    if not dates:
        return ""
    time = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (
        f"Scored on {time} by glocal {', '.join(versions)}; each row has the SHA-256 hash of its "
        "features."
    )


def _columns(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the title and the task of each column of scores, which are in the first metric."""
    scores = run.scores
    if not run.featured:
        yield from zip(scores.tasks, scores.tasks, strict=True)
        return
    titles = {scores.task_of(*AGREEMENT): "agreement", scores.task_of(KEPT): "neighbours kept"}
    for task in scores.tasks:
        if task in titles:
            yield titles[task], task
