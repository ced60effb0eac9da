"""A suite: arms × tasks from one file, kept by content, compared in pairs."""

import json
import os
import subprocess
import time

import numpy as np
import processes
import pytest
from fits import fit_arm

from glocal.cli.app import execute
from glocal.data.sources.breeds import breeds, breeds_rows
from glocal.data.splits import split_triplets
from glocal.data.world import simulated_answers, simulated_world
from glocal.errors import DataError, FileError, ParameterError
from glocal.evaluation.agreement import answer_credit, odd_one_out
from glocal.evaluation.anomaly import anomaly, anomaly_against
from glocal.evaluation.few_shot import few_shot
from glocal.evaluation.intervals import Units, holm
from glocal.evaluation.neighbours import neighbours_kept
from glocal.evaluation.retrieval import retrieval
from glocal.evaluation.rsa import rsa
from glocal.results import read_rows
from glocal.suite import Plan, run_suite
from glocal.transform import LinearTransform

SUITE = """
seed = 42
[answers]
triplets = "t.npy"
[networks.net]
features = "{network}"
local = "l.npy[0:60]"
[arms.original]
[arms.global]
method = "global"
lmbda = 0.1
[arms.half]
transform = "w.npz"
strength = 0.5
[labels.kind]
even = "[02468]$"
odd = "[13579]$"
[tasks.heldout]
kind = "odd-one-out"
[tasks.again]
kind = "odd-one-out"
triplets = "again.npy"
[tasks.rdm]
kind = "rsa"
rdm = "rdm.npy"
[tasks.few]
kind = "few-shot"
train = "l.npy[60:120]"
train_labels = "y.txt"
probe = "ncm"
shots = 2
draws = 4
[tasks.kinds]
kind = "few-shot"
train = "net"
train_labels = "labels.kind"
probe = "1nn"
shots = 3
[tasks.odd]
kind = "anomaly"
train = "l.npy[60:120]"
train_labels = "y.txt"
test = "l.npy[0:60]"
test_labels = "y0.txt"
k = 3
[tasks.local]
kind = "structure"
features = "l.npy[60:120]"
k = 5
[tasks.find]
kind = "retrieval"
features = "l.npy[60:120]"
labels = "y.txt"
"""
TASKS = ["heldout", "again", "rdm", "few", "kinds", "odd", "local", "find"]


@pytest.fixture(scope="module")
def made():
    return simulated_world(
        n_superordinate=4, n_category=6, n_object=3, n_local=120, n_triplets=12_000, dimensions=24, seed=3
    )


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """The files that the suite above names, and a transform fitted elsewhere."""
    where = tmp_path_factory.mktemp("suite")
    (where / "net").mkdir()
    np.save(where / "net" / "features.npy", made.objects.matrix)
    (where / "net" / "file_names.txt").write_text("\n".join(made.objects.names) + "\n")
    np.save(where / "t.npy", made.triplets.answers)
    np.save(where / "l.npy", made.local.matrix)
    labels = made.local_category // 6
    (where / "y0.txt").write_text("\n".join(f"class{label}" for label in labels[:60]) + "\n")
    (where / "y.txt").write_text("\n".join(f"class{label}" for label in labels[60:]) + "\n")
    some = made.triplets.answers[:40]
    again = simulated_answers(made.mind, 400_000, seed=5).answers
    key = {tuple(sorted(answer)) for answer in some.tolist()}
    np.save(where / "again.npy", np.array([a for a in again.tolist() if tuple(sorted(a)) in key]))
    mind = made.mind / np.linalg.norm(made.mind, axis=1, keepdims=True)
    rdm = 1 - mind @ mind.T
    np.save(where / "rdm.npy", (rdm + rdm.T) / 2 * (1 - np.eye(len(rdm))))
    fit_arm(made.objects, made.triplets, lmbda=1.0).transform.save(where / "w.npz")
    (where / "suite.toml").write_text(SUITE)
    return where


@pytest.fixture(scope="module")
def result(folder, tmp_path_factory):
    return run_suite(Plan.load(folder / "suite.toml"), tmp_path_factory.mktemp("out") / "s")


def rows_of(result, task, arm, metric):
    rows = result.rows
    (row,) = rows[(rows["task"] == task) & (rows["transform"] == arm) & (rows["metric"] == metric)].to_dict("records")
    return row


@pytest.fixture(scope="module")
def embedded(made):
    """The arm `global` as the suite fits it: without the objects of fold 0."""
    train, heldout = (made.triplets.select(part) for part in split_triplets(made.triplets, len(made.objects)))
    transform = fit_arm(made.objects, train, method="global", lmbda=0.1).transform
    return transform, train, heldout


def test_every_score_is_that_of_its_function(result, made, embedded, folder):
    """The rows of a suite are what the evaluation functions say of the same embedding."""
    transform, _, heldout = embedded
    Z = transform.apply(made.objects.matrix.astype(float))
    local, labels = transform.apply(made.local.matrix.astype(float)), made.local_category // 6
    expected = odd_one_out(Z, heldout)
    row = rows_of(result, "heldout", "global", "accuracy_cosine")
    assert (row["value"], row["low"], row["high"], row["n"]) == pytest.approx(
        (expected.accuracy, expected.low, expected.high, expected.n), abs=1e-6
    )
    few = few_shot(
        local[60:], labels[60:], local[60:], labels[60:], shots=2, draws=4, probe="ncm", leave_out_shots=True
    )
    assert rows_of(result, "few", "global", "accuracy_ncm")["value"] == pytest.approx(few.accuracy, abs=1e-3)
    found = anomaly(local[60:], labels[60:], local[:60], labels[:60], k=3)
    assert rows_of(result, "odd", "global", "auroc")["value"] == pytest.approx(found.auroc, abs=1e-3)
    kept = neighbours_kept(made.objects.standardization(made.local.matrix[60:], "float64"), local[60:], 5)
    assert rows_of(result, "local", "global", "neighbours_kept")["value"] == pytest.approx(kept, abs=1e-3)
    ranked = retrieval(local[60:], labels[60:])
    assert rows_of(result, "find", "global", "map")["value"] == pytest.approx(ranked.map, abs=1e-3)
    human = rsa(Z, np.load(folder / "rdm.npy"))
    assert rows_of(result, "rdm", "global", "spearman_cosine")["value"] == pytest.approx(human.spearman, abs=1e-3)


def test_arms_are_compared_on_the_same_answers(result, made, embedded):
    """A difference is that of the paired credits, and the p-values of the suite are corrected together."""
    transform, _, heldout = embedded
    X = made.objects.standardization(made.objects.matrix, "float64")
    credits = [answer_credit(Z, heldout) for Z in (transform.apply(made.objects.matrix.astype(float)), X)]
    after, before = (Units(values=credit, answers=heldout.answers) for credit in credits)
    expected = after.less(before)
    row = rows_of(result, "heldout", "global", "accuracy_cosine_difference")
    assert (row["value"], row["low"], row["high"]) == pytest.approx((expected.mean, *expected.interval()), abs=1e-6)
    compared = result.rows[result.rows["p"].notna()]
    assert compared["p_holm"].tolist() == pytest.approx(holm(compared["p"].tolist()))
    assert set(compared["task"]) == set(TASKS)
    assert not (compared["transform"] == "original").any()


def test_a_difference_is_that_of_the_values_shown(result):
    """Of every task: arm minus baseline of the first metric, in the middle of its interval, and p agrees with it."""
    rows = result.rows
    for task in TASKS:
        first = rows[(rows["task"] == task) & (rows["transform"] == "global")].iloc[0]
        base = rows_of(result, task, "original", first["metric"])["value"]
        row = rows_of(result, task, "global", f"{first['metric']}_difference")
        assert row["value"] == pytest.approx(first["value"] - base)
        assert (row["low"] + row["high"]) / 2 == pytest.approx(row["value"])
        assert (row["low"] > 0 or row["high"] < 0) == (row["p"] < 0.05)


@pytest.fixture
def uneven():
    """Images of one large class and nine small ones, before and after losing what marks the large class."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), [120, *[12] * 9])
    centres = np.hstack([rng.normal(size=(10, 12)), np.zeros((10, 6))])
    centres[0, 12:] = 3 * rng.normal(size=6)  # what marks the large class
    X = centres[labels] + 1.1 * rng.normal(size=(len(labels), 18))
    X = (X - X.mean()) / X.std()
    worse_for_one = X * np.r_[np.full(12, 1.0), np.zeros(6)]
    return labels, X, worse_for_one


@pytest.mark.parametrize("kind", ["few-shot", "retrieval"])
def test_a_weighted_difference_has_the_interval_and_p_of_its_weighted_mean(uneven, tmp_path, kind):
    """Where classes have unlike numbers of images, value, interval and p are still of one mean, that over images."""
    labels, X, Z = uneven
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "features.npy", X)
    np.save(tmp_path / "y.npy", labels)
    np.save(tmp_path / "t.npy", np.arange(228).reshape(76, 3))
    np.savez(tmp_path / "w.npz", weights=np.diag(np.r_[np.ones(12), np.zeros(6)]).astype("f4"), mean=0.0, std=1.0)
    task = {
        "few-shot": 'kind = "few-shot"\ntrain = "f"\ntrain_labels = "y.npy"\nprobe = "ncm"\nshots = 2\ndraws = 4',
        "retrieval": 'kind = "retrieval"\nfeatures = "f"\nlabels = "y.npy"',
    }[kind]
    (tmp_path / "suite.toml").write_text(
        '[answers]\ntriplets = "t.npy"\n[networks.net]\nfeatures = "f"\n[arms.original]\n'
        f'[arms.cut]\ntransform = "w.npz"\n[tasks.one]\n{task}\n'
    )
    found = run_suite(Plan.load(tmp_path / "suite.toml"), tmp_path / "s")
    first = found.rows.iloc[0]
    value = rows_of(found, "one", "cut", first["metric"])["value"] - first["value"]
    row = rows_of(found, "one", "cut", f"{first['metric']}_difference")
    assert row["value"] == pytest.approx(value)
    assert (row["low"] + row["high"]) / 2 == pytest.approx(value)
    assert (row["low"] > 0 or row["high"] < 0) == (row["p"] < 0.05)
    if kind == "retrieval":
        arms = [retrieval(E, labels) for E in (Z, X)]
    else:
        options = {"shots": 2, "draws": 4, "probe": "ncm", "leave_out_shots": True}
        arms = [few_shot(E, labels, E, labels, **options) for E in (Z, X)]
    expected = arms[0].units.less(arms[1].units)
    assert (row["value"], row["low"], row["high"], row["p"]) == pytest.approx(
        (expected.mean, *expected.interval(), expected.p), abs=2e-3
    )


def test_the_table_has_a_line_for_each_arm_and_a_column_for_each_task(result):
    """Value and interval of each task's first metric; a star where the arm differs from the baseline."""
    table = result.table
    assert table.columns.tolist() == ["network", "arm", *TASKS]
    assert table["arm"].tolist() == ["original", "global", "half"]
    row = rows_of(result, "heldout", "global", "accuracy_cosine")
    assert table["heldout"][1] == f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]*"
    assert not table["heldout"][0].endswith("*")


def test_people_have_rows_of_their_own(result):
    """The ceilings of repeated answers stand in rows of the transform `people`, above chance and below 1."""
    rows = result.rows[result.rows["transform"] == "people"]
    assert set(rows["metric"]) == {"ceiling_majority", "ceiling_leave_one_out"}
    assert rows["value"].between(1 / 3, 1).all()


def test_strength_and_files_are_arms_too(result, folder, made):
    """A transform file at half strength is scored as LinearTransform.at_strength makes it."""
    half = LinearTransform.load(folder / "w.npz").at_strength(0.5)
    local = half.apply(made.local.matrix[60:].astype(float))
    kept = neighbours_kept(made.objects.standardization(made.local.matrix[60:], "float64"), local, 5)
    assert rows_of(result, "local", "half", "neighbours_kept")["value"] == pytest.approx(kept)


def test_what_is_done_is_not_done_again(folder, tmp_path, monkeypatch):
    """A second run computes nothing and writes the same rows; a changed file or task only what depends on it."""
    out = tmp_path / "s"
    plan = Plan.load(folder / "suite.toml")
    first = run_suite(plan, out)
    assert first.n_kept == 0
    before = (out / "rows.jsonl").read_bytes()
    monkeypatch.setattr("glocal.suite.cells.fit", None)  # a fit would fail
    assert run_suite(plan, out).n_kept == 3 * len(TASKS)
    assert (out / "rows.jsonl").read_bytes() == before
    one = next(iter((out / "cells").iterdir()))  # before there are others than those of this plan
    (folder / "more.toml").write_text(SUITE.replace("shots = 2", "shots = 1"))
    assert run_suite(Plan.load(folder / "more.toml"), out).n_kept == 3 * (len(TASKS) - 1)
    one.write_bytes(one.read_bytes()[:100])
    with pytest.raises(FileError, match="damaged"):
        run_suite(plan, out)
    one.unlink()
    assert run_suite(plan, out).n_kept >= 3 * len(TASKS) - 1
    assert (out / "rows.jsonl").read_bytes() == before


def test_scores_are_of_all_that_they_depend_on(made, tmp_path, monkeypatch):
    """Names beside a features file are part of what a cell is kept for, and so is the version of this package."""
    np.save(tmp_path / "o.npy", made.objects.matrix)
    np.save(tmp_path / "t.npy", made.triplets.answers)
    names, mended = list(made.objects.names)[::-1], list(made.objects.names)
    (tmp_path / "ids.txt").write_text("\n".join(mended) + "\n")
    tables = {
        "answers": {"triplets": "t.npy", "object_ids": "ids.txt"}, "networks": {"net": {"features": "o.npy"}},
        "arms": {"original": {}, "global": {"method": "global"}},
        "tasks": {
            "heldout": {"kind": "odd-one-out"},
            "kinds": {"kind": "few-shot", "train": "o.npy[0:72]", "train_labels": "names:(.)$", "probe": "1nn",
                      "shots": 2, "draws": 2},
        },
    }  # fmt: skip
    plan = Plan.of(tables, root=None, folder=tmp_path)
    (tmp_path / "file_names.txt").write_text("\n".join(names) + "\n")
    run_suite(plan, tmp_path / "s")
    (tmp_path / "file_names.txt").write_text("\n".join(mended) + "\n")
    again = run_suite(plan, tmp_path / "s")
    assert again.n_kept == 0
    assert (tmp_path / "s" / "rows.jsonl").read_text() != ""
    run_suite(plan, tmp_path / "anew")
    assert (tmp_path / "s" / "rows.jsonl").read_bytes() == (tmp_path / "anew" / "rows.jsonl").read_bytes()
    assert "file_names.txt" in json.loads((tmp_path / "s" / "suite.json").read_text())["provenance"]["data"]
    assert run_suite(plan, tmp_path / "s").n_kept == 4
    monkeypatch.setattr("glocal.suite.cells.__version__", "0.0.1")
    assert run_suite(plan, tmp_path / "s").n_kept == 0


def test_a_killed_suite_goes_on(folder, tmp_path, started):
    """After kill -9 the finished cells are used, and the rows are those of an undisturbed run."""
    out = tmp_path / "s"
    command = [*processes.COMMAND_LINE, "evaluate", "suite", str(folder / "suite.toml"), "--out", str(out)]
    process = started(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if (out / "cells").exists() and len(list((out / "cells").glob("*.npz"))) > 5:
            break
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = len(list((out / "cells").glob("*.npz")))
    assert done > 5
    plan = Plan.load(folder / "suite.toml")
    assert run_suite(plan, out).n_kept == done
    run_suite(plan, tmp_path / "whole")
    assert (out / "rows.jsonl").read_bytes() == (tmp_path / "whole" / "rows.jsonl").read_bytes()


def test_the_command_shows_the_table(folder, tmp_path, capsys):
    """glocal evaluate suite prints the table, or one JSON object with every row, and writes what it says."""
    command = ["evaluate", "suite", str(folder / "suite.toml"), "--out", str(tmp_path / "s")]
    assert execute(command) == 0
    shown = capsys.readouterr()
    assert "heldout" in shown.out
    assert "24 of 24: net, half, find" in shown.err
    assert execute([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["cells_kept"] == 24
    assert len(said["rows"]) == len(read_rows(tmp_path / "s" / "rows.jsonl"))
    assert (tmp_path / "s" / "table.md").read_text().startswith("| network | arm | heldout |")
    assert execute([*command, "--root", str(tmp_path)]) == 1
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seed = 42", "sed = 42", "unknown key 'sed'"),
        ("seed = 42", "seed = 4.5", "seed = 4.5; it must be a whole number"),
        ("seed = 42", 'baseline = "none"', "baseline 'none', which is not one of its arms"),
        ("seed = 42", 'root = "${GLOCAL_NOWHERE}"', "variable GLOCAL_NOWHERE, which is not set"),
        ("seed = 42", "seed = ", "is damaged"),
        ('features = "{network}"', "", "names no features file"),
        ('method = "global"\n', "", "settings but no method"),
        ('method = "global"', 'method = "glocal"\neta = 1', "unknown key 'eta'"),
        ("strength = 0.5", "lmbda = 1", "a transform and settings of a fit"),
        ('local = "l.npy[0:60]"\n[arms.original]', '[arms.glocal]\nmethod = "glocal"', "needs local images"),
        ('kind = "odd-one-out"', 'kind = "odd"', "has kind 'odd'; allowed are odd-one-out"),
        ("shots = 2", "shot = 2", "unknown key 'shot'"),
        ('[answers]\ntriplets = "t.npy"', "", "has no answers; global needs"),
        ('[answers]\ntriplets = "t.npy"', "answers = true", "[answers] is True; it must be a table"),
        ('triplets = "t.npy"', "triplets = 3", "[answers] has triplets = 3; it must be text in quotes"),
        (
            '[labels.kind]\neven = "[02468]$"\nodd = "[13579]$"\n',
            "[labels]\nkind = 3\n",
            "[labels.kind] is 3; it must be",
        ),
        ("seed = 42", "seed = true", "seed = True; it must be a whole number"),
        ('features = "{network}"', "features = ['a']", "features = ['a']; it must be text"),
        ("lmbda = 0.1", 'lmbda = "0.1"', "[arms.global] has lmbda = '0.1'; it must be a number"),
        ('method = "global"', 'method = "best"', "[arms.global] method is 'best'; allowed are naive, global, glocal"),
        ("lmbda = 0.1", "lmbda = -1.0", "[arms.global] lmbda is -1.0; allowed is"),
        ('transform = "w.npz"', "transform = 3", "transform = 3; it must be text"),
        ("[arms.half]", "[arms.people]", "people stands for people themselves"),
        ("[arms.half]", '[arms."\\u001b[31m"]', r"has the name '\x1b[31m'"),
        ('even = "[02468]$"', 'even = "[02468$"', "[labels.kind] even is not a regular expression"),
        ('even = "[02468]$"', "even = 3", "[labels.kind] has even = 3; it must be text"),
        ('train = "l.npy[60:120]"', "train = 3", "train = 3; it must be text"),
        ("shots = 2", "shots = 2.5", "[tasks.few] has shots = 2.5; it must be a whole number"),
    ],
)
def test_bad_suites_are_one_sentence(tmp_path, old, new, sentence):
    """What a suite file has wrong is said with its place before anything is computed."""
    assert old in SUITE
    (tmp_path / "suite.toml").write_text(SUITE.replace(old, new, 1))
    with pytest.raises((ParameterError, FileError)) as caught:
        Plan.load(tmp_path / "suite.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"labels.kind"', '"labels.none"', "no table [labels.none]"),
        ('even = "[02468]$"', 'even = "[024]$"', "fits 0 of the patterns"),
        ('[60:120]"\ntrain_labels = "y.txt"\nprobe', '"\ntrain_labels = "y.txt"\nprobe', "60 labels"),
    ],
)  # fmt: skip
def test_what_files_have_wrong_is_one_sentence(folder, tmp_path, old, new, sentence):
    """Labels that are missing or do not fit are said when their task is reached."""
    assert old in SUITE
    (folder / "bad.toml").write_text(SUITE.replace(old, new, 1))
    with pytest.raises((ParameterError, DataError)) as caught:
        run_suite(Plan.load(folder / "bad.toml"), tmp_path / "s")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.data
def test_the_papers_table_in_small_can_be_loaded(data_dir, monkeypatch):
    """examples/paper.toml names four arms, three networks and files that exist."""
    monkeypatch.setenv("GLOCAL_DATA_DIR", str(data_dir))
    plan = Plan.load(os.path.join(os.path.dirname(__file__), "..", "examples", "paper.toml"))
    assert [arm.name for arm in plan.arms] == ["original", "naive", "global", "glocal"]
    assert len(plan.networks) == 3
    for network in plan.networks:
        assert (plan.root / network.features.replace("{network}", network.name)).exists()


# --- classes of BREEDS, other anomalies, missing files


BREEDS_TASK = """
[tasks.breeds]
kind = "few-shot"
train = "l.npy[60:120]"
train_labels = "ids.txt"
breeds = "living17"
probe = "ncm"
shots = 2
draws = 3
[tasks.breeds-odd]
kind = "anomaly"
train = "l.npy[60:120]"
train_labels = "ids.txt"
test = "l.npy[0:60]"
test_labels = "ids.txt"
breeds = "living17"
k = 2
[tasks.shift]
kind = "anomaly"
train = "l.npy[60:120]"
train_labels = "halves.txt"
test = "l.npy[0:60]"
test_labels = "halves.txt"
train_subclasses = "ids.txt"
test_subclasses = "ids.txt"
mode = "shift"
k = 2
[tasks.others]
kind = "anomaly"
train = "l.npy[60:120]"
test = "l.npy[0:60]"
anomalies = "net"
k = 2
"""
ONE_ARM = SUITE[: SUITE.index("[arms.global]")]


def breeds_classes():
    """ImageNet classes of the superclass bear, and of ape: each trains with two and tests with two."""
    return [number for name in ("bear", "ape") for part in breeds()["living17"][name] for number in part]


def test_the_tasks_of_breeds_and_other_anomalies_are_those_of_the_library(folder, made, tmp_path):
    """Source classes train and target classes test; shift takes subclasses, and another data set may be anomalous."""
    for name in ("net", "l.npy", "t.npy"):
        (tmp_path / name).symlink_to(folder / name)
    ids = np.resize(breeds_classes(), 60)
    halves = np.isin(ids, breeds_classes()[4:]).astype(np.int64)
    (tmp_path / "ids.txt").write_text("\n".join(map(str, ids)))
    (tmp_path / "halves.txt").write_text("\n".join(map(str, halves)))
    (tmp_path / "suite.toml").write_text(ONE_ARM + BREEDS_TASK)
    result = run_suite(Plan.load(tmp_path / "suite.toml"), tmp_path / "out")
    X = made.objects.standardization(made.local.matrix, "float64")
    train, test = X[60:120], X[:60]
    (rows, y), (asked, truth) = (breeds_rows("living17", ids, test=side) for side in (False, True))
    few = few_shot(train[rows], y, train[asked], truth, probe="ncm", shots=2, draws=3)
    odd = anomaly(train[rows], y, test[asked], truth, k=2)
    shift = anomaly(train, halves, test, halves, mode="shift", k=2, train_subclasses=ids, test_subclasses=ids)
    others = anomaly_against(train, test, made.objects.standardization(made.objects.matrix, "float64"), k=2)
    assert rows_of(result, "breeds", "original", "accuracy_ncm")["value"] == pytest.approx(few.accuracy)
    for name, wanted in (("breeds-odd", odd), ("shift", shift), ("others", others)):
        assert rows_of(result, name, "original", "auroc")["value"] == pytest.approx(wanted.auroc)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('breeds = "living17"', 'breeds = "living18"', "BREEDS task is 'living18'; allowed are entity13"),
        ('test_labels = "ids.txt"', "", "has test but names no test_labels"),
        ('train_subclasses = "ids.txt"', "", "has test_subclasses but names no train_subclasses"),
        ('anomalies = "net"', "", "has train but names no train_labels"),
        ('anomalies = "net"', 'anomalies = "net"\nmode = "shift"', "has anomalies and mode; leave one of them out"),
    ],
)
def test_keys_of_a_task_that_do_not_fit_are_said(tmp_path, old, new, sentence):
    """A key that lacks another, or contradicts one, is one sentence before any work."""
    (tmp_path / "suite.toml").write_text(ONE_ARM + BREEDS_TASK.replace(old, new, 1))
    with pytest.raises(ParameterError, match=sentence):
        Plan.load(tmp_path / "suite.toml")


def test_tasks_without_files_are_left_out_if_asked(folder, tmp_path, capsys):
    """--skip-missing names each task whose file is not there; without it the suite stops; nothing left is an error."""
    (tmp_path / "suite.toml").write_text(SUITE.replace('rdm = "rdm.npy"', 'rdm = "none.npy"').replace("draws = 4", ""))
    words = ["evaluate", "suite", str(tmp_path / "suite.toml"), "--out", str(tmp_path / "out"), "--root", str(folder)]
    assert execute([*words, "--skip-missing", "--json"]) == 0
    out, err = capsys.readouterr()
    assert f"task rdm is left out: {folder / 'none.npy'} does not exist" in err
    assert {row["task"] for row in json.loads(out)["rows"]} == set(TASKS) - {"rdm"}
    assert execute(words) == 1
    assert execute([*words[:-1], str(tmp_path), "--skip-missing"]) == 1
    assert "does not exist" in capsys.readouterr().err
