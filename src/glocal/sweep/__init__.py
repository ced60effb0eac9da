"""Fit every setting of a grid on folds, find the Pareto front, and refit the chosen setting."""

import sys
from types import ModuleType
from typing import Any

from glocal.sweep.grid import Rule, choose, pareto_front, settings
from glocal.sweep.run import Sweep, sweep

__all__ = ["Rule", "Sweep", "choose", "pareto_front", "settings", "sweep"]


class _CallableModule(ModuleType):
    """A module that can be called, so that ``glocal.sweep(...)`` runs `sweep`."""

    def __call__(self, *arguments: Any, **options: Any) -> Sweep:
        return sweep(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
