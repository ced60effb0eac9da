"""Shapes and types are checked at run time here: jaxtyping with beartype, hooked in before glocal is imported."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

if any(name.split(".")[0] == "glocal" for name in sys.modules):
    raise RuntimeError("glocal was imported before the tests could hook their type checks into it")
# NOTE an int may stand for a float, as in PEP 484: lmbda=1 is a valid call
install_import_hook("glocal", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

settings.register_profile("glocal", deadline=None, derandomize=True, max_examples=30, database=None)
settings.load_profile("glocal")


@pytest.fixture(autouse=True, scope="session")
def _two_threads():
    """Two threads for all test processes together: more only wait for each other on a shared machine."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        yield


@pytest.fixture(scope="session")
def world():
    """A small simulated world: 240 objects, 300 local images, 32 dimensions, 12,000 answers."""
    from glocal.data.world import simulated_world

    return simulated_world(
        n_superordinate=6, n_category=8, n_object=5, n_local=300, n_triplets=12_000, dimensions=32, seed=3
    )


@pytest.fixture
def as_a_user(monkeypatch):
    """Turn the run-time type checks off: what a user meets, who has no hook."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data; tests that need it are skipped where the variable is unset."""
    folder = os.environ.get("GLOCAL_DATA_DIR")
    if not folder:
        pytest.skip("GLOCAL_DATA_DIR is unset: the real data are needed")
    return Path(folder)


@pytest.fixture
def started():
    """Start processes, as `subprocess.Popen` does, that do not outlive the test, however it ends."""
    running: list[subprocess.Popen] = []

    def start(*arguments, **options):
        running.append(subprocess.Popen(*arguments, **options))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class DaskCluster:
    """A Dask scheduler and its workers as processes of their own, on this machine; nothing is imported here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self._wait_until(lambda: self.scheduler_file.exists() and self.scheduler_file.read_text().strip())

    @property
    def address(self) -> str:
        return json.loads(self.scheduler_file.read_text())["address"]

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more worker: one process, so that killing it kills the worker, with one thread."""
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder / "workers"))
        self.workers.append(self._start("worker", *options, **environment))
        return self.workers[-1]

    def mend(self, count: int) -> None:
        """Have `count` live workers, whatever a test did to them or left behind."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) > count:
            self.kill_worker()
        while len(self.workers) < count:
            self.start_worker()
        self.wait_for_workers(count)

    def kill_worker(self) -> None:
        """End the oldest worker by SIGKILL."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()

    def wait_for_workers(self, count: int) -> None:
        """Return when exactly `count` workers are registered."""
        from distributed import Client

        with Client(self.address, timeout=20, set_as_default=False) as client:
            self._wait_until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == count)

    def stop(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, what: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", what, "--scheduler-file", str(self.scheduler_file), *options]
        command += ["--no-dashboard", "--dashboard-address", ":0"]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(command, env={**self._environment, **environment}, stdout=log, stderr=log)

    def _wait_until(self, true) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline, (self.folder / "log.txt").read_text()
            time.sleep(0.02)


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    """Start Dask schedulers without workers: a function, whose clusters are stopped at the end of the module."""
    pytest.importorskip("distributed")
    started = []

    def start() -> DaskCluster:
        started.append(DaskCluster(tmp_path_factory.mktemp("dask")))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="module")
def _kept_cluster(dask_cluster):
    """One cluster in a list: the next one comes in its place if a test has ended its scheduler."""
    return [dask_cluster()]


@pytest.fixture
def cluster(_kept_cluster, dask_cluster):
    """A Dask cluster of two workers with one thread each, shared by a module and mended before each test."""
    if _kept_cluster[0].scheduler.poll() is not None:
        _kept_cluster[0] = dask_cluster()
    _kept_cluster[0].mend(2)
    return _kept_cluster[0]
