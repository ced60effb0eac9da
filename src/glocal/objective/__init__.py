"""The objective of the paper: a loss of choices, a local loss and a penalty, each with its gradient by hand.

    naive            L_global + λ ‖W‖²_F
    global           L_global + λ ‖W - (tr W / p) I‖²_F
    glocal   (1-α) L_global + α L_local + λ ‖W - (tr W / p) I‖²_F

Standardized features X̃ are mapped to Z = X̃ W + b. Everything here is torch; dtype and device follow the features.
"""

from glocal.objective.choice_loss import ChoiceLoss
from glocal.objective.local_loss import LocalLoss
from glocal.objective.objective import Evaluation, Objective, Term, weighted
from glocal.objective.penalty import Penalty

__all__ = ["ChoiceLoss", "Evaluation", "LocalLoss", "Objective", "Penalty", "Term", "weighted"]
