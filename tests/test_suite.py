"""A suite scores arms × tasks from one file; its cells are kept by content, and arms are compared
in pairs.
"""

import json
import shutil
import subprocess
import time
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import processes
import pytest

from glocal.aligner import Arm, FitData, fit
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.sources.breeds import breeds
from glocal.data.world import simulated_answers, simulated_world
from glocal.errors import DataWarning, FileError, ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import holm
from glocal.evaluation.structure import neighbours_kept
from glocal.results import read_rows
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite
from glocal.suite.table import cell, score_frame
from glocal.transform import LinearTransform
from glocal.transform.rows import baseline

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SUITE = """
answers = "t.npy"
seed = 42
[networks.net]
features = "{network}"
local = "local.npy"
[arms.original]
[arms.global]
method = "global"
lmbda = 0.1
[arms.given]
transform = "w.npz"
[arms.centred]
baseline = "centred"
[tasks.heldout]
kind = "odd-one-out"
[tasks.again]
kind = "odd-one-out"
answers = "again.npy"
[tasks.rdm]
kind = "rsa"
rdm = "rdm.npy"
[tasks.few]
kind = "few-shot"
train = "images.npy"
train_labels = "y.txt"
probe = "ncm"
shots = 2
draws = 4
[tasks.local]
kind = "structure"
features = "images.npy"
k = 5
"""
TASKS = ["heldout", "again", "rdm", "few", "local"]
ARMS = ["original", "global", "given", "centred"]
ONE_ARM = SUITE[: SUITE.index("[arms.global]")]


@pytest.fixture(scope="module")
def made():
    return simulated_world(
        n_superordinate=4,
        n_category=6,
        n_object=3,
        n_local=120,
        n_triplets=12_000,
        dimensions=24,
        seed=3,
    )


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """The files that the suite above names, and a transform that was fitted elsewhere."""
    where = tmp_path_factory.mktemp("suite")
    (where / "net").mkdir()
    np.save(where / "net" / "features.npy", made.objects.matrix)
    (where / "net" / "file_names.txt").write_text("\n".join(made.objects.names) + "\n")
    np.save(where / "t.npy", made.answers.objects)
    np.save(where / "local.npy", made.local.matrix[:60])
    np.save(where / "images.npy", made.local.matrix[60:])
    (where / "y.txt").write_text(
        "\n".join(f"class{label}" for label in made.local_category[60:] // 6) + "\n"
    )
    some = made.answers.objects[:40]
    again = simulated_answers(made.mind, 400_000, seed=5).objects
    key = {tuple(sorted(answer)) for answer in some.tolist()}
    np.save(where / "again.npy", np.array([a for a in again.tolist() if tuple(sorted(a)) in key]))
    mind = made.mind / np.linalg.norm(made.mind, axis=1, keepdims=True)
    rdm = 1 - mind @ mind.T
    np.save(where / "rdm.npy", (rdm + rdm.T) / 2 * (1 - np.eye(len(rdm))))
    fit(FitData(made.objects, made.answers), Arm("global", lmbda=1.0)).transform.save(
        where / "w.npz"
    )
    (where / "suite.toml").write_text(SUITE)
    return where


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out") / "s"


@pytest.fixture(scope="module")
def result(folder, out):
    return run_suite(Plan.load(folder / "suite.toml"), out)


@pytest.fixture(scope="module")
def rows(result):
    return score_frame(result.scores)


def row_of(rows, task, arm, metric):
    (row,) = rows[
        (rows["task"] == task) & (rows["transform"] == arm) & (rows["metric"] == metric)
    ].to_dict("records")
    return row


def test_every_score_is_that_of_its_function(rows, made, folder):
    """Each row has the score that its evaluation gives for the embedding of a fit, a file or a
    baseline, and held-out rows name the fold.
    """
    data, heldout, _ = FitData(made.objects, made.answers).folds(3, "objects")[0]
    transform = fit(data, Arm("global", lmbda=0.1)).transform
    original = made.objects.standardization(made.objects.matrix, "float64")
    after, before = (
        odd_one_out(Z, heldout)
        for Z in (transform.apply(made.objects.matrix.astype(float)), original)
    )
    row, gain = (
        row_of(rows, "heldout", "global", f"accuracy_cosine{kind}") for kind in ("", "_difference")
    )
    assert row["split"] == "fold 0 of 3"
    assert (row["value"], row["low"], row["high"], row["n"]) == pytest.approx(
        (after.accuracy, after.low, after.high, after.n), abs=1e-6
    )
    difference = after.units.minus(before.units)
    assert (gain["value"], gain["low"], gain["high"]) == pytest.approx(
        (difference.mean, *difference.interval()), abs=1e-6
    )
    images = made.local.matrix[60:]
    labels = made.local_category[60:] // 6
    X = made.objects.standardization(images, "float64")
    pretrained = LinearTransform.load(folder / "w.npz")
    centred = baseline("centred", made.objects)
    for name, arm in {"global": transform, "given": pretrained, "centred": centred}.items():
        Z = arm.apply(images.astype(float))
        few = few_shot(Z, labels, Z, labels, shots=2, draws=4, probe="ncm", leave_out_shots=True)
        assert row_of(rows, "few", name, "accuracy_ncm")["value"] == pytest.approx(few.accuracy)
        assert row_of(rows, "local", name, "neighbours_kept")["value"] == pytest.approx(
            neighbours_kept(X, Z, 5)
        )


def test_the_p_values_of_a_suite_are_corrected_together(rows):
    """Every arm but the baseline has a corrected p-value in each task, except for what the original
    features keep by definition.
    """
    compared = rows[rows["metric"].str.endswith("_difference")]
    assert set(compared["task"]) == set(TASKS)
    assert set(compared["transform"]) == set(ARMS[1:])
    assert set(compared[compared["p"].isna()]["task"]) == {"local"}
    tested = rows[rows["p"].notna()]
    assert tested["p_corrected"].tolist() == pytest.approx(holm(tested["p"].tolist()))


def test_the_table_has_a_line_for_each_arm_and_a_column_for_each_task(rows, result):
    """Each cell has value and interval of the first metric of its task, with a star if the arm
    differs; ceilings have rows of their own, once.
    """
    table = result.table
    assert table.columns.tolist() == ["network", "arm", *TASKS]
    assert table["arm"].tolist() == ARMS
    row = row_of(rows, "heldout", "global", "accuracy_cosine")
    assert table["heldout"][1] == f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]*"
    assert not table["heldout"][0].endswith("*")
    numbers = {"value": 0.5, "low": 0.4, "high": 0.6, "settings": {}}
    assert [cell({**numbers, "p_corrected": p})[-1] for p in (0.04, 0.06)] == ["*", "]"]
    bounds = rows[rows["transform"] == "people"].set_index("metric")
    assert bounds["task"].to_dict() == {
        "ceiling_majority": "again",
        "ceiling_leave_one_out": "again",
    }
    assert bounds["value"].between(1 / 3, 1).all()


def test_what_is_done_is_not_done_again(result, out, folder, tmp_path, monkeypatch):
    """A second run computes nothing and writes the same rows; a changed task or file makes only the
    cells again that depend on it.
    """
    assert result.n_kept == 0
    again = tmp_path / "s"
    shutil.copytree(out, again)
    before = (again / "rows.jsonl").read_bytes()
    stamps = stamps_of(again / "views")
    plan = Plan.load(folder / "suite.toml")
    with monkeypatch.context() as patch:
        patch.setattr("glocal.suite.arms.fit", None)  # a fit would fail
        assert run_suite(plan, again).n_kept == len(ARMS) * len(TASKS)
        assert (again / "rows.jsonl").read_bytes() == before
        assert stamps_of(again / "views") == stamps
        (folder / "more.toml").write_text(SUITE.replace("shots = 2", "shots = 1"))
        assert run_suite(Plan.load(folder / "more.toml"), again).n_kept == len(ARMS) * (
            len(TASKS) - 1
        )
    cell = again / "cells/net/global/rdm.npz"
    cell.write_bytes(cell.read_bytes()[:100])
    with pytest.raises(FileError, match="rdm"):
        run_suite(plan, again)
    cell.unlink()
    monkeypatch.setattr("glocal.suite.sources.__version__", "0.0.1")
    assert run_suite(plan, again).n_kept == 0
    assert (again / "rows.jsonl").read_bytes() == before


def stamps_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*.npz")
    }


SMALL = """
answers = "t.npy"
object_ids = "ids.txt"
categories = "categories.tsv"
kind = "odd-one-out"
baseline = "given"
[networks.net]
features = "net"
local = "local.npy"
[arms.original]
[arms.global]
method = "global"
[arms.glocal]
method = "glocal"
[arms.given]
transform = "w.npz"
[tasks.heldout]
kind = "odd-one-out"
[tasks.rdm]
kind = "rsa"
rdm = "rdm.npy"
[tasks.few]
kind = "few-shot"
train = "images.npy"
train_labels = "y.txt"
probe = "ncm"
[tasks.near]
kind = "structure"
features = "images.npy"
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small suite that was run in the folder of its files."""
    where = tmp_path_factory.mktemp("small")
    made = simulated_world(
        n_superordinate=3, n_category=2, n_object=4, n_local=120, n_triplets=600, dimensions=24
    )
    arrays = {
        "net/features": made.objects.matrix,
        "t": made.answers.objects,
        "local": made.local.matrix[:60],
        "images": made.local.matrix[60:],
        "rdm": np.abs(np.subtract.outer(range(24), range(24))),
    }
    names = "\n".join(made.objects.names)
    texts = {
        "net/file_names.txt": names,
        "ids.txt": names,
        "categories.tsv": f"object\tcategory\n{made.objects.names[0]}\ta\n",
        "y.txt": "\n".join(str(label % 2) for label in made.local_category[60:]),
        "suite.toml": SMALL,
    }
    (where / "net").mkdir()
    for name, array in arrays.items():
        np.save(where / name, array)
    for name, text in texts.items():
        (where / name).write_text(text)
    transform(where, np.arange(1, 25))
    run_suite(Plan.load(where / "suite.toml"), where / "out")
    return where


def transform(folder, scales, meta=None):
    LinearTransform(np.diag(scales).astype("f4"), None, 0.0, 1.0, meta or {}).save(folder / "w.npz")


def array(name):
    return lambda folder: np.save(folder / name, 2 * np.load(folder / name)[::-1, ::-1])


def text(name, old, new):
    def change(folder):
        content = (folder / name).read_text()
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1))

    return change


INPUTS = {
    "nothing": (lambda folder: None, ()),
    "features": (array("net/features.npy"), "*"),
    "names of rows": (text("net/file_names.txt", "0", "00"), "*"),
    "answers": (lambda folder: np.save(folder / "t.npy", np.load(folder / "t.npy")[9:]), "*"),
    "object ids": (text("ids.txt", "\n", " \n"), "*"),
    "kind": (text("suite.toml", "odd-one-out", "anchor"), "*"),
    "seed": (text("suite.toml", "kind", "seed = 1\nkind"), "*"),
    "folds": (text("suite.toml", "kind", "folds = 2\nkind"), "*"),
    "categories": (text("categories.tsv", "\ta", "\tb"), ["views/*"]),
    "baseline": (text("suite.toml", '"given"', '"original"'), ["views/*"]),
    "local images": (array("local.npy"), ["*/glocal*"]),
    "settings of an arm": (
        text("suite.toml", '"global"', '"global"\nlmbda = 2.0'),
        ["*/global*"],
    ),
    "weights": (lambda folder: transform(folder, np.ones(24)), ["*/given*", "views/*"]),
    "record": (
        lambda folder: transform(folder, np.arange(1, 25), {"axes": 1}),
        ["*/given*", "views/*"],
    ),
    "images": (array("images.npy"), ["*/few.npz", "*/near.npz"]),
    "labels": (text("y.txt", "0", "1"), ["*/few.npz"]),
    "settings of a task": (text("suite.toml", '"ncm"', '"1nn"'), ["*/few.npz"]),
    "RDM": (array("rdm.npy"), ["*/rdm.npz"]),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("change", "remade"), INPUTS.values(), ids=INPUTS)
def test_what_depends_on_an_input_is_made_again_when_it_changes(small, tmp_path, change, remade):
    """The cells, fitted arms and views that an input determines are remade, and no others are."""
    folder = tmp_path / "copy"
    shutil.copytree(small, folder)
    change(folder)
    run_suite(Plan.load(folder / "suite.toml"), folder / "out")
    before, after = (stamps_of(where / "out") for where in (small, folder))
    assert len(before) == len(after) == 4 * 4 + 2 + 4
    dependent = {file for file in before for pattern in remade if fnmatch(file, pattern)}
    assert {file for file in after if after[file] != before[file]} == dependent


def test_names_beside_a_file_are_part_of_what_its_scores_depend_on(made, tmp_path):
    """If the names of the rows change, every cell is made again and the provenance has
    the names.
    """
    np.save(tmp_path / "o.npy", made.objects.matrix)
    np.save(tmp_path / "t.npy", made.answers.objects)
    names = list(made.objects.names)
    (tmp_path / "ids.txt").write_text("\n".join(names) + "\n")
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan/suite.toml").write_text(
        f'answers = "{tmp_path}/t.npy"\nobject_ids = "../ids.txt"\n'
        f'[networks.net]\nfeatures = "{tmp_path}/o.npy"\n'
        '[arms.original]\n[arms.global]\nmethod = "global"\n[tasks.heldout]\nkind = "odd-one-out"\n'
    )
    plan = Plan.load(tmp_path / "plan/suite.toml")
    (tmp_path / "file_names.txt").write_text("\n".join(names[::-1]) + "\n")
    run_suite(plan, tmp_path / "s")
    (tmp_path / "file_names.txt").write_text("\n".join(names) + "\n")
    assert run_suite(plan, tmp_path / "s").n_kept == 0
    run_suite(plan, tmp_path / "anew")
    assert (tmp_path / "s" / "rows.jsonl").read_bytes() == (
        tmp_path / "anew" / "rows.jsonl"
    ).read_bytes()
    assert (
        "../file_names.txt"
        in json.loads((tmp_path / "s" / "suite.json").read_text())["provenance"]["data"]
    )
    heavier = plan.model_copy(update={"arms": plan.arms | {"global": Arm("global", lmbda=2.0)}})
    assert run_suite(heavier, tmp_path / "s").n_kept == 1  # the one of the original


@pytest.mark.nightly
def test_a_killed_suite_goes_on(folder, result, out, tmp_path, started):
    """After a kill, finished cells are used, and the rows are those of an undisturbed run up to
    rounding.
    """
    again = tmp_path / "s"
    command = [*processes.COMMAND_LINE, "suite", str(folder / "suite.toml"), "--out", str(again)]
    process = started(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and len(list(again.glob("cells/*/*/[!.]*.npz"))) < 6:
        time.sleep(0.005)
    process.kill()
    process.wait()
    n_finished = len(list(again.glob("cells/*/*/[!.]*.npz")))
    resumed = run_suite(Plan.load(folder / "suite.toml"), again)
    assert resumed.n_kept == n_finished
    values = [
        {(score.transform, score.task, score.metric): score.value for score in scores}
        for scores in (resumed.scores, result.scores)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-4, nan_ok=True)


def test_the_command_shows_the_table(result, out, folder, capsys):
    """The command prints the table, or one JSON object with every row, and says which fold is held
    out.
    """
    command = ["suite", str(folder / "suite.toml"), "--out", str(out)]
    assert execute(command) == 0
    shown = capsys.readouterr().out
    assert "fold 0 of 3" in shown
    assert "centred" in shown
    assert execute([*command, "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["cells_kept"] == len(ARMS) * len(TASKS)
    assert len(output["rows"]) == len(read_rows(out / "rows.jsonl"))
    assert (out / "scores.csv").read_text().startswith("network,features,arm,task,metric,value")


@pytest.mark.parametrize(
    ("old", "new", "noun"),
    [
        ("seed = 42", "seed = 42\nspeed = 1", "speed"),
        ("seed = 42", "tasks.odd = 3", "tasks.odd"),
        ('transform = "w.npz"', 'transform = "w.npz"\nlmbda = 1.0', "transform"),
        ('baseline = "centred"', 'baseline = "none"', "baseline"),
        ('baseline = "centred"', 'baseline = "centred"\nkeep = 0.9', "one of"),
        ("[arms.given]", "[arms.people]", "people"),
        ("[tasks.few]", "[tasks.arm]", "heading"),
        ("[tasks.few]", "[tasks.network]", "heading"),
        ('kind = "rsa"', 'kind = "ras"', "kind"),
        ('kind = "rsa"', 'kind = ["rsa"]', "kind"),
        ('local = "local.npy"', "", "local"),
        ('answers = "t.npy"', "", "answers"),
        ("seed = 42", 'baseline = "none"', "baseline"),
    ],
)
def test_bad_suites_are_refused(tmp_path, old, new, noun):
    """Errors in a suite file are reported before anything is computed."""
    text = SUITE if noun != "local" else SUITE.replace('method = "global"', 'method = "glocal"')
    assert old in text
    (tmp_path / "suite.toml").write_text(text.replace(old, new, 1))
    with pytest.raises((ParameterError, FileError), match=noun):
        Plan.load(tmp_path / "suite.toml")


def test_superclasses_are_a_file_of_a_task(folder, tmp_path):
    """A task names a table of superclasses, which the suite checks and scores with."""
    task = '[tasks.super]\nkind = "few-shot"\ntrain = "images.npy"\ntrain_labels = "y.txt"\n'
    task += 'probe = "ncm"\nshots = 2\nsuperclasses = "super.csv"\n'
    (tmp_path / "suite.toml").write_text(ONE_ARM + task)
    with pytest.raises(FileError, match=r"super\.csv"):
        run_suite(Plan.load(tmp_path / "suite.toml", folder), tmp_path / "out")
    y = np.array((folder / "y.txt").read_text().split())
    superclass_of = {str(name): f"s{name[-1] in '01'}" for name in np.unique(y)}
    lines = [f"{name},{superclass}" for name, superclass in superclass_of.items()]
    (folder / "super.csv").write_text("\n".join(["class,superclass", *lines]) + "\n")
    result = run_suite(Plan.load(tmp_path / "suite.toml", folder), tmp_path / "out")
    images = Features.load(folder / "images.npy").matrix
    X = Features.load(folder / "net").standardization(images, "float64")
    settings = {"shots": 2, "probe": "ncm", "leave_out_shots": True, "superclasses": superclass_of}
    assert result.scores[0].value == pytest.approx(few_shot(X, y, X, y, **settings).accuracy)


def test_tasks_without_files_are_left_out_if_asked(folder, tmp_path, capsys):
    """With `--skip-missing`, tasks whose files are missing are named and left out; without it the
    suite stops, and if no task is left it is an error.
    """
    text = (
        ONE_ARM
        + '[tasks.rdm]\nkind = "rsa"\nrdm = "none.npy"\n[tasks.heldout]\nkind = "odd-one-out"\n'
    )
    (tmp_path / "suite.toml").write_text(text)
    words = [
        "suite",
        str(tmp_path / "suite.toml"),
        "--out",
        str(tmp_path / "out"),
        "--root",
        str(folder),
    ]
    assert execute([*words, "--skip-missing", "--json"]) == 0
    out, err = capsys.readouterr()
    assert str(folder / "none.npy") in err
    assert {row["task"] for row in json.loads(out)["rows"]} == {"heldout"}
    assert execute(words) == 1
    (tmp_path / "suite.toml").write_text(text[: text.index("[tasks.heldout]")])
    assert execute([*words, "--skip-missing"]) == 2


def test_what_any_run_needs_comes_first_with_the_commands_that_make_it(tmp_path, capsys):
    """Without data, the paper's suite names the files that no run can do without, and the commands
    of its comments that make them, before any task is skipped.
    """
    words = ["suite", str(EXAMPLES / "paper.toml"), "--root", str(tmp_path), "--out", "out"]
    assert execute([*words, "--skip-missing"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    for part in ("things/answers.npz", "clip_ViT-L-14/local", " --out things/answers.npz &&"):
        assert part in line
    assert line.count("glocal data fetch") == line.count("glocal data import") == 1
    assert line.count("glocal extract") == 2
    assert "\\" not in line
    assert "rdm48" not in line


@pytest.mark.parametrize(
    ("old", "new", "noun"),
    [
        ('train = "images.npy"', 'train = "imagess.npy"', "imagess.npy"),
        ('train_labels = "y.txt"', 'train_labels = "{network}/z.txt"', "net/z.txt"),
        ('answers = "again.npy"', 'answers = "never.npy"', "never.npy"),
        ("seed = 42", 'seed = 42\ncategories = "classes.tsv"', "classes.tsv"),
        ('features = "{network}"', 'features = "{network}s"', "network net"),
        ('transform = "w.npz"', 'transform = "ww.npz"', "ww.npz"),
    ],
)
def test_every_file_is_looked_for_before_the_first_fit(
    folder, tmp_path, old, new, noun, monkeypatch
):
    """A missing file is named before anything is fitted or written, with the folder
    where paths begin.
    """
    assert old in SUITE
    (folder / "missing.toml").write_text(SUITE.replace(old, new, 1))
    monkeypatch.setattr("glocal.suite.arms.fit", None)  # a fit would fail
    with pytest.raises((FileError, ParameterError), match=noun) as caught:
        run_suite(Plan.load(folder / "missing.toml"), tmp_path / "s")
    assert "`root`" in str(caught.value) or "transform" in old
    assert not (tmp_path / "s").exists()


def test_local_images_that_no_arm_looks_at_may_be_missing(folder, tmp_path):
    """The file of local images may be missing unless an arm is fitted to them."""
    text = ONE_ARM.replace('"local.npy"', '"none.npy"') + '[tasks.heldout]\nkind = "odd-one-out"\n'
    (folder / "one.toml").write_text(text)
    assert run_suite(Plan.load(folder / "one.toml"), tmp_path / "s").n_kept == 0
    (folder / "one.toml").write_text(
        text.replace("[arms.original]", "[arms.original]\n[arms.k]\nkeep = 0.9")
    )
    with pytest.raises(FileError, match="arm k"):
        run_suite(Plan.load(folder / "one.toml"), tmp_path / "s")


def test_answers_about_objects_without_features_are_counted(made, tmp_path):
    """A warning counts answers about objects without features, each record of a fit has their
    number, and rows name files by the network.
    """
    (tmp_path / "net").mkdir()
    np.save(tmp_path / "net/features.npy", made.objects.matrix[:-12])
    (tmp_path / "net/file_names.txt").write_text("\n".join(made.objects.names[:-12]))
    (tmp_path / "ids.txt").write_text("\n".join(made.objects.names))
    np.save(tmp_path / "t.npy", made.answers.objects)
    np.save(tmp_path / "net/images.npy", made.local.matrix)
    (tmp_path / "suite.toml").write_text(
        'answers = "t.npy"\nobject_ids = "ids.txt"\n[networks.net]\nfeatures = "{network}"\n'
        '[arms.original]\n[arms.global]\nmethod = "global"\n'
        '[tasks.near]\nkind = "structure"\nfeatures = "{network}/images.npy"\n'
    )
    n_dropped = int((made.answers.objects >= len(made.objects) - 12).any(axis=1).sum())
    with pytest.warns(DataWarning, match=f"{n_dropped} of 12000 answers"):
        result = run_suite(Plan.load(tmp_path / "suite.toml"), tmp_path / "s")
    record = LinearTransform.load(tmp_path / "s/transforms/net/global.npz").meta["fit"]
    assert record["n_dropped"] == n_dropped
    assert {score.split for score in result.scores} == {"net/images.npy"}


def test_an_rdm_whose_objects_may_be_others_is_said(made, tmp_path):
    """An RDM index of rows although the features have names, and a correlation that cannot be told
    from 0, each cause a warning.
    """
    np.save(tmp_path / "features.npy", made.objects.matrix)
    (tmp_path / "file_names.txt").write_text("\n".join(made.objects.names))
    rows = np.random.default_rng(0).normal(size=(20, 3))
    np.save(tmp_path / "rdm.npy", np.linalg.norm(rows[:, None] - rows, axis=2))
    np.save(tmp_path / "index.npy", np.arange(20))
    words = ["evaluate", "rsa", "--features", tmp_path, "--rdm", tmp_path / "rdm.npy"]
    with pytest.warns(DataWarning) as caught:
        assert execute([*map(str, words), "--rdm-index", str(tmp_path / "index.npy")]) == 0
    messages = " ".join(str(warning.message) for warning in caught)
    assert "object_ids" in messages
    assert "told from 0" in messages


# suite files among the examples


def test_the_papers_tables_are_written_out():
    """examples/paper.toml has the few-shot, anomaly, agreement and structure tasks of the paper,
    and its arms.
    """
    plan = Plan.load(EXAMPLES / "paper.toml")
    assert list(plan.arms) == ["original", "naive", "global", "glocal", "published"]
    kinds = [task.kind for task in plan.tasks.values()]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} == {
        "odd-one-out": 1,
        "rsa": 1,
        "few-shot": 8,
        "anomaly": 18,
        "structure": 1,
    }
    assert {getattr(task, "breeds", None) for task in plan.tasks.values()} == {None, *breeds()}


@pytest.mark.data
@pytest.mark.nightly
def test_the_tables_in_small_run_on_real_data(data_dir, tmp_path, monkeypatch):
    """examples/things.py makes every file that examples/things.toml names."""
    monkeypatch.setenv("GLOCAL_DATA_DIR", str(data_dir))
    subprocess.run([processes.sys.executable, EXAMPLES / "things.py", tmp_path], check=True)
    plan = Plan.load(EXAMPLES / "things.toml", tmp_path)
    assert plan.present()[1] == {}
    for network in map(plan.sources, plan.networks):
        assert all(
            network.path(file).exists()
            for file in (network.network.features, network.network.local)
        )
    assert len(Features.load(tmp_path / "squeezenet1_1" / "imagenet.npy")) == 500


def test_a_table_in_place_of_a_path_is_a_whole_sentence(tmp_path):
    """What is not a requirement in the words of pydantic is not made one."""
    text = SUITE.replace('answers = "t.npy"', 'answers = {file = "t.npy"}')
    (tmp_path / "suite.toml").write_text(text)
    with pytest.raises(FileError, match="is not allowed: Input is not"):
        Plan.load(tmp_path / "suite.toml")
