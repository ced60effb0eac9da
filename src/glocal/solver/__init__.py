"""Find an optimum with a certificate: L-BFGS on symmetric W until the duality gap is small."""

from glocal.solver.gap import DualityGap, NaiveGap
from glocal.solver.lbfgs import minimise
from glocal.solver.result import Counter, OnStep, Pairs, SolverResult, allowed_gap
from glocal.solver.scales import identity_scale, increasing_root, lambda_max
from glocal.solver.symmetric import symmetric_start

__all__ = [
    "Counter",
    "DualityGap",
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
