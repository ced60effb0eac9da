"""Whole fits to small random problems agree with `oracle`, which is made of PyTorch and SciPy; a
check that fails names what disagrees.
"""

import os
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
import world
from world import chosen, run

FILES = "--features features.npy --answers answers.npz"


def ended(line):
    """The JSON object that a command prints, and its message."""
    result = run(f"{line} --json")
    return None if result.code else result.json, result.err


def close(values, expected, what, tolerance=1e-6):
    np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance, err_msg=what)


# --- random data ----------------------------------------------------------------------------------


def features(rng, n, p):
    """(n, p) features of any scale, offset and precision, at times with duplicates or constant
    columns.
    """
    X = rng.normal(size=(n, p))
    X[:, : max(1, p // 3)] *= rng.choice([0.1, 1, 5])
    if p > 1 and rng.random() < 0.2:
        X[:, -1] = 0.5
    if n > 4 and rng.random() < 0.2:
        X[-2:] = X[0]
    dtype = rng.choice([np.float64, np.float32, np.float16])
    digits = 2 if dtype == np.float16 else 8
    X *= 10 ** rng.uniform(-digits, digits)
    X += rng.choice([0, 0, 3]) * X.std()
    X = X.astype(dtype)
    if not X.astype(np.float64).std():  # a single constant column, or a single value
        X[0, 0] += 1
    return X


def random_problem(rng, folder):
    n = int(rng.choice([3, 4, 6, 9, 14, 24, 60]))
    p = int(rng.choice([1, 2, 3, 5, 8, 20]))
    X = features(rng, n, p)
    kind = str(rng.choice(["odd-one-out", "odd-one-out", "anchor", "nearest-of-n"]))
    mind = np.sqrt(rng.choice([0, 1, 10])) * oracle.standardized(X, X)[:, -2:]
    t = int(rng.choice([1, 4, 40, 200]))
    answers = chosen(world.answers(t, n, kind, seed=rng), mind, seed=rng).objects
    w = (np.ones(t), rng.uniform(0, 3, t), rng.integers(0, 3, t) * 1.0)[rng.integers(3)]
    w[0] = max(w[0], 1.0)
    np.save(folder / "features.npy", X)
    np.savez(folder / "answers.npz", answers=answers, kind=kind, weights=w)
    X = oracle.standardized(X, X)
    return SimpleNamespace(X=X, answers=answers, weights=w, kind=kind, local=None, mix=1.0)


def random_arm(rng, problem, folder):
    """Give the problem a random arm, and return the options of the arm."""
    problem.method = str(rng.choice(["global", "glocal", "naive"]))
    problem.lmbda = float(10 ** rng.uniform(-2.5, 1))
    options = f"--method {problem.method} --lmbda {problem.lmbda}"
    if problem.method != "naive":
        problem.mix = float(rng.choice([1, 1, 0.5]))
        options += f" --mix {problem.mix}"
    options += f" --dtype {rng.choice(['float32', 'float64'])}"
    if problem.method == "glocal":
        problem.alpha = float(rng.choice([0.1, 0.5]))
        problem.tau = float(rng.choice([0.1, 0.5]))
        size = int(rng.choice([5, 1024]))
        X = np.load(folder / "features.npy")
        images = np.float64(X[rng.integers(0, len(X), size=15)])
        images += 0.5 * np.float64(X).std() * rng.normal(size=images.shape)
        np.save(folder / "local.npy", images)
        problem.local = oracle.standardized(images, X)
        problem.blocks = oracle.blocks(len(images), size)
        options += f" --local-features local.npy --alpha {problem.alpha}"
        options += f" --tau {problem.tau} --block-size {size}"
    return options


# --- the check ------------------------------------------------------------------------------------


def check_fit(rng, folder):
    """The record of a fit agrees with its file, a converged fit is at the optimum, and `naive` is
    refused from the right λ_max on.
    """
    problem = random_problem(rng, folder)
    options = random_arm(rng, problem, folder)
    line = f"fit {FILES} --centre scalar --out fit.npz {options}"
    record, message = ended(line)
    highest = oracle.lambda_max(problem.X, problem.answers, problem.weights, problem.kind)
    if record is None:
        assert "lambda_max" in message or "optimum is W = 0" in message, message
        assert problem.method != "naive" or problem.lmbda >= highest * (1 - 1e-6), message
        return
    assert problem.method != "naive" or problem.lmbda < highest * (1 + 1e-6), "λ is above λ_max"
    with np.load("fit.npz") as file:
        W = file["weights"].astype(np.float64)
    f, parts = oracle.objective(problem, W)
    rounding = 2e-5 * (1 + np.max((problem.X @ W) ** 2) * len(W) + problem.lmbda * np.sum(W * W))
    if not _jumps(problem, W):
        for name, value in parts.items():
            close(record["parts"][name], value, name, rounding / min(1.0, problem.lmbda))
        close(record["objective"], f, "objective", rounding)
    assert record["n_answers"] == np.count_nonzero(problem.weights)  # weight 0 is no copy
    if record["converged"]:
        p = len(W)
        far, near = 0.5 / np.sqrt(p) * rng.normal(size=(p, p)), 0.02 * rng.normal(size=(p, p))
        starts = [W, 0.3 * np.eye(p), far, near]
        assert f - oracle.lowest(problem, starts) <= 10 * record["tol"] * max(abs(f), 1e-7), options
        tight, _ = ended(f"{line} --tol 1e-9 --dtype float64 --max-evaluations 3000")
        floor = np.finfo(record["dtype"]).eps
        allowed = record["tol"] * max(abs(record["objective"]), floor)
        assert record["objective"] - tight["objective"] <= allowed, options


def _jumps(problem, W):
    """Whether a local image lies at 0 except for the rounding of the file, so that its cosines may
    change sign.
    """
    if problem.local is None:
        return False
    lengths = np.linalg.norm(problem.local @ W, axis=1)
    return lengths.min() < 1e-6 * lengths.max()


@pytest.mark.parametrize("seed", [2, 3, 6, 49])
def test_a_fit_agrees_with_the_oracle(seed, here):
    """A command prints and writes what plain definitions and SciPy compute from the same files."""
    check_fit(np.random.default_rng(seed), here)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_many_fits_agree_with_the_oracle(tmp_path, monkeypatch):
    """On other random problems fits agree with the oracle too: 150 if GLOCAL_TRIES=1."""
    for seed in range(int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 150)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        monkeypatch.chdir(folder)
        check_fit(np.random.default_rng(seed), folder)
