"""``glocal report``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from typer import Argument, Option

from glocal.cli.options import OBJECT_IDS, Force, flat, read_ids
from glocal.cli.output import IS_JSON, print_message, print_result, progress_bar
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.join import join
from glocal.errors import ParameterError
from glocal.files import writable_target
from glocal.options import Options

if TYPE_CHECKING:
    from glocal.report import Run

_OBJECTS = "Objects of a transform"


class ReportFiles(Options):
    """The options of the files that a report writes."""

    out: Path = Field(description="HTML file of the report.")
    title: str | None = Field(
        None, description="Title of the report. [default: the names of the runs]"
    )
    figures: Path | None = Field(None, description="Folder for figures (PNG, PDF, SVG) and tables.")
    tables: Path | None = Field(
        None, description="Folder for tables (CSV, LaTeX). [default: --figures]"
    )

    def check(self) -> None:
        """Raise a ParameterError if the page is no HTML file."""
        writable_target(self.out, what="--out", endings=(".html", ".htm"))

    def write(
        self, runs: Sequence[Run], pictures: dict[str, str], progress: Callable[..., None]
    ) -> list[Path]:
        """Write the page, the figures and the tables of runs; return the files, the page first."""
        from glocal import report as pages

        progress(doing="page")
        pages.save_page(pages.report_page(runs, title=self.title, pictures=pictures), self.out)
        files = [self.out]
        if self.figures is not None:
            progress(doing="figures")
            files += pages.save_figures(runs, self.figures)
        if (folder := self.tables or self.figures) is not None:
            files += pages.save_tables(runs, folder)
        return files


@flat
def report(
    runs: Annotated[
        list[str],
        Argument(
            metavar="RUN...",
            help="Folders that sweep, suite, align or demo wrote, files that evaluate --out wrote, "
            "and transforms: files, or names that glocal transforms pull lists.",
        ),
    ],
    files: ReportFiles,
    features: Path | None = Option(
        None, help="Features of the objects to show.", rich_help_panel=_OBJECTS
    ),
    answers: Path | None = Option(
        None, help="People's answers about these objects.", rich_help_panel=_OBJECTS
    ),
    object_ids: Path | None = Option(None, help=OBJECT_IDS, rich_help_panel=_OBJECTS),
    thumbnails: str | None = Option(None, help="Images of the objects, matched to them by name."),
    force: Force = False,
) -> None:
    """Write an HTML report: findings, the axes that answers amplify, neighbours, front and scores.

    The page is self-contained: it opens from the disk and makes no network requests.

    Example: glocal report suite-out --out report.html
    Example: glocal report transform.npz --features features.npy --answers answers.npz
    --out report.html
    """
    from glocal import report as pages

    files.check()
    loaded = pages.load_runs(runs, *_objects(features, answers, object_ids), force=force)
    pictures: dict[str, str] = {}
    with progress_bar("report", unit="pictures") as progress:
        if thumbnails is not None:
            pictures = pages.load_thumbnails(thumbnails, loaded, progress=progress)
        written = files.write(loaded, pictures, progress)
    show_report(loaded, written)


def show_report(
    runs: Sequence[Run],
    files: Sequence[Path],
    lines: Sequence[str] = (),
    **more: Any,
) -> None:
    """Print findings, `lines`, warnings and files, or with the axes and `more` as one object."""
    from glocal import report as pages

    headlines = [headline for run in runs for headline in pages.headlines(run)]
    size = files[0].stat().st_size
    record = {
        "out": files[0],
        "bytes": size,
        "findings": headlines,
        "situations": [row for run in runs for row in run.situations],
        "axes": [axes for run in runs for axes in pages.axes_records(run)],
        **more,
        "warnings": [warned.sentence for run in runs for warned in pages.warnings_of(run)],
        "files": files,
    }
    if not IS_JSON.get():
        for sentence in dict.fromkeys(s for headline in headlines for s in headline.warnings):
            print_message(f"warning: {sentence}")
    others = f" and {len(files) - 1} figures and tables" if len(files) > 1 else ""
    written = f"written: {files[0]} ({size / 1e6:.1f} MB){others}"
    situations = [
        f"{run.name}, {row.head}: {', '.join(row.sentences)}"
        for run in runs
        for row in run.situations
    ]
    sentences = [headline.sentence for headline in headlines]
    print_result(record, *situations, *sentences, *lines, written)


def _objects(
    features: Path | None, answers: Path | None, object_ids: Path | None
) -> tuple[Features | None, Answers | None]:
    """The features of the objects, with names, and the answers as rows of these features."""
    if features is None:
        if answers is not None:
            raise ParameterError(
                "`answers` need the `features` of the objects that they are about; pass both."
            )
        return None, None
    rows = Features.load(features)
    rows.check_finite()
    names = read_ids(object_ids)
    joined = None
    if answers is not None:
        joined = join(rows, Answers.load(answers, names=names), names).answers
    return rows.named(names), joined
