"""Right command lines of all commands, and the files that they read."""

import contextlib
import shutil
import socket
from dataclasses import replace
from unittest import mock

import numpy as np
import world
from typer.main import get_command

from glocal import LinearTransform
from glocal.cli.app import app

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
LINES = """
demo | --out demo-out
fit | --features x.npy --answers t.npz --method global --tol 0.1 --out o.npz
sweep | --features x.npy --answers t.npz --grid grid.toml --folds 2 --tol 0.1 --resume --out s
apply | w.npz x.npy --out o.npy
try | x.npy --labels labels.txt --transform w.npz
anomaly | x.npy y.npy --alarm 0.2 --k 2 --transform w.npz --out a.csv
suite | suite.toml --out u
report | run --out page.html
extract | images --model python:network_of_commands:make --out e
align | python:network_of_commands:make --images images --answers t.npz --out a
evaluate odd-one-out | --features x.npy --answers t.npz --transform w.npz
evaluate rsa | --features x.npy --rdm rdm.npy --baseline centred
evaluate few-shot | --train x.npy --train-labels labels.txt --shots 2 --draws 2 --probe ncm
evaluate anomaly | --train x.npy --train-labels labels.txt --test y.npy --test-labels labels.txt --k 2
evaluate structure | --features x.npy --k 3 --transform w.npz
evaluate retrieval | --queries x.npy --query-labels labels.txt
data check | --features x.npy --answers t.npz
data people | t.npz --out people.csv
data curve | --features x.npy --answers t.npz --folds 2
data split | --features x.npy --answers t.npz --out s
data import | answers.csv --out i.npz
data fetch | --json
transforms pull | clip-vit-b-32 --out p.npz
transforms push | w.npz shared --licence mit
collect run | images --out study2 --port 0
collect plan | --objects 30
collect people | study
collect export | study --out c.npz
collect report | study --features x.npy --out page.html
"""  # noqa: E501
COMMANDS = dict(line.split(" | ") for line in LINES.strip().split("\n"))


def write_files(folder):
    """Write every file that the right command lines read, and some files that cannot be used."""
    from PIL import Image

    rng = np.random.default_rng(0)
    X = rng.normal(size=(OBJECTS, 16)).astype("f4")
    world.folder(
        folder,
        x_npy=X,
        y_npy=X[::-1],
        t_npz=replace(world.answers(600, OBJECTS), person=np.arange(600) % 12),
        w_npz=LinearTransform(np.eye(16, dtype="f4"), None, 0.0, 1.0),
        rdm_npy=np.abs(np.subtract.outer(np.arange(36.0), np.arange(36.0))),
        labels_txt="0\n1\n2\n" * (OBJECTS // 3),
        answers_csv="a,b,odd\n0,1,2\n3,4,5\n1,2,3\n",
        grid_toml='method = ["global"]\nlmbda = [1.0, 10.0]\n',
        suite_toml=SUITE,
        network_of_commands_py=NETWORK,
        empty_npy=b"",
        garbage_npz=rng.bytes(500),
    )
    (folder / "images").mkdir()
    for number in range(OBJECTS):
        Image.effect_noise((4, 4), 90).save(folder / "images" / f"object_{number:02d}.png")
    (folder / "loop").symlink_to("loop")
    with contextlib.chdir(folder):
        assert run(f"sweep {COMMANDS['sweep']}").code == 0
        (folder / "s").rename(folder / "run")
        if "collect run" in parameters():
            assert run("collect run images --out study --port 0").code == 0


def run(line, *words):
    """Run a command line in this process, in which no server starts."""
    is_server = line.startswith("collect")
    with mock.patch("uvicorn.Server.run") if is_server else contextlib.nullcontext():
        return world.run(line, *words)


@contextlib.contextmanager
def without_network():
    """Let no connection be opened and no name be looked up; yields what records the tries."""
    refused = mock.Mock(side_effect=OSError("there is no network here"))
    with (
        mock.patch.object(socket.socket, "connect", refused),
        mock.patch.object(socket.socket, "connect_ex", refused),
        mock.patch.object(socket, "getaddrinfo", refused),
    ):
        yield refused


def parameters(command=None, name=""):
    """The options and arguments of every command that help names, read from the application."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        return {name: command.params}
    leaves = {}
    for word, part in command.commands.items():
        if not part.hidden:
            leaves |= parameters(part, f"{name} {word}".strip())
    return leaves


def copy(source, folder):
    """Make `folder` a fresh copy of the files, in which links stay links."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, symlinks=True)
