"""Anomaly detection: its tasks, its metrics with ties, and its edge cases."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from glocal import GLocalError, anomaly
from glocal.errors import DataError, DataWarning
from glocal.evaluation.anomaly import anomaly_against, detection
from glocal.similarity import unit_rows


def simulated(seed, classes=4):
    """Training and test images of some classes, with labels, near enough to be confused; some rows
    are 0.
    """
    rng = np.random.default_rng(seed)
    labels, truth = np.repeat(np.arange(classes), 30), np.tile(np.arange(classes), 30)
    centres = rng.normal(size=(classes, 12)) + 0.3
    train, test = (centres[c] + 1.4 * rng.normal(size=(len(c), 12)) for c in (labels, truth))
    train[::7] = test[::11] = 0
    return train, labels, test, truth


TRAIN, LABELS, TEST, TRUTH = simulated(1)


def mean_nearest(train, test, k):
    """The mean cosine with the k nearest training images; that of a row of zeros is 0."""
    return np.sort(unit_rows(test) @ unit_rows(train).T, axis=1)[:, -k:].mean(axis=1)


def is_lower(normal, anomalous):
    """Whether each normal image has a lower score than each anomaly; a tie counts half."""
    return (normal[:, None] < anomalous) + (normal[:, None] == anomalous) / 2


def test_detection_is_that_of_scikit_learn():
    """AUROC, AUPR, and the first false-positive rate with a true-positive rate of 0.95."""
    rng = np.random.default_rng(0)
    anomalous = rng.uniform(size=80) < 0.3
    scores = rng.normal(size=80) + anomalous
    fpr, tpr, _ = roc_curve(anomalous, scores, drop_intermediate=False)
    expected = [area(anomalous, scores) for area in (roc_auc_score, average_precision_score)]
    assert detection(anomalous, scores) == pytest.approx((*expected, fpr[np.argmax(tpr >= 0.95)]))


def test_fpr95_of_ties_is_what_random_flags_give():
    """If images tie at the threshold, FPR95 lies on the line between both ends of the tie."""
    anomalous = np.repeat([True, False], 20)
    scores = np.repeat([2.0, 1.0, 0.0], [18, 12, 10])
    # 19 of 20 anomalies: one of the two that tie, with half of the ten normal images that tie
    assert detection(anomalous, scores)[2] == pytest.approx(5 / 20, rel=1e-9)
    scores[18] = 2.0  # exactly 95 % of the anomalies before the tie
    assert detection(anomalous, scores)[2] == 0.0
    scores[:20] = np.repeat([3.0, 0.5], [19, 1])  # exactly 95 %, then normal images, then the last
    assert detection(anomalous, scores)[2] == 0.0
    assert detection(anomalous, 0 * scores) == pytest.approx((0.5, 0.5, 0.95), rel=1e-9)


def tasks_of(mode, train, labels, truth):
    """The training images and the anomalies of the task of each class; other labels are
    anomalies.
    """
    for c in np.unique(labels):
        if mode == "one-vs-rest":
            yield train[labels == c], truth != c
        else:
            yield train[labels != c], (truth == c) | ~np.isin(truth, labels)


@pytest.mark.parametrize("mode", ["one-vs-rest", "leave-one-out"])
def test_the_tasks_equal_one_search_a_class(mode):
    """AUROCs use the mean cosine with the nearest images of one class, or of all others, and
    unknown labels are anomalies; the interval is that of placement values, within classes.
    """
    train, labels = TRAIN[LABELS != 3], LABELS[LABELS != 3]
    result = anomaly(train, labels, TEST, TRUTH, mode=mode, k=3)
    expected = []
    influence = np.zeros(120)
    for shown, anomalous in tasks_of(mode, train, labels, TRUTH):
        scores = -mean_nearest(shown, TEST, 3)
        lower = is_lower(scores[~anomalous], scores[anomalous])
        auroc = lower.mean()
        expected.append((auroc, sum(~anomalous), sum(anomalous)))
        for group, axis in ((anomalous, 0), (~anomalous, 1)):
            influence[group] += (lower.mean(axis=axis) - auroc) / group.sum() / 3
    per_class = pd.DataFrame(result.per_class)[["auroc", "normal", "anomalous"]]
    np.testing.assert_allclose(per_class, expected, rtol=1e-9)
    assert result.auroc == pytest.approx(np.mean(expected, axis=0)[0])
    for some in np.eye(4, dtype=bool)[TRUTH].T:
        influence[some] -= influence[some].mean()
    estimate = result.units.estimate()
    assert estimate.error == pytest.approx((120 / 116 * influence @ influence) ** 0.5)


def test_shift_trains_on_half_of_the_classes_of_a_superclass():
    """The first half of the classes of each superclass, rounded up, is trained on, and its test
    images are left out.
    """
    train, classes, test, truth = simulated(4, classes=6)
    side = {name: "ab"[name // 3] for name in range(6)}
    result = anomaly(train, classes, test, truth, k=5, superclasses=side)
    for c in range(2):
        scores = -mean_nearest(train[np.isin(classes, (3 * c, 3 * c + 1))], test, 5)
        lower = is_lower(scores[truth == 3 * c + 2], scores[truth // 3 != c])
        assert result.per_class[c]["auroc"] == pytest.approx(lower.mean())


def test_one_data_set_against_another():
    """All images of one set are trained on and those of the other are the anomalies."""
    others = simulated(9)[2]
    result = anomaly_against(TRAIN, TEST, others, k=3)
    lower = is_lower(*(-mean_nearest(TRAIN, rows, 3) for rows in (TEST, others)))
    assert result.auroc == pytest.approx(lower.mean())
    assert result.n == 240
    assert result.mode == "against"


def test_a_class_missing_in_the_test_is_left_out_aloud():
    """A class without test images is left out of the average with a warning; without another class
    there is no task.
    """
    test, truth = TEST[TRUTH != 1], TRUTH[TRUTH != 1]
    with pytest.warns(DataWarning, match="1 of 4 classes"):
        result = anomaly(TRAIN, LABELS, test, truth)
    assert [row["class"] for row in result.per_class] == [0, 2, 3]
    with pytest.raises(DataError, match="normal or anomalous"):
        anomaly(TRAIN[LABELS == 1], LABELS[LABELS == 1], test, truth)


@pytest.mark.parametrize(
    "noun, change",
    [
        ("superclasses", {"mode": "leave-one-out", "superclasses": {0: "a", 1: "b"}}),
        ("superclasses", {"mode": "shift"}),
        ("superclasses", {"mode": "one-vs-rest", "superclasses": {0: "a", 1: "b"}}),
        ("mode", {"mode": "best"}), ("class 0 has 30", {"k": 31}),
        ("columns", {"test": TEST[:, :5]}), ("names", {"test_labels": TRUTH.astype(str)}),
        ("normal", {"superclasses": dict(enumerate("abcd"))}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(noun, change, as_a_user):
    """Each kind of wrong argument is refused by an error that names it."""
    arguments = {"train": TRAIN, "train_labels": LABELS, "test": TEST, "test_labels": TRUTH}
    with pytest.raises(GLocalError, match=noun):
        anomaly(**arguments | change)
