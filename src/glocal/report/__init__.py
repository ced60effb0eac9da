"""Figures, tables and one page from a run folder alone: no data, no torch."""

from glocal.report.figures import (
    front_figure,
    map_figure,
    matrix_figure,
    save_figure,
    save_figures,
    scores_figure,
    slices_figure,
    spectrum_figure,
)
from glocal.report.findings import findings
from glocal.report.loading import Run, load_run
from glocal.report.page import check_extra, report_page, save_page
from glocal.report.tables import save_tables, tables
from glocal.report.thumbnails import Thumbnails, load_thumbnails

__all__ = [
    "Run", "Thumbnails", "check_extra", "findings", "front_figure", "load_run", "load_thumbnails", "map_figure",
    "matrix_figure", "report_page", "save_figure", "save_figures", "save_page", "save_tables", "scores_figure",
    "slices_figure", "spectrum_figure", "tables",
]  # fmt: skip
