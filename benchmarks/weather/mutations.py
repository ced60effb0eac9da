"""One planted mistake at a time in the source of a module: what there is to plant, and the source with it."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

_COMPARED = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}  # fmt: skip
_COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult,
}  # fmt: skip
_PAIRS = [
    ("min", "max"), ("argmin", "argmax"), ("minimum", "maximum"), ("sum", "mean"), ("any", "all"), ("floor", "ceil"),
    ("nanmin", "nanmax"), ("ones", "zeros"), ("ones_like", "zeros_like"), ("median", "mean"), ("var", "std"),
]  # fmt: skip
_RENAMED = dict(_PAIRS) | {second: first for first, second in reversed(_PAIRS)}
_AXES = ("axis", "dim")
_SYMMETRIC = ("min", "max", "minimum", "maximum", "allclose", "isclose", "array_equal", "add", "lcm", "gcd")


class Mutant(NamedTuple):
    """A planted mistake: its number among those of its module, the line, and what became of what stood there."""

    number: int
    line: int
    before: str
    after: str
    operator: str


def mutants(source: str) -> list[Mutant]:
    """All mistakes that can be planted in a module."""
    found = []
    for number, (node, changed, operator) in enumerate(_places(ast.parse(source))):
        before, after = (ast.unparse(x) if x is not None else "pass" for x in (node, changed))
        found.append(Mutant(number, node.lineno, before.splitlines()[0], after.splitlines()[0], operator))
    return found


def planted(source: str, number: int) -> str:
    """The source with one mistake."""
    tree = ast.parse(source)
    for at, (node, changed, _) in enumerate(_places(tree)):
        if at == number:
            return ast.unparse(ast.fix_missing_locations(_Replaced(node, changed or ast.Pass()).visit(tree)))
    raise IndexError(number)


class _Replaced(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _places(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST | None, str]]:
    """Each (node, what takes its place, operator); None drops a statement."""
    for node in _computing(tree):
        yield from _of_node(node)


def _computing(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that compute: no docstrings, annotations, messages of errors, imports or type checking."""
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _computing(child)


def _of_node(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | None, str]]:
    if isinstance(node, ast.Compare):
        for new in _COMPARED[type(node.ops[0])]:
            yield node, _with(node, ops=[new(), *node.ops[1:]]), "comparison"
    elif isinstance(node, ast.BoolOp):
        yield node, _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And()), "and/or"
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield node, _with(node, op=_COMPUTED[type(node.op)]()), "arithmetic"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield node, node.operand, "sign"
    elif isinstance(node, ast.Constant):
        yield from ((node, ast.Constant(value), "constant") for value in _others(node.value))
    elif isinstance(node, ast.Slice):
        for end, step in (("lower", 1), ("upper", -1)):
            if (bound := getattr(node, end)) is not None and not isinstance(bound, ast.Constant):
                moved = ast.BinOp(copy.deepcopy(bound), ast.Add(), ast.Constant(step))
                yield node, _with(node, **{end: moved}), "slice"
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.IfExp):
        yield node, _with(node, body=node.orelse, orelse=node.body), "branches"
    elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        if name in _RENAMED:
            field = "attr" if isinstance(node, ast.Attribute) else "id"
            yield node, _with(node, **{field: _RENAMED[name]}), "min/max"
    elif isinstance(node, ast.AugAssign):
        yield node, None, "dropped"
    elif isinstance(node, ast.If) and isinstance(node.body[-1], ast.Return | ast.Continue | ast.Break | ast.Raise):
        if not node.orelse:
            yield node, None, "dropped"
    elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)
    ):
        yield node, None, "dropped"


def _of_call(node: ast.Call) -> Iterator[tuple[ast.AST, ast.AST | None, str]]:
    name = ast.unparse(node.func).rpartition(".")[2]
    if len(node.args) >= 2 and name not in _SYMMETRIC and not any(isinstance(x, ast.Starred) for x in node.args[:2]):
        yield node, _with(node, args=[node.args[1], node.args[0], *node.args[2:]]), "swapped"
    for at, given in enumerate(node.keywords):
        if given.arg in _AXES and isinstance(given.value, ast.Constant) and given.value.value in (0, 1):
            other = ast.keyword(given.arg, ast.Constant(1 - given.value.value))
            yield node, _with(node, keywords=[*node.keywords[:at], other, *node.keywords[at + 1 :]]), "axis"


def _others(value: object) -> list[object]:
    """What a constant might be by mistake."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1] if value else [1]
    return [value * 100, value / 100] if isinstance(value, float) and value else []


def _with(node: ast.AST, **fields: object) -> ast.AST:
    return ast.copy_location(type(node)(**{**dict(ast.iter_fields(node)), **fields}), node)
