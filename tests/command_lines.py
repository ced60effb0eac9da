"""Right command lines of all commands, the files that they read, and wrong values of options."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import world
from world import Result

CPU_SECONDS = 180
MEMORY = 4 << 30  # bytes that a command may take on top of what the process has
OBJECTS = 36
NETWORK = """
import numpy as np, torch

def pixels(image):
    return torch.from_numpy(np.array(image.convert("L"), dtype=np.float32)).reshape(-1) / 255

def make():
    return torch.nn.Identity(), pixels
"""
SUITE = """
answers = "t.npz"
[networks.n]
features = "x.npy"
[arms.original]
[arms.g]
method = "global"
lmbda = 1.0
[tasks.o]
kind = "odd-one-out"
[tasks.s]
kind = "structure"
features = "x.npy"
k = 5
"""
MODEL = "--model python:network_of_commands:make"
COMMANDS = {
    "demo": "--out demo-out",
    "fit": "--features x.npy --answers t.npz --method global --tol 0.1 --out o.npz",
    "sweep": "--features x.npy --answers t.npz --grid grid.toml --folds 2 --tol 0.1 --out s",
    "apply": "w.npz x.npy --out o.npy",
    "try": "x.npy --labels labels.txt --transform w.npz",
    "suite": "suite.toml --out u",
    "report": "run --out page.html",
    "extract": f"images {MODEL} --out e",
    "align": f"{MODEL} --images images --answers t.npz --out a --dry-run",
    "evaluate odd-one-out": "--features x.npy --answers t.npz --transform w.npz",
    "evaluate rsa": "--features x.npy --rdm rdm.npy --baseline centred",
    "evaluate few-shot": "--train x.npy --train-labels labels.txt --shots 2 --draws 2 --probe ncm",
    "evaluate anomaly": "--train x.npy --train-labels labels.txt --test y.npy "
    "--test-labels labels.txt --k 2",
    "evaluate structure": "--features x.npy --k 3 --transform w.npz",
    "evaluate retrieval": "--queries x.npy --query-labels labels.txt",
    "data check": "--features x.npy --answers t.npz",
    "data curve": "--features x.npy --answers t.npz --folds 2",
    "data split": "--features x.npy --answers t.npz --out s",
    "data import": "answers.csv --out i.npz",
    "data fetch": "",
    "transforms pull": "clip-vit-b-32 --out p.npz",
    "transforms push": "w.npz shared --licence mit",
}
COLLECT = {
    "collect run": "images --out study2 --port 0",
    "collect plan": "--objects 30",
    "collect people": "study",
    "collect export": "study --out c.npz",
    "collect report": "study --features x.npy --out page.html",
}
PATHS = ("missing/file.npz", "images", "empty.npy", "garbage.npz", "loop")
PATHS += ("a" * 300, "/dev/null", "", "x.npy", "labels.txt")
NUMBERS = ("x", "-1", "0", "1.5", "99999999999999999999", "nan", "inf", "1e999", "", "١")
TEXTS = ("", "nope", "a" * 300, "\x1b[2J", "../..", "hf://", "日本", "=", "a=b", "1/0", "x.npy")
COUNTS_OF_PROCESSES = ("x", "-99", "0", "1.5", "", "nan")  # no thousand processes are started


def write_files(folder: Path) -> None:
    """Write every file that the right command lines read, and some files that cannot be used."""
    from PIL import Image

    from glocal.transform import LinearTransform

    rng = np.random.default_rng(0)
    X = rng.normal(size=(OBJECTS, 16)).astype("f4")
    world.folder(
        folder,
        x_npy=X,
        y_npy=X[::-1],
        t_npz=world.answers(600, OBJECTS),
        w_npz=LinearTransform(np.eye(16, dtype="f4"), None, 0.0, 1.0),
        rdm_npy=np.abs(np.subtract.outer(np.arange(36.0), np.arange(36.0))),
        labels_txt="\n".join(str(i % 3) for i in range(OBJECTS)),
        answers_csv="a,b,odd\n0,1,2\n3,4,5\n1,2,3\n",
        grid_toml='method = ["global"]\nlmbda = [1.0, 10.0]\n',
        suite_toml=SUITE,
        network_of_commands_py=NETWORK,
        empty_npy=b"",
        garbage_npz=rng.bytes(500),
    )
    (folder / "images").mkdir()
    for number in range(OBJECTS):
        pixels = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"object_{number:02d}.png")
    (folder / "loop").symlink_to("loop")
    with contextlib.chdir(folder):
        assert run(["sweep", *COMMANDS["sweep"].split()]).code == 0
        (folder / "s").rename(folder / "run")
        if "collect run" in parameters():
            assert run(["collect", "run", "images", "--out", "study", "--port", "0"]).code == 0


def run(words: list[str]) -> Result:
    """Run a command line in this process, with a limit of its processor time and memory."""
    with contextlib.ExitStack() as patches:
        if "collect" in words:  # a server is made and not started
            patches.enter_context(mock.patch("uvicorn.run"))
            patches.enter_context(mock.patch("uvicorn.Server.run"))
        patches.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        patches.enter_context(limits())
        return world.run(*words)


class TooLong(BaseException):
    """Raised when a command takes too long; not an Exception, so that no reader catches it."""


@contextlib.contextmanager
def limits(cpu_seconds: float = CPU_SECONDS, memory: int = MEMORY) -> Iterator[None]:
    """Stop code that takes more seconds of processor time, and refuse it more bytes of memory."""

    def stop(*_: object) -> None:
        raise TooLong(f"more than {cpu_seconds} seconds of processor time")

    pages = int(Path("/proc/self/statm").read_text().split()[5])  # of data
    memory_limits = resource.getrlimit(resource.RLIMIT_DATA)
    limit = pages * resource.getpagesize() + memory
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, memory_limits[1]))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_DATA, memory_limits)


@contextlib.contextmanager
def without_network() -> Iterator[list[Any]]:
    """Let no connection be opened and no name be looked up; yields the addresses that
    were tried.
    """
    addresses: list[Any] = []
    connect = socket.socket.connect

    def refuse_internet(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_UNIX:
            connect(self, address)
            return
        addresses.append(address)
        raise OSError("there is no network here")

    def refuse_name(host: Any, *_: object, **__: object) -> None:
        addresses.append(host)
        raise socket.gaierror("there is no network here")

    with (
        mock.patch.object(socket.socket, "connect", refuse_internet),
        mock.patch.object(socket.socket, "connect_ex", refuse_internet),
        mock.patch.object(socket, "getaddrinfo", refuse_name),
    ):
        yield addresses


def parameters() -> dict[str, list[Any]]:
    """The options and arguments of every command, read from the application itself."""
    from glocal.cli.app import _command

    leaves: dict[str, list[Any]] = {}
    groups = [("", _command())]
    for prefix, group in groups:
        for name, command in group.commands.items():
            path = f"{prefix} {name}".strip()
            if hasattr(command, "commands"):
                groups.append((path, command))
            else:
                leaves[path] = command.params
    return leaves


def wrong_values(param: Any) -> list[str]:
    """Wrong or unusual values of an option."""
    kind = param.type_descriptor.annotation
    if param.name in ("jobs", "workers"):
        return list(COUNTS_OF_PROCESSES)
    if kind is Path or param.name in ("images", "transform", "grid"):
        return list(PATHS)
    return list(NUMBERS if kind in (int, float) else TEXTS)


def changed(base: list[str], params: list[Any], param: Any, value: str) -> list[str]:
    """The words of a right command line with another value of one parameter."""
    if not param.opts[0].startswith("-"):  # arguments stand first
        arguments = [other for other in params if not other.opts[0].startswith("-")]
        place = arguments.index(param)
        is_there = len(base) > place and not base[place].startswith("-")
        return [*base[:place], value, *base[place + is_there :]]
    option = max(param.opts, key=len)
    if getattr(param, "is_flag", False):
        return [*base, f"{option}={value}"] if value else [*base, option, option]
    return [*base, option, value]


def copy(source: Path, folder: Path) -> None:
    """Make `folder` a fresh copy of the files, in which links stay links."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, symlinks=True)
