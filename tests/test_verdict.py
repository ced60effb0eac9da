"""The verdict about a user's own images in each situation, and ``glocal try``."""

import shlex
import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fits import record_of, row_record
from world import folder, normal, run

import glocal
from glocal import Answers, Features, GLocalError, LinearTransform, few_shot, retrieval, verdict
from glocal._version import __version__
from glocal.advice import read_situations
from glocal.advice import situation as situation_rows
from glocal.data.seen import sketch
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.evaluation.anomaly import anomaly_of_class
from glocal.scores import ORIGINAL, read_scores
from glocal.verdict import arms as arms_module
from glocal.verdict import images
from glocal.verdict.arms import CENTRED
from glocal.verdict.choice import Situation
from glocal.verdict.decision import KEPT
from glocal.verdict.examples import (
    ALL_LABELS,
    AND_NAMES,
    EXAMPLES,
    FIVE_LABELS,
    NAMES,
    NAMES_ALONE,
    NAMES_AND_EXAMPLES,
    NAMES_OR_EXAMPLES,
    ONE_LABEL,
    SEARCH,
    SUPERCLASSES,
    Search,
)
from glocal.verdict.images import select_rows
from glocal.verdict.sentences import commands, sentences

pytestmark = pytest.mark.usefixtures("without_type_checks")
RECORD = record_of(rows=row_record(9.0, 1.0, 26.0, normalize=False))
HARMLESS = LinearTransform(np.eye(8, dtype="f4"), np.full(8, 9, "f4"), 9.0, 1.0, RECORD)  # z = x


def made_rows(n=20, classes=4, seed=0):
    """Images of a few classes that are seen more or less clearly, about a common mean."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), n)
    clarity = np.exp(rng.normal(size=(len(y), 1)))
    return 9 + clarity * (np.eye(8)[y] + 0.3 * rng.normal(size=(len(y), 8))), y


def by_name(result):
    return {situation.name: situation for situation in result.situations}


def value(result, name, arm=CENTRED):
    """The score of an arm in a situation."""
    return result.scores.score("", name, arm).value


def few_shot_by_regression(*sides, **options):
    return few_shot(*sides, probe="logistic", strength=10.0, draws=40, **options)


def test_each_situation_is_decided_by_its_own_scores():
    """Own means serve a search where images differ in clarity, while logistic regression needs
    none; the scores of each situation are those of its evaluation, the gain has an interval that is
    corrected for all pairs of arms, and among the arms are no transforms of other networks.
    """
    X, y = made_rows()
    result = verdict(X, y, transforms={"same": HARMLESS})
    situations = by_name(result)
    assert [*situations] == [ONE_LABEL, FIVE_LABELS, ALL_LABELS, SEARCH]
    assert (situations[ONE_LABEL].arm, situations[SEARCH].arm) == (ORIGINAL, CENTRED)
    assert situations[ONE_LABEL].metric == "accuracy_logistic"
    Z = X - X.mean(axis=0)
    expected = {
        ONE_LABEL: few_shot_by_regression(Z, y, shots=1),
        FIVE_LABELS: few_shot_by_regression(Z, y, shots=5),
        ALL_LABELS: few_shot(Z, y, shots=None),
        SEARCH: retrieval(Z, y),
    }
    for name, of_arm in expected.items():
        assert value(result, name) == pytest.approx(of_arm.scores[0].value, abs=1e-6)
        gain = result.scores.gain("", name, CENTRED, ORIGINAL)
        line = situations[name]
        if line.arm == CENTRED:
            stated = (line.value, line.gain, line.gain_low)
            assert stated == (value(result, name), gain.value, gain.low)
    assert {row.transform for row in result.scores} == {ORIGINAL, CENTRED, "same"}
    assert value(result, KEPT, "same") == 1


def test_a_class_with_few_images_leaves_out_itself_where_they_are_too_few():
    """Fewer than 6 different images never count, and change nothing; 6 to 11 count with one label
    and in a search, which are then rough: a step needs a corrected p below .005.
    """
    X, y = made_rows()
    few = np.vstack([X, X[:5] + 0.01])
    texts = Features(np.eye(8)[[0, 1, 2, 3, 7]], (*"01237",))
    result = verdict(X, y)
    with pytest.warns(DataWarning, match="1 of 5 texts"):
        other = verdict(few, np.append(y, [7] * 5), class_texts=texts)
    assert other.left_out[NAMES] == {}  # which needs no examples
    assert {other.left_out[name][7] for name in by_name(other) if name != NAMES} == {5}
    for name, situation in by_name(result).items():
        assert by_name(other)[name].rough == situation.rough
    names = (ONE_LABEL, ONE_LABEL + AND_NAMES)
    assert len({other.scores.score("", name, ORIGINAL).n for name in names}) == 1
    some = np.vstack([X, X[:8] + 0.01])
    situations = by_name(verdict(some, np.append(y, [7] * 8)))
    rough = [name for name, situation in situations.items() if situation.rough]
    assert rough == [ONE_LABEL, SEARCH]


def test_what_cannot_be_decided_says_what_it_needs():
    """With 8 images a class, five labels and all labels need more, and the other lines stand; with
    5 each line says what it needs, and one class alone is an error.
    """
    X, y = made_rows(n=8)
    situations = by_name(verdict(X, y))
    assert situations[FIVE_LABELS].reason == "needs two classes of 12 images; you have 0"
    assert [name for name, one in situations.items() if one.arm] == [ONE_LABEL, SEARCH]
    few = verdict(*made_rows(n=5))
    assert [situation.arm for situation in few.situations] == [None] * 4
    assert few.text_lines()[0].endswith("needs two classes of 6 images; you have 0")
    with pytest.raises(DataError, match="one class"):
        verdict(X[:8], y[:8])


def test_equal_rows_are_one_image():
    """Rows that equal another are counted in a warning, and do not help a class to 12 images."""
    X, y = made_rows(n=13)
    X[1:3] = X[0]  # 11 different images of class 0
    with pytest.warns(DataWarning, match="2 of 52 rows"):
        result = verdict(X, y)
    assert result.left_out[ALL_LABELS] == {0: 11}
    assert result.left_out[ONE_LABEL] == {}


def test_many_images_are_sampled_for_all_labels(monkeypatch):
    """Above the largest number of images a sample in which classes keep their shares decides what
    all labels give, and the line says of how many.
    """
    monkeypatch.setattr(images, "MAX_IMAGES", 100)
    X, y = made_rows(n=50)
    result = verdict(X, y)
    assert by_name(result)[ALL_LABELS].head == "with 25 of your 50 labels a class"
    assert result.scores.score("", ALL_LABELS, ORIGINAL).n == 100
    result = verdict(X[:-20], y[:-20])
    assert by_name(result)[ALL_LABELS].head == "with 97 of your 180 labels"


def fitted_to(features, answers):
    """A harmless transform that says that it was fitted to these answers."""
    fitted = {"fitted": sketch(features, answers)}
    return replace(HARMLESS, record=HARMLESS.record.model_copy(update=fitted))


def test_images_that_a_transform_was_fitted_to_are_warned_of():
    """A transform that was fitted to answers about the labelled images is named with their share;
    one that was fitted to others is not.
    """
    X, y = made_rows()
    answers = Answers(np.array([np.roll(np.arange(40), -k)[:3] for k in range(40)]))
    fitted = fitted_to(Features(X), answers)
    with pytest.warns(DataWarning, match="same was fitted to answers about 50% of these images"):
        verdict(X, y, transforms={"same": fitted})
    with pytest.warns(DataWarning, match="50%"):  # those that are scored count
        verdict(*made_rows(seed=1), test=X, test_labels=y, transforms={"same": fitted})
    verdict(X, y, transforms={"same": fitted_to(Features(-X), answers)})


def test_of_many_rows_a_sample_is_scored_and_said(monkeypatch):
    """Above the limit, classes are scored in proportion to their sizes, small ones by at least 12
    rows; arms are centred by the means of all rows, and all labels are counted.
    """
    monkeypatch.setattr(images, "MAX_ROWS", 900)
    monkeypatch.setattr(images, "SAMPLE_ROWS", 100)
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(["large", "small", "medium"], [600, 15, 300]))
    X = rng.normal(size=(len(y), 8)) + 1
    with pytest.warns(DataWarning, match="of 915 rows are scored"):
        selected = select_rows(Features(X), y)
    names, sizes = np.unique(selected.labels, return_counts=True)
    assert names.tolist() == ["large", "medium", "small"]
    assert sizes.tolist() == [65, 32, 12]
    assert len(selected.whole) == 915
    some = X[np.isin(X[:, 0], selected.features.matrix[:, 0])]
    assert (selected.features.matrix == some).all()
    with pytest.warns(DataWarning, match="of 915 rows"):
        result = verdict(X, y)
    assert by_name(result)[ALL_LABELS].head == "with 109 of your 915 labels"
    expected = retrieval(some - X.mean(axis=0), selected.labels).map
    assert value(result, SEARCH) == pytest.approx(expected, abs=1e-6)


def test_superclasses_need_only_the_superclass():
    """With one label a class, a class of the true superclass is right; classes without one are
    left out, and two superclasses are needed.
    """
    X, y = made_rows(n=12, classes=6)
    result = verdict(X, y, superclasses=dict(enumerate("aabbc")))
    score = result.scores.score("", SUPERCLASSES, ORIGINAL)
    assert score.value > value(result, ONE_LABEL, ORIGINAL)
    assert score.n == 5 * 11
    assert result.left_out[SUPERCLASSES] == {5: 12}
    (line,) = [text for text in result.text_lines() if "classes left out" in text]
    assert line.endswith("without a superclass: 1")
    one = by_name(verdict(X, y, superclasses={0: "a", 1: "a"}))[SUPERCLASSES]
    assert one.arm is None
    assert "two superclasses" in one.reason


def test_what_is_not_a_class_is_found_by_the_images_of_it():
    """Each normal image is compared with the others, and the mean that is subtracted is of a
    collection with 5 % others, or of `means`; at least 20 of each are needed, and a class that
    nobody has is refused.
    """
    X, y = made_rows(n=10)
    is_normal = np.isin(y, [1, 2])
    collection = X[::3] + 1
    with_others = 0.95 * X[is_normal].mean(axis=0) + 0.05 * X[~is_normal].mean(axis=0)
    for means, origin, share in (
        (None, with_others, 0.05),
        (collection, collection.mean(axis=0), None),
    ):
        result = verdict(X, y, normal=[1, 2], means=means)
        expected = anomaly_of_class(X - origin, is_normal).auroc
        assert value(result, "not 1, 2") == pytest.approx(expected)
        assert by_name(result)["not 1, 2"].share_of_others == share
        assert by_name(result)[SEARCH].share_of_others is None
        others = verdict(X, y)
        assert value(result, SEARCH) == value(others, SEARCH)
    with pytest.raises(ParameterError, match="`means`"):
        verdict(X, y, means=collection)
    few = by_name(verdict(*made_rows(n=12), normal=[1]))["not 1"]
    assert few.reason == "needs 20 images of 1 and as many others; you have 12 and 36"
    with pytest.raises(ParameterError, match="normal"):
        verdict(X, y, normal=["bird"])


def test_the_mean_does_not_depend_on_the_share_of_anomalies_here(tmp_path, monkeypatch):
    """With each anomaly four times in the set, the origins are the same: a recentred transform has
    1 / .95 times the normal images beside the 30 of its own origin, and is what `transform` gives.
    """
    box = tmp_path / "box.npz"
    HARMLESS.save(box)
    monkeypatch.setattr(arms_module, "bundled", lambda: {"box": box})
    X, y = made_rows(n=30, classes=3)
    more = np.concatenate([np.flatnonzero(y == 1), np.repeat(np.flatnonzero(y != 1), 4)])
    with_others = 0.95 * X[y == 1].mean(axis=0) + 0.05 * X[y != 1].mean(axis=0)
    n = round(30 / 0.95)
    origins = {CENTRED: with_others, "box, recentred": n / (n + 30) * with_others}
    for rows in (np.arange(len(y)), more):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # of equal rows
            result = verdict(X[rows], y[rows], normal=[1])
        for arm, origin in origins.items():
            transform = result.transforms["not 1"][arm]
            np.testing.assert_allclose(transform(X) * transform.std, X - origin, atol=1e-4)
            expected = anomaly_of_class(X[rows] - origin, y[rows] == 1).auroc
            assert value(result, "not 1", arm) == pytest.approx(expected, abs=1e-6)


def test_a_fixed_transform_finds_anomalies_unless_a_mean_is_certainly_better():
    """Of a fixed transform and a mean that both gain, the fixed one is recommended; with a mean of
    a collection around which the normal class lies closer, the mean is. The gain of the mean stands
    beside the transform's, and the command finds anomalies.
    """
    X, y = made_rows(n=30, classes=3)
    origin = X.mean(axis=0)
    shift = LinearTransform(np.eye(8, dtype="f4"), -origin.astype("f4"), 0.0, 1.0, RECORD)
    result = verdict(X, y, normal=[1], transforms={"mine": shift}, means=X)
    situation = by_name(result)["not 1"]
    gain = result.scores.gain
    assert situation.arm == "mine"
    assert result.transform("not 1") is shift
    of_mean = gain("", "not 1", CENTRED, ORIGINAL).value
    assert situation.gain_of_mean == of_mean > 0
    assert situation.gain_over_mean == pytest.approx(situation.gain - of_mean)
    harmless = verdict(X, y, normal=[1], transforms={"mine": HARMLESS}, means=X)
    assert by_name(harmless)["not 1"].arm == CENTRED
    by_application = commands([situation, by_name(harmless)["not 1"]], "x.npy", Path("broad.npy"))
    assert [*by_application.values()] == [
        "glocal anomaly NORMAL NEW --transform mine --out anomalies.csv",
        "glocal anomaly NORMAL NEW --transform centred --means broad.npy --out anomalies.csv",
    ]


def test_class_names_stand_alone_and_beside_labels():
    """Names alone have one line; beside labels the arms begin with the names, and the gain is over
    them, on the same draws.
    """
    X, y = made_rows()
    rng = np.random.default_rng(1)
    texts = Features(np.eye(8)[:4] + 0.4 * rng.normal(size=(4, 8)), ("0", "1", "2", "3"))
    result = verdict(X, y, class_texts=texts)
    alone = few_shot(X, y, shots=0, texts=texts, originals=X)
    situations = by_name(result)
    assert situations[NAMES].arm == NAMES_ALONE
    assert situations[NAMES].value == alone.accuracy
    name = ONE_LABEL + AND_NAMES
    both = few_shot(X, y, shots=1, texts=texts, originals=X)
    gain = result.scores.gain("", name, ORIGINAL, NAMES_ALONE).value
    assert value(result, name, ORIGINAL) == pytest.approx(both.accuracy)
    assert value(result, name, ORIGINAL) - gain == pytest.approx(value(result, name, NAMES_ALONE))
    assert value(result, name, NAMES_ALONE) == pytest.approx(alone.accuracy, abs=0.02)
    assert situations[name].arm in (NAMES_ALONE, ORIGINAL, CENTRED)


def test_one_line_concludes_whether_names_or_examples_serve():
    """Names alone, examples alone and both are scored on the same images, with as many labels as
    can be decided; the next is taken only if it is certainly better. Texts meet the original rows
    beside each arm. With too few examples the names are scored all the same.
    """
    right = np.eye(40)[:4] - 0.25 * (np.arange(40) < 4)
    for noise, texts, arm in (
        (0.1, right, NAMES_ALONE),
        (0.35, right[[1, 0, 2, 3]], EXAMPLES),
        (0.6, right + 0.25 * normal(4, 40, seed=2), NAMES_AND_EXAMPLES),
    ):
        y, truth = (np.repeat(np.arange(4), n) for n in (14, 150))
        X, T = (
            9 + np.eye(40)[labels] + noise * normal(len(labels), 40, seed=seed)
            for seed, labels in ((1, y), (3, truth))
        )
        named = Features(texts, (*"0123",))
        result = verdict(X, y, test=T, test_labels=truth, class_texts=named)
        situation = by_name(result)[NAMES_OR_EXAMPLES]
        options = {"texts": named, "originals": X, "originals_test": T}
        scores = {
            EXAMPLES: few_shot(X, y, T, truth, shots=None),
            NAMES_AND_EXAMPLES: few_shot(X, y, T, truth, shots=None, **options),
            NAMES_ALONE: few_shot(X, y, T, truth, shots=0, **options),
        }
        for name, score in scores.items():
            assert value(result, NAMES_OR_EXAMPLES, name) == pytest.approx(score.accuracy)
        together = value(result, ALL_LABELS + AND_NAMES, ORIGINAL)
        assert together == pytest.approx(scores[NAMES_AND_EXAMPLES].accuracy)
        centred = few_shot(X - X.mean(axis=0), y, T - X.mean(axis=0), truth, shots=1, **options)
        assert value(result, ONE_LABEL + AND_NAMES) == pytest.approx(centred.accuracy)
        assert situation.arm == arm
        assert situation.choice == "nothing"
        assert situation.head == "names or all your labels"
    few = np.concatenate([np.flatnonzero(y == label)[:4] for label in range(4)])
    situations = by_name(verdict(X[few], y[few], class_texts=named))
    assert situations[NAMES].arm == NAMES_ALONE
    assert situations[NAMES].rough
    assert situations[NAMES_OR_EXAMPLES].reason == "needs two classes of 6 images; you have 0"


def test_names_and_folds_are_compared_on_the_same_images():
    """Without test images, the names alone have the credit of each image and the variance of
    folds, so that names which decide alone differ in no unit.
    """
    y = np.repeat(np.arange(4), 14)
    X = np.eye(8)[y] + 0.01 * normal(len(y), 8)
    texts = Features(np.eye(8)[:4], (*"0123",))
    result = verdict(X, y, class_texts=texts)
    for arm in (EXAMPLES, NAMES_AND_EXAMPLES):
        gain = result.scores.gain("", NAMES_OR_EXAMPLES, arm, NAMES_ALONE)
        assert (gain.value, gain.low) == (0, None)


def test_test_images_are_classified_with_the_labels_and_means_of_the_others(tmp_path, monkeypatch):
    """Shots, folds and means come from the first file, and scores from the second; the smaller
    number of images of a class counts.
    """
    X, y = made_rows()
    T, t = made_rows(n=15, seed=1)
    box = tmp_path / "box.npz"
    HARMLESS.save(box)
    monkeypatch.setattr(arms_module, "bundled", lambda: {"box": box})
    result = verdict(X, y, test=T, test_labels=t, normal=[1, 2])
    Z, V = X - X.mean(axis=0), T - X.mean(axis=0)
    is_normal = np.isin(y, [1, 2])
    origin = 0.95 * X[is_normal].mean(axis=0) + 0.05 * X[~is_normal].mean(axis=0)
    for name, expected in {
        "not 1, 2": anomaly_of_class(X - origin, is_normal, T - origin, np.isin(t, [1, 2])),
        ONE_LABEL: few_shot_by_regression(Z, y, V, t, shots=1),
        ALL_LABELS: few_shot(Z, y, V, t, shots=None),
        SEARCH: retrieval(V, t, Z, y),
    }.items():
        assert value(result, name) == pytest.approx(expected.scores[0].value, abs=1e-6)
    recentred = HARMLESS.recentred(X)
    expected = few_shot_by_regression(recentred(X), y, recentred(T), t, shots=1)
    of_box = value(result, ONE_LABEL, "box, recentred")
    assert of_box == pytest.approx(expected.scores[0].value, abs=1e-6)
    fewer = verdict(X, y, test=T[4:], test_labels=t[4:])
    assert fewer.left_out[FIVE_LABELS] == {0: 11}
    with pytest.warns(DataWarning, match="2 of 140 rows"):
        verdict(X, y, test=np.vstack([T[2:], X[:2]]), test_labels=np.append(t[2:], [0, 0]))


def test_test_images_of_unknown_classes_are_counted_and_are_others(tmp_path):
    """Test images of a class that the labels lack are left out with their number in a warning, but
    count among what is not normal, in the score and in what it needs.
    """
    X, y = made_rows(n=30, classes=3)
    T, t = made_rows(n=15, classes=5, seed=1)
    with pytest.warns(DataWarning, match=r"30 of 75 test images are of a class .* \(e.g. 3\)"):
        result = verdict(X, y, test=T, test_labels=t, normal=[0, 1])
    assert result.scores.score("", ONE_LABEL, ORIGINAL).n == 45
    assert result.scores.score("", "not 0, 1", ORIGINAL).n == 75
    with pytest.warns(DataWarning, match="30 of 50"):
        few = verdict(X, y, test=T[25:], test_labels=t[25:], normal=[1])
    assert by_name(few)["not 1"].reason.endswith("you have 5 and 45")


def test_a_normal_image_never_finds_itself():
    """The AUROC of what is not normal, with each normal image scored against the others only,
    equals that of plain loops.
    """
    X, y = made_rows(n=30, classes=3)
    U = X / np.linalg.norm(X, axis=1, keepdims=True)
    is_normal = y == 1
    scores = []
    for i, row in enumerate(U):
        others = [j for j in np.flatnonzero(is_normal) if j != i]
        scores.append(-np.sort(U[others] @ row)[-5:].mean())
    scores = np.array(scores)
    pairs = scores[~is_normal][:, None] - scores[is_normal]
    assert value(verdict(X, y, normal=[1]), "not 1", ORIGINAL) == pytest.approx((pairs > 0).mean())


def test_recentring_uses_all_rows_and_the_command_says_so(tmp_path, monkeypatch):
    """Where a sample is scored, a transform is recentred on all rows; the command that applies a
    recentred transform recentres it.
    """
    X, y = made_rows(n=30)
    box = tmp_path / "box.npz"
    replace(HARMLESS, bias=np.zeros(8, "f4"), mean=0.0).save(box)
    monkeypatch.setattr(arms_module, "bundled", lambda: {"box": box})
    monkeypatch.setattr(images, "MAX_ROWS", 100)
    monkeypatch.setattr(images, "SAMPLE_ROWS", 60)
    with pytest.warns(DataWarning, match="of 120 rows"):
        result = verdict(X, y)
    with pytest.warns(DataWarning, match="of 120 rows"):
        sample = select_rows(X, y)
    recentred = LinearTransform.load(box).recentred(X)
    expected = retrieval(recentred(sample.features.matrix), sample.labels).map
    assert value(result, SEARCH, "box, recentred") == pytest.approx(expected, abs=1e-6)
    situation = Situation("", "", arm="box, recentred", transform="box", recentred=True)
    (command,) = commands([situation], "f.npy").values()
    words = command.split()
    assert words[words.index("--recentre") + 1] == "f.npy"


def test_a_transform_is_beside_the_mean_and_can_be_used(here):
    """A transform is recommended with its gain over the mean, in which it has its own ends; the
    verdict gives the transform itself, and says without a file what was chosen, not a command.
    """
    X, y = made_rows(n=40)
    # the directions of the classes, about the mean of the images
    sharp = LinearTransform(np.diag([3.0] * 4 + [0.2] * 4).astype("f4"), None, 9.0, 1.0, RECORD)
    sharp = sharp.recentred(X, weight=0)
    result = verdict(X, y, transforms={"sharp": sharp})
    situation = by_name(result)[ONE_LABEL]
    assert situation.arm == "sharp"
    assert situation.choice == "recommend"
    assert situation.metric in ("accuracy_ncm", "accuracy_logistic")
    gain = result.scores.gain("", ONE_LABEL, "sharp", CENTRED)
    assert situation.gain_over_mean == gain.value
    assert (situation.gain_over_mean_low, situation.gain_over_mean_high) == (gain.low, gain.high)
    assert situation.gain_over_mean == pytest.approx(situation.gain - situation.gain_of_mean)
    assert situation.low < situation.value < situation.high
    lines = result.text_lines()
    assert f"of which mean subtracted {situation.gain_of_mean:+.3f}" in "".join(lines)
    assert not any("glocal apply" in line for line in lines)
    assert result.transform(ONE_LABEL) is sharp
    with pytest.raises(ParameterError, match="no situation"):
        result.transform("search")


def test_a_mean_that_harms_is_no_part_of_the_gain():
    """Where the mean alone loses, the line says so instead of calling the loss a part of a gain."""
    situation = Situation(
        SEARCH,
        "to search by class",
        arm="sharp",
        gain=0.1,
        gain_low=0.05,
        gain_high=0.15,
        gain_of_mean=-0.07,
    )
    lines = [*sentences(situation)]
    assert "mean subtracted alone -0.070" in lines
    assert "of which mean subtracted +0.020" in [*sentences(replace(situation, gain_of_mean=0.02))]


def test_what_is_not_recommended_says_nothing_or_undecided():
    """Features that stay as they are are `nothing`, and too few images `undecided`; neither has a
    transform.
    """
    X, y = made_rows(n=12, seed=1)
    result = verdict(X, y)
    few = verdict(*made_rows(n=8))
    assert by_name(result)[ALL_LABELS].choice == "nothing"
    assert by_name(few)[ALL_LABELS].choice == "undecided"
    assert result.transform(ALL_LABELS) is few.transform(ALL_LABELS) is None


def test_two_commands_write_different_files():
    """Each recommended arm of a screen writes files of its own."""
    arms = ("centred", "clip-vit-b-32", "box, recentred")
    situations = [Situation(arm, "", arm=arm, transform=arm, recentred="," in arm) for arm in arms]
    words = [shlex.split(command) for command in commands(situations, "f.npy").values()]
    written = [word for line in words for word in line if word.startswith(("mine", "aligned"))]
    assert len(written) == len({*written}) == 5


def test_the_function_keeps_its_name_beside_its_room():
    """`glocal.verdict` is the function, whatever was imported before."""
    assert images.__name__ == "glocal.verdict.images"
    assert glocal.verdict is verdict
    assert glocal.verdict(*made_rows(n=8)).situations


def test_few_labels_are_decided_by_the_classifier_that_is_better_on_the_original_rows():
    """Nearest mean and logistic regression are both scored for each arm; the one that is better on
    the original rows comes first for all, and the line names it.
    """
    X, y = made_rows()
    spread = normal(80, 8, seed=3) + 2 * np.eye(8)[y]  # about 0, with equal noise
    for rows, probe, words in (
        (X, "logistic", ", logistic"),
        (spread, "ncm", ", nearest mean"),
    ):
        result = verdict(rows, y)
        first = next(score for score in result.scores if score.task == ONE_LABEL)
        assert first.metric == f"accuracy_{probe}"
        for arm in (ORIGINAL, CENTRED):
            for metric in ("accuracy_ncm", "accuracy_logistic"):
                assert result.scores.score("", ONE_LABEL, arm, metric) is not None
        other = {"ncm": "logistic", "logistic": "ncm"}[probe]
        of_other = result.scores.score("", ONE_LABEL, ORIGINAL, f"accuracy_{other}")
        assert first.value >= of_other.value
        assert words in result.text_lines()[0]


def test_a_search_is_decided_for_the_whole_ranking_and_the_first_ten():
    """Beside mean average precision stands what the first ten show, with a gain and ends of their
    own; where that gain is not certain, the line says that only the whole ranking gains.
    """
    X, y = made_rows(n=40)
    far = X.copy()
    far[:, 7] += 3.0 * normal(160, seed=2)
    for rows in (X, far):
        result = verdict(rows, y)
        situation = by_name(result)[SEARCH]
        assert situation.arm == CENTRED
        expected = retrieval(rows - rows.mean(axis=0), y).precision_10
        assert situation.precision_10 == pytest.approx(expected, abs=1e-6)
        gain = expected - retrieval(rows, y).precision_10
        assert situation.precision_10_gain == pytest.approx(gain, abs=1e-6)
        is_certain = situation.precision_10_gain_low > 0
        lines = "".join(result.text_lines())
        assert ("for the whole ranking, not the first ten" in lines) == (not is_certain)
        assert "P@10" in lines


def test_a_loss_of_a_recommended_arm_is_told_where_it_occurs(monkeypatch):
    """If an arm that is recommended is certainly worse elsewhere, and only then, a line says so."""
    X, y = made_rows(n=30)
    flat = X - X.mean(axis=0)
    harm = LinearTransform.centring(Features(X))
    monkeypatch.setattr(Search, "score", lambda _, X, y: retrieval(np.abs(X), y))
    result = by_name(verdict(X, y, transforms={"harm": harm}))
    assert result[ONE_LABEL].arm == CENTRED
    assert retrieval(np.abs(flat), y).map < retrieval(X, y).map
    assert result[SEARCH].losses[0].startswith("centred loses here: -")
    uncertain = verdict(*made_rows(n=12, seed=1))
    assert uncertain.scores.gain("", ALL_LABELS, CENTRED, ORIGINAL).value < 0
    assert by_name(uncertain)[ALL_LABELS].losses == ()
    monkeypatch.setattr(Search, "score", lambda *_: retrieval(X, y))
    assert by_name(verdict(X, y))[SEARCH].losses == ()


def test_rows_that_do_not_belong_to_a_transform_need_force():
    """A transform that is given needs rows like those of its fit, or is forced."""
    X, y = made_rows(n=12)
    with pytest.raises(GLocalError, match="std"):
        verdict(100 * X, y, transforms={"same": HARMLESS})
    with pytest.warns(DataWarning, match="std"):
        result = verdict(100 * X, y, transforms={"same": HARMLESS}, force=True)
    assert by_name(result)[SEARCH].arm == CENTRED


@pytest.mark.parametrize(
    "name",
    [
        "",
        ORIGINAL,
        CENTRED,
        NAMES_ALONE,
        EXAMPLES,
        NAMES_AND_EXAMPLES,
        "box",
        "box, recentred",
        "mine, recentred",
    ],
)
def test_a_transform_takes_no_name_of_another_arm(name, monkeypatch):
    """A transform that is called like an arm that is tried anyway would replace it in silence, and
    one that is called recentred would have no arm that it was recentred from.
    """
    monkeypatch.setattr(arms_module, "_packaged", lambda: {"box": HARMLESS})
    with pytest.raises(ParameterError, match="another name"):
        verdict(*made_rows(n=12), transforms={name: HARMLESS})


def test_a_transform_of_the_package_that_is_not_tried_has_no_arm():
    """A name of the package is free where its transform is of another network."""
    result = verdict(*made_rows(n=12), transforms={"clip-vit-b-32": HARMLESS})
    assert "clip-vit-b-32" in {row.transform for row in result.scores}


@pytest.fixture
def files(here):
    """Features with names, a table with two columns of labels, superclasses and texts."""
    X, y = made_rows(n=20)
    names = [f"sku{i}" for i in range(len(X))]
    rows = [f'{names[i]},class {label},"{"ab"[label % 2]}"' for i, label in enumerate(y)]
    table = "\n".join(['sku,kind,"kind, coarse"', *sorted(rows)])
    groups = "kind,group\nclass 0,a\nclass 1,a\nclass 2,b\nclass 3,b\n"
    classes = [f"class {label}" for label in range(4)]
    folder(here / "texts", features_npy=np.eye(8)[:4], file_names_txt=classes)
    folder(
        here, features_npy=X.astype("f4"), file_names_txt=names, w_npz=HARMLESS,
        labels_csv=table, groups_csv=groups, classes_txt="\n".join(map(str, y)),
    )  # fmt: skip


def test_the_command_prints_what_to_use_and_how(files):
    """Each situation has its line, each recommended arm one command, which runs; labels of another
    order are joined by name, no line but a command is wider than 80 columns, and scores are
    appended to those of `evaluate`, which stay, about the same network.
    """
    line = "try . --labels labels.csv:kind --transform w.npz --superclasses groups.csv"
    line += " --class-texts texts --out scores.jsonl"
    printed = run(line).out.splitlines()
    assert printed[0].startswith("with no label, class names  the names alone, ")
    assert "to search by class          centred" in printed
    assert "with all your labels (20 a class)" in printed
    commands = [text for text in printed if text.startswith("glocal apply")]
    assert max(len(text) for text in printed if not text.startswith("glocal")) <= 80
    assert len(commands) == len({*commands}) >= 1
    assert run(*shlex.split(commands[0])[1:]).code == 0
    assert LinearTransform.load("mine.npz").record.rows
    record = run(f"{line} --json").json["columns"]["kind"]
    one = next(each for each in record["situations"] if each["name"] == SEARCH)
    assert one["arm"] == CENTRED
    assert one["transform"] == CENTRED
    assert one["recentred"] is False
    assert one["command"] == commands[0]
    scores = read_scores("scores.jsonl")
    assert [row["value"] for row in record["scores"]] * 2 == [score.value for score in scores]
    assert {score.split for score in scores} == {"kind"}
    coarse = 'labels.csv:"kind, coarse"'
    assert run(*"try . --out scores.jsonl --labels".split(), coarse).code == 0
    assert run("report scores.jsonl --out page.html").code == 0
    page = Path("page.html").read_text("utf-8")
    assert "do not record where" not in page
    assert f"by glocal {__version__}; each row has the SHA-256" in page
    assert len({score.split for score in read_scores("scores.jsonl")}) == 2
    assert run("evaluate structure --features . --out scores.jsonl").code == 0
    before = read_scores("scores.jsonl")
    table = run(f"{line} --all").out
    assert all(arm in table for arm in (ORIGINAL, "w.npz", KEPT))
    scores = read_scores("scores.jsonl")
    assert scores[: len(before)] == before
    assert len({score.network for score in scores}) == 1


class OneSecond(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz=None):
        return datetime(2026, 1, 1, tzinfo=tz)


def test_the_file_of_scores_holds_what_the_screen_says(files, monkeypatch):
    """Each situation of each column is a row with its choice, its lines and its command; of several
    runs on a column, within one second too, the last one counts, and a table of scores has none of
    these rows.
    """
    words = ("try . --out scores.jsonl --labels", 'labels.csv:kind,"kind, coarse"')
    monkeypatch.setattr(situation_rows, "datetime", OneSecond)
    run(*words)
    for _ in range(2):
        assert len({row.split for row in read_situations("scores.jsonl")}) == 2
        printed = " ".join(run(*words).out.split())
    rows = read_situations("scores.jsonl")
    assert [row.task for row in rows] == [ONE_LABEL, FIVE_LABELS, ALL_LABELS, SEARCH] * 2
    texts = [text for row in rows for text in (row.head, *row.sentences, row.command)]
    assert all(text in printed for text in texts)
    search = rows[3]
    assert (search.choice, search.arm) == ("recommend", CENTRED)
    assert search.command in printed
    assert f"{search.neighbours_kept:.3f} with {CENTRED}" in printed
    assert len(read_scores("scores.jsonl")) > len(rows)
    run("try . --labels classes.txt --out scores.csv")
    assert "choice" not in pd.read_csv("scores.csv")


def test_columns_are_decided_one_by_one(files):
    """Several columns, quoted as in CSV, give a block each; options about one column are refused
    with them.
    """
    labels = 'labels.csv:kind,"kind, coarse"'
    printed = run("try", ".", "--labels", labels).out.splitlines()
    assert [text for text in printed if text.endswith(":") and len(text) < 14] == [
        "kind:", "kind, coarse:",
    ]  # fmt: skip
    columns = run("try", ".", "--labels", labels, "--json").json["columns"]
    assert [*columns] == ["kind", "kind, coarse"]
    assert "no column" in run("try . --labels labels.csv:").error(2)
    assert [*run("try . --labels classes.txt --json").json["columns"]] == ["labels"]
    assert "one column" in run("try", ".", "--labels", labels, "--normal", "a").error(2)
    assert run("try . --labels labels.csv:kind --test .").code == 2


def test_the_command_appends_to_nothing_but_scores(files, here):
    """A table that holds no scores is refused before any work, and stays; so are a pipe and a name
    without an ending.
    """
    assert "appended to a file" in run("try . --labels labels.csv:kind --out /dev/null").error(1)
    assert "has no ending" in run("try . --labels labels.csv:kind --out scores").error(2)
    groups = (here / "groups.csv").read_bytes()
    assert "score" in run("try . --labels labels.csv:kind --out groups.csv").error(1)
    assert (here / "groups.csv").read_bytes() == groups


def test_situations_without_a_score_are_in_the_file_and_on_the_page(here):
    """With too few images for any score, the file of `try` says so of each situation."""
    np.save("few.npy", np.eye(8))
    Path("few.txt").write_text("a\nb\n" * 4, "utf-8")
    assert run("try few.npy --labels few.txt --out few.jsonl").code == 0
    assert len(read_scores("few.jsonl")) == 0
    assert {row.choice for row in read_situations("few.jsonl")} == {"undecided"}
    assert "you have 0" in run("report few.jsonl --out page.html").out


def test_no_transform_that_fits_is_said_with_the_commands_that_make_one(files):
    """For another network than those of the package, the last lines say how to get a transform."""
    printed = run("try . --labels labels.csv:kind").out
    assert "No transform of glocal fits" in printed
    assert "glocal align" in printed


@pytest.mark.nightly
@pytest.mark.data
@pytest.mark.filterwarnings("ignore:3 of 666 rows equal")
@pytest.mark.parametrize(
    "images, is_coarse, one_label, search",
    [
        ("cifar10-500", False, {CENTRED}, {CENTRED}),
        ("car-damage-666", False, {CENTRED, ORIGINAL}, {CENTRED}),
        ("cifar10-500", True, {"clip-vit-b-32-centred", "clip-vit-b-32-centred, recentred"},
         {"clip-vit-b-32-centred, recentred"}),
    ],
)  # fmt: skip
def test_the_verdict_on_known_sets(images, is_coarse, one_label, search, data_dir):
    """Classes of CIFAR-10 gain from own means with one label and in a search, animals and vehicles
    from a centred transform, and nothing gains with all labels.
    """
    files = data_dir / "downstream" / "clip-vit-b32" / images
    y = np.load(files / "labels.npy")
    if is_coarse:
        y = np.isin(y, [0, 1, 8, 9]).astype(int)
    result = by_name(verdict(Features.load(files / "features.npy"), y))
    assert result[ONE_LABEL].arm in one_label
    assert result[SEARCH].arm in search
    assert result[ALL_LABELS].arm == ORIGINAL
