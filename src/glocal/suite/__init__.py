"""Score many arms on many tasks: a TOML file names them, a folder keeps the results, a table shows them."""

from typing import Any

__all__ = ["Plan", "run_suite"]


def __getattr__(name: str) -> Any:
    if name == "Plan":
        from glocal.suite.plan import Plan

        return Plan
    if name == "run_suite":  # the evaluations load only for who runs them
        from glocal.suite.run import run_suite

        return run_suite
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
