"""Fit every setting of a grid on folds of objects, show the front, and refit one choice."""

from glocal.sweep.grid import Rule, choose, pareto_front, settings
from glocal.sweep.run import Sweep, sweep

__all__ = ["Rule", "Sweep", "choose", "pareto_front", "settings", "sweep"]
