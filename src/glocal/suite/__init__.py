"""Score many arms on many tasks: a TOML file names them, a folder keeps the results, a table shows them."""

from glocal.suite.plan import Plan
from glocal.suite.run import run_suite

__all__ = ["Plan", "run_suite"]
