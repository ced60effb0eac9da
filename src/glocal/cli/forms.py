"""A moment longer, for the package beside this one."""

from glocal.cli.inputs import flat

__all__ = ["flat"]
