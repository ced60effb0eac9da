"""Change one place of the source at a time, and see whether the tests notice.

    python benchmarks/mutants.py src/glocal/aligner/choice.py:Line.best --tests tests/test_keep.py

A place is a file, `FILE:FUNCTION` or `FILE:LINE`. The test files run once without a change, to
learn which of their tests enter which function. Then `--number` changes are drawn from the places.
Each change is made in a copy of the tree. There the tests that enter the changed function run, the
quickest first, until one of them fails. `--out` has a JSON line for each change: `killed` (a test
failed), `survived`, `timeout` (no verdict) or `unreached` (no test enters the function). An
interrupted run continues from this file. Not every survivor is a gap of the tests: a change may
only cost time, or have no effect.
"""

from __future__ import annotations

import argparse
import ast
import collections
import copy
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("src", "packages/glocal-collect/src")
COPIED = (*SOURCES, "tests", "packages/glocal-collect/tests", "docs", "examples", "benchmarks")
FILES = ("pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff")
STARTUP_SECONDS = 30  # processor time of pytest and its imports
MAX_WALL_SECONDS = 20  # for a second of processor time, on a busy machine
REACHED = "mutants.reached.json"
PYTEST = ("-q", "-x", "--no-header", "-p", "no:xdist", "-p", "no:random_order", "-o", "timeout=0")

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OPPOSITES = (
    ("min", "max"),
    ("any", "all"),
    ("sum", "mean"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("zeros", "ones"),
    ("floor", "ceil"),
)
NAMES = dict(OPPOSITES) | {second: first for first, second in OPPOSITES}


@dataclass(frozen=True)
class Mutation:
    """A change of the text of a file: the bytes between two offsets are replaced."""

    file: str
    function: str
    line: int
    start: int
    end: int
    kind: str
    before: str
    after: str

    @property
    def key(self) -> tuple[str, int, str, str]:
        """The key that identifies the change."""
        return self.file, self.start, self.before, self.after

    def applied(self, text: bytes) -> bytes:
        """The text of the file after the change."""
        return text[: self.start] + self.after.encode() + text[self.end :]


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Each change of a node that leaves its parts as they are: its kind and the changed node."""
    match node:
        case ast.Compare(ops=[operator, *others]):
            yield "comparison", _with(node, ops=[COMPARISONS[type(operator)](), *others])
            yield "negation", ast.UnaryOp(ast.Not(), node)
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in OPERATORS:
            yield "operator", _with(node, op=OPERATORS[type(operator)]())
        case ast.AugAssign(op=operator) if type(operator) in OPERATORS:
            yield "operator", _with(node, op=OPERATORS[type(operator)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "sign", operand
        case ast.Constant(value=bool(value)):
            yield "constant", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield "constant", ast.Constant(value + 1)
        case ast.Constant(value=float(value)):
            yield "constant", ast.Constant(2 * value or 1.0)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "branches", ast.IfExp(test, orelse, body)
        case ast.Attribute(attr="T", value=value):
            yield "transpose", value
        case ast.Name(id=name) if name in NAMES and isinstance(node.ctx, ast.Load):
            yield "opposite", ast.Name(NAMES[name], node.ctx)
        case ast.Attribute(attr=name) if name in NAMES:
            yield "opposite", _with(node, attr=NAMES[name])
        case ast.Expr(value=ast.Call()):
            yield "call dropped", ast.Pass()
        case ast.Call(args=arguments, keywords=keywords):
            if len(arguments) == 2 and not any(isinstance(part, ast.Starred) for part in arguments):
                yield "arguments swapped", _with(node, args=arguments[::-1])
            for keyword in keywords:
                others = [other for other in keywords if other is not keyword]
                yield "keyword dropped", _with(node, keywords=others)
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
            for position, part in enumerate(node.generators):
                if part.ifs:
                    parts = list(node.generators)
                    parts[position] = _with(part, ifs=[])
                    yield "filter dropped", _with(node, generators=parts)


def mutations(file: str) -> Iterator[Mutation]:
    """All changes of a file inside functions, in the order of the text."""
    text = (ROOT / file).read_bytes()
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    for function, node in _nodes(ast.parse(text)):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        for kind, changed in changes(node):
            after = ast.unparse(ast.fix_missing_locations(changed))
            after = f"({after})" if isinstance(changed, ast.expr) else after
            yield Mutation(
                file, function, node.lineno, start, end, kind, text[start:end].decode(), after
            )
        if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return | ast.Continue):
            place = node.test
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            before = text[start:end].decode()
            yield Mutation(file, function, node.lineno, start, end, "exit dropped", before, "False")


def _nodes(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The statements and expressions of functions, with the qualified name of the function."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr):
                continue  # NOTE the parts of an f-string have no true places before Python 3.12
            inner = function
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{function}.{node.name}".lstrip(".")
            elif function and isinstance(node, ast.stmt | ast.expr):
                yield function, node
            yield from _nodes(node, inner)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """The node with other fields."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class Reach:
    """A pytest plugin that records which test enters which function of the source, and its time.

    The functions that a shared fixture enters are recorded for each test that uses the fixture.
    """

    def __init__(self, root: Path) -> None:
        self.prefix = f"{root}{os.sep}"
        self.functions: dict[str, dict[str, float]] = collections.defaultdict(dict)
        self.fixtures: dict[object, tuple[set, float]] = {}
        self.codes: set = set()

    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: object) -> None:
        """Watch the calls of one test."""
        del nextitem
        self.item = item
        self.began = time.process_time()
        self.codes.clear()
        sys.setprofile(self._profile)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: object, request: object) -> Iterator[None]:
        """Record what a shared fixture enters; fixtures that it uses were set up before."""
        del request
        before = set(self.codes)
        began = time.process_time()
        self.codes.clear()
        result = yield
        self.fixtures[fixturedef] = set(self.codes), time.process_time() - began
        self.codes |= before
        return result

    def pytest_runtest_logfinish(self) -> None:
        """Record the functions that the test has entered, itself and through its fixtures."""
        sys.setprofile(None)
        seconds = time.process_time() - self.began
        codes = set(self.codes)
        for definitions in self.item._fixtureinfo.name2fixturedefs.values():
            shared, setup = self.fixtures.get(definitions[-1], (set(), 0.0))
            seconds += setup * (not shared <= codes)
            codes |= shared
        for code in codes:
            if code.co_filename.startswith(self.prefix):
                file = code.co_filename.removeprefix(self.prefix)
                function = code.co_qualname.replace(".<locals>", "").partition(".<")[0]
                self.functions[f"{file}:{function}"][self.item.nodeid] = seconds

    def _profile(self, frame: types.FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self.codes.add(frame.f_code)


class Tree:
    """A copy of the tree, in which one file at a time is changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.nbc"))
        for name in FILES:
            shutil.copy2(ROOT / name, folder / name)
        paths = os.pathsep.join(str(folder / name) for name in SOURCES)
        self.environment = os.environ | {"PYTHONPATH": paths}
        self.environment.pop("GLOCAL_DATA_DIR", None)

    def reached(self, tests: list[str]) -> dict[str, dict[str, float]]:
        """The tests that enter each function, and their seconds; from the last run if known."""
        texts = [path.read_bytes() for name in (*SOURCES, "tests") for path in _modules(name)]
        key = hashlib.sha256(b"".join(texts) + " ".join(tests).encode()).hexdigest()
        store = ROOT / REACHED
        entries = json.loads(store.read_text()) if store.exists() else {}
        if key not in entries:
            output = self.folder / "reached.json"
            command = (sys.executable, __file__, "--reach", str(output), "--tests", *tests)
            subprocess.run(command, cwd=self.folder, env=self.environment, check=True)
            entries[key] = json.loads(output.read_text())
            store.write_text(json.dumps(entries))
        return entries[key]

    def verdict(self, mutation: Mutation, tests: dict[str, float], limit: float) -> dict:
        """The verdict of the tests on a change."""
        if not tests:
            return {"outcome": "unreached", "tests": 0, "seconds": 0.0}
        chosen = []
        seconds = 0.0
        for test in sorted(tests, key=tests.__getitem__):
            seconds += tests[test]
            if chosen and seconds > limit:
                break
            chosen.append(test)
        path = self.folder / mutation.file
        text = path.read_bytes()
        path.write_bytes(mutation.applied(text))
        began = time.monotonic()
        command = (sys.executable, "-m", "pytest", *PYTEST, *chosen)
        cpu_limit = STARTUP_SECONDS + int(5 * limit)
        try:
            code = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (cpu_limit, cpu_limit)),
                timeout=MAX_WALL_SECONDS * cpu_limit,
                check=False,
            ).returncode
            outcomes = {0: "survived", -signal.SIGKILL: "timeout", -signal.SIGXCPU: "timeout"}
            outcome = outcomes.get(code, "killed")
        except subprocess.TimeoutExpired:
            outcome = "timeout"
        finally:
            path.write_bytes(text)
        return {
            "outcome": outcome,
            "tests": f"{len(chosen)} of {len(tests)}",
            "seconds": round(time.monotonic() - began, 1),
        }


def _modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def requested(places: list[str]) -> list[Mutation]:
    """All changes in the places."""
    candidates = []
    for place in places:
        file, _, name = place.partition(":")
        candidates += [
            mutation
            for mutation in mutations(file)
            if not name
            or str(mutation.line) == name
            or f"{mutation.function}.".startswith(f"{name}.")
        ]
    return candidates


def options_of_command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", help="FILE, FILE:FUNCTION or FILE:LINE")
    parser.add_argument("--tests", nargs="+", default=["tests"], help="test files or folders")
    parser.add_argument("--number", type=int, default=10, help="changes to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=30.0, help="seconds of tests for a change")
    parser.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--reach", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Draw the changes, try those that are not in the file yet, and print the counts."""
    options = options_of_command_line()
    if options.reach:
        plugin = Reach(Path.cwd())
        quick = ("-m", "not data and not nightly")
        status = pytest.main([*PYTEST, *quick, *options.tests], plugins=[plugin])
        options.reach.write_text(json.dumps(plugin.functions))
        sys.exit(status)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    tried = {tuple(row["key"]) for row in map(json.loads, lines)}
    candidates = requested(options.places)
    number = min(options.number, len(candidates))
    sample = random.Random(options.seed).sample(candidates, number)
    untried = [mutation for mutation in sample if mutation.key not in tried]
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder).resolve())
        reached = tree.reached(options.tests)
        for mutation in untried:
            tests = reached.get(f"{mutation.file}:{mutation.function}", {})
            row = {**asdict(mutation), **tree.verdict(mutation, tests, options.limit)}
            counts[row["outcome"]] += 1
            with options.out.open("a") as file:
                file.write(json.dumps({"key": mutation.key, **row}) + "\n")
            print("{outcome:9} {file}:{line} {kind}:".format(**row), end=" ")
            print("{before!r} -> {after!r} ({tests} tests, {seconds} s)".format(**row), flush=True)
    print(json.dumps({"candidates": len(candidates), "drawn": number, **counts}))


if __name__ == "__main__":
    main()
