"""The objective of the paper: a loss of choices, a local loss and a penalty, with gradients.

    naive            L_global + λ ‖W‖²_F
    global           L_global + λ ‖W - (tr W / p) I‖²_F
    glocal   (1-α) L_global + α L_local + λ ‖W - (tr W / p) I‖²_F

Standardized features X̃ are mapped to Z = X̃ W. All computations use numpy, in the precision of the
features (float32 or float64). Passes over half a million answers or more are compiled.
"""

from glocal.objective.choices import ChoiceLoss
from glocal.objective.objective import Evaluation, LocalLoss, Objective, penalty
from glocal.objective.passes import AnswerSums
from glocal.objective.threads import Workers, single_threaded_blas

__all__ = [
    "AnswerSums",
    "ChoiceLoss",
    "Evaluation",
    "LocalLoss",
    "Objective",
    "Workers",
    "penalty",
    "single_threaded_blas",
]
