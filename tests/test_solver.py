"""The solver finds optima that are known on paper, bounds its distance from others, and never says
converged when it is not.
"""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from scipy.optimize import minimize_scalar
from world import matrix, normal

from glocal import Answers, Exact, Features, FitData, ObjectiveSettings, simulated_answers
from glocal.aligner.exact import WarmStart
from glocal.objective import ChoiceLoss, Evaluation, LocalLoss, Objective, penalty
from glocal.similarity import candidate_pairs
from glocal.solver import (
    Counter,
    DualityGap,
    NaiveGap,
    identity_scale,
    lambda_max,
    minimise,
    symmetric_start,
)

P = 6
ODD = candidate_pairs("odd-one-out")

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits


def loss_of(X, weights=None, *, by=None):
    """The loss of people's answers about X, or about other rows in its place."""
    mind = X if by is None else by
    answers = simulated_answers(1.5 * mind[:, :2], 1500).objects
    return ChoiceLoss(X, answers, ODD, weights)


X = normal(40, P)
LOSS = loss_of(X)
SINGLE = loss_of(X.astype("f4"), by=X)
WEIGHTED = loss_of(X, np.random.default_rng(1).uniform(0, 2, 1500))
LOCAL = LocalLoss([normal(25, P, seed=6), normal(24, P, seed=7)], 0.25)


def arm(lmbda, loss=LOSS, mix=1.0, alpha=0.0):
    return Objective(loss, LOCAL if alpha else None, alpha, lmbda, mix)


def solved(objective, W=None, moments=1.0, criterion=None, tol=1e-5, budget=3000):
    """Minimise by the duality gap, from 0.3 I, unless something else is given."""
    X = objective.choices.X
    p = X.shape[1]
    W = 0.3 * np.eye(p, dtype=X.dtype) if W is None else W
    criterion = criterion or (DualityGap if objective.mix else NaiveGap)(objective)
    options = {"tol": tol, "max_evaluations": budget}
    return minimise(objective, W, criterion, moments * np.ones(p), **options)


def excess(result, optimum):
    """How far the objective of a result is above that of an optimum."""
    return result.evaluation.value - optimum.evaluation.value


def paper_loss(share, p=1):
    """x = (1, 1, -1), with this share of the weight on answer (0, 1 | 2), and p - 1 columns of 0:
    L(m) = log(e^m + 2 e^-m) - m share + m (1 - share), so L'(0) = -2 (share - 1/3).
    """
    answers = matrix("0 1 2; 0 2 1; 1 2 0", np.int32)
    shares = np.array([share, (1 - share) / 2, (1 - share) / 2])
    return ChoiceLoss(np.outer([1.0, 1.0, -1.0], np.eye(p)[0]), answers, ODD, shares)


# minimise


@pytest.mark.parametrize("mix", [0.0, 0.2, 0.7, 0.97, 1.0])
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_the_optimum_is_where_the_paper_says(share, mix):
    """With a direction without data and W = diag(w, c), the best c is mix w / (2 - mix), and R is
    2 (1 - mix) / (2 - mix) w². With m = w² and the softmax q = e^m / (e^m + 2 e^-m), L'(m) is
    2 (q - share). At the optimum q = share - λ (1 - mix) / (2 - mix), and m = ½ log(2 q / (1 - q)).
    """
    result = solved(arm(0.1, paper_loss(share, 2), mix), tol=1e-12)
    q = share - 0.1 * (1 - mix) / (2 - mix)
    w = math.sqrt(math.log(2 * q / (1 - q)) / 2)
    assert result.status == "converged"
    np.testing.assert_allclose(result.W, np.diag([w, mix * w / (2 - mix)]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", [LOSS, SINGLE])
def test_the_end_holds_its_own_evaluation_and_is_one_to_start_from(loss):
    """`evaluation` is the objective at W in the dtype of the features, and a solver that starts
    there converges at once.
    """
    objective = arm(0.1, loss)
    result = solved(objective)
    assert result.W.dtype == result.evaluation.dW.dtype == loss.X.dtype
    assert result.evaluation.value == objective(result.W).value
    again = solved(objective, result.W)
    assert again.status == "converged"
    assert again.evaluations == 1


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_evaluations_are_counted_and_limited(mix):
    """With too few evaluations the status is budget, and the objective is evaluated no more often;
    a counter counts the evaluations of all fits one by one.
    """
    objective = arm(0.1 * lambda_max(LOSS), mix=mix)
    calls, steps = [], []
    counter = Counter(lambda number, step: steps.append((number, step.value)))

    def counted(W):
        evaluation = objective(W)
        calls.append((len(calls) + 1, evaluation.value))
        return evaluation

    criterion = (DualityGap if mix else NaiveGap)(objective)
    for budget in (1, 2, 3, 7):
        options = {"tol": 1e-12, "max_evaluations": budget, "counter": counter}
        result = minimise(counted, 5 * np.eye(P), criterion, **options)
        assert result.status == "budget"
        assert result.evaluations <= budget
    assert steps == calls
    assert counter.evaluations == len(calls)


@pytest.mark.parametrize(
    "loss, status, advice",
    [
        (SINGLE, "stalled", "`dtype `tol`"),
        (LOSS, "stalled", "`tol`"),
        (LOSS, "budget", "`max_evaluations` `tol`"),
        (LOSS, "converged", ""),
    ],
)
def test_the_reason_advises_what_can_help(loss, status, advice):
    """A fit that stalls in float32 is advised to use float64, and one in float64 gets
    other advice.
    """
    reason = replace(solved(arm(0.1, loss), budget=3), status=status).reason(1e-5)
    settings = ("`dtype", "`max_evaluations`", "`tol`")
    assert [name for name in settings if name in reason] == advice.split()


def test_any_objective_can_be_minimised():
    """Without a criterion the first-order estimate stops the descent: near the known optimum A of
    a quadratic, and at the objective of the certified optimum for `global`.
    """
    A = np.diag(np.arange(1.0, P + 1)) + 0.1

    def quadratic(W):
        return Evaluation(1 + 0.5 * float(((W - A) ** 2).sum()), {}, W - A)

    result = minimise(quadratic, np.eye(P), tol=1e-6)
    assert result.status == "converged"
    assert result.gap <= 1e-6 * result.evaluation.value
    np.testing.assert_allclose(result.W, A, atol=1e-6)
    certified = solved(arm(0.1), tol=1e-9)
    assert abs(excess(minimise(arm(0.1), 0.3 * np.eye(P)), certified)) < 1e-5


def of_single_entries(W):
    """The penalty ‖W - diag W‖² and its gradient, which a rotation of W changes."""
    rest = W - np.diag(np.diag(W))
    return float((rest**2).sum()), 2 * rest


@pytest.mark.parametrize(
    "rule, is_optimal", [(partial(penalty, mix=1.0), True), (of_single_entries, False)]
)
def test_symmetric_w_is_optimal_only_for_penalties_that_rotations_keep(rule, is_optimal):
    """A descent over all W, from beside the result of `minimise`, ends at the same value for the
    penalty of the paper, and lower for a penalty of single entries.
    """

    def regularized(W):
        loss, dW = LOSS(W)
        R, dR = rule(W)
        return Evaluation(loss + 0.1 * R, {}, dW + 0.1 * dR)

    def flat(entries):
        value, _, dW = regularized(entries.reshape(P, P))
        return value, dW.ravel()

    result = minimise(regularized, 0.3 * np.eye(P), tol=1e-8)
    start = result.W + 0.1 * normal(P, P, seed=3)
    least = scipy_minimize(flat, start.ravel(), jac=True, options={"gtol": 1e-9}).fun
    assert result.status == "converged"
    assert (result.evaluation.value - least < 1e-6) == is_optimal


def test_a_gradient_that_lies_is_a_stall():
    """If no step lowers the objective and the criterion does not hold, the status is stalled."""

    def liar(W):
        return Evaluation(float((W**2).sum()), {}, -2 * W)

    criterion = NaiveGap(arm(0.1, mix=0.0))
    result = minimise(liar, np.eye(P), criterion, tol=1e-9, max_evaluations=3000)
    assert result.status == "stalled"
    np.testing.assert_allclose(result.W, np.eye(P))


def test_a_tolerance_below_rounding_is_a_stall():
    """A tolerance that float32 cannot meet ends as stalled, long before the budget is spent."""
    result = solved(arm(0.1, SINGLE), tol=1e-16)
    assert result.status == "stalled"
    assert result.evaluations < 300


def test_the_preconditioner_saves_evaluations():
    """If the scales of the features differ widely, the initial inverse Hessian saves two fifths of
    the evaluations.
    """
    rows = normal(60, P, seed=9)
    loss = loss_of(rows * 2.0 ** np.arange(3, -3, -1), by=rows)
    start = identity_scale(arm(0.01, loss))[0] * np.eye(P)
    moments = np.square(loss.X).mean(axis=0), 1.0
    scaled, plain = (solved(arm(0.01, loss), start, s, tol=1e-8).evaluations for s in moments)
    assert scaled <= 0.6 * plain


# certificates


@pytest.mark.parametrize(
    "lmbda, mix",
    matrix("0.01 0.8; 0.01 1; 0.05 1; 10 1; 0.02 0; 0.3 0; 0.99 0"),
)
def test_the_duality_gap_is_a_bound(lmbda, mix):
    """At every point on the way, f - f*, by a much tighter solve, is at most the stated gap, which
    tells whether a fit has converged; λ of `naive` is in multiples of λ_max.
    """
    objective = arm(lmbda if mix else lmbda * lambda_max(WEIGHTED), WEIGHTED, mix)
    tight = solved(objective, tol=1e-11)
    assert tight.gap < 1e-7
    for budget in (1, 2, 3, 6, 16, 1000):
        tol = 1e-4 if budget == 1000 else 1e-2
        result = solved(objective, tol=tol, budget=budget)
        gap = math.inf if result.gap is None else result.gap
        assert -1e-11 <= excess(result, tight) <= gap + 1e-11
        assert (result.status == "converged") == (gap <= tol * result.evaluation.value)
    assert result.status == "converged"


@pytest.mark.parametrize("mix", [0.8, 1.0])
@pytest.mark.parametrize("scale", [1.03, 1.003, 0.997, 0.97])
def test_the_gap_is_tight_where_w_has_another_length(mix, scale):
    """If W is too long or too short, with a feasible softmax or not, the gap is at most
    twice f - f*.
    """
    objective = arm(0.05, mix=mix)
    optimum = solved(objective, tol=1e-11)
    for seed in range(3):
        E = normal(P, P, seed=seed) * np.abs(optimum.W).max() * abs(scale - 1) / 30
        W = scale * optimum.W + E + E.T
        evaluation = objective(W)
        distance = evaluation.value - optimum.evaluation.value
        assert distance <= DualityGap(objective).gap(evaluation, W, distance) <= 2 * distance


def test_a_fit_that_needs_no_bound_ends_by_the_estimate():
    """Near the optimum, the estimate is at least the distance from it, and costs no evaluation; it
    is four times that of a certified fit, since it may be too small by this factor.
    """
    objective = arm(0.05)
    result = solved(objective, criterion=DualityGap(objective, certified=False), tol=1e-4)
    assert result.status == "converged"
    assert result.gap == 4 * DualityGap(objective).estimate(result.evaluation, result.W)
    assert excess(result, solved(objective, tol=1e-11)) <= result.gap


def test_an_indefinite_stationary_point_is_left():
    """From a start with a negative eigenvalue, the solver ends at the optimum and not at the saddle
    nearby.
    """
    optimum = solved(arm(1e-3), tol=1e-10)
    w, Q = np.linalg.eigh(optimum.W)
    w[-1] *= -1  # relative to the largest eigenvalue, which no step carries through 0
    result = solved(arm(1e-3), (Q * w) @ Q.T, tol=1e-8)
    assert result.status == "converged"
    assert result.evaluation.value <= optimum.evaluation.value * (1 + 1e-7)
    assert np.linalg.eigvalsh(result.W)[0] > 0


# λ_max and starts


@pytest.mark.parametrize("mix", [0.0, 0.2, 0.97])
def test_lambda_max_parts_optima_from_zero(mix):
    """Just below λ_max the optimum is below log 3, and from λ_max on no W is; it is 0 where W = 0
    is best without a penalty.
    """
    largest = lambda_max(LOSS, mix)
    assert solved(arm(0.98 * largest, mix=mix), tol=1e-12).evaluation.value < math.log(3)
    for seed in range(50):
        W = symmetric_start(normal(P, P, seed=seed))
        for size in (1e-3, 1e-2, 0.1, 1.0):
            assert arm(largest, mix=mix)(size * W).value >= math.log(3) - 1e-12
    assert lambda_max(paper_loss(0.2)) == 0


@pytest.mark.parametrize(
    "scale, lmbda, mix, alpha",
    matrix("0.01 2e-6 0.5 0; 1 0.02 0.5 0; 1 0.02 0.6 0.8; 50 0.02 1 0"),
)
def test_the_first_identity_is_the_best_scaled_one(scale, lmbda, mix, alpha):
    """No other scaled identity has a lower objective, with the penalty as it counts in the
    objective, as SciPy's scalar minimiser confirms.
    """
    objective = arm(lmbda, loss_of(X * scale, by=X), mix, alpha)

    def value(log_c):
        return objective(math.exp(log_c) * np.eye(P)).value

    best = minimize_scalar(value, bounds=(-12, 5), method="bounded", options={"xatol": 1e-8})
    assert identity_scale(objective) == (pytest.approx(math.exp(best.x), rel=1e-2), False)


def test_the_best_scale_exists_where_no_minimum_does():
    """Features without information start small but not at 0; answers that are all met, and a single
    point, give a finite scale.
    """
    c, is_nearly_0 = identity_scale(arm(1.0, paper_loss(0.2)))
    assert c == pytest.approx(0.1, rel=0.05)  # this makes the mean squared length a hundredth
    assert is_nearly_0
    satisfied = matrix("1 0.1; 1 0; -1 1")
    for rows in (1e-3 * satisfied, satisfied, 1e3 * satisfied, np.ones((3, 1))):
        loss = ChoiceLoss(rows, np.array([[0, 1, 2]], dtype=np.int32), ODD)
        assert 0 < identity_scale(arm(1.0, loss))[0] < math.inf


def test_a_symmetric_start_is_the_same_transform():
    """W → (W Wᵀ)^½ keeps W Wᵀ, hence every similarity, makes W symmetric semidefinite, and raises
    no penalty.
    """
    W = normal(P, P, seed=8)
    V = symmetric_start(W)
    np.testing.assert_array_equal(V, V.T)
    assert np.linalg.eigvalsh(V)[0] > 0
    np.testing.assert_allclose(V @ V.T, W @ W.T)
    for mix in (0.2, 0.7, 1.0):
        assert penalty(V, mix)[0] <= penalty(W, mix)[0]


# the whole fit


@pytest.fixture(scope="module")
def irrelevant():
    """Answers by 4 weak directions of 68, to which the 64 strong ones mean nothing, so that the
    best scale is nearly 0.
    """
    X = normal(300, 68, seed=2) * np.repeat([0.5, 3], [4, 64])
    return FitData(Features(X), simulated_answers(2 * X[:, :2], 6000))


@pytest.mark.parametrize(
    "lmbda, mix", [(1.0, 1.0), pytest.param(0.03, 0.9, marks=pytest.mark.nightly)]
)
def test_a_start_near_0_is_no_optimum(irrelevant, lmbda, mix):
    """If the best scaled identity is nearly 0, a fit from it, or from a point nearer to 0, ends at
    the optimum.
    """
    minimised = ObjectiveSettings("global", lmbda=lmbda, mix=mix)
    tight = (
        Exact(tol=1e-9, max_evaluations=3000, dtype="float64").solve(irrelevant, minimised).report
    )
    near_0 = WarmStart(minimised, 1e-3 * np.eye(68, dtype=np.float32))
    for tol, start in ((1e-2, None), (1e-5, None), (1e-2, near_0), (1e-5, near_0)):
        solver = Exact(tol=tol)
        result = solver.minimise(solver.problem(irrelevant), minimised, start).report
        assert result.status == "converged"
        assert result.certificate == "global optimum: duality gap"
        assert (result.objective / tight.objective - 1) / tol < 1.5


def test_a_length_at_which_similarities_overflow_is_no_bound():
    """With one clear answer and a weak penalty, whose bound is sought at a length at which float32
    overflows, the fit ends with a finite W that is not called converged.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6, 3))
    answer = Answers(np.array([rng.permutation(6)[:3]]))
    local = Features(rng.normal(size=(30, 3)))
    data = FitData(Features(X), answer, local)
    arm = ObjectiveSettings("glocal", alpha=0.9, lmbda=1e-4, tau=0.25)
    result = Exact(1e-5, max_evaluations=300, dtype="float32").solve(data, arm)
    assert result.report.status in ("stalled", "budget")
    assert np.isfinite(result.warm.W).all()
