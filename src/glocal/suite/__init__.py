"""Score many arms on many tasks: a TOML file names them, a folder keeps the results.

Names load when they are used, so that a report, which needs the tables alone, loads no solver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glocal.suite.plan import Plan
    from glocal.suite.run import run_suite

__all__ = ["Plan", "run_suite"]
_HOME = {"Plan": "glocal.suite.plan", "run_suite": "glocal.suite.run"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
