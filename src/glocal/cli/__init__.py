"""The command line: each command parses, loads, makes one library call and writes."""

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `glocal.cli.app`.

    SIGTERM, by which batch systems end jobs that are out of time, is an interruption like Ctrl-C.
    While modules load, either ends the process at once: libraries turn an interruption in the
    middle of an import into errors of their own.
    """
    _handle_interruptions(_end_at_once)
    gc.disable()  # what modules define stays; looking for garbage in it takes a tenth of the time
    from glocal.cli import app

    if arguments is None:  # the process is that of the command, and has no other objects
        gc.freeze()
    gc.enable()
    _handle_interruptions(app.interrupt)
    app.main(arguments)


def _handle_interruptions(handler: Callable[[int, Any], None]) -> None:
    with contextlib.suppress(ValueError):  # only the main thread can set a signal handler
        signal.signal(signal.SIGTERM, handler)
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # of a job in the background
            signal.signal(signal.SIGINT, handler)


def _end_at_once(number: int, frame: Any) -> None:
    os.write(2, b"interrupted before anything was done.\n")
    os._exit(130)
