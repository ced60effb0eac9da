"""The whole front in one run: grid × object folds, warm paths, selection.

Nothing here loads torch, scikit-learn or pandas before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.sweep.estimator import Sweep
    from glocal.sweep.grid import Grid

_PLACES = {"Grid": "grid", "Sweep": "estimator"}

__all__ = ["Grid", "Sweep"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"glocal.sweep.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
