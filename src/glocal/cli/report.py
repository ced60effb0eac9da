"""``glocal report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.inputs import refuse_overwriting_inputs
from glocal.cli.output import AsJson, print_message, print_result, progress_bar
from glocal.files import writable_target


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders that suite, sweep or demo wrote."),
    ],
    out: Annotated[Path, typer.Option(help="The page: one HTML file.")],
    title: Annotated[
        str | None, typer.Option(help="Title of the page. [default: the folders]")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for charts (PNG, PDF) and tables (CSV, LaTeX).")
    ] = None,
    thumbnails: Annotated[
        str | None, typer.Option(help="Images of the objects, joined by name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write an HTML report from run folders: methods, warnings, front, scores, objects, provenance.

    The page holds all it needs: it opens from the disk and makes no network requests.

    Example: glocal report suite-out --out report.html
    """
    from glocal import report as pages

    writable_target(out, what="--out", endings=(".html", ".htm"))
    refuse_overwriting_inputs({"--out": out, "--figures": figures}, thumbnails, *runs)
    loaded = pages.load_runs(runs)
    pictures = {}
    written = [out]
    with progress_bar("report", unit="pictures") as progress:
        if thumbnails is not None:
            pictures = pages.load_thumbnails(thumbnails, loaded, progress=progress)
        progress(doing="page")
        pages.save_page(pages.report_page(loaded, title=title, pictures=pictures), out)
        if figures is not None:
            progress(doing="figures")
            written += pages.save_figures(loaded, figures)
            written += pages.save_tables(loaded, figures)
    warnings = [sentence for run in loaded for sentence in pages.warnings_of(run)]
    if not as_json:
        for sentence in warnings:
            print_message(f"warning: {sentence}")
    size = out.stat().st_size
    others = f" and {len(written) - 1} figures and tables" if len(written) > 1 else ""
    record = {
        "out": str(out),
        "bytes": size,
        "warnings": warnings,
        "files": list(map(str, written)),
    }
    print_result(as_json, record, f"written: {out} ({size / 1e6:.1f} MB){others}")
