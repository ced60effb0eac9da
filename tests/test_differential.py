"""Whole fits to small random problems agree with `oracle`, which is made of PyTorch and SciPy; a
check that fails names what disagrees.
"""

import os
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
import world
from test_optimum import random_problem

FIT = "fit --features x.npy --answers a.npz --centre scalar --out fit.npz --json"


def close(values, expected, what, tolerance):
    np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance, err_msg=what)


def random_command(seed, folder):
    """The command that fits a random arm to random files, and the problem as `oracle` takes it."""
    data, arm, solver = random_problem(seed)
    X = data.features.matrix
    answers = data.answers
    world.folder(folder, x_npy=X, a_npz=answers)
    line = f"{FIT} --method {arm.method} --lmbda {arm.lmbda}"
    line += f" --tol {solver.tol} --dtype {solver.dtype}"
    problem = SimpleNamespace(
        X=oracle.standardized(X, X),
        answers=answers.objects,
        weights=np.ones(len(answers)) if answers.weights is None else answers.weights.copy(),
        kind=answers.kind,
        local=None,
        **arm.model_dump(),
    )
    if arm.method != "naive":
        line += f" --mix {arm.mix}"
    if arm.local:
        images = data.local_features.matrix
        world.folder(folder, local_npy=images)
        line += f" --local-features local.npy --alpha {arm.alpha} --tau {arm.tau} --block-size 16"
        problem.local = oracle.standardized(images, X)
        problem.blocks = oracle.blocks(len(images), 16)
    return line, problem


def check_fit(seed, folder):
    """The record of a fit agrees with its file, a converged fit is at the optimum, and `naive` is
    refused from the right λ_max on.
    """
    line, problem = random_command(seed, folder)
    ended = world.run(line)
    highest = oracle.lambda_max(problem.X, problem.answers, problem.weights, problem.kind)
    if ended.code:
        assert "lambda_max" in ended.err or "optimum is W = 0" in ended.err, ended.err
        assert problem.method != "naive" or problem.lmbda >= highest * (1 - 1e-6), ended.err
        return
    assert problem.method != "naive" or problem.lmbda < highest * (1 + 1e-6), "λ is above λ_max"
    record = ended.json
    with np.load("fit.npz") as file:
        W = file["weights"].astype(np.float64)
    f, parts = oracle.objective(problem, W)
    rounding = 2e-5 * (1 + np.max((problem.X @ W) ** 2) * len(W) + problem.lmbda * np.sum(W * W))
    if not _jumps(problem, W):
        for name, value in parts.items():
            close(record["parts"][name], value, name, rounding / min(1.0, problem.lmbda))
        close(record["objective"], f, "objective", rounding)
    if record["converged"]:
        p = len(W)
        far, near = (scale * world.normal(p, p, seed=seed) for scale in (0.5 / np.sqrt(p), 0.02))
        lowest = oracle.lowest(problem, [W, 0.3 * np.eye(p), far, near])
        assert f - lowest <= 10 * record["tol"] * max(abs(f), 1e-7), line


def _jumps(problem, W):
    """Whether a local image lies at 0 except for the rounding of the file, so that its cosines may
    change sign.
    """
    if problem.local is None:
        return False
    lengths = np.linalg.norm(problem.local @ W, axis=1)
    return lengths.min() < 1e-6 * lengths.max()


@pytest.mark.parametrize("seed", [0, 16, 22, 29, 33, 38])
def test_a_fit_agrees_with_the_oracle(seed, here):
    """A command prints and writes what plain definitions and SciPy compute from the same files."""
    check_fit(seed, here)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_many_fits_agree_with_the_oracle(tmp_path, monkeypatch):
    """On other random problems fits agree with the oracle too: 150 if GLOCAL_TRIES=1."""
    for seed in range(int(float(os.environ.get("GLOCAL_TRIES", "0.05")) * 150)):
        monkeypatch.chdir(world.folder(tmp_path / str(seed), empty=b""))
        check_fit(seed, tmp_path / str(seed))
