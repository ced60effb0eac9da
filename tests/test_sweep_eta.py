"""The sweep with the mini-batch solver: learning rates in the grid, each point a cold fit, the choice refitted so."""

import json
import os
import signal
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from glocal.aligner import Validation, fit_arm
from glocal.aligner.profile import MODERN, NEURIPS2023
from glocal.cli.app import execute
from glocal.data.features import Features
from glocal.data.splits import object_folds, split_triplets
from glocal.data.world import simulated_world
from glocal.errors import MissingDependencyError, ParameterError
from glocal.evaluation.views import load_view
from glocal.report.fronts import fronts
from glocal.report.loading import load_run
from glocal.results import read_rows
from glocal.sweep import Grid, Sweep
from glocal.transform import LinearTransform

pytestmark = [pytest.mark.nightly, pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")]
QUICK = {"max_epochs": 2, "min_epochs": 2, "min_epochs_global": 2}
AUTHORS = replace(NEURIPS2023, **QUICK)
GRID = {"alpha": [0.1, 1.0], "lmbda": [0.1], "tau": [0.25], "eta": [1e-3, 1e-2]}
KEY = ["fold", "method", "alpha", "lmbda", "tau", "eta"]


@pytest.fixture(scope="module")
def small():
    return simulated_world(n_triplets=20_000, n_local=120)


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory):
    """A finished sweep of the authors' procedure."""
    out = tmp_path_factory.mktemp("sweep") / "s"
    sweep(small, GRID, profile=AUTHORS, out=out)
    return out


def sweep(small, grid, *, out=None, resume=False, **options):
    options = {"folds": 2, "select": "neighbours_kept>=0", **options}
    search = Sweep(grid, **options)
    return search.fit(small.objects, small.triplets, local_features=small.local, out=out, resume=resume)


def test_the_papers_grid_has_its_learning_rates():
    """320 settings on three folds with the loop, of which 768 need a fit; the exact solver's grid has none."""
    points = [point for path in Grid.load("paper", "minibatch").paths(3) for point in path]
    assert (len(points), sum(point.fitted for point in points)) == (960, 768)
    assert len({point.key for point in points}) == 960
    assert sorted({point.eta for point in points}) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert {point.eta for path in Grid.load("paper").paths(3) for point in path} == {None}


@pytest.mark.parametrize("options", [{}, {"profile": "neurips2023", "solver": "lbfgs"}])
def test_learning_rates_of_the_exact_solver_are_refused(small, options):
    """A grid with eta and the solver without one contradict each other: one sentence, before anything is read."""
    with pytest.raises(ParameterError, match="lists eta but solver lbfgs has no learning rate") as said:
        sweep(small, GRID, **options)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("eta", "sentence"),
    [([], "lists no eta"), ([0.1, 0.1], "twice"), ([0.0], "eta = 0.0; allowed is a finite number above 0")],
)
def test_learning_rates_out_of_range_are_refused(eta, sentence):
    """The list of learning rates is checked like the others."""
    with pytest.raises(ParameterError, match=sentence):
        Grid.of({"eta": eta})


def test_without_learning_rates_the_profiles_is_taken(small):
    """A grid of one's own without eta is walked with the one of the profile, also without a local term."""
    grid = {"lmbda": [0.1], "method": ["global", "naive"]}
    found = sweep(small, grid, profile=replace(AUTHORS, eta=0.02), optimiser="adam")
    assert set(found.results_["eta"]) == {0.02}
    assert found.results_["method"].tolist() == ["global", "naive"] * 2
    assert found.transform_.meta["fit"]["optimiser"] == "adam"


def test_every_point_says_how_its_loop_went(folder):
    """A row has eta, status, steps and epochs; only at alpha = 1, where nothing is fitted, it is called converged."""
    rows = pd.DataFrame(read_rows(folder / "points.jsonl"))
    assert not rows.duplicated(KEY).any()
    assert len(rows) == 2 * 2 * 2
    fitted = rows[rows["alpha"] < 1]
    assert set(fitted["status"]) == {"budget"}
    assert not fitted["converged"].any()
    assert (fitted["steps"] == fitted["evaluations"]).all()
    assert (fitted["steps"] == fitted["epochs"] * np.ceil(fitted["n_train"] / 256)).all()
    unfitted = rows[rows["alpha"] == 1]
    assert (unfitted["steps"] == 0).all()
    assert (unfitted["neighbours_kept"] == 1).all()
    assert len(list((folder / "transforms").iterdir())) == 8


@pytest.mark.parametrize("profile", [AUTHORS, replace(MODERN, solver="minibatch", **QUICK)], ids=lambda p: p.name)
def test_a_point_is_the_fit_that_one_would_run(small, profile, tmp_path):
    """On the training part of its fold, bit by bit; the held-out part is watched where the profile keeps a fold."""
    sweep(small, {**GRID, "alpha": [0.1], "eta": [0.01]}, profile=profile, out=tmp_path)
    n, m = len(small.objects), len(small.local)
    train, heldout = split_triplets(small.triplets, n, folds=2, fold=1, seed=42)
    held_images = np.sort(object_folds(m, 2, 42)[1])
    rest = np.setdiff1d(np.arange(m), held_images)
    local, images = (Features(small.local.matrix[rows], None, "local") for rows in (rest, held_images))
    watched = None if profile.validation_folds is None else Validation(small.triplets.select(heldout), images)
    fit = fit_arm(
        small.objects, small.triplets.select(train), local_features=local, alpha=0.1, lmbda=0.1, tau=0.25,
        profile=profile, validation=watched,
    )  # fmt: skip
    point = LinearTransform.load(tmp_path / "transforms" / "fold1-glocal-lmbda0.1-eta0.01-alpha0.1-tau0.25.npz")
    np.testing.assert_array_equal(point.weights, fit.transform.weights)
    assert point.meta["point"]["objective"] == pytest.approx(fit.record.objective, rel=1e-6)


def test_the_choice_is_over_eta_too(small, folder):
    """Means have a line for each eta, the chosen one goes into the fit on all objects, by the same procedure."""
    means = pd.read_csv(folder / "means.csv")
    assert sorted(zip(means["alpha"], means["eta"], strict=True)) == [(0.1, 1e-3), (0.1, 1e-2), (1, 1e-3), (1, 1e-2)]
    transform = LinearTransform.load(folder / "transform.npz")
    best = means.sort_values("accuracy_cosine").iloc[-1]  # what the constraint that all satisfy chooses
    assert best["alpha"] == 0.1
    assert transform.meta["sweep"]["best"]["eta"] == best["eta"]
    fit = fit_arm(small.objects, small.triplets, local_features=small.local, profile=AUTHORS, eta=best["eta"])
    np.testing.assert_array_equal(transform.weights, fit.transform.weights)
    assert fit.record.n_fitted < len(small.triplets)  # the profile keeps a fold of its own for the stopping rule
    front = pd.read_csv(folder / "front.csv")
    assert front["chosen"].sum() == 1
    assert front[front["chosen"]]["eta"].item() == best["eta"]
    meta = load_view(folder / "views" / "chosen.npz").meta
    assert (meta["settings"]["eta"], meta["split"]) == (best["eta"], "heldout")


def test_a_report_tells_learning_rates_apart(folder):
    """Of the settings that differ in eta alone one is drawn as the choice, and eta has a slice of its own."""
    (front,) = fronts(load_run(folder))
    assert sum(point["chosen"] for point in front.points) == 1
    assert [name for _, name, _ in front.slices if name == "eta"] == ["eta"]


def test_a_fit_that_diverges_leaves_the_rest_alone(small):
    """Far too long steps are a row without scores and no mean; the choice is among the others."""
    found = sweep(small, {"lmbda": [0.1], "method": ["global"], "eta": [1e-2, 1e30]}, profile=AUTHORS)
    diverged = found.results_[found.results_["eta"] == 1e30]
    assert set(diverged["status"]) == {"diverged"}
    assert diverged["accuracy_cosine"].isna().all()
    assert (diverged["steps"] >= 1).all()
    assert found.means_["eta"].tolist() == [1e-2]
    assert found.best_["eta"] == 1e-2
    with pytest.raises(ParameterError, match="lower eta"):
        sweep(small, {"lmbda": [0.1], "method": ["global"], "eta": [1e30]}, profile=AUTHORS)


def test_folders_of_the_exact_solver_are_what_they_were(small, tmp_path):
    """Without the loop no file mentions eta, as in folders written before there was any."""
    sweep(small, {"alpha": [0.1], "lmbda": [0.1], "tau": [0.25]}, out=tmp_path)
    assert set(json.loads((tmp_path / "sweep.json").read_text())) == {
        "alpha", "lmbda", "tau", "method", "bias", "folds", "seed", "dtype", "tol", "max_evaluations", "block_size",
        "data", "local", "local_blocks", "local_standardized", "mean", "std", "version",
    }  # fmt: skip
    assert not any("eta" in row for row in read_rows(tmp_path / "points.jsonl"))
    assert "eta" not in pd.read_csv(tmp_path / "means.csv")
    assert (tmp_path / "transforms" / "fold0-glocal-lmbda0.1-alpha0.1-tau0.25.npz").exists()


def test_another_procedure_in_the_folder_is_refused(small, folder):
    """Resuming repeats nothing; a sweep whose profile or learning rates differ does not go on in the folder."""
    before = (folder / "points.jsonl").read_bytes()
    sweep(small, GRID, profile=AUTHORS, out=folder, resume=True)
    assert (folder / "points.jsonl").read_bytes() == before
    with pytest.raises(ParameterError, match=r"holds another sweep: eta, profile\.max_epochs differ"):
        sweep(small, {**GRID, "eta": [0.1]}, profile=replace(AUTHORS, max_epochs=3), out=folder, resume=True)


SCRIPT = textwrap.dedent(
    """
    import sys, warnings
    from dataclasses import replace
    from glocal.aligner.profile import NEURIPS2023
    from glocal.data.world import simulated_world
    from glocal.sweep import Sweep

    warnings.simplefilter("ignore")
    small = simulated_world(n_triplets=20_000, n_local=120)
    profile = replace(NEURIPS2023, max_epochs=2, min_epochs=2)
    grid = {"alpha": [0.1, 1.0], "lmbda": [0.1], "tau": [0.25], "eta": [1e-3, 1e-2]}
    Sweep(grid, folds=2, select="val-loss", profile=profile).fit(
        small.objects, small.triplets, local_features=small.local, out=sys.argv[1], resume=True
    )
    """
)


def test_processes_share_a_folder_and_one_may_die(folder, tmp_path, started):
    """Of two processes one is killed after its first points: the other finishes the grid, each point once."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "s")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = started(command, env=environment)
    points = tmp_path / "s" / "points.jsonl"
    while not points.exists() and first.poll() is None:
        time.sleep(0.01)
    second = started(command, env=environment)
    first.send_signal(signal.SIGKILL)
    first.wait()  # killed, or done before the signal came
    assert second.wait() == 0
    shared, alone = (
        pd.DataFrame(read_rows(path / "points.jsonl")).sort_values(KEY).reset_index(drop=True)
        for path in (tmp_path / "s", folder)
    )
    assert not shared.duplicated(KEY).any()
    scores = ["objective", "accuracy_cosine", "neighbours_kept", "loss", "local_loss"]
    np.testing.assert_allclose(shared[scores], alone[scores], atol=1e-4)


def test_the_command_sweeps_with_the_papers_procedure(small, tmp_path, capsys):
    """glocal sweep --profile neurips2023 reads eta from the grid, says how the loops ended, and shows eta."""
    few = small.triplets.answers[:2500]
    for name, array in (("x", small.objects.matrix), ("t", few), ("l", small.local.matrix)):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "grid.toml").write_text("method = ['global']\nlmbda = [0.1]\neta = [0.01, 0.1]\n")
    command = ["sweep", "--folds", "2", "--profile", "neurips2023", "--out", str(tmp_path / "s")]
    for option, name in (("features", "x.npy"), ("triplets", "t.npy"), ("local-features", "l.npy")):
        command += [f"--{option}", str(tmp_path / name)]
    assert execute([*command, "--grid", str(tmp_path / "grid.toml")]) == 0
    out, err = capsys.readouterr()
    assert "of 4 points the stopping rule ended" in err
    assert "eta" in out
    assert {row["eta"] for row in read_rows(tmp_path / "s" / "points.jsonl")} == {0.01, 0.1}
    assert execute([*command, "--grid", str(tmp_path / "grid.toml"), "--solver", "lbfgs"]) == 1
    assert "lists eta but solver lbfgs" in capsys.readouterr().err


def test_without_lightning_a_sentence_says_what_to_install(small, monkeypatch):
    """The extra is named where the sweep needs the loop and Lightning is missing."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glocal\[paper\]'"):
        sweep(small, GRID, solver="minibatch")
