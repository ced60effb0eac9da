"""The structure of the packages: which file may import which, and what no module may do."""

import ast
import functools
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

SOURCES = {
    name: Path(spec.origin).parent
    for name in ("glocal", "glocal_collect")
    if (spec := importlib.util.find_spec(name)) is not None
}
SOURCE = SOURCES["glocal"]
ALL_MODULES = [path for folder in SOURCES.values() for path in sorted(folder.rglob("*.py"))]
ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
(LINES,) = (part for part in CONTRIBUTING.split("\n\n") if part.startswith("    errors · "))
ORDER = [*LINES.replace("·", " ").split(), "__main__"]
MAX_FUNCTION_LINES = 60  # lines of a function without its docstring


def package_of(path: Path) -> str:
    """The package that a file belongs to."""
    return next(name for name, folder in SOURCES.items() if path.is_relative_to(folder))


def module_id(path: Path) -> str:
    return str(path.relative_to(SOURCES[package_of(path)].parent))


def place_of(path: Path) -> str:
    """The top-level name that a file of glocal belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_names(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """All dotted names that a module imports anywhere; `package` resolves relative imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "import_module":
            yield from (part.value for part in node.args if isinstance(part, ast.Constant))


def imported_places(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """The places in glocal that a module imports; glocal-collect counts as a place of its own."""
    for name in imported_names(tree, package):
        parts = name.split(".")
        if parts[0] == "glocal":
            yield parts[1] if len(parts) > 1 else "glocal"
        elif parts[0] == "glocal_collect":
            yield parts[0]


def imported_files(path: Path) -> set[str]:
    """The files of both packages that a file imports, anywhere and for whatever purpose."""
    files = set()
    for name in imported_names(*parsed(path)):
        root, *parts = name.split(".")
        if root not in SOURCES:
            continue
        for length in (len(parts), len(parts) - 1):
            file = (
                SOURCES[root].joinpath(*parts[:length]).with_suffix(".py") if length > 0 else path
            )
            if file.is_file() and file != path:
                files.add(module_id(file))
    return files


def private_imports(path: Path) -> list[str]:
    """The names with a leading underscore that a file takes from another file of the packages."""
    tree, package = parsed(path)
    names = [name for name in imported_names(tree, package) if name.split(".")[0] in SOURCES]
    modules = {name.rpartition(".")[2] for name in names}
    private = [name for name in names if name.rpartition(".")[2].startswith("_")]
    for match in re.finditer(r"\b(\w+)\.(_(?!_)\w+)", ast.unparse(tree)):
        if match[1] in modules:
            private.append(match[0])
    return [name for name in private if not name.startswith("glocal._version")]


def function_lines(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Each function with its number of lines, without the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            yield node.name, node.end_lineno - node.lineno + 1 - len(docstring.splitlines())


def circle(imports: dict[str, set[str]]) -> list[str]:
    """The first circle of files that import each other, in order of import."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def allowed_places(path: Path) -> set[str]:
    """The places to the left of that of a file; the command of glocal-collect may use `cli` too."""
    if package_of(path) == "glocal_collect":
        places = {"glocal_collect", *ORDER[: ORDER.index("cli")]}
        return places | {"cli"} if path.name == "cli.py" else places
    place = place_of(path)
    assert place in ORDER, f"{place} has no place in the order"
    places = {"_version", place, *ORDER[: ORDER.index(place)]}
    return places - {"objective", "solver"} if place == "evaluation" else places


@functools.cache
def parsed(path: Path) -> tuple[ast.AST, tuple[str, ...]]:
    """The syntax tree of a file, and the package from which its relative imports start."""
    package = path.relative_to(SOURCES[package_of(path)].parent).parts[:-1]
    return ast.parse(path.read_text(encoding="utf-8")), package


def test_a_module_imports_only_from_its_left():
    """A module imports only from places to its left in the order that CONTRIBUTING states, and
    evaluation imports neither objective nor solver.
    """
    placed = [path for path in ALL_MODULES if path.parent != SOURCE or path.name[0] != "_"]
    violations = {
        module_id(path): set(imported_places(*parsed(path))) - allowed_places(path)
        for path in placed
    }
    assert {name: places for name, places in violations.items() if places} == {}


def test_no_files_import_each_other():
    """No circle of imports leads from a file back to itself, even inside functions or for types;
    neither in the packages nor in benchmarks.
    """
    imports = {module_id(path): imported_files(path) for path in ALL_MODULES}
    assert all(
        imports[name] for name in imports if name.endswith(("aligner/keep.py", "collect/app.py"))
    )
    assert circle(imports) == []
    scripts = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}
    roots = {}
    for name, path in scripts.items():
        modules = imported_names(ast.parse(path.read_text(encoding="utf-8")), ())
        roots[name] = {module.split(".")[0] for module in modules} & scripts.keys()
    assert any(roots.values())
    assert circle(roots) == []


def test_no_file_takes_a_private_name_of_another():
    """A name with a leading underscore is used only in its own file."""
    private = {module_id(path): private_imports(path) for path in ALL_MODULES}
    assert {name: names for name, names in private.items() if names} == {}


def test_no_function_is_longer_than_a_screen():
    """No function has more than 60 lines, without its docstring."""
    lengths = {
        f"{module_id(path)}:{name}": lines
        for path in ALL_MODULES
        for name, lines in function_lines(parsed(path)[0])
    }
    assert len(lengths) > 500
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("package", SOURCES)
def test_no_two_classes_share_a_name(package):
    """No two public classes of a package have the same name."""
    trees = [parsed(path)[0] for path in ALL_MODULES if package_of(path) == package]
    names = [
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    assert [name for name, number in Counter(names).items() if number > 1 and name[0] != "_"] == []


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
    matches = {}
    for path in ALL_MODULES:  # code without comments, with one statement a line
        lines = ast.unparse(parsed(path)[0]).split("\n")
        code = "\n".join(line for line in lines if ">>> " not in line)
        matches[module_id(path)] = FORBIDDEN.findall(code)
    assert {name: places for name, places in matches.items() if places} == {}


IMPORTS = """
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
    for path in SOURCE.rglob("__init__.py"):
        module = importlib.import_module(".".join(path.parent.relative_to(SOURCE.parent).parts))
        for name in getattr(module, "__all__", ()):
            try:
                assert getattr(module, name) is not None
            except MissingDependencyError:  # modules that run networks need torch
                assert importlib.util.find_spec("torch") is None


def test_the_tests_check_shapes_at_run_time():
    """The hook is active: an argument of another shape than annotated is refused."""
    from jaxtyping import TypeCheckError

    from glocal.similarity import choice_loss, unit_rows

    with pytest.raises(TypeCheckError):
        unit_rows(np.zeros(3))
    with pytest.raises(TypeCheckError):
        choice_loss(np.zeros(4))
