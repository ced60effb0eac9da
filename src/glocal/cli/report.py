"""``glocal report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glocal.cli.output import AsJson, progress_bar, put, put_json, say, status
from glocal.files import make_folder, writable_target


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that evaluate suite, sweep or demo wrote.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The page: one HTML file.")],
    title: Annotated[str | None, typer.Option("--title", help="Of the page; else the names of the folders.")] = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="Folder for figures too, as PNG and PDF.")] = None,
    tables: Annotated[
        Path | None, typer.Option("--tables", help="Folder for tables too, as CSV, Markdown and LaTeX.")
    ] = None,
    thumbnails: Annotated[
        str | None, typer.Option("--thumbnails", help="Images of the objects (folder, .tar, pattern), joined by name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write one page from run folders alone: scores, front, maps, neighbours, flips, spectrum, warnings.

    The page holds all it needs: it opens from the disk and makes no network requests.

    Example: glocal report suite-out --out report.html
    """
    from glocal.report import (
        check_extra,
        findings,
        load_run,
        load_thumbnails,
        report_page,
        save_figures,
        save_page,
        save_tables,
    )

    writable_target(out, what="--out", endings=(".html", ".htm", ""))
    check_extra()
    for folder in (figures, tables):
        if folder is not None:
            make_folder(folder)
    with progress_bar("reading", unit="views") as progress:
        run = load_run(runs, progress)
    pictures = None
    if thumbnails is not None:
        with progress_bar("shrinking", unit="pictures") as progress:
            pictures = load_thumbnails(thumbnails, run, progress=progress)
    with status("drawing") as doing:
        doing("page")
        save_page(report_page(run, title=title, thumbnails=pictures), out)
        written = [out]
        if figures is not None:
            doing("figures")
            written += save_figures(run, figures)
        if tables is not None:
            doing("tables")
            written += save_tables(run, tables)
    said, size = findings(run), out.stat().st_size
    if as_json:
        told = {} if pictures is None else {"pictures": len(pictures.pictures), "pictures_said": pictures.said}
        put_json({"out": str(out), "bytes": size, "warnings": said, "files": list(map(str, written)), **told})
        return
    for sentence in said:
        say(f"warning: {sentence}")
    for sentence in () if pictures is None else pictures.said:
        say(sentence)
    told_pictures = "" if pictures is None else f", {len(pictures.pictures)} pictures"
    more = f" and {len(written) - 1} figures and tables" if len(written) > 1 else ""
    put(f"written: {out} ({size / 1e6:.1f} MB{told_pictures}){more}")
