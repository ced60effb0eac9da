"""The sweep: its grid, paths, points, choice and folder, resuming, and the command."""

import dataclasses
import io
import itertools
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fits import fold_means
from world import folder, run, table

from glocal import (
    Exact,
    Features,
    FitData,
    LinearTransform,
    ObjectiveSettings,
    PaperLoop,
    fit,
    simulated_world,
)
from glocal.aligner.driver import fit_path
from glocal.aligner.folds import fit_folds
from glocal.aligner.store import PathStore
from glocal.errors import ClusterError, DataError, DivergedError, FileError, ParameterError
from glocal.evaluation.view import load_view
from glocal.jsonlines import read_rows
from glocal.sweep import choose, pareto_front, read_grid, sweep
from glocal.sweep.choice import means_over_folds
from glocal.sweep.grid import PAPER, paths
from glocal.sweep.plan import sweep_plan

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits
GRID = {"method": ["global", "glocal"], "alpha": [0.1, 0.5], "lmbda": [0.1, 1], "tau": [0.1, 0.5]}
PATH = {"method": ["global", "glocal"], "lmbda": [1]}
LOOSE = Exact(tol=1e-3)
KEY = ["fold", "method", "lmbda", "alpha", "tau"]
SCORES = ["objective", "agreement", "neighbours_kept", "loss", "evaluations"]


@pytest.fixture(scope="module")
def data():
    world = simulated_world(n_answers=5_400, n_local=90, n_object=4, dimensions=32)
    return FitData(world.objects, world.answers, world.local)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def swept(data, out):
    return sweep(data, GRID, folds=2, out=out, select="loss")


def assert_same(points, expected):
    """Assert that both lists hold the same points with the same scores, in any order."""
    tables = [
        pd.DataFrame(rows).sort_values(KEY)[KEY + SCORES].reset_index(drop=True)
        for rows in (points, expected)
    ]
    pd.testing.assert_frame_equal(*tables)


def settings(grid, **options):
    return read_grid(grid, **options).settings()


# the grid


def test_the_grids_that_are_built_in():
    """The grid `paper` has the paper's 64 settings with alpha below 1, or 256 with learning rates,
    and the grid `arms` has `global` and `glocal`, with λ in multiples of a unit. In any grid each
    method may have its own values of λ.
    """
    assert len(settings("paper", local=True)) == 64
    assert len(read_grid("paper", local=True, eta=True).eta) == 4
    arms = settings("arms", local=True, smallest=0.3)
    assert len(arms) == 17
    assert {setting.method for setting in arms} == {"global", "glocal"}
    assert settings("arms", local=False, smallest=0.3) == arms[:5]
    assert list(dict.fromkeys(setting.lmbda for setting in arms)) == [30, 9, 3, 0.9, 0.3]
    own = settings({"lmbda": {"global": [1, 3], "glocal": 0.3}}, local=True)
    pairs = [(setting.method, setting.lmbda) for setting in own]
    assert pairs == [("global", 3.0), ("global", 1.0), ("glocal", 0.3)]


def test_a_path_moves_to_neighbours_only():
    """A path has one lmbda and mix, begins at `global`, and each step moves alpha or tau by one
    place in the grid, alpha only upwards; `naive` has its own path.
    """
    grid = PAPER.replace(method=["naive", "glocal", "global"], mix=[0.9, 1]).settings()
    all_paths = paths(grid)
    assert [len(path) for path in all_paths] == [17] * 8 + [1] * 4
    assert sorted(map(str, itertools.chain(*all_paths))) == sorted(map(str, grid))
    for first, *path in all_paths[:8]:
        assert first.method == "global"
        assert len({(setting.lmbda, setting.mix) for setting in (first, *path)}) == 1
        places = [(PAPER.alpha.index(s.alpha), PAPER.tau.index(s.tau)) for s in path]
        steps = np.diff(places, axis=0)
        assert (np.abs(steps).sum(axis=1) == 1).all()
        assert (steps[:, 0] >= 0).all()
    assert [len(path) for path in paths(grid, warm=False)] == [1] * len(grid)


BAD_GRIDS = """gamma: alpha = [0.1]; gamma = [0.1]
alpha: alpha = [1]
lmbda: lmbda = [-1]
tau: tau = []
mix: mix = [1.5]
method: method = 'best'
twice: alpha = [0.1, 0.1]
eta: eta = [0.1]
global: method = ['naive', 'global']; lmbda = {naive = [1]}
grid: alpha = ["""


@table("noun, toml", BAD_GRIDS.replace(": ", " | "))
def test_bad_grids_are_refused(noun, toml, tmp_path):
    """A grid file with an unknown key or a value that is not allowed is bad content. A list for
    another solver is a wrong call.
    """
    files = folder(tmp_path, grid_toml=toml.replace("; ", "\n"))
    with pytest.raises(ParameterError if noun == "eta" else FileError, match=noun):
        settings(files / "grid.toml", local=True)


# points


@pytest.mark.nightly
def test_a_point_is_the_fit_that_one_would_run(swept, data):
    """A point has the scores of a single fit on the training part of its fold, scored on the
    held-out part; the original features are scored too, at the scale that fits the answers best.
    """
    points = swept.points.replace({np.nan: None}).to_dict("records")
    original, fitted = points[:2], points[2:]
    assert [point["neighbours_kept"] for point in original] == [1, 1]
    assert max(point["loss"] for point in original) < np.log(3)
    assert len({*map(str, fitted)}) == len(fitted) == 2 * 10
    for point in fitted[::7]:
        fold = fit_folds(data, 2, "objects")[point["fold"]]
        arm = ObjectiveSettings.from_values({name: point[name] for name in ("mix", *KEY[1:])})
        single = fit(fold.data, arm, Exact(tol=1e-4))
        assert point["status"] == "converged"
        assert point["objective"] == pytest.approx(single.record.objective, rel=5e-4)
        scores = [point[name] for name in ("agreement", "loss", "neighbours_kept")]
        assert scores == pytest.approx(fold_means(data, [fold], [single.transform]), abs=0.01)
        assert point["n_heldout"] == len(fold.answers)
        assert point["n_images"] == len(fold.rows)


def test_a_path_takes_fewer_evaluations_than_cold_fits(data):
    """Each fit on a path starts at the previous optimum, `glocal` at that of `global`."""
    (path,) = paths(settings(PATH, local=True))
    problem = Exact().problem(fit_folds(data, 2)[0].data)
    (first, second), [cold_first], [cold] = (
        [outcome.report for outcome in fit_path(problem, part, 0)[2]]
        for part in (path, path[:1], path[1:])
    )
    assert first.evaluations == cold_first.evaluations
    assert second.evaluations < 0.7 * cold.evaluations
    assert second.objective == pytest.approx(cold.objective, rel=1e-5)


def test_points_whose_optimum_is_0_have_no_scores(data):
    """A point with the optimum 0 is a row with λ_max but without scores, and has no mean; a sweep
    without other points is refused.
    """
    result = sweep(data, {"method": ["naive"], "lmbda": [0.05, 100]}, folds=2, solver=LOOSE)
    assert result.means["lmbda"].dropna().tolist() == [0.05]
    trivial = result.points[result.points["status"] == "trivial"]
    assert trivial["lmbda"].tolist() == [100, 100]
    assert trivial["agreement"].isna().all()
    assert (trivial["lambda_max"] < 100).all()
    with pytest.raises(ParameterError, match="lmbda"):
        sweep(data, {"method": ["naive"], "lmbda": [100]}, folds=2)


def test_few_answers_are_held_out_by_questions(data):
    """With few answers and no local images a sweep holds out questions, says so, counts neighbours
    among all objects that they name, chooses by the loss, as a fit does, and its λ are multiples of
    p / t, with the t that the weights leave. It tells how many of all points are done.
    """
    answers = replace(data.answers.select(np.arange(1000)), weights=np.resize([1.0, 3.0], 1000))
    few = FitData(data.features, answers)
    steps = []
    result = sweep(few, folds=2, solver=LOOSE, progress=lambda row, *step: steps.append(step))
    assert result.means["lmbda"].dropna().tolist() == [4.0, 1.2, 0.4, 0.12, 0.04]
    summary = result.transform.record.sweep
    assert summary.fold_unit == "questions"
    assert summary.keep is None
    assert set(result.points["n_images"]) == {len(answers.named_objects())}
    assert steps[-1] == (len(result.points), len(result.points))


class Diverging(PaperLoop):
    """A loop that diverges at a learning rate of 1, and does not converge at others."""

    def solve(self, data, arm, *arguments):
        if self.eta == 1:
            raise DivergedError("too long", 7)
        return Exact(max_evaluations=2).solve(data, arm)


@pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")
def test_fits_that_diverge_or_do_not_converge_say_so(data):
    """A point that diverged has its steps, but no scores and no mean, and the held-out scores of a
    choice that did not converge say so.
    """
    grid = {"method": ["global"], "lmbda": [1], "eta": [0.1, 1]}
    result = sweep(data, grid, folds=2, solver=Diverging())
    diverged = result.points[result.points["status"] == "diverged"]
    assert diverged["eta"].tolist() == [1, 1]
    assert diverged["evaluations"].tolist() == [7, 7]
    assert diverged["agreement"].isna().all()
    assert result.best["eta"] == 0.1
    assert not result.heldout.converged


def test_what_cannot_be_scored_is_refused(data, tmp_path):
    """A sweep is refused before anything is written if a fold would hold out too few objects or
    answers to questions, no process may fit, or the grid needs local images.
    """
    images = data.local_features.matrix
    for noun, changes, options in (
        ("jobs", {}, {"jobs": 0}),
        ("folds", {}, {"folds": 200}),
        ("5 columns", {"local_features": Features(images[:, :5])}, {}),
        ("questions", {"answers": data.answers.select(np.arange(2))}, {}),
        ("glocal", {"local_features": None}, {}),
    ):
        with pytest.raises((ParameterError, DataError), match=noun):
            sweep(replace(data, **changes), GRID, out=tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


# the choice


def numbers(text):
    """A table of numbers of `glocal`."""
    return pd.read_csv(io.StringIO(text), sep=r"\s+").assign(method="glocal", mix=1.0)


def test_means_are_of_settings_that_every_fold_has_scored():
    """A mean needs scores of every fold, and has standard errors, the summed evaluations and
    seconds, and whether all points converged.
    """
    points = numbers(
        """fold alpha lmbda tau agreement loss neighbours_kept evaluations status seconds
        0 0.1 1 0.5 0.4 1 0.5 1 converged 1
        1 0.1 1 0.5 0.5 1 0.5 5 budget 2
        0 0.5 1 0.5 0.4 1 0.5 1 converged 1
        0 0.7 1 0.5 0.4 1 0.5 1 converged 1
        1 0.7 1 0.5 nan 1 0.5 5 budget 2"""
    )
    (mean,) = means_over_folds(points.to_dict("records"), 2).to_dict("records")
    expected = {"alpha": 0.1, "evaluations": 6, "seconds": 3, "converged": False}
    assert mean | expected == mean
    assert (mean["agreement"], mean["agreement_se"]) == pytest.approx((0.45, 0.05))


def test_the_front():
    """The front drops dominated rows; of rows with equal scores, the smallest alpha stays."""
    means = numbers(
        """alpha agreement neighbours_kept
        0.9 0.4 1
        0.8 0.5 1
        0.5 0.6 0.7
        0.3 0.6 0.6
        0.4 0.6 0.7
        0.1 0.5 0.9"""
    )
    assert pareto_front(means)["alpha"].tolist() == [0.8, 0.4]


def test_choices_on_paper():
    """Each rule chooses the right row, of equal ones that with the smallest alpha, and gives a
    reason. `naive` is chosen only if there is nothing else.
    """
    means = numbers(
        """alpha agreement neighbours_kept neighbours_kept_se loss
        0.9 0.4 1 0 1.2
        0.7 0.55 0.9 0 1
        0.5 0.55 0.9 0 1
        0.1 0.6 0.2 0 0.9"""
    )
    naive = means.assign(method=["glocal"] * 3 + ["naive"])
    for rows, keep, alpha in (
        (means, None, 0.1),
        (means, 0.9, 0.5),
        (means, 0.95, 0.9),
        (means, 0.2, 0.1),
        (means[1:], 0.95, 0.5),  # no setting keeps so many: the nearest one
        (means.assign(neighbours_kept_se=[0, 0, 0.01, 0]), 0.9, 0.7),  # an error below the mean
        (naive, None, 0.5),
        (naive, 0.1, 0.5),
        (naive[3:], None, 0.1),
        (naive[3:], 0.1, 0.1),
    ):
        chosen, reason = choose(rows, keep)
        assert (rows.loc[chosen, "alpha"], bool(reason)) == (alpha, True), keep


def test_the_choice_is_refitted_on_everything(swept, data):
    """The transform is fitted to every answer and carries the rule, the reason and the held-out
    scores, which are those over all folds.
    """
    record = swept.transform.record
    assert record.fit.n_answers == len(data.answers)
    assert record.fit.lmbda == swept.best["lmbda"]
    assert record.fit.heldout == swept.heldout
    assert record.sweep.keep is None
    assert record.sweep.reason == swept.reason
    assert swept.best["loss"] == swept.means["loss"].min()
    assert swept.means["chosen"].sum() == 1
    expected = {name: pytest.approx(swept.best[name], abs=0.01) for name in SCORES[1:4]}
    expected |= {"of": "objects", "folds": 2, "n": swept.points["n_heldout"][:2].sum()}
    heldout = swept.heldout.model_dump()
    assert heldout | expected == heldout


def test_a_choice_that_is_stored_is_not_fitted_again_without_each_fold(data, tmp_path, monkeypatch):
    """With a folder, the fits of a sweep are those of its points and of the choice on all data, and
    the held-out scores are those of the points, weighted by their answers.
    """
    sizes = []
    minimise = Exact.minimise

    def count(self, problem, *arguments, **options):
        sizes.append(len(problem.data.answers))
        return minimise(self, problem, *arguments, **options)

    monkeypatch.setattr(Exact, "minimise", count)
    result = sweep(data, PATH, folds=2, out=tmp_path, solver=LOOSE)
    assert len(sizes) == 2 * 2 + 1
    assert sizes.count(len(data.answers)) == 1
    points = result.points[result.points["method"] == result.best["method"]]
    agreement = np.average(points["agreement"], weights=points["n_heldout"])
    assert result.heldout.agreement == pytest.approx(agreement)


# the folder


def test_the_folder_holds_what_it_promises(swept, out):
    """The folder holds rows, tables, the refitted choice, two views, and a file for each path, but
    no solver state.
    """
    files = [path for path in out.rglob("*") if path.is_file()]
    assert sum(path.parent.name == "paths" for path in files) == 2 * 2
    names = "chosen.npz front.csv means.csv original.npz points.jsonl sweep.json transform.npz"
    assert " ".join(sorted(f.name for f in files if f.parent.name != "paths")) == names
    assert_same(read_rows(out / "points.jsonl"), swept.points)
    front = pd.read_csv(out / "front.csv")
    assert (front["method"] == "original").tolist() == [True] + [False] * (len(front) - 1)
    assert front["agreement"][1:].is_monotonic_increasing
    assert front["front"][1:].all()
    change = load_view(out / "views/chosen.npz").meta["change"]
    assert change["is_unseen"] is True
    assert sum(change["flips"]["counts"].values()) == swept.heldout.n
    saved = LinearTransform.load(out / "transform.npz")
    np.testing.assert_array_equal(saved.weights, swept.transform.weights)
    assert json.loads((out / "sweep.json").read_text("utf-8"))["solver"]["tol"] == 3e-4


def test_a_resumed_sweep_fits_only_what_is_missing(data, swept, out, tmp_path, monkeypatch):
    """A sweep goes on only if it is told to; it then may choose anew, and of the same choice has
    the same scores. It walks a path whose file is missing, and loses and doubles no row; a damaged
    file is refused with its name.
    """
    options = {"folds": 2, "out": shutil.copytree(out, tmp_path / "s")}
    with pytest.raises(ParameterError, match="resume"):
        sweep(data, GRID, **options)
    options["resume"] = True
    with monkeypatch.context() as patch:
        patch.setattr("glocal.aligner.driver.fit_path", None)
        again = sweep(data, GRID, select="loss", **options)
        other = sweep(data, GRID, keep=1, **options)
    assert again.heldout == swept.heldout
    assert again.best["neighbours_kept"] < other.best["neighbours_kept"]
    path, *_ = (tmp_path / "s/paths").iterdir()
    path.unlink()
    points = sweep(data, GRID, **options).points
    for rows in (points, read_rows(tmp_path / "s/points.jsonl")):
        assert_same(rows, swept.points)
    path.write_bytes(b"PK")
    with pytest.raises(FileError, match=path.name):
        sweep(data, GRID, **options)


def names(data, grid=PATH, folds=2, solver=LOOSE):
    """The names of the paths of a sweep, which are hashes of what determines them."""
    plan = sweep_plan(data, grid, folds, solver)
    store = PathStore(Path())
    return {
        store.file(problem, path).stem
        for solver in plan.solvers.values()
        for problem in plan.problems(solver)
        for path in plan.paths
    }


def test_exactly_the_paths_that_depend_on_a_change_are_fitted_again(data):
    """A path is another one if any input that determines it has changed, and no other path is."""
    answers = data.answers
    values = {
        "features": Features(data.features.matrix[::-1].copy()),
        "answers": answers.select(np.arange(99, len(answers))),
        "local_features": Features(data.local_features.matrix[::-1].copy()),
        "objects": np.arange(1, len(data.features)),
        "images": np.arange(1, 90),
    }
    values |= {"block_size": 50, "seed": 43, "centre": 1, "normalize": True}
    assert {*values, "n_dropped"} == {field.name for field in dataclasses.fields(FitData)}
    changes = [
        *values.items(),
        ("answers", replace(answers, weights=np.arange(len(answers)) % 2 + 1.0)),
        ("answers", replace(answers, kind="anchor")),
    ]
    before = names(data)
    for name, value in changes:
        assert len(names(replace(data, **{name: value})) - before) == 2, name
    for n_paths, options in (
        (2, {"grid": PATH | {"lmbda": [1, 0.9]}}),  # the old paths and that of the other lmbda
        (2, {"grid": PATH | {"tau": [0.3]}}),
        (3, {"folds": 3}),
        (2, {"solver": LOOSE.replace(tol=1e-2)}),  # the original features are not fitted
        (4, {"solver": PaperLoop()}),  # each setting is a path
    ):
        assert len(names(data, **options) - before) == n_paths, options


# processes


@pytest.mark.nightly
def test_several_processes_walk_to_the_same_rows(data, swept, tmp_path):
    """Two jobs give the same rows, the same means in the same order, and the same choice as one,
    also after the death of a process, which ends a sweep with an error that names resuming.
    """
    options = {"folds": 2, "jobs": 2, "out": tmp_path, "select": "loss"}
    with pytest.raises(ClusterError, match="resume"):
        sweep(data, GRID, solver=Dying(), **options)
    parallel = sweep(data, GRID, resume=True, **options)
    means = [result.means.drop(columns="seconds") for result in (swept, parallel)]
    pd.testing.assert_frame_equal(*means)
    np.testing.assert_array_equal(swept.transform.weights, parallel.transform.weights)
    for points in (parallel.points, read_rows(tmp_path / "points.jsonl")):
        assert_same(points, swept.points)


class Dying(Exact):
    """A solver that kills its process when it starts to fit `global`."""

    def minimise(self, problem, arm, *arguments, **options):
        if arm.method == "global":
            os.kill(os.getpid(), 9)
        return super().minimise(problem, arm, *arguments, **options)


# a cluster


@pytest.mark.nightly
def test_a_cluster_gives_the_rows_of_one_process(data, swept, tmp_path):
    """A cluster, named by its address or its scheduler file, gives the rows of one process, also if
    one of two workers is killed; an address without a cluster is refused.
    """
    distributed = pytest.importorskip("distributed")
    small = {"method": ["global"], "lmbda": [1]}
    file = tmp_path / "scheduler.json"
    killed = []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:

        def kill(row, n_points, total):
            if not killed:
                os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
                killed.append(n_points)

        options = {"scheduler": cluster.scheduler_address, "progress": kill}
        result = sweep(data, GRID, folds=2, out=tmp_path / "s", **options)
        file.write_text(json.dumps({"address": cluster.scheduler_address}), "utf-8")
        assert len(sweep(data, small, folds=2, scheduler=str(file)).points) == 4
    assert killed[0] < len(result.points)
    for points in (result.points, read_rows(tmp_path / "s" / "points.jsonl")):
        assert_same(points, swept.points)
    with pytest.raises(ParameterError, match="scheduler"):
        sweep(data, GRID, scheduler="tcp://127.0.0.1:9")


# the command


def test_the_command_goes_on_after_ctrl_c_and_shows_the_choice(data, here, monkeypatch):
    """Ctrl-C ends the command with exit code 130 and names `--resume`, which then goes on. The
    command prints the choice, or with `--json` one object, and refuses an unknown rule, or two,
    before it writes anything.
    """

    def interrupt(*_):
        raise KeyboardInterrupt

    folder(
        here,
        x_npy=data.features.matrix, t_npy=data.answers.objects, l_npy=data.local_features.matrix,
        grid_toml="alpha = [0.1, 0.5]\nlmbda = 1\n",
    )  # fmt: skip
    inputs = "--features x.npy --answers t.npy --local-features l.npy --grid grid.toml"
    line = f"sweep {inputs} --folds 2 --out"
    command = f"{line} s --tol 0.1"
    with monkeypatch.context() as patch:
        patch.setattr("glocal.sweep.run._choice", interrupt)
        assert "--resume" in run(command).error(130)
    assert "chosen: " in run(f"{command} --resume").out
    summary = run(f"{command} --resume --json").json
    assert summary | {"points": 6, "keep": 0.9, "out": "s"} == summary
    for rules in ("best", "loss --keep 0.9"):
        assert run(f"{line} t --select {rules}").code == 2
    assert not (here / "t").exists()
