"""The sweep on a Dask cluster: a real scheduler, workers that die, finished points that stay."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import glocal
from glocal.aligner.profile import NEURIPS2023
from glocal.cli.app import execute
from glocal.data.world import simulated_world
from glocal.errors import ClusterError, ParameterError
from glocal.results import read_rows
from glocal.sweep import Sweep

pytestmark = pytest.mark.nightly

GRID = {"alpha": [0.1, 0.5, 1.0], "lmbda": [0.1, 1.0], "tau": [0.1, 0.5]}
KEY = ["fold", "alpha", "lmbda", "tau"]
SCORES = ["objective", "accuracy_cosine", "accuracy_dot", "neighbours_kept", "loss", "local_loss", "evaluations"]


@pytest.fixture(scope="module")
def small():
    return simulated_world(n_triplets=20_000, n_local=120)


@pytest.fixture(scope="module")
def alone(small):
    """The same sweep in one process."""
    return Sweep(GRID, select="val-loss").fit(small.objects, small.triplets, local_features=small.local)


def same(one, other):
    tables = [sweep.results_.sort_values(KEY).reset_index(drop=True)[SCORES] for sweep in (one, other)]
    assert np.allclose(*tables, atol=1e-4, rtol=0)


def test_a_cluster_gives_the_points_of_one_process(small, alone, cluster, tmp_path):
    """Two workers finish every point once, with the numbers, originals, choice and files of a sweep in process."""
    seen = []
    sweep = Sweep(GRID, select="val-loss").fit(
        small.objects, small.triplets, local_features=small.local, out=tmp_path / "s", scheduler=cluster.address,
        progress=lambda row, done, total: seen.append((done, total)),
    )  # fmt: skip
    same(sweep, alone)
    assert seen == [(number, 36) for number in range(1, 37)]
    assert sweep.best_["alpha"] == alone.best_["alpha"]
    assert sweep.front_["neighbours_kept"].iloc[0] == alone.front_["neighbours_kept"].iloc[0] == 1
    assert len(read_rows(tmp_path / "s" / "original.jsonl")) == 3
    assert len(list((tmp_path / "s" / "transforms").iterdir())) == 36


@pytest.mark.filterwarnings("ignore::glocal.errors.NotConvergedWarning")  # of the refit
def test_the_mini_batch_solver_sweeps_on_a_cluster(small, cluster):
    """Cold fits with their learning rates give on workers what they give in process; a path is just their order."""
    profile = replace(NEURIPS2023, max_epochs=2, min_epochs=2)
    grid = {"alpha": [0.1, 1.0], "lmbda": [0.1], "tau": [0.25], "eta": [1e-3, 1e-2]}
    tables = []
    for scheduler in (cluster.address, None):
        sweep = Sweep(grid, folds=2, select="val-loss", profile=profile)
        sweep.fit(small.objects, small.triplets, local_features=small.local, scheduler=scheduler)
        tables.append(sweep.results_.sort_values([*KEY, "eta"]).reset_index(drop=True)[[*SCORES, "eta", "steps"]])
    assert len(tables[0]) == 8
    assert np.allclose(*tables, atol=1e-4, rtol=0)


def test_a_dead_worker_costs_no_finished_point(small, alone, dask_cluster, tmp_path):
    """One of two workers is killed in the middle: the other goes on, nothing finished is lost or written twice."""
    running = dask_cluster()
    running.start_worker()
    running.start_worker()
    running.wait_for_workers(2)
    done_at_death = []

    def kill(row, done, total):
        if done == 8:
            running.kill_worker()
            done_at_death.append(done)

    sweep = Sweep(GRID, select="val-loss").fit(
        small.objects, small.triplets, local_features=small.local, out=tmp_path / "s",
        scheduler=str(running.scheduler_file), progress=kill,
    )  # fmt: skip
    assert done_at_death == [8]
    assert not sweep.results_.duplicated(KEY).any()
    same(sweep, alone)


def test_all_workers_may_die(small, alone, dask_cluster, tmp_path):
    """The data go down with the last worker; a new one gets them again, and walks what is left of every path."""
    running = dask_cluster()
    running.start_worker()
    running.wait_for_workers(1)

    def replace(row, done, total):
        if done == 10:
            running.kill_worker()
            running.start_worker()

    sweep = Sweep(GRID, select="val-loss").fit(
        small.objects, small.triplets, local_features=small.local, out=tmp_path / "s", scheduler=running.address,
        progress=replace,
    )  # fmt: skip
    assert not sweep.results_.duplicated(KEY).any()
    same(sweep, alone)


def test_a_lost_scheduler_is_one_sentence_and_the_sweep_goes_on_without(small, alone, dask_cluster, tmp_path):
    """When the scheduler goes, finished points are kept; --resume needs no cluster and repeats none of them."""
    running = dask_cluster()
    running.start_worker()
    running.wait_for_workers(1)

    def kill(row, done, total):
        if done == 6:
            os.kill(running.scheduler.pid, signal.SIGKILL)

    sweep = Sweep(GRID, select="val-loss")
    with pytest.raises(ClusterError) as caught:
        sweep.fit(
            small.objects, small.triplets, local_features=small.local, out=tmp_path / "s", scheduler=running.address,
            progress=kill,
        )  # fmt: skip
    assert "--resume" in str(caught.value)
    assert "\n" not in str(caught.value)
    before = read_rows(tmp_path / "s" / "points.jsonl")
    assert len(before) >= 6
    sweep.fit(small.objects, small.triplets, local_features=small.local, out=tmp_path / "s", resume=True)
    after = read_rows(tmp_path / "s" / "points.jsonl")
    assert after[: len(before)] == before
    assert not pd.DataFrame(after).duplicated(KEY).any()
    same(sweep, alone)


def test_a_worker_of_another_version_adds_no_point(small, dask_cluster, tmp_path):
    """A sweep ends at the first task that a worker with another version refuses; --resume is named."""
    package = Path(glocal.__file__).parent
    shutil.copytree(package, tmp_path / "glocal", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "glocal" / "_version.py").write_text('__version__ = "0.0.1"\n')
    running = dask_cluster()
    running.start_worker(PYTHONPATH=str(tmp_path))
    running.wait_for_workers(1)
    with pytest.raises(ClusterError, match=r"runs glocal 0\.0\.1 .* A sweep goes on with --resume"):
        Sweep(GRID).fit(
            small.objects, small.triplets, local_features=small.local, out=tmp_path / "s", scheduler=running.address
        )
    assert not (tmp_path / "s" / "points.jsonl").exists()


def test_what_fails_on_a_worker_is_said_here(small, cluster, tmp_path):
    """An error of this package on a worker arrives as the sentence it would be in process."""
    sweep = Sweep(GRID, device="nonsense")
    with pytest.raises(ParameterError, match="device 'nonsense' cannot be used here"):
        sweep.fit(small.objects, small.triplets, local_features=small.local, scheduler=cluster.address)


def test_an_unreachable_scheduler_is_one_sentence(small, tmp_path, capsys):
    """Nothing is computed where no scheduler answers, and what exists stays."""
    for name, array in (("x", small.objects.matrix), ("t", small.triplets.answers), ("l", small.local.matrix)):
        np.save(tmp_path / f"{name}.npy", array)
    command = ["sweep", "--features", tmp_path / "x.npy", "--triplets", tmp_path / "t.npy"]
    command += ["--local-features", tmp_path / "l.npy", "--out", tmp_path / "s", "--scheduler", "tcp://127.0.0.1:9"]
    assert execute(list(map(str, command))) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in said[0]
    assert not (tmp_path / "s" / "points.jsonl").exists()
