"""The scores, output and files of each ``glocal evaluate`` command, with a transform and with
baselines.
"""

import json
import shutil
from contextlib import nullcontext

import numpy as np
import pytest

from glocal.cli.app import execute
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.sources import breeds_sides
from glocal.errors import DataWarning
from glocal.evaluation.agreement import ceiling, odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.results import read_scores
from glocal.transform.rows import BASELINES, baseline

RNG = np.random.default_rng(3)
Y = np.arange(60) % 3
X = RNG.normal(size=(3, 5))[Y] + RNG.normal(size=(60, 5)) + 0.5
TEST = RNG.normal(size=(40, 5)) + X[:40]
ASKED = np.array([RNG.permutation(60)[:3] for _ in range(300)])
RDMS = np.abs(RNG.normal(size=(3, 60, 60)))
RDMS = (RDMS + RDMS.transpose(0, 2, 1)) * (1 - np.eye(60))
W = RNG.normal(size=(5, 5)).astype("f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every file that a command takes; the answers name objects, and the first has no features."""
    where = tmp_path_factory.mktemp("evaluate")
    arrays = {
        "x": X,
        "test": TEST,
        "others": TEST[::-1] + 3,
        "y": Y,
        "z": Y[:40],
        "rdm": RDMS,
        "super": Y // 2,
    }
    arrays |= {"answers": ASKED + 1}
    arrays["answers"][:3, 0] = 0
    arrays["again"] = np.concatenate([ASKED[:50]] * 3)
    for name, array in arrays.items():
        np.save(where / f"{name}.npy", array)
    (where / "things").mkdir()
    np.save(where / "things/features.npy", X)
    (where / "things/file_names.txt").write_text("\n".join(f"o{i}.png" for i in range(60)))
    (where / "ids.txt").write_text("\n".join(["nowhere", *(f"o{i}" for i in range(60))]))
    np.savez(where / "t.npz", weights=W, mean=0.1, std=2.0)
    return where


SIDES = "--train x.npy --train-labels y.npy --test test.npy --test-labels z.npy"
COMMANDS = {
    "odd-one-out": "--features things/features.npy --answers answers.npy --object-ids ids.txt",
    "rsa": "--features x.npy --rdm rdm.npy",
    "few-shot": f"{SIDES} --probe ncm --shots 3",
    "anomaly": f"{SIDES} --k 3",
    "structure": "--features x.npy --k 5",
    "retrieval": "--queries test.npy --query-labels z.npy --gallery x.npy --gallery-labels y.npy",
}


def run(folder, name, *added, options=None):
    words = [*(COMMANDS[name] if options is None else options).split(), *map(str, added)]
    return execute(
        ["evaluate", name, *(str(folder / w) if "." in w and w[0] != "-" else w for w in words)]
    )


def answer(folder, capsys, name, *added, options=None):
    assert run(folder, name, *added, "--json", options=options) == 0
    return json.loads(capsys.readouterr().out)


def result(name, embed):
    """The result that the library gives for the same files, under any embedding."""
    return {
        "odd-one-out": lambda: odd_one_out(embed(X), Answers.from_array(ASKED[3:])),
        "rsa": lambda: rsa(embed(X), RDMS),
        "few-shot": lambda: few_shot(embed(X), Y, embed(TEST), Y[:40], probe="ncm", shots=3),
        "anomaly": lambda: anomaly(embed(X), Y, embed(TEST), Y[:40], k=3),
        "structure": lambda: structure((X - 0.1) / 2, embed(X), k=5),
        "retrieval": lambda: retrieval(embed(TEST), Y[:40], embed(X), Y),
    }[name]()


def transformed(rows):
    return (rows - 0.1) / 2 @ W.astype(float)


def original(rows):
    return (rows - X.mean()) / X.std()


KEYS = {
    "odd-one-out": "accuracy low high tie_rate loss chance n similarity ceiling",
    "rsa": "spearman low high ceiling kernel n_objects",
    "few-shot": "accuracy low high per_draw chance n probe shots draws seed",
    "anomaly": "auroc aupr fpr95 low high per_class mode k n",
    "structure": "neighbours_kept low high cka rdm_spearman k n",
    "retrieval": "map low high recall n",
}


@pytest.mark.filterwarnings("ignore:the correlation")  # the RDMs are random
@pytest.mark.filterwarnings("ignore:3 of 300 answers")  # about an object without features
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_gives_what_the_library_gives(folder, tmp_path, capsys, name):
    """`--json` has the fields of the library's result, and `--out` a row for each score.

    A row has its split and arm. Baselines are scored on the same data, with the paired difference
    of the units, and have a column in the table.
    """
    out = tmp_path / "scores.jsonl"
    arms = ["original", "centred", "pca"]
    options = [
        "--transform",
        folder / "t.npz",
        *(word for arm in arms for word in ("--baseline", arm)),
    ]
    record = answer(folder, capsys, name, *options, "--out", out)
    assert set(KEYS[name].split()) <= set(record)
    expected = result(name, transformed)
    first = KEYS[name].split()[0]
    assert (record[first], record["low"]) == pytest.approx(
        (getattr(expected, first), expected.low), rel=1e-6
    )
    rows = [
        row for row in read_scores(out) if row.transform == str(folder / "t.npz") and row.p is None
    ]
    assert [row.metric for row in rows] == [
        score.metric for score in expected.scores if score.transform != "people"
    ]
    assert rows[0].value == pytest.approx(record[first])
    assert {row.split for row in rows} == {
        {
            "few-shot": "test.npy",
            "anomaly": "test.npy",
            "retrieval": "test.npy",
            "rsa": "rdm.npy",
            "odd-one-out": "answers.npy",
            "structure": "x.npy",
        }[name]
    }
    before = (
        original if name != "structure" else lambda rows: (rows - 0.1) / 2
    )  # standardized by the scalars of the transform
    for arm, beside in zip(arms, record["baselines"], strict=True):
        baseline_result = result(name, before if arm == "original" else baseline(arm, Features(X)))
        assert beside["transform"] == arm
        assert beside["difference"]["value"] == pytest.approx(
            expected.units.minus(baseline_result.units).mean, abs=1e-6
        )
        assert beside["low"] == pytest.approx(baseline_result.low, abs=1e-5)
    assert run(folder, name, *options) == 0
    table = capsys.readouterr().out
    assert all(f"less {arm}" in table for arm in arms)


def test_questions_that_were_asked_again_bring_their_ceilings(folder, capsys):
    """If people answered a question several times, the table has the bounds that they set, as rows
    of people.
    """
    options = "--features x.npy --answers again.npy"
    record = answer(folder, capsys, "odd-one-out", options=options)
    expected = ceiling(Answers.from_array(np.concatenate([ASKED[:50]] * 3)))
    assert (
        record["ceiling"]["leave_one_out"]
        == pytest.approx(list(expected.leave_one_out))
        == [1, None, None]
    )
    assert run(folder, "odd-one-out", options=options) == 0
    assert "on at least 100.0 % of answers (3 answers a question" in capsys.readouterr().out


def test_anomalies_of_another_set_and_shift(folder, capsys):
    """`--anomalies` needs no labels, and shift takes superclasses as labels, with subclasses."""
    record = answer(
        folder, capsys, "anomaly", options="--train x.npy --test test.npy --anomalies others.npy"
    )
    expected = anomaly_against(original(X), original(TEST), original(TEST[::-1] + 3))
    assert (record["auroc"], record["mode"], record["n"]) == (
        pytest.approx(expected.auroc),
        "against",
        80,
    )
    options = "--train x.npy --train-labels y.npy --test x.npy --test-labels y.npy --mode shift"
    np.save(folder / "sub.npy", 10 * Y + np.arange(60) // 3 % 2)
    subclasses = ("--train-subclasses", folder / "sub.npy", "--test-subclasses", folder / "sub.npy")
    assert len(answer(folder, capsys, "anomaly", *subclasses, options=options)["per_class"]) == 3


def test_one_file_alone_leaves_the_row_itself_out(folder, capsys):
    """With one file, few-shot tests each draw on the other rows, and a query is searched for among
    the others.
    """
    for same in ("", "--test x.npy --test-labels y.npy"):
        options = f"--train x.npy --train-labels y.npy {same} --probe 1nn"
        assert answer(folder, capsys, "few-shot", options=options)["n"] == 45
    record = answer(folder, capsys, "retrieval", options="--queries x.npy --query-labels y.npy")
    assert record["map"] == pytest.approx(retrieval(original(X), Y).map)


def test_superclasses_come_from_a_table(folder, capsys):
    """`--superclasses` of few-shot and anomaly equals the table in Python, with classes
    as labels.
    """
    classes = 10 * Y + np.arange(60) // 3 % 2
    np.save(folder / "classes.npy", classes)
    superclass_of = {str(name): f"s{name // 10}" for name in set(classes.tolist())}
    lines = [f"{name},{superclass}" for name, superclass in superclass_of.items()]
    (folder / "super.csv").write_text("\n".join(["class,superclass", *lines]) + "\n")
    options = "--train x.npy --train-labels classes.npy --superclasses super.csv"
    record = answer(folder, capsys, "few-shot", "--probe", "ncm", options=options)
    Z = original(X)
    settings = {"probe": "ncm", "leave_out_shots": True, "superclasses": superclass_of}
    expected = few_shot(Z, classes, Z, classes, **settings)
    assert record["accuracy"] == pytest.approx(expected.accuracy)
    assert (record["n"], record["chance"]) == (30, pytest.approx(1 / 3))
    options += " --test x.npy --test-labels classes.npy"
    record = answer(folder, capsys, "anomaly", options=options)
    expected = anomaly(Z, classes, Z, classes, superclasses=superclass_of)
    assert (record["auroc"], record["mode"]) == (pytest.approx(expected.auroc), "shift")


@pytest.mark.parametrize("name", ["few-shot", "retrieval", "anomaly"])
def test_labels_in_another_order_are_asked_about(tmp_path, name):
    """A score at chance asks whether labels and rows have one order; a score above does not."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(4), 75))
    np.save(tmp_path / "x.npy", 3 * np.eye(4)[y] + rng.normal(size=(300, 4)))
    np.save(tmp_path / "t.npy", 3 * np.eye(4)[y] + rng.normal(size=(300, 4)))
    np.savetxt(tmp_path / "right.txt", y, "%d")
    np.savetxt(tmp_path / "wrong.txt", y[::-1], "%d")
    sides = ("queries", "query") if name == "retrieval" else ("train", "train")
    for labels in ("right", "wrong"):
        options = [f"--{sides[0]}", tmp_path / "x.npy"]
        options += [f"--{sides[1]}-labels", tmp_path / f"{labels}.txt"]
        if name == "anomaly":
            options += ["--test", tmp_path / "t.npy", "--test-labels", tmp_path / "right.txt"]
        if name == "few-shot":
            options += ["--probe", "ncm"]
        expected = pytest.warns(DataWarning, match="order of the features")
        with expected if labels == "wrong" else nullcontext():  # a warning is an error otherwise
            assert execute(["evaluate", name, *map(str, options)]) == 0


def test_breeds_trains_on_some_classes_and_tests_on_others(tmp_path, capsys):
    """`--breeds` trains few-shot superclasses on the training classes and tests them on the test
    classes, with all rows standardized together.
    """
    numbers = np.arange(1000).repeat(3)
    rows = np.random.default_rng(3).normal(size=(3000, 8))
    np.save(tmp_path / "x.npy", rows)
    np.save(tmp_path / "y.npy", numbers)
    same = "--train x.npy --train-labels y.npy --test x.npy --test-labels y.npy --breeds living17"
    record = answer(tmp_path, capsys, "few-shot", "--shots", 2, "--probe", "ncm", options=same)
    scaled = Features((rows - rows.mean()) / rows.std(), None, "x")
    train, y, test, truth = breeds_sides("living17", scaled, numbers, scaled, numbers)
    expected = few_shot(train.matrix, y, test.matrix, truth, shots=2, probe="ncm")
    assert (record["n"], record["accuracy"]) == (17 * 2 * 3, pytest.approx(expected.accuracy))


@pytest.mark.filterwarnings("ignore:3 of 300 answers")
@pytest.mark.parametrize(
    ("name", "options", "added", "code", "noun"),
    [
        ("odd-one-out", None, ("--baseline", "none.npz"), 1, "none.npz"),
        ("anomaly", "--train x.npy --test test.npy", (), 2, "--train-labels"),
        ("anomaly", f"{SIDES} --anomalies others.npy", (), 2, "anomalies"),
        (
            "retrieval",
            "--queries x.npy --query-labels y.npy --gallery x.npy --gallery-labels y.npy",
            (),
            2,
            "one file",
        ),
        ("few-shot", "--train x.npy --train-labels y.npy --test test.npy", (), 2, "--test-labels"),
        ("anomaly", f"{SIDES} --mode shift --train-subclasses y.npy", (), 2, "--test-subclasses"),
        ("anomaly", f"{SIDES} --breeds living17 --superclasses y.npy", (), 2, "--breeds"),
        ("few-shot", f"{SIDES} --breeds living17 --superclasses y.npy", (), 2, "--breeds"),
    ],
)
def test_what_a_command_refuses(folder, capsys, name, options, added, code, noun):
    """A wrong command line exits with 2 and bad content with 1, each with one sentence and nothing
    on standard output.
    """
    assert run(folder, name, *added, options=options) == code
    streams = capsys.readouterr()
    assert noun in streams.err
    assert streams.out == ""


def test_baselines_know_no_answers():
    """Centred features have mean 0 in every column, and PCA keeps their products in at
    most 100 axes.
    """
    rows = RNG.normal(size=(300, 120)) * np.linspace(3, 0.1, 120) + 1
    standardized = (rows - rows.mean()) / rows.std()
    centred = standardized - standardized.mean(axis=0)
    baselines = {name: baseline(name, Features(rows))(rows) for name in BASELINES}
    np.testing.assert_allclose(baselines["centred"], centred, atol=1e-5)
    values, axes = np.linalg.eigh(centred.T @ centred)
    expected = centred @ axes[:, ::-1][:, :100]
    assert baselines["pca"].shape == (300, 100)
    np.testing.assert_allclose(
        baselines["pca"] @ baselines["pca"].T, expected @ expected.T, atol=2e-3 * values[-1] / 300
    )


def test_a_transform_may_have_the_name_of_a_column(folder, monkeypatch, capsys):
    """A transform that is called n has its scores in the table, beside the numbers of images."""
    monkeypatch.chdir(folder)
    (folder / "n").mkdir()
    shutil.copyfile("t.npz", "n/transform.npz")
    tables = []
    for name in ("n", "t.npz"):
        assert run(folder, "structure", "--transform", name) == 0
        tables.append([line.split() for line in capsys.readouterr().out.splitlines()[2:]])
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("content", "code"),
    [("my notes\n", 1), ('{"task": "rsa"}\n', 1), ("{}", 1), ("", 0), ('{"task": "rs', 0)],
)
def test_scores_are_appended_to_scores_alone(folder, tmp_path, capsys, content, code):
    """A file that holds anything but scores, or the beginning of one, stays as it is."""
    out = tmp_path / "notes.txt"
    out.write_text(content)
    assert run(folder, "structure", "--out", out) == code
    assert ("scores" in capsys.readouterr().err) == (code == 1)
    assert (out.read_text() == content) == (code == 1)


def test_a_row_of_another_scale_is_warned_of(folder, tmp_path, capsys):
    """Every evaluation warns if the transform was fitted on rows of another length."""
    np.save(tmp_path / "long.npy", 1000 * X)
    with pytest.warns(DataWarning):
        assert (
            run(
                folder,
                "structure",
                "--transform",
                folder / "t.npz",
                options=f"--features {tmp_path}/long.npy",
            )
            == 0
        )
