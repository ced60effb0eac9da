"""The sweep: grid, paths, store, selection, resuming, and the command."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.world import simulated_world
from glocal.errors import DataError, FileError, ParameterError
from glocal.results import read_rows, to_json
from glocal.sweep import Grid, Sweep
from glocal.sweep.grid import Point
from glocal.sweep.selection import choose, means_over_folds, pareto_front
from glocal.transform import LinearTransform

SMALL = {"alpha": [0.1, 0.5, 1.0], "lmbda": [0.1, 1.0], "tau": [0.1, 0.5]}
COMMAND = [sys.executable, "-c", "from glocal.cli import main; main()"]


@pytest.fixture(scope="module")
def small_world():
    return simulated_world(n_triplets=20_000, n_local=120)


@pytest.fixture(scope="module")
def swept(small_world):
    sweep = Sweep(SMALL, select="val-loss")
    return sweep.fit(small_world.objects, small_world.triplets, local_features=small_world.local)


@pytest.fixture(scope="module")
def files(small_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    np.save(folder / "x.npy", small_world.objects.matrix)
    np.save(folder / "t.npy", small_world.triplets.answers)
    np.save(folder / "l.npy", small_world.local.matrix)
    (folder / "grid.toml").write_text("alpha = [0.1, 0.5, 1]\nlmbda = [0.1, 1]\ntau = [0.1, 0.5]\n")
    return folder


def arguments(files, out, *more):
    names = {"--features": "x.npy", "--triplets": "t.npy", "--local-features": "l.npy", "--grid": "grid.toml"}
    paths = [part for option, name in names.items() for part in (option, str(files / name))]
    return ["sweep", *paths, "--out", str(out), *map(str, more)]


def test_the_papers_grid():
    """The built-in grid has the paper's values: 240 points on three folds, of which 192 need a fit."""
    points = [point for path in Grid.load("paper").paths(3) for point in path]
    assert len(points) == 240
    assert sum(point.fitted for point in points) == 192
    assert len({point.key for point in points}) == 240


def test_a_path_moves_to_neighbours_only():
    """On a path fold and lmbda are fixed, and each step changes alpha or tau by one place of the grid."""
    grid = Grid.paper()
    for path in grid.paths(2):
        assert len({(point.fold, point.lmbda) for point in path}) == 1
        for one, next_ in itertools.pairwise(path):
            steps = [abs(sorted(grid.alpha).index(one.alpha) - sorted(grid.alpha).index(next_.alpha))]
            steps.append(abs(sorted(grid.tau).index(one.tau) - sorted(grid.tau).index(next_.tau)))
            assert sorted(steps) == [0, 1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("alpha = [0.1]\ngamma = [0.1]", "unknown key 'gamma'"),
        ("alpha = [1.5]", "alpha = 1.5; allowed is 0 to 1"),
        ("lmbda = [-1]", "lmbda = -1"),
        ("tau = [0]", "tau = 0"),
        ("tau = []", "lists no tau"),
        ("tau = ['a']", "tau = 'a'; allowed is a finite number above 0"),
        ("alpha = [0.1, 0.1]", "twice"),
        ("lmbda = " + "9" * 400, "allowed is a finite number"),
        ("method = 'best'", "method = 'best'"),
        ("alpha = [", "is not TOML"),
    ],
)
def test_bad_grids_are_one_sentence(text, sentence, tmp_path):
    """A grid file with an unknown key or a value out of range is refused with the value and what is allowed."""
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises((ParameterError, FileError)) as caught:
        Grid.load(tmp_path / "grid.toml")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_point_is_scored_on_what_it_has_not_seen(swept):
    """Each fold and setting has one row with held-out scores; at alpha = 1 nothing is fitted or changed."""
    results = swept.results_
    assert len(results) == 3 * 3 * 2 * 2
    assert results["converged"].all()
    assert (results[["accuracy_cosine", "neighbours_kept"]] <= 1).all(axis=None)
    unfitted = results[results["alpha"] == 1]
    assert (unfitted["evaluations"] == 0).all()
    assert (unfitted["neighbours_kept"] == 1).all()
    assert (results[results["alpha"] < 1]["evaluations"] > 0).all()
    assert set(results["n_images"]) == {40}


def test_the_value_at_alpha_one_is_the_entropy_of_the_teacher(swept):
    """At alpha = 1 the objective is the local loss of the identity, which depends on tau alone."""
    unfitted = swept.results_[swept.results_["alpha"] == 1]
    for _, group in unfitted.groupby(["fold", "tau"]):
        assert np.ptp(group["objective"]) < 1e-6
        part = group["parts"].iloc[0]["local"]
        assert group["objective"].iloc[0] == pytest.approx(part, rel=1e-6)


def test_warm_paths_reach_the_optima_of_cold_starts_in_fewer_evaluations(small_world):
    """A path reaches the objectives of cold starts to the tolerance, with at most half their evaluations."""
    grid = {"alpha": [0.1, 0.2, 0.3], "lmbda": [0.1], "tau": [0.25, 0.35]}

    def sweep(values):
        fitted = Sweep(values, tol=1e-4, folds=2).fit(
            small_world.objects, small_world.triplets, local_features=small_world.local
        )
        return fitted.results_.set_index(["fold", "alpha", "tau"])[["objective", "evaluations"]]

    warm = sweep(grid)
    cold = pd.concat([sweep({**grid, "alpha": [a], "tau": [t]}) for a in grid["alpha"] for t in grid["tau"]])
    both = warm.merge(cold, left_index=True, right_index=True, suffixes=("", "_cold"))
    assert (both["objective"] <= both["objective_cold"] * (1 + 1e-4)).all()
    assert both["evaluations"].sum() < 0.5 * both["evaluations_cold"].sum()


def test_the_choice_is_refitted_on_all_objects(swept, small_world):
    """The transform is fitted on every answer and carries the front, the rule and the reason."""
    meta = swept.transform_.meta
    assert meta["fit"]["n_triplets"] == len(small_world.triplets)
    assert meta["fit"]["alpha"] == swept.best_["alpha"]
    assert meta["sweep"]["rule"] == "val-loss"
    assert len(meta["sweep"]["front"]) == len(swept.front_)
    assert swept.best_["loss"] == swept.means_["loss"].min()
    assert swept.front_["method"].iloc[0] == "original"
    assert swept.front_["neighbours_kept"].iloc[0] == 1


def _table(points):
    columns = ["alpha", "accuracy_cosine", "neighbours_kept", "loss"]
    table = pd.DataFrame(points, columns=columns)
    return table.assign(method="glocal", bias=False, lmbda=0.1, tau=0.25)


def test_the_front_and_its_knee_on_paper():
    """Dominated settings leave the front; the knee is farthest above the chord between the ends."""
    table = _table([(0.9, 0.4, 1.0, 1.2), (0.5, 0.5, 0.9, 1.0), (0.3, 0.45, 0.5, 0.8), (0.1, 0.6, 0.2, 0.9)])
    front = pareto_front(table)
    assert front["alpha"].tolist() == [0.9, 0.5, 0.1]
    # scaled: (0, 1), (0.5, 0.875), (1, 0): the middle one lies 0.375 above the chord
    choice = choose(table, "front-knee")
    assert choice.setting["alpha"] == 0.5
    assert choice.rule == "front-knee"
    assert f"{0.375 / np.sqrt(2):.3f}" in choice.reason


def test_equal_in_one_and_worse_in_the_other_leaves_the_front():
    """A setting that another equals on one axis and beats on the other is dropped; of two equal in both one stays."""
    table = _table([(0.9, 0.4, 1.0, 1.0), (0.8, 0.5, 1.0, 1.0), (0.5, 0.6, 0.7, 1.0), (0.3, 0.6, 0.6, 1.0)])
    assert pareto_front(table)["alpha"].tolist() == [0.8, 0.5]
    assert pareto_front(table.iloc[[0, 1]])["alpha"].tolist() == [0.8]
    assert pareto_front(table.iloc[[2, 3]])["alpha"].tolist() == [0.5]
    assert pareto_front(table.iloc[[0]].loc[[0, 0]].assign(alpha=[0.9, 0.2]))["alpha"].tolist() == [0.2]


def test_knee_ties_go_to_the_smaller_alpha():
    """Of two settings equally far above the chord the one with the smaller alpha is chosen."""
    table = _table([(0.9, 0.0, 1.0, 1.0), (0.5, 0.25, 0.9, 1.0), (0.3, 0.9, 0.25, 1.0), (0.1, 1.0, 0.0, 1.0)])
    assert choose(table, "front-knee").setting["alpha"] == 0.3


def test_constraints():
    """A constraint on neighbours maximises agreement, one on agreement maximises neighbours; none satisfied is said."""
    table = _table([(0.9, 0.4, 1.0, 1.2), (0.5, 0.5, 0.9, 1.0), (0.1, 0.6, 0.2, 0.9)])
    assert choose(table, "neighbours_kept>=0.8").setting["alpha"] == 0.5
    assert choose(table, "constraint neighbours_kept >= 0.95").setting["alpha"] == 0.9
    assert choose(table, "accuracy_cosine>=0.45").setting["alpha"] == 0.5
    assert choose(table, "val-loss").setting["alpha"] == 0.1
    with pytest.raises(ParameterError, match=r"the nearest reaches 0\.6"):
        choose(table, "accuracy_cosine>=0.7")
    with pytest.raises(ParameterError, match="allowed are val-loss"):
        choose(table, "best")
    assert choose(table, "agreement>=0.5").setting == choose(table, "accuracy_cosine>=0.5").setting
    with pytest.raises(ParameterError, match="the constraint names 'speed'"):
        choose(table, "speed>=1")


def test_means_leave_out_unfinished_settings():
    """A setting that some fold has not finished has no mean; a metric unknown of one fold has that of the others."""
    base = {
        "method": "glocal",
        "bias": False,
        "lmbda": 1.0,
        "tau": 0.5,
        "evaluations": 1,
        "converged": True,
        "seconds": 1,
    }
    rows = [{**base, "fold": f, "alpha": 0.1, "accuracy_cosine": 0.4 + f / 10} for f in (0, 1)]
    rows += [{**base, "fold": 0, "alpha": 0.5, "accuracy_cosine": 0.4}]
    rows[1] |= {"evaluations": 5, "converged": False, "seconds": 4, "accuracy_1nn": 0.7, "local_loss": None}
    rows[0] |= {"accuracy_1nn": None, "local_loss": None}
    means = means_over_folds(rows, 2)
    assert means["accuracy_1nn"].tolist() == [0.7]
    assert "local_loss" not in means
    assert means["alpha"].tolist() == [0.1]
    assert means[["evaluations", "converged", "seconds"]].iloc[0].tolist() == [6, False, 5.0]  # sum, all, sum
    assert means["accuracy_cosine"].iloc[0] == pytest.approx(0.45)
    assert means["accuracy_cosine_se"].iloc[0] == pytest.approx(0.05)


def test_global_and_glocal_in_one_sweep(small_world):
    """A grid may name several arms; those without a local term are swept over lmbda alone."""
    sweep = Sweep({**SMALL, "method": ["glocal", "global", "naive"], "lmbda": [0.05]})
    sweep.fit(small_world.objects, small_world.triplets, local_features=small_world.local)
    counts = sweep.results_.groupby("method").size()
    assert counts.to_dict() == {"glocal": 18, "global": 3, "naive": 3}


@pytest.mark.parametrize("kind", ["numbers", "names", "npy"])
def test_downstream_labels_are_read_as_few_shot_reads_them(files, small_world, tmp_path, capsys, kind):
    """Numbers or names one a line, or .npy: every point has its accuracy_1nn, and the table shows it."""
    labels = small_world.local_category // 10
    path = tmp_path / ("y.npy" if kind == "npy" else "y.txt")
    if kind == "npy":
        np.save(path, labels)
    else:
        path.write_text("".join(f"{'class ' if kind == 'names' else ''}{label}\n" for label in labels))
    (tmp_path / "grid.toml").write_text("alpha = [0.1]\nlmbda = [1]\ntau = [0.5]\n")
    more = ["--downstream", files / "l.npy", "--downstream-labels", path, "--grid", tmp_path / "grid.toml"]
    assert execute(arguments(files, tmp_path / "s", *more)) == 0
    said = capsys.readouterr().out
    points = read_rows(tmp_path / "s" / "points.jsonl")
    mean = np.mean([row["accuracy_1nn"] for row in points if row["alpha"] == 0.1])
    assert "1-NN downstream" in said
    assert f"{mean:.3f} ±" in said
    standardized = small_world.objects.standardization(small_world.local.matrix, "float64")
    for row in points:
        fitted = f"fold{row['fold']}-glocal-lmbda1-alpha0.1-tau0.5.npz"
        transform = (
            None if row["method"] == "original" else LinearTransform.load(tmp_path / "s" / "transforms" / fitted)
        )
        X = standardized if transform is None else transform.apply(small_world.local.matrix.astype("f8"))
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
        nearest = (X @ X.T - 2 * np.eye(len(X))).argmax(axis=1)
        assert row["accuracy_1nn"] == pytest.approx(np.mean(labels[nearest] == labels))


def test_downstream_labels_of_another_number_are_refused(files, tmp_path, capsys):
    """Labels that do not fit the downstream rows are one sentence, before any fit."""
    (tmp_path / "y.txt").write_text("1\n2\n")
    more = ["--downstream", files / "l.npy", "--downstream-labels", tmp_path / "y.txt"]
    assert execute(arguments(files, tmp_path / "s", *more)) == 1
    assert "has 2 labels but there are" in capsys.readouterr().err


def test_folds_that_cannot_be_scored_are_refused(small_world):
    """Too many folds, too few local images and a fold without answers are one sentence before any fit."""
    world = small_world
    with pytest.raises(ParameterError, match="local images cannot be cut"):
        Sweep(SMALL).fit(world.objects, world.triplets, local_features=world.local.matrix[:20])
    with pytest.raises(ParameterError, match="folds is 200"):
        Sweep(SMALL, folds=200).fit(world.objects, world.triplets, local_features=world.local)
    with pytest.raises(DataError, match="has no triplet to"):
        Sweep(SMALL).fit(world.objects, world.triplets.answers[:3], local_features=world.local)
    with pytest.raises(DataError, match="5 columns"):
        Sweep(SMALL).fit(world.objects, world.triplets, local_features=Features(world.local.matrix[:, :5]))


def test_the_command_writes_what_it_promises(files, tmp_path, capsys):
    """glocal sweep writes a line for each point, the front, and the chosen transform."""
    assert execute(arguments(files, tmp_path / "s", "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    rows = read_rows(tmp_path / "s" / "points.jsonl")
    assert len(rows) == said["points"] == 36
    keys = {"fold", "alpha", "lmbda", "tau", "accuracy_cosine", "accuracy_dot", "loss", "local_loss"}
    assert keys | {"neighbours_kept", "objective", "evaluations", "converged", "seconds"} <= set(rows[0])
    front = pd.read_csv(tmp_path / "s" / "front.csv")
    assert front["chosen"].sum() == 1
    assert LinearTransform.load(tmp_path / "s" / "transform.npz").meta["sweep"]["reason"] == said["reason"]
    one = next((tmp_path / "s" / "transforms").glob("fold0-glocal-lmbda0.1-alpha0.1-tau0.1.npz"))
    assert LinearTransform.load(one).meta["point"]["fold"] == 0


def test_a_folder_is_not_swept_twice_by_mistake(files, tmp_path, capsys):
    """Finished points need --resume, which repeats none; another sweep in the folder is refused."""
    out = tmp_path / "s"
    assert execute(arguments(files, out)) == 0
    before = (out / "points.jsonl").read_bytes()
    capsys.readouterr()
    assert execute(arguments(files, out)) == 1
    assert "--resume" in capsys.readouterr().err
    assert execute(arguments(files, out, "--resume")) == 0
    assert (out / "points.jsonl").read_bytes() == before
    capsys.readouterr()
    assert execute(arguments(files, out, "--resume", "--tol", "1e-3")) == 1
    assert "holds another sweep: tol" in capsys.readouterr().err


def test_a_sweep_goes_on_only_with_all_it_was_begun_with(small_world, tmp_path):
    """Other local images of the same shape, other downstream images or labels, or none of those, are refused."""
    labels = np.arange(40) % 4
    other = small_world.local.matrix[::-1]

    def sweep(local=small_world.local.matrix, downstream=(small_world.local.matrix[:40], labels), **more):
        return Sweep({"alpha": [0.5], "lmbda": [0.1], "tau": [0.5]}, folds=2, select="val-loss").fit(
            small_world.objects, small_world.triplets, local_features=local, downstream=downstream,
            out=tmp_path / "s", **more,
        )  # fmt: skip

    sweep()
    before = (tmp_path / "s" / "points.jsonl").read_bytes()
    for changed, key in [
        ({"local": other}, "data.local"),
        ({"downstream": (other[:40], labels)}, "downstream.features"),
        ({"downstream": (small_world.local.matrix[:40], 3 - labels)}, "downstream.labels"),
        ({"downstream": None}, "downstream.features, downstream.labels"),
    ]:
        with pytest.raises(ParameterError, match=f"holds another sweep: {key} differ"):
            sweep(**changed, resume=True)
    assert sweep(resume=True).best_["accuracy_1nn"] > 0
    assert (tmp_path / "s" / "points.jsonl").read_bytes() == before


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_points_of_two_versions_are_not_mixed(files, tmp_path, capsys, version):
    """An unfinished sweep of another version, or of none, is refused; a finished one may be chosen from anew."""
    out = tmp_path / "s"
    short = ("--folds", "2", "--no-keep-transforms")
    assert execute(arguments(files, out, *short)) == 0
    held = json.loads((out / "sweep.json").read_text())
    del held["version"]
    if version is None:
        del held["data"]["local"]  # as it was written before both were recorded
    (out / "sweep.json").write_text(json.dumps(held | ({} if version is None else {"version": version})))
    assert execute(arguments(files, out, *short, "--resume", "--select", "val-loss")) == 0
    lines = (out / "points.jsonl").read_text().splitlines(keepends=True)
    (out / "points.jsonl").write_text("".join(lines[:-1]))
    capsys.readouterr()
    assert execute(arguments(files, out, *short, "--resume")) == 1
    said = capsys.readouterr().err
    assert "points of two versions are not mixed" in said
    assert ("glocal 0.0.1" if version else "an earlier glocal") in said


def test_a_sweep_goes_on_after_a_line_that_was_cut(files, tmp_path):
    """A point whose line was cut by a killed process is fitted again, and every later resume reads the file."""
    out = tmp_path / "s"
    short = ("--folds", "2", "--no-keep-transforms")
    assert execute(arguments(files, out, *short)) == 0
    lines = (out / "points.jsonl").read_text().splitlines(keepends=True)
    (out / "points.jsonl").write_text("".join(lines[:10]) + lines[10][:50])
    for path in (out / "paths").glob("*.npz"):
        path.unlink()
    assert execute(arguments(files, out, *short, "--resume")) == 0
    assert execute(arguments(files, out, *short, "--resume")) == 0
    table = pd.DataFrame(read_rows(out / "points.jsonl"))
    assert len(table) == 24
    assert not table.duplicated(["fold", "alpha", "lmbda", "tau"]).any()


def test_an_interrupted_sweep_says_how_it_goes_on(files, tmp_path, capsys, monkeypatch):
    """Ctrl-C keeps the finished points, exits 130, and names --resume."""
    out = tmp_path / "s"

    @contextlib.contextmanager
    def interrupted():
        def progress(row, done, total):
            if done == 3:
                raise KeyboardInterrupt

        yield progress

    with monkeypatch.context() as patch:
        patch.setattr("glocal.cli.sweep._live_table", interrupted)
        assert execute(arguments(files, out, "--folds", "2")) == 130
    said = capsys.readouterr().err.splitlines()
    assert said[-2] == f"finished points are kept in {out}."
    assert said[-1].endswith("To go on, give the same command again with --resume.")
    assert len(read_rows(out / "points.jsonl")) == 3
    assert execute(arguments(files, out, "--folds", "2", "--resume")) == 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("points.jsonl", '{"fold": 0}\n', "line 1 is not a row of a run: it lacks method"),
        ("points.jsonl", "POINT", "its alpha is [1], not a number or null"),
        ("sweep.json", "[1", "sweep file"),
        ("sweep.json", "3", "sweep file"),
        ("original.jsonl", '{"fold": []}\n', "its fold is [], not a number"),
        ("paths", "PK", "is not a whole"),
    ],
)
def test_a_damaged_sweep_is_one_sentence(files, tmp_path, capsys, name, content, sentence):
    """A file of odd content in the folder of a sweep is named, with what to do."""
    out = tmp_path / "s"
    short = ("--folds", "2", "--no-keep-transforms")
    assert execute(arguments(files, out, *short)) == 0
    lines = (out / "points.jsonl").read_text().splitlines(keepends=True)
    (out / "points.jsonl").write_text("".join(lines[:-1]))  # something is left to do
    if name == "paths":
        for path in (out / "paths").glob("*.npz"):
            path.write_text(content)
    else:
        (out / name).write_text(to_json(json.loads(lines[0]) | {"alpha": [1]}) if content == "POINT" else content)
    capsys.readouterr()
    assert execute(arguments(files, out, *short, "--resume")) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert sentence in said


def test_no_two_points_share_a_file():
    """Settings that agree in six digits have names of their own; round ones keep their short names."""
    names = {Point(0, "glocal", False, 0.1, 0.1 + shift, 0.5).key for shift in (0, 1e-9, 2e-9)}
    assert len(names) == 3
    assert Point(0, "glocal", True, 10.0, 0.05, 1.0, 0.5, 1e-4).key == (
        "fold0-glocal-bias-lmbda10-mix0.5-eta0.0001-alpha0.05-tau1"
    )


def test_killed_sweeps_resume_to_the_same_scores(files, tmp_path, started):
    """After ten times kill -9 every finished point survives, none is repeated, and the end is the undisturbed one."""
    assert execute(arguments(files, tmp_path / "whole")) == 0
    out = tmp_path / "killed"
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    finished, moments = 0, np.random.default_rng(0)
    for _ in range(10):
        process = started([*COMMAND, *arguments(files, out, "--resume")], stderr=subprocess.DEVNULL, env=environment)
        while process.poll() is None:
            points = out / "points.jsonl"
            if points.exists() and points.read_bytes().count(b"\n") > finished:
                break
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.wait()
        assert len(read_rows(out / "points.jsonl")) >= finished
        finished = len(read_rows(out / "points.jsonl"))
    assert execute(arguments(files, out, "--resume")) == 0
    key = ["fold", "alpha", "lmbda", "tau"]
    tables = [pd.DataFrame(read_rows(tmp_path / name / "points.jsonl")) for name in ("whole", "killed")]
    assert not tables[1].duplicated(key).any()
    whole, killed = (table.sort_values(key).reset_index(drop=True) for table in tables)
    for column in ("objective", "accuracy_cosine", "accuracy_dot", "neighbours_kept", "loss", "local_loss"):
        assert np.allclose(whole[column], killed[column], atol=1e-4, rtol=0), column


def test_two_processes_share_a_folder(files, tmp_path, started):
    """Two processes on one folder finish every point once and lose none."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [*COMMAND, *arguments(files, tmp_path / "s", "--resume")]
    both = [started(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) for _ in "ab"]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 0, said
    table = pd.DataFrame(read_rows(tmp_path / "s" / "points.jsonl"))
    assert len(table) == 36
    assert not table.duplicated(["fold", "alpha", "lmbda", "tau"]).any()


def test_the_front_is_drawn_on_request(files, tmp_path, capsys):
    """--figure writes the front as a picture; an ending it does not know is refused before any work."""
    assert execute(arguments(files, tmp_path / "s", "--figure", tmp_path / "front.png")) == 0
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert execute(arguments(files, tmp_path / "t", "--figure", tmp_path / "front.gif")) == 1
    assert "ends in .gif" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()


def test_a_full_disk_loses_no_finished_point(files, tmp_path, capsys):
    """Where a row cannot be written the sweep ends with one sentence; with room again it repeats nothing."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    out = tmp_path / "s"
    out.mkdir()
    (out / "points.jsonl").symlink_to("/dev/full")
    assert execute(arguments(files, out)) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "the disk is full" in said
    (out / "points.jsonl").unlink()
    assert execute(arguments(files, out, "--resume")) == 0
    table = pd.DataFrame(read_rows(out / "points.jsonl"))
    assert len(table) == 36
    assert not table.duplicated(["fold", "alpha", "lmbda", "tau"]).any()
    assert execute(arguments(files, tmp_path / "whole")) == 0
    whole = pd.DataFrame(read_rows(tmp_path / "whole" / "points.jsonl"))
    assert sorted(whole["objective"]) == pytest.approx(sorted(table["objective"]), rel=1e-6)
