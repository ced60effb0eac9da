"""Fit every setting of a grid on folds of objects, show the front, and refit one choice.

Names load when they are used: a report needs the front alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.sweep.choice import choose, pareto_front
    from glocal.sweep.grid import settings
    from glocal.sweep.run import Sweep, sweep

_PLACES = {"choose": "choice", "pareto_front": "choice", "settings": "grid", "Sweep": "run", "sweep": "run"}

__all__ = ["Sweep", "choose", "pareto_front", "settings", "sweep"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"glocal.sweep.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
