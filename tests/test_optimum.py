"""Random problems of every arm, many of them badly posed: a fit that reports convergence is at the
optimum.
"""

import os

import numpy as np
import pytest
import world
from hypothesis import given, settings
from hypothesis import strategies as st

from glocal import Exact, Features, FitData, ObjectiveSettings
from glocal.aligner.exact import WarmStart
from glocal.errors import GLocalError

PROBLEMS = int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 500)
KINDS = ("global", "mix", "naive", "glocal", "glocal mix")


def random_problem(seed):
    """The data, the arm and the solver of a fit."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    X, mind = random_features(rng)
    answers = random_answers(mind, rng)
    dtype = str(rng.choice(["float32", "float64"]))
    tol = max(float(10.0 ** rng.integers(-7, -1)), 1e-5 if dtype == "float32" else 0.0)
    arm = random_arm(kind, rng)
    local = None
    if arm.local:
        n, p = X.shape
        rows = X[rng.integers(0, n, size=30)]
        local = Features(rows + 0.3 * X.std() * rng.normal(size=(30, p)))
    data = FitData(Features(X), answers, local)
    return data, arm, Exact(tol, dtype=dtype)


def random_features(rng):
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
    if rng.random() < 0.15:
        X[:, p // 2 :] = 0.5
    X *= 10 ** rng.uniform(-6, 6)
    if rng.random() < 0.15:
        X[n // 2 :] = X[: n - n // 2]
    return X, mind


def random_answers(mind, rng):
    """Up to 2,000 answers of any kind, between random and certain ones, some with weights."""
    n_answers = int(rng.choice([1, 3, 10, 50, 300, 2000]))
    certainty = rng.choice([0, 0.3, 1, 3, 30])
    copies = np.append(1.0, rng.integers(0, 3, size=n_answers - 1))
    weights = (None, rng.uniform(0.01, 3, size=n_answers), copies)[rng.integers(3)]
    kind = str(rng.choice([*world.WIDTH]))
    seed = int(rng.integers(2**32))
    questions = world.answers(n_answers, len(mind), kind, seed=seed, weights=weights)
    return world.chosen(questions, np.sqrt(certainty) * mind, seed)


def random_arm(kind, rng):
    method = "global" if kind == "mix" else kind.removesuffix(" mix")
    arm = ObjectiveSettings(method, lmbda=float(10 ** rng.uniform(-4, 1.5)))
    if kind.endswith("mix"):
        arm = arm.replace(mix=float(rng.choice([0.1, 0.5, 0.9, 0.99])))
    if arm.local:
        alpha = float(rng.choice([0.05, 0.1, 0.5, 0.9]))
        arm = arm.replace(alpha=alpha, tau=float(rng.choice([0.1, 0.25, 1.0])))
    return arm


@pytest.mark.nightly
@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=PROBLEMS)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_converged_fit_is_at_the_optimum(seed):
    """No solve at a tolerance of 1e-9 in float64, from the end of the fit or from two other starts,
    ends more than the requested tolerance, tol · |f|, below a fit that reports convergence.
    """
    data, arm, solver = random_problem(seed)
    try:
        data.check(reads_local=arm.local)
        solution = solver.solve(data, arm)
    except GLocalError:
        return
    if not solution.converged:
        return
    tight = Exact(1e-9, max_evaluations=3000, dtype="float64")
    problem = tight.problem(data, local=arm.local)
    p = len(solution.warm.W)
    R = np.random.default_rng(seed).normal(size=(p, p)) / np.sqrt(p)
    starts = solution.warm.W.astype(float), 0.3 * np.eye(p), 0.5 * R @ R.T + 0.02 * np.eye(p)
    lowest = min(tight.minimise(problem, arm, WarmStart(arm, W)).report.objective for W in starts)
    floor = float(np.finfo(solver.dtype).eps)
    allowed = solver.tolerance * max(abs(solution.report.objective), floor)
    assert solution.report.objective - lowest <= allowed
