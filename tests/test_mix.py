"""The penalty between `naive` and `global`: its convexity, its optima, and every way to
request it.
"""

import math

import numpy as np
import pytest
from fits import fit_arm

from glocal.data.world import simulated_answers, simulated_world
from glocal.errors import TrivialOptimumError
from glocal.evaluation.structure import neighbours_kept
from glocal.objective import ChoiceLoss, Objective
from glocal.similarity import candidate_pairs
from glocal.solver import DualityGap, lambda_max, minimise

P = 6
ODD = candidate_pairs("odd-one-out")
MIXES = [0.2, 0.7, 0.97]
WORLD = simulated_world(dimensions=24, n_object=2, n_triplets=6000, n_local=90)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def root(M):
    values, axes = np.linalg.eigh(M)
    return (axes * np.sqrt(np.maximum(values, 0))) @ axes.T


X = normal(40, P)
LOSS = ChoiceLoss(X, simulated_answers(1.5 * X[:, :2], 1500).objects, ODD)


def arm(lmbda, mix, loss=LOSS):
    return Objective(loss, None, 0.0, lmbda, mix)


def solved(lmbda, mix, loss=LOSS, start=None, tol=1e-12):
    p = loss.X.shape[1]
    start = 0.3 * np.eye(p) if start is None else start
    objective = arm(lmbda, mix, loss)
    return minimise(
        objective, DualityGap(objective), start, np.ones(p), tol=tol, max_evaluations=1000
    )


# its optima


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_a_direction_without_data_sits_where_the_paper_says(share, mix):
    """x = (±1, 0): with W = diag(w, c) the best c is mix w / (2 - mix), and R = 2 (1 - mix) / (2 -
    mix) w². The share q of the softmax at the optimum then is share - λ (1 - mix) / (2 - mix), and
    w² = ½ log(2 q / (1 - q))."""
    x = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    answers = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]], dtype=np.int32)
    loss = ChoiceLoss(x, answers, ODD, np.array([share, (1 - share) / 2, (1 - share) / 2]))
    result = solved(0.1, mix, loss)
    q = share - 0.1 * (1 - mix) / (2 - mix)
    w = math.sqrt(math.log(2 * q / (1 - q)) / 2)
    assert result.status == "converged"
    np.testing.assert_allclose(
        result.W, [[w, 0.0], [0.0, mix * w / (2 - mix)]], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("mix", MIXES)
def test_lambda_max_parts_optima_from_zero(mix):
    """Just below λ_max the optimum is below log 3, and from λ_max on no W is; λ_max lies between
    that of `naive` and its bound.
    """
    largest = lambda_max(LOSS, mix)
    assert lambda_max(LOSS) < largest < lambda_max(LOSS) / (1 - mix)
    assert solved(0.95 * largest, mix).evaluation.value < math.log(3)
    for seed in range(50):
        E = normal(P, P, seed=seed)
        for size in (1e-3, 1e-2, 0.1, 1.0):
            assert arm(largest, mix)(size * root(E @ E.T)).value >= math.log(3) - 1e-12


# every way to ask for it


def fitted(mix, **options):
    return fit_arm(WORLD.objects, WORLD.answers, lmbda=0.1, mix=mix, **options)


def kept(fit):
    X = WORLD.objects.standardization(WORLD.local.matrix, "float64")
    return neighbours_kept(X, fit.transform.apply(WORLD.local.matrix).astype(np.float64))


def test_a_fit_lies_between_naive_and_global():
    """With less mix, fewer neighbours stay and W is smaller, and the record has the mix and, below
    1, λ_max.
    """
    naive = fit_arm(WORLD.objects, WORLD.answers, method="naive", lmbda=0.1)
    between = fitted(0.8)
    shrunk = fitted(1.0)
    assert kept(naive) < kept(between) < kept(shrunk)
    assert np.linalg.norm(naive.transform.weights) < np.linalg.norm(between.transform.weights)
    assert np.linalg.norm(between.transform.weights) < np.linalg.norm(shrunk.transform.weights)
    assert (naive.record.mix, between.record.mix, shrunk.record.mix) == (None, 0.8, 1.0)
    assert between.record.lambda_max > naive.record.lambda_max
    assert shrunk.record.lambda_max is None
    assert between.record.certificate.startswith("global optimum")
    assert between.transform.meta["fit"]["mix"] == 0.8


@pytest.mark.parametrize("local", [None, WORLD.local], ids=["global", "glocal"])
def test_a_lambda_whose_optimum_is_0_is_refused(local):
    """A fit with λ ≥ λ_max is refused, and a `glocal` fit with λ ≥ (1 - α) λ_max, since no cosine
    depends on the scale.
    """
    largest = fitted(0.8).record.lambda_max
    share = 1.0 if local is None else 0.7
    options = {"mix": 0.8} | ({} if local is None else {"local_features": local, "alpha": 0.3})
    with pytest.raises(TrivialOptimumError, match="is W = 0, which maps every image to one point"):
        fit_arm(WORLD.objects, WORLD.answers, lmbda=1.01 * share * largest, **options)
    # closer to λ_max, the local term still pulls W toward 0 along the identity
    below = 0.9 if local is None else 0.2
    result = fit_arm(WORLD.objects, WORLD.answers, lmbda=below * share * largest, **options)
    assert result.record.parts["global"] < math.log(3) - 1e-4
