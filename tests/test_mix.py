"""The penalty between `naive` and `global`: its formula, its convexity, its optima, and every way to ask for it."""

import json
import math

import numpy as np
import pytest
import torch

from glocal import Aligner
from glocal.aligner import fit_arm
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.world import simulated_answers, simulated_world
from glocal.errors import TrivialOptimumError
from glocal.evaluation.structure import neighbours_kept
from glocal.objective import ChoiceLoss, Objective, Penalty
from glocal.solver import DualityGap, best_scale, lambda_max, minimise
from glocal.suite.plan import Plan

F64 = torch.float64
P = 6
MIXES = [0.2, 0.7, 0.97]
WORLD = simulated_world(dimensions=24, n_object=2, n_triplets=6000, n_local=90)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def penalty(mix, W):
    return Penalty("scaled-identity", mix=mix)(W)[0]


def root(M):
    values, axes = torch.linalg.eigh(M)
    return (axes * values.clamp(min=0).sqrt()) @ axes.T


X = normal(40, P)
LOSS = ChoiceLoss(X, simulated_answers((1.5 * X[:, :2]).numpy(), 1500).answers)


def arm(lmbda, mix, loss=LOSS):
    return Objective(((1.0, loss), (lmbda, Penalty("scaled-identity", mix=mix))))


def solved(lmbda, mix, loss=LOSS, start=None, tol=1e-12):
    start = 0.3 * torch.eye(loss.X.shape[1], dtype=F64) if start is None else start
    objective = arm(lmbda, mix, loss)
    return minimise(objective, (start, None), criterion=DualityGap(objective), tol=tol)


# the penalty


@pytest.mark.parametrize("mix", [0.0, *MIXES, 1.0])
def test_value_and_gradient_are_those_of_the_formula(mix):
    """R = ‖W‖² - mix (tr W)² / p and 2 (W - mix (tr W / p) I), by the formula and by finite differences."""
    W, E = normal(P, P), normal(P, P, seed=1)
    value, dW, _ = Penalty("scaled-identity", mix=mix)(W)
    assert value == pytest.approx(float((W * W).sum() - mix * W.trace() ** 2 / P), rel=1e-12)
    h = 1e-5
    slope = (penalty(mix, W + h * E) - penalty(mix, W - h * E)) / (2 * h)
    assert float((dW * E).sum()) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_ends_are_the_penalties_of_naive_and_of_global(seed):
    """mix 0 is ‖W‖², mix 1 is ‖W - (tr W / p) I‖², and between them R is the straight line."""
    W = normal(P, P, seed=seed)
    naive, shrunk = Penalty("squared-norm")(W)[0], Penalty("scaled-identity")(W)[0]
    assert penalty(0.0, W) == pytest.approx(naive, rel=1e-12)
    assert penalty(1.0, W) == shrunk
    assert penalty(0.3, W) == pytest.approx(0.7 * naive + 0.3 * shrunk, rel=1e-12)


@pytest.mark.parametrize("mix", MIXES)
def test_no_rotation_is_cheaper_than_the_symmetric_form(mix):
    """Among all WQ with the same M = W Wᵀ the penalty is smallest at M^½, where it is tr M - mix (tr M^½)² / p."""
    W = normal(P, P)
    M = W @ W.T
    best = penalty(mix, root(M))
    assert best == pytest.approx(float(M.trace() - mix * root(M).trace() ** 2 / P), rel=1e-10)
    for seed in range(20):
        Q = torch.linalg.qr(normal(P, P, seed=seed))[0]
        assert penalty(mix, W @ Q) >= best - 1e-12


@pytest.mark.parametrize("mix", [*MIXES, 1.0])
def test_the_penalty_is_convex_in_m(mix):
    """Between any two positive semidefinite M, some of low rank, the penalty lies on or below the chord."""
    for seed in range(30):
        A, B = normal(P, 1 + seed % P, seed=seed), normal(P, P, seed=100 + seed)
        M, N = A @ A.T, B @ B.T
        middle = penalty(mix, root((M + N) / 2))
        assert middle <= (penalty(mix, root(M)) + penalty(mix, root(N))) / 2 + 1e-10


# its optima


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_a_direction_without_data_sits_where_the_paper_says(share, mix):
    """x = (±1, 0): with W = diag(w, c) the best c is mix w / (2 - mix), and R = 2 (1 - mix) / (2 - mix) w². The share q
    of the softmax at the optimum then is share - λ (1 - mix) / (2 - mix), and w² = ½ log(2 q / (1 - q))."""
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=F64)
    answers = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]], dtype=np.int32)
    loss = ChoiceLoss(x, answers, np.array([share, (1 - share) / 2, (1 - share) / 2]))
    found = solved(0.1, mix, loss)
    q = share - 0.1 * (1 - mix) / (2 - mix)
    w = math.sqrt(math.log(2 * q / (1 - q)) / 2)
    assert found.converged
    wanted = torch.tensor([[w, 0.0], [0.0, mix * w / (2 - mix)]], dtype=F64)
    torch.testing.assert_close(found.W, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mix", MIXES)
def test_two_starts_agree_and_are_certified(mix):
    """A scaled identity and a random definite start end at the same M, symmetric and definite: a global optimum."""
    E = normal(P, P, seed=4)
    found = [solved(0.05, mix, start=start) for start in (None, E @ E.T / P + 0.1 * torch.eye(P, dtype=F64))]
    assert all(solution.converged for solution in found)
    first, second = (solution.W @ solution.W.T for solution in found)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4 * float(first.abs().max()))


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("lmbda", [0.01, 0.1])
@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_the_estimated_gap_is_near_the_true_one(mix, lmbda, tol):
    """The estimate, with λ mix for λ, is above half the true distance to a much tighter solve."""
    loose, tight = solved(lmbda, mix, tol=tol), solved(lmbda, mix, tol=1e-13)
    assert loose.converged
    assert 0 <= loose.at.value - tight.at.value <= 2 * loose.gap
    assert loose.gap <= tol * loose.at.value


@pytest.mark.parametrize("mix", MIXES)
def test_the_optimum_is_one_by_a_rigorous_bound_too(mix):
    """f - f* ≤ ⟨H, M⟩ + max(0, -λ_min(H)) f / (λ (1 - mix)) with H = ∂f/∂M, since R ≥ (1 - mix) tr M: nearly 0."""
    lmbda = 0.05
    found = solved(lmbda, mix, tol=1e-13)
    w, axes = torch.linalg.eigh(found.W)
    c = float(w.mean())
    H = LOSS.slopes(found.W).M
    H = (H + H.T) / 2 + lmbda * (torch.eye(P, dtype=F64) - mix * c * (axes / w) @ axes.T)
    along = float((H * (found.W @ found.W)).sum())
    missing = max(0.0, -float(torch.linalg.eigvalsh(H)[0])) * found.at.value / (lmbda * (1 - mix))
    assert abs(along) + missing < 2e-4 * found.at.value


@pytest.mark.parametrize("mix", MIXES)
def test_lambda_max_parts_optima_from_zero(mix):
    """Just below λ_max the optimum is below log 3; from λ_max on no W is; and it lies between naive's and its bound."""
    largest = lambda_max(LOSS, mix)
    assert lambda_max(LOSS) < largest < lambda_max(LOSS) / (1 - mix)
    assert solved(0.95 * largest, mix).at.value < math.log(3)
    for seed in range(50):
        E = normal(P, P, seed=seed)
        for size in (1e-3, 1e-2, 0.1, 1.0):
            assert arm(largest, mix)(size * root(E @ E.T)).value >= math.log(3) - 1e-12
    assert solved(1.2 * largest, mix, tol=1e-9).at.value >= math.log(3) - 1e-9


def test_lambda_max_in_one_dimension():
    """With p = 1 the penalty is (1 - mix) w², so λ_max is that of naive over 1 - mix."""
    loss = ChoiceLoss(X[:, :1].contiguous(), LOSS.given[0])
    assert lambda_max(loss, 0.7) == pytest.approx(lambda_max(loss) / 0.3, rel=1e-9)


@pytest.mark.parametrize("mix", MIXES)
def test_the_start_is_the_best_scaled_identity_under_the_penalty(mix):
    """The start minimises L(cI) + λ (1 - mix) c² p: a few percent beside it the objective is higher."""
    c, eye = best_scale(LOSS, Penalty("scaled-identity", mix=mix), 0.02), torch.eye(P, dtype=F64)
    at = arm(0.02, mix)(c * eye).value
    assert at <= min(arm(0.02, mix)(factor * c * eye).value for factor in (0.97, 1.03))


# every way to ask for it


def fitted(mix, **options):
    return fit_arm(WORLD.objects, WORLD.triplets, lmbda=0.1, mix=mix, **options)


def kept(fit):
    X = WORLD.objects.standardization(WORLD.local.matrix, "float64")
    return neighbours_kept(X, fit.transform.apply(WORLD.local.matrix).astype(np.float64))


def test_a_fit_lies_between_naive_and_global():
    """Less mix, less of the neighbours and a smaller W; the record has the mix and, below 1, λ_max."""
    naive = fit_arm(WORLD.objects, WORLD.triplets, method="naive", lmbda=0.1)
    between, shrunk = fitted(0.8), fitted(1.0)
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
    """From λ_max on the fit is refused; for glocal from (1 - alpha) λ_max, since no cosine depends on the scale."""
    largest = fitted(0.8).record.lambda_max
    share = 1.0 if local is None else 0.7
    options = {"mix": 0.8, "local_features": local, "alpha": 0.3}
    with pytest.raises(TrivialOptimumError, match="is W = 0, which maps every image to one point"):
        fit_arm(WORLD.objects, WORLD.triplets, lmbda=1.01 * share * largest, **options)
    below = 0.9 if local is None else 0.2  # nearer to it the local term still draws W toward 0 along the identity
    found = fit_arm(WORLD.objects, WORLD.triplets, lmbda=below * share * largest, **options)
    assert found.record.parts["global"] < math.log(3) - 1e-4


def test_off_the_row_space_w_is_one_scale_known_on_paper():
    """With p > n, W = cI off the rows with c (1 - mix (p - r) / p) = mix tr W_r / p."""
    rng = np.random.default_rng(0)
    mind = rng.normal(size=(20, 4))
    features = Features(np.concatenate([mind, rng.normal(size=(20, 46))], axis=1))
    mix, p = 0.9, 50
    fit = fit_arm(features, simulated_answers(mind, 2000), lmbda=0.05, mix=mix, dtype="float64", tol=1e-9)
    W = fit.transform.weights.astype(np.float64)
    V = np.linalg.svd(features.standardization(features.matrix, "float64"))[2]
    r = 20
    off = V[r:] @ W @ V[r:].T
    c = mix * np.trace(V[:r] @ W @ V[:r].T) / p / (1 - mix * (p - r) / p)
    assert fit.record.converged
    np.testing.assert_allclose(off, c * np.eye(p - r), atol=2e-3 * c)


def test_the_estimator_passes_it_on_and_keeps_it(tmp_path):
    """Aligner(mix=) fits what fit_arm fits, and a saved one comes back with it."""
    aligner = Aligner(lmbda=0.1, mix=0.8).fit(WORLD.objects.matrix, WORLD.triplets)
    np.testing.assert_array_equal(aligner.transform_.weights, fitted(0.8).transform.weights)
    aligner.save(tmp_path / "t.npz")
    assert Aligner.load(tmp_path / "t.npz").mix == 0.8


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mix")
    np.save(folder / "x.npy", WORLD.objects.matrix)
    np.save(folder / "t.npy", WORLD.triplets.answers)
    np.save(folder / "l.npy", WORLD.local.matrix)
    return folder


def test_the_command_line_has_it(files, tmp_path, capsys):
    """fit --mix is on record, and a mix of 0 is refused with the way out."""
    given = ["fit", "--features", str(files / "x.npy"), "--triplets", str(files / "t.npy")]
    assert execute([*given, "--mix", "0.8", "--out", str(tmp_path / "t.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mix"] == 0.8
    assert execute([*given, "--mix", "0", "--out", str(tmp_path / "u.npz")]) == 1
    assert "0 is method naive" in capsys.readouterr().err


def test_an_arm_of_a_suite_may_have_it(tmp_path):
    """mix is a setting of an arm."""
    text = (
        '[networks.n]\nfeatures = "x.npy"\n[answers]\ntriplets = "t.npy"\n'
        '[arms.between]\nmethod = "global"\nmix = 0.9\n[tasks.o]\nkind = "odd-one-out"\n'
    )
    (tmp_path / "suite.toml").write_text(text)
    assert Plan.load(tmp_path / "suite.toml").arms[0].settings["mix"] == 0.9
