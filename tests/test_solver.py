"""The solver finds optima known on paper, says how far it is from others, and never says converged when it is not."""

import copy
import importlib.util
import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from glocal import Answers, Features, fit_arm
from glocal.errors import ParameterError
from glocal.objective import ChoiceLoss, LocalLoss, Objective, Penalty
from glocal.objective.objective import Evaluation
from glocal.solver import (
    DualityGap,
    GradientRatio,
    Iterate,
    State,
    best_scale,
    lambda_max,
    minimise,
    minimise_naive,
    symmetric_start,
)
from glocal.solver.criterion import gradient_norm
from glocal.solver.duality import _excess, _fraction, _local_slope, duality_gap
from glocal.solver.line_search import Trial, strong_wolfe
from glocal.solver.start import scale_of
from glocal.transform import LinearTransform

F64 = torch.float64
P = 6


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def people(X, t, seed=0, signal=1.5):
    """Answers drawn from the softmax of similarities in a few directions of X, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    mind = signal * X[:, :2].numpy()
    answers = np.array([rng.permutation(len(X))[:3] for _ in range(t)])
    for row in answers:
        i, j, k = row
        pairs = np.array([mind[j] @ mind[k], mind[i] @ mind[k], mind[i] @ mind[j]]) + rng.gumbel(size=3)
        odd = int(pairs.argmax())
        row[:] = [row[(odd + 1) % 3], row[(odd + 2) % 3], row[odd]]
    return answers.astype(np.int32)


X = normal(40, P)
LOSS = ChoiceLoss(X, people(X, 1500))
SHRINK = Penalty("scaled-identity")


def global_arm(lmbda, loss=LOSS):
    return Objective(((1.0, loss), (lmbda, SHRINK)))


def identity(c=0.3, p=P):
    return c * torch.eye(p, dtype=F64)


@dataclass
class Quadratic:
    """‖W - A‖² + ‖b - v‖², whose optimum is (A, v)."""

    A: torch.Tensor
    v: torch.Tensor | None = None
    name: str = "quadratic"

    def __call__(self, W, b=None):
        dW, db = 2 * (W - self.A), None if b is None else 2 * (b - self.v)
        value = float((dW**2).sum() / 4) + (0.0 if db is None else float((db**2).sum() / 4))
        return value, dW, db


@dataclass
class Liar:
    """A function whose gradient points the wrong way: no step along its descent lowers it."""

    name: str = "liar"

    def __call__(self, W, b=None):
        return float((W**2).sum()), -2 * W, None


# minimise


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("preconditioned", [False, True])
def test_a_quadratic_ends_at_its_minimum(bias, preconditioned):
    """The minimum of ‖W - A‖² + ‖b - v‖² with symmetric A is (A, v), with any preconditioner."""
    A = normal(P, P, seed=1)
    A, v = A + A.T, normal(P, seed=2)
    start = (identity(), torch.zeros(P, dtype=F64) if bias else None)
    objective = Objective(((1.0, Quadratic(A, v)),))
    criterion = GradientRatio(gradient_norm(objective(*start)))
    moments = torch.arange(1.0, P + 1, dtype=F64) ** 2 if preconditioned else None
    found = minimise(objective, start, criterion=criterion, tol=1e-9, second_moments=moments)
    assert found.status == "stationary"
    torch.testing.assert_close(found.W, A, atol=1e-7, rtol=0)
    if bias:
        torch.testing.assert_close(found.b, v, atol=1e-7, rtol=0)
    else:
        assert found.b is None


def test_an_asymmetric_target_is_met_by_its_symmetric_part():
    """W stays symmetric: the nearest symmetric matrix to A is (A + Aᵀ)/2."""
    A = normal(P, P, seed=3)
    objective = Objective(((1.0, Quadratic(A)),))
    found = minimise(objective, (identity(), None), criterion=GradientRatio(0.0), tol=1e-9, max_evaluations=50)
    torch.testing.assert_close(found.W, (A + A.T) / 2, atol=1e-7, rtol=0)
    free = minimise(objective, (identity(), None), criterion=GradientRatio(0.0), max_evaluations=50, symmetric=False)
    torch.testing.assert_close(free.W, A, atol=1e-7, rtol=0)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_one_dimension_ends_where_the_paper_says(share):
    """x = (1, 1, -1), `share` of the weight on answer (0, 1 | 2): with m = w² the share of softmax at the optimum is
    e^m / (e^m + 2 e^-m) = share, so m = ½ log(2 share / (1 - share)); in one dimension R is 0."""
    x = torch.tensor([[1.0], [1.0], [-1.0]], dtype=F64)
    answers = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]], dtype=np.int32)
    loss = ChoiceLoss(x, answers, np.array([share, (1 - share) / 2, (1 - share) / 2]))
    objective = global_arm(0.1, loss)
    found = minimise(objective, (identity(0.2, 1), None), criterion=DualityGap(objective), tol=1e-13)
    assert found.converged
    assert float(found.W) ** 2 == pytest.approx(math.log(2 * share / (1 - share)) / 2, rel=1e-5)


@pytest.mark.parametrize("lmbda", [0.02, 0.3])
def test_two_starts_agree_in_m(lmbda):
    """`global` is convex in M = W Wᵀ: a scaled identity and a random positive definite start end at the same M."""
    E = normal(P, P, seed=4)
    starts = [identity(), E @ E.T / P + identity(0.1)]
    found = [
        minimise(global_arm(lmbda), (W, None), criterion=DualityGap(global_arm(lmbda)), tol=1e-12) for W in starts
    ]  # fmt: skip
    assert all(solution.converged for solution in found)
    first, second = (solution.W @ solution.W.T for solution in found)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4 * float(first.abs().max()))
    assert found[0].at.value == pytest.approx(found[1].at.value, rel=1e-10)
    assert all(solution.converged and solution.gap <= 1e-12 * solution.at.value for solution in found)


def test_at_the_minimum_every_neighbour_is_higher():
    """No small symmetric step from the solution of `global` lowers the objective."""
    found = minimise(global_arm(0.1), (identity(), None), criterion=DualityGap(global_arm(0.1)), tol=1e-12)
    for seed in range(20):
        step = normal(P, P, seed=100 + seed)
        step = 1e-2 * (step + step.T)
        assert global_arm(0.1)(found.W + step).value > found.at.value


@pytest.mark.parametrize("lmbda", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_the_estimated_gap_is_near_the_true_one(lmbda, tol):
    """Where `global` stops, the estimate of f - f* is above half the true distance to a much tighter solve."""
    loose = minimise(global_arm(lmbda), (identity(), None), criterion=DualityGap(global_arm(lmbda)), tol=tol)
    tight = minimise(global_arm(lmbda), (identity(), None), criterion=DualityGap(global_arm(lmbda)), tol=1e-13)
    true = loose.at.value - tight.at.value
    assert loose.converged
    assert 0 <= true <= 2 * loose.gap
    assert loose.gap <= tol * loose.at.value


def test_the_local_term_is_minimised_too():
    """`glocal` with a bias-free W ends where the gradient is 0 and below its start."""
    local = LocalLoss([normal(25, P, seed=6), normal(24, P, seed=7)], 0.25)
    objective = Objective(((0.8, LOSS), (0.2, local), (0.05, SHRINK)))
    found = minimise(objective, (identity(), None), criterion=DualityGap(objective), tol=1e-12)
    assert found.converged
    assert found.at.value < objective(identity()).value
    assert gradient_norm(found.at) < 1e-5


def test_the_solution_holds_its_own_evaluation():
    """`at` is the objective at (W, b), and the reason says what was compared and how much it took."""
    found = minimise(global_arm(0.1), (identity(), None), criterion=DualityGap(global_arm(0.1)))
    again = global_arm(0.1)(found.W)
    assert found.at.value == again.value
    torch.testing.assert_close(found.at.dW, again.dW)
    assert found.reason.startswith("duality gap")
    assert found.reason.endswith(f"after {found.evaluations} evaluations")


def test_a_solution_is_an_optimum_to_start_from():
    """Started at its own solution the solver converges at once."""
    found = minimise(global_arm(0.1), (identity(), None), criterion=DualityGap(global_arm(0.1)))
    again = minimise(global_arm(0.1), (found.W, None), criterion=DualityGap(global_arm(0.1)))
    assert again.converged
    assert again.evaluations == 1


@pytest.mark.parametrize("budget", [1, 2, 3, 7])
def test_a_spent_budget_is_not_converged(budget):
    """With too few evaluations the status is budget, the count is kept to, and the reason says what to raise."""
    found = minimise(
        global_arm(0.1), (identity(5.0), None), criterion=DualityGap(global_arm(0.1)), max_evaluations=budget
    )
    assert (found.status, found.converged) == ("budget", False)
    assert found.evaluations <= budget
    assert "raise max_evaluations" in found.reason


def test_a_gradient_that_lies_is_a_stall():
    """Where no step lowers the objective and the criterion does not hold, the status is stalled."""
    objective = Objective(((1.0, Liar()),))
    found = minimise(objective, (identity(), None), criterion=GradientRatio(1e-9))
    assert (found.status, found.converged) == ("stalled", False)
    assert "no step lowers the objective" in found.reason
    torch.testing.assert_close(found.W, identity())


def test_a_tolerance_below_rounding_is_a_stall():
    """In float32 a tolerance that float32 cannot meet ends as stalled, long before the budget."""
    loss = ChoiceLoss(X.float(), LOSS.given[0])
    objective = global_arm(0.1, loss)
    found = minimise(objective, (identity().float(), None), criterion=DualityGap(objective), tol=1e-16)
    assert found.status == "stalled"
    assert "use float64, or raise tol" in found.reason
    assert found.evaluations < 300


def test_progress_is_reported_after_every_step():
    """`on_step` sees growing numbers of evaluations and a falling objective, the last being the solution's."""
    seen = []
    found = minimise(global_arm(0.1), (identity(), None), criterion=DualityGap(global_arm(0.1)),
        on_step=lambda evaluations, at: seen.append((evaluations, at.value)),
    )  # fmt: skip
    counts, values = zip(*seen, strict=True)
    assert list(counts) == sorted(set(counts))
    assert all(after < before for before, after in pairwise(values))
    assert seen[-1] == (found.evaluations, found.at.value)


@pytest.mark.parametrize(
    ("start", "options", "sentence"),
    [
        (normal(P, P), {}, "the start W is not symmetric"),
        (identity(), {"tol": 0.0}, "tol is 0.0"),
        (identity(), {"tol": math.nan}, "tol is nan"),
        (identity(), {"max_evaluations": 0}, "max_evaluations is 0"),
        (identity(1e160), {}, "not finite at the start"),
    ],
)
def test_a_start_or_setting_that_cannot_work_is_refused(start, options, sentence):
    """Starts that are not symmetric or not finite, and settings out of range, are refused."""
    with pytest.raises(ParameterError, match=sentence):
        minimise(global_arm(0.1), (start, None), criterion=DualityGap(global_arm(0.1)), **options)


# certificates


@pytest.mark.parametrize(
    ("mix", "bias", "weights"),
    [(1.0, False, False), (1.0, False, True), (0.8, False, False), (1.0, True, False), (0.8, True, True)],
)
@pytest.mark.parametrize("lmbda", [0.01, 0.05, 10.0])
def test_the_duality_gap_is_a_bound(lmbda, mix, bias, weights):
    """At every point on the way f - f*, seen by a much tighter solve, lies within the gap that is stated."""
    if mix < 1 and lmbda > 1:
        pytest.skip("the optimum is W = 0")
    w = np.random.default_rng(1).uniform(0, 2, LOSS.n_answers) if weights else None
    loss = ChoiceLoss(X, LOSS.given[0], w)
    objective = Objective(((1.0, loss), (lmbda, Penalty("scaled-identity", mix=mix))))
    start, rule = (identity(), torch.zeros(P, dtype=F64) if bias else None), DualityGap(objective)
    tight = minimise(objective, start, criterion=rule, tol=1e-11, max_evaluations=3000)
    assert tight.gap < 1e-7
    for budget in (1, 2, 4, 8, 16, 1000):
        found = minimise(objective, start, criterion=rule, tol=1e-4, max_evaluations=budget)
        assert found.gap is None or found.at.value - tight.at.value <= found.gap + 1e-11
        assert found.converged == (found.gap is not None and found.gap <= 1e-4 * found.at.value)
    assert found.converged


@pytest.mark.parametrize("lmbda", [0.02, 0.1, 1.0])
def test_near_the_optimum_the_gap_is_its_second_order_term(lmbda):
    """Close to the optimum the gap is near Σ (∇f)²_ij w_i w_j / (2 λ c (w_i + w_j)), which the step estimate bounds."""
    objective = global_arm(lmbda)
    found = minimise(objective, (identity(), None), criterion=DualityGap(objective), tol=1e-8)
    w, Q = torch.linalg.eigh(found.W)
    g = Q.T @ ((found.at.dW + found.at.dW.T) / 2) @ Q
    term = float((g**2 * (w[:, None] * w) / (w[:, None] + w)).sum()) / (2 * lmbda * float(w.mean()))
    assert found.gap == pytest.approx(term, rel=0.5, abs=1e-9)
    assert term <= DualityGap(objective).estimate(Iterate(found.at, found.W)) * 1.01


def test_an_indefinite_stationary_point_is_left():
    """Started where W has a negative eigenvalue the solver ends at the optimum, not at the saddle beside it."""
    objective = global_arm(1e-3)
    wanted = minimise(objective, (identity(), None), criterion=DualityGap(objective), tol=1e-10)
    w, Q = torch.linalg.eigh(wanted.W)
    w[-1] *= -1  # of the largest, which no step carries through 0
    found = minimise(objective, ((Q * w) @ Q.T, None), criterion=DualityGap(objective), tol=1e-8, max_evaluations=3000)
    assert found.converged
    assert found.at.value <= wanted.at.value * (1 + 1e-7)
    assert float(torch.linalg.eigvalsh(found.W)[0]) > 0


def test_only_a_penalty_toward_scaled_identities_asks_for_a_definite_w():
    """W is left where it is indefinite, unless the penalty is that of `naive`; W and -W are equally good."""
    W, rules = torch.diag(torch.tensor([2.0, 1.0, 1.0, 1.0, 1.0, -0.5], dtype=F64)), {}
    for kind in ("squared-norm", "scaled-identity"):
        rules[kind] = DualityGap(Objective(((1.0, LOSS), (0.1, Penalty(kind)))))
    assert rules["squared-norm"].definite(W)
    assert not rules["scaled-identity"].definite(W)
    assert rules["scaled-identity"].definite(-identity())


def test_the_preconditioner_saves_evaluations():
    """Where features are of very different strength, the initial inverse Hessian saves half of the evaluations."""
    strengths = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.5, 0.25], dtype=F64)
    loss = ChoiceLoss(normal(60, P, seed=9) * strengths, people(normal(60, P, seed=9), 3000))
    objective, start = global_arm(0.01, loss), (best_scale(loss) * torch.eye(P, dtype=F64), None)
    moments = loss.X.square().mean(0)
    counts = [
        minimise(objective, start, criterion=DualityGap(objective), tol=1e-8, second_moments=s).evaluations
        for s in (moments, None)
    ]
    assert counts[0] <= 0.6 * counts[1]


def test_a_gradient_norm_is_no_gap():
    """The gradient criterion compares norms and never states a gap."""
    at = global_arm(0.1)(identity())
    verdict = GradientRatio(gradient_norm(at)).judge(Iterate(at, identity()), 0.1)
    assert (verdict.status, verdict.converged, verdict.gap) == ("stationary", False, None)
    assert GradientRatio(gradient_norm(at)).judge(Iterate(at, identity()), 0.099).status is None


LOCAL = LocalLoss([normal(25, P, seed=6), normal(24, P, seed=7)], 0.25)


@pytest.mark.parametrize(
    "objective",
    [
        Objective(((1.0, LOSS), (0.05, Penalty("squared-norm")))),
        Objective(((0.8, LOSS), (0.2, LOCAL), (0.0, SHRINK))),
    ],
    ids=["naive", "lmbda-0"],
)
def test_without_a_bend_the_gap_is_that_of_a_slope(objective):
    """With H = ∂f/∂M the gap is |⟨H, M⟩| + max(0, -min H) r, where r bounds tr M: f / λ, or 2 tr M where λ is 0."""
    E, lmbda = normal(P, P, seed=4), objective.term("penalty")[0]
    W = E @ E.T / P + identity(0.1)
    at = objective(W)
    H = at.dW @ torch.linalg.inv(W) / 2
    lowest = float(torch.linalg.eigvalsh(H)[0])
    reach = at.value / lmbda if lmbda > 0 else 2 * float((W * W).sum())
    assert lowest < 0
    wanted = abs(float((H @ W * W).sum())) - lowest * reach
    assert duality_gap(objective, at, W, None, 1e-5) == pytest.approx(wanted, rel=1e-9)


def test_the_slope_of_the_local_term_is_that_of_its_gradient():
    """Its H has 2 H W = ∂/∂W of the local term, whatever the other terms are, and the product is ⟨H, M⟩."""
    objective = Objective(((0.8, LOSS), (0.2, LOCAL), (0.3, SHRINK)))
    E = normal(P, P, seed=4)
    W = E @ E.T / P + identity(0.1)
    H, along = _local_slope(objective, objective(W), W, 0.8 * LOSS.slopes(W).M)
    torch.testing.assert_close(2 * H @ W, 0.2 * LOCAL(W)[1])
    assert along == pytest.approx(float((H @ W * W).sum()))


def test_a_dual_point_is_met_as_the_formula_says():
    """λ mix Σ 1 / (λ + a_i) / p - 1 is at most 0 where the bound holds; where λ + a_i < 0 it never does."""
    a, penalty = torch.tensor([0.1, 0.3, -0.05], dtype=F64), Penalty("scaled-identity", mix=0.9)
    assert _excess(torch.diag(a), 0.2, penalty) == pytest.approx(0.2 * 0.9 * (1 / 0.3 + 1 / 0.5 + 1 / 0.15) / 3 - 1)
    assert _excess(torch.diag(a), 0.04, penalty) == math.inf


def test_the_next_dual_point_lies_a_little_before_the_line_meets_0():
    """Nine tenths of the way to the zero of the line, a twentieth from the ends at least; half where one is inf."""
    assert _fraction(-1.0, 3.0) == pytest.approx(0.9 / 4)
    assert (_fraction(-1.0, 1e9), _fraction(-1.0, 1e-9), _fraction(-1.0, math.inf)) == (0.05, pytest.approx(0.9), 0.5)


# naive


def paper_loss(share):
    """x = (1, 1, -1): L(m) = log(e^m + 2 e^-m) - m share + m (1 - share), so L'(0) = -2 (share - 1/3)."""
    x = torch.tensor([[1.0], [1.0], [-1.0]], dtype=F64)
    answers = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]], dtype=np.int32)
    return ChoiceLoss(x, answers, np.array([share, (1 - share) / 2, (1 - share) / 2]))


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_lambda_max_is_the_slope_known_on_paper(share):
    """In one dimension with x = (1, 1, -1) the slope at 0 is -2 (share - 1/3), and λ_max its negative."""
    assert lambda_max(paper_loss(share)) == pytest.approx(2 * (share - 1 / 3), rel=1e-12)


def test_lambda_max_is_0_where_features_disagree():
    """Where people choose the less similar pair more often than chance, any W but 0 is worse and λ_max is 0."""
    assert lambda_max(paper_loss(0.2)) == 0


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_naive_ends_where_the_paper_says(share):
    """L'(m) + λ = 2 (q - share) + λ = 0 with q = e^m / (e^m + 2 e^-m): q = share - λ/2 at the optimum."""
    lmbda = 0.1
    found = minimise_naive(paper_loss(share), lmbda, tol=1e-10)
    q = share - lmbda / 2
    assert found.converged
    assert float(found.W) ** 2 == pytest.approx(math.log(2 * q / (1 - q)) / 2, rel=1e-4)


def test_lambda_max_is_the_steepest_slope_at_0():
    """No direction vvᵀ descends from M = 0 faster than λ_max, and the steepest one does so at that rate."""
    largest = lambda_max(LOSS)
    assert largest > 0

    def slope(v):
        s = 1e-6
        v = v / torch.linalg.vector_norm(v)
        return (LOSS(math.sqrt(s) * v)[0] - math.log(3)) / s

    assert all(-slope(normal(P, 1, seed=seed)) <= largest + 1e-6 for seed in range(50))
    H = LOSS.slopes(torch.zeros(P, 1, dtype=F64)).M
    steepest = torch.linalg.eigh(H)[1][:, :1]
    assert -slope(steepest) == pytest.approx(largest, rel=1e-4)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8, 0.99])
def test_the_duality_gap_of_naive_is_rigorous(share):
    """At every tolerance f - f*, seen by a much tighter solve, lies within the stated gap, and the gap within tol."""
    lmbda = share * lambda_max(LOSS)
    tight = minimise_naive(LOSS, lmbda, tol=1e-12, max_evaluations=3000)
    for tol in (1e-1, 1e-2, 1e-4):
        found = minimise_naive(LOSS, lmbda, tol=tol)
        assert found.converged
        assert found.at.value - tight.at.value <= found.gap <= tol * found.at.value
        assert found.at.value >= tight.at.value * (1 - 1e-12)


def test_the_gap_of_an_unfinished_solve_is_rigorous_too():
    """A spent budget states a gap as well, and it holds."""
    lmbda = 0.1 * lambda_max(LOSS)
    tight = minimise_naive(LOSS, lmbda, tol=1e-12, max_evaluations=3000)
    for budget in (1, 3, 6):
        found = minimise_naive(LOSS, lmbda, tol=1e-12, max_evaluations=budget)
        assert found.status == "budget"
        assert found.at.value - tight.at.value <= found.gap


def test_naive_meets_the_optimum_over_full_w():
    """The low-rank solve ends at the minimum that L-BFGS over all of W finds."""
    lmbda = 0.2 * lambda_max(LOSS)
    objective = Objective(((1.0, LOSS), (lmbda, Penalty("squared-norm"))))
    full = minimise(objective, (identity(), None), criterion=GradientRatio(1.0), tol=1e-9, max_evaluations=3000)
    found = minimise_naive(LOSS, lmbda, tol=1e-9)
    assert found.at.value == pytest.approx(full.at.value, rel=1e-8)
    torch.testing.assert_close(found.W @ found.W, full.W @ full.W.T, atol=1e-3, rtol=1e-2)


def test_the_optimum_of_naive_is_of_low_rank():
    """The trace is a nuclear norm: with two directions that people use, W keeps about two and is semidefinite."""
    found = minimise_naive(LOSS, 0.3 * lambda_max(LOSS), tol=1e-8)
    eigenvalues = torch.linalg.eigvalsh(found.W)
    assert found.converged
    assert int((eigenvalues > 1e-3 * eigenvalues[-1]).sum()) <= 2
    assert float(eigenvalues[0]) > -1e-9
    torch.testing.assert_close(found.W, found.W.T)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_naive_needs_few_evaluations(share):
    """Columns are added with a length that fits and dropped for good: a tight tolerance takes few evaluations."""
    found = minimise_naive(LOSS, share * lambda_max(LOSS), tol=1e-8)
    assert found.converged
    assert found.evaluations <= 100


def test_naive_accepts_a_start():
    """From a given symmetric W naive ends at the same optimum."""
    lmbda = 0.2 * lambda_max(LOSS)
    E = normal(P, P, seed=4)
    wanted = minimise_naive(LOSS, lmbda, tol=1e-8).at.value
    assert minimise_naive(LOSS, lmbda, tol=1e-8, start=E @ E.T / P).at.value == pytest.approx(wanted, rel=1e-7)


# line search


def along(f, slope):
    return lambda t: Trial(t, f(t), slope(t), t)


@pytest.mark.parametrize("first", [1e-4, 0.1, 1.0, 30.0])
@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (lambda t: (t - 1) ** 2, lambda t: 2 * (t - 1)),
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),
        (lambda t: (t - 0.01) ** 4, lambda t: 4 * (t - 0.01) ** 3),
        (lambda t: math.cosh(t - 2), lambda t: math.sinh(t - 2)),
        (lambda t: -t + 10 * max(t - 3, 0) ** 2, lambda t: -1 + 20 * max(t - 3, 0)),
    ],
    ids=["parabola", "more-1", "quartic", "cosh", "ramp"],
)
def test_the_step_meets_the_strong_wolfe_conditions(first, f, slope):
    """From short and long first trials the step lowers f enough and flattens the slope enough."""
    start = Trial(0.0, f(0.0), slope(0.0), None)
    found = strong_wolfe(along(f, slope), start, first, noise=0.0, max_trials=40)
    assert found.f <= start.f + 1e-4 * found.t * start.slope
    assert abs(found.slope) <= 0.9 * abs(start.slope)
    assert found.point == found.t > 0


@pytest.mark.parametrize("beyond", [math.inf, math.nan])
def test_a_step_into_infinity_is_shortened(beyond):
    """Where f is infinite or NaN beyond a point, the search comes back to where it is finite."""
    found = strong_wolfe(
        along(lambda t: (t - 1) ** 2 if t < 1.5 else beyond, lambda t: 2 * (t - 1) if t < 1.5 else math.nan),
        Trial(0.0, 1.0, -2.0, None), 1e6, noise=0.0, max_trials=60,
    )  # fmt: skip
    assert found.t < 1.5
    assert found.f < 1


def test_no_step_is_found_where_none_exists():
    """Along a direction that only rises the search returns None within its trials."""
    trials = []

    def rising(t):
        trials.append(t)
        return Trial(t, 1 + t, -1.0, None)

    assert strong_wolfe(rising, Trial(0.0, 1.0, -1.0, None), 1.0, noise=0.0, max_trials=15) is None
    assert len(trials) <= 15


def test_a_drop_below_rounding_still_ends_the_search():
    """Close to the optimum, where f is flat to its last bits, a flat slope is accepted within the noise of f."""
    found = strong_wolfe(
        along(lambda t: 1.0 + 2e-16 * t, lambda t: -1e-12 * (1 - t)), Trial(0.0, 1.0, -1e-12, None), 1.0, noise=1e-15
    )
    assert found.t == 1.0


# starts


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_the_best_scale_is_the_minimum_over_scaled_identities(scale):
    """The c of the best scaled identity minimises L(cI), as scipy's scalar minimiser finds, whatever the units of X."""
    loss = ChoiceLoss(X * scale, LOSS.given[0])
    c = best_scale(loss)
    exact = minimize_scalar(lambda log_c: loss(math.exp(log_c) * torch.eye(P, dtype=F64))[0],
                            bounds=(-12, 5), method="bounded", options={"xatol": 1e-8})  # fmt: skip
    assert c == pytest.approx(math.exp(exact.x), rel=1e-2)


@pytest.mark.parametrize("kind", ["squared-norm", "norm"])
def test_the_best_scale_under_a_penalty(kind):
    """With the penalty of naive, c minimises L(cI) + λR(cI)."""
    lmbda = 0.01
    objective = Objective(((1.0, LOSS), (lmbda, Penalty(kind))))
    c = best_scale(LOSS, Penalty(kind), lmbda)
    exact = minimize_scalar(lambda log_c: objective(math.exp(log_c) * torch.eye(P, dtype=F64)).value,
                            bounds=(-5, 3), method="bounded", options={"xatol": 1e-8})  # fmt: skip
    assert c == pytest.approx(math.exp(exact.x), rel=1e-2)


def test_the_best_scale_of_gathered_rows_is_the_same():
    """With more objects than a Gram matrix is made for, the scale is found from gathered rows."""
    many = ChoiceLoss(torch.cat([X, normal(20_001 - len(X), P, seed=5)]), LOSS.given[0])
    assert best_scale(many) == pytest.approx(best_scale(LOSS), rel=1e-2)


def test_features_that_know_nothing_start_small_but_not_at_0():
    """Where the best scale is 0 the start is small and positive, since W = 0 is stationary."""
    assert best_scale(paper_loss(0.2)) == pytest.approx(0.1)  # the mean squared length of a row is then a hundredth


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_a_scale_without_a_minimum_is_finite(share):
    """Objects at one point, and answers that the features all meet, have no best scale: a finite one is returned."""
    one_point = scale_of(paper_loss(share), torch.ones(3, 1, dtype=F64), 0.0, None, 1.0)
    always_right = best_scale(paper_loss(1.0))
    assert all(math.isfinite(c) and c > 0 for c in (one_point, always_right))


def test_a_scale_that_changes_nothing_makes_the_mean_square_1():
    """Where the slope is exactly 0 at every scale, rows of length 2 are halved and the search ends there."""
    loss = copy.copy(LOSS)
    loss.along_scales = lambda Z: lambda m: 0.0
    assert scale_of(loss, torch.full((3, 1), 2.0, dtype=F64), 0.0, None, 1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("root", [0.02, 0.3, 3.0, 50.0])
@pytest.mark.parametrize(
    "slope",
    [lambda m, root: m**3 - root**3, lambda m, root: 1 / root - 1 / m, lambda m, root: math.log(m / root)],
    ids=["convex", "concave", "straight"],
)
def test_the_search_for_a_scale_is_short(slope, root):
    """The root of the slope in m = c² is found to a hundredth from few slopes, on whatever side they bend."""
    loss, asked = copy.copy(LOSS), []
    loss.along_scales = lambda Z: lambda m: asked.append(m) or slope(m, root)
    c = scale_of(loss, torch.ones(3, 1, dtype=F64), 0.0, None, 1.0)
    assert c**2 == pytest.approx(root, rel=1e-2)
    assert len(asked) <= 15


def test_a_symmetric_start_is_the_same_transform():
    """W → (W Wᵀ)^½ and b → bQ keep W Wᵀ, W b and |b|, hence every similarity, and make W symmetric semidefinite."""
    W, b = normal(P, P, seed=8), normal(P, seed=9)
    V, c = symmetric_start(W, b)
    torch.testing.assert_close(V, V.T)
    assert float(torch.linalg.eigvalsh(V)[0]) > 0
    torch.testing.assert_close(V @ V.T, W @ W.T)
    torch.testing.assert_close(V @ c, W @ b)
    torch.testing.assert_close(c @ c, b @ b)
    before, after = X @ W + b, X @ V + c
    torch.testing.assert_close(before @ before.T, after @ after.T)
    assert Penalty("scaled-identity")(V)[0] <= Penalty("scaled-identity")(W)[0]
    assert symmetric_start(W, None)[1] is None


def test_a_symmetric_start_keeps_a_symmetric_definite_w():
    """A positive definite W is its own symmetric start, in its own dtype."""
    E = normal(P, P, seed=8)
    W = (E @ E.T).float()
    V, _ = symmetric_start(W, None)
    assert V.dtype == torch.float32
    torch.testing.assert_close(V, W, rtol=1e-5, atol=1e-5)


def test_a_state_moves_as_a_whole():
    """`to` gives W, the bias and every pair in the other dtype, and no bias stays none."""
    state = State(normal(P, P), normal(P, seed=1), ((normal(3, seed=2), normal(3, seed=3), 0.5),))
    moved = state.to(torch.zeros(1, dtype=torch.float32))
    ((step, change, rho),) = moved.curvature
    found = [moved.W, moved.b, step, change]
    for given, there in zip([state.W, state.b, *state.curvature[0][:2]], found, strict=True):
        torch.testing.assert_close(there, given.float(), rtol=0, atol=0)
    assert rho == 0.5
    assert State(state.W).to(state.W).b is None


def test_answers_that_the_features_meet_have_a_start_in_float64():
    """Where every answer is met, slopes fall below the smallest number: the best scale is finite, no division fails."""
    for scale in (1e-3, 1.0, 1e3):
        x = scale * torch.tensor([[1.0, 0.1], [1.0, 0.0], [-1.0, 1.0]], dtype=F64)
        loss = ChoiceLoss(x, np.array([[0, 1, 2]], dtype=np.int32))
        assert 0 < best_scale(loss) < math.inf


# the whole fit


def benchmark(name):
    """A module of the folder benchmarks."""
    path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def irrelevant():
    """People judge by 4 weak directions of 68; the 64 strong ones mean nothing to them: the best scale is nearly 0."""
    rng = np.random.default_rng(0)
    judged = rng.normal(size=(300, 4))
    X = np.concatenate([3 * rng.normal(size=(300, 64)), 0.5 * judged], axis=1)
    return Features(X), Answers(people(torch.tensor(judged), 6000, signal=1.0))


def tolerances_above(fit, data, **options):
    """How far a fit lies above a solve at 1e-9 from 0.3 I, in its tolerances."""
    features, triplets = data
    scalars = features.standardization
    start = LinearTransform(0.3 * np.eye(68, dtype=np.float32), None, scalars.mean, scalars.std)
    tight = fit_arm(features, triplets, start=start, dtype="float64", tol=1e-9, max_evaluations=3000, **options)
    return (fit.record.objective / tight.record.objective - 1) / fit.record.tol


by_chance = pytest.mark.filterwarnings("ignore:.*which is chance:glocal.errors.DataWarning")


@by_chance
@pytest.mark.parametrize("mix", [1.0, 0.9])
@pytest.mark.parametrize("tol", [1e-2, 1e-5])
@pytest.mark.parametrize("lmbda", [0.03, 1.0])
def test_a_start_near_0_is_no_optimum(irrelevant, lmbda, tol, mix):
    """Where the best scaled identity is nearly 0 a fit that says converged is within its tolerance of the optimum."""
    if mix < 1 and lmbda == 1.0:
        pytest.skip("the optimum is W = 0")
    options = {"method": "global", "lmbda": lmbda, "mix": mix}
    fit = fit_arm(*irrelevant, tol=tol, **options)
    assert fit.record.start_scale < 0.02
    assert (fit.record.status, fit.record.certificate) == ("converged", "global optimum: duality gap")
    assert tolerances_above(fit, irrelevant, **options) < 1.5


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_glocal_is_not_left_near_0():
    """Where features know nothing of the answers as they are, `glocal` ends where other starts end, not near W = 0."""
    optimum = benchmark("optimum")
    for seed, kind in ((148, "glocal"), (149, "glocal mix")):  # the local term holds W near 0 there
        status, above = optimum.distance(optimum.random_problem(seed, (kind,)), seed)
        assert (status, above <= 10) == ("converged", True)


@by_chance
def test_a_warm_path_leaves_a_bad_point(irrelevant):
    """Started from the transform that is nearly 0, as the next point of a path is, a fit ends at the same optimum."""
    features, triplets = irrelevant
    scalars = features.standardization
    bad = LinearTransform(1e-3 * np.eye(68, dtype=np.float32), None, scalars.mean, scalars.std)
    fit = fit_arm(features, triplets, method="global", lmbda=1.0, start=bad)
    assert fit.record.converged
    assert tolerances_above(fit, irrelevant, method="global", lmbda=1.0) < 1.5


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["global", "mix", "naive", "bias", "lmbda 0", "rank"])
def test_converged_is_never_said_far_above_the_optimum(kind):
    """Random problems, many badly posed: no fit that says converged is ten tolerances above another solve."""
    optimum = benchmark("optimum")
    for seed in range(3):
        status, above = optimum.distance(optimum.random_problem(seed, (kind,)), seed, budget=150)
        assert status != "converged" or above <= 10, (seed, above)


def test_the_preconditioner_is_that_of_the_method():
    """1 / ((s_k + s_l)/2 + 3) for W_kl; the bias is the row of W of a feature of constant value 1."""
    from glocal.solver.minimise import _preconditioner

    s = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    found = _preconditioner(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), s, True).tolist()
    assert found == [1 / ((float(a) + float(b)) / 2 + 3) for a in (*s, 1.0) for b in s]


def test_the_inverse_hessian_is_bfgs():
    """The two-loop recursion is the product of the BFGS updates, written as matrices, and takes y to s of the last."""
    from glocal.solver.minimise import _InverseHessian

    rng = np.random.default_rng(5)
    root, diagonal = rng.normal(size=(6, 6)), rng.uniform(0.5, 2, size=6)
    steps = rng.normal(size=(3, 6))
    pairs = [(s, (root @ root.T + np.eye(6)) @ s) for s in steps]
    found = _InverseHessian(torch.from_numpy(diagonal), memory=30)
    for s, y in pairs:
        found.learn(torch.from_numpy(s), torch.from_numpy(y))
    s, y = pairs[-1]
    H = np.diag(diagonal) * (s @ y) / (y @ np.diag(diagonal) @ y)
    for s, y in pairs:
        V = np.eye(6) - np.outer(s, y) / (s @ y)
        H = V @ H @ V.T + np.outer(s, s) / (s @ y)
    g = rng.normal(size=6)
    np.testing.assert_allclose(found(torch.from_numpy(g)).numpy(), H @ g, rtol=1e-10)
    np.testing.assert_allclose(found(torch.from_numpy(y)).numpy(), s, rtol=1e-10)


def test_stationarity_is_half_the_slope_along_the_length_of_w():
    """|<dW, W>| / 2, or the squared length of the gradient over 4 lambda where that is larger: two cases by hand."""
    W = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    dW = torch.tensor([[-0.3, 0.4], [0.0, 0.2]])  # <dW, W> = -0.4, and its squared norm is 0.29
    here = Iterate(Evaluation(1.0, {}, dW, None), W)
    assert here.stationarity(0) == pytest.approx(0.2)
    assert here.stationarity(1) == pytest.approx(0.2)
    assert here.stationarity(0.1) == pytest.approx(0.29 / 0.4)


def test_a_line_search_stays_a_tenth_of_its_bracket_away_from_the_ends():
    """Where the cubic through a far trial has its minimum at the near end, the next trial is a tenth further."""
    tried = []

    def along(t):
        tried.append(t)
        return Trial(t, -t + 1e9 * max(t - 0.01, 0) ** 2, -1 + 2e9 * max(t - 0.01, 0), None)

    found = strong_wolfe(along, along(0.0), 1.0, noise=0.0)
    assert found is not None
    assert tried[2] == pytest.approx(0.1)
    assert tried[3] == pytest.approx(0.01)
