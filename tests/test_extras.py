"""The libraries of the extras, and the versions that were tried."""

import re
import sys
import tomllib

import pytest
import world
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from world import ROOT

from glocal import errors
from glocal.errors import MissingDependencyError

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def test_the_packages_and_extras_named_are_those_of_the_project():
    """Each package that a message names is a dependency, or in the extra that the message names."""
    for extra, modules in [*errors._EXTRAS.items(), ("report", "PIL")]:
        offered = {Requirement(line).name for line in EXTRAS[extra]}
        for name in modules.split():
            assert errors._PACKAGES.get(name, name.replace("_", "-")) in offered


def pins(name):
    """The versions in constraints/NAME.txt."""
    text = (ROOT / "constraints" / f"{name}.txt").read_text("utf-8")
    pairs = re.findall(r"(?m)^([\w.-]+)==([^\s;]+)", text)
    return {canonicalize_name(package): Version(version) for package, version in pairs}


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


def test_what_cannot_be_imported_is_said(tmp_path, monkeypatch):
    """The error has the reason, which may be a dependency of the library, and the extra."""
    monkeypatch.delitem(sys.modules, "h5py", raising=False)
    monkeypatch.syspath_prepend(world.folder(tmp_path, h5py_py="import of_h5py"))
    reason = r"needs h5py, .*of_h5py.*checkout.*'\.\[io\]'"
    with pytest.raises(MissingDependencyError, match=reason):
        errors.import_optional("h5py", "an .h5 file")


LACKS = """
safetensors | fit --features x.npy --answers t.npy --out v.safetensors
torch       | extract images --model timm:test_vit --out features
"""


@world.table("missing, command", LACKS)
def test_a_missing_extra_is_said_before_the_work(here, monkeypatch, missing, command):
    """A command that will need a missing library says so before it reads or writes anything."""
    before = {*world.folder(here).iterdir()}
    monkeypatch.setitem(sys.modules, missing, None)
    message = world.run(command).error(1)
    assert re.search(rf"needs {missing}, which cannot be imported.*'\.\[", message)
    assert {*here.iterdir()} == before
