"""Fit every setting of a grid on folds, find the Pareto front, and refit the chosen setting."""

from glocal.sweep.choice import choose, pareto_front
from glocal.sweep.grid import read_grid
from glocal.sweep.run import Sweep, sweep

__all__ = ["Sweep", "choose", "pareto_front", "read_grid", "sweep"]
