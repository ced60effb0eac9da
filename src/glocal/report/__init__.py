"""Figures, tables and one page from a run folder alone."""

from glocal.report.front import front_figure, save_figure

__all__ = ["front_figure", "save_figure"]
