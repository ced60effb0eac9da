"""From features and answers to a transform: `fit` minimises an `Arm` on `FitData` by a solver.

`glocal.Aligner` is its scikit-learn face, `glocal.aligner.curve` tells whether more answers would
help.
"""

from glocal.aligner.arm import Arm
from glocal.aligner.choice import KeepCurve
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.fitting import Fit, fit
from glocal.aligner.keep import Keep, keep_curve
from glocal.aligner.paper import PaperLoop

__all__ = [
    "Arm",
    "Exact",
    "Fit",
    "FitData",
    "Keep",
    "KeepCurve",
    "PaperLoop",
    "Solution",
    "fit",
    "keep_curve",
]
