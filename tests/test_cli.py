"""The command line: every command from end to end, exit codes and streams."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import processes
import pytest
import typer
from world import folder, run, table

from glocal import ObjectiveSettings
from glocal.cli import app
from glocal.cli.output import in_options


@pytest.fixture(scope="module")
def files(tmp_path_factory, world):
    """A simulated world, and a link to itself."""
    objects = world.objects
    names = [f"images/{name}.jpg" for name in objects.names]
    place = tmp_path_factory.mktemp("files")
    answers = world.answers.objects
    folder(place, features_npy=objects.matrix, triplets_npy=answers, file_names_txt=names)
    (place / "loop").symlink_to("loop")
    return place


@pytest.fixture
def inside(files, monkeypatch):
    """The folder with the files is the working directory."""
    monkeypatch.chdir(files)


def test_text_output_of_fit(inside, as_a_user):
    """`fit` prints the gain on held-out answers and the file; what was fitted stands there if
    nothing was held out, and else with -v.
    """
    fit = "fit --features . --answers triplets.npy --out t.npz"
    gained, written = run(f"{fit} --method global --lmbda 0.1 --holdout 3").out.splitlines()
    assert re.match(r"With the transform, .* answers about objects that .* It keeps", gained)
    assert written == "written to t.npz"
    unmeasured = run(f"{fit} --method global --lmbda 0.1")
    assert unmeasured.out.startswith("global lmbda 0.1: 12000 answers on 240 objects, converged")
    assert "generalisation is unmeasured" in unmeasured.err
    ended = run(f"{fit} -v")
    assert "to questions that the fit had not seen, about the same objects" in ended.out
    assert "lmbda chosen on held-out questions: 1.00 of global lmbda " in ended.err


def test_a_fit_to_features_of_other_images_announces_no_gain(inside, as_a_user):
    """If features and answers agree as often as by chance, the last line says so, and none says
    that agreement rose.
    """
    answers = np.random.default_rng(0).permuted(np.load("triplets.npy"), axis=1)
    np.save("random.npy", answers)
    ended = run("fit --features . --answers random.npy --method global --holdout 3 --out t.npz")
    assert ended.out.endswith("written to t.npz\n")
    assert ended.err.splitlines()[-1].startswith("warning: answers: ")
    assert "agrees with people" not in ended.out + ended.err


MESSAGES = """
data import | Pass `base=1`. | Pass --base 1.
fit | Pass `base=1`. | Pass `base=1`.
data import | `kind='nearest-of-n'`; else | --kind nearest-of-n; else
sweep | Pass `resume=True` to continue. | Pass --resume to continue.
evaluate rsa | `base` is 2, `object_ids` | `base` is 2, --object-ids
sweep | `resume=False`, `local_features=None` | --no-resume, no --local-features
apply | `object_ids` | `object_ids`
fit | local_features does not exist | local_features does not exist
fit | savez(path, answers=…, kind=…) | savez(path, answers=…, kind=…)
data | HTTPSConnectionPool(host='a', port=443) | HTTPSConnectionPool(host='a', port=443)
"""


@table("command, message, shown", MESSAGES)
def test_arguments_between_backticks_become_options(command, message, shown):
    """An argument between backticks becomes the option of the running command, and
    other text stays.
    """
    assert run(f"{command} --help").code == 0
    assert in_options(message) == shown


def test_every_command_takes_h_q_and_v(inside):
    """-h is --help; -q leaves errors alone on standard error; -v prints a line for each step, with
    what the library logs; without -v nothing is logged, in the next command too.
    """
    fit = "fit --features . --answers triplets.npy --out t.npz --method global --lmbda 3"
    assert run("fit -h").out == run("fit --help").out
    usual, quiet, verbose, after = (run(f"{fit}{flag}").err for flag in ("", " -q", " -v", ""))
    assert "generalisation is unmeasured" in usual
    assert quiet == ""
    steps = [line for line in verbose.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert sum("objective" in line for line in steps) > 1
    assert sum("read " in line for line in steps) == 2
    assert after == usual
    assert run("-q fit --features none.npy --answers t.npy --out t.npz").err.startswith("error: ")


def test_the_help_groups_commands_and_options():
    """The commands are listed by what one wants to do, and the options of a fit by subject; each
    default that is printed says when it is in force.
    """
    groups = re.findall(r"╭─ (\w[\w ,-]*?) ─", run("--help").out)
    assert groups == ["Options", "Decide", "Fit", "Use", "Measure", "Prepare"]
    help_text = run("fit --help").out
    panels = re.findall(r"╭─ (\w[\w ,-]*?) ─", help_text)
    method = "A method of the paper, in place of --keep"
    assert panels == ["Options", "Output", "Keep", method, "Solver"]
    defaults = " ".join(help_text.split(method)[1].split("╰─")[0].split()).count("default:")
    assert defaults == len(ObjectiveSettings.model_fields)
    assert "--model-name" not in help_text


def _commands(command, name=()):
    """The words and the options of each command."""
    yield name, command.params
    for word, part in getattr(command, "commands", {}).items():
        yield from _commands(part, (*name, word))


@pytest.mark.parametrize("words, params", [*_commands(app._command())])
def test_the_help_names_every_option_whole_and_no_type(words, params, monkeypatch):
    """At 80 columns each option has its whole name, required ones come first, and values have names
    that are no types of Python.
    """
    monkeypatch.setenv("COLUMNS", "80")
    text = run(*words, "--help").out
    assert max(map(len, text.splitlines())) <= 80
    lines = [line.strip("│* ").split() for line in text.splitlines()]
    shown = {word for line in lines for word in line[:1]}
    options = [param for param in params if param.opts[0].startswith("--") and not param.hidden]
    assert {param.opts[0] for param in options} <= shown
    assert not re.search(r"<[a-z]|…|\[x|<=", text)
    order = [param.required for param in options]
    assert order == sorted(order, reverse=True)


@pytest.fixture(params=[True, False])
def end_with(request, monkeypatch):
    """A function that lets every command end with an error, which typer wraps or not."""

    def end_with(error):
        def end(*_, **__):
            if request.param:
                raise typer.Abort from error
            raise error

        monkeypatch.setattr(app, "_command", lambda: end)

    return end_with


@table("command, advice", "sweep | --resume\nsuite | again\ntry |")
def test_an_interruption_says_what_applies_to_the_command(end_with, command, advice):
    """A sweep goes on with --resume, a suite keeps what is scored, and others say neither."""
    end_with(KeyboardInterrupt())
    message = run(command).error(130)
    assert "interrupted" in message
    assert advice in message
    assert ("resume" in message) == (command == "sweep")


def test_an_end_of_input_is_no_interruption(end_with):
    """An end of input inside a command is the error that it is."""
    end_with(EOFError("cut off"))
    with pytest.raises(EOFError, match="cut off"):
        app.execute(["demo"])


def test_the_package_is_run_as_a_module_and_completes():
    """``python -m glocal`` is the command line, and a shell can ask it for completions."""
    output = lambda *words, **changes: subprocess.run(
        [sys.executable, *words],
        check=False, capture_output=True, text=True, env=os.environ | changes,
    ).stdout.split()  # fmt: skip
    assert output("-m", "glocal", "--version")[0] == "glocal"
    asked = {"COMP_WORDS": "glocal data split --by ", "COMP_CWORD": "4"}
    asked["_GLOCAL_COMPLETE"] = "complete_bash"
    assert output(*processes.COMMAND_LINE[1:], **asked) == ["objects", "people"]


def test_a_command_whose_package_is_missing_or_fails_says_so(monkeypatch, capsys):
    """If the package of a command fails to load, a warning names the command and all others run.
    Without the second package, ``glocal collect`` says how to install it.
    """
    other = SimpleNamespace(name="other", load=partial(getattr, app, "gone"))
    monkeypatch.setattr(app, "entry_points", lambda group: [other])
    monkeypatch.setattr(app, "_UNAVAILABLE", {"collect": app._COLLECT})
    app._add_plugins()
    assert re.match("warning: glocal other cannot be used.*AttributeError", capsys.readouterr().err)
    for name, noun in (("other", "AttributeError"), ("collect", "./packages/glocal-collect")):
        assert noun in run(f"{name} run images --out study").error(1)
    assert run("--version").code == 0


PATHS = """
fit --features {} --answers triplets.npy --out o.npz
fit --features features.npy --answers {} --out o.npz
fit --features features.npy --answers triplets.npy --out {}.npz
fit --features features.npy --answers triplets.npy --object-ids {} --out o.npz
sweep --features {} --answers triplets.npy --out o
sweep --features features.npy --answers triplets.npy --grid {} --out o
apply {} features.npy --out o.npy
apply o.npz {} --out o.npy
evaluate odd-one-out --features {} --answers triplets.npy
evaluate structure --features {}
report {} --out o.html
report . --out {}.html
suite {} --out o
align timm:resnet18 --images {} --answers triplets.npy --out o
extract {} --model timm:resnet18 --out o
data check --features {}
data import {} --out o.npz
transforms push {} o
"""


@pytest.mark.parametrize("name", ["a" * 300, "loop"])
@table("command", PATHS)
def test_a_path_that_no_system_call_takes_is_one_sentence(command, name, inside):
    """A name of 300 characters and a link to itself are each refused in one sentence."""
    if name == "loop" and "{}." in command:
        return  # a link to itself may be replaced
    ended = run(command.format(name))
    assert ended.code in (1, 2)
    assert re.fullmatch("error: .*\n", ended.err)


def test_an_interruption_that_a_library_replaces_is_one(monkeypatch):
    """A library that raises its own error in place of an interruption ends with 130 too; one that
    swallows it is interrupted again.
    """

    class Swallowing:
        def __del__(self):
            app.interrupt(signal.SIGINT, None)

    def swallow():
        Swallowing()
        for _ in range(1000):
            time.sleep(0.01)

    def replace(*_, **__):
        try:
            app.interrupt(signal.SIGINT, None)
        except KeyboardInterrupt as error:
            raise RuntimeError("cannot build") from error

    monkeypatch.setattr(app, "_interruptions", [])
    monkeypatch.setattr(app, "_command", lambda: replace)
    assert "cannot build" not in run("demo").error(130)
    monkeypatch.setattr(sys, "unraisablehook", app._show_unraisable)
    with pytest.raises(KeyboardInterrupt):
        swallow()
