"""HTML pages, figures and tables of runs, made from run folders without data and without torch."""

from glocal.report.charts import front_chart, front_points
from glocal.report.folders import load_runs
from glocal.report.headline import headlines, warnings_of
from glocal.report.objects import axes_records
from glocal.report.page import (
    axes_svg,
    report_page,
    save_figure,
    save_figures,
    save_page,
    save_tables,
)
from glocal.report.runs import Block, Run
from glocal.report.thumbnails import load_thumbnails
from glocal.report.transform import transform_run

__all__ = [
    "Block",
    "Run",
    "axes_records",
    "axes_svg",
    "front_chart",
    "front_points",
    "headlines",
    "load_runs",
    "load_thumbnails",
    "report_page",
    "save_figure",
    "save_figures",
    "save_page",
    "save_tables",
    "transform_run",
    "warnings_of",
]
