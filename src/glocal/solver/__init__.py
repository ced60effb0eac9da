"""Find an optimum with a certificate: L-BFGS on symmetric W until the duality gap is small."""

from glocal.solver.criterion import Criterion, FirstOrderEstimate, allowed_gap
from glocal.solver.gap import (
    DualityGap,
    NaiveGap,
    identity_scale,
    increasing_root,
    lambda_max,
)
from glocal.solver.lbfgs import (
    Counter,
    OnStep,
    Pairs,
    SolverResult,
    minimise,
    symmetric_start,
)

__all__ = [
    "Counter",
    "Criterion",
    "DualityGap",
    "FirstOrderEstimate",
    "NaiveGap",
    "OnStep",
    "Pairs",
    "SolverResult",
    "allowed_gap",
    "identity_scale",
    "increasing_root",
    "lambda_max",
    "minimise",
    "symmetric_start",
]
