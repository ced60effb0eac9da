"""Class names: which means and which rows the texts of classes meet, by plain numpy."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from world import normal

from glocal import Features, few_shot
from glocal.errors import DataWarning
from glocal.evaluation import probes
from glocal.evaluation.class_names import NameScores
from glocal.evaluation.few_shot import few_shot_by_superclass

TEXTS = Features(np.eye(6)[:3] + 0.2 * normal(3, 6, seed=5), (*"012",))


def images(sizes, shift, seed):
    """Rows of classes about a mean that differs by the `shift`, with their labels."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    noise = 0.6 * normal(len(y), 6, seed=seed)
    return shift + np.eye(6)[y] + noise, y


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_texts_meet_the_rows_of_the_images_that_are_tested():
    """A small class that is left out changes nothing by standing before the others."""
    X, y = images([2, 20, 20], 0.3, 1)
    scores = []
    for turn in (0, -2):
        rows = np.roll(X, turn, axis=0)
        with pytest.warns(DataWarning):
            score = few_shot(rows, np.roll(y, turn), shots=3, texts=TEXTS, originals=rows)
        scores.append(score.accuracy)
    assert scores[0] == pytest.approx(scores[1])


def test_rows_without_a_label_leave_each_image_its_own_names():
    """Beside all labels, rows without a label that leave the mean as it is change nothing."""
    X, y = images([20, 20, 20], 0.3, 1)
    expected = few_shot(X, y, shots=None, texts=TEXTS, originals=X)
    rows = np.vstack([X[::-1], X])
    labels = np.append(np.full(60, np.nan), y)
    with pytest.warns(DataWarning, match="60 of 120 rows have no label"):
        result = few_shot(rows, labels, shots=None, texts=TEXTS, originals=rows)
    assert result.accuracy == pytest.approx(expected.accuracy)


def test_names_and_all_labels_count_alike():
    """The log-probabilities of scikit-learn's regression and the cosines with the texts are added,
    each less its mean over classes and divided by its root mean square over the test images.
    """
    X, y = images([20, 20, 20], 0.3, 1)
    T, truth = images([10, 10, 5], 0.3, 2)
    rows = unit(X) - unit(X).mean(axis=0)
    tested = unit(T) - unit(X).mean(axis=0)
    model = LogisticRegression(C=100, tol=1e-8, max_iter=5000).fit(rows, y)
    texts = unit(unit(TEXTS.matrix) - unit(TEXTS.matrix).mean(axis=0))
    total = 0
    for scores in (model.predict_log_proba(tested), unit(tested) @ texts.T):
        centred = scores - scores.mean(axis=1, keepdims=True)
        total = total + centred / np.sqrt(np.mean(centred**2))
    is_right = total.argmax(axis=1) == truth
    options = {"shots": None, "texts": TEXTS, "originals": X, "originals_test": T}
    result = few_shot(X, y, T, truth, **options)
    expected = np.mean([is_right[truth == label].mean() for label in range(3)])
    assert result.accuracy == pytest.approx(expected)
    alone = few_shot(X, y, T, truth, shots=None).accuracy
    assert result.accuracy != pytest.approx(alone)


def test_two_classes_with_equal_texts_share_their_images():
    """Texts that differ by rounding alone tie, so that an image of either class earns a half."""
    X, y = images([20, 20, 20], 0.0, 1)
    T = TEXTS.matrix.copy()
    T[1] = T[0] * (1 + 1e-15)
    texts = Features(T, (*"012",))
    alone = few_shot(X, y, shots=0, texts=texts, originals=X)
    assert {*alone.by_image[y < 2].tolist()} <= {0.0, 0.5}


def test_names_beside_examples_round_by_both_in_the_unit_of_each():
    """Examples of root mean square 3 are divided by it, and so is their rounding difference; the
    difference of the names is added.
    """
    names = NameScores(np.array([[0.0, 0.0], [1.0, -1.0]]), tolerance=0.25)
    both = names.beside(np.array([[3.0, -3.0]]), np.array([1]), tolerance=0.6)
    np.testing.assert_allclose(both.scores, [[2.0, -2.0]])
    assert both.tolerance == pytest.approx(0.6 / 3 + 0.25)


def test_chance_of_superclasses_counts_the_classes_of_each():
    """A class of the true superclass is hit by chance in (2² + 1²) / 3² of cases."""
    X, y = images([8, 8, 8], 0.3, 1)
    score = few_shot_by_superclass(X, y, superclasses={0: "a", 1: "a", 2: "b"})
    assert score.chance == pytest.approx(5 / 9)


def test_the_interval_counts_the_share_of_each_class_that_gives_shots():
    """The share is a mean over classes, which a class of few images raises."""
    X, y = images([4, 8, 40], 0.3, 1)
    units = few_shot(X, y, shots=2, draws=3, probe="ncm").units
    assert units.shot_share == pytest.approx((2 / 4 + 2 / 8 + 2 / 40) / 3)


def test_names_are_scaled_by_all_images_of_a_draw(monkeypatch):
    """Beside names, the scores of examples have one scale for all images of a draw."""
    X, y = images([40, 40, 40], 0.3, 1)
    options = {"shots": 1, "draws": 5, "texts": TEXTS, "originals": X}
    expected = few_shot(X, y, **options).per_draw
    monkeypatch.setattr(probes, "_CHUNK", 3)
    assert few_shot(X, y, **options).per_draw == expected
