"""Change one place of the source at a time, and see whether the tests notice.

    python benchmarks/mutants.py src/glocal/sweep/grid.py:choose --tests tests/test_sweep.py

A place is a file, `FILE:FUNCTION` or `FILE:LINE`. `--number` changes are drawn from these. Each is
made in a copy of the tree, where the test files run until a test fails. A JSON line for each
change has its `outcome`: `killed` (a test failed), `survived`, or `timeout` (no verdict). Not every
survivor is a gap of the tests: a change may only cost time, or have no effect.
"""

import ast
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import workbench

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("src", "packages/glocal-collect/src")
MAX_SECONDS = "600"
COMPARISONS = ((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn))
OPERATORS = ((ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.And, ast.Or), (ast.BitAnd, ast.BitOr))
NAMES = (("min", "max"), ("any", "all"), ("sum", "mean"), ("argmin", "argmax"))


PAIRS: tuple[Any, ...] = (*COMPARISONS, (ast.Is, ast.IsNot), *OPERATORS, *NAMES)
OPPOSITES = dict([*PAIRS, *(pair[::-1] for pair in PAIRS)])


class Mutation(NamedTuple):
    """A node of a file, and what replaces it."""

    file: str
    function: str
    tree: ast.Module
    node: Any
    other: ast.AST

    def text(self) -> str:
        """The changed file."""
        return ast.unparse(copy.deepcopy(self.tree, {id(self.node): self.other}))

    def record(self) -> dict[str, Any]:
        """The place and the change, by the first lines of the nodes."""
        before, after = (ast.unparse(part).split("\n")[0] for part in (self.node, self.other))
        place = {"file": self.file, "function": self.function, "line": self.node.lineno}
        return place | {"before": before, "after": after}


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Each changed form of a node, whose parts stay as they are."""
    match node:
        case ast.Compare(ops=[operator, *others]):
            if type(operator) in OPPOSITES:
                yield changed(node, ops=[OPPOSITES[type(operator)](), *others])
            yield ast.UnaryOp(ast.Not(), node)
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OPPOSITES:
            yield changed(node, op=OPPOSITES[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.If(test=test, body=[*_, ast.Return() | ast.Continue() | ast.Raise()]):
            yield changed(node, test=ast.Constant(False))
        case ast.Name(id=name) if name in OPPOSITES and isinstance(node.ctx, ast.Load):
            yield ast.Name(OPPOSITES[name], node.ctx)
        case ast.Attribute(attr=name) if name in OPPOSITES:
            yield changed(node, attr=OPPOSITES[name])
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Call(args=arguments, keywords=keywords):
            if len(arguments) == 2 and not any(isinstance(part, ast.Starred) for part in arguments):
                yield changed(node, args=arguments[::-1])
            for keyword in keywords:
                yield changed(node, keywords=[other for other in keywords if other is not keyword])


def changed(node: ast.AST, **fields: Any) -> ast.AST:
    """The node with other fields."""
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def nodes(tree: ast.AST, function: str = "") -> Iterator[tuple[str, Any]]:
    """The statements and expressions of functions, with the qualified name of the function."""
    for name, value in ast.iter_fields(tree):
        for node in value if isinstance(value, list) else [value]:
            is_code = isinstance(node, ast.AST) and not isinstance(node, ast.JoinedStr)
            if name in ("annotation", "returns", "decorator_list") or not is_code:
                continue
            inner = function
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{function}.{node.name}".lstrip(".")
            elif function and isinstance(node, ast.stmt | ast.expr):
                yield function, node
            yield from nodes(node, inner)


def mutations(place: str) -> list[Mutation]:
    """All changes in a place."""
    file, _, name = place.partition(":")
    tree = ast.parse((ROOT / file).read_bytes())
    return [
        Mutation(file, function, tree, node, other)
        for function, node in nodes(tree)
        if name in ("", str(node.lineno)) or f"{function}.".startswith(f"{name}.")
        for other in changes(node)
    ]


def outcome(folder: Path, mutation: Mutation, tests: list[str]) -> str:
    """The verdict of the tests on a change, in a copy of the tree."""
    path = folder / mutation.file
    original = path.read_bytes()
    path.write_text(mutation.text(), "utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(folder / s) for s in SOURCES)}
    options = ["-qx", "-p", "no:random_order", "-m", "not data and not nightly"]
    command = ["timeout", MAX_SECONDS, sys.executable, "-m", "pytest", *options, *tests]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    path.write_bytes(original)
    return {0: "survived", 124: "timeout"}.get(ended.returncode, "killed")


def main() -> None:
    """Draw the changes and try them."""
    parser = workbench.parser(__doc__)
    parser.add_argument("places", nargs="+", help="FILE, FILE:FUNCTION or FILE:LINE")
    parser.add_argument("--tests", nargs="+", required=True, help="test files")
    parser.add_argument("--number", type=int, default=10, help="changes to draw")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    candidates = [mutation for place in options.places for mutation in mutations(place)]
    number = min(options.number, len(candidates))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_tree = "git ls-files -z | xargs -0 cp --parents -t"
        subprocess.run(f"{copy_tree} {folder}", shell=True, cwd=ROOT, check=True)
        for mutation in random.Random(options.seed).sample(candidates, number):
            verdict = outcome(folder, mutation, options.tests)
            print(json.dumps({"outcome": verdict, **mutation.record()}), flush=True)


if __name__ == "__main__":
    main()
