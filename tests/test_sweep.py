"""The sweep: its grid, paths, points, choice and folder, resuming, and the command."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from glocal.aligner import Arm, Exact, FitData, PaperLoop, fit
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.world import simulated_world
from glocal.errors import ClusterError, DataError, FileError, ParameterError
from glocal.evaluation.agreement import odd_one_out
from glocal.evaluation.structure import neighbours_kept
from glocal.results import read_rows
from glocal.sweep import choose, pareto_front, settings, sweep
from glocal.sweep.grid import PAPER, means_over_folds, paths
from glocal.sweep.run import Unit, fit_path
from glocal.transform import LinearTransform

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits
GRID = {"method": ["global", "glocal"], "alpha": [0.1, 0.5], "lmbda": [0.1, 1], "tau": [0.1, 0.5]}
PATH = {"method": ["global", "glocal"], "lmbda": [1]}
KEY = ["fold", "method", "lmbda", "alpha", "tau"]
SCORES = ["objective", "agreement", "kept", "loss", "evaluations"]


@pytest.fixture(scope="module")
def world():
    return simulated_world(n_triplets=5_400, n_local=90, n_object=4, dimensions=32)


@pytest.fixture(scope="module")
def data(world):
    return FitData(world.objects, world.answers, world.local)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep") / "s"


@pytest.fixture(scope="module")
def swept(data, folder):
    return sweep(data, GRID, folds=2, out=folder, select="loss")


@pytest.fixture(scope="module")
def path_folder(data, tmp_path_factory):
    """The folder of a sweep of one path."""
    folder = tmp_path_factory.mktemp("path") / "s"
    sweep(data, PATH, folds=2, out=folder)
    return folder


@pytest.fixture(scope="module")
def files(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "x.npy", world.objects.matrix)
    np.save(folder / "t.npy", world.answers.objects)
    np.save(folder / "l.npy", world.local.matrix)
    (folder / "path.toml").write_text("alpha = [0.1, 0.5]\nlmbda = 1\n")
    lists = "\n".join(f"{name} = {values}" for name, values in GRID.items())
    (folder / "grid.toml").write_text(lists)
    return folder


def arguments(files, out, *options, grid="grid.toml"):
    names = {
        "--features": "x.npy",
        "--triplets": "t.npy",
        "--local-features": "l.npy",
        "--grid": grid,
    }
    paths = [part for option, name in names.items() for part in (option, str(files / name))]
    return ["sweep", *paths, "--out", str(out), *map(str, options)]


def assert_same(points, expected):
    """Assert that both lists hold the same points with the same scores, in any order."""
    first, second = (
        pd.DataFrame(rows).sort_values(KEY)[KEY + SCORES].reset_index(drop=True)
        for rows in (points, expected)
    )
    pd.testing.assert_frame_equal(first, second)


# the grid


def test_the_grids_that_are_built_in():
    """The grid `paper` has the paper's 64 settings with alpha below 1, or 256 with learning rates,
    and the grid `arms` has `global` and `glocal`.
    """
    assert len(settings("paper", local=True)) == 64
    assert len(settings("paper", local=True, eta=True)) == 256
    arms = settings("arms", local=True)
    assert len(arms) == 17
    assert {setting["method"] for setting in arms} == {"global", "glocal"}
    assert settings("arms", local=False) == arms[:5]
    of_few_answers = settings("arms", local=True, unit=0.3)
    lmbdas = list(dict.fromkeys(setting["lmbda"] for setting in of_few_answers))
    assert lmbdas == [30, 9, 3, 0.9, 0.3]


def test_a_path_moves_to_neighbours_only():
    """A path has one lmbda and mix, begins at `global`, and each step moves alpha or tau by one
    place in the grid, alpha only upwards; `naive` has its own path.
    """
    grid = PAPER.replace(method=["naive", "glocal", "global"], mix=[0.9, 1]).settings()
    all_paths = paths(grid)
    assert [len(path) for path in all_paths] == [17] * 8 + [1] * 4
    assert sorted(map(str, itertools.chain(*all_paths))) == sorted(map(str, grid))
    for first, *path in all_paths[:8]:
        assert first["method"] == "global"
        assert len({(setting["lmbda"], setting["mix"]) for setting in (first, *path)}) == 1
        alphas = [PAPER.alpha.index(setting["alpha"]) for setting in path]
        taus = [PAPER.tau.index(setting["tau"]) for setting in path]
        assert alphas[0] == 0
        steps = np.diff([alphas, taus])
        assert (np.abs(steps).sum(axis=0) == 1).all()
        assert (steps[0] >= 0).all()
    assert [len(path) for path in paths(grid, warm=False)] == [1] * len(grid)


def test_lmbda_of_each_method(tmp_path):
    """`lmbda` may be a table that gives each method its own values, and 1 is the same as 1.0."""
    (tmp_path / "g.toml").write_text(
        "alpha = [0.5]\ntau = 0.1\n[lmbda]\nglobal = [1, 3]\nglocal = 0.3\n"
    )
    grid = settings(tmp_path / "g.toml", local=True)
    pairs = [(setting["method"], setting["lmbda"]) for setting in grid]
    assert pairs == [("global", 3.0), ("global", 1.0), ("glocal", 0.3)]


@pytest.mark.parametrize(
    ("text", "noun"),
    [
        ("alpha = [0.1]\ngamma = [0.1]", "gamma"),
        ("alpha = [1]", "alpha"),
        ("lmbda = [-1]", "lmbda"),
        ("tau = []", "tau"),
        ("mix = [1.5]", "mix"),
        ("method = 'best'", "method"),
        ("alpha = [0.1, 0.1]", "twice"),
        ("eta = [0.1]", "eta"),
        ("method = ['naive', 'global']\nlmbda = {naive = [1]}", "global"),
        ("alpha = [", "grid"),
    ],
)
def test_bad_grids_are_refused(text, noun, tmp_path):
    """A grid file with an unknown key or a value that is not allowed is bad content. A list for
    another solver is a wrong call.
    """
    (tmp_path / "grid.toml").write_text(text)
    error = ParameterError if noun == "eta" else FileError
    with pytest.raises(error, match=noun):
        settings(tmp_path / "grid.toml", local=True)


# points


@pytest.mark.nightly
def test_a_point_is_the_fit_that_one_would_run(swept, data, world):
    """A point has the scores of a single fit on the training part of its fold, scored on the
    held-out part; the original features are scored too.
    """
    is_original = swept.points["method"] == "original"
    original = swept.points[is_original]
    fitted = swept.points[~is_original]
    assert original["kept"].tolist() == [1, 1]
    assert (original["loss"] < np.log(3)).all()  # at the scale that fits the answers best
    assert len(fitted) == 2 * 10
    assert not fitted.duplicated(KEY).any()
    assert (fitted["status"] == "converged").all()
    for _, row in fitted.iloc[::7].iterrows():
        part, heldout, rows = data.folds(2, "objects")[int(row["fold"])]
        setting = {
            name: None if row[name] != row[name] else row[name]
            for name in ("method", *KEY[2:], "mix")
        }
        single = fit(part, Arm.of(setting), Exact(tol=1e-4))
        assert row["objective"] == pytest.approx(single.record.objective, rel=5e-4)
        score = odd_one_out(single.transform(world.objects.matrix), heldout)
        assert row["agreement"] == pytest.approx(score.accuracy, abs=0.01)
        assert row["loss"] == pytest.approx(score.loss, rel=1e-2)
        images = world.local.matrix[np.sort(rows)]
        kept = neighbours_kept(
            world.objects.standardization(images, "float64"), single.transform(images)
        )
        assert row["kept"] == pytest.approx(kept, abs=0.01)
        assert (row["n_heldout"], row["n_images"]) == (len(heldout), len(images))


def test_a_path_takes_fewer_evaluations_than_cold_fits(data):
    """Each fit on a path starts at the previous optimum, `glocal` at that of `global`."""
    (path,) = paths(settings(PATH, local=True))
    _, (first, second) = fit_path(data, Exact(), 2, Unit(0, path, ""))
    cold = [fit_path(data, Exact(), 2, Unit(0, [setting], "")) for setting in path]
    (_, [cold_first]), (_, [cold_second]) = cold
    assert first["evaluations"] == cold_first["evaluations"]
    assert second["evaluations"] < 0.7 * cold_second["evaluations"]
    assert second["objective"] == pytest.approx(cold_second["objective"], rel=1e-5)


def test_points_whose_optimum_is_0_have_no_scores(data):
    """A point with the optimum 0 is a row with λ_max but without scores, and has no mean; the path
    goes on after it, and a sweep without other points is refused.
    """
    result = sweep(data, {"method": ["naive"], "lmbda": [0.05, 100]}, folds=2)
    assert result.means["lmbda"].dropna().tolist() == [0.05]
    trivial = result.points[result.points["status"] == "trivial"]
    assert trivial["lmbda"].tolist() == [100, 100]
    assert trivial["agreement"].isna().all()
    assert (trivial["lambda_max"] < 100).all()
    largest = fit(data, Arm("global", lmbda=0.1, mix=0.5)).record.lambda_max
    grid = settings({"alpha": [0.05, 0.9], "lmbda": [0.15 * largest], "mix": [0.5]}, local=True)
    _, (heavy, light) = fit_path(data, Exact(tol=1e-3), 3, Unit(0, grid[::-1], ""))
    assert (heavy["alpha"], heavy["status"], light["status"]) == (0.9, "trivial", "converged")
    with pytest.raises(ParameterError, match="lmbda"):
        sweep(data, {"method": ["naive"], "lmbda": [100]}, folds=2)


def test_without_local_images_neighbours_are_those_of_held_out_objects(world):
    """Without local images, neighbours are counted among held-out objects, and a grid that names
    `glocal` is refused.
    """
    alone = FitData(world.objects, world.answers)
    result = sweep(alone, {"method": ["global"], "lmbda": [1]}, folds=2)
    assert set(result.points["n_images"]) == {len(world.objects) // 2}
    assert result.transform.meta["sweep"]["heldout"] == "objects"
    with pytest.raises(ParameterError, match="glocal"):
        sweep(alone, "paper")


def test_few_answers_are_held_out_by_questions(world):
    """With few answers a sweep holds out questions, says so, counts neighbours among all objects
    that they name, and its λ are multiples of p / t.
    """
    few = FitData(world.objects, world.answers.select(np.arange(1000)))
    result = sweep(few, folds=2)
    assert result.means["lmbda"].dropna().tolist() == [3.2, 0.96, 0.32, 0.096, 0.032]
    assert result.transform.meta["sweep"]["heldout"] == "questions"
    assert set(result.points["n_images"]) == {len(few.answers.named_objects())}


def test_no_process_is_refused(world, tmp_path):
    """Before anything is written."""
    with pytest.raises(ParameterError, match="jobs"):
        sweep(FitData(world.objects, world.answers), GRID, jobs=0, out=tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_folds_that_cannot_be_scored_are_refused(world):
    """A sweep is refused if a fold would hold out too few objects or answers to questions."""
    narrow = Features(world.local.matrix[:, :5])
    for answers, local, folds, noun in (
        (world.answers, world.local, 200, "folds"),
        (world.answers.select(np.arange(2)), world.local, 3, "questions"),
        (world.answers, narrow, 3, "5 columns"),
    ):
        with pytest.raises((ParameterError, DataError), match=noun):
            sweep(FitData(world.objects, answers, local), GRID, folds=folds)


# the choice


def table(points):
    means = pd.DataFrame(points, columns=["alpha", "agreement", "kept", "loss"])
    return means.assign(method="glocal", lmbda=0.1, tau=0.25, mix=1.0, kept_se=0.0)


def test_means_are_of_settings_that_every_fold_has_scored():
    """A mean needs scores of every fold, and has standard errors, the summed evaluations and
    seconds, and whether all points converged.
    """
    base = {
        "method": "glocal",
        "lmbda": 1.0,
        "mix": 1.0,
        "tau": 0.5,
        "loss": 1.0,
        "kept": 0.5,
    }
    columns = ("fold", "alpha", "agreement", "evaluations", "status", "seconds")
    values = ((0, 0.1, 0.4, 1, "converged", 1.0), (1, 0.1, 0.5, 5, "budget", 2.0))
    rows = [{**base, **dict(zip(columns, row, strict=True))} for row in values]
    rows += [
        {**rows[0], "alpha": 0.5},
        {**rows[0], "alpha": 0.7},
        {**rows[1], "alpha": 0.7, "agreement": None},
    ]
    means = means_over_folds(rows, 2)
    assert means["alpha"].tolist() == [0.1]
    assert means[["evaluations", "seconds", "converged"]].iloc[0].tolist() == [6, 3.0, False]
    assert means["agreement"].iloc[0] == pytest.approx(0.45)
    assert means["agreement_se"].iloc[0] == pytest.approx(0.05)


def test_the_front():
    """The front drops dominated rows; of rows with equal scores, the smallest alpha stays."""
    means = table(
        [
            (0.9, 0.4, 1.0, 1),
            (0.8, 0.5, 1.0, 1),
            (0.5, 0.6, 0.7, 1),
            (0.3, 0.6, 0.6, 1),
            (0.4, 0.6, 0.7, 1),
            (0.1, 0.5, 0.9, 1),
        ]
    )
    assert pareto_front(means)["alpha"].tolist() == [0.8, 0.4]


def test_choices_on_paper():
    """Each rule chooses the right row, of equal ones that with the smallest alpha, and gives a
    reason. `naive` is chosen only if there is nothing else.
    """
    rows = [(0.9, 0.4, 1.0, 1.2), (0.7, 0.55, 0.9, 1), (0.5, 0.55, 0.9, 1), (0.1, 0.6, 0.2, 0.9)]
    means = table(rows)
    for keep, alpha in ((None, 0.1), (0.9, 0.5), (0.95, 0.9), (0.2, 0.1)):
        chosen, reason = choose(means, keep)
        assert (means.loc[chosen, "alpha"], bool(reason)) == (alpha, True), keep
    few, _ = choose(means[1:], 0.95)  # no setting keeps so many: the nearest one
    assert means.loc[few, "alpha"] == 0.5
    promised, _ = choose(means.assign(kept_se=[0, 0, 0.01, 0]), 0.9)  # an error below the mean
    assert means.loc[promised, "alpha"] == 0.7
    means.loc[means["alpha"] == 0.1, "method"] = "naive"
    for keep in (None, 0.1):
        other, _ = choose(means, keep)
        alone, _ = choose(means[means["method"] == "naive"], keep)
        assert means.loc[[other, alone], "alpha"].tolist() == [0.5, 0.1]


def test_the_choice_is_refitted_on_everything(swept, world):
    """The transform is fitted to every answer and carries the rule, the reason and the held-out
    scores, which are those over all folds.
    """
    meta = swept.transform.meta
    heldout = meta["fit"]["heldout"]
    assert meta["fit"]["n_answers"] == len(world.answers)
    assert meta["fit"]["lmbda"] == swept.best["lmbda"]
    assert (meta["sweep"]["keep"], meta["sweep"]["reason"]) == (None, swept.reason)
    assert swept.best["loss"] == swept.means["loss"].min()
    assert swept.means["chosen"].sum() == 1
    assert heldout == swept.heldout.model_dump()
    n = swept.points.drop_duplicates("fold")["n_heldout"].sum()
    assert (heldout["of"], heldout["n"], heldout["folds"]) == ("objects", n, 2)
    assert heldout["gain"] == pytest.approx(heldout["agreement"] - heldout["original"])
    for name in ("agreement", "loss", "kept"):
        assert heldout[name] == pytest.approx(swept.best[name], abs=0.01), name


# the folder


def test_the_folder_holds_what_it_promises(swept, folder):
    """The folder holds rows, tables, the refitted choice, two views, and a file for each path, but
    no solver state.
    """
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert sum(file.parent.name == "paths" for file in files) == 2 * 3
    names = {str(file) for file in files if file.parent.name != "paths"}
    assert names == {
        "sweep.json",
        "points.jsonl",
        "means.csv",
        "front.csv",
        "transform.npz",
        "views/original.npz",
        "views/chosen.npz",
    }
    rows = read_rows(folder / "points.jsonl")
    assert len(rows) == len(swept.points)
    assert {*KEY, *SCORES, "mix", "status", "seconds"} <= set(rows[0])
    front = pd.read_csv(folder / "front.csv")
    assert front["method"].iloc[0] == "original"
    assert front["agreement"].iloc[1:].is_monotonic_increasing
    assert front.iloc[1:]["front"].all()
    saved = LinearTransform.load(folder / "transform.npz")
    np.testing.assert_array_equal(saved.weights, swept.transform.weights)
    assert json.loads((folder / "sweep.json").read_text())["solver"]["tol"] == 3e-4


def test_a_resumed_sweep_fits_no_point_again(data, path_folder, monkeypatch):
    """A sweep goes on only if it is told to; it then repeats no path, may choose anew, and of the
    same choice has the same scores.
    """
    before = (path_folder / "points.jsonl").read_bytes()
    with pytest.raises(ParameterError, match="resume"):
        sweep(data, PATH, folds=2, out=path_folder)
    monkeypatch.setattr("glocal.sweep.run.fit_path", None)
    results = [
        sweep(data, PATH, folds=2, out=path_folder, resume=True, keep=keep)
        for keep in (0.1, 1, 0.1)
    ]
    assert [result.best["method"] for result in results] == ["global", "glocal", "global"]
    assert results[0].heldout == results[2].heldout
    assert (path_folder / "points.jsonl").read_bytes() == before


CHANGES = {
    "features": lambda data: Features(data.features.matrix[::-1].copy()),
    "answers": lambda data: data.answers.select(np.arange(99, len(data.answers))),
    "local_features": lambda data: Features(data.local_features.matrix[::-1].copy()),
    "block_size": lambda data: 50,
    "seed": lambda data: 43,
    "centre": lambda data: 0.5,
    "normalize": lambda data: True,
    "objects": lambda data: np.arange(1, len(data.features)),
    "images": lambda data: np.arange(1, 90),
    "n_dropped": lambda data: 1,
}


def test_every_field_of_the_data_is_changed_below():
    """A field of `FitData` that a sweep would not notice is missed here."""
    assert {field.name for field in dataclasses.fields(FitData)} == set(CHANGES)


@pytest.mark.parametrize(
    ("change", "n_paths"),
    [
        *((name, 4) for name in CHANGES),
        ("weights", 4),
        ("kind", 4),
        ({"grid": PATH | {"lmbda": [1, 0.9]}}, 2),  # the old paths and that of the other lmbda
        ({"grid": PATH | {"tau": [0.3]}}, 2),
        ({"folds": 3}, 6),
        ({"solver": Exact(tol=1e-3)}, 2),  # the original features are not fitted
        ({"solver": Exact(max_evaluations=999)}, 2),
        ({"solver": Exact(dtype="float64")}, 2),
        ({"solver": PaperLoop()}, 4),  # each setting is a path
        ({"keep": 0.1}, 0),
    ],
    ids=str,
)
def test_exactly_the_paths_that_depend_on_a_change_are_fitted_again(
    data, path_folder, change, n_paths, monkeypatch, tmp_path
):
    """A path is fitted again if any input that determines it has changed, and no other path is."""
    options = {"grid": PATH, "folds": 2}
    weights = np.ones(len(data.answers))
    if isinstance(change, dict):
        options |= change
    elif change == "weights":
        weights[:] = np.arange(len(weights)) % 2 + 1
        data = replace(data, answers=replace(data.answers, weights=weights))
    elif change == "kind":
        data = replace(data, answers=replace(data.answers, kind="anchor"))
    else:
        data = replace(data, **{change: CHANGES[change](data)})
    shutil.copytree(path_folder, tmp_path, dirs_exist_ok=True)
    fitted = []

    def stop(*_):
        raise InterruptedError

    def fit_path(data, solver, folds, unit):
        fitted.append(unit)
        return unit.name, [{"fold": unit.fold, **unit.path[0]}]

    monkeypatch.setattr("glocal.sweep.run.fit_path", fit_path)
    monkeypatch.setattr("glocal.sweep.run._choice", stop)
    with pytest.raises(InterruptedError):
        sweep(data, out=tmp_path, resume=True, **options)
    assert len(fitted) == n_paths


def test_a_path_without_a_file_is_walked_again(data, path_folder, tmp_path):
    """A resumed sweep walks a path whose file is missing, and loses and doubles no row; a damaged
    file is refused with its name.
    """
    shutil.copytree(path_folder, tmp_path, dirs_exist_ok=True)
    rows = read_rows(path_folder / "points.jsonl")
    first, *_ = (tmp_path / "paths").iterdir()
    first.unlink()
    assert len(sweep(data, PATH, folds=2, out=tmp_path, resume=True).points) == len(rows)
    assert_same(read_rows(tmp_path / "points.jsonl"), rows)
    first.write_text('{"fold": 0}\n')
    with pytest.raises(FileError, match=first.name):
        sweep(data, PATH, folds=2, out=tmp_path, resume=True)


# processes


@pytest.mark.nightly
def test_several_processes_walk_to_the_same_rows(data, tmp_path):
    """Two jobs give the same rows, the same means in the same order, and the same choice as one."""
    grid = {"method": ["global"], "lmbda": [1, 3]}
    serial, parallel = (
        sweep(data, grid, folds=2, jobs=jobs, out=tmp_path / str(jobs)) for jobs in (1, 2)
    )
    pd.testing.assert_frame_equal(
        serial.means.drop(columns="seconds"), parallel.means.drop(columns="seconds")
    )
    np.testing.assert_array_equal(serial.transform.weights, parallel.transform.weights)
    assert_same(*(read_rows(tmp_path / str(jobs) / "points.jsonl") for jobs in (1, 2)))


@pytest.mark.nightly
def test_a_sweep_that_is_killed_three_times_ends_as_an_undisturbed_one(
    swept, data, files, tmp_path, started
):
    """A sweep that is killed three times keeps every finished path, and loses or doubles no row."""
    out = tmp_path / "s"
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    command = [
        sys.executable,
        "-c",
        "from glocal.cli import main; main()",
        *arguments(files, out, "--folds", "2", "--resume"),
    ]
    n_rows = 0
    for _ in range(3):
        process = started(command, stderr=subprocess.DEVNULL, env=environment)
        while process.poll() is None and (
            not (out / "points.jsonl").exists() or lines(out) == n_rows
        ):
            time.sleep(0.005)
        process.kill()
        process.wait()
        assert lines(out) >= n_rows
        n_rows = lines(out)
    assert execute(arguments(files, out, "--folds", "2", "--resume")) == 0
    assert_same(read_rows(out / "points.jsonl"), swept.points)


def lines(out):
    path = out / "points.jsonl"
    return len(read_rows(path)) if path.stat().st_size else 0  # it is made before it is written


@pytest.mark.nightly
def test_a_process_that_dies_ends_the_sweep_in_one_sentence(data, tmp_path, monkeypatch):
    """The death of a process ends the sweep with an error that names resuming, after which a new
    sweep has all its rows.
    """
    with pytest.raises(ClusterError, match="resume"):
        sweep(data, GRID, folds=2, out=tmp_path, jobs=2, solver=Dying())
    result = sweep(data, GRID, folds=2, out=tmp_path / "again", jobs=2)
    assert len(result.points) == 22


class Dying(Exact):
    """A solver that kills its process when it starts to fit `global`."""

    def minimise(self, problem, arm, *arguments, **options):
        if arm.method == "global":
            os.kill(os.getpid(), 9)
        return super().minimise(problem, arm, *arguments, **options)


# a cluster


@pytest.fixture
def cluster():
    """A cluster of two workers, each a process with one thread."""
    distributed = pytest.importorskip("distributed")
    options = {
        "n_workers": 2,
        "threads_per_worker": 1,
        "processes": True,
        "dashboard_address": None,
    }
    with distributed.LocalCluster(**options) as running:
        yield running


def test_a_cluster_gives_the_rows_of_one_process(data, swept, cluster, tmp_path):
    """A cluster, named by its address or its scheduler file, gives the rows of one process; an
    address without a cluster is refused.
    """
    result = sweep(data, GRID, folds=2, out=tmp_path / "s", scheduler=cluster.scheduler_address)
    assert_same(result.points, swept.points)
    assert_same(read_rows(tmp_path / "s" / "points.jsonl"), swept.points)
    small = {"method": ["global"], "lmbda": [1]}
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.scheduler_address}))
    assert len(sweep(data, small, folds=2, scheduler=str(file)).points) == 4
    with pytest.raises(ParameterError, match="scheduler"):
        sweep(data, GRID, scheduler="tcp://127.0.0.1:9")


def test_a_dead_worker_costs_no_row(data, swept, cluster, tmp_path):
    """If one of two workers is killed, its path is walked again, and no row is lost or doubled."""
    killed = []

    def kill(row, n_points, total):
        if not killed:
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
            killed.append(n_points)

    options = {"scheduler": cluster.scheduler_address, "progress": kill}
    result = sweep(data, GRID, folds=2, out=tmp_path / "s", **options)
    assert killed[0] < len(result.points)
    assert_same(result.points, swept.points)
    assert_same(read_rows(tmp_path / "s" / "points.jsonl"), swept.points)


# the command


def test_the_command_shows_the_front_and_the_choice(files, tmp_path, capsys):
    """The command prints the choice, or with `--json` one object, and refuses an
    unknown rule, or two, before it writes anything.
    """
    assert execute(arguments(files, tmp_path / "s", "--folds", "2", grid="path.toml")) == 0
    shown = capsys.readouterr()
    assert "chosen: " in shown.out
    assert (
        execute(
            arguments(files, tmp_path / "s", "--folds", "2", "--resume", "--json", grid="path.toml")
        )
        == 0
    )
    summary = json.loads(capsys.readouterr().out)
    assert summary["points"] == 6
    assert summary["keep"] == 0.9
    assert summary["out"] == str(tmp_path / "s")
    for rules in (("best",), ("loss", "--keep", "0.9")):
        assert execute(arguments(files, tmp_path / "t", "--select", *rules)) == 2
    assert not (tmp_path / "t").exists()


def test_an_interrupted_sweep_keeps_its_finished_paths(files, tmp_path, capsys, monkeypatch, data):
    """Ctrl-C ends the command with exit code 130 and names `--resume`, which then goes on."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("glocal.sweep.run._points", interrupt)
        assert execute(arguments(files, tmp_path / "s", "--folds", "2", grid="path.toml")) == 130
    assert "--resume" in capsys.readouterr().err
    assert (
        execute(arguments(files, tmp_path / "s", "--folds", "2", "--resume", grid="path.toml")) == 0
    )
