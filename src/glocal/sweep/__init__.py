"""Fit every setting of a grid on folds of objects, show the front, and refit one choice."""

import sys
from types import ModuleType
from typing import Any

from glocal.sweep.grid import Rule, choose, pareto_front, settings
from glocal.sweep.run import Sweep, sweep

__all__ = ["Rule", "Sweep", "choose", "pareto_front", "settings", "sweep"]


class _CallableModule(ModuleType):
    """``glocal.sweep(...)`` is `sweep`, as ``glocal.fit(...)`` is `glocal.aligner.fit`."""

    def __call__(self, *arguments: Any, **options: Any) -> Sweep:
        return sweep(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
