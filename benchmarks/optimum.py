"""Random problems: how far a fit that reports convergence is above the optimum.

Run: python benchmarks/optimum.py [FIRST LAST]

The benchmark makes small problems of every arm, many of them deliberately badly posed: strong
directions that people do not judge by, few objects, one answer, duplicated rows, features scaled by
1e-6 to 1e6, loose tolerances. Each fit that reports convergence is compared with solves at a
tolerance of 1e-9 in float64, from its own end and from two other starts. The unit is the requested
tolerance, tol · |f|.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from glocal import Answers, Arm, Exact, Features, FitData
from glocal.aligner.exact import WarmStart
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
    X, mind = _features(rng)
    answers = _answers(mind, rng)
    dtype = str(rng.choice(["float32", "float64"]))
    tol = max(float(10.0 ** rng.integers(-7, -1)), 1e-5 if dtype == "float32" else 0.0)
    arm = _arm(kind, rng)
    local = None
    if arm.local:
        n, p = X.shape
        rows = X[rng.integers(0, n, size=30)]
        local = Features(rows + 0.3 * X.std() * rng.normal(size=(30, p)))
    data = FitData(Features(X), answers, local)
    return RandomProblem(kind, data, arm, Exact(tol, dtype=dtype))


def _features(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features, and the embedding that determines the answers."""
    n = int(rng.choice([4, 5, 6, 8, 12, 20, 40, 60, 120]))
    p = int(rng.integers(1, 41))
    X = rng.normal(size=(n, p))
    relevant = int(rng.integers(1, min(p, 5) + 1))
    mind = X[:, :relevant].copy()
    if rng.random() < 0.5:
        X[:, relevant:] *= rng.uniform(2, 8)
        X[:, :relevant] *= rng.uniform(0.05, 0.7)
    if rng.random() < 0.5:
        X = X @ np.linalg.qr(rng.normal(size=(p, p)))[0]
    X *= 10 ** rng.uniform(-6, 6)
    if rng.random() < 0.15:
        X[n // 2 :] = X[: n - n // 2]
    return X, mind


def _answers(mind: np.ndarray, rng: np.random.Generator) -> Answers:
    """Up to 2,000 answers, between random and certain ones, some with weights."""
    n_answers = int(rng.choice([1, 3, 10, 50, 300, 2000]))
    certainty = rng.choice([0, 0.3, 1, 3, 30])
    triples = np.array([rng.permutation(len(mind))[:3] for _ in range(n_answers)])
    a, b, c = (mind[column] for column in triples.T)
    dots = certainty * np.stack([(b * c).sum(1), (a * c).sum(1), (a * b).sum(1)], axis=1)
    odd = (dots + rng.gumbel(size=(n_answers, 3))).argmax(1)
    objects = triples[np.arange(n_answers)[:, None], (odd[:, None] + np.array([1, 2, 0])) % 3]
    weights = rng.uniform(0.01, 3, size=n_answers) if rng.random() < 0.3 else None
    return Answers(objects, weights)


def _arm(kind: str, rng: np.random.Generator) -> Arm:
    method = "global" if kind == "mix" else kind.removesuffix(" mix")
    arm = Arm(method, lmbda=float(10 ** rng.uniform(-4, 1.5)))
    if kind.endswith("mix"):
        arm = arm.replace(mix=float(rng.choice([0.1, 0.5, 0.9, 0.99])))
    if arm.local:
        alpha = float(rng.choice([0.05, 0.1, 0.5, 0.9]))
        arm = arm.replace(alpha=alpha, tau=float(rng.choice([0.1, 0.25, 1.0])))
    return arm


def distance(problem: RandomProblem, seed: int, budget: int = 1000) -> tuple[str, float | None]:
    """The status of a fit, or the error it raises; if it converged, its excess in tolerances."""
    solver = problem.solver.replace(max_evaluations=budget)
    arm = problem.arm
    try:
        problem.data.check(arm)
        solution = solver.solve(problem.data, arm)
    except GLocalError as error:
        return f"refused ({type(error).__name__})", None
    if not solution.converged:
        return solution.status, None
    tight = Exact(1e-9, max_evaluations=3 * budget, dtype="float64")
    exact = tight.problem(problem.data, local=arm.local)
    moments = exact.axes.moments
    p = len(moments)
    R = np.random.default_rng(seed).normal(size=(p, p)) / np.sqrt(p)
    best = solution.objective
    assert solution.warm is not None
    for W in (
        solution.warm.W.astype(np.float64),
        0.3 * np.eye(p),
        0.5 * R @ R.T + 0.02 * np.eye(p),
    ):
        if arm.method == "naive":
            rule = Stationarity(arm.lmbda)
            limits = {"tol": tight.tolerance, "max_evaluations": tight.max_evaluations}
            best = min(
                best, minimise(exact.objective(arm), rule, W, moments, **limits).evaluation.value
            )
        else:
            best = min(best, tight.minimise(exact, arm, WarmStart(arm, W)).objective)
    floor = float(np.finfo(solver.dtype).eps)
    allowed = solver.tolerance * max(abs(solution.objective), floor)
    return "converged", (solution.objective - best) / allowed


def main(first: int, last: int) -> None:
    """Print the counts of each kind, and every problem more than ten tolerances above."""
    warnings.simplefilter("ignore")
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(first, last):
        problem = random_problem(seed)
        status, tolerances = distance(problem, seed)
        if tolerances is not None:
            status = ("within 1", "1 to 10", "above 10")[int(np.searchsorted([1, 10], tolerances))]
        if status == "above 10":
            print(
                f"seed {seed}, {problem.kind}: {tolerances:.3g} tolerances above; {problem.arm}",
                flush=True,
            )
        counts[problem.kind][status] += 1
    for kind, statuses in counts.items():
        print(f"{kind:12}", dict(statuses))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3] or (0, 500)))
