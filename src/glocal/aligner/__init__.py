"""From features and answers to a transform: `fit` minimises an `Arm` on `FitData` by a solver.

`Aligner` is its scikit-learn face. Nothing here loads scikit-learn before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.aligner.arm import Arm
    from glocal.aligner.curve import learning_curve
    from glocal.aligner.data import FitData
    from glocal.aligner.estimator import Aligner
    from glocal.aligner.exact import Exact, Solution
    from glocal.aligner.fitting import fit
    from glocal.aligner.keep import Dial, dial
    from glocal.aligner.paper import PaperLoop
    from glocal.aligner.record import Fit

_PLACES = {
    "Aligner": "estimator", "Arm": "arm", "Dial": "keep", "Exact": "exact", "Fit": "record", "FitData": "data",
    "PaperLoop": "paper", "Solution": "exact", "dial": "keep", "fit": "fitting", "learning_curve": "curve",
}  # fmt: skip

__all__ = [
    "Aligner",
    "Arm",
    "Dial",
    "Exact",
    "Fit",
    "FitData",
    "PaperLoop",
    "Solution",
    "dial",
    "fit",
    "learning_curve",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"glocal.aligner.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
