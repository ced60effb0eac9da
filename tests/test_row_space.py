"""With fewer rows than columns a fit on the row space is the fit on all columns, and off it W is what it must be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from glocal.aligner import Arm, Exact, FitData, fit, fit_arm
from glocal.aligner import problem as problem_module
from glocal.aligner.problem import Problem, principal_axes
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.world import simulated_answers, simulated_world
from glocal.errors import UnusedWarning

N, M, P = 30, 25, 90
RNG = np.random.default_rng(0)
MIND = RNG.normal(size=(N, 4))
OBJECTS = Features(np.concatenate([MIND, RNG.normal(size=(N, P - 4))], axis=1))
LOCAL = Features(RNG.normal(size=(M, P)))
ANSWERS = simulated_answers(MIND, 1500)
WEIGHTED = Answers(ANSWERS.answers, np.random.default_rng(1).uniform(0.1, 2, len(ANSWERS)))
SOLVER = Exact(dtype="float64", tol=1e-9)
ARMS = {
    "global": Arm("global", lmbda=0.05),
    "mixed": Arm("global", lmbda=0.05, mix=0.8),
    "bias": Arm("global", lmbda=0.05, bias=True),
    "naive": Arm("naive", lmbda=0.1),
    "glocal": Arm("glocal", alpha=0.3, lmbda=0.05),
    "glocal mixed": Arm("glocal", alpha=0.3, lmbda=0.05, mix=0.8),
}


def all_columns(X, blocks):
    """The axes of a fit that is not reduced."""
    moments, axes = torch.linalg.eigh(X.double().T @ X.double() / len(X))
    return axes, moments.clamp(min=0)


def off_rows(local):
    """An orthonormal basis of what is orthogonal to all rows."""
    rows = [OBJECTS.standardization(f.matrix, "float64") for f in (OBJECTS, LOCAL)[: 2 if local else 1]]
    rows = np.concatenate(rows)
    return np.linalg.svd(rows)[2][len(rows) :].T


@pytest.mark.filterwarnings("ignore:local features:glocal.errors.DataWarning")  # columns of noise are unrelated
@pytest.mark.parametrize("name", ARMS)
def test_the_reduced_fit_is_the_full_fit(name, monkeypatch):
    """Objective and transform are those of the fit on all columns; off the rows W is cI, or 0 for naive."""
    arm = ARMS[name]
    data = FitData(OBJECTS, WEIGHTED, LOCAL if arm.local else None)
    solver = replace(SOLVER, tol=1e-6) if name == "naive" else SOLVER
    small = fit(data, arm, solver)
    monkeypatch.setattr(problem_module, "principal_axes", all_columns)
    full = fit(data, arm, solver)
    assert small.record.converged
    assert (small.record.rank, full.record.rank) == (N + 1 + (M if arm.local else 0), None)
    assert small.record.objective == pytest.approx(full.record.objective, rel=2 * solver.tol)
    assert small.record.parts["penalty"] == pytest.approx(full.record.parts["penalty"], rel=1e-3)
    assert small.record.certificate == full.record.certificate
    np.testing.assert_allclose(small.transform.weights, full.transform.weights, atol=1e-2)
    off = off_rows(arm.local)
    block = off.T @ small.transform.weights @ off
    scale = 0.0 if name == "naive" else block.trace() / len(block)
    assert (scale != 0) == (name != "naive")
    np.testing.assert_allclose(block, scale * np.eye(len(block)), atol=1e-5)
    np.testing.assert_allclose(off.T @ small.transform.weights @ np.linalg.qr(off, "complete")[0][:, off.shape[1] :], 0,
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("name", ["global", "mixed", "naive", "glocal mixed"])
def test_the_objective_is_that_of_the_whole_transform(name):
    """f of the small matrix is f of the p × p transform it stands for, term by term."""
    arm = ARMS[name]
    data = FitData(OBJECTS, WEIGHTED, LOCAL if arm.local else None)
    local = data.read("float64") if arm.local else None
    small = Problem.build(data, local, "float64", "cpu")
    r = small.rank
    A = torch.randn(r, r, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    A = A + A.T
    whole = torch.as_tensor(small.transform(A, None, arm).weights, dtype=torch.float64)
    X, answers = data.named("float64", "cpu")
    eye = torch.eye(P, dtype=torch.float64)
    blocks = () if local is None else tuple(torch.from_numpy(block) for block in local.blocks)
    full = Problem(type(small.loss)(X, answers), blocks, eye, torch.ones(P)).objective(arm)
    assert small.objective(arm)(A).value == pytest.approx(full(whole).value, rel=1e-5)


def test_the_axes_are_orthonormal_and_span_the_rows():
    """Also where rows repeat; with as many rows as columns all columns are kept."""
    X = torch.randn(6, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blocks = [torch.cat([X[:2], torch.randn(3, 20, dtype=torch.float64)])]
    axes, moments = principal_axes(X, blocks)
    assert axes.shape == (20, 12)
    torch.testing.assert_close(axes.T @ axes, torch.eye(12, dtype=torch.float64))
    for rows in (X, blocks[0]):
        torch.testing.assert_close(rows @ axes @ axes.T, rows)
    torch.testing.assert_close((X @ axes).T @ (X @ axes) / 6, torch.diag(moments), atol=1e-9, rtol=0)
    assert principal_axes(X, [torch.randn(13, 20)])[0].shape == (20, 20)


def test_a_reduced_fit_starts_from_a_transform():
    """Started at its own solution it is done at once."""
    data = FitData(OBJECTS, ANSWERS)
    first = fit(data, ARMS["global"])
    again = fit(data, ARMS["global"], start=first.transform)
    assert again.record.evaluations <= 2
    assert again.record.objective == pytest.approx(first.record.objective, rel=1e-5)


def test_rank_is_accepted_and_said_to_be_unnecessary():
    """The old option changes nothing and says so."""
    world = simulated_world(dimensions=32, n_object=2, n_triplets=2000, n_local=10)
    plain = fit_arm(world.objects, world.triplets, method="global")
    with pytest.warns(UnusedWarning, match="rank is no longer needed"):
        given = fit_arm(world.objects, world.triplets, method="global", rank="auto")
    np.testing.assert_array_equal(given.transform.weights, plain.transform.weights)
