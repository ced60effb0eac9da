"""One page, figures and tables from run folders alone: no data, no torch."""

from glocal.report.charts import front_chart
from glocal.report.figures import axes_svg, save_axes_figure, save_figure
from glocal.report.front import front_points, warnings_of
from glocal.report.page import report_page, save_figures, save_page, save_tables
from glocal.report.runs import Run, load_runs, load_thumbnails

__all__ = [
    "Run",
    "axes_svg",
    "front_chart",
    "front_points",
    "load_runs",
    "load_thumbnails",
    "report_page",
    "save_axes_figure",
    "save_figure",
    "save_figures",
    "save_page",
    "save_tables",
    "warnings_of",
]
