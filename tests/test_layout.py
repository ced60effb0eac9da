"""The shape of the package: who may import whom, and what no module may do."""

import ast
import graphlib
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from glocal.errors import MissingDependencyError

SOURCE = Path(importlib.util.find_spec("glocal").origin).parent
MODULES = sorted(SOURCE.rglob("*.py"))
ORDER = (
    "errors", "files", "results", "options", "similarity", "data", "objective", "solver",
    "transform", "evaluation", "aligner", "sweep", "suite", "extract", "report", "collect", "align",
    "cli", "__main__",
)  # fmt: skip


def module_id(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def place_of(path: Path) -> str:
    """The top-level name that a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_names(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """All dotted names that a module imports, wherever in the module; `package` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "import_module":
            yield from (part.value for part in node.args if isinstance(part, ast.Constant))


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """The places under glocal that a module imports."""
    for name in imported_names(tree, package):
        parts = name.split(".")
        if parts[0] == "glocal":
            yield parts[1] if len(parts) > 1 else "glocal"


def imported_files(path: Path) -> set[str]:
    """The files under glocal that a file imports, at its top, inside a function or for its types alone."""
    found = set()
    for name in imported_names(*parsed(path)):
        root, *parts = name.split(".")
        files = [
            SOURCE.joinpath(*parts[:length]).with_suffix(".py") for length in (len(parts), len(parts) - 1) if length
        ]
        found |= {module_id(file) for file in files if root == "glocal" and file.is_file() and file != path}
    return found


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Files that import each other, on whatever detour: the first such circle, each before the one that imports it."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def violations(tree: ast.AST, package: tuple[str, ...], place: str) -> list[str]:
    """The places that a module imports although they do not lie to the left of its own."""
    if place not in ORDER:
        return [f"{place} has no place in the order"]
    allowed = {"_version", place, *ORDER[: ORDER.index(place)]}
    if place == "evaluation":
        allowed -= {"objective", "solver"}
    return [name for name in imported(tree, package) if name not in allowed]


def parsed(path: Path) -> tuple[ast.AST, tuple[str, ...]]:
    package = ("glocal", *path.relative_to(SOURCE).parts[:-1])
    return ast.parse(path.read_text(encoding="utf-8")), package


def test_a_module_imports_only_from_its_left():
    """A module imports only from places to its left in the order, and evaluation neither objective nor solver."""
    placed = [path for path in MODULES if path.parent != SOURCE or path.name[0] != "_"]
    assert {module_id(path): found for path in placed if (found := violations(*parsed(path), place_of(path)))} == {}


def test_no_files_import_each_other():
    """No circle leads from a file back to itself, imports inside functions and for types included."""
    imports = {module_id(path): imported_files(path) for path in MODULES}
    assert circle(imports) == []


def test_no_two_classes_share_a_name():
    """A class means one thing: no two public classes of the package have the same name."""
    trees = [parsed(path)[0] for path in MODULES]
    names = [node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert [name for name, number in Counter(names).items() if number > 1 and name[0] != "_"] == []


def test_contributing_states_the_order():
    """CONTRIBUTING's line of places is the order that is checked here."""
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = (block for block in text.split("\n\n") if block.startswith("    errors · "))
    assert block.replace("·", " ").split() == [place for place in ORDER if not place.startswith("_")]


FORBIDDEN = re.compile(
    r"""(?<![\w.])(?:print|eval|exec|compile|__import__)\(|os\.(?:system|popen)\(|shell=|GLOCAL_DATA_DIR
    |from\ pickle|\b(?:dill|cloudpickle)\b|pickle\.(?!UnpicklingError)  # which may be caught: torch raises it
    |np\.(?:load|save\w*)\((?!.*allow_pickle=False)|torch\.load\((?!.*weights_only=True)
    |except:|except\ .*:\n\s+pass$""",
    re.VERBOSE | re.MULTILINE,
)


def test_no_module_prints_pickles_runs_text_or_swallows_exceptions():
    """Nothing is printed, unpickled, run as code or ignored, and the variable of the tests is not read."""
    found = {}
    for path in MODULES:  # each statement on a line of its own, without comments
        lines = ast.unparse(parsed(path)[0]).split("\n")
        found[module_id(path)] = FORBIDDEN.findall("\n".join(line for line in lines if ">>> " not in line))
    assert {name: places for name, places in found.items() if places} == {}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("glocal", ("numpy", "torch", "sklearn", "numba")),
        ("glocal.aligner", ("sklearn", "numba")),
        ("glocal.evaluation.agreement", ("torch", "glocal.objective", "glocal.solver")),
        ("glocal.evaluation.structure", ("torch", "glocal.objective", "glocal.solver")),
        ("glocal.transform", ("torch", "glocal.objective", "glocal.solver")),
        ("glocal.data.sources", ("torch", "torchvision", "requests", "PIL")),
    ],
)
def test_importing_a_module_loads_nothing_it_does_not_need(module, unwanted):
    """Heavy dependencies load when they are used, not when a module that may use them is imported."""
    code = f"import sys, {module}; print([name for name in {unwanted!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_name_that_a_package_offers_loads():
    """Each name of each ``__all__`` exists, those that are loaded when they are asked for too."""
    folders = (path.parent.relative_to(SOURCE.parent) for path in MODULES if path.name == "__init__.py")
    names = [".".join(folder.parts) for folder in folders]
    for module in map(importlib.import_module, names):
        for name in getattr(module, "__all__", ()):
            try:
                assert getattr(module, name) is not None
            except MissingDependencyError:  # what runs networks needs torch, which the quick tests do without
                assert importlib.util.find_spec("torch") is None


def test_the_tests_check_shapes_at_run_time():
    """The hook is in: an argument of another shape than its annotation says is refused."""
    from jaxtyping import TypeCheckError

    from glocal.similarity import choice_loss, unit_rows

    with pytest.raises(TypeCheckError):
        unit_rows(np.zeros(3))
    with pytest.raises(TypeCheckError):
        choice_loss(np.zeros(4))
