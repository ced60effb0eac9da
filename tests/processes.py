"""Processes and browsers that tests start, and measurements of memory; tests that use them run
nightly.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, Popen, run

import pytest

__all__ = ["COMMAND_LINE", "PIPE", "Popen", "Study", "browser", "no_screen", "numbers", "run"]
COMMAND_LINE = [sys.executable, "-c", "from glocal.cli import main; main()"]
WATCH = """
import contextlib, sys, threading
from pathlib import Path

def peak_of(work):
    '''The peak of anonymous memory (MB) while `work` runs, and its result; it may print.'''
    peak = [0]
    ended = threading.Event()
    def watch():
        while not ended.wait(0.002):
            text = Path("/proc/self/status").read_text()
            peak[0] = max(peak[0], int(text.split("RssAnon:")[1].split()[0]))
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = work()
    finally:
        ended.set()
        thread.join()
    return peak[0] // 1024, result
"""


def numbers(code: str, *arguments) -> list[int]:
    """The numbers that `code` prints in a new process, in which ``peak_of(work)`` is defined."""
    if not Path("/proc/self/status").exists():
        pytest.skip("anonymous memory is read from /proc, which this system does not have")
    command = [sys.executable, "-c", WATCH + code, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return [int(number) for number in process.stdout.split()]


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    """Results have no limit of width unless a test sets one: workers set a width of their own."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="module")
def browser():
    """Chromium; tests of pages are skipped if it or playwright is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


class Study:
    """The process of a study in a folder, and the links that it prints."""

    def __init__(self, folder: Path, options: str, *words: Path) -> None:
        command = [sys.executable, *"-m glocal collect run --json".split(), *options.split()]
        self.process = Popen(
            [*command, "--out", folder, *words], stdout=PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.links = json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        with self.process:  # waits and closes the pipe
            self.process.kill()
