"""A suite scores arms × tasks from one file; its cells are kept by content, and arms are compared
in pairs.
"""

import fnmatch
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import world
from scipy.spatial.distance import cdist
from world import run

from glocal import (
    Answers,
    Features,
    FitData,
    LinearTransform,
    ObjectiveSettings,
    PaperLoop,
    few_shot,
    fit,
    neighbours_kept,
    odd_one_out,
    simulated_world,
)
from glocal.aligner.folds import fit_folds
from glocal.data.seen import sketch
from glocal.data.sources.breeds import breeds
from glocal.errors import DataWarning, FileError, MissingDependencyError, ParameterError
from glocal.evaluation.comparison import holm
from glocal.jsonlines import read_rows
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite
from glocal.transform.reduction import baseline

pytestmark = [
    pytest.mark.usefixtures("without_type_checks"),  # many runs of suites
    pytest.mark.filterwarnings("ignore:g.*on again. the transform was fitted to answers"),
    pytest.mark.filterwarnings(
        "ignore:fold 0 of 3 of the objects leaves:glocal.errors.DataWarning"
    ),
]
EXAMPLES = world.ROOT / "examples"
SUITE = """
answers = "t.npy"
object_ids = "ids.txt"
seed = 42
split = "objects"
[networks.net]
features = "{network}"
local = "local.npy"
[arms.original]
[arms.global]
method = "global"
lmbda = 0.1
[arms.glocal]
method = "glocal"
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
train_labels = "y.csv:kind"
probe = "ncm"
shots = 2
draws = 4
[tasks.near]
kind = "structure"
features = "images.npy"
k = 5
"""
TASKS = "heldout again rdm few near".split()
ARMS = "original global glocal given centred".split()
ONE_ARM = SUITE[: SUITE.index("[arms.global]")]
HELDOUT = '[tasks.heldout]\nkind = "odd-one-out"\n'
MADE = simulated_world(
    n_superordinate=3, n_category=2, n_object=4, n_local=120, n_answers=1500, dimensions=24
)
N = len(MADE.objects)
IMAGES = MADE.local.matrix[60:]
LABELS = MADE.local_category[60:] % 2


CENTRED = baseline("centred", MADE.objects)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the suite above names, and a transform that was fitted elsewhere."""
    path = tmp_path_factory.mktemp("suite")
    objects = MADE.answers.objects
    some = objects[(objects < 20).all(axis=1)][:40]
    names = MADE.objects.names
    world.folder(path / "net", features_npy=MADE.objects.matrix, file_names_txt=names)
    return world.folder(
        path,
        t_npy=objects, again_npy=np.concatenate([*[some] * 5, some[:, [2, 0, 1]]]),
        local_npy=MADE.local.matrix[:60], images_npy=IMAGES,
        rdm_npy=cdist(MADE.objects, MADE.objects),
        w_npz=replace(CENTRED, weights=np.diag(np.arange(1, 25)).astype("f4")),
        ids_txt=names, y_csv=["kind", *LABELS],
    )  # fmt: skip


def again(folder, text=SUITE, root=None):
    """Run the suite of this text with the results of a folder, and its files unless those of a root
    are named.
    """
    file = world.folder(folder, suite_toml=text) / "suite.toml"
    return run_suite(Plan.load(file, root), folder / "out")


@pytest.fixture(scope="module")
def result(folder):
    return again(folder)


@pytest.fixture(scope="module")
def rows(result):
    return pd.DataFrame(map(vars, result.scores))


@pytest.fixture
def copy(folder, result, tmp_path):
    """A copy of the folder of the suite with its results."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_every_score_is_that_of_its_function(result, folder):
    """Each row has the score that its evaluation gives for the embedding of a fit, a file or a
    baseline, and held-out rows name the fold.
    """
    data, heldout, *_ = fit_folds(FitData(MADE.objects, MADE.answers), 3, "objects")[0]
    transforms = {
        "global": fit(data, ObjectiveSettings("global", lmbda=0.1)).transform,
        "given": LinearTransform.load(folder / "w.npz"),
        "centred": CENTRED,
    }
    objects = MADE.objects.matrix.astype(float)
    before = odd_one_out(objects, heldout)
    after = odd_one_out(transforms["global"](objects), heldout)
    score = result.scores.score("net", "heldout", "global")
    expected = (after.agreement, after.low, after.high, after.n)
    assert (score.value, score.low, score.high, score.n) == pytest.approx(expected, abs=1e-6)
    difference = after.units.minus(before.units)
    gain = result.scores.gain("net", "heldout", "global", "original")
    expected = (difference.mean, *difference.interval())
    assert (gain.value, gain.low, gain.high) == pytest.approx(expected, abs=1e-6)
    assert score.split == gain.split == "fold 0 of 3 of the objects"
    for arm, transform in transforms.items():
        Z = transform(IMAGES.astype(float))
        few = few_shot(Z, LABELS, shots=2, draws=4, probe="ncm").accuracy
        assert result.scores.score("net", "few", arm).value == pytest.approx(few)
        kept = neighbours_kept(IMAGES, Z, 5)
        assert result.scores.score("net", "near", arm).value == pytest.approx(kept)


SMALL = """
answers = "answers.npz"
{split}
[networks.first]
features = "{network}"
[networks.second]
features = "{network}"
[arms.original]
{fitted}
[tasks.answers]
kind = "odd-one-out"
"""
FITTED = '[arms.global]\nmethod = "global"\nlmbda = 1.0'


@pytest.fixture(scope="module")
def small_study(tmp_path_factory):
    """A study of 60 objects by 20 people: 4,000 answers, a part of them to questions of others."""
    path = tmp_path_factory.mktemp("study")
    made = simulated_world(
        n_superordinate=3, n_category=2, n_object=10, n_local=60, n_answers=2500, dimensions=24
    )
    questions = np.concatenate([made.answers.objects, made.answers.objects[:1500]])
    Answers(questions, person=np.arange(4000) % 20).save(path / "answers.npz")
    X = made.objects.matrix
    for name in ("first", "second"):
        world.folder(path / name, features_npy=X)
    return path


@pytest.mark.parametrize(
    "split, fitted, name, n",
    [
        ("", FITTED, "fold 0 of 3 of the questions", (1200, 1500)),
        ('split = "people"', FITTED, "fold 0 of 3 of the people", (1390, 1410)),
        ("", "", "all", (4000, 4000)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*has no names:glocal.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:.*was fitted to answers:glocal.errors.DataWarning")
def test_a_small_study_is_scored_on_many_of_its_answers(small_study, split, fitted, name, n):
    """With under 5,000 answers a suite holds out questions, or people if it says so, and scores all
    answers if no arm is fitted; its rows say which, and its notes what holds for new objects.
    """
    text = SMALL.replace("{split}", split).replace("{fitted}", fitted)
    result = again(small_study, text)
    rows = [score for score in result.scores if score.metric == "agreement"]
    assert {score.split for score in rows} == {name}
    assert all(n[0] <= score.n <= n[1] for score in rows)
    assert ("expect lower agreement" in result.summary()) == bool(fitted)


def test_few_heldout_answers_are_warned_of(small_study):
    """Folds of objects that leave few of the answers of a small study are warned of, with what to
    set instead.
    """
    text = SMALL.replace("{split}", 'split = "objects"').replace("{fitted}", FITTED)
    with pytest.warns(DataWarning, match="questions"):
        again(small_study, text)


def test_the_p_values_of_a_suite_are_corrected_together(rows):
    """Every arm but the baseline has a corrected p-value in each task, except for what the original
    features keep by definition.
    """
    compared = rows[rows["metric"].str.endswith("_difference")]
    arms = compared.groupby("task")["transform"].agg(list)
    assert arms.to_dict() == dict.fromkeys(TASKS, ARMS[1:])
    assert set(compared[compared["p"].isna()]["task"]) == {"near"}
    tested = rows[rows["p"].notna()]
    assert tested["p_corrected"].tolist() == pytest.approx(holm(tested["p"].tolist()))


def test_the_table_has_a_line_for_each_arm_and_a_column_for_each_task(rows, result):
    """Each cell has value and interval of the first metric of its task, with a star if the arm
    differs; ceilings have rows of their own, once.
    """
    table = result.table()
    assert table.columns.tolist() == ["network", "arm", *TASKS]
    assert table["arm"].tolist() == ARMS
    score = result.scores.score("net", "again", "global")
    cell = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
    assert table["again"][1].rstrip("*") == cell
    bounds = rows.query("transform == 'people' and task == 'again'")
    assert bounds["metric"].tolist() == ["ceiling_leave_one_out", "ceiling_majority"]
    assert bounds["value"].tolist() == pytest.approx([5 / 6, 5 / 6])


def test_what_is_done_is_not_done_again(result, copy, monkeypatch):
    """A second run computes nothing and writes the same rows; a damaged cell is named, and another
    version makes all cells again.
    """
    written = (copy / "out/rows.jsonl").read_bytes
    before = (written(), stamps_of(copy))
    with monkeypatch.context() as patch:
        patch.setattr("glocal.suite.arms.fit", None)  # a fit would fail
        assert result.n_kept == 0
        assert again(copy).n_kept == len(ARMS) * len(TASKS)
    assert (written(), stamps_of(copy)) == before
    cell = copy / "out/cells/net/global/rdm.npz"
    cell.write_bytes(cell.read_bytes()[:100])
    with pytest.raises(FileError, match="rdm"):
        again(copy)
    cell.unlink()
    monkeypatch.setattr("glocal.suite.sources.__version__", "0.0.1")
    assert again(copy).n_kept == 0
    assert written() == before[0]
    record = json.loads((copy / "out/suite.json").read_text("utf-8"))
    assert "net/file_names.txt" in record["provenance"]["data"]


def stamps_of(folder):
    out = folder / "out"
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*.npz")}


# what changes | the file, with a text and what replaces it (`;` ends a line) | what depends on it
INPUTS = """
nothing            | suite.toml seed seed                 | none
features           | net/features.npy                     | *
names of rows      | net/file_names.txt 0 00              | *
answers            | t.npy                 | */gl* views/* */heldout.npz */again.npz */rdm.npz
object ids         | ids.txt ; _;          | */gl* views/* */heldout.npz */again.npz */rdm.npz
seed               | suite.toml 42 1                      | *
folds              | suite.toml seed folds=2;seed        | *
baseline           | suite.toml seed baseline="given";seed | views/*
local images       | local.npy                            | */glocal*
settings of an arm | suite.toml 0.1 0.2                   | */global*
weights            | w.npz                                | */given*
record             | w.npz axes                           | */given*
images             | images.npy                           | */few.npz */near.npz
labels             | y.csv 0 1                            | */few.npz
settings of a task | suite.toml "ncm" "1nn"               | */few.npz
RDM                | rdm.npy                              | */rdm.npz
answers of a task  | again.npy                            | */again.npz
"""


def change(file, *words):
    """Change the content of a file: the first of two words, the weights or the record, or an
    array.
    """
    if file.suffix == ".npz":
        transform = LinearTransform.load(file)
        other = json.dumps(dict.fromkeys(words))
        record = transform.record.model_copy(update={"other": other})
        weights = transform.weights * (1 if words else 2)
        replace(transform, weights=weights, record=record).save(file)
    elif file.suffix == ".npy":
        np.save(file, np.load(file)[::-1, ::-1])
    else:
        old, new = (word.replace(";", "\n").replace("_", " ") for word in words)
        content = file.read_text("utf-8")
        assert old in content
        file.write_text(content.replace(old, new, 1), "utf-8")


@pytest.mark.filterwarnings("ignore")
@world.table("what, file, patterns", INPUTS)
def test_what_depends_on_an_input_is_made_again_when_it_changes(copy, what, file, patterns):
    """The cells, fitted arms and views that an input determines are remade, and no others are."""
    before = stamps_of(copy)
    name, *words = file.split()
    change(copy / name, *words)
    run_suite(Plan.load(copy / "suite.toml"), copy / "out")
    after = stamps_of(copy)
    assert len(before) == len(after) == 32
    remade = {file for file in after if after[file] != before[file]}
    assert remade == {file for name in patterns.split() for file in fnmatch.filter(before, name)}


def test_every_view_depends_on_the_baseline(copy):
    """If the baseline is a transform whose weights change, the view of each arm is made again."""
    text = ONE_ARM.replace("seed", 'baseline = "given"\nseed')
    text += '[arms.given]\ntransform = "w.npz"\n' + HELDOUT
    again(copy, text)
    before = stamps_of(copy)
    change(copy / "w.npz")
    again(copy, text)
    for arm in ("original", "given"):
        view = f"views/net/{arm}.npz"
        assert stamps_of(copy)[view] != before[view]


def test_the_command_shows_the_table(copy):
    """The command prints the table, or one JSON object with every row, and says which fold is held
    out.
    """
    words = (copy / "suite.toml", "--out", copy / "out")
    assert "fold 0 of 3" in run("suite", *words).out
    record = run("suite --json", *words).json
    assert record["cells_kept"] == len(ARMS) * len(TASKS)
    assert len(record["rows"]) == len(read_rows(copy / "out/rows.jsonl"))
    assert (copy / "out/scores.csv").read_text("utf-8").count("\n") == len(record["rows"]) + 1


# what the suite above has, what stands there instead (`;` ends a line), and a noun of the error
CHANGES = """
seed = 42 | seed = 42;speed = 1 | speed
seed = 42 | tasks.odd = 3 | tasks.odd
seed = 42 | baseline = "none" | baseline
lmbda = 0.1 | transform = "w.npz" | one of|transform
baseline = "centred" | baseline = "none" | baseline
lmbda = 0.1 | lmbda = 0.1;solver = "fast" | solver
lmbda = 0.1 | keep = 0.8;solver = "paper" | exact solver
lmbda = 0.1 | lmbda = 0.1;eta = 0.1 | eta
lmbda = 0.1 | lmbda = 0.1;solver = "paper";patience = 3 | patience
baseline = "centred" | baseline = "centred";keep = 0.9 | one of
[arms.given] | [arms.people] | people
[tasks.few] | [tasks.arm] | heading
[tasks.few] | [tasks.network] | heading
kind = "rsa" | kind = "ras" | kind
kind = "rsa" | kind = ["rsa"] | kind
local = "local.npy" |  | local
answers = "t.npy" |  | answers
answers = "t.npy" | answers = {file = "t.npy"} | is not allowed: Input is not
train = "images.npy" | train = "imagess.npy" | imagess.npy.*`root`
train_labels = "y.csv:kind" | train_labels = "{network}/z.txt" | net/z.txt.*`root`
draws = 4 | draws = 4;superclasses = "super.csv" | super.csv.*`root`
answers = "again.npy" | answers = "never.npy" | never.npy.*`root`
features = "{network}" | features = "{network}s" | network net.*`root`
transform = "w.npz" | transform = "ww.npz" | ww.npz
"""


@world.table("old, new, noun", CHANGES)
def test_bad_suites_are_refused_before_the_first_fit(folder, tmp_path, old, new, noun, monkeypatch):
    """Errors in a suite file and missing files, with the folder where paths begin, are reported
    before anything is fitted or written; what is not a requirement in the words of pydantic is not
    made one.
    """
    assert old in SUITE
    monkeypatch.setattr("glocal.suite.arms.fit", None)  # a fit would fail
    with pytest.raises((ParameterError, FileError), match=noun):
        again(tmp_path, SUITE.replace(old, new.replace(";", "\n"), 1), folder)
    assert not (tmp_path / "out").exists()


def test_superclasses_are_a_file_of_a_task(copy):
    """A task names a table of superclasses, with which it scores."""
    text = ONE_ARM + SUITE[SUITE.index("[tasks.few]") : SUITE.index("[tasks.near]")]
    text = text.replace("y.csv:kind", "classes.npy") + 'superclasses = "super.csv"\n'
    y = MADE.local_category[60:]
    table = "class,superclass\n0,a\n1,b\n2,a\n3,b\n4,a\n5,b\n"
    world.folder(copy, classes_npy=y, super_csv=table)
    options = {"superclasses": dict(enumerate("ababab")), "shots": 2, "draws": 4, "probe": "ncm"}
    expected = few_shot(IMAGES.astype(float), y, **options).accuracy
    assert again(copy, text).scores[0].value == pytest.approx(expected)


def test_tasks_without_files_are_left_out_if_asked(folder, here):
    """With `--skip-missing`, tasks whose files are missing are named and left out; without it the
    suite stops, and if no task is left it is an error. What no run can do without comes first.
    """
    text = ONE_ARM + '[tasks.rdm]\nkind = "rsa"\nrdm = "none.npy"\n'
    world.folder(here, some_toml=text + HELDOUT, none_toml=text)
    options = ("--out", "out", "--root", folder)
    ended = run("suite some.toml --skip-missing --json", *options)
    assert str(folder / "none.npy") in ended.err
    assert {row["task"] for row in ended.json["rows"]} == {"heldout"}
    assert run("suite some.toml", *options).code == 1
    assert run("suite none.toml --skip-missing", *options).code == 2
    message = run("suite some.toml --skip-missing --out o").error(1)
    assert "t.npy" in message
    assert "none.npy" not in message


def test_local_images_that_no_arm_looks_at_may_be_missing(copy):
    """The file of local images may be missing unless an arm is fitted to them."""
    (copy / "local.npy").unlink()
    assert again(copy, ONE_ARM + HELDOUT).scores[0].split == "all"
    with pytest.raises(FileError, match="arm k"):
        again(copy, ONE_ARM + "[arms.k]\nkeep = 0.9\n" + HELDOUT)


def test_answers_about_objects_without_features_are_counted(copy):
    """A warning counts answers about objects without features, each record of a fit has their
    number, and rows name files by the network.
    """
    X, names = MADE.objects.matrix[:-4], MADE.objects.names[:-4]
    world.folder(copy / "few", images_npy=IMAGES, features_npy=X, file_names_txt=names)
    text = SUITE[: SUITE.index("[arms.glocal]")].replace("networks.net", "networks.few")
    text += '[tasks.near]\nkind = "structure"\nfeatures = "{network}/images.npy"\n'
    n_dropped = (MADE.answers.objects >= N - 4).any(axis=1).sum()
    with pytest.warns(DataWarning, match=f"{n_dropped} of 1500 answers"):
        splits = {score.split for score in again(copy, text).scores}
    record = LinearTransform.load(copy / "out/transforms/few/global.npz").record.fit
    assert record.n_dropped == n_dropped
    assert splits == {"few/images.npy"}


def test_an_rdm_whose_objects_may_be_others_is_said(folder, tmp_path, monkeypatch):
    """An RDM index of rows although the features have names, and a correlation that cannot be told
    from 0, each cause a warning.
    """
    index = world.folder(tmp_path, index_npy=np.roll(np.arange(N), 5)) / "index.npy"
    monkeypatch.chdir(folder)
    err = run("evaluate rsa --features net --rdm rdm.npy --rdm-index", index).err
    assert "--object-ids" in err
    assert "told from 0" in err


LOOP = 'lmbda = 0.1\nsolver = "paper"\neta = 0.05\nmax_epochs = 1'


@pytest.mark.nightly  # Lightning takes seconds to load
@pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")
def test_an_arm_is_fitted_by_the_papers_loop(folder, tmp_path):
    """An arm of the paper's loop is its fit with the keys of the arm, from the origin of the paper,
    and has a score in each task.
    """
    pytest.importorskip("lightning")
    result = again(tmp_path, SUITE.replace("lmbda = 0.1", LOOP), folder)
    fitted = LinearTransform.load(tmp_path / "out/transforms/net/global.npz")
    data = fit_folds(FitData(MADE.objects, MADE.answers), 3, "objects")[0].data
    expected = fit(
        data, ObjectiveSettings("global", lmbda=0.1), PaperLoop(eta=0.05, max_epochs=1)
    ).transform
    np.testing.assert_allclose(fitted.weights, expected.weights, atol=1e-6)
    record = vars(fitted.record.fit)
    assert record | {"solver": "paper", "centre": "scalar", "eta": 0.05} == record
    assert {score.task for score in result.scores if score.transform == "global"} == set(TASKS)


def test_the_papers_loop_is_asked_for_before_the_first_fit(folder, tmp_path, monkeypatch):
    """Without Lightning a suite with such an arm ends before anything is fitted or written."""
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setattr("glocal.suite.arms.fit", None)
    with pytest.raises(MissingDependencyError, match="paper"):
        again(tmp_path, SUITE.replace("lmbda = 0.1", LOOP), folder)
    assert not (tmp_path / "out").exists()


CLIP = """
answers = "THINGS/triplets.npy"
object_ids = "THINGS/unique_id.txt"
normalize = true
[networks.clip]
features = "THINGS/features/clip-vit-b32"
[arms.original]
[arms.loop]
method = "global"
lmbda = 0.1
solver = "paper"
max_epochs = 20
"""


@pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")
@pytest.mark.data
@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.skipif("GLOCAL_PAPER" not in os.environ, reason="takes minutes: set GLOCAL_PAPER=1")
def test_the_papers_loop_fits_clip_in_a_suite(data_dir, tmp_path):
    """Twenty epochs of the authors' procedure on CLIP agree better than the original features."""
    things = data_dir / "things"
    clip = CLIP.replace("THINGS", str(things))
    result = again(tmp_path, clip + HELDOUT)
    assert result.scores.gain("clip", "heldout", "loop", "original").value > 0.02


# suite files among the examples


def test_the_papers_tables_are_written_out():
    """examples/paper.toml has the few-shot, anomaly, agreement and structure tasks of the paper,
    and its arms.
    """
    plan = Plan.load(EXAMPLES / "paper.toml")
    assert list(plan.arms) == ["original", "naive", "global", "glocal", "published"]
    kinds = Counter(task.kind for task in plan.tasks.values())
    counts = {"odd-one-out": 1, "rsa": 1, "few-shot": 8, "anomaly": 18, "structure": 1}
    assert kinds == counts
    assert {getattr(task, "breeds", None) for task in plan.tasks.values()} == {None, *breeds()}


@pytest.mark.data
@pytest.mark.nightly
def test_the_tables_in_small_run_on_real_data(data_dir, tmp_path, monkeypatch):
    """examples/things.py makes every file that examples/things.toml names."""
    monkeypatch.setenv("GLOCAL_DATA_DIR", str(data_dir))
    subprocess.run([sys.executable, EXAMPLES / "things.py", tmp_path], check=True)
    plan = Plan.load(EXAMPLES / "things.toml", tmp_path)
    plan.check_files()
    assert plan.present()[1] == {}


def test_a_transform_that_was_fitted_to_the_answers_is_no_result(folder, result, tmp_path):
    """An arm of a file that was fitted to the scored answers is warned of, is featured only beside
    no other; an arm whose file records nothing is not known to be new, and an arm of the suite is.
    """
    pytest.importorskip("altair")
    from glocal.report import headlines, load_runs

    def headline():
        (of_suite,) = load_runs([copy / "out"])
        return headlines(of_suite)[0]

    objects = Features(MADE.objects.matrix, MADE.objects.names)
    record = CENTRED.record.model_copy(update={"fitted": sketch(objects, MADE.answers)})
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    world.folder(copy, fitted_npz=replace(CENTRED, record=record))
    arms = '[arms.original]\n[arms.given]\ntransform = "FILE"\n'
    suite = ONE_ARM.replace("[arms.original]\n", arms) + HELDOUT
    with pytest.warns(DataWarning, match="given on heldout: .*100% of these questions"):
        seen_result = again(copy, suite.replace("FILE", "fitted.npz"))
    for arm, share in (("original", 0), ("given", 1)):
        score = seen_result.scores.score("net", "heldout", arm)
        assert score.seen_answers == score.seen_objects == share
    assert headline().arm == "given"
    assert headline().choice == "seen"
    again(copy, suite.replace("FILE", "w.npz"))
    assert "it is not known whether the fit had seen them" in headline().sentence
    one_fit = '[arms.fit]\nmethod = "global"\n[arms.given]\ntransform = "fitted.npz"\n'
    with pytest.warns(DataWarning, match="given on heldout"):
        again(copy, suite.replace(arms.removeprefix("[arms.original]\n"), one_fit))
    assert headline().arm == "fit"
    assert "about objects that the fit had not seen" in headline().sentence
