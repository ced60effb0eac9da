"""Libraries of the extras: asked for before the work, and said in one sentence where they cannot be had."""

import importlib
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from glocal import extras
from glocal.cli import app
from glocal.cli.app import execute
from glocal.errors import MissingDependencyError, is_interrupt


def test_the_packages_and_extras_named_are_those_of_the_project():
    """Each package that a sentence names is in the extra that it names, or a dependency where it names none."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    offered = {None: project["dependencies"], **project["optional-dependencies"]}
    for package, extra in [*extras._EXTRAS.values(), ("pillow", "report")]:
        assert package in {re.split(r"[^\w-]", line)[0] for line in offered[extra]}, (package, extra)


def test_a_library_that_is_there_and_broken_is_not_called_missing(tmp_path, monkeypatch):
    """One that fails while it is imported is said to be there, with the reason; one that is not there is missing."""
    (tmp_path / "zarr.py").write_text("from numpy import nothing_of_this_name\n")
    monkeypatch.delitem(sys.modules, "zarr", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"is installed but cannot be imported \(.*nothing_of_this_name"):
        extras.needed("zarr", "--format zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)
    sentence = r"^--format zarr needs zarr, which is not installed\. Install it: pip install 'glocal\[io\]'\.$"
    with pytest.raises(MissingDependencyError, match=sentence):
        extras.needed("zarr", "--format zarr")


def test_a_missing_part_of_a_library_is_not_the_library(tmp_path, monkeypatch):
    """A library whose own dependency is not installed counts as one that cannot be imported."""
    (tmp_path / "zarr.py").write_text("import a_dependency_of_zarr\n")
    monkeypatch.delitem(sys.modules, "zarr", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"cannot be imported .*a_dependency_of_zarr"):
        extras.needed("zarr", "--format zarr")


@pytest.fixture
def interrupted_zarr(tmp_path, monkeypatch):
    """A zarr into whose import Ctrl-C falls, and which says ImportError as compiled modules do."""
    code = "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt as e:\n    raise ImportError('failed') from e\n"
    (tmp_path / "zarr.py").write_text(code)
    monkeypatch.delitem(sys.modules, "zarr", raising=False)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("interrupted_zarr")
def test_an_interrupt_during_an_import_is_an_interrupt():
    """Ctrl-C while a library loads is not taken for a library that is missing."""
    with pytest.raises(KeyboardInterrupt):
        extras.needed("zarr", "--format zarr")


def test_an_interrupted_import_ends_the_command_as_interrupted(monkeypatch, capsys, tmp_path):
    """Whatever error Ctrl-C was turned into inside an import, the command says that it was interrupted: exit 130."""

    def demo() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    command = next(one for one in app.app.registered_commands if one.name == "demo")
    monkeypatch.setattr(command, "callback", demo)
    assert execute(["demo"]) == 130
    assert capsys.readouterr().err.startswith("interrupted")
    assert not is_interrupt(ImportError("no module"))


def test_an_interrupt_while_the_command_line_loads_is_one_line(tmp_path):
    """Ctrl-C before the first command is known ends with one line and exit 130, no traceback."""
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    code = "from glocal.cli import main; main(['--version'])"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "interrupted before anything was done.\n"


@pytest.fixture
def files(tmp_path):
    """Features, answers and local images that a command would load, and where it may write."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(30, 4)).astype("f4"))
    np.save(tmp_path / "t.npy", np.sort(rng.permuted(np.tile(np.arange(30), (200, 1)), axis=1)[:, :3], axis=1))
    return tmp_path


@pytest.mark.parametrize(
    ("missing", "command", "package"),
    [
        ("altair", "sweep --features x.npy --triplets t.npy --local-features x.npy --out o --figure f.png", None),
        ("distributed", "sweep --features x.npy --triplets t.npy --local-features x.npy --out o --scheduler s", None),
        ("safetensors", "fit --features x.npy --triplets t.npy --out w.safetensors", None),
        ("jinja2", "report nowhere --out p.html", None),
        ("altair", "report nowhere --out p.html", None),
        ("vl_convert", "report nowhere --out p.html", "vl-convert-python"),
        ("PIL", "report nowhere --out p.html", "pillow"),
        ("torchvision", "extract --model torchvision:resnet18 --list-layers", None),
    ],
)
def test_a_missing_extra_is_said_before_the_work(files, monkeypatch, capsys, missing, command, package):
    """A command that will need a library says so before it fits or reads anything, and writes nothing."""
    monkeypatch.chdir(files)
    before = {path.name for path in files.iterdir()}

    def without(module: str) -> object:
        if module.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return importlib.import_module(module)

    monkeypatch.setattr(extras, "import_module", without)
    assert execute(command.split()) == 1
    said = capsys.readouterr().err
    assert re.search(f"needs {package or missing}, which is not installed. Install it: pip install 'glocal", said), said
    assert "evaluations" not in said
    assert {path.name for path in files.iterdir()} == before


def test_a_script_engine_that_dies_is_one_sentence(monkeypatch, tmp_path):
    """What kills the engine that draws does not kill the report: page and figures say it in one sentence."""
    from glocal.report import vega

    dies = "(*given):\n    import os\n    os.kill(os.getpid(), 5)\n"
    (tmp_path / "vl_convert.py").write_text(f"def javascript_bundle{dies}def vegalite_to_svg{dies}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for work in (vega.bundle, lambda: vega.drawn([{}], [".pdf"])):
        with pytest.raises(MissingDependencyError, match=rf"signal {int(signal.SIGTRAP)}\. .*ulimit -v unlimited"):
            work()


def test_a_script_engine_that_fails_is_one_sentence(monkeypatch, tmp_path):
    """What the engine says last is in the sentence, and how to install it again."""
    from glocal.report import vega

    (tmp_path / "vl_convert.py").write_text("def javascript_bundle():\n    raise ValueError('no engine')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"exit code 1: ValueError: no engine\. Install it again"):
        vega.bundle()
