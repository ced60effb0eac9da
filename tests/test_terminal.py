"""On a terminal, progress and remaining time go to standard error and tables fit; a
pipe gets neither.
"""

import contextlib
import os
import re
import signal
import struct
import subprocess

import processes
import pytest
import world
from world import normal

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
termios = pytest.importorskip("termios")
fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.nightly
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HIDE = "\x1b[?25l"
SHOW = "\x1b[?25h"


DATA = "--features x.npy --answers t.npz"


@pytest.fixture
def terminal(started, command_files, tmp_path):
    """Run a command whose standard error is a terminal, and return its exit code, its output, and
    what the terminal showed.
    """

    def run(line, when=None):
        master, slave = pty.openpty()
        shown = b""
        out = tmp_path / "out"
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        ignored = ("COLUMNS", "LINES", "NO_COLOR")
        env = {key: value for key, value in os.environ.items() if key not in ignored}
        env |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
        command = [*processes.COMMAND_LINE, *line.split()]
        streams = {"stdin": subprocess.DEVNULL, "stderr": slave, "cwd": command_files}
        with out.open("wb") as file:
            process = started(command, stdout=file, env=env, **streams)
        os.close(slave)
        with contextlib.suppress(OSError):  # the terminal closes with its last writer
            while True:
                shown += os.read(master, 1 << 16)
                if when is not None and when in ESCAPE.sub("", shown.decode(errors="ignore")):
                    process.send_signal(signal.SIGINT)
                    when = None
        os.close(master)
        return process.wait(), out.read_text("utf-8"), shown.decode()

    return run


def test_progress_is_shown_and_leaves_nothing(command_files, terminal):
    """Each long command shows its count and remaining time on standard error, and clears them at
    the end.
    """
    world.folder(command_files, many_npy=normal(300_000, 16).astype("f4"))
    cases = {
        "rows": "apply w.npz many.npy --out o.npy",
        "evaluations": f"fit {DATA} --local-features y.npy --holdout 3 --tol 1e-7 --out o.npz",
        "points": f"sweep {DATA} --grid grid.toml --out s",
        "cells": "suite suite.toml --out u",
    }
    for unit, line in cases.items():
        code, _, shown = terminal(f"{line} --json")
        text = ESCAPE.sub("", shown)
        assert code == 0, text
        assert re.search(rf"\d+/(\d+|\?) {unit} \d:\d\d:\d\d < ", text), (unit, text)
        assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_ctrl_c_leaves_the_terminal_clean(terminal):
    """After an interrupt inside a fit, the cursor is back, the last line is the message, and the
    exit code is 130.
    """
    endless = "--tol 1e-300 --max-evaluations 100000000 --lmbda 1e-6 --dtype float64"
    many_fits = "--holdout 500"  # one alone may stall before the interrupt arrives
    line = f"fit {DATA} {endless} {many_fits} --out endless.npz"
    code, out, shown = terminal(line, "objective")
    assert code == 130
    assert out == ""
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert ESCAPE.sub("", shown).rstrip().splitlines()[-1].startswith("interrupted")


def test_no_escape_code_and_no_bar_in_a_pipe(command_files, tmp_path):
    """If both streams are piped, there is no escape code anywhere, even if colour is requested."""
    env = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    words = [*processes.COMMAND_LINE, "suite", "suite.toml", "--out", tmp_path / "u"]
    options = {"capture_output": True, "text": True, "check": True, "env": env}
    ended = processes.run(words, cwd=command_files, **options)
    assert "\x1b" not in ended.stdout + ended.stderr
    assert ended.stdout.split()[:4] == ["network", "arm", "o", "s"]
