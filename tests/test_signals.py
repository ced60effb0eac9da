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

TIMES = int(os.environ.get("GLOCAL_SIGNALS", "3"))
OUTPUTS = {
    "fit": "o.npz",
    "suite": "u",
    "extract": "e",
    "apply": "o.npy",
    "align": "a",
    "demo": "demo-out",
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
COMMAND = "print('begins', flush=True); from glocal.cli import main; main()"

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600 * (TIMES + 1))]


@pytest.fixture(scope="module")
def source(tmp_path_factory, without_type_checks):
    """A folder with all files that the command lines read."""
    folder = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        command_lines.write_files(folder)
        yield folder


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_interrupted_command_ends_as_an_undisturbed_one(name, source, tmp_path, started):
    """After SIGINT, SIGTERM or SIGKILL each output is the previous one, whole or absent, and
    nothing unfinished stays; the same command then ends with the results of an undisturbed run.
    """
    line = command_lines.COMMANDS[name].replace("--dry-run", "")

    def begin(folder):
        command_lines.copy(source, folder)
        return run(folder)

    def run(folder):
        process = started(
            [processes.sys.executable, "-c", COMMAND, *name.split(), *line.split()],
            cwd=folder,
            stdout=processes.PIPE,
            stderr=processes.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout.readline() == "begins\n"
        return process

    start = time.monotonic()
    process = begin(tmp_path / "undisturbed")
    assert process.communicate()[1] is not None
    assert process.returncode == 0
    seconds = time.monotonic() - start
    expected = contents(tmp_path / "undisturbed" / OUTPUTS[name])
    assert expected
    rng = random.Random(f"{name} {time.time() // 86400}")
    for case in range(TIMES):
        number = SIGNALS[case % len(SIGNALS)]
        moment = rng.uniform(0.1, seconds)
        folder = tmp_path / str(case)
        process = begin(folder)
        time.sleep(moment)
        process.send_signal(number)
        _, message = process.communicate()
        what = f"{number.name} after {moment:.2f} of {seconds:.2f} seconds: {message}"
        assert "Traceback" not in message, what
        assert process.returncode in (0, 130, -number), what
        out = folder / OUTPUTS[name]
        contents(out)  # each file can be read
        assert number == signal.SIGKILL or not unfinished(out), what
        process = run(folder)
        _, message = process.communicate()
        assert process.returncode == 0, f"{what}\nagain: {message}"
        assert not unfinished(out), what
        assert_same(contents(out), expected, what)


def unfinished(out):
    """The names of hidden files in the folder of the output, and in the output, but that of the
    folder of an extraction that can be continued.
    """
    paths = [*out.parent.glob(".*"), *out.rglob(".*")]
    return [path.name for path in paths if path.name != ".extract"]


def contents(out):
    """The numbers in each file of an output, by its name and that of the array; without times."""
    arrays = {}
    for path in [out, *sorted(out.rglob("*"))]:
        name = str(path.relative_to(out.parent))
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix in (".npy", ".npz"):
            loaded = np.load(path)
            members = loaded if path.suffix == ".npz" else {"": loaded}
            numeric = {key: members[key] for key in members if members[key].dtype.kind in "fiub"}
            arrays |= {f"{name} {key}": array for key, array in numeric.items()}
        elif path.suffix == ".jsonl":
            rows = [json.loads(row) | {"seconds": 0} for row in path.read_text().splitlines()]
            arrays[name] = np.array(sorted(json.dumps(row, sort_keys=True) for row in rows))
        else:
            arrays[name] = np.array(path.stat().st_size > 0)
    return arrays


def assert_same(actual, expected, what):
    assert actual.keys() == expected.keys(), what
    for name, array in expected.items():
        assert actual[name].shape == array.shape, f"{name}: {what}"
        if array.dtype.kind == "f":
            np.testing.assert_allclose(actual[name], array, atol=1e-4, err_msg=f"{name}: {what}")
        else:
            assert (actual[name] == array).all(), f"{name}: {what}"
