"""Anomaly detection, its tasks and its metrics with ties; anomaly scores of new images, the
threshold of the alarm, and ``glocal anomaly``.
"""

import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from world import folder, run

from glocal import GLocalError, LinearTransform, anomaly, anomaly_scores, find_anomalies
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.anomaly import anomaly_against, anomaly_of_class
from glocal.evaluation.detection import detection
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
        ("superclasses", {"mode": "shift"}),
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


@pytest.mark.parametrize("test", [(), (TEST, np.full(120, True))])
def test_normal_images_alone_are_refused(test):
    """Without an anomaly, and with fewer normal images than neighbours, there is nothing to score;
    a normal image is no neighbour of its own.
    """
    with pytest.raises(DataError, match="normal or anomalous"):
        anomaly_of_class(TRAIN, np.full(120, True), *test)
    few = np.arange(120) < (4 if test else 5)
    with pytest.raises(DataError, match="has 4 training images, fewer than `k=5`"):
        anomaly_of_class(TRAIN, few, *test, k=5)


@pytest.mark.parametrize("side", [{"X_test": TEST}, {"is_normal_test": TRUTH == 0}])
def test_half_a_test_side_is_refused(side):
    """Test images without their kinds, or kinds without images, are not replaced by the others."""
    with pytest.raises(ParameterError, match="`X_test` and `is_normal_test` go together"):
        anomaly_of_class(TRAIN, LABELS == 0, **side)


# alarms

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=(60, 6)) + 0.6
OTHER = 2.4 * np.eye(6)[::2].sum(axis=0) - 0.6  # another kind, with the same mean of all entries
NEW = np.concatenate([RNG.normal(size=(25, 6)) + 0.6, RNG.normal(size=(15, 6)) + OTHER])


@pytest.mark.parametrize("k", [1, 5])
def test_a_score_is_minus_the_mean_cosine_to_the_nearest(k):
    """Scores equal a loop over images, and a normal row that is there three times counts once."""
    expected = -mean_nearest(NORMAL, NEW, k)
    for rows in (NORMAL, np.concatenate([NORMAL, NORMAL[:20], NORMAL[:20]])):
        np.testing.assert_allclose(anomaly_scores(rows, NEW, k), expected, rtol=1e-12)


@pytest.mark.parametrize("alarm", [0.05, 0.1, 0.3, 0.5])
def test_the_threshold_is_a_rank_among_the_scores_of_normal_images(alarm):
    """It is the ⌈(n + 1)(1 - alarm)⌉-th smallest score of a normal image against the others, and
    an anomaly has a higher score; equal normal rows count once, known new rows are counted.
    """
    new = np.concatenate([NEW, NORMAL[7:9]])
    result = find_anomalies(np.concatenate([NORMAL[:1], NORMAL]), new, alarm=alarm, k=3)
    left_out = [-mean_nearest(np.delete(NORMAL, i, 0), NORMAL[[i]], 3)[0] for i in range(60)]
    threshold = sorted(left_out)[math.ceil(61 * (1 - alarm)) - 1]
    assert result.threshold == pytest.approx(threshold, rel=1e-12)
    assert result.n_normal == 60
    assert result.n_known == 2
    np.testing.assert_array_equal(result.is_anomaly, -mean_nearest(NORMAL, new, 3) > threshold)
    nearest = (unit_rows(new) @ unit_rows(NORMAL).T).argmax(axis=1)
    np.testing.assert_array_equal(result.nearest, nearest + (nearest > 0))


def test_new_rows_that_equal_each_other_are_not_known():
    """New images are known if they equal a normal one, however often they come themselves."""
    assert find_anomalies(NORMAL, np.concatenate([NEW, NEW]), k=3).n_known == 0
    assert find_anomalies(NORMAL, np.concatenate([NORMAL, NORMAL]), k=3).n_known == 120


def test_a_zero_of_either_sign_is_one_number():
    """Rows that differ by the sign of a zero alone are one normal image, and move no threshold."""
    normal = np.where(np.arange(NORMAL.shape[1]) == 0, 0.0, NORMAL)
    twice = np.concatenate([normal, np.where(normal == 0, -0.0, normal)])
    once, again = (find_anomalies(rows, NEW, k=3) for rows in (normal, twice))
    assert once.n_normal == again.n_normal == 60
    assert once.threshold == again.threshold


def test_a_score_at_the_threshold_is_no_alarm():
    """With 19 normal images at an alarm of .05 the threshold is their largest score, which a new
    image that lies as far away does not exceed.
    """
    angles = np.append(np.linspace(0, 0.5, 18), 1.5)
    normal = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    as_far = np.array([[np.cos(-1.0), np.sin(-1.0)], [np.cos(-1.01), np.sin(-1.01)]])
    result = find_anomalies(normal, as_far, k=1)
    assert result.is_anomaly.tolist() == [False, True]


@pytest.mark.parametrize(
    "noun, change",
    [
        ("at least 19", {"normal": NORMAL[:18]}),
        ("at least 6", {"normal": NORMAL[:5], "alarm": 0.5}),
        ("at least 99", {"alarm": 0.01}), ("at least 61", {"k": 60}), ("alarm", {"alarm": 0.6}),
        ("alarm", {"alarm": 0.0}), ("different", {"normal": np.repeat(NORMAL[:10], 3, axis=0)}),
        ("columns", {"new": NEW[:, :4]}), ("NaN", {"new": NEW * np.nan}),
    ],
)  # fmt: skip
def test_alarms_that_cannot_be_raised_are_refused(noun, change, as_a_user):
    """Too few different normal images, a share out of its range and rows that do not match are
    refused by an error that names them.
    """
    with pytest.raises(GLocalError, match=noun):
        find_anomalies(**{"normal": NORMAL, "new": NEW} | change)


@pytest.fixture
def files(here):
    weights = RNG.normal(size=(6, 6)).astype("f4")
    names = [f"n{i}.png" for i in range(40)]
    folder(here / "new", features_npy=NEW, file_names_txt=names)
    transform = LinearTransform(weights, None, 0.6, 1.0)
    folder(here, normal_npy=NORMAL, t_npz=transform, broad_npy=NEW + 0.1)
    return transform


def test_the_command_writes_a_line_for_each_new_image(files):
    """The table has names or rows, scores, alarms and the nearest normal image, of the features as
    they are, of a transform, of one that is recentred on a broad collection, or of the features
    less its mean.
    """
    mean = (NEW + 0.1).mean(axis=0)
    recentred = files.recentred(NEW + 0.1)
    options = {
        "": (NORMAL, NEW), "--transform t.npz": (files(NORMAL), files(NEW)),
        "--transform t.npz --means broad.npy": (recentred(NORMAL), recentred(NEW)),
        "--transform centred --means broad.npy": (NORMAL - mean, NEW - mean),
    }  # fmt: skip
    for option, sides in options.items():
        record = run(f"anomaly normal.npy new {option} --out scores.csv --k 3 --json").json
        table = pd.read_csv("scores.csv")
        expected = find_anomalies(*sides, k=3)
        assert list(table) == ["image", "score", "is_anomaly", "nearest_normal"]
        assert table["image"].tolist() == [f"n{i}.png" for i in range(40)]
        np.testing.assert_allclose(table["score"], expected.scores, atol=1e-5)
        assert table["is_anomaly"].sum() == record["n_anomalies"]
        assert record["threshold"] == pytest.approx(expected.threshold, abs=1e-5)
        assert table["nearest_normal"].between(0, 59).all()
    assert "new images are anomalies" in run("anomaly normal.npy new --out scores.csv").out
