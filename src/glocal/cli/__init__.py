"""The command line: each command parses, loads, makes one library call and writes."""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `glocal.cli.app`."""
    from glocal.cli import app

    app.main(arguments)
