"""The libraries of the extras, and the versions that were tried."""

import importlib
import os
import re
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
        for name in modules.split():
            assert errors._PACKAGES.get(name, name.replace("_", "-")) in offered


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
    for requirement in map(Requirement, sum(extras, PROJECT["dependencies"])):
        name = canonicalize_name(requirement.name)
        (lowest,) = re.findall(r">=([^,]+)", str(requirement.specifier))
        assert oldest[name] == Version(lowest), f"{requirement}: make locks"
        assert newest[name] in requirement.specifier, f"{requirement}: make locks"


@pytest.mark.parametrize(
    "content, message",
    [
        ("", r"needs h5py, which cannot be imported .*checkout.* '\.\[io\]'"),
        ("from numpy import nothing_of_this_name", "nothing_of_this_name"),
        ("import a_dependency_of_h5py", "a_dependency_of_h5py"),
    ],
)
def test_what_cannot_be_imported_is_said(tmp_path, monkeypatch, content, message):
    """The error has the reason: a missing library, a broken one, or a dependency of its own."""
    monkeypatch.setitem(sys.modules, "h5py", None)
    if content:
        monkeypatch.delitem(sys.modules, "h5py")
        monkeypatch.syspath_prepend(world.folder(tmp_path, h5py_py=content))
    with pytest.raises(MissingDependencyError, match=message):
        errors.import_optional("h5py", "an .h5 file")


def test_an_interrupt_while_the_command_line_loads_is_one_line(tmp_path):
    """Ctrl-C before the command is known ends with one line, exit code 130 and no traceback."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    code = "from glocal.cli import main; main(['--version'])"
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": path}
    ended = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (130, "", 1)


@pytest.mark.parametrize(
    "missing, command",
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
    before = {*world.folder(tmp_path).iterdir()}
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
