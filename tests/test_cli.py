"""The command line: every command from end to end, exit codes and streams."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import typer

import glocal
from glocal.cli import app
from glocal.cli.app import execute
from glocal.cli.output import in_options
from glocal.data.world import simulated_world
from glocal.results import read_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    world = simulated_world(n_triplets=20_000, n_local=200)
    np.save(folder / "features.npy", world.objects.matrix)
    (folder / "file_names.txt").write_text(
        "\n".join(f"images/{name}.jpg" for name in world.objects.names)
    )
    np.save(folder / "triplets.npy", world.answers.objects)
    # a list of ids in another order, with one object without features
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
    """The commands split, fit, apply and evaluate lead from files to a higher held-out accuracy."""
    features = files / "features.npy"
    named = ("--features", features, "--object-ids", files / "ids.txt")
    counts = run_json(
        capsys, "data", "split", *named, "--triplets", files / "named.npy", "--out", tmp_path
    )
    assert counts["n_dropped"] == 7
    assert counts["train"] + counts["heldout"] + counts["between"] + 7 == 20_000
    transform = tmp_path / "transform.npz"
    record = run_json(
        capsys, "fit", *named, "--triplets", tmp_path / "train.npz", "--out", transform
    )
    assert record["method"] == "global"
    assert record["converged"] is True
    assert record["status"] == "converged"
    assert record["n_answers"] == counts["train"]
    assert set(record["parts"]) == {"global", "penalty"}
    assert {"alpha", "lmbda", "tau", "objective", "gap", "evaluations", "seconds"} <= set(record)
    assert {"n_dropped", "n_objects", "out", "heldout", "certificate"} <= set(record)
    heldout = ("evaluate", "odd-one-out", *named, "--triplets", tmp_path / "heldout.npz")
    original = run_json(capsys, *heldout)
    aligned = run_json(
        capsys, *heldout, "--transform", transform, "--out", tmp_path / "scores.jsonl"
    )
    assert aligned["accuracy"] > original["accuracy"] + 0.1
    assert aligned["low"] < aligned["accuracy"] < aligned["high"]
    assert {"tie_rate", "loss", "chance", "n"} <= set(aligned)
    rows = read_rows(tmp_path / "scores.jsonl")
    assert [row["metric"] for row in rows] == ["accuracy_cosine", "loss", "tie_rate_cosine"]
    assert run("apply", transform, features, "--out", tmp_path / "aligned.npy") == 0
    assert np.load(tmp_path / "aligned.npy").shape == np.load(features).shape


def test_text_output_of_fit(files, tmp_path, capsys):
    """`fit` prints three lines: the gain on new objects, the fitted data, the file."""
    data = ("--features", files, "--answers", files / "triplets.npy")
    default = ("fit", *data, "--out", tmp_path / "t.npz")
    fit = (*default, "--method", "global")
    assert run(*fit, "--holdout", 3) == 0
    gained, fitted, written = capsys.readouterr().out.splitlines()
    assert re.match(r"measured on .*: agreement \S+ -> \S+ .*, neighbours kept 0\.", gained)
    assert fitted.startswith("global lmbda 0.1: 20000 answers on 360 objects, converged")
    assert written == f"written to {tmp_path / 't.npz'}"
    assert run(*fit) == 0
    streams = capsys.readouterr()
    assert "generalisation is unmeasured" in streams.err
    assert run(*default) == 0
    gained, fitted, _ = capsys.readouterr().out.splitlines()
    assert re.match(
        r"measured on .* answers about the same objects: agreement 0\.\d+ -> 0\.", gained
    )
    assert fitted.startswith("lmbda chosen on held-out questions: 1.00 of global lmbda ")


MESSAGES = [
    (("fit", "--help"), "Pass `base=1`.", "Pass --base 1."),
    (("fit", "--help"), "`kind='nearest-of-n'`; else", "--kind nearest-of-n; else"),
    (("sweep", "--help"), "Pass `resume=True` to continue.", "Pass --resume to continue."),
    (("data", "import", "--help"), "`columns={ROLE: COLUMN}`.", "--column ROLE=COLUMN."),
    (("evaluate", "rsa", "--help"), "`base` is 2, `object_ids`", "`base` is 2, --object-ids"),
    (("apply", "--help"), "`object_ids`", "`object_ids`"),
    (("fit", "--help"), "local_features does not exist", "local_features does not exist"),
    (("fit", "--help"), "savez(path, answers=…, kind=…)", "savez(path, answers=…, kind=…)"),
    (("collect", "run", "--help"), "HTTPSConnectionPool(host='a', port=443)", None),
]


@pytest.mark.parametrize(("command", "message", "shown"), MESSAGES)
def test_arguments_between_backticks_become_options(command, message, shown, capsys):
    """An argument between backticks becomes the option of the running command, and
    other text stays.
    """
    assert run(*command) == 0
    assert in_options(message) == (shown or message)


def test_messages_about_files_name_no_options(tmp_path, monkeypatch, capsys):
    """Paths and keys of files are shown unchanged, and a wrong value in a file is exit code 1."""
    monkeypatch.chdir(tmp_path)
    np.savez("noans.npz", x=np.zeros(3))
    (tmp_path / "suite.toml").write_text(
        'answers = "t.npy"\n[networks.n]\nfeatures = "f.npy"\n[arms.original]\n'
        '[tasks.shots]\nkind = "few-shot"\ntrain = "f.npy"\ntrain_labels = "l.npy"\n'
        'test = "g.npy"\n'
    )
    (tmp_path / "kind.toml").write_text(
        '[networks.n]\nfeatures = "f.npy"\n[arms.original]\n[tasks.a]\ntrain = "f.npy"\n'
    )
    data = ("--features", "f.npy", "--answers", "noans.npz")
    commands = {
        "features local_features does not exist": ("data", "check", "--features", "local_features"),
        "savez(path, answers=": ("fit", *data, "--out", "o.npz"),
        "test and test_labels": ("suite", "suite.toml", "--out", "out"),
        "kind=None": ("suite", "kind.toml", "--out", "out"),
    }
    np.save("f.npy", np.random.default_rng(0).normal(size=(4, 3)))
    for sentence, arguments in commands.items():
        assert run(*arguments) == 1
        assert sentence in capsys.readouterr().err


def test_version_and_exit_codes(files, capsys):
    """The exit code is 0 for success, 1 for bad content, and 2 for an option that is unknown,
    missing or out of range.
    """
    features = ["fit", "--features", files]
    fit = [*features, "--answers", files / "triplets.npy"]
    nowhere = ["--out", "no/where.npz"]
    out = ["--out", "o.npz"]
    cases = {
        0: (["--version"], ["fit", "--help"]),
        1: ([*fit, *nowhere], [*features, "--answers", "nothing.npy", *out]),
        2: (
            ["fit", "--nope"],
            ["fit"],
            ["nope"],
            [*fit, *nowhere, "--alpha", "x"],
            [*fit, *out, "--alpha", 2],
            [],
        ),
    }
    for code, commands in cases.items():
        for arguments in commands:
            assert run(*arguments) == code, arguments
            streams = capsys.readouterr()
            assert bool(streams.out) == (code == 0 or not arguments)
            assert len(streams.err.splitlines()) == (not streams.out)


FITTING = """
import sys
from glocal.objective import ChoiceLoss
evaluate = ChoiceLoss.__call__
calls = []

def announce(self, *arguments, **options):
    calls or print("inside the solver", flush=True, file=sys.__stdout__)
    calls.append(1)
    return evaluate(self, *arguments, **options)

ChoiceLoss.__call__ = announce
from glocal.cli import main
main()
"""


@pytest.mark.nightly
def test_the_command_says_what_keep_promises(files, tmp_path, capsys):
    """The scores of the requested `keep` go to standard output, those of 0.05 less and more to
    standard error.
    """
    data = ("--features", files / "features.npy", "--answers", files / "triplets.npy")
    assert run("fit", *data, "--keep", 0.9, "--tol", 0.01, "--out", tmp_path / "w.npz") == 0
    shown = capsys.readouterr()
    assert "keep 0.9: " in shown.out
    named = [keep for keep in (0.8, 0.85, 0.9, 0.95) if f"keep {keep:g}:" in shown.err]
    assert named == [0.85, 0.95]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_fit_keeps_the_previous_file(files, tmp_path, started, number):
    """However a fit is stopped, the previous file stays whole, no partial file remains, and the
    next fit ends.
    """
    out = tmp_path / "t.npz"
    out.write_bytes(b"previous")
    fit = ("fit", "--features", files, "--triplets", files / "triplets.npy", "--out", out)
    endless = ("--tol", 1e-300, "--max-evaluations", 10**8, "--lmbda", 1e-6, "--dtype", "float64")
    command = [sys.executable, "-c", FITTING, *map(str, (*fit, *endless))]
    process = started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "inside the solver\n"
    process.send_signal(number)
    _, message = process.communicate()
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert message.startswith("interrupted") == (number != signal.SIGKILL)
    assert out.read_bytes() == b"previous"
    assert [path.name for path in tmp_path.iterdir()] == ["t.npz"]
    assert run(*fit, "--tol", "0.1") == 0
    assert np.load(out)["weights"].shape == (64, 64)


def test_the_package_is_run_as_a_module_and_completes():
    """``python -m glocal`` is the command line, and a shell can ask it for completions."""
    version = subprocess.run(
        [sys.executable, "-m", "glocal", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("glocal ")
    for words, completed in (
        ("glocal sw", ["sweep"]),
        ("glocal data split --by ", ["objects", "persons"]),
    ):
        place = str(words.count(" "))
        shell = {
            **os.environ,
            "_GLOCAL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": place,
        }
        completion = processes.run(
            processes.COMMAND_LINE, env=shell, capture_output=True, text=True, check=False
        )
        assert completion.stdout.split() == completed


PLUGIN = "[glocal.commands]\nother = other.cli:app\n"


def test_a_command_of_another_package_that_fails_is_left_out(tmp_path):
    """If the package of a command fails to load, a warning names the command, all others run, and
    the command itself ends with an error.
    """
    distribution = tmp_path / "other-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text(PLUGIN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cli.py").write_text("import glocal.cli.output\nglocal.cli.output.gone\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    for arguments, code in ((["--version"], 0), (["other", "run", "--out", "x"], 1)):
        ended = subprocess.run(
            [sys.executable, "-m", "glocal", *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        warning, *errors = ended.stderr.splitlines()
        assert ended.returncode == code
        assert warning.startswith("warning: glocal other cannot be used")
        assert "AttributeError" in warning
        assert [line.startswith("error: glocal other") for line in errors] == [True] * code


def test_a_command_whose_package_is_missing_says_how_to_install_it(monkeypatch, capsys):
    """Without the second package, ``glocal collect`` ends with exit code 1 and the command that
    installs it.
    """
    monkeypatch.setattr(app, "_UNAVAILABLE", {"collect": app._COLLECT})
    assert run("collect", "run", "images", "--out", "study") == 1
    assert "pip install ./packages/glocal-collect" in capsys.readouterr().err


def test_ctrl_c_is_handled_almost_from_the_start():
    """Until ``main`` runs, neither typing nor any library is loaded, so that Ctrl-C is handled
    within milliseconds.
    """
    code = (
        "import sys; before = set(sys.modules); sys.path.insert(0, sys.argv[1]); import glocal.cli;"
        "print(*sorted(set(sys.modules) - before))"
    )
    folder = Path(glocal.__file__).parents[1]
    command = [sys.executable, "-S", "-c", code, str(folder)]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert not {"typing", "importlib", "numpy", "typer", "glocal.cli.app"} & {*loaded}


@pytest.mark.parametrize("name", ["a" * 300, "loop"])
@pytest.mark.parametrize(
    "command",
    [
        "fit --features {} --answers triplets.npy --out o.npz",
        "fit --features features.npy --answers {} --out o.npz",
        "fit --features features.npy --answers triplets.npy --out {}.npz",
        "fit --features features.npy --answers triplets.npy --object-ids {} --out o.npz",
        "sweep --features {} --answers triplets.npy --out o",
        "sweep --features features.npy --answers triplets.npy --grid {} --out o",
        "apply {} features.npy --out o.npy",
        "apply o.npz {} --out o.npy",
        "evaluate odd-one-out --features {} --answers triplets.npy",
        "evaluate structure --features {}",
        "report {} --out o.html",
        "report . --out {}.html",
        "suite {} --out o",
        "align --model timm:resnet18 --images {} --answers triplets.npy --out o",
        "extract {} --model timm:resnet18 --out o",
        "data check --features {}",
        "data import {} --out o.npz",
        "transforms push {} o",
    ],
)
def test_a_path_that_no_system_call_takes_is_one_sentence(
    command, name, files, monkeypatch, capsys
):
    """A name of 300 characters and a link to itself are each refused in one sentence."""
    monkeypatch.chdir(files)
    for link in ("loop", "loop.npz", "loop.html"):
        if not os.path.lexists(link):
            os.symlink(link, link)
    arguments = command.format(name).split()
    if name == "loop" and "{}." in command:  # a link to itself may be replaced
        return
    assert run(*arguments) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")


def test_capital_endings_are_those_of_small_letters(files, tmp_path, capsys):
    """Endings in capital letters are written and read like small ones: T.NPZ is an .npz file."""
    data = ("--features", files / "features.npy", "--answers", files / "triplets.npy")
    assert run("fit", *data, "--method", "global", "--tol", 0.1, "--out", tmp_path / "T.NPZ") == 0
    aligned = tmp_path / "Z.NPY"
    assert run("apply", tmp_path / "T.NPZ", files / "features.npy", "--out", aligned) == 0
    assert np.load(aligned).shape == np.load(files / "features.npy").shape


def test_suggestions_are_near(files, capsys):
    """The error for a misspelt baseline, option or command, and for files without options,
    suggests what may be meant.
    """
    data = ("--features", files / "features.npy", "--answers", files / "triplets.npy")
    assert run("evaluate", "odd-one-out", *data, "--baseline", "orig") == 2
    assert "Did you mean original?" in capsys.readouterr().err
    assert run("evaluate", "retrieval", "--labels", "x") == 2
    assert "(Possible options: --gallery-labels, --query-labels)" in capsys.readouterr().err
    assert run("swep") == 2
    assert "'sweep'" in capsys.readouterr().err
    assert run("evaluate", "everything") == 2
    assert "odd-one-out, rsa" in capsys.readouterr().err
    assert run("fit", "x.npy", "a.npy", "--tol", 0.1) == 2
    call = "glocal fit --features x.npy --answers a.npy --out OUT."
    assert call in capsys.readouterr().err


@pytest.mark.parametrize("wrapped", [True, False])
def test_only_ctrl_c_is_an_interruption(monkeypatch, capsys, wrapped):
    """An end of input inside a command is the error that it is, and KeyboardInterrupt ends with
    130, also where typer wraps it.
    """
    monkeypatch.setattr("glocal.cli.app._command", lambda: stop)

    def stop(*_, **__):
        try:
            raise error
        except BaseException as cause:
            if wrapped:
                raise typer.Abort from cause
            raise

    error = KeyboardInterrupt()
    assert run("demo") == 130
    assert "interrupted" in capsys.readouterr().err
    error = EOFError("cut off")
    with pytest.raises(EOFError, match="cut off"):
        run("demo")


def test_flags_show_no_type_and_keep_says_what_it_does(capsys):
    """The help shows no type for a flag, and the default of `--keep`."""
    for command, default in (("fit", True), ("sweep", True), ("align", True)):
        assert run(command, "--help") == 0
        text = capsys.readouterr().out
        assert "<bool>" not in text
        keep = text.partition("--keep ")[2].partition("--")[0]
        assert ("default: 0.9" in " ".join(keep.replace("│", "").split())) == default


def test_options_stand_under_the_heading_of_what_they_are_about(capsys):
    """The help of `fit` groups the options of the paper's loop and of a method under headings."""
    assert run("fit", "--help") == 0
    panels = re.split(r"╭─ (.+?) ─", capsys.readouterr().out)
    text = dict(zip(panels[1::2], panels[2::2], strict=True))
    assert "--dtype" in text["Solver"]
    assert "--eta" in text["--solver paper"]
    assert "--lmbda" in text["Method (instead of --keep)"]
