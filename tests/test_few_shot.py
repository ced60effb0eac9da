"""Few-shot evaluation: draws, the three probes, accuracy over draws and classes, and class names,
alone and beside examples.
"""

import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit, cross_val_score
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from world import normal

from glocal import Features, GLocalError, few_shot, retrieval
from glocal.errors import DataWarning
from glocal.evaluation.class_names import EXAMPLES_IN_A_NAME
from glocal.evaluation.episodes import EpisodeValues, draw_episodes
from glocal.evaluation.probes import PROBES, STRENGTHS
from glocal.similarity import unit_rows


def mixture(classes=6, per_class=20, p=40, spread=1.5):
    """Gaussian classes on decaying directions, away from the origin, with shuffled labels."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(classes), per_class))
    scales = np.linspace(2, 0.05, p)
    X = (rng.normal(size=(classes, p))[y] + spread * rng.normal(size=(len(y), p))) * scales + 0.3
    return X, y


def shots_of(X, y, shots=5):
    """The rows of one draw in a random order."""
    rows = np.random.default_rng(0).permutation(draw_episodes(y, shots, 1)[0])
    return X[rows], y[rows]


def test_draws_are_fixed_and_nested():
    """The rows of a draw stay the same in every version; fewer shots or draws are a part of more,
    and another seed draws others.
    """
    drawn = lambda *counts: draw_episodes(np.repeat([0, 1], 6), *counts).tolist()
    assert drawn(3, 2) == [[3, 5, 4, 11, 6, 9], [5, 0, 2, 10, 9, 7]]
    assert drawn(2, 3) == [[3, 5, 11, 6], [5, 0, 10, 9], drawn(2, 3)[2]]
    assert drawn(3, 2, 8) != drawn(3, 2)


@pytest.mark.parametrize("classes, p", [(30, 15), (2, 120)])
def test_one_shot_is_fitted_without_cross_validation(classes, p):
    """With one image of a class, the probe is LogisticRegression(C=1) on the features, and that
    there are many classes causes no warning.
    """
    test, labels = mixture(classes=classes, p=p, spread=1)
    X, y = shots_of(test, labels, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = LogisticRegression(tol=1e-8, max_iter=5000).fit(X, y)
    scores = PROBES["logistic"](X, y, classes)(test)
    np.testing.assert_allclose(scores, reference.predict_proba(test), atol=1e-3)


def test_one_label_of_many_classes_is_no_regression_problem(recwarn):
    """With one shot there are as many classes as rows, and the user gets no warning of it."""
    y = np.repeat(np.arange(24), 2)
    X = np.eye(24)[y] + 0.1 * normal(48, 24)
    for strength in (None, 10.0):
        assert few_shot(X, y, shots=1, strength=strength, draws=2).accuracy > 0.9
    assert not recwarn.list


def test_the_strength_is_chosen_by_cross_validated_accuracy():
    """C is the smallest value that is right most often in a plain loop over stratified folds, and
    the predictions agree.
    """
    X, y = shots_of(*mixture())
    test, truth = mixture(per_class=60)
    fold = np.empty(30, dtype=int)
    fold[np.argsort(y, kind="stable")] = np.tile(range(5), 6)
    models = [LogisticRegression(C=C, solver="newton-cholesky") for C in STRENGTHS]
    folds = PredefinedSplit(fold)
    right = [cross_val_score(model, X, y, cv=folds).mean() for model in models]
    # for one of 30 shots the prediction may differ
    best = models[int(np.argmax(np.array(right) > max(right) - 0.035))].fit(X, y)
    predicted = PROBES["logistic"](X, y, 6)(test).argmax(axis=1)
    assert np.mean(predicted == truth) == pytest.approx(best.score(test, truth), abs=0.05)


@pytest.mark.parametrize("shots, folds", [(2, 2), (5, 5), (8, 5)])
def test_there_are_as_many_folds_as_shots_up_to_five(shots, folds, monkeypatch):
    """Every fold holds out one shot of each class, or two if there are more shots than folds."""
    made = []
    fit = LogisticRegressionCV.fit
    note = lambda self, X, y: made.append(self.cv) or fit(self, X, y)
    monkeypatch.setattr(LogisticRegressionCV, "fit", note)
    X, y = shots_of(*mixture(), shots)
    PROBES["logistic"](X, y, 6)
    counts = [np.bincount(y[heldout], minlength=6) for _, heldout in made[0].split()]
    assert len(counts) == folds
    assert np.ptp(counts, axis=0).max() <= 1


def test_of_equally_accurate_strengths_the_strongest_penalty_wins():
    """If every C is right about all held-out shots, the smallest is chosen, and the scores hardly
    differ.
    """
    np.testing.assert_allclose(STRENGTHS, 10.0 ** np.arange(-4, 7))
    X = np.repeat([[-1.0, 0.0], [1.0, 0.0]], 5, axis=0)
    y = np.repeat([0, 1], 5)
    assert 0 < np.ptp(PROBES["logistic"](X, y, 2)(X)) < 0.01


def test_ncm_and_1nn_are_those_of_scikit_learn():
    """The predictions are the nearest shot by cosine, and the nearest mean of NearestCentroid on
    unit rows.
    """
    test, labels = mixture()
    X, y = shots_of(test, labels)
    centroids = NearestCentroid().fit(unit_rows(X), y).centroids_
    for probe, rows, names in (("1nn", X, y), ("ncm", centroids, np.arange(6))):
        reference = KNeighborsClassifier(1, metric="cosine", algorithm="brute").fit(rows, names)
        predicted = PROBES[probe](X, y, 6)(test).argmax(axis=1)
        np.testing.assert_array_equal(predicted, reference.predict(test))


@pytest.mark.parametrize("probe", PROBES)
def test_accuracy_is_the_mean_over_draws_of_right_answers(probe):
    """Accuracy equals an explicit loop that fits on each draw and averages right answers over
    classes, the plain accuracy that over images, and the interval is that of draws × images; more
    images are tested than are scored at once.
    """
    X, y = mixture()
    T, truth = mixture(per_class=1000)
    tested = np.flatnonzero(truth != 4)[7:]  # class 4 can only be a wrong answer
    T, truth = T[tested], truth[tested]
    result = few_shot(X, y, T, truth, probe=probe, draws=3, shots=4, seed=5)
    draws = draw_episodes(y, 4, 3, seed=5)
    right = np.array([PROBES[probe](X[d], y[d], 6)(T).argmax(axis=1) == truth for d in draws])
    per_draw = np.mean([right[:, truth == c].mean(axis=1) for c in np.unique(truth)], axis=0)
    assert result.per_draw == pytest.approx(per_draw)
    assert result.accuracy == pytest.approx(per_draw.mean())
    assert result.accuracy_plain == pytest.approx(right.mean())
    units = EpisodeValues(values=right.astype(float), classes=truth, shot_share=4 / 20)
    assert vars(result.units.estimate()) == pytest.approx(vars(units.estimate()))
    assert result.n == len(truth)
    assert result.chance == 1 / 6


def test_left_out_shots_are_not_tested():
    """If training and test rows are the same, a probe that memorises its shots gains nothing from
    them; the errors of shots and tests add then.
    """
    X, y = mixture(classes=3, spread=9)
    by_heart = few_shot(X, y, X, y, probe="1nn")
    left_out = few_shot(X, y, probe="1nn")
    assert by_heart.n == 60
    assert left_out.n == 45
    assert by_heart.accuracy * 60 - 15 == pytest.approx(left_out.accuracy * 45)
    assert not by_heart.units.is_one_set
    assert left_out.units.is_one_set


@pytest.mark.parametrize("shots, draws, is_rough", [(5, 20, False), (5, 19, True), (6, 20, True)])
def test_few_draws_and_small_pools_are_called_rough(shots, draws, is_rough):
    """Intervals from fewer than 20 draws, or from fewer than four images a shot, are called rough
    beside them; nearest class means have 40 draws if nobody names a number.
    """
    X, y = mixture()
    result = few_shot(X, y, shots=shots, draws=draws, probe="ncm")
    marked = [score.text().endswith("(rough)") for score in result.scores]
    assert result.rough == is_rough
    assert marked == [is_rough, False]
    assert few_shot(X, y, X, y, probe="ncm").draws == 40


@pytest.mark.parametrize("probe", ["ncm", "1nn"])
def test_a_large_common_offset_makes_no_ties(probe):
    """Cosines that differ by more than rounding are no ties: rows with an offset of 1e6 along one
    axis score what their differences say, as in retrieval.
    """
    X, y = mixture(classes=4, spread=0.3)
    far = X * 1e3
    far[:, 0] += 1e6
    result = few_shot(far, y, probe=probe, shots=3, draws=4)
    assert min(result.accuracy, retrieval(far, y).map) > 0.9


Y = np.repeat(np.arange(4), 6)
ROWS = normal(24, 5)


def test_superclasses_are_tested_on_classes_that_gave_no_shots():
    """Each draw shows one class of each superclass, and accuracy is that of a loop over the other
    classes.
    """
    X, y = mixture(classes=7, per_class=8)
    side = {name: "ab"[name % 2] for name in range(6)}  # class 6 is in no superclass
    with pytest.warns(DataWarning, match="8 of 56"):
        score = few_shot(X, y, shots=2, draws=4, probe="ncm", superclasses=side)
    X, y = X[y < 6], y[y < 6]
    draws = draw_episodes(y, 2, 4, superclasses=y % 2)
    for shown, accuracy in zip(draws, score.per_draw, strict=True):
        giving = np.unique(y[shown])
        assert sorted(giving % 2) == [0, 1]
        tested = ~np.isin(y, giving)
        predicted = PROBES["ncm"](X[shown], y[shown] % 2, 2)(X[tested]).argmax(axis=1)
        assert np.mean(predicted == y[tested] % 2) == pytest.approx(accuracy)
    assert len(np.unique(y[draws])) > 2
    assert score.n == 32
    assert score.chance == 0.5


def test_a_class_with_too_few_images_is_left_out_and_named():
    """The score is that without the class, whose number of images is warned of; the class of a
    superclass gives no shots but is tested, unless its superclass has no other.
    """
    rows = np.delete(np.arange(24), [0, 18, 19, 20, 21])  # 5 images of class 0, 2 of class 3
    X, y = ROWS[rows], Y[rows]
    score = partial(few_shot, shots=4, draws=1, probe="ncm")
    with pytest.warns(DataWarning, match=r"fewer than 4 training images .*: 3 \(2\)"):
        result = score(X, y)
    expected = score(X[y != 3], y[y != 3])
    assert result.per_draw == expected.per_draw
    assert result.n == expected.n
    with pytest.warns(DataWarning, match="left out: 3"):
        assert score(X, y, superclasses=dict(enumerate("aabb"))).n in (2 + 5, 2 + 6)
    X, y = np.append(X, X, axis=0), np.append(y, y + 4)  # superclass c has no class without 3
    with pytest.warns(DataWarning, match=r"left out: 3 \(2\), 7 \(2\)"):
        assert score(X, y, superclasses=dict(enumerate("aabcaabc"))).chance == 0.5


@pytest.mark.parametrize(
    "noun, change",
    [
        ("probe", {"probe": "svm"}), ("shots", {"shots": 7}), ("class", {"y_test": Y + 1}),
        ("1 class", {"y_train": 0 * Y, "y_test": 0 * Y}),
        ("superclass", {"superclasses": dict(enumerate("abbb"))}),
        ("test image", {"shots": 6, "X_test": None, "y_test": None}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(noun, change, as_a_user):
    """Each kind of wrong argument is refused by an error that names it."""
    with pytest.raises(GLocalError, match=noun):
        few_shot(**{"X_train": ROWS, "y_train": Y, "X_test": ROWS, "y_test": Y} | change)


# class names

NAMES = ("bird", "boat", "car", "cat")
IMAGES, CODES = mixture(classes=4, per_class=15, p=7)
LABELS = np.array(NAMES)[CODES]
Z = IMAGES @ normal(7, 5)
CENTRES = np.stack([IMAGES[c == CODES].mean(axis=0) for c in range(4)])
TEXTS = Features(CENTRES[::-1] + normal(4, 7) - 2, NAMES[::-1])
named = partial(few_shot, texts=TEXTS, originals=IMAGES)


def scaled(scores):
    """Scores less their mean over classes, over the root mean square of all."""
    scores = scores - scores.mean(axis=1, keepdims=True)
    return scores / np.sqrt((scores**2).mean())


def by_names(rows):
    """The cosines of images and texts, both less their own means."""
    texts = unit_rows(TEXTS.matrix[::-1])
    images = unit_rows(rows) - unit_rows(IMAGES).mean(axis=0)
    return unit_rows(images) @ unit_rows(texts - texts.mean(axis=0)).T


def balanced(scores, truth):
    """The accuracy of the classes with the highest scores, as a mean over classes."""
    right = scores.argmax(axis=1) == truth
    return np.mean([right[truth == c].mean() for c in range(4)])


def test_names_alone_are_nearest_texts():
    """Without shots, an image is of the class whose text is nearest, all labelled images are
    tested, and the interval is that over images within their class; the embedding has no part, and
    test images are compared less the mean of the training images.
    """
    result = named(Z, LABELS, shots=0)
    right = by_names(IMAGES).argmax(axis=1) == CODES
    assert result.accuracy == pytest.approx(right.mean())
    assert result.n == 60
    assert result.chance == 0.25
    within = [right[c == CODES].var(ddof=1) / 15 for c in range(4)]
    assert result.units.estimate().error == pytest.approx((sum(within) / 16) ** 0.5)
    assert named(-Z, LABELS, shots=0).scores == result.scores
    test = IMAGES[::2] + normal(30, 7) + 0.5 * np.arange(7)  # of another mean
    apart = named(Z, LABELS, Z[::2], LABELS[::2], shots=0, originals_test=test)
    assert apart.accuracy == pytest.approx(balanced(by_names(test), CODES[::2]))


@pytest.mark.parametrize("shots", [1, 3])
def test_names_and_examples_are_added(shots):
    """The similarities to class means and to names, each centred over the classes and scaled to a
    root mean square of 1, are added; a name counts as two examples.
    """
    result = named(Z, LABELS, shots=shots, draws=6)
    expected = []
    for rows in draw_episodes(CODES, shots, 6):
        tested = np.setdiff1d(np.arange(60), rows)
        means = [unit_rows(Z[rows])[CODES[rows] == c].mean(axis=0) for c in range(4)]
        scores = scaled(unit_rows(Z[tested]) @ unit_rows(np.stack(means)).T)
        scores += scaled(by_names(IMAGES))[tested] * EXAMPLES_IN_A_NAME / shots
        expected.append(balanced(scores, CODES[tested]))
    assert result.per_draw == pytest.approx(expected)
    assert result.scores[0].settings["class_texts"] is True


def test_scores_without_a_spread_leave_the_choice_to_the_other():
    """0/0 is 0: if all examples are one point, names decide; if all texts are one, examples do."""
    alone = named(Z, LABELS, shots=0)
    one_point = np.ones_like(Z)
    names = named(one_point, LABELS, Z, LABELS, shots=1, draws=2, originals_test=IMAGES)
    assert names.accuracy == pytest.approx(alone.accuracy)
    same = Features(np.ones((4, 7)), NAMES)
    examples = named(Z, LABELS, shots=1, draws=4, texts=same)
    assert examples.per_draw == few_shot(Z, LABELS, shots=1, draws=4, probe="ncm").per_draw


def test_a_text_of_no_class_is_counted():
    """Texts that name no class are left out, with a warning, and change nothing."""
    more = Features(np.vstack([normal(2, 7), TEXTS.matrix]), ("dog", "ship", *TEXTS.names))
    with pytest.warns(DataWarning, match="2 of 6 texts"):
        result = named(Z, LABELS, shots=0, texts=more)
    assert result.scores == named(Z, LABELS, shots=0).scores


@pytest.mark.parametrize(
    "noun, change",
    [
        ("texts", {"texts": None, "originals": None}), ("texts", {"texts": None, "shots": 1}),
        ("shots.*at least 1, or 0", {"shots": -1}),
        ("originals", {"originals": None}), ("originals", {"originals_test": IMAGES}),
        ("59 original", {"originals": IMAGES[1:]}), ("columns", {"originals": Z}),
        ("bird", {"texts": Features(TEXTS.matrix[:2], ("cat", "boat"))}),
        ("names", {"texts": Features(TEXTS.matrix)}), ("ncm", {"probe": "logistic"}),
        ("superclasses", {"superclasses": dict(zip(NAMES, "aabb", strict=True))}),
    ],
)  # fmt: skip
def test_names_that_cannot_be_used_are_refused(noun, change, as_a_user):
    """Names without texts, originals or a text for each class, other probes and superclasses are
    refused by an error that names them.
    """
    with pytest.raises(GLocalError, match=noun):
        named(Z, LABELS, **{"shots": 0} | change)
