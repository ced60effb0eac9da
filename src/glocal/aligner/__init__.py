"""From features and answers to a transform: `fit` minimises an `Arm` on `FitData` by a solver.

`Aligner` is its scikit-learn face. Nothing here loads torch or scikit-learn before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.aligner.arm import Arm
    from glocal.aligner.chosen import Chosen
    from glocal.aligner.data import FitData
    from glocal.aligner.estimator import Aligner
    from glocal.aligner.exact import Exact
    from glocal.aligner.fitting import Fit, fit, fit_arm
    from glocal.aligner.loop import Loop, Validation

_PLACES = {
    "Aligner": "estimator", "Arm": "arm", "Chosen": "chosen", "Exact": "exact", "Fit": "fitting", "FitData": "data",
    "Loop": "loop", "Validation": "loop", "fit": "fitting", "fit_arm": "fitting",
}  # fmt: skip

__all__ = ["Aligner", "Arm", "Chosen", "Exact", "Fit", "FitData", "Loop", "Validation", "fit", "fit_arm"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"glocal.aligner.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
