"""The structure of the packages: which file may import which, and what no module may do."""

import ast
import graphlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from world import ROOT

from glocal.errors import MissingDependencyError
from glocal.similarity import choice_loss

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
(LINES,) = (part for part in CONTRIBUTING.split("\n\n") if part.startswith("    errors · "))
ORDER = LINES.replace("·", " ").split()
MAX_FUNCTION_LINES = 60  # lines of a function without its docstring
MODULES = {}  # the syntax tree of each file, by its dotted name
for _package in ("glocal", "glocal_collect"):
    if _spec := importlib.util.find_spec(_package):
        _folder = Path(_spec.origin).parent
        for _path in sorted(_folder.rglob("*.py")):
            _parts = _path.relative_to(_folder.parent).with_suffix("").parts
            _name = ".".join(_parts).removesuffix(".__init__")
            MODULES[_name] = ast.parse(_path.read_text("utf-8"))


def nodes_at_run_time(tree):
    """The nodes of a syntax tree, without what stands under ``if TYPE_CHECKING``."""
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def imported_names(module):
    """The dotted names of the packages that a module imports when it runs, anywhere in it."""
    for node in nodes_at_run_time(MODULES[module]):
        names = [alias.name for alias in getattr(node, "names", []) if isinstance(alias, ast.alias)]
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            names = [f"{node.module}.{name}" for name in names]
        yield from (name for name in names if name.split(".")[0] in MODULES)


def imported_modules(module):
    """The modules that a module imports."""
    found = set()
    for imported in imported_names(module):
        name = imported
        while name not in MODULES:
            name = name.rpartition(".")[0]
        found.add(name)
    return found - {module}


def place(module):
    """What the order is about: the first name in glocal, or the other package."""
    return module.removeprefix("glocal.").split(".")[0]


def allowed_places(module):
    """The places to the left of that of a module; the command of glocal-collect may use `cli`."""
    here = place(module)
    if here == "glocal_collect":
        return {here, *ORDER} - ({"cli"} if module != "glocal_collect.cli" else set())
    places = {"_version", *ORDER[: ORDER.index(here) + 1]}
    return places - {"objective", "solver"} if here == "evaluation" else places


def test_a_module_imports_only_from_its_left():
    """A module imports only from places to its left in the order that CONTRIBUTING states, and
    evaluation imports neither objective nor solver.
    """
    for module in MODULES:
        if module != "glocal" and not module.startswith("glocal._"):
            places = {*map(place, imported_modules(module))}
            assert places - allowed_places(module) == set(), module


def test_no_files_import_each_other():
    """No circle of imports leads from a file back to itself, even inside functions."""
    imports = {module: imported_modules(module) for module in MODULES}
    assert imports["glocal.aligner.keep"]
    graphlib.TopologicalSorter(imports).prepare()


def test_no_file_takes_a_private_name_of_another():
    """A name with a leading underscore is used only in its own file."""
    for module, tree in MODULES.items():
        names = [*imported_names(module)]
        modules = {name.rpartition(".")[2] for name in names}
        used = re.findall(r"\b(\w+)\.(_(?!_)\w+)", ast.unparse(tree))
        private = [name for owner, name in used if owner in modules]
        private += [name for name in names if re.match(r"(?!glocal\._version).*\._", name)]
        assert private == [], module


def test_no_function_is_longer_than_a_screen():
    """No function has more than 60 lines, without its docstring."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                lines = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
                assert lines <= MAX_FUNCTION_LINES, f"{module}.{node.name}"


ADVISED = re.compile(
    r"glocal_collect|glocal\.(?:advice|verdict|report|cli|recipes)\b"
    r"|glocal\.(?:aligner\.fitting|transform\.card|suite\.table)$"
)
"""What prints: the only modules that import advice."""


def test_only_what_prints_imports_advice():
    """Advice is made for a printer, a page or a card; what computes returns numbers."""
    for module in MODULES:
        if not ADVISED.match(module):
            assert "advice" not in {*map(place, imported_modules(module))}, module


FORBIDDEN = re.compile(
    r"""(?<![\w.])(?:print|eval|exec|compile|__import__)\(|os\.(?:system|popen)\(|shell=
    |GLOCAL_DATA_DIR|from\ pickle|\b(?:dill|cloudpickle)\b
    |pickle\.(?!UnpicklingError)  # which may be caught: torch raises it
    |np\.(?:load|save\w*)\((?!.*allow_pickle=False)|torch\.load\((?!.*weights_only=True)
    |except:|except\ .*:\n\s+pass$""",
    re.VERBOSE | re.MULTILINE,
)


def test_no_module_prints_pickles_runs_text_or_swallows_exceptions():
    """No module prints, unpickles, runs text as code, ignores exceptions, or reads
    GLOCAL_DATA_DIR.
    """
    for module, tree in MODULES.items():  # code without comments, with one statement a line
        code = re.sub(r"(?m)^.*>>> .*$", "", ast.unparse(tree))
        assert FORBIDDEN.findall(code) == [], module


IMPORTS = """
glocal.cli                   numpy typer glocal.cli.app
glocal                       numpy torch sklearn numba glocal.objective glocal.solver
glocal.evaluation.agreement  torch sklearn numba glocal.objective glocal.solver
glocal.evaluation.structure  torch sklearn numba glocal.objective glocal.solver
glocal.transform             torch sklearn numba glocal.objective glocal.solver
glocal.report                torch sklearn numba glocal.objective glocal.aligner glocal.sweep
glocal.data.sources.fetch    torch sklearn numba torchvision requests PIL
glocal.aligner               torch sklearn numba
"""


def test_importing_a_module_loads_nothing_it_does_not_need():
    """Heavy dependencies are loaded when they are used, not when a module, or one before it in the
    list, is imported.
    """
    code = f"""if True:
        import importlib, sys
        for module, *unwanted in map(str.split, {IMPORTS.strip()!r}.splitlines()):
            importlib.import_module(module)
            print(*(f"{{module}} {{name}}" for name in unwanted if name in sys.modules), end="")"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_every_name_that_a_package_offers_loads():
    """Each name in each ``__all__`` exists, also if it is loaded only on request."""
    for name in "glocal aligner extract objective report solver sweep transform".split():
        module = importlib.import_module(f"glocal.{name}" if name != "glocal" else name)
        for offered in module.__all__:
            try:
                assert getattr(module, offered) is not None
            except MissingDependencyError:  # modules that run networks need torch
                assert importlib.util.find_spec("torch") is None


def test_the_tests_check_shapes_at_run_time():
    """The hook is active: an argument of another shape than annotated is refused."""
    with pytest.raises(TypeCheckError):
        choice_loss(np.zeros(4))
