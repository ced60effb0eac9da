"""The scores, output and files of each ``glocal evaluate`` command, with a transform and with
baselines.
"""

import numpy as np
import pytest
import world
from scipy.spatial.distance import squareform
from world import run

from glocal import (
    Answers,
    Features,
    LinearTransform,
    anomaly,
    few_shot,
    odd_one_out,
    retrieval,
    rsa,
    structure,
)
from glocal._version import __version__
from glocal.data.rows import row_statistics
from glocal.data.sources.breeds import breeds_side
from glocal.evaluation.anomaly import anomaly_against
from glocal.jsonlines import read_rows
from glocal.scores import Score, Scores, read_scores
from glocal.transform.record import TransformRecord
from glocal.transform.reduction import baseline

RNG = np.random.default_rng(3)
Y = np.arange(60) % 3
CLASSES = 10 * Y + np.arange(60) // 3 % 2
SUPER = {str(name): f"s{name // 10}" for name in np.unique(CLASSES)}
X = RNG.normal(size=(3, 5))[Y] + RNG.normal(size=(60, 5)) + 0.5
RMS = np.sqrt(np.mean(X**2))
Z = X / RMS
TEST = RNG.normal(size=(40, 5)) + X[:40]
ASKED = world.answers(300, 60).objects
AGAIN = np.concatenate([ASKED[:50]] * 3)
RDMS = np.array([squareform(RNG.uniform(size=1770)) for _ in range(3)])
W = RNG.normal(size=(5, 5)).astype("f4")
TEXTS = Features(np.eye(3, 5) + 0.1, (*"012",))
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
        t_npz=LinearTransform(W, None, 0.1, 2.0, TransformRecord(rows=row_statistics(X))),
        net_npy=IMAGENET.matrix, numbers_npy=NUMBERS,
        ids_txt=["nowhere", *(f"o{i}" for i in range(60))],
        super_csv="\n".join(["class,superclass", *map(",".join, SUPER.items())]),
    )  # fmt: skip
    names = [f"o{i}.png" for i in range(60)]
    world.folder(path / "things", features_npy=X, file_names_txt=names)
    world.folder(path / "texts", features_npy=TEXTS.matrix, file_names_txt=TEXTS.names)
    return path


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def evaluate(words, *others):
    return run("evaluate", *words.split(), *others)


SIDES = "--train x.npy --train-labels y.npy --test test.npy --test-labels z.npy"
PEOPLE = "--features things/features.npy --answers answers.npy --object-ids ids.txt"
SEARCH = "--queries test.npy --query-labels z.npy --gallery x.npy --gallery-labels y.npy"
COMMANDS = {
    f"odd-one-out {PEOPLE}": lambda f: odd_one_out(f(X), Answers.from_array(ASKED[3:])),
    "rsa --features x.npy --rdm rdm.npy": lambda f: rsa(f(X), RDMS),
    f"few-shot {SIDES} --probe ncm": lambda f: few_shot(f(X), Y, f(TEST), Y[:40], probe="ncm"),
    f"anomaly {SIDES}": lambda f: anomaly(f(X), Y, f(TEST), Y[:40]),
    "structure --features x.npy": lambda f: structure(X, f(X)),
    f"retrieval {SEARCH}": lambda f: retrieval(f(TEST), Y[:40], f(X), Y),
}
SPLITS = {"rsa": "rdm.npy", "odd-one-out": "answers.npy", "structure": "x.npy"}
"""The file of the scored data by task; all other tasks are scored on labelled test images."""


def numbers(result):
    """The numbers of a result for JSON."""
    return {name: x for name, x in result.record().items() if isinstance(x, float | int)}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_gives_what_the_library_gives(tmp_path, command):
    """`--json` has the numbers of the library's result, and `--out` a row for each score.

    A row has its split and arm. Baselines are scored on the same data, with the paired difference
    of the units, and have a column in the table.
    """
    name = command.split()[0]
    library = COMMANDS[command]
    command += " --transform t.npz --baseline original --baseline centred --baseline pca"
    record = evaluate(command, "--json", "--out", tmp_path / "scores.jsonl").json
    expected = library(lambda rows: (rows - 0.1) / 2 @ W.astype(float))
    assert set(expected.record()) < set(record)
    same = {name: record[name] for name in numbers(expected)}
    assert same == pytest.approx(numbers(expected), rel=1e-6)
    scores = read_scores(tmp_path / "scores.jsonl")
    rows = {row.metric: row.value for row in scores if row.transform == "t.npz" and row.p is None}
    values = {row.metric: row.value for row in expected.scores if row.transform != "people"}
    assert rows == pytest.approx(values, rel=1e-6)
    assert scores[0].split == SPLITS.get(name, "test.npy, z.npy")
    originals = (library(lambda rows, m=m: (rows - m) / RMS) for m in (0, X.mean(axis=0)))
    original, centred = originals  # PCA of five columns is a rotation
    written = read_rows(tmp_path / "scores.jsonl")
    hashes = {row.pop("sha256") for row in written}
    assert len(hashes) == 1
    assert {row.pop("version") for row in written} == {__version__}
    assert all(row.pop("date") for row in written)
    assert record["rows"] == written
    place = (*scores.networks, *scores.tasks)
    for arm, other in {"original": original, "centred": centred, "pca": centred}.items():
        difference = expected.units.minus(other.units).mean
        assert scores.gain(*place, "t.npz", arm).value == pytest.approx(difference, abs=1e-5)
        assert scores.score(*place, arm).low == pytest.approx(other.low, abs=1e-5)
    table = evaluate(command).out
    assert all(f"minus {arm}" in table for arm in ("original", "centred", "pca"))


HIERARCHY = "--train x.npy --train-labels classes.npy --superclasses super.csv"
BREEDS = "--train net.npy --train-labels numbers.npy"


def breeds():
    scaled = Features(IMAGENET.scaling(IMAGENET.matrix, "float64"), None, "x")
    train, y = breeds_side("living17", scaled, NUMBERS, "training")
    test, z = breeds_side("living17", scaled, NUMBERS, "test")
    return few_shot(train.matrix, y, test.matrix, z, shots=2, probe="ncm")


CASES = {
    f"odd-one-out {PEOPLE}": lambda: odd_one_out(Z, Answers.from_array(ASKED[3:])),
    "anomaly --train x.npy --test test.npy --anomalies others.npy": lambda: anomaly_against(
        Z, *(x / RMS for x in (TEST, TEST[::-1] + 3))
    ),
    "few-shot --train x.npy --train-labels y.npy --probe ncm": lambda: few_shot(Z, Y, probe="ncm"),
    "retrieval --queries x.npy --query-labels y.npy": lambda: retrieval(Z, Y),
    f"few-shot {HIERARCHY} --probe ncm": lambda: few_shot(
        Z, CLASSES, superclasses=SUPER, probe="ncm"
    ),
    f"anomaly {HIERARCHY} --test x.npy --test-labels classes.npy": lambda: anomaly(
        Z, CLASSES, Z, CLASSES, superclasses=SUPER
    ),
    f"few-shot {BREEDS} --breeds living17 --shots 2 --probe ncm": breeds,
    **{
        f"few-shot --train x.npy --train-labels y.npy --class-texts texts --shots {shots}": (
            lambda shots=shots: few_shot(Z, Y, shots=shots, texts=TEXTS, originals=X)
        )
        for shots in (0, 2)
    },
}


@pytest.mark.parametrize("command", CASES)
def test_options_choose_what_is_scored(command):
    """The files and options of a command choose the same as the arguments of its function: shots
    and queries are left out of one file, texts of classes meet the original rows, and all rows of
    BREEDS are scaled together.
    """
    expected = numbers(CASES[command]())
    record = evaluate(command, "--json").json
    assert {name: record[name] for name in expected} == pytest.approx(expected)


def test_the_means_of_anomalies_come_from_a_broad_collection():
    """The baseline centred subtracts the means of --means, or of --train with a warning, since
    those of normal images alone hide anomalies.
    """
    command = f"anomaly {SIDES} --baseline centred --json"
    for option, rows in (("", X), ("--means test.npy", TEST)):
        ended = evaluate(f"{command} {option}")
        expected = anomaly(X - rows.mean(axis=0), Y, TEST - rows.mean(axis=0), Y[:40])
        scores = Scores(Score(**row) for row in ended.json["rows"])
        score = scores.score(*scores.networks, "anomaly", "centred")
        assert score.value == pytest.approx(expected.auroc)
        assert ("hide anomalies" in ended.err) == (not option)


def test_questions_that_were_asked_again_bring_their_ceilings():
    """If people answered a question several times, the bounds that they set are stated."""
    command = "odd-one-out --features x.npy --answers again.npy"
    bounds = evaluate(command, "--json").json["ceiling"]
    assert bounds["leave_one_out"] == [1, None, None]
    assert "on at least 100.0 % of 150 answers (3 answers a question" in evaluate(command).out


ASKING = """
few-shot --probe ncm --train a.npy --train-labels
retrieval --queries a.npy --query-labels
anomaly --train a.npy --test b.npy --test-labels right.npy --train-labels
"""


@world.table("command", ASKING)
def test_labels_in_another_order_are_asked_about(here, command):
    """A score at chance asks whether labels and rows have one order; a score above does not."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(range(4), 75))
    a, b = 3 * np.eye(4)[y] + rng.normal(size=(2, 300, 4))
    world.folder(here, a_npy=a, b_npy=b, right_npy=y, wrong_npy=y[::-1])
    errors = [evaluate(f"{command} {labels}.npy").err for labels in ("right", "wrong")]
    assert ["order of the features" in err for err in errors] == [False, True]


def test_rows_of_another_scale_need_force():
    """Rows of another scale than those of the fit are refused, and scored with --force."""
    command = "structure --features long.npy --transform t.npz"
    assert "std" in evaluate(command).error(1)
    assert evaluate(f"{command} --force").code == 0


def test_a_transform_may_have_the_name_of_a_column(folder):
    """A transform that is called n has its scores in the table, beside the numbers of images."""
    world.folder(folder / "n", transform_npz=(folder / "t.npz").read_bytes())
    tables = [evaluate(f"structure --features x.npy --transform {name}") for name in ("n", "t.npz")]
    assert tables[0].out.split()[-8:] == tables[1].out.split()[-8:]


def test_two_arms_give_one_warning():
    """A warning that two arms give is printed once."""
    ended = evaluate(f"retrieval {SEARCH} --gallery-labels classes.npy --baseline centred")
    assert ended.err.count("queries have no gallery row") == 1


def test_pca_has_100_axes():
    """The baseline PCA maps wide features to 100 axes."""
    assert baseline("pca", Features(RNG.normal(size=(120, 110)))).weights.shape == (110, 100)


@pytest.mark.parametrize("content, code", [("my notes\n", 1), ("", 0), ('{"task": "rs', 0)])
def test_scores_are_appended_to_scores_alone(tmp_path, content, code):
    """A file that holds anything but scores, or the beginning of one, stays as it is."""
    out = tmp_path / "notes.txt"
    out.write_text(content, "utf-8")
    ended = evaluate("structure --features x.npy --out", out)
    assert ended.code == code
    assert ("scores" in ended.err) == bool(code)
    assert (out.read_text("utf-8") == content) == bool(code)
