"""Commands that are interrupted or killed at a random time leave whole files or none, and run again
to the same results.

GLOCAL_SIGNALS is the number of times for each command.
"""

import json
import os
import random
import signal
import time

import command_lines
import numpy as np
import processes
import pytest
import systems

TIMES = int(os.environ.get("GLOCAL_SIGNALS", "3"))
SIGNALS = ("SIGINT", "SIGTERM", "SIGKILL")
COMMAND = "from glocal.cli import app; print('begins', flush=True); app.main()"

pytestmark = [systems.needs_posix, pytest.mark.nightly, pytest.mark.timeout(600 * (TIMES + 1))]


@pytest.mark.parametrize("name", "fit sweep suite extract apply align demo".split())
def test_an_interrupted_command_ends_as_an_undisturbed_one(name, command_files, tmp_path, started):
    """After SIGINT, SIGTERM or SIGKILL each output is the previous one, whole or absent, and
    nothing unfinished stays, after SIGKILL until the next day; the same command then ends with the
    results of an undisturbed run.
    """
    words = [name, *command_lines.COMMANDS[name].split()]

    def begun(folder):
        process = started(
            [processes.sys.executable, "-c", COMMAND, *words],
            cwd=folder,
            stdout=processes.PIPE,
            stderr=processes.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout.readline() == "begins\n"
        return process

    def ended(folder, what):
        process = begun(folder)
        _, message = process.communicate()
        out = folder / words[-1]
        assert (process.returncode, unfinished(out)) == (0, []), f"{what}: {message}"
        return contents(out)

    command_lines.copy(command_files, tmp_path / "undisturbed")
    start = time.monotonic()
    expected = ended(tmp_path / "undisturbed", "undisturbed")
    seconds = time.monotonic() - start
    assert expected
    rng = random.Random(f"{name} {time.time() // 86400}")
    for case in range(TIMES):
        number = signal.Signals[SIGNALS[case % len(SIGNALS)]]
        moment = rng.uniform(0.1, seconds)
        folder = tmp_path / str(case)
        command_lines.copy(command_files, folder)
        process = begun(folder)
        time.sleep(moment)
        process.send_signal(number)
        _, message = process.communicate()
        what = f"{number.name} after {moment:.2f} of {seconds:.2f} seconds: {message}"
        assert "Traceback" not in message, what
        assert process.returncode in (0, 130, -number), what
        out = folder / words[-1]
        contents(out)  # each file can be read
        assert number == signal.SIGKILL or not unfinished(out), what
        for partial in folder.rglob(".*.partial"):  # as if the next run came a day later
            os.utime(partial, (0, 0))
        again = ended(folder, what)
        assert again.keys() == expected.keys(), what
        for file, array in expected.items():
            np.testing.assert_allclose(again[file], array, atol=1e-4, err_msg=f"{file}: {what}")


def unfinished(out):
    """The names of hidden files in the folder of the output, and in the output, but that of the
    folder of an extraction that can be continued.
    """
    paths = [*out.parent.glob(".*"), *out.rglob(".*")]
    return [path.name for path in paths if path.name != ".extract"]


def contents(out):
    """The numbers in each file of an output, by its name and that of the array."""
    arrays = {}
    for path in [out, *sorted(out.rglob("*"))]:
        name = str(path.relative_to(out.parent))
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".npy":
            arrays[name] = np.load(path)
        elif path.suffix == ".npz":
            members = {f"{name} {key}": array for key, array in np.load(path).items()}
            arrays |= {key: array for key, array in members.items() if array.dtype.kind in "fiub"}
        elif path.suffix == ".jsonl":
            rows = map(json.loads, path.read_text("utf-8").splitlines())
            arrays[name] = sorted(row.get("value") or row.get("agreement") or 0 for row in rows)
        else:
            arrays[name] = path.stat().st_size > 0
    return arrays
