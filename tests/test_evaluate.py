"""The scores, output and files of each ``glocal evaluate`` command, with a transform and with
baselines.
"""

import numpy as np
import pytest
import world
from world import run

from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.rows import row_statistics
from glocal.data.sources.breeds import breeds_side
from glocal.evaluation.agreement import ceiling, odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.evaluation.structure import structure
from glocal.results import read_scores
from glocal.transform import LinearTransform
from glocal.transform.rows import BASELINES, baseline

RNG = np.random.default_rng(3)
Y = np.arange(60) % 3
CLASSES = 10 * Y + np.arange(60) // 3 % 2
SUPER = {str(name): f"s{name // 10}" for name in (0, 1, 10, 11, 20, 21)}
X = RNG.normal(size=(3, 5))[Y] + RNG.normal(size=(60, 5)) + 0.5
Z = (X - X.mean()) / X.std()
TEST = RNG.normal(size=(40, 5)) + X[:40]
ASKED = world.answers(300, 60).objects
AGAIN = np.concatenate([ASKED[:50]] * 3)
RDMS = np.abs(RNG.normal(size=(3, 60, 60)))
RDMS = (RDMS + RDMS.transpose(0, 2, 1)) * (1 - np.eye(60))
W = RNG.normal(size=(5, 5)).astype("f4")
NUMBERS = np.arange(1000).repeat(3)
IMAGENET = Features(RNG.normal(size=(3000, 8)), None, "x")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every file that a command takes; the answers name objects, and the first has no features."""
    answers = ASKED + 1
    answers[:3, 0] = 0
    path = world.folder(
        tmp_path_factory.mktemp("evaluate"),
        x_npy=X, test_npy=TEST, others_npy=TEST[::-1] + 3, y_npy=Y, z_npy=Y[:40], rdm_npy=RDMS,
        classes_npy=CLASSES, answers_npy=answers, again_npy=AGAIN, long_npy=1000 * X,
        t_npz=LinearTransform(W, None, 0.1, 2.0, {"rows": row_statistics(X, 2.0)}),
        net_npy=IMAGENET.matrix, numbers_npy=NUMBERS,
        ids_txt="\n".join(["nowhere", *(f"o{i}" for i in range(60))]),
        super_csv="\n".join(["class,superclass", *map(",".join, SUPER.items())]),
    )  # fmt: skip
    names = "\n".join(f"o{i}.png" for i in range(60))
    world.folder(path / "things", features_npy=X, file_names_txt=names)
    return path


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


REFUSED = """
odd-one-out {PEOPLE} --baseline none.npz | 1 | none.npz
anomaly --train x.npy --test test.npy | 2 | --train-labels
retrieval {SEARCH} --queries x.npy | 2 | one file
few-shot --train x.npy --train-labels y.npy --test test.npy | 2 | --test-labels
anomaly {SIDES} --mode shift | 2 | --superclasses
structure --features long.npy --transform t.npz | 1 | std
"""


def evaluate(words, *others):
    return run("evaluate", *words.split(), *others)


SIDES = "--train x.npy --train-labels y.npy --test test.npy --test-labels z.npy"
PEOPLE = "--features things/features.npy --answers answers.npy --object-ids ids.txt"
SEARCH = "--queries test.npy --query-labels z.npy --gallery x.npy --gallery-labels y.npy"
COMMANDS = {
    f"odd-one-out {PEOPLE}": lambda f: odd_one_out(f(X), Answers.from_array(ASKED[3:])),
    "rsa --features x.npy --rdm rdm.npy": lambda f: rsa(f(X), RDMS),
    f"few-shot {SIDES} --probe ncm --shots 3": lambda f: few_shot(
        f(X), Y, f(TEST), Y[:40], probe="ncm", shots=3
    ),
    f"anomaly {SIDES} --k 3": lambda f: anomaly(f(X), Y, f(TEST), Y[:40], k=3),
    "structure --features x.npy --k 5": lambda f: structure((X - 0.1) / 2, f(X), k=5),
    f"retrieval {SEARCH}": lambda f: retrieval(f(TEST), Y[:40], f(X), Y),
}
FIELDS = {
    "odd-one-out": "accuracy low high tie_rate loss chance n similarity ceiling",
    "rsa": "spearman low high ceiling kernel n",
    "few-shot": "accuracy low high per_draw chance n probe shots draws seed",
    "anomaly": "auroc aupr fpr95 low high per_class mode k n",
    "structure": "neighbours_kept low high cka rdm_spearman k n",
    "retrieval": "map low high recall n",
}
SPLITS = {"rsa": "rdm.npy", "odd-one-out": "answers.npy", "structure": "x.npy"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_gives_what_the_library_gives(tmp_path, command):
    """`--json` has the fields of the library's result, and `--out` a row for each score.

    A row has its split and arm. Baselines are scored on the same data, with the paired difference
    of the units, and have a column in the table.
    """
    name = command.split()[0]
    library = COMMANDS[command]
    command += " --transform t.npz --baseline original --baseline centred --baseline pca"
    record = evaluate(command, "--json", "--out", tmp_path / "scores.jsonl").json
    first, *fields = FIELDS[name].split()
    assert {first, *fields} <= set(record)
    expected = library(lambda rows: (rows - 0.1) / 2 @ W.astype(float))
    ends = (getattr(expected, first), expected.low)
    assert (record[first], record["low"]) == pytest.approx(ends, rel=1e-6)
    scores = read_scores(tmp_path / "scores.jsonl")
    rows = [row for row in scores if row.transform == "t.npz" and row.p is None]
    metrics = [score.metric for score in expected.scores if score.transform != "people"]
    assert [row.metric for row in rows] == metrics
    assert rows[0].value == pytest.approx(record[first])
    assert {row.split for row in rows} == {SPLITS.get(name, "test.npy")}
    # the structure of the original is standardized by the scalars of the transform
    mean, std = (0.1, 2) if name == "structure" else (X.mean(), X.std())
    maps = [baseline(arm, Features(X)) for arm in ("centred", "pca")]
    originals = map(library, [lambda rows: (rows - mean) / std, *maps])
    for original, beside in zip(originals, record["baselines"], strict=True):
        difference = expected.units.minus(original.units).mean
        assert beside["difference"]["value"] == pytest.approx(difference, abs=1e-6)
        assert beside["low"] == pytest.approx(original.low, abs=1e-5)
    table = evaluate(command).out
    assert all(f"less {arm}" in table for arm in ("original", "centred", "pca"))


TWICE = "--train x.npy --train-labels y.npy --test x.npy --test-labels y.npy"
HIERARCHY = "--train x.npy --train-labels classes.npy --superclasses super.csv"
BREEDS = TWICE.replace("x.npy", "net.npy").replace("y.npy", "numbers.npy")


def breeds(shots):
    scaled = Features(IMAGENET.standardization(IMAGENET.matrix, "float64"), None, "x")
    train, y = breeds_side("living17", scaled, NUMBERS, "training")
    test, z = breeds_side("living17", scaled, NUMBERS, "test")
    return few_shot(train.matrix, y, test.matrix, z, shots=shots, probe="ncm")


CASES = {
    "anomalies of another set need no labels": (
        "anomaly --train x.npy --test test.npy --anomalies others.npy",
        lambda: anomaly_against(Z, *((x - X.mean()) / X.std() for x in (TEST, TEST[::-1] + 3))),
    ),
    "shots are left out of one file": (
        "few-shot --train x.npy --train-labels y.npy --probe ncm",
        lambda: few_shot(Z, Y, probe="ncm"),
    ),
    "shots are left out of the same file": (
        f"few-shot {TWICE} --probe ncm",
        lambda: few_shot(Z, Y, probe="ncm"),
    ),
    "a query is not searched for itself": (
        "retrieval --queries x.npy --query-labels y.npy",
        lambda: retrieval(Z, Y),
    ),
    "superclasses of few-shot from a table": (
        f"few-shot {HIERARCHY} --probe ncm",
        lambda: few_shot(Z, CLASSES, superclasses=SUPER, probe="ncm"),
    ),
    "superclasses of anomaly from a table": (
        f"anomaly {HIERARCHY} --test x.npy --test-labels classes.npy",
        lambda: anomaly(Z, CLASSES, Z, CLASSES, superclasses=SUPER),
    ),
    "all rows of BREEDS are standardized together": (
        f"few-shot {BREEDS} --breeds living17 --shots 2 --probe ncm",
        lambda: breeds(2),
    ),
}


@pytest.mark.parametrize("command, library", CASES.values(), ids=CASES)
def test_options_choose_what_is_scored(command, library):
    """The files and options of a command choose the same as the arguments of its function."""
    record = evaluate(command, "--json").json
    expected = library()
    first = FIELDS[command.split()[0]].split()[0]
    scores = (getattr(expected, first), expected.n)
    assert (record[first], record["n"]) == pytest.approx(scores)


def test_questions_that_were_asked_again_bring_their_ceilings():
    """If people answered a question several times, the table has the bounds that they set, as rows
    of people.
    """
    command = "odd-one-out --features x.npy --answers again.npy"
    bounds = evaluate(command, "--json").json["ceiling"]
    expected = ceiling(Answers.from_array(AGAIN)).leave_one_out
    assert bounds["leave_one_out"] == list(expected) == [1, None, None]
    assert "on at least 100.0 % of answers (3 answers a question" in evaluate(command).out


@pytest.mark.parametrize(
    "command",
    [
        "few-shot --probe ncm --train a.npy --train-labels",
        "retrieval --queries a.npy --query-labels",
        "anomaly --train a.npy --test b.npy --test-labels right.npy --train-labels",
    ],
)
def test_labels_in_another_order_are_asked_about(tmp_path, monkeypatch, command):
    """A score at chance asks whether labels and rows have one order; a score above does not."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(4), 75))
    a, b = 3 * np.eye(4)[y] + rng.normal(size=(2, 300, 4))
    files = world.folder(tmp_path, a_npy=a, b_npy=b, right_npy=y, wrong_npy=y[::-1])
    monkeypatch.chdir(files)
    errors = [evaluate(f"{command} {labels}.npy").err for labels in ("right", "wrong")]
    assert ["order of the features" in err for err in errors] == [False, True]


@pytest.mark.parametrize("line", REFUSED.strip().split("\n"))
def test_what_a_command_refuses(line):
    """A wrong command line exits with 2 and bad content with 1, each with one sentence and nothing
    on standard output; rows of another scale than those of the fit need --force.
    """
    command, code, noun = line.format(PEOPLE=PEOPLE, SEARCH=SEARCH, SIDES=SIDES).split(" | ")
    ended = evaluate(command)
    assert (str(ended.code), ended.out, noun in ended.err) == (code, "", True)
    assert evaluate("structure --features long.npy --transform t.npz --force").code == 0


def test_baselines_know_no_answers():
    """Centred features have mean 0 in every column, and PCA keeps their products in at
    most 100 axes.
    """
    rows = RNG.normal(size=(300, 120)) * np.linspace(3, 0.1, 120) + 1
    expected = (rows - rows.mean(axis=0)) / rows.std()
    centred, pca = (baseline(name, Features(rows))(rows) for name in BASELINES)
    np.testing.assert_allclose(centred, expected, atol=1e-5)
    U, values, _ = np.linalg.svd(expected)
    best = U[:, :100] * values[:100]
    assert pca.shape == best.shape
    np.testing.assert_allclose(pca @ pca.T, best @ best.T, atol=0.01)


def test_a_transform_may_have_the_name_of_a_column(folder):
    """A transform that is called n has its scores in the table, beside the numbers of images."""
    world.folder(folder / "n", transform_npz=(folder / "t.npz").read_bytes())
    tables = [
        evaluate(f"structure --features x.npy --transform {name}").out for name in ("n", "t.npz")
    ]
    named, other = ([line.split() for line in table.splitlines()[2:]] for table in tables)
    assert named == other


@pytest.mark.parametrize(
    "content, code",
    [("my notes\n", 1), ('{"task": "rsa"}\n', 1), ("{}", 1), ("", 0), ('{"task": "rs', 0)],
)
def test_scores_are_appended_to_scores_alone(tmp_path, content, code):
    """A file that holds anything but scores, or the beginning of one, stays as it is."""
    out = tmp_path / "notes.txt"
    out.write_text(content)
    ended = evaluate("structure --features x.npy --transform t.npz --out", out)
    assert (ended.code, "scores" in ended.err) == (code, bool(code))
    assert (out.read_text() == content) == bool(code)
