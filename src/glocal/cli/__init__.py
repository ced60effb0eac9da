"""The command line: each command parses, loads, makes one library call and writes."""

from glocal.cli.app import main

__all__ = ["main"]
