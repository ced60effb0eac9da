"""What only some systems have: marks of tests that need it, and limits of time and memory."""

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

needs_posix = pytest.mark.skipif(
    os.name == "nt",
    reason="Windows has no fork, no SIGKILL, no files under /dev and no limits of memory",
)
needs_unicode_names = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8", reason="in this locale, names of files are ASCII"
)


class TooLong(BaseException):
    """Raised when a command takes too long; not an Exception, so that no reader catches it."""


@contextlib.contextmanager
def limits(cpu_seconds, memory):
    """Stop code that takes more seconds of processor time, and refuse it more bytes of memory."""

    import resource

    def stop(*_):
        raise TooLong(f"more than {cpu_seconds} seconds of processor time")

    if not Path("/proc/self/statm").exists():  # what is read is tested all the same
        yield
        return
    data = int(Path("/proc/self/statm").read_text("utf-8").split()[5]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (data + memory, hard))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
