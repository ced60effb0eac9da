"""The sweep on a Dask cluster: a real scheduler, and workers that die."""

import json
import os
import signal

import pandas as pd
import pytest

from glocal.aligner import FitData
from glocal.data.world import simulated_world
from glocal.errors import ParameterError
from glocal.results import read_rows
from glocal.sweep import sweep

pytestmark = pytest.mark.nightly

GRID = {"method": ["global", "glocal"], "alpha": [0.1, 0.5], "lmbda": [0.1, 1], "tau": [0.1, 0.5]}
KEY = ["fold", "method", "lmbda", "alpha", "tau"]
SCORES = ["objective", "accuracy_cosine", "neighbours_kept", "loss", "evaluations"]


@pytest.fixture(scope="module")
def data():
    world = simulated_world(n_triplets=6_000, n_local=120)
    return FitData(world.objects, world.answers, world.local)


@pytest.fixture(scope="module")
def alone(data):
    """The rows of the same sweep in one process."""
    return rows_of(sweep(data, GRID).points)


def rows_of(points):
    return pd.DataFrame(points).sort_values(KEY).reset_index(drop=True)[KEY + SCORES]


@pytest.fixture
def cluster():
    """Two workers of one thread each, in processes of their own."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as running:
        yield running


def test_a_cluster_gives_the_rows_of_one_process(data, alone, cluster, tmp_path):
    """Two workers walk every path once, by address or scheduler file, and the cluster is left running."""
    found = sweep(data, GRID, out=tmp_path / "s", scheduler=cluster.scheduler_address)
    pd.testing.assert_frame_equal(rows_of(found.points), alone)
    pd.testing.assert_frame_equal(rows_of(read_rows(tmp_path / "s" / "points.jsonl")), alone)
    small, file = {"method": ["global"], "lmbda": [1]}, tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.scheduler_address}))
    assert len(sweep(data, small, folds=2, scheduler=str(file)).points) == 4
    with pytest.raises(ParameterError, match="scheduler"):
        sweep(data, GRID, scheduler="tcp://127.0.0.1:9")


def test_a_dead_worker_costs_no_row(data, alone, cluster, tmp_path):
    """One of two workers is killed in the middle: its path is walked again, and no row is lost or doubled."""
    killed = []

    def kill(row, done, total):
        if not killed:
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
            killed.append(done)

    found = sweep(data, GRID, out=tmp_path / "s", scheduler=cluster.scheduler_address, progress=kill)
    assert killed[0] < len(found.points)
    pd.testing.assert_frame_equal(rows_of(found.points), alone)
    pd.testing.assert_frame_equal(rows_of(read_rows(tmp_path / "s" / "points.jsonl")), alone)
