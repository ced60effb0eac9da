"""The libraries of the extras, the versions that were tried, and commands that use no network."""

import importlib
import os
import re
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import world
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from glocal import errors
from glocal.errors import MissingDependencyError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_the_packages_and_extras_named_are_those_of_the_project():
    """Each package that a message names is a dependency, or in the extra that the message names."""
    for extra, modules in [*errors._EXTRAS.items(), ("report", "PIL")]:
        offered = {Requirement(line).name for line in EXTRAS[extra]}
        assert {
            errors._PACKAGES.get(name, name.replace("_", "-")) for name in modules.split()
        } <= offered


def pins(name):
    """The versions in constraints/NAME.txt."""
    lines = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split(" ;")[0].split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(package): Version(version.strip()) for package, version in pairs}


def test_the_lowest_versions_are_those_that_were_tried():
    """constraints/oldest.txt has each lowest version, and newest.txt an allowed one."""
    oldest = pins("oldest")
    newest = pins("newest")
    extras = [deps for extra, deps in EXTRAS.items() if extra not in ("docs", "dev")]
    for requirement in (
        Requirement(text) for deps in [PROJECT["dependencies"], *extras] for text in deps
    ):
        (lowest,) = (
            Version(part.version) for part in requirement.specifier if part.operator == ">="
        )
        assert oldest[canonicalize_name(requirement.name)] == lowest, f"{requirement}: make locks"
        assert newest[canonicalize_name(requirement.name)] in requirement.specifier, (
            f"{requirement}: make locks"
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"needs h5py, which cannot be imported .*checkout.* '\.\[io\]'"),
        ("from numpy import nothing_of_this_name", "nothing_of_this_name"),
        ("import a_dependency_of_h5py", "a_dependency_of_h5py"),
    ],
)
def test_what_cannot_be_imported_is_said(tmp_path, monkeypatch, content, message):
    """The error has the reason: a missing library, a broken one, or a dependency of its own."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    if content is not None:
        monkeypatch.delitem(sys.modules, "h5py")
        (tmp_path / "h5py.py").write_text(content)
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=message):
        errors.import_optional("h5py", "an .h5 file")


def test_an_interrupt_while_the_command_line_loads_is_one_line(tmp_path):
    """Ctrl-C before the command is known ends with one line, exit code 130 and no traceback."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    code = "from glocal.cli import main; main(['--version'])"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("safetensors", "fit --features x.npy --triplets t.npy --out v.safetensors"),
        ("torchvision", "extract --model torchvision:resnet18 --list-layers"),
        ("torch", "extract images --model timm:test_vit --out features"),
    ],
)
def test_a_missing_extra_is_said_before_the_work(tmp_path, monkeypatch, missing, command):
    """A command that will need a missing library says so before it reads or writes anything."""
    if missing == "torchvision":
        pytest.importorskip("torch")
    world.folder(tmp_path)
    before = {*tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)

    def without(module: str) -> object:
        if module.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return importlib.import_module(module)

    monkeypatch.setattr(errors, "import_module", without)
    code, _, err = world.run(command)
    assert code == 1
    assert re.search(rf"needs {missing}, which cannot be imported.*'\.\[", err)
    assert {*tmp_path.iterdir()} == before


COMMANDS = """
fit --features x.npy --answers a.npz --method global --holdout 3 --out t.npz
evaluate odd-one-out --features x.npy --answers a.npz --transform t.npz --baseline original
evaluate structure --features x.npy --transform t.npz --k 3
apply t.npz x.npy --out z.npy
sweep --features x.npy --answers a.npz --grid grid.toml --out sweep
data check --features x.npy --answers a.npz
data split --features x.npy --answers a.npz --folds 2 --out split
data fetch
transforms pull
transforms pull clip-vit-b-32 --out box.npz
transforms push t.npz shared
"""
MISTAKES = """
fit --features models/x --answers a.npz --out other.npz
apply results/transfrom x.npy --out z.npy
apply clip_RN50/visual x.npy --out z.npy
evaluate odd-one-out --features x.npy --answers a.npz --transform results/transfrom.npz
transforms pull results/transfrom
transforms push results/transfrom shared
"""


def test_nothing_is_asked_of_the_network(tmp_path, monkeypatch):
    """Commands that name no address open no connection and look up no name, even a mistyped one."""
    addresses = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, lambda self, *address: addresses.append(address))
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *address, **options: addresses.append(address)
    )
    monkeypatch.setenv("GLOCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    world.folder(tmp_path)
    Path("grid.toml").write_text('method = ["global"]\nlmbda = [10]\n', encoding="utf-8")
    for command in COMMANDS.strip().splitlines():
        assert world.run(command).code == 0, command
    for command in MISTAKES.strip().splitlines():
        assert world.run(command).code in (1, 2), command
    assert addresses == []
