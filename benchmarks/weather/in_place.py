"""Put another source of a module in the place of the one that is imported, for whoever holds its functions too."""

from __future__ import annotations

import gc
import importlib
import sys
import types
from pathlib import Path

_PLAIN = (int, float, str, bytes, bool, tuple, frozenset, type(None), types.ModuleType)
_OF_A_CLASS = ("__dict__", "__weakref__", "__doc__", "__module__", "__slots__", "__match_args__", "__annotations__")


def put_in_place(name: str, source: str, compiled: Path) -> None:
    """Run the source in the namespace of the module `name`, and hand its functions to all that hold those of before.

    Classes stay the objects that they were, with the methods of the new ones, so that instances of both are alike.
    Machine code goes to the folder `compiled`, since numba takes functions that differ in a constant as equal.
    """
    import numba

    numba.config.CACHE_DIR = str(compiled)
    module = importlib.import_module(name)  # some modules are imported only where they are needed
    before = dict(vars(module))
    exec(module.__spec__.loader.source_to_code(source.encode(), module.__file__), vars(module))
    others: dict[int, tuple[object, object]] = {}
    for key, old in before.items():
        new = vars(module).get(key)
        if new is old or key.startswith("__"):
            continue
        if isinstance(old, type) and isinstance(new, type):
            if old.__module__ == name:
                others[id(new)] = (
                    new,
                    old,
                )  # whatever was made with the new class, such as its cells, is of the old one
                _give_methods(new, old)
                setattr(module, key, old)
        elif isinstance(old, _PLAIN):
            _give_constant(key, old, new, module)
        else:
            others[id(old)] = (old, new)
    _exchange(others)


def _give_methods(new: type, old: type) -> None:
    for key, value in list(vars(new).items()):
        if key not in _OF_A_CLASS and not isinstance(value, types.MemberDescriptorType):
            setattr(old, key, value)


def _give_constant(key: str, old: object, new: object, module: types.ModuleType) -> None:
    """Modules that import a constant have it under its name."""
    for other in list(sys.modules.values()):
        if other is not module and getattr(other, "__dict__", {}).get(key) is old and "glocal" in str(other.__spec__):
            setattr(other, key, new)


def _exchange(others: dict[int, tuple[object, object]]) -> None:
    """Exchange objects for others in every dict, list and cell that refers to them."""
    mine = {id(others), *(id(pair) for pair in others.values())}
    for holder in gc.get_referrers(*(first for first, _ in others.values())):
        if id(holder) in mine:
            continue
        if isinstance(holder, dict):
            for key, value in list(holder.items()):
                if id(value) in others:
                    dict.__setitem__(holder, key, others[id(value)][1])  # beartype freezes its own
        elif isinstance(holder, list):
            holder[:] = [others[id(value)][1] if id(value) in others else value for value in holder]
        elif isinstance(holder, types.CellType):
            holder.cell_contents = others[id(holder.cell_contents)][1]
