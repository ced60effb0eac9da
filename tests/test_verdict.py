"""The verdict about a user's own images: the arms, the rule, the sentence, and ``glocal try``."""

import tomllib
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from world import folder, run

from glocal import Answers, Features, LinearTransform, verdict
from glocal.data.seen import sketch
from glocal.errors import DataError, DataWarning, ParameterError
from glocal.scores import ORIGINAL, Score, Scores, read_scores
from glocal.suite import selection
from glocal.suite import verdict as rule
from glocal.suite.verdict import CENTRED, FIVE_IMAGES, KEPT, ONE_IMAGE, RETRIEVAL

META = {"rows": {"mean": 9.0, "std": 1.0, "mean_length": 26.0, "normalised": False}}
HARMLESS = LinearTransform(np.eye(8, dtype="f4"), np.full(8, 9, "f4"), 9.0, 1.0, META)  # z = x
ARMS = (ORIGINAL, CENTRED, "near", "far")


def made_scores(accuracy, losses):
    """Scores of four arms whose accuracies are certainly different if they differ by more than .03.

    `losses` are the certain losses of an arm in a task.
    """
    kept = zip(ARMS, (1, 0.7, 0.95, 0.8), strict=True)
    scores = [Score(KEPT, "kept", share, transform=arm) for arm, share in kept]
    for (baseline, before), (arm, after) in combinations(zip(ARMS, accuracy, strict=True), 2):
        step = after - before
        p = 0.001 if abs(step) > 0.03 else 0.2
        about = {"transform": arm, "settings": {"baseline": baseline}}
        metric = "accuracy_difference"
        gain = Score(ONE_IMAGE, metric, step, step - 0.03, step + 0.03, p_corrected=p, **about)
        scores.append(gain)
        for name, task in TASKS.items():
            change = -0.05 if [arm, name] in losses else 0.0
            scores.append(Score(task, metric, change, change - 0.02, change + 0.02, **about))
    return Scores(scores)


WORLDS = tomllib.loads("""
["nothing is better"]
accuracy = [0.5, 0.49, 0.5, 0.5]
arm = "original"
words = ["Leave"]
absent = ["gains"]
["a gain is not certain"]
accuracy = [0.5, 0.5, 0.52, 0.5]
arm = "original"
words = ["near gains +0.020", "not certainly better than the features as they are."]
absent = ["centred gains"]
["every gain is a loss elsewhere"]
accuracy = [0.5, 0.6, 0.5, 0.5]
losses = [["centred", "five images a class"]]
arm = "original"
words = ["Leave", "centred gains +0.100", "worse with five images a class: -0.050"]
absent = ["near gains"]
["the means are enough"]
accuracy = [0.5, 0.6, 0.56, 0.61]
arm = "centred"
words = ["enough", "+0.100", "keep 0.700", "keep 0.9 of them, near gains most: +0.060", "far gains"]
absent = ["over subtracting"]
["a transform is better than the means"]
accuracy = [0.5, 0.55, 0.5, 0.65]
arm = "far"
words = ["Use far", "+0.150", "+0.100", "over subtracting", "No arm that gains keeps 0.9"]
absent = ["near gains", "far gains"]
["a transform that keeps enough neighbours"]
accuracy = [0.5, 0.5, 0.6, 0.5]
arm = "near"
words = ["Use near", "keep 0.950"]
absent = ["0.9 of them"]
["the largest gain loses in mAP"]
accuracy = [0.5, 0.55, 0.6, 0.7]
losses = [["far", "mAP"], ["centred", "mAP"]]
arm = "near"
words = ["Use near", "far gains +0.200", "worse in mAP: -0.050"]
absent = ["centred gains"]
""")
TASKS = {"five images a class": FIVE_IMAGES, "mAP": RETRIEVAL}


@pytest.mark.parametrize("case", WORLDS)
def test_the_rule_moves_to_arms_that_are_certainly_better(case):
    """The arm is certainly better with one image than the arm before, and nowhere certainly worse;
    the sentence names it, its gains, what it keeps, and each larger gain that was passed over.
    """
    world = WORLDS[case]
    scores = made_scores(world["accuracy"], world.get("losses", ()))
    choice, objections = rule.choice(ARMS, scores)
    assert choice == world["arm"]
    sentence = rule.sentence(ARMS, choice, objections, scores)
    assert [word for word in world["words"] if word not in sentence] == []
    assert [word for word in world["absent"] if word in sentence] == []


def made_rows(n=20, classes=4):
    """Images of a few classes that are seen more or less clearly, about a common mean."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), n)
    clarity = np.exp(rng.normal(size=(len(y), 1)))
    return 9 + clarity * (np.eye(8)[y] + 0.3 * rng.normal(size=(len(y), 8))), y


@pytest.fixture
def fast(monkeypatch):
    """With little logistic regression, which takes most of the time."""
    monkeypatch.setitem(rule._DRAWS, "logistic", 1)


def test_a_verdict_corrects_for_all_pairs_and_scores_what_it_states(fast):
    """Own means are enough where images differ in clarity; p-values are corrected for all pairs of
    arms, among which are no transforms of other networks; classes of fewer than 12 images, which a
    warning names, change nothing.
    """
    X, y = made_rows()
    result = verdict(X, y, transforms={"same": HARMLESS})
    assert result.arm == CENTRED
    assert {row.transform for row in result.scores} == {ORIGINAL, CENTRED, "same"}
    gain, same = (result.scores.gain("", ONE_IMAGE, arm, ORIGINAL) for arm in (CENTRED, "same"))
    assert (gain.p_corrected, same.p_corrected) == (pytest.approx(3 * gain.p), 1)
    assert {row.settings.get("baseline") for row in result.scores} == {None, ORIGINAL}
    few = np.append(y, [7] * 11)
    with pytest.warns(DataWarning, match=r"7 \(11\)"):
        same = verdict(np.vstack([X, X[:11] + 0.01]), few, transforms={"same": HARMLESS})
    assert (same.scores, same.left_out) == (result.scores, {7: 11})


def test_images_that_a_transform_was_fitted_to_are_warned_of(fast):
    """A transform that was fitted to answers about the labelled images is named with their share;
    one that was fitted to others is not.
    """
    X, y = made_rows()
    answers = Answers(np.array([np.roll(np.arange(40), -k)[:3] for k in range(40)]))
    fitted = replace(HARMLESS, meta={**HARMLESS.meta, "fitted": sketch(Features(X), answers)})
    with pytest.warns(DataWarning, match="same was fitted to answers about 50% of these images"):
        verdict(X, y, transforms={"same": fitted})
    others = {**HARMLESS.meta, "fitted": sketch(Features(-X), answers)}
    verdict(X, y, transforms={"same": replace(HARMLESS, meta=others)})


def test_superclasses_are_tested_on_classes_that_gave_no_images(fast):
    """Superclasses add tasks; one of a single class is left out, and two must remain."""
    X, y = made_rows(n=12, classes=6)
    with pytest.warns(DataWarning, match="2 of 4 superclasses have one class"):
        result = verdict(X, y, superclasses=dict(enumerate("aabbcd")))
    (score, *_) = [row for row in result.scores if row.task == f"{ONE_IMAGE}, superclasses"]
    assert score.n == 24, "of 48 images of a and b, one class of each gives the shots"
    with pytest.raises(DataError, match="two superclasses"):
        verdict(X, y, superclasses=dict(enumerate("aabcde")))


def test_rows_that_do_not_belong_to_a_transform_need_force(fast):
    """A transform that is given needs rows like those of its fit, or is forced."""
    X, y = made_rows(n=12)
    with pytest.raises(DataError, match="std"):
        verdict(100 * X, y, transforms={"same": HARMLESS})
    with pytest.warns(DataWarning, match="std"):
        assert verdict(100 * X, y, transforms={"same": HARMLESS}, force=True).arm == CENTRED


@pytest.mark.parametrize(
    "name", ["", ORIGINAL, CENTRED, "clip-vit-b-32", "clip-vit-b-32, recentred"]
)
def test_a_transform_takes_no_name_of_another_arm(name):
    """A transform that is called like an arm that is tried anyway would replace it in silence."""
    with pytest.raises(ParameterError, match="another name"):
        verdict(*made_rows(n=12), transforms={name: HARMLESS})


def test_equal_rows_are_one_image(fast):
    """Rows that equal another are counted in a warning, and do not help a class to 12 images."""
    X, y = made_rows(n=13)
    X[1:3] = X[0]  # 11 different images of class 0
    with (
        pytest.warns(DataWarning, match="2 of 52 rows"),
        pytest.warns(DataWarning, match="left out"),
    ):
        assert verdict(X, y).left_out == {0: 11}


def test_a_step_needs_a_corrected_p_value():
    """A gain that is significant alone, but not after the correction, moves nothing."""
    scores = made_scores([0.5, 0.6, 0.5, 0.5], ())
    gain = scores.gain("", ONE_IMAGE, CENTRED, ORIGINAL)
    uncertain = replace(gain, p=0.04, p_corrected=0.2)
    scores = Scores(uncertain if score is gain else score for score in scores)
    assert rule.choice(ARMS, scores)[0] == ORIGINAL


def test_a_message_names_only_some_of_many_small_classes():
    """Of a hundred classes of one image each, the error names eight."""
    with pytest.raises(DataError, match=r"there are 0; .*7 \(1\), …"):
        verdict(np.eye(100), np.arange(100))


def test_the_command_joins_labels_by_name_and_writes_score_rows(fast, tmp_path, monkeypatch):
    """``glocal try`` prints a line for each arm and the verdict, and writes rows of scores;
    labels of another order are joined by name.
    """
    X, y = made_rows(n=12)
    names = [f"sku{i}" for i in range(len(X))]
    lines = sorted(f"{name},class {label}" for name, label in zip(names, y, strict=True))
    table = "\n".join(["sku,kind", *lines])
    groups = "kind,group\nclass 0,a\nclass 1,a\nclass 2,b\nclass 3,b\n"
    files = {"file_names_txt": "\n".join(names), "labels_csv": table, "groups_csv": groups}
    monkeypatch.chdir(folder(tmp_path, features_npy=X.astype("f4"), w_npz=HARMLESS, **files))
    line = "try . --labels labels.csv:kind --transform w.npz --superclasses groups.csv"
    printed = run(f"{line} --out scores.jsonl")
    head, *lines = printed.out.splitlines()
    assert [row.split()[0] for row in lines[:3]] == [ORIGINAL, CENTRED, "w.npz"]
    assert "1 image a class, superclasses, logistic" in head
    record = run(f"{line} --json").json
    assert (record["arm"], record["sentence"]) == (CENTRED, lines[-1])
    values = [score.value for score in read_scores("scores.jsonl")]
    assert [row["value"] for row in record["scores"]] == values


def test_the_command_appends_to_rows_of_scores_and_to_nothing_else(fast, tmp_path, monkeypatch):
    """Rows of `evaluate` in the file stay, and both name the same network, so that they share a
    section of a page; a text that holds no scores is refused before any work, and stays.
    """
    X, y = made_rows(n=12)
    files = {"y_txt": "\n".join(map(str, y)), "notes_txt": "my notes\n"}
    monkeypatch.chdir(folder(tmp_path, features_npy=X.astype("f4"), **files))
    assert run("evaluate structure --features features.npy --out s.jsonl").code == 0
    before = read_scores("s.jsonl")
    assert run("try features.npy --labels y.txt --out s.jsonl").code == 0
    rows = read_scores("s.jsonl")
    assert len(rows) > len(before)
    assert rows[: len(before)] == before
    assert len({row.network for row in rows}) == 1
    ended = run("try features.npy --labels y.txt --out notes.txt")
    assert (ended.code, (tmp_path / "notes.txt").read_text()) == (1, "my notes\n")
    assert "score" in ended.err


def test_of_many_rows_a_sample_is_scored_and_said(fast, monkeypatch):
    """Above the limit, classes are scored in proportion to their sizes, small ones by at least 12
    rows; arms are centred by the means of all rows.
    """
    monkeypatch.setattr(selection, "MAX_ROWS", 900)
    monkeypatch.setattr(selection, "SAMPLE_ROWS", 100)
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(["large", "small", "medium"], [600, 15, 300]))
    X = rng.normal(size=(len(y), 8)) + 1
    with pytest.warns(DataWarning, match="of 915 rows are scored"):
        selected = selection.select_rows(Features(X), y)
    names, sizes = np.unique(selected.labels, return_counts=True)
    assert dict(zip(names.tolist(), sizes.tolist(), strict=True)) == {
        "large": 65,
        "medium": 32,
        "small": 12,
    }
    assert len(selected.whole) == 915
    assert (selected.features.matrix == X[np.isin(X[:, 0], selected.features.matrix[:, 0])]).all()
    embeddings = rule._embeddings(selected, {}, force=False)
    means = embeddings[CENTRED].mean(axis=0) * X.std()
    expected = selected.features.matrix.mean(axis=0) - X.mean(axis=0)
    np.testing.assert_allclose(means, expected, atol=1e-6)


@pytest.mark.nightly
@pytest.mark.data
@pytest.mark.filterwarnings("ignore:3 of 666 rows equal")
@pytest.mark.parametrize(
    "images, is_coarse, arms",
    [
        ("cifar10-500", False, [CENTRED]), ("car-damage-666", False, [CENTRED, ORIGINAL]),
        ("cifar10-500", True, ["clip-vit-b-32-centred", "clip-vit-b-32-centred, recentred"]),
    ],
)  # fmt: skip
def test_the_verdict_on_known_sets(images, is_coarse, arms, data_dir, fast):
    """Classes of CIFAR-10 gain from own means, animals and vehicles from a centred transform, and
    photographs of damaged cars little from anything.
    """
    files = data_dir / "downstream" / "clip-vit-b32" / images
    y = np.load(files / "labels.npy")
    if is_coarse:
        y = np.isin(y, [0, 1, 8, 9]).astype(int)
    assert verdict(Features.load(files / "features.npy"), y).arm in arms
