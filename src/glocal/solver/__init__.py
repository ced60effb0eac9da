"""Minimise an objective: preconditioned L-BFGS, its start, its stopping rule and its certificates."""

from glocal.solver.criterion import Criterion, DualityGap, GradientRatio, Iterate, Verdict
from glocal.solver.minimise import Solution, minimise
from glocal.solver.naive import lambda_max, minimise_naive
from glocal.solver.start import State, best_scale, symmetric_start

__all__ = [
    "Criterion",
    "DualityGap",
    "GradientRatio",
    "Iterate",
    "Solution",
    "State",
    "Verdict",
    "best_scale",
    "lambda_max",
    "minimise",
    "minimise_naive",
    "symmetric_start",
]
