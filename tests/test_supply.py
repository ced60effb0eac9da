"""What glocal brings with it: the versions that were tried, and that nothing leaves the machine."""

import re
import socket
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from glocal.cli.app import execute
from glocal.errors import GLocalWarning

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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


def test_the_lowest_versions_are_those_that_were_tried():
    """constraints/oldest.txt has each requirement at its lowest version, newest.txt at one that is allowed."""
    oldest, newest = pins("oldest"), pins("newest")
    for one in tried():
        (lowest,) = (Version(part.version) for part in one.specifier if part.operator == ">=")
        assert oldest[plain(one.name)] == lowest, f"{one}: make locks"
        assert newest[plain(one.name)] in one.specifier, f"{one}: make locks"


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
