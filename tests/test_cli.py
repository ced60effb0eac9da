"""The command line: every command end to end, exit codes, streams."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings

import numpy as np
import processes
import pytest

from glocal.cli.app import execute
from glocal.cli.output import in_options
from glocal.data.world import simulated_world
from glocal.errors import DataWarning
from glocal.results import read_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    world = simulated_world(n_triplets=20_000, n_local=200)
    np.save(folder / "features.npy", world.objects.matrix)
    (folder / "file_names.txt").write_text("\n".join(f"images/{name}.jpg" for name in world.objects.names))
    np.save(folder / "triplets.npy", world.answers.objects)
    # an id list in another order, with one object that has no features
    n = len(world.objects)
    order = np.random.default_rng(1).permutation(n)
    ids = [world.objects.names[i] for i in order]
    (folder / "ids.txt").write_text("\n".join([*ids, "object_without_features"]))
    position = np.argsort(order)
    named = position[world.answers.objects]
    named[:7, 0] = n
    np.save(folder / "named.npy", named)
    (folder / "local").mkdir()
    np.save(folder / "local" / "features.npy", world.local.matrix)
    return folder


def run(*arguments):
    return execute([str(argument) for argument in arguments])


def run_json(capsys, *arguments):
    assert run(*arguments, "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1, "one JSON object alone on standard output"
    return json.loads(out)


def test_from_files_to_heldout_accuracy(files, tmp_path, capsys):
    """split, fit, apply and evaluate lead from files to a held-out accuracy above that of the original features."""
    features, ids = files / "features.npy", files / "ids.txt"
    named = ("--features", features, "--object-ids", ids)
    counts = run_json(capsys, "data", "split", *named, "--triplets", files / "named.npy", "--out", tmp_path)
    assert counts["n_dropped"] == 7
    assert counts["train"] + counts["heldout"] + counts["between"] + 7 == 20_000
    transform = tmp_path / "transform.npz"
    record = run_json(capsys, "fit", *named, "--triplets", tmp_path / "train.npz", "--out", transform)
    assert record["method"] == "global"
    assert record["converged"] is True
    assert record["status"] == "converged"
    assert record["n_answers"] == counts["train"]
    assert set(record["parts"]) == {"global", "penalty"}
    assert {"alpha", "lmbda", "tau", "objective", "gap", "evaluations", "seconds"} <= set(record)
    assert {"n_dropped", "n_objects", "out", "holdout", "certificate"} <= set(record)
    heldout = ("evaluate", "odd-one-out", *named, "--triplets", tmp_path / "heldout.npz")
    original = run_json(capsys, *heldout)
    aligned = run_json(capsys, *heldout, "--transform", transform, "--out", tmp_path / "scores.jsonl")
    assert aligned["accuracy"] > original["accuracy"] + 0.1
    assert aligned["low"] < aligned["accuracy"] < aligned["high"]
    assert {"tie_rate", "loss", "chance", "n"} <= set(aligned)
    rows = read_rows(tmp_path / "scores.jsonl")
    assert [row["metric"] for row in rows] == ["accuracy_cosine", "loss", "tie_rate_cosine"]
    assert run("apply", transform, features, "--out", tmp_path / "aligned.npy") == 0
    assert np.load(tmp_path / "aligned.npy").shape == np.load(features).shape


def test_glocal_and_holdout(files, tmp_path, capsys):
    """With local features the method is glocal, and --holdout reports both sides of the fold."""
    record = run_json(
        capsys, "fit", "--features", files, "--answers", files / "triplets.npy", "--local-features", files / "local",
        "--holdout", 3, "--out", tmp_path / "t.npz",
    )  # fmt: skip
    assert record["method"] == "glocal"
    assert set(record["parts"]) == {"global", "local", "penalty"}
    assert record["holdout"]["fitted"]["accuracy_cosine"] >= record["holdout"]["heldout"]["accuracy_cosine"]
    assert record["holdout"]["heldout"]["n"] > 0


def test_text_output_of_fit(files, tmp_path, capsys):
    """Three lines say what is gained on new objects, what was fitted, and where it is; --verbose says the rest."""
    given = ("fit", "--features", files, "--answers", files / "triplets.npy", "--out", tmp_path / "t.npz")
    assert run(*given, "--holdout", 3) == 0
    gained, fitted, written = capsys.readouterr().out.splitlines()
    assert re.match(r"measured on .*: agreement \S+ -> \S+ .*, neighbours kept 0\.", gained)
    assert fitted.startswith("global lmbda 0.1: 20000 answers on 360 objects, converged")
    assert written == f"written to {tmp_path / 't.npz'}"
    assert run(*given, "--verbose") == 0
    streams = capsys.readouterr()
    assert "certificate: global optimum" in streams.out
    assert "generalisation is unmeasured" in streams.err


def test_unconverged_fit_warns_and_is_marked(files, tmp_path, capsys):
    """A spent budget is said on standard error and written into the file."""
    arguments = ("--features", files, "--triplets", files / "triplets.npy", "--out", tmp_path / "t.npz")
    with pytest.warns(match="not converged"):
        assert run("fit", *arguments, "--max-evaluations", 2) == 0
    meta = json.loads(str(np.load(tmp_path / "t.npz", allow_pickle=False)["meta"]))
    assert meta["fit"]["converged"] is False
    assert meta["fit"]["status"] == "budget"


def test_naive_at_lambda_max_is_refused(files, tmp_path, capsys):
    """naive with λ at or above λ_max says that the optimum is W = 0 and writes nothing."""
    arguments = ("--features", files, "--triplets", files / "triplets.npy", "--out", tmp_path / "t.npz")
    assert run("fit", *arguments, "--method", "naive", "--lmbda", 100) == 1
    message = capsys.readouterr().err
    assert "the optimum of naive is W = 0" in message
    assert not (tmp_path / "t.npz").exists()
    largest = float(re.search(r"lambda_max = ([0-9.]+)", message).group(1))
    assert run("fit", *arguments, "--method", "naive", "--lmbda", 0.9 * largest) == 0


def test_split_keeps_weights_with_their_answers(files, tmp_path, capsys):
    """Weights given to data split come back with the answers they belong to."""
    answers = np.load(files / "triplets.npy")
    np.save(tmp_path / "w.npy", answers[:, 2] + 1.0)
    run_json(
        capsys, "data", "split", "--features", files, "--triplets", files / "triplets.npy", "--weights",
        tmp_path / "w.npy", "--out", tmp_path / "s",
    )  # fmt: skip
    train = np.load(tmp_path / "s" / "train.npz")
    assert np.array_equal(train["weights"], train["answers"][:, 2] + 1.0)


def test_python_arguments_in_messages_become_options():
    """What the library calls base=1 is --base 1 on the command line; other words and parts of paths stay."""
    assert run("--version") == 0  # the options are known from the first command on
    for said, shown in (
        ("Pass base=1.", "Pass --base 1."), ("kind='nearest-of-n'; else", "--kind nearest-of-n; else"),
        ("name object_ids.", "name --object-ids."), ("in object_ids.txt, a/object_ids", None),
        ("resume=True", "--resume"), ("accuracy_cosine, base, x=3", None),
    ):  # fmt: skip
        assert in_options(said) == (shown or said)


def test_version_and_exit_codes(files, capsys):
    """0 is success, 1 bad content, 2 a wrong command line: an unknown or missing option, a value out of its range."""
    fit = ["fit", "--features", files, "--answers", files / "triplets.npy", "--out", "no/where.npz"]
    cases = {
        0: (["--version"], ["fit", "--help"]), 1: (fit, [*fit[:4], "nothing.npy", "--out", "o.npz"]),
        2: (["fit", "--nope"], ["fit"], ["nope"], [*fit, "--alpha", "x"], [*fit[:-1], "o.npz", "--alpha", 2], []),
    }  # fmt: skip
    for code, commands in cases.items():
        for arguments in commands:
            assert run(*arguments) == code, arguments
            streams = capsys.readouterr()
            assert bool(streams.out) == (code == 0 or not arguments)
            assert len(streams.err.splitlines()) == (not streams.out)


FITTING = """
import sys
from glocal.objective import ChoiceLoss
evaluate, said = ChoiceLoss.__call__, []

def tell(self, *arguments, **options):
    said or print("inside the solver", flush=True, file=sys.__stdout__)
    said.append(1)
    return evaluate(self, *arguments, **options)

ChoiceLoss.__call__ = tell
from glocal.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_fit_keeps_the_previous_file(files, tmp_path, started, number):
    """However a fit is ended, the previous transform stays whole, no partial file is left, and the next fit ends."""
    out = tmp_path / "t.npz"
    out.write_bytes(b"previous")
    slow = ["fit", "--features", files, "--triplets", files / "triplets.npy", "--tol", "1e-300", "--max-evaluations",
            "100000000", "--lmbda", "0.001", "--dtype", "float64", "--out", out]  # fmt: skip
    command = [sys.executable, "-c", FITTING, *map(str, slow)]
    process = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "inside the solver\n"
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert said.startswith("interrupted") == (number != signal.SIGKILL)
    assert out.read_bytes() == b"previous"
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]
    assert run("fit", "--features", files, "--triplets", files / "triplets.npy", "--tol", "0.1", "--out", out) == 0
    assert np.load(out)["weights"].shape == (64, 64)


def test_apply_does_not_load_torch(files, tmp_path):
    """Applying a transform needs numpy alone, so that it starts at once."""
    np.savez(tmp_path / "w.npz", weights=np.eye(64, dtype="f4"), mean=0.0, std=1.0)
    code = (
        "import sys; from glocal.cli.app import execute; "
        "code = execute(['apply', *sys.argv[1:]]); "
        "print(code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, tmp_path / "w.npz", files / "features.npy", "--out", tmp_path / "o.npy"]
    assert subprocess.check_output(command, text=True).split()[-2:] == ["0", "False"]
    assert np.allclose(np.load(tmp_path / "o.npy"), np.load(files / "features.npy"))


def test_apply_memory_is_constant(tmp_path):
    """Four times as many rows need hardly more anonymous memory, once there are more chunks than the queues hold."""
    np.savez(tmp_path / "w.npz", weights=np.eye(512, dtype="f4"), mean=0.0, std=1.0)
    code = """
import sys
from glocal.cli.app import execute
print(peak_of(lambda: execute(sys.argv[1:]))[0])
"""
    peaks = []
    for rows in (100, 60_000, 240_000):
        np.save(tmp_path / "x.npy", np.ones((rows, 512), dtype="f4"))
        arguments = ["apply", tmp_path / "w.npz", tmp_path / "x.npy", "--out", tmp_path / "o.npy"]
        peaks += processes.numbers(code, *arguments)
    assert peaks[2] < peaks[1] + 64, peaks
    assert peaks[2] < peaks[0] + 200, peaks  # MB; the libraries themselves take as much as their builds do


def test_an_odd_column_elsewhere_is_said_by_fit(files, tmp_path, capsys):
    """`fit` runs the check of `data check` and names the cause before a warning about overfitting does."""
    turned = tmp_path / "turned.npy"
    np.save(turned, np.load(files / "triplets.npy")[:, [2, 0, 1]])
    arguments = ("fit", "--features", files / "features.npy", "--triplets", turned, "--out", tmp_path / "t.npz")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert run(*arguments, "--method", "global", "--holdout", 3, "--max-evaluations", 5) == 0
    told = [str(w.message) for w in said]
    assert "column 0 odd" in told[0]
    assert any("unless a warning about the answers names another cause" in one for one in told[1:])


def test_local_features_of_another_length_are_said(files, tmp_path, capsys):
    """Rows of length 1 beside raw object features are found by `data check` and by `fit`."""
    rows = np.load(files / "local" / "features.npy")
    np.save(tmp_path / "unit.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    arguments = ("--features", files / "features.npy", "--local-features", tmp_path / "unit.npy")
    assert run("data", "check", *arguments) == 0
    out = capsys.readouterr().out
    assert "where features made alike have about 0 and 1" in out
    assert "0 errors, 1 warning, 0 notes" in out
    with pytest.warns(DataWarning, match="local features: by the mean and std of the object features"):
        run("fit", *arguments, "--triplets", files / "triplets.npy", "--out", tmp_path / "t.npz", "--tol", "0.1")


def test_a_header_in_the_answers_is_read_by_fit(files, tmp_path):
    """A CSV file whose header names the columns a, b, odd is one that `fit` reads."""
    answers = np.load(files / "triplets.npy")[:3000]
    np.savetxt(tmp_path / "t.csv", answers, fmt="%d", delimiter=",", header="a,b,odd", comments="")
    out = ("--out", tmp_path / "t.npz", "--tol", "0.1")
    assert run("fit", "--features", files / "features.npy", "--triplets", tmp_path / "t.csv", *out) == 0


def test_the_package_is_run_as_a_module_and_completes():
    """``python -m glocal`` is the command line; a shell can ask it for completions."""
    asked = subprocess.run([sys.executable, "-m", "glocal", "--version"], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith("glocal ")
    shell = {**os.environ, "_GLOCAL_COMPLETE": "complete_bash", "COMP_WORDS": "glocal sw", "COMP_CWORD": "1"}
    done = processes.run(processes.COMMAND_LINE, env=shell, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["sweep"]
