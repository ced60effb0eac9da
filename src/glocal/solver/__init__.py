"""Find an optimum with a certificate: L-BFGS on symmetric W, and rounds of columns for `naive`.

`minimise` iterates until the duality gap is small enough. `minimise_naive` adds columns to a
low-rank factor of W Wᵀ.
"""

from glocal.solver.gap import DualityGap, best_scale, identity_scale, lambda_max
from glocal.solver.minimise import (
    Counter,
    OnStep,
    SolverResult,
    allowed_gap,
    minimise,
    symmetric_start,
)
from glocal.solver.naive import minimise_naive

__all__ = [
    "Counter",
    "DualityGap",
    "OnStep",
    "SolverResult",
    "allowed_gap",
    "best_scale",
    "identity_scale",
    "lambda_max",
    "minimise",
    "minimise_naive",
    "symmetric_start",
]
