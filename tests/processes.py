"""Processes that tests start. All but a few are forked from one that has imported everything: they begin in no time.

`Popen` and `run` stand in for those of `subprocess` where the command is ``[sys.executable, "-c", code, *arguments]``.
A test about starting itself (what is imported, what the environment decides) starts a process of its own.
"""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

import pytest

COMMAND_LINE = [sys.executable, "-c", "from glocal.cli import main; main()"]

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    [
        *("torch", "sklearn.base", "scipy.stats", "pandas", "numba", "lightning.pytorch", "h5py"),
        *("pyarrow.dataset", "pyarrow.parquet", "distributed.cli.dask_worker", "distributed.cli.dask_scheduler"),
        *("glocal.cli.app", "glocal.aligner", "glocal.sweep", "glocal.suite", "glocal.extract", "glocal.report"),
        "PIL.Image",
    ]
)
_ENVIRONMENT = {**os.environ, **_ONE_THREAD}  # of the server, whatever tests do to their own
_CHILD = """
import multiprocessing, os, signal, sys, threading, types
for number, stream in enumerate(streams):
    os.dup2(stream.fileno(), number)
    stream.close()
sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with SIGINT ignored
os.chdir(cwd)
os.environ.clear()
os.environ.update(env)
sys.argv = ["-c", *arguments]
sys.path[:0] = ["", *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
sys.modules["__main__"] = types.ModuleType("__main__")

def end_with_the_tests():
    multiprocessing.parent_process().join()
    os._exit(1)

threading.Thread(target=end_with_the_tests, daemon=True).start()
exec(code, sys.modules["__main__"].__dict__)
"""


class Popen:
    """A process forked from the one that has everything imported, with the face of `subprocess.Popen`."""

    def __init__(self, command, *, cwd=None, env=None, stdin=None, stdout=None, stderr=None, text=False) -> None:
        assert command[:2] == [sys.executable, "-c"], "only code is run in a fork"
        self.args, self.returncode, self._text = command, None, text
        self.stdin = self.stdout = self.stderr = None
        theirs = [self._stream(0, stdin), self._stream(1, stdout)]
        theirs.append(os.dup(theirs[1]) if stderr == subprocess.STDOUT else self._stream(2, stderr))
        streams = [Connection(fd) for fd in theirs]
        code, arguments = command[2], [os.fspath(argument) for argument in command[3:]]
        given = {"code": code, "arguments": arguments, "streams": streams}
        given |= {"cwd": os.fspath(cwd or os.getcwd()), "env": dict(os.environ if env is None else env)}
        self._process = _SERVER.Process(target=exec, args=(_CHILD, given))
        with mock.patch.dict(os.environ, _ENVIRONMENT, clear=True):
            self._process.start()
        for stream in streams:
            stream.close()
        self.pid = self._process.pid

    def _stream(self, number: int, wanted) -> int:
        if wanted == subprocess.PIPE:
            reading, writing = os.pipe()
            mine, theirs = (writing, reading) if number == 0 else (reading, writing)
            mode = ("w" if number == 0 else "r") + ("" if self._text else "b")
            name = ("stdin", "stdout", "stderr")[number]
            setattr(self, name, os.fdopen(mine, mode, -1 if self._text or number else 0))
            return theirs
        if wanted == subprocess.DEVNULL:
            return os.open(os.devnull, os.O_RDWR)
        return os.dup(number if wanted is None else wanted if isinstance(wanted, int) else wanted.fileno())

    def poll(self) -> int | None:
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def communicate(self, input=None, timeout: float | None = None):
        """Write `input`, read both streams to their ends, and wait."""
        read = {}

        def drain(name: str, stream) -> None:
            with stream:
                read[name] = stream.read()

        named = {name: getattr(self, name) for name in ("stdout", "stderr") if getattr(self, name) is not None}
        threads = [threading.Thread(target=drain, args=item, daemon=True) for item in named.items()]
        for thread in threads:
            thread.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(input or ("" if self._text else b""))
        for thread in threads:
            thread.join(timeout)
            if thread.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout)
        self.wait(timeout)
        return read.get("stdout"), read.get("stderr")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


def run(command, *, input=None, capture_output=False, check=False, timeout=None, text=False, **options):
    """`subprocess.run` in a fork."""
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
    with Popen(command, text=text, **options) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    if check and process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, err)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


WATCH = """
import contextlib, sys, threading
from pathlib import Path

def peak_of(work):
    '''The most anonymous memory (MB) of this process while `work` runs, and what it returns; it may print.'''
    peak, done = [0], threading.Event()
    def watch():
        while not done.wait(0.002):
            text = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], int(text.split("RssAnon:")[1].split()[0]))
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = work()
    finally:
        done.set()
        thread.join()
    return peak[0] // 1024, result
"""


def numbers(code: str, *arguments, **options) -> list[int]:
    """The numbers that `code` prints, in a process that knows ``peak_of(work)``."""
    if not Path("/proc/self/status").exists():
        pytest.skip("anonymous memory is read from /proc, which this system does not have")
    done = run([sys.executable, "-c", WATCH + code, *map(str, arguments)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


class DaskCluster:
    """A Dask scheduler and its workers as processes of their own, on this machine; nothing is imported here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self.workers: list[Popen | subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0")
        self._wait_until(lambda: self.scheduler_file.exists() and self.scheduler_file.read_text().strip())

    @property
    def address(self) -> str:
        return json.loads(self.scheduler_file.read_text())["address"]

    def start_worker(self, **environment: str):
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

    def _start(self, what: str, *options: str, **environment: str):
        command = [sys.executable, "-c", f"from distributed.cli.dask_{what} import main; main()"]
        command += [
            "--scheduler-file",
            str(self.scheduler_file),
            *options,
            "--no-dashboard",
            "--dashboard-address",
            ":0",
        ]
        # a worker with an environment of its own imports what that says: it cannot be forked
        start = subprocess.Popen if environment else Popen
        with (self.folder / "log.txt").open("ab") as log:
            return start(command, env={**os.environ, **_ONE_THREAD, **environment}, stdout=log, stderr=log)

    def _wait_until(self, true) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline, (self.folder / "log.txt").read_text()
            time.sleep(0.02)
