"""Each term against explicit loops, autograd and finite differences, and what leaves it unchanged."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from glocal.data.answers import Answers
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty, choice_kernel, weighted

F64 = torch.float64
N, P, T = 14, 5, 90


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def answers_of(n, t, seed=0):
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(n)[:3] for _ in range(t)], dtype=np.int32)


def parts_of(answers):
    return Answers(answers).parts


X = normal(N, P)
W = normal(P, P, seed=1, scale=0.5)
B = normal(P, seed=2, scale=0.5)
ANSWERS = answers_of(N, T)
WEIGHTS = np.random.default_rng(1).integers(0, 4, T).astype(float)
BLOCKS = [normal(size, P, seed=10 + size) for size in (9, 8, 5)]

weighting = pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
biased = pytest.mark.parametrize("b", [None, B], ids=["no-bias", "bias"])


def loop_triplet_loss(X, W, b, answers, weights):
    """L_global by plain Python."""
    Z = (X @ W if b is None else X @ W + b).tolist()
    total = 0.0
    for (i, j, k), w in zip(answers.tolist(), weights.tolist(), strict=True):
        ab, ao, bo = (sum(x * y for x, y in zip(Z[r], Z[c], strict=True)) for r, c in ((i, j), (i, k), (j, k)))
        total -= w * math.log(math.exp(ab) / (math.exp(ab) + math.exp(ao) + math.exp(bo)))
    return total / float(weights.sum())


def loop_local_loss(blocks, W, b, tau):
    """L_local by plain Python."""
    total, images = 0.0, 0
    for X in blocks:
        rows = [X.tolist(), (X @ W if b is None else X @ W + b).tolist()]
        for i in range(len(X)):
            choices = []
            for R in rows:
                others = [j for j in range(len(X)) if j != i]
                cosines = [
                    sum(x * y for x, y in zip(R[i], R[j], strict=True)) / math.hypot(*R[i]) / math.hypot(*R[j])
                    for j in others
                ]
                top = max(cosines)
                scores = [math.exp((c - top) / tau) for c in cosines]
                choices.append([s / sum(scores) for s in scores])
            total -= sum(p * math.log(q) for p, q in zip(*choices, strict=True))
        images += len(X)
    return total / images


def torch_triplet_loss(X, W, b, answers, weights=None):
    """L_global as one differentiable expression."""
    Z = X @ W if b is None else X @ W + b
    S = Z @ Z.T
    i, j, k = torch.as_tensor(answers.T.copy()).long()
    losses = -torch.log_softmax(torch.stack([S[i, j], S[i, k], S[j, k]]), dim=0)[0]
    w = torch.ones_like(losses) if weights is None else torch.as_tensor(weights, dtype=losses.dtype)
    return (w * losses).sum() / w.sum()


def torch_local_loss(blocks, W, b, tau):
    """L_local as one differentiable expression."""
    total = torch.zeros((), dtype=W.dtype)
    for X in blocks:
        logs = []
        for R in (X, X @ W if b is None else X @ W + b):
            unit = torch.nn.functional.normalize(R, dim=1)
            off = ~torch.eye(len(X), dtype=torch.bool)
            logs.append(torch.log_softmax((unit @ unit.T / tau)[off].view(len(X), -1), dim=1))
        total = total - (logs[0].exp() * logs[1]).sum()
    return total / sum(len(X) for X in blocks)


def assert_gradient(term, reference, W, b, rtol=1e-9):
    """Value and gradient of a term equal autograd of the reference, and central differences of the term itself."""
    value, dW, db = term(W, b)
    W_, b_ = W.clone().requires_grad_(), None if b is None else b.clone().requires_grad_()
    expected = reference(W_, b_)
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=rtol)
    torch.testing.assert_close(dW, W_.grad, rtol=1e-7, atol=1e-9)
    assert (db is None) == (b is None)
    if b is not None:
        torch.testing.assert_close(db, b_.grad, rtol=1e-7, atol=1e-9)
    step = 1e-5
    for index in range(W.numel()):
        E = torch.zeros_like(W).view(-1)
        E[index] = step
        E = E.view_as(W)
        difference = (term(W + E, b)[0] - term(W - E, b)[0]) / (2 * step)
        assert float(dW.reshape(-1)[index]) == pytest.approx(difference, rel=1e-5, abs=1e-7)
    for index in range(0 if b is None else len(b)):
        e = torch.zeros_like(b)
        e[index] = step
        difference = (term(W, b + e)[0] - term(W, b - e)[0]) / (2 * step)
        assert float(db[index]) == pytest.approx(difference, rel=1e-5, abs=1e-7)


def value(term, W, b=None):
    return term(W, b)[0]


# L_global


@weighting
@biased
def test_triplet_loss_equals_explicit_loops(weights, b):
    """L_global is the weighted mean of -log softmax of the three dot products at people's pair."""
    wanted = loop_triplet_loss(X, W, b, ANSWERS, np.ones(T) if weights is None else weights)
    assert value(ChoiceLoss(X, ANSWERS, weights), W, b) == pytest.approx(wanted, rel=1e-12)


@weighting
@biased
@pytest.mark.parametrize("gathered", [False, True], ids=["gram", "gathered"])
def test_triplet_gradient_is_the_derivative(weights, b, gathered):
    """The gradient through the Gram matrix, and that of gathered rows, equal autograd and finite differences."""
    loss = ChoiceLoss(X, ANSWERS, weights, gathered=gathered)
    assert_gradient(loss, lambda W, b: torch_triplet_loss(X, W, b, ANSWERS, weights), W, b)


def test_a_rectangular_map_has_a_gradient():
    """The loss takes W of any number of columns, as the low-rank solver needs."""
    V = normal(P, 2, seed=5)
    assert_gradient(ChoiceLoss(X, ANSWERS), lambda W, b: torch_triplet_loss(X, W, b, ANSWERS), V, None)


def test_many_objects_use_the_same_gradient():
    """From 1024 objects on only the upper blocks of the Gram matrix are computed, and nothing changes."""
    X, W = normal(1100, 3, seed=3), normal(3, 3, seed=4)
    answers = answers_of(1100, 400, seed=5)
    value, dW, _ = ChoiceLoss(X, answers)(W, None)
    W_ = W.clone().requires_grad_()
    expected = torch_triplet_loss(X, W_, None, answers)
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(dW, W_.grad, rtol=1e-9, atol=1e-11)


@weighting
@biased
@pytest.mark.parametrize(("n", "t"), [(N, 3 * choice_kernel._CHUNK + 77), (300, 1), (1100, 5000)])
def test_the_compiled_kernel_equals_float64(weights, b, n, t):
    """The compiled float32 pass gives value and gradient of the float64 expression to float32 accuracy."""
    X, answers = normal(n, P, seed=6), answers_of(n, t, seed=7)
    weights = None if weights is None else np.random.default_rng(8).uniform(0.1, 3, t)
    loss = ChoiceLoss(X.float(), answers, weights, compiled=True)
    assert loss._kernel is not None
    W_ = W.clone().requires_grad_()
    b_ = None if b is None else b.clone().requires_grad_()
    expected = torch_triplet_loss(X, W_, b_, answers, weights)
    expected.backward()
    for _ in range(2):  # the second call finds the gradients of the first in its buffers
        value, dW, db = loss(W.float(), None if b is None else b.float())
        assert value == pytest.approx(float(expected.detach()), rel=2e-6)
        torch.testing.assert_close(dW.double(), W_.grad, rtol=1e-4, atol=2e-6 * float(W_.grad.abs().max()))
        if b is not None:
            torch.testing.assert_close(db.double(), b_.grad, rtol=1e-4, atol=2e-6 * float(b_.grad.abs().max()))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_compiled_kernel_does_not_depend_on_threads(threads):
    """Each thread adds to a gradient of its own: the sum is that of one thread, whatever the number."""
    answers = answers_of(40, 3000, seed=9)
    S = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    S = S + S.T
    one, G = choice_kernel.ChoiceKernel(parts_of(answers), None, 40, 1)(S)
    G = G.copy()
    total, G_threads = choice_kernel.ChoiceKernel(parts_of(answers), None, 40, threads)(S)
    assert total == pytest.approx(one, rel=1e-6)
    np.testing.assert_allclose(G_threads, G, atol=1e-4)
    assert not np.tril(G_threads).any()  # the gradient is in the upper triangle


def test_the_compiled_logarithm_and_exponential_are_accurate():
    """The kernel's softmax loss agrees with float64 over the whole range of differences, also where e^x underflows."""
    gaps = np.concatenate([[0.0, 87.0, 88.0, 100.0, 1e4], np.linspace(0, 40, 400)]).astype(np.float32)
    for sign in (1, -1):
        for gap in gaps[::7]:
            S = np.zeros((3, 3), dtype=np.float32)
            S[0, 1] = sign * gap
            total, G = choice_kernel.ChoiceKernel(parts_of(np.array([[0, 1, 2]], dtype=np.int32)), None, 3, 1)(S)
            exact = np.float64(S[0, 1])
            top = max(exact, 0.0)
            z = math.exp(exact - top) + 2 * math.exp(-top)
            assert total == pytest.approx(top + math.log(z) - exact, rel=1e-6, abs=1e-6)
            assert G[0, 1] == pytest.approx(-2 * math.exp(-top) / z, rel=1e-5, abs=1e-7)
            assert G[0, 2] == G[1, 2] == pytest.approx(math.exp(-top) / z, rel=1e-5, abs=1e-7)


def test_the_cache_order_is_a_permutation_by_tiles():
    """Answers are only reordered: each stays, and answers of the same three tiles lie together."""
    answers = answers_of(700, 2000, seed=3)
    order = choice_kernel.cache_order(answers, 700)
    assert sorted(order.tolist()) == list(range(2000))
    tiles = [tuple(row) for row in np.sort(answers[order] // 128, axis=1).tolist()]
    assert len(set(tiles)) == 1 + sum(first != second for first, second in pairwise(tiles))


@pytest.mark.parametrize("path", ["gram", "gathered", "kernel"])
def test_an_integer_weight_equals_copies(path):
    """Value and gradient under integer weights are those of the answers copied, on each path."""
    dtype = torch.float32 if path == "kernel" else F64
    how = {"gathered": path == "gathered", "compiled": path == "kernel"}
    weighted = ChoiceLoss(X.to(dtype), ANSWERS, WEIGHTS, **how)(W.to(dtype), None)
    copied = ChoiceLoss(X.to(dtype), np.repeat(ANSWERS, WEIGHTS.astype(int), axis=0), **how)(W.to(dtype), None)
    tolerance = 1e-5 if path == "kernel" else 1e-12
    assert weighted[0] == pytest.approx(copied[0], rel=tolerance)
    torch.testing.assert_close(weighted[1], copied[1], rtol=tolerance, atol=tolerance)


def test_a_soft_answer_is_the_cross_entropy():
    """Three rows weighted by probabilities give the cross-entropy with those probabilities."""
    Z = X @ W
    S = [float(Z[i] @ Z[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    log_sum = math.log(sum(map(math.exp, S)))
    probabilities = [0.5, 0.3, 0.2]
    wanted = sum(p * (log_sum - s) for p, s in zip(probabilities, S, strict=True))
    soft = ChoiceLoss(X, np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]], dtype=np.int32), np.array(probabilities))
    assert value(soft, W) == pytest.approx(wanted, rel=1e-12)


def test_triplet_loss_is_log_3_where_nothing_is_told_apart():
    """With W = 0 every choice has probability 1/3: the loss is log 3 and the gradient 0."""
    value, dW, _ = ChoiceLoss(X, ANSWERS)(torch.zeros(P, P, dtype=F64))
    assert value == pytest.approx(math.log(3), rel=1e-14)
    assert not dW.any()


def test_relabelling_objects_changes_nothing():
    """Rows and answers permuted together give the same value and gradient."""
    order = np.random.default_rng(0).permutation(N)
    relabelled = ChoiceLoss(X[np.argsort(order)], order[ANSWERS].astype(np.int32), WEIGHTS)(W, B)
    for ours, theirs in zip(relabelled[1:], ChoiceLoss(X, ANSWERS, WEIGHTS)(W, B)[1:], strict=True):
        torch.testing.assert_close(ours, theirs)
    assert relabelled[0] == pytest.approx(value(ChoiceLoss(X, ANSWERS, WEIGHTS), W, B), rel=1e-13)


def test_exchanging_the_pair_or_shuffling_answers_changes_nothing():
    """The pair has no order, and neither have the answers."""
    order = np.random.default_rng(1).permutation(T)
    other = ChoiceLoss(X, ANSWERS[order][:, [1, 0, 2]], WEIGHTS[order])
    assert value(other, W) == pytest.approx(value(ChoiceLoss(X, ANSWERS, WEIGHTS), W), rel=1e-13)


def test_rotating_w_changes_nothing():
    """Losses depend on W through W Wᵀ: W → WQ and b → bQ leave the value, and turn the gradient along."""
    Q = torch.linalg.qr(normal(P, P, seed=7))[0]
    for term in (ChoiceLoss(X, ANSWERS), LocalLoss(BLOCKS, 0.3)):
        turned, dW, db = term(W @ Q, B @ Q)
        value, dW_before, db_before = term(W, B)
        assert turned == pytest.approx(value, rel=1e-12)
        torch.testing.assert_close(dW, dW_before @ Q)
        torch.testing.assert_close(db, db_before @ Q)


def test_rotating_the_features_turns_w():
    """In axes XU the map UᵀW gives the same losses: the fit may run in principal axes."""
    U = torch.linalg.qr(normal(P, P, seed=8))[0]
    pairs = [
        (ChoiceLoss(X @ U, ANSWERS), ChoiceLoss(X, ANSWERS)),
        (LocalLoss([block @ U for block in BLOCKS], 0.3), LocalLoss(BLOCKS, 0.3)),
    ]
    for turned, term in pairs:
        assert value(turned, U.T @ W) == pytest.approx(value(term, W), rel=1e-12)
    for kind in ("scaled-identity", "squared-norm", "norm"):
        assert value(Penalty(kind), U.T @ W @ U) == pytest.approx(value(Penalty(kind), W), rel=1e-12)


def test_shifting_features_is_a_bias():
    """Features moved by a constant vector d are those with bias d W: standardizing the mean loses nothing to b."""
    d = normal(P, seed=9)
    for shifted, term in (
        (ChoiceLoss(X + d, ANSWERS), ChoiceLoss(X, ANSWERS)),
        (ChoiceLoss(X + d, ANSWERS, WEIGHTS), ChoiceLoss(X, ANSWERS, WEIGHTS)),
    ):
        assert value(shifted, W, B) == pytest.approx(value(term, W, B + d @ W), rel=1e-12)


def test_one_similarity_more_on_all_pairs_changes_nothing():
    """Adding a constant to every entry of S leaves the loss: softmax sees differences alone."""
    loss = ChoiceLoss(X, ANSWERS, WEIGHTS)
    S = X @ X.T
    assert loss.of_gram(S + 3.0)[0] == pytest.approx(loss.of_gram(S)[0], rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("path", ["gram", "gathered", "kernel"])
def test_huge_similarities_do_not_overflow(dtype, path):
    """Similarities of 1e4 and more give the finite loss max(S) - S_ab and a finite gradient on each path."""
    rows = torch.tensor([[100.0, 0.0], [100.0, 1.0], [-100.0, 30.0]], dtype=dtype)
    how = {"gathered": path == "gathered", "compiled": path == "kernel"}
    loss = ChoiceLoss(rows, np.array([[0, 1, 2], [0, 2, 1]], dtype=np.int32), **how)
    value, dW, _ = loss(torch.eye(2, dtype=dtype))
    # S_01 = 1e4, S_02 = -1e4: the first answer costs 0, the second 2e4
    assert value == pytest.approx(1e4, rel=1e-6)
    assert torch.isfinite(dW).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("how", [(False, False), (True, False), (False, True), (True, True)])
def test_the_small_losses_of_clear_answers_are_not_lost_beside_1(dtype, how):
    """The loss 2 e^-gap of a clear answer has as many digits as others, and so has each of its slopes."""
    gathered, compiled = how
    for gap in (0.0, 1.0, 12.0, 25.0, 60.0):
        rows = torch.tensor([[gap, 1.0], [1.0, 0.0], [0.0, 0.0]], dtype=dtype)  # S_01 = gap, the others 0
        loss = ChoiceLoss(rows, np.array([[0, 1, 2]], dtype=np.int32), gathered=gathered, compiled=compiled)
        value, dW, _ = loss(torch.eye(2, dtype=dtype))
        assert value == pytest.approx(math.log1p(2 * math.exp(-gap)), rel=1e-5, abs=0)
        chosen = -2 * math.exp(-gap) / (1 + 2 * math.exp(-gap))
        assert dW[0, 0].item() == pytest.approx(2 * gap * chosen, rel=1e-5, abs=0)


def test_a_step_far_too_long_is_infinite_not_nan():
    """Where even the squared length of an object overflows, the value is infinite, which a line search understands."""
    at = Objective(((1.0, ChoiceLoss(X.float(), ANSWERS)),))(1e25 * torch.eye(P))
    assert at.value == math.inf
    assert not at.finite


@weighting
def test_the_double_of_a_loss_is_the_same_loss(weights):
    """`double` gives the same function in float64."""
    single = ChoiceLoss(X.float(), ANSWERS, weights)
    double = single.double()
    assert double.X.dtype == F64
    assert value(double, W) == pytest.approx(value(ChoiceLoss(X.float().double(), ANSWERS, weights), W), rel=1e-14)
    assert double.double() is double


@weighting
@biased
@pytest.mark.parametrize("gathered", [False, True], ids=["gram", "gathered"])
def test_the_moment_gradient_is_the_slope_in_m(weights, b, gathered):
    """⟨∂L/∂M, vvᵀ⟩ is the slope of L along M + s vvᵀ, and ∂L/∂W = 2 ∂L/∂M W without a bias."""
    loss = ChoiceLoss(X, ANSWERS, weights, gathered=gathered)
    H = loss.slopes(W, b).M
    torch.testing.assert_close(H, H.T)
    if b is None:
        torch.testing.assert_close(2 * H @ W, loss(W)[1])
    v = normal(P, 1, seed=12)
    s = 1e-5
    # a further column √s v of W adds s vvᵀ to M; a bias has no entry there
    longer = torch.cat([W, math.sqrt(s) * v], dim=1)
    b_longer = None if b is None else torch.cat([b, torch.zeros(1, dtype=F64)])
    slope = (value(loss, longer, b_longer) - value(loss, W, b)) / s
    assert float((v.T @ H @ v).squeeze()) == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_triplet_loss_is_convex_in_m():
    """Along a line between two positive semidefinite M the loss lies below its chord."""
    loss = ChoiceLoss(X, ANSWERS)
    ends = [normal(P, P, seed=s) for s in (20, 21)]
    M = [E @ E.T for E in ends]
    for t in (0.2, 0.5, 0.8):
        middle = torch.linalg.cholesky((1 - t) * M[0] + t * M[1])
        chord = (1 - t) * value(loss, ends[0]) + t * value(loss, ends[1])
        assert value(loss, middle) < chord


# L_local


@biased
@pytest.mark.parametrize("tau", [0.02, 0.25, 30.0])
def test_local_loss_equals_explicit_loops(b, tau):
    """L_local is the mean over images, in blocks of unequal sizes, of the cross-entropy of the two softmaxes."""
    assert value(LocalLoss(BLOCKS, tau), W, b) == pytest.approx(loop_local_loss(BLOCKS, W, b, tau), rel=1e-11)


@biased
@pytest.mark.parametrize("tau", [0.02, 0.25, 30.0])
def test_local_gradient_is_the_derivative(b, tau):
    """The gradient of L_local equals autograd and finite differences for sharp and flat neighbourhoods."""
    assert_gradient(LocalLoss(BLOCKS, tau), lambda W, b: torch_local_loss(BLOCKS, W, b, tau), W, b)


@pytest.mark.parametrize("tau", [0.02, 0.25])
def test_local_loss_in_float32_is_that_of_float64(tau):
    """Value and gradient in float32 agree with float64 to float32 accuracy."""
    single = LocalLoss([block.float() for block in BLOCKS], tau)(W.float(), B.float())
    double = LocalLoss(BLOCKS, tau)(W, B)
    assert single[0] == pytest.approx(double[0], rel=1e-5)
    torch.testing.assert_close(single[1].double(), double[1], rtol=1e-3, atol=1e-4 * float(double[1].abs().max()))


@pytest.mark.parametrize("tau", [0.05, 0.5])
@pytest.mark.parametrize("scale", [0.01, 1.0, -3.0])
def test_a_scaled_identity_is_the_optimum_of_the_local_loss(tau, scale):
    """At α = 1 the optimum is cI for any c: the value is the mean entropy of the teacher and the gradient is 0."""
    entropies = []
    for X in BLOCKS:
        cosines = torch.nn.functional.normalize(X, dim=1) @ torch.nn.functional.normalize(X, dim=1).T
        for i in range(len(X)):
            others = cosines[i][torch.arange(len(X)) != i]
            P_i = torch.softmax(others / tau, dim=0)
            entropies.append(float(-(P_i * P_i.log()).sum()))
    loss = LocalLoss(BLOCKS, tau)
    value_at, dW, _ = loss(scale * torch.eye(P, dtype=F64))
    assert value_at == pytest.approx(np.mean(entropies), rel=1e-12)
    assert float(dW.abs().max()) < 1e-12
    assert value(loss, W) > value_at


def test_local_loss_does_not_depend_on_the_scale_or_order_of_images():
    """Cosines know no length: W and the images may be scaled, and images relabelled inside their block."""
    loss = LocalLoss(BLOCKS, 0.2)
    wanted = value(loss, W)
    for scale in (1e-10, 1e3):
        assert value(loss, scale * W) == pytest.approx(wanted, rel=1e-11)
    assert value(LocalLoss([block.flip(0) for block in reversed(BLOCKS)], 0.2), W) == pytest.approx(wanted, rel=1e-12)
    assert value(LocalLoss([7 * block for block in BLOCKS], 0.2), W) == pytest.approx(wanted, rel=1e-11)


def test_images_are_compared_inside_their_block_only():
    """The loss over blocks is the mean of the blocks' losses weighted by their images."""
    parts = [(len(block), value(LocalLoss([block], 0.3), W)) for block in BLOCKS]
    wanted = sum(n * part for n, part in parts) / sum(n for n, _ in parts)
    assert value(LocalLoss(BLOCKS, 0.3), W) == pytest.approx(wanted, rel=1e-12)
    together = value(LocalLoss([torch.cat(BLOCKS)], 0.3), W)
    assert abs(together - wanted) > 0.1  # it contains about log(m - 1)


def test_an_image_of_zeros_gives_no_nan():
    """An image mapped to exactly 0 has no direction; value and gradient stay finite."""
    block = torch.cat([BLOCKS[0], torch.zeros(1, P, dtype=F64)])
    at, dW, _ = LocalLoss([block], 0.25)(W)
    assert math.isfinite(at)
    assert torch.isfinite(dW).all()


# penalties and sums


def reference_penalty(kind, W):
    if kind == "scaled-identity":
        W = W - torch.trace(W) / len(W) * torch.eye(len(W), dtype=W.dtype)
    squared = (W * W).sum()
    return squared.sqrt() if kind == "norm" else squared


@pytest.mark.parametrize("kind", ["scaled-identity", "squared-norm", "norm"])
def test_penalty_gradient_is_the_derivative(kind):
    """Each penalty equals its formula, its gradient autograd and finite differences, and W stays as it was."""
    before = W.clone()
    assert_gradient(Penalty(kind), lambda W, b: reference_penalty(kind, W), W, None)
    assert torch.equal(W, before)
    assert value(Penalty(kind), W, B) == value(Penalty(kind), W)  # the bias is free


def test_penalties_are_0_where_they_shrink_to():
    """R of a scaled identity is 0 for global and glocal, R of 0 is 0 with gradient 0 for naive."""
    at, dW, _ = Penalty("scaled-identity")(-2.5 * torch.eye(P, dtype=F64))
    assert at == 0
    assert not dW.any()
    for kind in ("squared-norm", "norm"):
        at, dW, _ = Penalty(kind)(torch.zeros(P, P, dtype=F64))
        assert at == 0
        assert not dW.any()


@biased
@pytest.mark.parametrize("kind", ["scaled-identity", "squared-norm", "norm"])
def test_an_objective_is_the_weighted_sum_of_its_terms(b, kind):
    """Value and gradient are the weighted sums, parts the unweighted values under the names of the terms."""
    alpha, lmbda = 0.3, 0.7
    terms = (ChoiceLoss(X, ANSWERS, WEIGHTS), LocalLoss(BLOCKS, 0.25), Penalty(kind))
    coefficients = (1 - alpha, alpha, lmbda)
    at = weighted(terms[0], terms[1], alpha, lmbda, terms[2])(W, b)
    assert at.parts == {"global": value(terms[0], W, b), "local": value(terms[1], W, b), "penalty": value(terms[2], W)}
    assert at.value == pytest.approx(
        sum(c * value(t, W, b) for c, t in zip(coefficients, terms, strict=True)), rel=1e-14
    )
    assert at.finite
    assert weighted(terms[0], None, alpha, lmbda, terms[2]).terms == ((1.0, terms[0]), (lmbda, terms[2]))

    def reference(W, b):
        return (
            coefficients[0] * torch_triplet_loss(X, W, b, ANSWERS, WEIGHTS)
            + coefficients[1] * torch_local_loss(BLOCKS, W, b, 0.25)
            + coefficients[2] * reference_penalty(kind, W)
        )

    def objective(W, b):
        at = Objective(tuple(zip(coefficients, terms, strict=True)))(W, b)
        return at.value, at.dW, at.db

    assert_gradient(objective, reference, W, b)
