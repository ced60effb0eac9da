"""Random problems: how far above the optimum is a fit that says converged?

Run: python benchmarks/optimum.py [FIRST LAST]

Small problems of every arm, many of them badly posed on purpose: strong directions that people do not judge by, few
objects, one answer, duplicated rows, features scaled by 1e-6 to 1e6, loose tolerances. Each fit that says converged is
compared with solves at tolerance 1e-9 in float64 from its own end and from two other starts. The unit is the tolerance
that was asked for, tol · |f|.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, replace

import numpy as np

from glocal import Answers, Arm, Exact, Features, FitData
from glocal.errors import GLocalError
from glocal.solver import minimise
from glocal.solver.naive import Stationarity

KINDS = ("global", "mix", "naive", "glocal", "glocal mix")


@dataclass(frozen=True)
class RandomProblem:
    """One fit: its kind, data, arm and solver."""

    kind: str
    data: FitData
    arm: Arm
    solver: Exact


def random_problem(seed: int, kinds: tuple[str, ...] = KINDS) -> RandomProblem:
    """A problem made from a seed."""
    rng = np.random.default_rng(seed)
    kind = kinds[seed % len(kinds)]
    n, p = int(rng.choice([4, 5, 6, 8, 12, 20, 40, 60, 120])), int(rng.integers(1, 41))
    X = rng.normal(size=(n, p))
    judged = int(rng.integers(1, min(p, 5) + 1))
    mind = X[:, :judged].copy()
    if rng.random() < 0.5:
        X[:, judged:] *= rng.uniform(2, 8)
        X[:, :judged] *= rng.uniform(0.05, 0.7)
    if rng.random() < 0.5:
        X = X @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    X *= 10 ** rng.uniform(-6, 6)
    if rng.random() < 0.15:
        X[n // 2 :] = X[: n - n // 2]
    t, certainty = int(rng.choice([1, 3, 10, 50, 300, 2000])), rng.choice([0, 0.3, 1, 3, 30])
    triples = np.array([rng.permutation(n)[:3] for _ in range(t)])
    a, b, c = (mind[column] for column in triples.T)
    alike = certainty * np.stack([(b * c).sum(1), (a * c).sum(1), (a * b).sum(1)], axis=1)
    odd = (alike + rng.gumbel(size=(t, 3))).argmax(1)
    answers = triples[np.arange(t)[:, None], (odd[:, None] + np.array([1, 2, 0])) % 3]
    weights = rng.uniform(0.01, 3, size=t) if rng.random() < 0.3 else None
    dtype = str(rng.choice(["float32", "float64"]))
    tol = max(float(10.0 ** rng.integers(-7, -1)), 1e-5 if dtype == "float32" else 0.0)
    method = "global" if kind == "mix" else kind.split()[0]
    arm = Arm(method, lmbda=float(10 ** rng.uniform(-4, 1.5)))
    if kind.endswith("mix"):
        arm = arm.replace(mix=float(rng.choice([0.1, 0.5, 0.9, 0.99])))
    local = None
    if arm.local:
        arm = arm.replace(alpha=float(rng.choice([0.05, 0.1, 0.5, 0.9])), tau=float(rng.choice([0.1, 0.25, 1.0])))
        local = Features(X[rng.integers(0, n, size=30)] + 0.3 * X.std() * rng.normal(size=(30, p)))
    data = FitData(Features(X), Answers(answers, weights), local)
    return RandomProblem(kind, data, arm, Exact(tol, dtype=dtype))


def distance(problem: RandomProblem, seed: int, budget: int = 1000) -> tuple[str, float | None]:
    """The status of a fit (or the error that refuses it), and if it converged its distance in tolerances."""
    solver, arm = problem.solver.replace(max_evaluations=budget), problem.arm
    try:
        problem.data.check(arm)
        found = solver.solve(problem.data, arm)
    except GLocalError as error:
        return f"refused ({type(error).__name__})", None
    if not found.converged:
        return found.status, None
    tight = Exact(1e-9, max_evaluations=3 * budget, dtype="float64")
    axes = tight.problem(problem.data, local=arm.local)
    p = len(axes.axes.moments)
    R = np.random.default_rng(seed).normal(size=(p, p)) / np.sqrt(p)
    best = found.objective
    for W in (found.W.astype(np.float64), 0.3 * np.eye(p), 0.5 * R @ R.T + 0.02 * np.eye(p)):
        if arm.method == "naive":
            objective = axes.objective(arm)
            rule = Stationarity(arm.lmbda)
            end = minimise(objective, rule, W, axes.axes.moments, tol=1e-9, max_evaluations=3 * budget)
            best = min(best, end.at.value)
        else:
            best = min(best, tight.minimise(axes, arm, replace(found, W=W, pairs=())).objective)
    floor = float(np.finfo(solver.dtype).eps)
    return "converged", (found.objective - best) / (solver.tolerance * max(abs(found.objective), floor))


def main(first: int, last: int) -> None:
    """Print the counts of each kind, and every problem that is more than ten tolerances above."""
    warnings.simplefilter("ignore")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(first, last):
        problem = random_problem(seed)
        status, above = distance(problem, seed)
        if above is not None:
            status = "within 1" if above <= 1 else "1 to 10" if above <= 10 else "above 10"
        if status == "above 10":
            print(f"seed {seed}, {problem.kind}: {above:.3g} tolerances above; {problem.arm}", flush=True)
        counts[problem.kind][status] += 1
    for kind, found in counts.items():
        print(f"{kind:12}", dict(found))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3] or (0, 500)))
