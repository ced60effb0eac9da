"""Each term of the objective against explicit loops and finite differences, and its invariances."""

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import oracle
import pytest
import world
from world import matrix, normal

from glocal.objective import ChoiceLoss, LocalLoss, Objective, Workers, choices, penalty
from glocal.similarity import candidate_pairs

N = 14
P = 5
T = 90
ODD = candidate_pairs("odd-one-out")
THREE = Workers(3)


X = normal(N, P)
W = 0.5 * normal(P, P, seed=1)
ANSWERS = world.answers(T, N).objects
WEIGHTS = np.random.default_rng(1).integers(0, 4, T).astype(float)
BLOCKS = [normal(size, P, seed=10 + size) for size in (9, 8, 5)]
IMAGES = np.concatenate(BLOCKS)
LOCAL = LocalLoss(BLOCKS, 0.2)

PASSES = ["plain", "compiled", "gathered"]
every_pass = pytest.mark.parametrize("one_pass", PASSES)
# NOTE each dtype and number of pairs is compiled anew; five pairs are compiled for float32 alone
every_case = pytest.mark.parametrize(
    "one_pass, kind", [("plain", "nearest-of-n"), *((name, "odd-one-out") for name in PASSES)]
)


@pytest.fixture
def loss_by(monkeypatch):
    """A loss that uses one of the three passes over the answers, whatever the sizes are."""

    def make(one_pass, X, objects=ANSWERS, weights=None, kind="odd-one-out", workers=THREE):
        limits = {"compiled": "_MIN_COMPILED_ANSWERS", "gathered": "_MAX_GRAM_OBJECTS"}
        for name, limit in limits.items():
            monkeypatch.setattr(choices, limit, 0 if one_pass == name else 10**9)
        objects = np.asarray(objects, dtype=np.int32)
        pairs = candidate_pairs(kind, objects.shape[1])
        return ChoiceLoss(X, objects, pairs, weights, workers=workers)

    return make


def numpy_loss(X, objects=ANSWERS, weights=None):
    return ChoiceLoss(X, np.asarray(objects, dtype=np.int32), ODD, weights)


def assert_gradient(function, W):
    """Assert that slopes along random directions are those of central differences."""
    dW = function(W)[1]
    for seed in range(4):
        E = 1e-5 * normal(*W.shape, seed=seed)
        slope = (function(W + E)[0] - function(W - E)[0]) / 2
        assert np.vdot(dW, E) == pytest.approx(slope, rel=1e-5, abs=1e-13)


# L_global


@every_case
def test_the_loss_is_as_defined_and_its_derivatives_those_of_differences(loss_by, one_pass, kind):
    """L_global is the weighted mean of -log softmax at people's pair, for every kind and pass;
    ∂L/∂M is symmetric, ∂L/∂W = 2 ∂L/∂M W, and derivatives equal differences, along the scale too.
    """
    objects = world.answers(T, N, kind).objects
    loss = loss_by(one_pass, X, objects, WEIGHTS, kind)
    expected = float(oracle.global_loss(X @ W, objects, WEIGHTS, kind))
    for _ in range(2):  # the second call starts with the gradients of the first in its buffers
        assert loss(W)[0] == pytest.approx(expected, rel=1e-12)
    assert_gradient(loss, W)
    sums, dM = loss.derivatives(W)
    np.testing.assert_allclose(dM, dM.T)
    np.testing.assert_allclose(2 * dM @ W, loss(W)[1], atol=1e-12)
    assert sums.slope == pytest.approx(float(np.sum(dM * (W @ W.T))))
    sums_at = loss.at(X @ W)
    step = 1e-4
    for m in (0.3, 1.0, 2.0):
        below, center, above = (loss(math.sqrt(m + e) * W)[0] for e in (-step, 0.0, step))
        scaled = sums_at(m)
        assert scaled.slope / m == pytest.approx((above - below) / (2 * step), rel=1e-5)
        second = (above - 2 * center + below) / step**2
        assert scaled.curvature / m**2 == pytest.approx(second, rel=1e-4)
    assert sums_at(1.0)[1:3] == pytest.approx(sums[1:3])


@pytest.mark.parametrize("kind", ["odd-one-out", "nearest-of-n"])
@every_pass
@pytest.mark.parametrize("size", [(300, 1), pytest.param((1100, 9000), marks=pytest.mark.nightly)])
def test_float32_is_float64_to_its_accuracy(loss_by, one_pass, kind, size):
    """Value and gradient of float32 features are float32, and equal those of float64 over chunks,
    blocks and threads.
    """
    n, t = size
    data = (world.answers(t, n, kind).objects, normal(t, seed=8) ** 2, kind)
    X = normal(n, P, seed=6)
    exact, exact_dW = loss_by("plain", X, *data)(W)
    for threads in (1, 2, 3):
        loss = loss_by(one_pass, X.astype("f4"), *data, Workers(threads))
        value, dW = loss(W.astype("f4"))
        assert type(value) is float
        assert dW.dtype == "f4"
        assert value == pytest.approx(exact, rel=2e-6)
        np.testing.assert_allclose(dW, exact_dW, rtol=1e-4, atol=2e-6 * np.abs(exact_dW).max())


@pytest.mark.parametrize("t, gathered", [(8, True), (9, False)])
def test_rows_are_gathered_where_there_are_few_answers_for_many_objects(monkeypatch, t, gathered):
    """Rows are gathered if an n × n matrix has above eight entries for each candidate pair, but
    never for a small problem.
    """
    assert not numpy_loss(X, ANSWERS[:t]).gathered
    monkeypatch.setattr(choices, "_MIN_GATHERED_PRODUCT", N * N * P - 1)
    assert numpy_loss(X, ANSWERS[:t]).gathered == gathered


@pytest.mark.nightly
def test_a_second_process_compiles_nothing(tmp_path):
    """The compiled pass is read from the folder of the cache, to which no file is added."""
    script = """if True:
        import numpy as np; from glocal.objective import ChoiceLoss, choices
        choices._MIN_COMPILED_ANSWERS = 0
        ChoiceLoss(np.eye(3), np.array([[0, 1, 2]]), ((0, 1), (0, 2), (1, 2)))(np.eye(3))"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    files = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        files.append(set(tmp_path.rglob("*.nb?")))
    assert files[0] == files[1] != set()


@every_pass
def test_two_threads_on_one_loss_have_the_numbers_of_one(loss_by, one_pass):
    """A loss keeps no state of an evaluation: two threads that evaluate it at once get their own
    values and gradients, to the last digit.
    """
    together = Barrier(2, timeout=60)

    class InStep(Workers):
        def map(self, function, *pieces):
            results = super().map(function, *pieces)
            together.wait()
            return results

        def product(self, A, B):
            together.wait()
            return super().product(A, B)

    points = [W, normal(P, P, seed=5)]
    expected = [loss_by(one_pass, X, workers=Workers(1))(point) for point in points]
    loss = loss_by(one_pass, X, workers=InStep(1))
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_equal(list(pool.map(loss, points)), expected)


@pytest.mark.nightly
@every_pass
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_losses_of_any_size_have_their_digits(loss_by, one_pass, dtype):
    """The loss of a clear answer, 2 e^-gap, has full relative accuracy, and similarities of 1e4 do
    not overflow.
    """
    identity = np.eye(2, dtype=dtype)
    for gap in (*range(0, 30, 3), 60, 87):  # S_01 = gap, the others 0
        rows = np.array([[gap, 1], [1, 0], [0, 0]], dtype=dtype)
        value, dW = loss_by(one_pass, rows, [[0, 1, 2]])(identity)
        assert value == pytest.approx(math.log1p(2 * math.exp(-gap)), rel=1e-5, abs=0)
        slope = -4 * gap * math.exp(-gap) / (1 + 2 * math.exp(-gap))
        assert dW[0, 0] == pytest.approx(slope, rel=1e-5, abs=0)
    rows = matrix("100 0; 100 1; -100 30", dtype)
    value, dW = loss_by(one_pass, rows, [[0, 1, 2], [0, 2, 1]])(identity)
    assert value == pytest.approx(1e4, rel=1e-6)  # the losses are 0 and 2e4
    assert np.isfinite(dW).all()


def test_a_step_far_too_long_is_infinite_not_nan():
    """If even the squared length of an object overflows, the value is infinite, which the solver
    can handle.
    """
    objective = Objective(numpy_loss(X.astype("f4")), None, 0.0, 0.1, 1.0)
    assert objective(1e25 * np.eye(P, dtype="f4")).value == math.inf


# L_local


@pytest.mark.parametrize("tau, threads", [(0.02, 1), (0.25, 5), (30.0, 2)])
def test_the_local_loss_is_as_defined_and_its_gradient_that_of_differences(tau, threads):
    """L_local is the mean over images, in blocks of unequal sizes, of the cross-entropy between
    both softmaxes, least at every scaled identity; float32 agrees to its accuracy.
    """
    loss = LocalLoss(BLOCKS, tau, workers=Workers(threads))
    parts = np.split(np.arange(22), [9, 17])
    for point, is_least in ((np.eye(P), True), (-3.0 * np.eye(P), True), (W, False)):
        value, dW = loss(point)
        expected = oracle.local_loss(IMAGES, IMAGES @ point, tau, parts)
        assert value == pytest.approx(float(expected), rel=1e-11)
        assert (np.abs(dW).max() < 1e-12) == is_least
    assert_gradient(loss, W)
    single, single_dW = LocalLoss([block.astype("f4") for block in BLOCKS], tau)(W.astype("f4"))
    assert single == pytest.approx(value, rel=1e-5)
    assert single_dW.dtype == "f4"
    np.testing.assert_allclose(single_dW, dW, rtol=1e-3, atol=1e-4 * np.abs(dW).max())


def test_an_image_of_zeros_gives_no_nan():
    """Value and gradient stay finite for an image that is mapped to exactly 0, which
    has no direction.
    """
    value, dW = LocalLoss([np.vstack([BLOCKS[0], np.zeros(P)])], 0.25)(W)
    assert np.isfinite([value, *dW.flat]).all()


# penalties and sums


@pytest.mark.parametrize("mix", [0.0, 0.7, 1.0])
def test_the_penalty_is_its_formula_and_its_gradient_that_of_differences(mix):
    """R = mix ‖W - cI‖² + (1 - mix) ‖W‖² leaves W unchanged, and is (1 - mix) p c² for a scaled
    identity.
    """
    before = W.copy()
    rest = W - np.trace(W) / P * np.eye(P)
    expected = mix * np.sum(rest**2) + (1 - mix) * np.sum(W**2)
    assert penalty(W, mix)[0] == pytest.approx(expected, rel=1e-13)
    assert_gradient(lambda W: penalty(W, mix), W)
    np.testing.assert_array_equal(W, before)
    assert penalty(-2.5 * np.eye(P), mix)[0] == pytest.approx((1 - mix) * P * 6.25)


def test_an_objective_is_the_weighted_sum_of_its_terms():
    """Value and gradient are the weighted sums, and the parts the unweighted values."""
    loss = numpy_loss(X, ANSWERS, WEIGHTS)
    objective = Objective(loss, LOCAL, 0.3, 0.7, 0.9)
    parts = {"global": loss(W)[0], "local": LOCAL(W)[0], "penalty": penalty(W, 0.9)[0]}
    assert objective(W).parts == parts
    assert objective(W).value == pytest.approx(np.dot([0.7, 0.3, 0.7], list(parts.values())))
    assert_gradient(lambda W: objective(W)[::2], W)
