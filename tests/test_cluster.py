"""A Dask cluster is found in time or refused in a sentence, and does each task once, whoever dies."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import glocal
from glocal import __version__
from glocal.errors import ClusterError, DataError, FileError, MissingDependencyError, ParameterError
from glocal.jobs.cluster import connected
from glocal.jobs.run import Chain, _explained, run, run_on

pytestmark = pytest.mark.nightly

distributed = pytest.importorskip("distributed")


def mapped(client, function, items, shared, patience=None):
    """(item, ``function(item, shared)``) of single steps, as they are finished."""
    chains = (Chain([item]) for item in items)
    return run_on(client, lambda item, _, shared: function(item, shared), chains, lambda _: shared, None, patience)


# finding it


def test_a_cluster_is_found_by_address_and_by_file_and_left_running(cluster):
    """Address and scheduler file lead to the same cluster, which still runs after the client has gone."""
    for scheduler in (cluster.address, cluster.address.removeprefix("tcp://"), str(cluster.scheduler_file)):
        with connected(scheduler) as client:
            assert client.scheduler.address == cluster.address
            assert len(client.nthreads()) == 2
    assert cluster.scheduler.poll() is None
    assert [worker.poll() for worker in cluster.workers] == [None, None]


@pytest.mark.parametrize(
    ("scheduler", "sentence"),
    [
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("127.0.0.1:1", "Connection refused"),
        ("127.0.0.1", "missing port number"),
        ("", "missing port number"),
        ("http://127.0.0.1:1", "unknown protocol http"),
        ("inproc://127.0.0.1/1", "unknown protocol inproc"),
        ("tcp://no.such.host.invalid:8786", "no Dask scheduler answers at tcp://no.such.host.invalid:8786"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_sentence_at_once(scheduler, sentence, capfd):
    """Where nothing listens the timeout is not waited for; one line, and nothing else is on standard error."""
    with (
        pytest.raises(ParameterError, match="no Dask scheduler answers at") as caught,
        connected(scheduler, timeout=10_000),
    ):
        pass
    assert sentence in str(caught.value)
    assert "tcp://10.0.0.1:8786" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_the_command_says_so_in_one_line(tmp_path):
    """A program that ends with the sentence leaves nothing else on standard error, not even while it exits."""
    code = (
        "from glocal.jobs.cluster import connected; from glocal.errors import GLocalError\n"
        "try:\n    connected('tcp://127.0.0.1:1').__enter__()\n"
        "except GLocalError as error:\n    raise SystemExit(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("no Dask scheduler answers at tcp://127.0.0.1:1")
    assert done.stderr.count("\n") == 1


def test_a_program_that_is_no_scheduler_is_one_sentence_in_time(capfd):
    """Something that accepts connections and says nothing is given up after the timeout, not waited for forever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ParameterError, match="no Dask scheduler answers"), connected(address, timeout=0.5):
            pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("no json", "is not readable JSON"),
        ("{}", "holds no address"),
        ("[1]", "holds a JSON list"),
    ],
)
def test_a_scheduler_file_that_is_none_is_one_sentence(tmp_path, content, sentence):
    """A file that is missing, or names no scheduler, is refused with the command that makes one."""
    path = tmp_path / "scheduler.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileError, match=sentence) as caught, connected(str(path)):
        pass
    assert str(caught.value).endswith(f"dask scheduler --scheduler-file {path}.")
    assert "\n" not in str(caught.value)


def test_a_cluster_without_workers_is_one_sentence(dask_cluster, capfd):
    """A scheduler that has no worker within the timeout is said, with the command that starts one."""
    empty = dask_cluster()
    scheduler = str(empty.scheduler_file)
    with pytest.raises(ParameterError, match=r"no workers for 0\.3 s") as caught, connected(scheduler, timeout=0.3):
        pass
    assert f"dask worker {empty.address}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_without_dask_the_extra_is_named(monkeypatch):
    """Without distributed the sentence says how to install it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "distributed.comm", None)
    sentence = r"pip install 'glocal\[distributed\]'"
    with pytest.raises(MissingDependencyError, match=sentence), connected("tcp://127.0.0.1:1"):
        pass


def test_loggers_are_left_as_they_were(cluster):
    """distributed's loggers are silent inside and speak as before afterwards."""
    logger = logging.getLogger("distributed.client")
    with connected(cluster.address):
        assert logger.disabled
    assert not logger.disabled


# running on it


def test_chains_give_here_and_there_what_a_loop_gives(cluster):
    """Each step gets the result of the one before, the start of its chain, and the value its chain shares."""

    def step(item, before, shared):
        return before + item * shared

    chains = [Chain([1, 2, 3], 10, "a"), Chain([4, 5], 20, "b"), Chain([6], 30, "a")]
    load, asked = {"a": 1, "b": 100}.__getitem__, []
    wanted = [(1, 11), (2, 13), (3, 16), (4, 420), (5, 920), (6, 36)]
    assert list(run(step, chains, load)) == wanted
    found = run(step, chains, lambda name: asked.append(name) or load(name), scheduler=cluster.address)
    assert sorted(found) == wanted
    assert asked == ["a", "b"]
    assert list(run(step, [], load, scheduler="tcp://127.0.0.1:1")) == []


def test_a_chain_whose_worker_dies_is_walked_again_and_each_item_yielded_once(cluster):
    """The result a step needs goes down with its worker: Dask makes it again, and nothing is told twice."""

    def step(item, before, shared):
        import time

        time.sleep(0.02)
        return before + item

    found = []
    for item, result in run(step, [Chain(range(20), 0), Chain(range(20, 40), 0)], scheduler=cluster.address):
        found.append((item, result))
        if len(found) == 6:
            cluster.kill_worker()
    sums = [sum(range(n + 1)) for n in range(20)] + [sum(range(20, n + 1)) for n in range(20, 40)]
    assert sorted(found) == list(enumerate(sums))


def test_mapping_gives_what_a_loop_gives(cluster):
    """Each item has its result, under its number, in whatever order."""
    with connected(cluster.address) as client:
        found = dict(mapped(client, lambda item, shared: item * shared, range(50), 3))
        assert list(mapped(client, lambda item, shared: item, [], None)) == []
    assert found == {number: 3 * number for number in range(50)}


def test_what_is_shared_is_sent_once(cluster):
    """However many tasks there are, the shared object leaves this process as often as for one."""
    sent = []

    class Shared:
        def __reduce__(self):
            sent.append(1)
            return int, (3,)

    counts = []
    with connected(cluster.address) as client:
        for n in (1, 40):
            sent.clear()
            assert dict(mapped(client, lambda item, shared: item * shared, range(n), Shared()))[n - 1] == 3 * (n - 1)
            counts.append(len(sent))
    assert counts[0] == counts[1] >= 1


def test_an_error_of_a_task_arrives_as_it_is_and_ends_the_rest(cluster, tmp_path):
    """A sentence of this package arrives unchanged; tasks that have not begun are not begun any more."""

    def fail(item, folder):
        import time

        from glocal.errors import DataError

        if item == 0:
            raise DataError("row 0 is bad. Remove it.")
        (folder / str(item)).touch()
        time.sleep(0.05)

    with connected(cluster.address) as client:
        with pytest.raises(DataError, match=r"^row 0 is bad. Remove it.$"):
            list(mapped(client, fail, range(200), tmp_path))
        list(mapped(client, lambda item, shared: item, range(8), None))  # behind all that had begun
    assert len(list(tmp_path.iterdir())) < 100  # the worker that has item 0 may be given another one first


def test_any_other_error_of_a_task_is_one_sentence(cluster):
    """An error that is not ours is named in one line with where to look."""
    with (
        connected(cluster.address) as client,
        pytest.raises(ClusterError, match="worker failed with KeyError") as caught,
    ):
        list(mapped(client, lambda item, shared: {}["a\nb"], range(3), None))
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies_costs_only_what_it_was_given(cluster, tmp_path):
    """After a SIGKILL every item has its result, and all but the dead worker's own tasks were done once."""

    def work(item, folder):
        import time

        time.sleep(0.02)
        with (folder / str(item)).open("a") as stream:
            stream.write("x")
        return -item

    found = {}
    with connected(cluster.address) as client:
        for number, result in mapped(client, work, range(60), tmp_path):
            found[number] = result
            if len(found) == 10:
                cluster.kill_worker()
    assert found == {number: -number for number in range(60)}
    done = [len((tmp_path / str(number)).read_text()) for number in range(60)]
    assert min(done) == 1
    assert sum(done) <= 64, "a worker of one thread is given two tasks at most; two results may be on their way"


def test_the_last_worker_may_die_too(cluster):
    """When all that held the shared object have died, it and the open tasks go to the next worker that comes."""

    def work(item, shared):
        import time

        time.sleep(0.02)
        return item + len(shared)

    found = {}
    with connected(cluster.address) as client:
        for number, result in mapped(client, work, range(40), list(range(5))):
            found[number] = result
            if len(found) == 5:
                cluster.kill_worker()
                cluster.kill_worker()
                cluster.start_worker()
    assert found == {number: number + 5 for number in range(40)}


def test_a_cluster_whose_workers_are_gone_is_given_up(cluster):
    """Without workers a run ends after the stated time with a sentence; what was finished has been yielded."""
    found = {}

    def collect(client):
        for number, result in mapped(client, lambda item, shared: item, range(10_000), None, patience=0.5):
            found[number] = result
            if len(found) == 5:
                cluster.kill_worker()
                cluster.kill_worker()

    with connected(cluster.address) as client:
        with pytest.raises(ClusterError, match=r"had no workers for 0\.5 s") as caught:
            collect(client)
        assert client.status == "running"
    assert all(number == result for number, result in found.items())
    assert 5 <= len(found) < 10_000
    assert f"dask worker {cluster.address}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_items_are_asked_for_as_workers_can_take_them(cluster):
    """Of items that come one by one only two for each thread are under way: the rest is left to other processes."""
    asked = []

    def items():
        for number in range(30):
            asked.append(number)
            yield number

    with connected(cluster.address) as client:
        for done, _ in enumerate(mapped(client, lambda item, shared: item, items(), None)):
            assert len(asked) <= done + 1 + 4
    assert asked == list(range(30))


def test_a_worker_with_another_version_is_refused(dask_cluster, tmp_path):
    """A worker whose glocal is another version, or has other code, does no task, even if it joins later."""
    package = Path(glocal.__file__).parent
    mixed = dask_cluster()
    for number, (file, old, new) in enumerate(
        [("_version.py", __version__, "0.0.1"), ("errors.py", "import annotations", "import annotations  # other")]
    ):
        shutil.copytree(package, tmp_path / str(number) / "glocal", ignore=shutil.ignore_patterns("__pycache__"))
        text = (package / file).read_text()
        assert old in text
        (tmp_path / str(number) / "glocal" / file).write_text(text.replace(old, new, 1))
        mixed.start_worker(PYTHONPATH=str(tmp_path / str(number)))
        mixed.wait_for_workers(1)
        with (
            connected(mixed.address) as client,
            pytest.raises(ClusterError, match="results of two versions are not mixed") as caught,
        ):
            list(mapped(client, lambda item, shared: item, range(3), None))
        assert "\n" not in str(caught.value)
        assert ("runs glocal 0.0.1 (" in str(caught.value)) == (number == 0)
        mixed.kill_worker()


def test_a_scheduler_that_dies_is_one_sentence(dask_cluster, capfd):
    """Without its scheduler the run ends, in time and with one sentence, and standard error stays clean."""
    dying = dask_cluster()
    dying.start_worker()
    dying.wait_for_workers(1)

    def work(item, shared):
        import time

        time.sleep(0.02)

    with connected(dying.address, timeout=5) as client:
        results = mapped(client, work, range(500), None)
        next(results)
        os.kill(dying.scheduler.pid, signal.SIGKILL)
        with pytest.raises(ClusterError, match="connection to the Dask scheduler was lost") as caught:
            list(results)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (type("KilledWorker", (Exception,), {})("task"), "several Dask workers died"),
        (ModuleNotFoundError("No module named 'glocal'"), "cannot run this version of glocal"),
        (RuntimeError("Error during deserialization of the task graph."), "cannot run this version of glocal"),
        (MemoryError(), "worker failed with MemoryError: MemoryError"),
    ],
    ids=["killed", "import", "graph", "memory"],
)
def test_what_a_cluster_cannot_do_says_what_to_do(error, sentence):
    """Each way of failing has its own sentence; ours pass unchanged."""
    assert sentence in str(_explained(error))
    assert "\n" not in str(_explained(error))
    own = DataError("as it is.")
    assert _explained(own) is own
