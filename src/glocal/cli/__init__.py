"""The command line: each command parses, loads, makes one library call and writes."""

import gc
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `glocal.cli.app`."""
    gc.disable()  # what modules define stays; looking for garbage in it takes a third of the time
    from glocal.cli import app

    if arguments is None:  # the process is for the command alone, and has no other objects
        gc.freeze()
    gc.enable()
    app.main(arguments)
