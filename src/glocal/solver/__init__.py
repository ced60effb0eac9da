"""Minimise an objective: preconditioned L-BFGS, its start, its stopping rule and its certificates."""

from glocal.solver.criterion import Criterion, GradientRatio, ShrinkageGap, Verdict
from glocal.solver.minimise import Solution, minimise
from glocal.solver.naive import lambda_max, minimise_naive
from glocal.solver.start import best_scale, symmetric_start

__all__ = [
    "Criterion",
    "GradientRatio",
    "ShrinkageGap",
    "Solution",
    "Verdict",
    "best_scale",
    "lambda_max",
    "minimise",
    "minimise_naive",
    "symmetric_start",
]
