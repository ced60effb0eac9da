"""What glocal brings with it: licences, the versions that were tried, and that nothing leaves the machine."""

import ast
import importlib.util
import re
import socket
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
from packaging.requirements import Requirement
from packaging.version import Version

from glocal.cli.app import app, execute
from glocal.errors import GLocalWarning

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def script(name):
    """The module docs/NAME.py, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name):
    """The versions in constraints/NAME.txt."""
    lines = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    found = (line.split(" ;")[0].split("==") for line in lines if not line.startswith("#"))
    return {plain(package): Version(version.strip()) for package, version in found}


def tried():
    """The requirements of a user: those of every installation and of the extras."""
    extras = [deps for extra, deps in PROJECT["optional-dependencies"].items() if extra not in ("docs", "dev")]
    return [Requirement(text) for deps in [PROJECT["dependencies"], *extras] for text in deps]


def test_no_licence_of_a_user_s_packages_is_the_gpl():
    """What is needed or comes by an extra is under no GPL, and what is needed states a licence."""
    licences = script("licences")
    assert licences.strong_copyleft() == []
    unknown = [name for name, stated in licences.needed().items() if stated in ("not stated", None)]
    assert [name for name in unknown if name != "cuda-toolkit"] == []  # an empty package that names NVIDIA's
    page = licences.PAGE.read_text(encoding="utf-8")
    assert [one.name for one in map(Requirement, PROJECT["dependencies"]) if f"| {plain(one.name)} |" not in page] == []


@pytest.mark.parametrize(
    ("stated", "strong"),
    [
        ("GPL-3.0-or-later", True), ("AGPL-3.0", True), ("GNU General Public License v3 (GPLv3)", True),
        ("MIT AND GPL-2.0", True), ("LGPL-3.0", False), ("GPL-2.0 OR MIT", False), ("MPL-2.0", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
    ],
)  # fmt: skip
def test_the_gpl_is_recognised(stated, strong, monkeypatch):
    """The GPL and AGPL are found as expressions, classifiers and parts; the LGPL and a choice of others are not."""
    licences = script("licences")
    monkeypatch.setattr(licences, "needed", lambda: {"x": stated})
    monkeypatch.setattr(licences, "of_extras", dict)
    assert bool(licences.strong_copyleft()) is strong


def test_the_lowest_versions_are_those_that_were_tried():
    """constraints/oldest.txt has each requirement at its lowest version, newest.txt at one that is allowed."""
    oldest, newest = pins("oldest"), pins("newest")
    for one in tried():
        (lowest,) = (Version(part.version) for part in one.specifier if part.operator == ">=")
        assert oldest[plain(one.name)] == lowest, f"{one}: make locks"
        assert newest[plain(one.name)] in one.specifier, f"{one}: make locks"


def test_no_module_executes_text():
    """No module calls eval, exec, compile or os.system, or gives a command to a shell."""
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else None
                attribute = ast.unparse(node.func) if isinstance(node.func, ast.Attribute) else None
                shell = any(key.arg == "shell" for key in node.keywords)
                if name in ("eval", "exec", "compile", "__import__") or attribute in ("os.system", "os.popen") or shell:
                    found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_the_server_listens_on_this_machine_unless_told_otherwise():
    """glocal collect has the host 127.0.0.1 and the port 8000 by default, as the page about security says."""
    collect = typer.main.get_command(app).commands["collect"].commands["run"]
    given = {param.name: param.default for param in collect.params}
    assert (given["host"], given["port"]) == ("127.0.0.1", 8000)
    assert "`127.0.0.1:8000`" in (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def test_nothing_is_asked_of_the_network(tmp_path, monkeypatch):
    """A fit with a held-out fold, an evaluation and an application open no connection and look up no name."""
    asked = []
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, lambda self, *address: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **options: asked.append(address))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 6))
    answers = np.array([rng.permutation(30)[:3] for _ in range(400)])
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "t.npy", answers)
    given = ["--features", str(tmp_path / "x.npy"), "--triplets", str(tmp_path / "t.npy")]
    out, applied = str(tmp_path / "t.npz"), str(tmp_path / "z.npy")
    with pytest.warns(GLocalWarning):  # random answers are overfitted
        assert execute(["fit", *given, "--method", "global", "--holdout", "3", "--out", out]) == 0
    assert execute(["evaluate", "odd-one-out", *given, "--transform", out]) == 0
    assert execute(["apply", out, str(tmp_path / "x.npy"), "--out", applied]) == 0
    assert asked == []
