"""The output of a report: one HTML file that makes no network requests, figures, and tables."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from glocal.report.charts import Chart, charts_of
from glocal.report.headline import (
    Headline,
    headlines,
    methods_paragraph,
    warnings_of,
)
from glocal.report.objects import (
    ChangedNeighbours,
    ShownObjects,
    axes_records,
    objects_of,
)
from glocal.report.runs import Run, RunRecord
from glocal.report.templates import render
from glocal.results import Provenance, flattened, to_json
from glocal.scores import AGREEMENT, KEPT, Scores
from glocal.suite.table import long_scores, score_table
from glocal.transform.catalogue import bundled

if TYPE_CHECKING:
    import pandas as pd

VegaLite = dict[str, Any]
"""A chart in the JSON of Vega-Lite."""
_FIGURE_WIDTH = 440  # pixels
_DOTS_PER_INCH = 200
_MAX_NAME = 80  # characters of a file name
_CAPTION = (
    r"Scores [95 \% intervals]. *: differs from the baseline (paired, $p < 0.05$ after correction)."
)


@dataclass(frozen=True)
class PageData:
    """The data that the script of a page reads, by the places that they fill."""

    charts: dict[str, VegaLite]
    pictures: dict[str, str]
    objects: dict[str, ChangedNeighbours]


@dataclass(frozen=True, eq=False)
class Section:
    """The values from which the template makes the section of a run.

    `other_warnings` are the warnings that no headline has. `columns` are the title and the task of
    each column of scores, and `record` the name and the text of each entry of the record.
    """

    run: Run
    neighbours_kept: str
    making: list[str]
    headlines: tuple[Headline, ...]
    other_warnings: list[str]
    charts: list[Chart]
    objects: list[ShownObjects]
    columns: list[tuple[str, str]]
    methods: str
    model: str | None
    provenance: Provenance | RunRecord
    rows_origin: str
    record: list[tuple[str, str]]


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
    sections = list(map(_section, runs))
    data = PageData(charts={}, pictures=pictures or {}, objects={})
    for number, section in enumerate(sections):
        _add_data(data, number, section)
    scripts = [render("page.js")]
    if data.charts:
        scripts.insert(0, _vega_script())
    hashes = [_script_hash(script) for script in scripts]
    return render(
        "page.html",
        title=title,
        version=__version__,
        sections=sections,
        margin=MARGIN,
        direction=direction,
        scripts=scripts,
        hashes=hashes,
        shown=data,
    )


def _vega_script() -> str:
    """The script that draws charts, with nothing in it that could end a script element."""
    library = import_optional("vl_convert", "a report")
    vega = library.javascript_bundle()
    vega = vega.replace("</script", "<\\/script")
    vega = vega.replace("<!--", "<\\!--")
    return f"(() => {{{vega}\n}})();"


def save_page(page: str, out: PathLike) -> None:
    """Write a page, whole or not at all."""
    write_text(out, page, errors="replace")  # a file name need not be valid text


def save_figures(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write every chart as PNG, PDF and SVG, as in ``1-front.png``, and return the files."""
    figures: list[Figure] = []
    for run in runs:
        figures += _figures(run)
    files = []
    for number, figure in enumerate(figures, start=1):
        name = f"{number}-{figure.title}"
        stem = re.sub(r"[^\w.-]+", "-", name)
        short_stem = stem[:_MAX_NAME]
        for kind in ("png", "pdf", "svg"):
            file = make_folder(folder) / f"{short_stem}.{kind}"
            save_figure(figure.drawing, file)
            files.append(file)
    return files


class Figure(NamedTuple):
    """An Altair chart or an SVG drawing under a title."""

    title: str
    drawing: Any


def _figures(run: Run) -> Iterator[Figure]:
    """Yield each chart of a run, and the axes of each of its transforms."""
    import pandas as pd

    blocks = [*run.blocks, *charts_of(run)]
    for block in blocks:
        if block.chart is not None:
            chart = block.chart.properties(width=_FIGURE_WIDTH)
            yield Figure(block.title, chart)
    for record in axes_records(run):
        axes = pd.DataFrame(record.axes)
        amplified = axes[axes["factor"] > 1]
        name = record.network or record.arm
        if len(amplified):
            title = f"What people’s answers amplify in {name}"
            drawing = axes_svg(amplified, title)
            yield Figure(f"axes-{name}", drawing)


def save_figure(drawing: Any, out: PathLike) -> None:
    """Save an Altair chart or an SVG drawing as PNG, PDF or SVG, by the ending of the file.

    An SVG drawing follows the colour scheme of the page that shows it. PNG has 200 dots per inch.
    """
    endings = (".png", ".pdf", ".svg")
    target = writable_target(out, what="figure", endings=endings)
    kind = ending(target)
    if not isinstance(drawing, str):
        library = import_optional("vl_convert", "a figure")
        chart = drawing.to_dict()
        drawing = library.vegalite_to_svg(chart)
    content = drawing.encode()
    if kind == ".png":
        library = import_optional("vl_convert", "a figure")
        content = library.svg_to_png(drawing, ppi=_DOTS_PER_INCH)
    if kind == ".pdf":
        library = import_optional("vl_convert", "a figure")
        content = library.svg_to_pdf(drawing)
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
    rows = table.to_dict("records")
    return render("axes.svg", rows=rows, title=title, layout=layout, pictures=())


def save_tables(runs: Sequence[Run], folder: PathLike) -> list[Path]:
    """Write the scores of each run as CSV and LaTeX, as in ``1-scores.csv``; return the files.

    The CSV files hold plain numbers, one row for each network, arm, task and metric. The numbers of
    a block, such as ``participants.csv``, and the axes of all transforms are files too.
    """
    texts: dict[str, str] = {}
    axes = _axes_table(runs)
    if len(axes):
        texts["axes.csv"] = axes.to_csv(index=False)
    for number, run in enumerate(runs, start=1):
        for block in run.blocks:
            if block.data is not None:
                title = block.title.lower()
                texts[f"{title}.csv"] = block.data.to_csv()
        if run.scores:
            rows = long_scores(run.scores)
            named_rows = rows.fillna({"network": run.name})
            table = score_table(run.scores, run.baseline)
            latex = table.to_latex(index=False, escape=True, caption=_CAPTION)
            texts[f"{number}-scores.csv"] = named_rows.to_csv(index=False)
            texts[f"{number}-scores.tex"] = latex
    files = []
    for name, text in texts.items():
        file = make_folder(folder) / name
        write_text(file, text)
        files.append(file)
    return files


def _axes_table(runs: Sequence[Run]) -> pd.DataFrame:
    """The axes of each transform of the runs as rows of a table."""
    import pandas as pd

    rows = []
    for run in runs:
        for record in axes_records(run):
            names = {"run": run.name, "network": record.network, "arm": record.arm}
            for axis in record.axes:
                rows.append({**names, **axis})
    return pd.DataFrame(rows)


def _script_hash(script: str) -> str:
    """The hash of a script in the content security policy of a page."""
    digest = hashlib.sha256(script.encode()).digest()
    encoded = base64.b64encode(digest)
    return encoded.decode()


def _section(run: Run) -> Section:
    """The section of a run."""
    of_networks = headlines(run)
    making = []
    if not _has_bundled_transform(run.scores):
        making = [NO_TRANSFORM, *MAKE]
    source = run.record.source
    objects = objects_of(run, of_networks)
    return Section(
        run=run,
        neighbours_kept=_neighbours_sentence(run.situations),
        making=making,
        headlines=of_networks,
        other_warnings=_other_warnings(run, of_networks),
        charts=[] if run.situations else charts_of(run),
        objects=list(objects),
        columns=list(_columns(run)),
        methods=methods_paragraph(run, of_networks),
        model=None if source is None else source.model,
        provenance=_provenance(run),
        rows_origin=_origin_of_rows(run.scores),
        record=list(_record_entries(run.record)),
    )


def _other_warnings(run: Run, of_networks: Sequence[Headline]) -> list[str]:
    """The warnings about a run and its arms that no headline has."""
    headline_warnings: set[str] = set()
    for headline in of_networks:
        headline_warnings.update(headline.warnings)
    sentences = [warned.sentence for warned in warnings_of(run)]
    return [sentence for sentence in sentences if sentence not in headline_warnings]


def _add_data(data: PageData, number: int, section: Section) -> None:
    """Add the charts and the searchable objects of a section to the data of the page."""
    blocks = [*section.charts, *section.run.blocks]
    for block in blocks:
        if block.chart is not None:
            chart = block.chart.properties(width="container")
            data.charts[f"{number}-{block.title}"] = chart.to_dict()
    for place, objects in enumerate(section.objects):
        data.objects[f"{number}-{place}"] = objects.neighbours


def _record_entries(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each entry of a record, or else the version of glocal."""
    document = record.model_dump(exclude_defaults=True)
    if not document:
        document = {"glocal": __version__}
    for name, value in flattened(document).items():
        text = value if isinstance(value, str) else to_json(value)
        yield name, text


def _has_bundled_transform(scores: Scores) -> bool:
    """Whether a transform of the package was scored."""
    arms = {arm for _, arm in scores.arms}
    return not arms.isdisjoint(bundled())


def _neighbours_sentence(rows: Sequence[SituationRow]) -> str:
    """What the recommended arms of some situations keep of the neighbours."""
    shares: dict[str, float] = {}
    for row in rows:
        if row.neighbours_kept is not None:
            shares[str(row.arm)] = row.neighbours_kept
    return neighbours_sentence(shares)


def _provenance(run: Run) -> Provenance | RunRecord:
    """The origin of the scores, or else of the first fit; a sweep records its own."""
    if run.record.provenance is not None:
        return run.record.provenance
    for fit in run.fits.values():
        if fit.provenance is not None:
            return fit.provenance
    return run.record


def _origin_of_rows(scores: Scores) -> str:
    """The dates and versions that rows of scores record, in a sentence; empty if none has one."""
    dates = sorted({score.date[:10] for score in scores if score.date})
    versions = sorted({score.version for score in scores if score.version})
    if not dates:
        return ""
    first = dates[0]
    last = dates[-1]
    time = first if first == last else f"{first} to {last}"
    return (
        f"Scored on {time} by glocal {', '.join(versions)}; each row has the SHA-256 hash of its "
        "features."
    )


def _columns(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the title and the task of each column of scores, which are in the first metric."""
    scores = run.scores
    agreement = scores.task_of(*AGREEMENT)
    kept = scores.task_of(KEPT)
    for task in scores.tasks:
        if not run.featured:
            yield task, task
        elif task == kept:
            yield "neighbours kept", task
        elif task == agreement:
            yield "agreement", task
