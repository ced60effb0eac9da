"""Anomaly detection: its tasks, its metrics with ties, and its edge cases."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from glocal.errors import CollapseWarning, DataError, DataWarning, GLocalError
from glocal.evaluation.anomaly import anomaly, anomaly_against, detection
from glocal.evaluation.intervals import FRACTION
from glocal.similarity import unit_rows


def simulated(seed, classes=4, p=12):
    """Training and test images of some classes, with labels, near enough to be confused; some rows
    are 0.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, p)) + 0.3
    labels, truth = np.repeat(np.arange(classes), 30), np.tile(np.arange(classes), 30)
    train, test = (centres[c] + 1.4 * rng.normal(size=(len(c), p)) for c in (labels, truth))
    train[::7] = test[::11] = 0
    return train, labels, test, truth


def mean_nearest(train, test, k):
    """The mean cosine with the k nearest training images; that of a row of zeros is 0."""
    return np.sort(unit_rows(test) @ unit_rows(train).T, axis=1)[:, -k:].mean(axis=1)


def columns(result, *names):
    return np.array([[row[name] for row in result.per_class] for name in names])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tied", [False, True])
def test_detection_is_that_of_scikit_learn(seed, tied):
    """AUROC and AUPR are scikit-learn's, and without ties FPR95 is its first rate with a
    true-positive rate of 0.95.
    """
    rng = np.random.default_rng(seed)
    anomalous = rng.uniform(size=80) < 0.3
    scores = rng.normal(size=80) + anomalous
    scores = np.round(scores) if tied else scores
    *areas, fpr95 = detection(anomalous, scores)
    expected = [area(anomalous, scores) for area in (roc_auc_score, average_precision_score)]
    assert areas == pytest.approx(expected, rel=1e-12)
    if not tied:
        fpr, tpr, _ = roc_curve(anomalous, scores, drop_intermediate=False)
        assert fpr95 == pytest.approx(fpr[np.argmax(tpr >= 0.95)], rel=1e-9)


def test_fpr95_of_ties_is_what_random_flags_give():
    """If images tie at the threshold, FPR95 lies on the line between both ends of the tie."""
    anomalous = np.repeat([True, False], 20)
    scores = np.repeat([2.0, 1.0, 0.0], [18, 12, 10])
    # 19 of 20 anomalies: one of the two that tie, with half of the ten normal images that tie
    assert detection(anomalous, scores)[2] == pytest.approx(5 / 20, rel=1e-9)
    scores[18] = 2.0  # exactly 95 % of the anomalies before the tie
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


modes = pytest.mark.parametrize("mode", ["one-vs-rest", "leave-one-out"])


@modes
@pytest.mark.parametrize("k", [1, 5])
def test_the_tasks_equal_one_search_a_class(mode, k):
    """AUROCs use the mean cosine with the nearest images of one class, or of all others, and
    unknown labels are anomalies; the interval is that of placement values, within classes.
    """
    train, labels, test, truth = simulated(1)
    train, labels = train[labels != 3], labels[labels != 3]
    result = anomaly(train, labels, test, truth, mode=mode, k=k)
    expected = []
    influence = np.zeros(len(truth))
    for shown, anomalous in tasks_of(mode, train, labels, truth):
        scores = -mean_nearest(shown, test, k)
        auroc = roc_auc_score(anomalous, scores)
        sizes = [np.sum(~anomalous), np.sum(anomalous)]
        expected.append((auroc, *sizes))
        lower = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
        for group, others in ((anomalous, ~anomalous), (~anomalous, anomalous)):
            share = lower[np.ix_(group, others)].mean(axis=1)
            placement = share if group is anomalous else 1 - share
            influence[group] += (placement - auroc) / group.sum() / 3
    per_class = columns(result, "auroc", "normal", "anomalous")
    np.testing.assert_allclose(per_class.T, expected, rtol=1e-9)
    assert result.auroc == pytest.approx(np.mean(expected, axis=0)[0])
    for c in range(4):
        influence[truth == c] -= influence[truth == c].mean()
    variance = len(truth) / (len(truth) - 4) * influence @ influence
    assert result.units.estimate().error == pytest.approx(variance**0.5)
    assert (result.low, result.high) == result.units.estimate().interval(FRACTION)


def test_shift_trains_on_half_of_the_classes_of_a_superclass():
    """The first half of the classes of each superclass, rounded up, is trained on, and its test
    images are left out.
    """
    train, classes, test, truth = simulated(4, classes=6)
    side = {name: "ab"[name // 3] for name in range(6)}
    result = anomaly(train, classes, test, truth, k=5, superclasses=side)
    expected = []
    for c, pair in enumerate(((0, 1), (3, 4))):
        used = ~np.isin(truth, (0, 1, 3, 4)) | (truth // 3 != c)
        scores = -mean_nearest(train[np.isin(classes, pair)], test[used], 5)
        expected.append(roc_auc_score(truth[used] // 3 != c, scores))
    assert result.mode == "shift"
    np.testing.assert_allclose(columns(result, "auroc"), [expected], rtol=1e-9)


def test_one_data_set_against_another():
    """All images of one set are trained on and those of the other are the anomalies; the interval
    is that of the placement values.
    """
    train, _, test, _ = simulated(1)
    others = simulated(9)[2]
    result = anomaly_against(train, test, others, k=3)
    normal, anomalous = (-mean_nearest(train, rows, 3) for rows in (test, others))
    is_lower = (normal[:, None] < anomalous) + (normal[:, None] == anomalous) / 2
    assert result.auroc == pytest.approx(is_lower.mean(), rel=1e-9)
    assert (result.n, result.mode, result.per_class[0]["class"]) == (240, "against", "all")
    # DeLong et al. (1988)
    variance = sum(np.var(is_lower.mean(axis=axis)) / 119 for axis in (0, 1))
    assert result.high == pytest.approx(result.auroc + 1.96 * variance**0.5, abs=1e-3)


@modes
def test_ties_of_whole_numbers_are_ties(mode):
    """On rows of signs, whose cosines are whole numbers over p, a rotation changes no metric."""
    rng = np.random.default_rng(2)
    train, test = (rng.choice([-1.0, 1.0], size=(n, 24)) for n in (90, 60))
    labels, truth = np.arange(90) % 3, np.arange(60) % 3
    Q = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    metrics = []
    for rotation in (np.eye(24), Q):
        result = anomaly(train @ rotation, labels, test @ rotation, truth, mode=mode, k=3)
        metrics.append(columns(result, "auroc", "aupr", "fpr95"))
    np.testing.assert_allclose(*metrics, rtol=1e-9)


@pytest.mark.parametrize("noise", [0, 1e-9])
@modes
def test_collapsed_features_are_exactly_chance(noise, mode):
    """If all images are at one point, or apart only by rounding, AUROC is exactly 0.5, without an
    interval.
    """
    train, labels, test, truth = simulated(1)
    with pytest.warns(CollapseWarning):
        result = anomaly(1 / 3 + noise * train, labels, 1 / 3 + noise * test, truth, mode=mode)
    assert columns(result, "auroc").tolist() == [[0.5] * 4]
    assert (result.auroc, result.low, result.high) == (0.5, None, None)


def test_a_class_missing_in_the_test_is_left_out_aloud():
    """A class without test images is left out of the average with a warning; without another class
    there is no task.
    """
    test, truth = TEST[TRUTH != 1], TRUTH[TRUTH != 1]
    with pytest.warns(DataWarning, match="1 of 4 classes"):
        result = anomaly(TRAIN, LABELS, test, truth)
    assert columns(result, "class").tolist() == [[0, 2, 3]]
    with pytest.raises(DataError, match="normal or anomalous"):
        anomaly(TRAIN[LABELS == 1], LABELS[LABELS == 1], test, truth)


TRAIN, LABELS, TEST, TRUTH = simulated(1)


@pytest.mark.parametrize(
    "noun, change",
    [
        ("superclasses", {"mode": "leave-one-out", "superclasses": {0: "a", 1: "b"}}),
        ("superclasses", {"mode": "shift"}), ("mode", {"mode": "best"}),
        ("cat", {"superclasses": {"cat": "animal"}}), ("class 0 has 30", {"k": 31}),
        ("columns", {"test": TEST[:, :5]}), ("names", {"test_labels": TRUTH.astype(str)}),
        ("normal", {"superclasses": dict(enumerate("abcd"))}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(noun, change, as_a_user):
    """Each kind of wrong argument is refused by an error that names it."""
    arguments = {"train": TRAIN, "train_labels": LABELS, "test": TEST, "test_labels": TRUTH}
    with pytest.raises(GLocalError, match=noun):
        anomaly(**arguments | change)
