"""The whole front in one run: grid × object folds, warm paths, selection."""

from typing import TYPE_CHECKING, Any

from glocal.sweep.grid import Grid

if TYPE_CHECKING:
    from glocal.sweep.estimator import Sweep

__all__ = ["Grid", "Sweep"]


def __getattr__(name: str) -> Any:
    if name == "Sweep":  # scikit-learn, pandas and torch load only for who sweeps
        from glocal.sweep.estimator import Sweep

        return Sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
