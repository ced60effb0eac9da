"""The command line: each command parses, loads, makes one library call and writes."""

import contextlib
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; see `glocal.cli.app`.

    The application is imported inside the function, so that Ctrl-C is handled while it loads.
    SIGTERM, by which batch systems end jobs that are out of time, is an interruption too.
    """
    try:
        with contextlib.suppress(ValueError):  # only the main thread can set a signal handler
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        from glocal.cli import app
    except KeyboardInterrupt:
        sys.stderr.write("interrupted before anything was done.\n")
        sys.exit(130)
    app.main(arguments)
