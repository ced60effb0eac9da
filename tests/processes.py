"""Processes and browsers that tests start, and what memory their work takes. A test that names this is nightly."""

import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import Popen, run

import pytest

__all__ = ["COMMAND_LINE", "Popen", "browser", "numbers", "run"]
COMMAND_LINE = [sys.executable, "-c", "from glocal.cli import main; main()"]
WATCH = """
import contextlib, sys, threading
from pathlib import Path

def peak_of(work):
    '''The most anonymous memory (MB) of this process while `work` runs, and what it returns; it may print.'''
    peak, done = [0], threading.Event()
    def watch():
        while not done.wait(0.002):
            text = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], int(text.split("RssAnon:")[1].split()[0]))
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = work()
    finally:
        done.set()
        thread.join()
    return peak[0] // 1024, result
"""


def numbers(code: str, *arguments) -> list[int]:
    """The numbers that `code` prints, in a process that knows ``peak_of(work)``."""
    if not Path("/proc/self/status").exists():
        pytest.skip("anonymous memory is read from /proc, which this system does not have")
    command = [sys.executable, "-c", WATCH + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests of pages are skipped where it, or playwright, is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
