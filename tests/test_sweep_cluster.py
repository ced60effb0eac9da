"""The sweep on a Dask cluster: a real scheduler, and workers that die."""

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


def test_a_cluster_gives_the_rows_of_one_process(data, alone, cluster, tmp_path):
    """Two workers walk every path once, by address or scheduler file, and the cluster is left running."""
    found = sweep(data, GRID, out=tmp_path / "s", scheduler=cluster.address)
    pd.testing.assert_frame_equal(rows_of(found.points), alone)
    pd.testing.assert_frame_equal(rows_of(read_rows(tmp_path / "s" / "points.jsonl")), alone)
    small = {"method": ["global"], "lmbda": [1]}
    assert len(sweep(data, small, folds=2, scheduler=str(cluster.scheduler_file)).points) == 4
    with pytest.raises(ParameterError, match="scheduler"):
        sweep(data, GRID, scheduler="tcp://127.0.0.1:9")


def test_a_dead_worker_costs_no_row(data, alone, dask_cluster, tmp_path):
    """One of two workers is killed in the middle: the other walks its path again, and no row is lost or doubled."""
    running = dask_cluster()
    running.start_worker()
    running.start_worker()
    running.wait_for_workers(2)
    killed = []

    def kill(row, done, total):
        if not killed:
            running.kill_worker()
            killed.append(done)

    found = sweep(data, GRID, out=tmp_path / "s", scheduler=running.address, progress=kill)
    assert killed
    assert killed[0] < len(found.points)
    pd.testing.assert_frame_equal(rows_of(found.points), alone)
    pd.testing.assert_frame_equal(rows_of(read_rows(tmp_path / "s" / "points.jsonl")), alone)
