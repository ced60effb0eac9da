"""A terminal: progress with rate and remaining time on standard error, tables that fit; nothing of it in a pipe."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from fcntl import ioctl

import numpy as np
import processes
import pytest

from glocal.cli import output
from glocal.cli.app import execute
from glocal.data.world import simulated_world
from glocal.evaluation.few_shot import few_shot
from glocal.transform import LinearTransform

pytestmark = pytest.mark.nightly
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
RATE, LEFT = r"[0-9.]+(?: {})?/s", r"\d:\d\d:\d\d left"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    world = simulated_world(n_triplets=4000, n_local=240, n_category=4, dimensions=24)
    np.save(folder / "features.npy", world.objects.matrix)
    np.save(folder / "triplets.npy", world.answers.objects)
    np.save(folder / "local.npy", world.local.matrix)
    np.save(folder / "labels.npy", world.local_category // 4)
    scalars = world.objects.standardization
    LinearTransform(np.eye(24, dtype="f4"), None, scalars.mean, scalars.std).save(folder / "w.npz")
    (folder / "grid.toml").write_text("alpha = [0.1, 0.25]\nlmbda = [0.1]\ntau = [0.25]\n")
    (folder / "suite.toml").write_text(
        'answers = "triplets.npy"\n[networks.n]\nfeatures = "features.npy"\n[arms.original]\n'
        '[arms.w]\ntransform = "w.npz"\n[tasks.heldout]\nkind = "odd-one-out"\n[tasks.near]\nkind = "structure"\n'
        'features = "local.npy"\nk = 5\n'
    )
    return folder


def terminal(arguments, *, stdout="pipe", columns=80, when=None, **environment):
    """Run a command whose standard error, or whose output too, is a terminal: exit code, its output, what it showed."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    env |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment}
    command = [*processes.COMMAND_LINE, *map(str, arguments)]
    out = slave if stdout == "terminal" else subprocess.PIPE
    process = processes.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=slave, env=env)
    os.close(slave)
    seen, done = {"shown": b"", "out": b""}, False
    streams = {master: "shown"} | ({process.stdout.fileno(): "out"} if process.stdout else {})
    try:
        while streams:
            for stream in select.select(list(streams), [], [], 1)[0]:
                try:
                    read = os.read(stream, 1 << 16)
                except OSError:  # the terminal ends with its last writer
                    read = b""
                seen[streams[stream]] += read
                if not read:
                    del streams[stream]
            if when is not None and not done and when in ESCAPE.sub("", seen["shown"].decode(errors="ignore")):
                process.send_signal(signal.SIGINT)
                done = True
        code = process.wait()
    finally:  # a test that is given up leaves no process
        process.kill()
        process.wait()
        os.close(master)
        if process.stdout:
            process.stdout.close()
    return code, seen["out"].decode(), seen["shown"].decode()


def test_apply_shows_rate_and_remaining_time(files, tmp_path):
    """apply draws a bar with rows/s and the time left on standard error, and leaves the result alone on output."""
    np.save(tmp_path / "many.npy", np.ones((1_500_000, 24), "f4"))
    arguments = ["apply", files / "w.npz", tmp_path / "many.npy", "--out", tmp_path / "o.npy", "--json"]
    code, out, shown = terminal(arguments)
    assert code == 0, shown
    assert json.loads(out)["rows"] == 1_500_000
    assert "\x1b" not in out
    plain = ESCAPE.sub("", shown)
    assert re.search(RATE.format("rows"), plain), plain
    assert re.search(LEFT, plain), plain
    assert "/1500000" in plain
    assert shown.rindex(SHOW) > shown.rindex(HIDE)


def test_progress_of_the_other_commands(files, tmp_path):
    """fit, sweep and suite each show what they count, at a rate; the suite and the sweep the time left."""
    given = ["--features", files / "features.npy", "--triplets", files / "triplets.npy"]
    local = ["--local-features", files / "local.npy"]
    cases = {
        "evaluations": ["fit", *given, *local, "--holdout", 3, "--tol", "1e-7", "--out", tmp_path / "t.npz"],
        "points": ["sweep", *given, *local, "--grid", files / "grid.toml", "--out", tmp_path / "s"],
        "cells": ["suite", files / "suite.toml", "--out", tmp_path / "u"],
    }
    for unit, arguments in cases.items():
        code, out, shown = terminal([*arguments, "--json"])
        plain = ESCAPE.sub("", shown)
        assert code == 0, plain
        assert isinstance(json.loads(out), dict)
        assert re.search(RATE.format(unit), plain), (unit, plain)
        assert unit == "evaluations" or re.search(LEFT, plain), (unit, plain)
        if unit == "evaluations":
            assert re.search(r"objective \d\.\d{6}", plain)


def test_no_escape_code_and_no_bar_in_a_pipe(files, tmp_path):
    """With both streams piped there is no escape code anywhere, even where colour is asked for; tenths are told."""
    arguments = ["suite", files / "suite.toml", "--out", tmp_path / "u"]
    env = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    done = processes.run(
        [*processes.COMMAND_LINE, *map(str, arguments)], capture_output=True, text=True, check=True, env=env
    )
    assert "\x1b" not in done.stdout + done.stderr
    told = [re.sub(r", about \d+ s left$", "", line) for line in done.stderr.splitlines()]
    assert told == [
        "1 of 4: n, original, heldout", "2 of 4: n, w, heldout", "3 of 4: n, original, near", "4 of 4: n, w, near",
    ]  # fmt: skip
    header, rule, *rows = done.stdout.splitlines()[:4]
    assert header.split() == ["network", "arm", "heldout", "near"]
    assert set(rule) == {"-", " "}
    assert rows[0].split()[:2] == ["n", "original"]


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {}])
def test_a_table_fits_any_terminal(files, tmp_path, environment):
    """At 40 columns no line is longer and every cell is whole; TERM=dumb has no escape code, NO_COLOR no colour."""
    arguments = ["suite", files / "suite.toml", "--out", tmp_path / "u"]
    code, _, shown = terminal(arguments, stdout="terminal", columns=40, **environment)
    assert code == 0, shown
    table = ESCAPE.sub("", shown[: shown.rindex("fitted without")])
    lines = [line.rstrip() for line in table.replace("\r", "\n").splitlines()]
    start = max(number for number, line in enumerate(lines) if line.startswith("network") and "heldout" in line)
    assert max(map(len, lines[start:])) <= 40
    assert len(re.findall(r"\[0\.\d{3}, 0\.\d{3}\]", "\n".join(lines[start:]))) >= 2
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in shown
    if "NO_COLOR" in environment:
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)


def test_ctrl_c_leaves_the_terminal_clean(files, tmp_path):
    """Interrupted inside a fit, the cursor is shown again, the last line is the sentence, and the code is 130."""
    slow = ["fit", "--features", files / "features.npy", "--triplets", files / "triplets.npy", "--tol", "1e-300",
            "--max-evaluations", 10**8, "--lmbda", 1e-3, "--dtype", "float64", "--out", tmp_path / "t.npz"]  # fmt: skip
    code, out, shown = terminal(slow, when="objective")
    assert code == 130
    assert out == ""
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    assert ESCAPE.sub("", shown).rstrip().splitlines()[-1].startswith("interrupted")


def test_plain_tables_stay_as_they_are(capsys):
    """Where output is no terminal a table is aligned text: the first column left, the others right, a dashed line."""
    output.put_table(["arm", "value"], [["original", "0.5"], ["b", "0.25"]])
    assert capsys.readouterr().out == "arm       value\n--------  -----\noriginal    0.5\nb          0.25\n"


def test_callbacks_tell_how_far(files, tmp_path):
    """The library tells of each draw and of each view."""
    rng = np.random.default_rng(0)
    labels, told = np.repeat([0, 1, 2], 12), []
    few_shot(rng.normal(size=(36, 4)), labels, rng.normal(size=(36, 4)), labels, draws=4, progress=told.append)
    assert told == [1, 2, 3, 4]
    assert execute(["suite", str(files / "suite.toml"), "--out", str(tmp_path)]) == 0


def test_a_pipe_is_told_the_time_that_is_left(capsys, monkeypatch):
    """Where no bar is drawn, each tenth says how long the rest will take at the rate so far."""
    clock = iter([0.0, 50.0, 100.0])
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    with output.progress_bar("points", 20, lines=True) as tell:
        tell(1)
        tell(2)
        tell(20)
    assert capsys.readouterr().err.splitlines() == ["2 of 20: points, about 7 min 30 s left", "20 of 20: points"]
