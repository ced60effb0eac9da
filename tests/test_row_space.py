"""With fewer rows than columns, a fit on the row space equals the fit on all columns, with a known
W off the row space.
"""

import numpy as np
import pytest

from glocal import Answers, Exact, Features, FitData, ObjectiveSettings, simulated_answers
from glocal.aligner.axes import Axes

N = 30
M = 25
P = 90
RNG = np.random.default_rng(0)
MIND = RNG.normal(size=(N, 4))
OBJECTS = Features(np.concatenate([MIND, RNG.normal(size=(N, P - 4))], axis=1))
LOCAL = Features(RNG.normal(size=(M, P)))
ANSWERS = simulated_answers(MIND, 1500)
WEIGHTED = Answers(ANSWERS.objects, np.random.default_rng(1).uniform(0.1, 2, len(ANSWERS)))
SOLVER = Exact(dtype="float64", tol=1e-9)
ARMS = {
    "mixed": ObjectiveSettings("global", lmbda=0.05, mix=0.8),
    "naive": ObjectiveSettings("naive", lmbda=0.1),
    "glocal": ObjectiveSettings("glocal", alpha=0.3, lmbda=0.05, mix=0.8),
}


def all_columns(X, blocks):
    """The axes of a fit that is not reduced to the row space."""
    moments, axes = np.linalg.eigh(X.T @ X / len(X))
    moments = np.maximum(moments, 0)
    return Axes(axes, moments, moments)


@pytest.mark.parametrize("name", ARMS)
def test_the_reduced_fit_is_the_full_fit(name, monkeypatch):
    """A fit in N (+ M) directions has the objective, penalty, certificate and W of the full fit,
    and off the rows W is cI, or 0 for `naive`.
    """
    arm = ARMS[name]
    data = FitData(OBJECTS, WEIGHTED, LOCAL)
    small = SOLVER.solve(data, arm)
    monkeypatch.setattr(Axes, "from_rows", staticmethod(all_columns))
    full = SOLVER.solve(data, arm)
    assert small.converged
    if name == "naive":
        assert small.report.rank == full.report.rank < N
    else:
        assert small.report.rank == N + (M if arm.local else 0)
        assert full.report.rank is None
    assert small.report.objective == pytest.approx(full.report.objective, rel=2 * SOLVER.tol)
    assert small.report.parts["penalty"] == pytest.approx(full.report.parts["penalty"], rel=1e-3)
    assert small.report.certificate == full.report.certificate
    np.testing.assert_allclose(small.transform.weights, full.transform.weights, atol=1e-2)
    used = [OBJECTS, LOCAL][: 1 + arm.local]
    rows = np.concatenate([data.scalars(f.matrix, "float64") for f in used])
    basis = np.linalg.svd(rows)[2].T
    W = basis.T @ small.transform.weights @ basis
    r = len(rows)
    scale = 0.0 if name == "naive" else W[r:, r:].trace() / (P - r)
    assert (scale != 0) == (name != "naive")
    expected = scale * np.eye(P)
    expected[:r, :r] = W[:r, :r]
    np.testing.assert_allclose(W, expected, atol=1e-5)
    if name == "mixed":  # derived on paper: c (1 - mix (p - r) / p) = mix tr W_r / p
        trace = 0.8 * W[:r, :r].trace() / P
        assert scale * (1 - 0.8 * (P - N) / P) == pytest.approx(trace, rel=1e-3)
