"""Shapes and types are checked at run time here: jaxtyping with beartype, hooked in before glocal is imported."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import config, install_import_hook

# NOTE before torch loads its OpenMP: threads that spin while they wait are ten times slower on a busy machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
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
