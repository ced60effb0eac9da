"""Fixtures of the tests; jaxtyping and beartype hook in before glocal loads, to check types at run
time.
"""

import os
import signal
import sys
from functools import partial
from pathlib import Path

import processes
import pytest
from hypothesis import HealthCheck, settings
from jaxtyping import config, install_import_hook
from processes import browser, no_screen  # noqa: F401
from sites import PROXIES

# keep compiled modules, whatever the environment says, so that workers and later runs start sooner
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# two threads for all test processes together; on a shared machine more would only wait
THREADS = max(1, 2 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, str(THREADS))

# what a shell starts in the background ignores Ctrl-C, and so would the commands of tests
signal.signal(signal.SIGINT, signal.default_int_handler)

if any(name.split(".")[0] == "glocal" for name in sys.modules):
    raise RuntimeError("glocal was imported before the tests could hook their type checks into it")
# NOTE an int may stand for a float, as in PEP 484: lmbda=1 is a valid call
install_import_hook("glocal", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

settings.register_profile(
    "glocal",
    deadline=None,
    derandomize=True,
    max_examples=30,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine draws slowly
)
settings.load_profile("glocal")


@pytest.fixture(autouse=True, scope="session")
def _two_threads():
    """Limit libraries that were loaded before the variables were set to two threads as well."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(THREADS):
        yield


def pytest_collection_modifyitems(items):
    """Mark tests of browsers and killed processes `nightly`, and tests of real data
    `data`.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        code = getattr(getattr(item, "function", None), "__code__", None)
        if fixtures & {"browser", "started"} or "processes" in getattr(code, "co_names", ()):
            item.add_marker(pytest.mark.nightly)
        if "data_dir" in fixtures:
            item.add_marker(pytest.mark.data)


@pytest.fixture(scope="session")
def world():
    """A small simulated world: 240 objects, 300 local images, 32 dimensions, 12,000 answers."""
    from glocal.data.world import simulated_world

    return simulated_world(
        n_superordinate=6,
        n_category=8,
        n_object=5,
        n_local=300,
        n_answers=12_000,
        dimensions=32,
        seed=3,
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of the test, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of downloads; neither proxies nor settings of the environment are used."""
    for name in (*PROXIES, "GLOCAL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def publish(tmp_path, cache, monkeypatch):
    """`made_registry.published_site`, as a function of the files and changes of their entries."""
    from made_registry import published_site, registry

    yield partial(published_site, tmp_path, monkeypatch)
    registry.published.cache_clear()


@pytest.fixture
def as_a_user(monkeypatch):
    """Turn the run-time type checks off, as they are for a user, who does not have the hook."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def without_type_checks():
    """As `as_a_user`, for a whole file of fits that small tests elsewhere make with the
    checks on.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "jaxtyping_disable", True)
        yield


@pytest.fixture(scope="module")
def command_files(tmp_path_factory, without_type_checks):
    """A folder with all files that the lines of `command_lines` read."""
    from command_lines import write_files

    folder = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("GLOCAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        write_files(folder)
        yield folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the real data; tests that need it are skipped if the variable is not set."""
    folder = os.environ.get("GLOCAL_DATA_DIR")
    if not folder:
        pytest.skip("GLOCAL_DATA_DIR is unset: the real data are needed")
    return Path(folder)


@pytest.fixture
def started():
    """Start processes as `processes.Popen` does, and end them with the test, however it ends."""
    running: list[processes.Popen] = []

    def start(*arguments, **options):
        running.append(processes.Popen(*arguments, **options))
        return running[-1]

    yield start
    for process in running:
        with process:  # waits and closes the pipes
            process.kill()
