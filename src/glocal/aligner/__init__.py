"""Learn a transform from features and answers: `fit` minimises an objective by a solver.

`ObjectiveSettings` or `Keep` say what is fitted, and `FitData` to what.

`cross_score` measures such fits on data that they have not seen.
`glocal.Aligner` is the scikit-learn estimator. `glocal.aligner.curve` estimates whether more
answers would help.
"""

from glocal.aligner.choice import KeepCurve
from glocal.aligner.data import FitData
from glocal.aligner.exact import Exact, Solution
from glocal.aligner.fitting import Fit, cross_score, fit
from glocal.aligner.keep import Keep, keep_curve
from glocal.aligner.paper import PaperLoop
from glocal.aligner.settings import ObjectiveSettings

__all__ = [
    "Exact",
    "Fit",
    "FitData",
    "Keep",
    "KeepCurve",
    "ObjectiveSettings",
    "PaperLoop",
    "Solution",
    "cross_score",
    "fit",
    "keep_curve",
]
