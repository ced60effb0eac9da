"""A subspace fit is the full fit where it must be, and elsewhere says how far it may be from it."""

import math

import numpy as np
import pytest
import torch

from glocal.aligner import Aligner, fit_arm
from glocal.aligner.settings import Settings
from glocal.aligner.subspace import object_axes, with_local_axes
from glocal.data.features import Features
from glocal.data.world import simulated_answers, simulated_world
from glocal.errors import ParameterError
from glocal.objective import LocalLoss, Objective, Penalty, Subspace, TripletLoss, restricted
from glocal.objective import choice_loss as triplet_module
from glocal.solver import DualityGap, minimise
from glocal.solver.criterion import restriction_gap

F64 = torch.float64
N, P, R = 24, 9, 4


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def symmetric(k, seed):
    A = normal(k, k, seed=seed)
    return (A + A.T) / 2


X = normal(N, P)
ANSWERS = np.array([np.random.default_rng(i).permutation(N)[:3] for i in range(150)], dtype=np.int32)
WEIGHTS = np.random.default_rng(0).uniform(0.1, 2, len(ANSWERS))
BLOCKS = [normal(11, P, seed=2), normal(10, P, seed=3)]
V = torch.linalg.qr(normal(P, P, seed=4))[0]
TERMS = {
    "global": TripletLoss(X, ANSWERS, WEIGHTS),
    "local": LocalLoss(BLOCKS, 0.3),
    "scaled-identity": Penalty("scaled-identity"),
    "mixed": Penalty("scaled-identity", mix=0.8),
    "squared-norm": Penalty("squared-norm"),
    "norm": Penalty("norm"),
}


def subspace(r):
    return Subspace(V[:, :r].contiguous())


def point(r, seed=5):
    return subspace(r).joined(symmetric(r, seed), 0.7 * math.sqrt(P - r))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("r", [1, R, P - 1])
def test_the_value_is_that_of_the_embedded_transform(term, r):
    """f of C is f of W = V B Vᵀ + c (I - V Vᵀ), term by term, and the scale of the rest is c."""
    full, C = Objective(((1.0, TERMS[term]),)), point(r)
    W = subspace(r).embed(C)
    assert restricted(full, subspace(r))(C).value == pytest.approx(full(W).value, rel=1e-12)
    outside = V[:, r:]
    torch.testing.assert_close(outside.T @ W @ outside, 0.7 * torch.eye(P - r, dtype=F64))


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("r", [1, R, P - 1])
def test_the_gradient_is_that_of_autograd_and_of_finite_differences(term, r):
    """∂f/∂(B, c) by hand equals autograd through the definition, and differences of the value."""
    small = restricted(Objective(((1.0, TERMS[term]),)), subspace(r))
    C = point(r)
    gradient = (small(C).dW + small(C).dW.T) / 2
    free = C.clone().requires_grad_()
    definition(term, r, free).backward()
    torch.testing.assert_close(gradient, (free.grad + free.grad.T) / 2, rtol=1e-9, atol=1e-10)
    step = subspace(r).joined(symmetric(r, 6), 0.8)
    h = 1e-5
    slope = (small(C + h * step).value - small(C - h * step).value) / (2 * h)
    assert float((gradient * step).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def definition(term, r, C):
    """The term written with autograd on the p × p transform."""
    B, c = C[:-1, :-1], C[-1, -1] / math.sqrt(P - r)
    W = V[:, :r] @ B @ V[:, :r].T + c * V[:, r:] @ V[:, r:].T
    if term == "global":
        S = X @ W @ (X @ W).T
        a, b, odd = torch.as_tensor(ANSWERS).long().T
        losses = -torch.log_softmax(torch.stack([S[a, b], S[a, odd], S[b, odd]]), dim=0)[0]
        w = torch.as_tensor(WEIGHTS)
        return (w * losses).sum() / w.sum()
    if term == "local":
        total = 0.0
        for Y in BLOCKS:
            off = ~torch.eye(len(Y), dtype=torch.bool)
            teacher, student = (
                (cos / 0.3)[off].view(len(Y), -1)
                for Z in (Y, Y @ W)
                for cos in [torch.nn.functional.normalize(Z) @ torch.nn.functional.normalize(Z).T]
            )
            total = total - (torch.softmax(teacher, 1) * torch.log_softmax(student, 1)).sum()
        return total / sum(len(Y) for Y in BLOCKS)
    if term in ("scaled-identity", "mixed"):
        return (W * W).sum() - (0.8 if term == "mixed" else 1) * W.trace() ** 2 / P
    return (W * W).sum() if term == "squared-norm" else (W * W).sum().sqrt()


def test_the_small_matrix_keeps_lengths():
    """‖C‖ = ‖W‖, C is recovered from W, and applying C to rows is applying W."""
    C = point(R)
    W = subspace(R).embed(C)
    torch.testing.assert_close(torch.linalg.matrix_norm(C), torch.linalg.matrix_norm(W))
    torch.testing.assert_close(subspace(R).restrict(W), C)
    torch.testing.assert_close(subspace(R).apply(X, C), X @ W)


def test_all_directions_are_the_full_objective():
    """With r = p value and gradient are those of the full objective in the axes V, and c counts for nothing."""
    full = Objective(((0.8, TERMS["global"]), (0.2, TERMS["local"]), (0.1, TERMS["scaled-identity"])))
    B = symmetric(P, 7)
    at = restricted(full, subspace(P))(subspace(P).joined(B, 0.0))
    W = V @ B @ V.T
    assert at.value == pytest.approx(full(W).value, rel=1e-12)
    torch.testing.assert_close(at.dW[:-1, :-1], V.T @ full(W).dW @ V)
    assert float(at.dW[-1, -1]) == 0


def test_the_criterion_sees_the_embedded_transform():
    """The estimate in a subspace is at most ‖∇f‖² σ_max(W) / (4 λ |c̄|) of the embedded W, ∇f along the subspace, and
    the slopes of the loss are those of the full loss: Vᵀ A V, and the mean of A off V."""
    full = Objective(((1.0, TERMS["global"]), (0.1, TERMS["scaled-identity"])))
    C, small = point(R), restricted(full, subspace(R))
    at, W = small(C), subspace(R).embed(C)
    most = float((at.dW**2).sum()) * float(torch.linalg.eigvalsh(W).abs().max()) / (0.4 * abs(float(W.trace()) / P))
    assert 0.1 * most <= DualityGap(small).estimate(at, C, None) <= most
    A, found = TERMS["global"].slopes(W), small.term("global")[1].slopes(C)
    axes = subspace(R).axes
    torch.testing.assert_close(found.M[:-1, :-1], axes.T @ A.M @ axes)
    off = float(A.M.trace() - (axes.T @ A.M @ axes).trace()) / (P - R)
    assert float(found.M[-1, -1]) == pytest.approx(off)
    assert (found.value, found.along) == pytest.approx((A.value, A.along))
    bend = TERMS["global"].bend_along_scales(W)
    assert small.term("global")[1].bend_along_scales(C) == pytest.approx(bend)


def test_the_gap_in_a_subspace_is_that_of_the_directions_it_has():
    """With all directions the duality gap is that of the full W; with fewer it bounds what is left within them."""
    full = Objective(((1.0, TERMS["global"]), (0.1, TERMS["scaled-identity"])))
    for r in (R, P):
        small, start = restricted(full, subspace(r)), 0.4 * torch.diag(subspace(r).identity)
        tight = minimise(small, (start, None), criterion=DualityGap(small), tol=1e-11)
        loose = minimise(small, (start, None), criterion=DualityGap(small), tol=1e-3)
        assert loose.converged
        assert 0 <= loose.at.value - tight.at.value <= loose.gap


def test_the_restriction_gap_is_its_sum_over_pairs():
    """What the loss of directions may cost is the sum over pairs of eigenvectors that are not both inside."""
    B, c = symmetric(R, 8) @ symmetric(R, 8) + torch.eye(R, dtype=F64), 0.4
    sub = subspace(R)
    C = sub.joined(B, c * math.sqrt(P - R))
    w, Q = torch.linalg.eigh(sub.embed(C))
    inside = torch.linalg.vector_norm(sub.axes.T @ Q, dim=0) > 0.5
    dW = symmetric(P, 9)
    outside = V[:, R:]
    dW -= outside @ outside.T * float((outside.T @ dW @ outside).trace()) / (P - R)  # stationary in c
    g = Q.T @ dW @ Q
    expected = sum(
        float(g[i, j] ** 2 * w[i] * w[j] / (w[i] + w[j])) / (2 * 0.1 * float(w.mean()))
        for i in range(P)
        for j in range(P)
        if not (inside[i] and inside[j])
    )
    assert restriction_gap(dW, sub, C, 0.1) == pytest.approx(expected, rel=1e-9)


def test_a_step_far_too_long_is_infinite():
    """Where the Gram matrix would overflow the value is infinite, which the line search takes back."""
    small = restricted(Objective(((1.0, TERMS["global"]),)), subspace(R))
    assert math.isinf(small(1e200 * point(R)).value)


@pytest.mark.parametrize("n", [30, 6])
def test_the_axes_are_principal_directions(n):
    """Columns are orthonormal, second moments fall, and with n < p they span the rows and no more."""
    Y = normal(n, P, seed=10)
    axes = object_axes(Y)
    k = min(n, P)
    assert axes.shape == (P, k)
    torch.testing.assert_close(axes.T @ axes, torch.eye(k, dtype=F64))
    moments = axes.T @ Y.T @ Y @ axes
    torch.testing.assert_close(moments, torch.diag(moments.diagonal()), atol=1e-9, rtol=0)
    assert (moments.diagonal().diff() <= 1e-9).all()
    torch.testing.assert_close(Y @ axes @ axes.T, Y)


def test_local_axes_add_what_the_objects_lack():
    """Together the axes span the objects and the local images; images inside the row space add none."""
    axes = object_axes(normal(3, P, seed=11))
    local = [normal(2, P, seed=12)]
    wider = with_local_axes(axes, local)
    assert wider.shape == (P, 5)
    torch.testing.assert_close(wider[:, :3].abs().max(), axes.abs().max())
    torch.testing.assert_close(local[0] @ wider @ wider.T, local[0])
    assert with_local_axes(axes, [normal(4, 3, seed=13) @ axes.T]).shape == (P, 3)


WORLD = simulated_world(dimensions=32, n_object=2, n_triplets=4000, n_local=150)


def fitted(features, answers, local=None, **options):
    return fit_arm(features, answers, local_features=local, dtype="float64", tol=1e-9, **options)


@pytest.mark.parametrize("local", [None, WORLD.local], ids=["global", "glocal"])
def test_all_directions_are_the_full_fit(local):
    """rank = p ends where the full fit ends, at no cost."""
    full = fitted(WORLD.objects, WORLD.triplets, local)
    small = fitted(WORLD.objects, WORLD.triplets, local, rank=32)
    assert small.record.objective == pytest.approx(full.record.objective, rel=1e-8)
    assert (small.record.rank, small.record.rank_bound) == (32, 0.0)
    assert small.record.certificate == full.record.certificate
    np.testing.assert_allclose(small.transform.weights, full.transform.weights, atol=2e-3)


@pytest.mark.parametrize("with_local", [False, True], ids=["global", "glocal"])
@pytest.mark.parametrize("rank", ["auto", 90])
def test_with_more_dimensions_than_rows_the_row_space_is_exact(with_local, rank):
    """With p > n the fit on the row space of the objects (and local images) is the full fit, and off it W = cI."""
    rng = np.random.default_rng(0)
    mind = rng.normal(size=(30, 4))
    features = Features(np.concatenate([mind, rng.normal(size=(30, 86))], axis=1))
    local = Features(rng.normal(size=(25, 90))) if with_local else None
    answers = simulated_answers(mind, 2000)
    full = fitted(features, answers, local, lmbda=0.05)
    small = fitted(features, answers, local, lmbda=0.05, rank=rank)
    assert small.record.converged
    assert small.record.rank < 90
    allowed = 1e-8 if small.record.rank_bound == 0 else 1e-3
    assert small.record.objective == pytest.approx(full.record.objective, rel=allowed)
    if small.record.rank_bound == 0:
        scalars = features.standardization
        rows = np.concatenate([scalars(f.matrix, "float64") for f in (features, local) if f is not None])
        off = np.linalg.svd(rows)[2][len(rows) :].T
        block = off.T @ small.transform.weights @ off
        np.testing.assert_allclose(block, np.eye(len(block)) * block.trace() / len(block), atol=1e-5)


def wide_world(p=256, n=500):
    """Objects whose spectrum falls, whose strongest directions know the answers."""
    rng = np.random.default_rng(1)
    mind = rng.normal(size=(n, 6))
    noise = rng.normal(size=(n + 120, p)) * np.exp(-np.arange(p) / 12) * 1.5
    noise[:n, :6] += 2 * mind
    noise[n:, :6] += 2 * rng.normal(size=(120, 6))
    return Features(noise[:n]), simulated_answers(0.8 * mind, 20_000), Features(noise[n:])


@pytest.mark.parametrize("with_local", [False, True], ids=["global", "glocal"])
def test_auto_is_within_its_bound_of_the_full_fit(with_local):
    """rank="auto" leaves directions out, ends within 1e-3 of the full objective, and its bound holds."""
    features, answers, local = wide_world()
    options = {"lmbda": 0.1, "local": local if with_local else None}
    full = fitted(features, answers, **options).record
    small = fitted(features, answers, **options, rank="auto").record
    assert small.converged
    assert small.rank < 256
    assert small.rank_bound <= 1e-3 * small.objective
    excess = small.objective - full.objective
    assert -1e-8 <= excess <= small.rank_bound + small.gap
    assert small.certificate.startswith("none")


@pytest.mark.parametrize("with_local", [False, True], ids=["global", "glocal"])
@pytest.mark.parametrize("rank", [4, 16, 64])
def test_the_bound_holds_for_a_given_rank(rank, with_local):
    """With too few directions too the full fit is less than the bound below, and more directions are never worse."""
    features, answers, local = wide_world()
    options = {"lmbda": 0.1, "local": local if with_local else None}
    full = fitted(features, answers, **options).record
    small = fitted(features, answers, **options, rank=rank).record
    assert small.rank == rank
    assert -1e-8 <= small.objective - full.objective <= small.rank_bound + small.gap


def test_a_subspace_fit_starts_from_a_transform():
    """Started at its own solution a subspace fit is done at once."""
    first = fit_arm(WORLD.objects, WORLD.triplets, rank=8)
    again = fit_arm(WORLD.objects, WORLD.triplets, rank=8, start=first.transform)
    assert again.record.evaluations <= 2
    assert again.record.objective == pytest.approx(first.record.objective, rel=1e-5)


def test_without_a_penalty_no_bound_is_claimed():
    """lmbda 0 with a number of directions is fitted by its gradient, and rank_bound is None."""
    with pytest.warns() as caught:
        record = fit_arm(WORLD.objects, WORLD.triplets, lmbda=0.0, rank=3, max_evaluations=5).record
    assert len(caught) == 1
    assert (record.rank, record.rank_bound) == (3, None)


def test_the_budget_counts_all_rounds():
    """A budget spent while directions are still being added is not converged."""
    with pytest.warns(match="budget"):
        record = fit_arm(WORLD.objects, WORLD.triplets, rank="auto", max_evaluations=4).record
    assert record.evaluations <= 4
    assert not record.converged


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, "at least 1 direction"),
        ({"rank": -3}, "at least 1 direction"),
        ({"rank": 33}, "the features have 32 dimensions"),
        ({"rank": 2.5}, "whole number of directions"),
        ({"rank": True}, "whole number of directions"),
        ({"rank": "all"}, "whole number of directions, auto"),
        ({"rank": 4, "method": "naive"}, "method naive"),
        ({"rank": 4, "bias": True}, "with a bias"),
        ({"rank": "auto", "lmbda": 0.0}, "lmbda 0"),
    ],
)
def test_an_impossible_rank_is_one_sentence(options, said, as_a_user):
    """A rank that cannot be fitted is a ParameterError that says what is allowed."""
    with pytest.raises(ParameterError, match=said):
        fit_arm(WORLD.objects, WORLD.triplets, **options)


def test_numpy_integers_are_ranks(as_a_user):
    """A grid over numpy integers works as one over integers does."""
    settings = ("global", 0.1, 0.1, 0.25, False, True, "float32", "cpu", 1e-5, 10, 10, 0)
    assert Settings(*settings, np.int64(4)).rank == 4


def test_too_many_objects_for_a_gram_matrix_are_refused(monkeypatch):
    """Above the limit on objects × objects matrices rank is refused, not started."""
    monkeypatch.setattr("glocal.objective.subspace.GRAM_LIMIT", 10)
    assert triplet_module.GRAM_LIMIT > 10
    with pytest.raises(ParameterError, match="Leave rank out"):
        fit_arm(WORLD.objects, WORLD.triplets, rank=4)


def test_the_estimator_passes_rank_on():
    """Aligner(rank=…) fits in that many directions and its parameters hold the rank."""
    aligner = Aligner(method="global", rank=5).fit(WORLD.objects.matrix, WORLD.triplets.answers)
    assert aligner.record_.rank == 5
    assert aligner.get_params()["rank"] == 5


def test_the_holdout_fit_is_in_the_subspace_too():
    """With holdout the second fit takes the same rank, so its scores are those of what is written."""
    record = fit_arm(WORLD.objects, WORLD.triplets, rank=4, holdout=3, lmbda=1.0).record
    assert record.rank == 4
    assert record.holdout["converged"]
