"""On a terminal, progress and remaining time go to standard error and tables fit; a
pipe gets neither.
"""

import contextlib
import os
import re
import signal
import struct
import subprocess
from dataclasses import replace

import numpy as np
import processes
import pytest
import world

from glocal import LinearTransform, simulated_world

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
termios = pytest.importorskip("termios")
fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.nightly
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HIDE = "\x1b[?25l"
SHOW = "\x1b[?25h"


DATA = "--features x.npy --answers t.npy"
SUITE = """
answers = "t.npy"
[networks.n]
features = "x.npy"
[arms.original]
[arms.w]
transform = "w.npz"
[tasks.heldout]
kind = "odd-one-out"
[tasks.near]
kind = "structure"
features = "local.npy"
k = 5
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    made = simulated_world(n_answers=4000, n_local=240, n_category=4, dimensions=24)
    return world.folder(
        tmp_path_factory.mktemp("files"),
        x_npy=made.objects.matrix, t_npy=made.answers.objects, local_npy=made.local.matrix,
        w_npz=replace(LinearTransform.centring(made.objects), meta={}), suite_toml=SUITE,
        grid_toml="alpha = [0.1, 0.25]\nlmbda = [0.1]\ntau = [0.25]\n",
    )  # fmt: skip


@pytest.fixture
def terminal(started, files, tmp_path):
    """Run a command on a terminal, and return its exit code, its output, and what the terminal
    showed.

    Standard error is a terminal, and standard output too if requested.
    """

    def run(line, *, stdout="file", columns=80, when=None, **environment):
        master, slave = pty.openpty()
        shown = b""
        out = tmp_path / "out"
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        ignored = ("COLUMNS", "LINES", "NO_COLOR")
        env = {key: value for key, value in os.environ.items() if key not in ignored}
        env |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
        command = [*processes.COMMAND_LINE, *line.split()]
        streams = {"stdin": subprocess.DEVNULL, "stderr": slave, "cwd": files}
        with out.open("wb") as file:
            printed = slave if stdout == "terminal" else file
            process = started(command, stdout=printed, env=env, **streams)
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


def test_progress_is_shown_and_leaves_nothing(tmp_path, terminal):
    """Each long command shows its count and remaining time on standard error, and clears them at
    the end.
    """
    rows = np.random.default_rng(0).normal(size=(300_000, 24)).astype("f4")
    out = world.folder(tmp_path, many_npy=rows)
    local = f"{DATA} --local-features local.npy"
    cases = {
        "rows": f"apply w.npz {out}/many.npy --out {out}/o.npy",
        "evaluations": f"fit {local} --holdout 3 --tol 1e-7 --out {out}/t.npz",
        "points": f"sweep {local} --grid grid.toml --out {out}/s",
        "cells": f"suite suite.toml --out {out}/u",
    }
    for unit, line in cases.items():
        code, _, shown = terminal(f"{line} --json")
        text = ESCAPE.sub("", shown)
        assert code == 0, text
        assert re.search(rf"\d+/(\d+|\?) {unit} \d:\d\d:\d\d < ", text), (unit, text)
        assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_no_escape_code_and_no_bar_in_a_pipe(files, tmp_path):
    """If both streams are piped, there is no escape code anywhere, even if colour is requested."""
    env = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    words = [*processes.COMMAND_LINE, "suite", "suite.toml", "--out", tmp_path / "u"]
    ended = processes.run(words, capture_output=True, text=True, check=True, env=env, cwd=files)
    assert "\x1b" not in ended.stdout + ended.stderr
    assert ended.stdout.split()[:4] == ["network", "arm", "heldout", "near"]


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {}])
def test_a_table_fits_any_terminal(tmp_path, terminal, environment):
    """At 40 columns no line is longer, and TERM and NO_COLOR are respected."""
    line = f"suite suite.toml --out {tmp_path}/u"
    code, _, shown = terminal(line, stdout="terminal", columns=40, **environment)
    assert code == 0, shown
    text = ESCAPE.sub("", shown).replace("\r", "\n").partition("written to")[0]
    table = text[text.rindex("\nheldout") + 1 :]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 40
    assert "original" in table
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in shown
    if "NO_COLOR" in environment:
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)


def test_ctrl_c_leaves_the_terminal_clean(tmp_path, terminal):
    """After an interrupt inside a fit, the cursor is back, the last line is the message, and the
    exit code is 130.
    """
    endless = "--tol 1e-300 --max-evaluations 100000000 --lmbda 1e-6 --dtype float64"
    many_fits = "--holdout 500"  # one alone may stall before the interrupt arrives
    line = f"fit {DATA} {endless} {many_fits} --out {tmp_path}/t.npz"
    code, out, shown = terminal(line, when="objective")
    assert (code, out) == (130, "")
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert ESCAPE.sub("", shown).rstrip().splitlines()[-1].startswith("interrupted")
