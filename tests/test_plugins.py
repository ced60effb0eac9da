"""Kinds of tasks of other distributions are scored, compared and kept like those of the package."""

import sys

import numpy as np
import pytest
import world
from world import run

from glocal import LinearTransform
from glocal.data.rows import row_statistics
from glocal.errors import FileError
from glocal.suite.plan import Plan
from glocal.suite.run import run_suite
from glocal.transform.record import TransformRecord

MODULE = """
from pydantic import BaseModel

class Options(BaseModel, extra="forbid"):
    power: int = 1

def lengths(Z, y, options: Options):
    return (Z**2).sum(axis=1) ** options.power, "images"

def by_class(Z, y):
    return [Z[y == label].mean() for label in sorted({*y})], "classes"

def fails(Z, y):
    raise RuntimeError("no such thing")

def too_few(Z, y):
    return [1.0], "images"

def of_people(Z, y):
    return Z[:, 0], "people"

def untyped(Z, y, options):
    return Z[:, 0], "images"
"""
NEAR = """
[tasks.near]
kind = "structure"
features = "x.npy"
"""
SUITE = (
    """
[networks.net]
features = "x.npy"
[arms.original]
[arms.double]
transform = "double.npz"
"""
    + NEAR
)
TASK = """
[tasks.mine]
kind = "KIND"
features = "x.npy"
labels = "y.txt"
"""
Y = np.repeat([3, 5, 8], 10)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that installs a distribution with these lines of entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mymetrics", raising=False)
    (tmp_path / "mymetrics.py").write_text(MODULE, "utf-8")

    def write(*lines, name="mine", version="1.0"):
        folder = tmp_path / f"{name}-{version}.dist-info"
        world.folder(folder, entry_points_txt=["[glocal.tasks]", *lines])
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (folder / "METADATA").write_text(metadata, "utf-8")
        return folder

    return write


@pytest.fixture
def suite(tmp_path):
    """A function that runs a suite with a task of a kind, and options of it."""
    record = TransformRecord(rows=row_statistics(world.X))
    root = float((world.X**2).mean() ** 0.5)
    double = LinearTransform(2 * np.eye(8, dtype="f4"), None, 0.0, root, record)
    folder = world.folder(tmp_path / "suite", x_npy=world.X, y_txt=Y, double_npz=double)

    def write(kind, options=""):
        return world.folder(folder, s_toml=SUITE + TASK.replace("KIND", kind) + options) / "s.toml"

    return write


def run_plan(file):
    return run_suite(Plan.load(file), file.parent / "out")


def test_a_metric_of_another_distribution_is_scored_and_compared(install, suite):
    """The mean of its values is the score, with options, an interval and a paired difference; its
    cells are kept until its version changes.
    """
    folder = install("lengths = mymetrics:lengths", "by-class = mymetrics:by_class")
    result = run_plan(suite("lengths", "power = 2"))
    squares = (world.X**2 / (world.X**2).mean()).sum(axis=1)
    original, double = (result.scores.score("net", "mine", arm) for arm in ("original", "double"))
    assert original.value == pytest.approx((squares**2).mean(), rel=1e-5)
    assert double.value == pytest.approx(16 * original.value, rel=1e-5)
    assert original.n == 30
    assert original.settings == {"power": 2, "unit": "images"}
    assert original.low < original.value < original.high
    difference = result.scores.gain("net", "mine", "double", "original")
    assert difference.value == pytest.approx(15 * original.value, rel=1e-5)
    assert difference.p_corrected < 1e-3
    assert run_plan(suite("lengths", "power = 2")).n_kept == 4
    folder.rename(folder.with_name("mine-1.1.dist-info"))
    install("lengths = mymetrics:lengths", "by-class = mymetrics:by_class", version="1.1")
    assert run_plan(suite("lengths", "power = 2")).n_kept == 2
    of_classes = run_plan(suite("by-class"))
    assert of_classes.failed == {}
    assert of_classes.scores.score("net", "mine", "double").n == 3


@pytest.mark.parametrize(
    "function, words",
    [
        ("fails", "no such thing"),
        ("too_few", "shape"),
        ("of_people", "people"),
        ("none", "none"),
        ("untyped", "annotation"),
    ],
)
def test_a_broken_plugin_fails_its_own_task_alone(install, suite, function, words):
    """Whatever goes wrong in it, its distribution is named, all other tasks are scored, and the
    command ends with exit code 1.
    """
    install(f"broken = mymetrics:{function}")
    result = run_plan(suite("broken"))
    assert [*result.failed] == ["mine"]
    assert "mine 1.0" in result.failed["mine"]
    assert words in result.failed["mine"]
    assert {row.task for row in result.scores} == {"near"}
    command = run("suite", suite("broken"), "--out", suite("broken").with_name("out"))
    assert "task mine failed" in command.error(1)
    assert "near" in command.out
    file = suite("broken")
    alone = world.folder(file.parent, alone_toml=file.read_text("utf-8").replace(NEAR, ""))
    assert "mine failed" in run("suite", alone / "alone.toml", "--out", alone / "alone").error(1)


REFUSED = """
lengths | | few-shot = mymetrics:lengths | few-shot is one of glocal and of mine
lengths | power = 1.5 | lengths = mymetrics:lengths | power
lengths | exponent = 2 | lengths = mymetrics:lengths | 'exponent'
by-class | power = 2 | by-class = mymetrics:by_class | 'power'
length | | lengths = mymetrics:lengths | mean lengths
"""


@world.table("kind, options, line, words", REFUSED)
def test_what_a_suite_may_not_say_is_refused(install, suite, kind, options, line, words):
    """A taken kind, an unknown one, and an option that is not allowed are errors with a name."""
    install(line, "lengths = mymetrics:lengths" if "few-shot" in line else "")
    with pytest.raises(FileError, match=words):
        Plan.load(suite(kind, options))


def test_a_kind_of_two_distributions_is_refused(install, suite):
    """The error names both."""
    install("lengths = mymetrics:lengths")
    install("lengths = mymetrics:by_class", name="other")
    with pytest.raises(FileError, match=r"mine and of other|other and of mine"):
        Plan.load(suite("lengths"))


def test_a_plugin_is_loaded_only_for_its_kind(install, suite):
    """A suite of kinds of the package loads nothing of another distribution."""
    install("lengths = mymetrics:lengths")
    file = suite("lengths")
    Plan.load(world.folder(file.parent, plain_toml=SUITE) / "plain.toml")
    assert "mymetrics" not in sys.modules
    Plan.load(file)
    assert "mymetrics" in sys.modules
