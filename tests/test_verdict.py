"""The verdict about a user's own images: the arms, the rule, the sentence, and ``glocal try``."""

from itertools import combinations

import numpy as np
import pytest
from world import folder, run

from glocal import Features, LinearTransform, pretrained
from glocal.errors import DataError, DataWarning
from glocal.results import Score, read_scores
from glocal.suite import verdict as rule
from glocal.suite.verdict import CENTRED, FIVE_IMAGES, KEPT, ONE_IMAGE, ORIGINAL, RETRIEVAL, verdict

ROWS = {"mean_length": 26.0, "normalised": False}
# z = x
HARMLESS = LinearTransform(np.eye(8, dtype="f4"), np.full(8, 9, "f4"), 9.0, 1.0, {"rows": ROWS})
ARMS = (ORIGINAL, CENTRED, "near", "far")


def made_table(accuracy, losses, kept):
    """Scores of four arms whose accuracies are certainly different if they differ by more than .03.

    `losses` are the certain losses of an arm in a task.
    """
    value = dict(zip(ARMS, accuracy, strict=True))
    rows = [Score("", "", share, transform=arm) for arm, share in zip(ARMS, kept, strict=True)]
    table = {(KEPT, row.transform, None): row for row in rows}
    for baseline, arm in combinations(ARMS, 2):
        step = value[arm] - value[baseline]
        p = 0.001 if abs(step) > 0.03 else 0.2
        table[ONE_IMAGE, arm, baseline] = Score(
            ONE_IMAGE,
            "accuracy_ncm_difference",
            step,
            step - 0.03,
            step + 0.03,
            transform=arm,
            settings={"baseline": baseline},
            p_corrected=p,
        )
        for task in (FIVE_IMAGES, RETRIEVAL):
            change = -0.05 if (arm, task) in losses else 0.0
            table[task, arm, baseline] = Score(task, "", change, change - 0.02, change + 0.02)
    return table


WORLDS = {
    "nothing is better": ((0.5, 0.49, 0.5, 0.5), (), ORIGINAL, ["Leave"], ["gains"]),
    "a gain is not certain": (
        (0.5, 0.5, 0.52, 0.5),
        (),
        ORIGINAL,
        ["near gains +0.020", "not certainly better than the features as they are."],
        ["centred gains"],
    ),
    "every gain is a loss elsewhere": (
        (0.5, 0.6, 0.5, 0.5),
        {(CENTRED, FIVE_IMAGES)},
        ORIGINAL,
        ["Leave", "centred gains +0.100", "worse with five images a class: -0.050"],
        ["near gains"],
    ),
    "the means are enough": (
        (0.5, 0.6, 0.56, 0.61),
        (),
        CENTRED,
        [
            "enough",
            "+0.100",
            "keep 0.700",
            "keep 0.9 of them, near gains most: +0.060",
            "far gains",
        ],
        ["over subtracting"],
    ),
    "a transform is better than the means": (
        (0.5, 0.55, 0.5, 0.65),
        (),
        "far",
        ["Use far", "+0.150", "+0.100", "over subtracting", "No arm that gains keeps 0.9"],
        ["near gains", "far gains"],
    ),
    "a transform that keeps enough neighbours": (
        (0.5, 0.5, 0.6, 0.5),
        (),
        "near",
        ["Use near", "keep 0.950"],
        ["0.9 of them"],
    ),
    "the largest gain loses in mAP": (
        (0.5, 0.55, 0.6, 0.7),
        {("far", RETRIEVAL), (CENTRED, RETRIEVAL)},
        "near",
        ["Use near", "far gains +0.200", "worse in mAP: -0.050"],
        ["centred gains"],
    ),
}


@pytest.mark.parametrize(
    ("accuracy", "losses", "arm", "words", "absent"), WORLDS.values(), ids=WORLDS
)
def test_the_rule_moves_to_arms_that_are_certainly_better(accuracy, losses, arm, words, absent):
    """The arm is certainly better with one image than the arm before, and nowhere certainly worse;
    the sentence names it, its gains, what it keeps, and each larger gain that was passed over.
    """
    table = made_table(accuracy, losses, kept=(1, 0.7, 0.95, 0.8))
    choice, objections = rule.choice(ARMS, table)
    assert choice == arm
    sentence = rule.sentence(ARMS, choice, objections, table)
    assert [word for word in words if word not in sentence] == []
    assert [word for word in absent if word in sentence] == []


def made_rows(n=20, classes=4):
    """Images of a few classes that are seen more or less clearly, about a common mean."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), n)
    clarity = np.exp(rng.normal(size=(len(y), 1)))
    return 9 + clarity * (np.eye(8)[y] + 0.3 * rng.normal(size=(len(y), 8))), y


@pytest.fixture
def fast(monkeypatch):
    """With little logistic regression, which takes most of the time."""
    monkeypatch.setattr(rule, "_DRAWS", {"ncm": 40, "logistic": 1})


def test_a_verdict_corrects_for_all_pairs_and_scores_what_it_states(fast):
    """Own means are enough where images differ in clarity; p-values are corrected for all pairs of
    arms; classes of fewer than 12 images, which a warning names, change nothing.
    """
    X, y = made_rows()
    result = verdict(X, y, transforms={"same": HARMLESS})
    assert result.arm == CENTRED
    scores = {(row.task, row.transform): row for row in result.scores if row.p is not None}
    gain = scores[ONE_IMAGE, CENTRED]
    assert gain.p_corrected == pytest.approx(3 * gain.p)
    assert scores[ONE_IMAGE, "same"].p_corrected == 1
    assert gain.text("+") in result.sentence
    assert {row.settings.get("baseline") for row in result.scores} == {None, ORIGINAL}

    few = np.append(y, [7] * 11)
    with pytest.warns(DataWarning, match=r"7 \(11\)"):
        same = verdict(np.vstack([X, X[:11]]), few, transforms={"same": HARMLESS})
    assert same.scores == result.scores
    assert same.left_out == {7: 11}


def test_superclasses_are_tested_on_classes_that_gave_no_images(fast):
    """Superclasses add tasks; one of a single class is left out, and two must remain."""
    X, y = made_rows(n=12, classes=6)
    with pytest.warns(DataWarning, match="without a superclass"):
        result = verdict(X, y, superclasses=dict(enumerate("aabbcd")))
    (score, *_) = [row for row in result.scores if row.task == f"{ONE_IMAGE}, superclasses"]
    assert score.n == 24, "of 48 images of a and b, one class of each gives the shots"
    with pytest.raises(DataError, match="two superclasses"):
        verdict(X, y, superclasses=dict(enumerate("aabcde")))


def clip_rows(length):
    """Rows in whose statistics those of the boxed transforms are recognised."""
    rng = np.random.default_rng(0)
    transform = pretrained("clip-vit-b-32")
    mean = np.zeros(512)
    for column, deviation in transform.meta["rows"]["columns"].items():
        mean[int(column)] = deviation * transform.std
    y = np.repeat([0, 1], 12)
    X = mean + 0.03 * rng.normal(size=(24, 512)) + 0.05 * rng.normal(size=(2, 512))[y]
    return length * X / np.linalg.norm(X, axis=1, keepdims=True), y


@pytest.mark.nightly
def test_the_arms_follow_from_the_network(fast, tmp_path):
    """Rows of CLIP, of any length, meet the transforms in the box; rows with the record of another
    network, or of other statistics, only the two arms without a transform.
    """
    X, y = clip_rows(length=1)
    result = verdict(X, y)
    box = ["clip-vit-b-32", "clip-vit-b-32-centred", "clip-vit-b-32-centred, recentred"]
    assert list(dict.fromkeys(row.transform for row in result.scores)) == [ORIGINAL, CENTRED, *box]
    longer = verdict(10 * X, y)
    np.testing.assert_allclose(
        [row.value for row in longer.scores], [row.value for row in result.scores], atol=1e-6
    )
    record = '{"model": "timm:vit", "layers": {"visual": 512}}'
    other = Features.load(folder(tmp_path, features_npy=X, record_json=record))
    for rows in (other, np.roll(X, 1, axis=1)):
        assert {row.transform for row in verdict(rows, y).scores} == {ORIGINAL, CENTRED}
    forced = {"forced": pretrained(box[0])}
    with pytest.raises(DataError, match="timm:vit"):
        verdict(other, y, transforms=forced)
    with pytest.warns(DataWarning, match="timm:vit"):
        result = verdict(other, y, transforms=forced, force=True)
    assert {row.transform for row in result.scores} == {ORIGINAL, CENTRED, "forced"}


def test_a_message_names_only_some_of_many_small_classes():
    """Of a hundred classes of one image each, the error names eight."""
    with pytest.raises(DataError, match=r"there are 0; .*7 \(1\), …"):
        verdict(np.eye(100), np.arange(100))


def test_the_command_joins_labels_by_name_and_writes_score_rows(fast, tmp_path):
    """``glocal try`` prints a line for each arm and the verdict, and writes rows for a report;
    labels of another order are joined by name.
    """
    X, y = made_rows(n=12)
    names = [f"sku{i:02d}" for i in range(len(X))]
    order = np.random.default_rng(1).permutation(len(X))
    table = "\n".join(["sku,kind", *(f"{names[i]},class {y[i]}" for i in order)])
    files = folder(
        tmp_path,
        features_npy=X.astype("f4"),
        file_names_txt="\n".join(names),
        labels_csv=table,
        groups_csv="kind,group\nclass 0,a\nclass 1,a\nclass 2,b\nclass 3,b\n",
        w_npz=HARMLESS,
    )
    command = f"try {files} --labels {files}/labels.csv:kind --transform {files}/w.npz"
    command += f" --superclasses {files}/groups.csv --out {files}/scores.jsonl"
    printed = run(command)
    assert printed.code == 0
    lines = printed.out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == [ORIGINAL, CENTRED, f"{files}/w.npz"]
    assert "1 image a class, superclasses, logistic" in lines[0]
    scores = read_scores(files / "scores.jsonl")
    record = run(f"{command} --json").json
    assert record["arm"] == CENTRED
    assert record["sentence"] == lines[-1]
    assert [row["value"] for row in record["scores"]] == [score.value for score in scores]
    assert run(f"report {files}/scores.jsonl --out {files}/page.html").code == 0


ARM_OF = {
    "cifar10": (CENTRED,),
    "animal or vehicle": ("clip-vit-b-32-centred", "clip-vit-b-32-centred, recentred"),
    "car damage": (CENTRED, ORIGINAL),
}


@pytest.mark.nightly
@pytest.mark.data
@pytest.mark.parametrize("name", ARM_OF)
def test_the_verdict_on_known_sets(name, data_dir, fast):
    """Classes of CIFAR-10 gain from own means, animals and vehicles from a centred transform, and
    photographs of damaged cars little from anything.
    """
    images = "car-damage-666" if name == "car damage" else "cifar10-500"
    files = data_dir / "downstream" / "clip-vit-b32" / images
    y = np.load(files / "labels.npy")
    if name == "animal or vehicle":
        y = np.isin(y, [0, 1, 8, 9]).astype(int)
    assert verdict(Features.load(files / "features.npy"), y).arm in ARM_OF[name]
