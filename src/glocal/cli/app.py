"""The application: commands, exit codes, and how errors and warnings are shown."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from glocal._version import __version__
from glocal.cli import align, apply, data, demo, evaluate, extract, fit, report, suite, sweep, transforms
from glocal.cli.output import OPTIONS, in_options, say
from glocal.errors import GLocalError, GLocalWarning, ParameterError, one_line

app = typer.Typer(name="glocal", no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
_ALONE = (
    demo.demo,
    fit.fit,
    sweep.sweep,
    apply.apply,
    suite.suite,
    report.report,
    extract.extract,
    align.align,
)
for _run in _ALONE:
    app.command(_run.__name__)(_run)
for _module in (evaluate, data, transforms):
    app.add_typer(_module.app, name=_module.__name__.rpartition(".")[2])
for _plugin in entry_points(group="glocal.commands"):  # of other distributions: an entry point is a typer app
    try:
        app.add_typer(_plugin.load(), name=_plugin.name)
    except ImportError as _error:  # one of another version takes no other command with it
        say(f"warning: glocal {_plugin.name} is left out, since its package cannot be loaded ({one_line(_error)}).")


def _print_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"glocal {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Align features with people's odd-one-out answers; keep each image's neighbours."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code that `execute` returns."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("once", GLocalWarning)  # a sweep and the refit of its choice find the same
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: Sequence[str]) -> int:
    """Run one command in this process and return its exit code; its errors are printed, not raised.

    Parameters
    ----------
    arguments
        The words after ``glocal``, as in ``execute(["evaluate", "odd-one-out", "--features", "features.npy"])``.

    Returns
    -------
    int
        0: the command succeeded; 1: bad content, explained in one sentence; 2: a wrong command line: an unknown or
        missing option, or a value outside its range; 130: interrupted, by Ctrl-C or SIGTERM.
    """
    try:
        command = _command()
        OPTIONS.clear()
        OPTIONS.update(_options(command, arguments))
        result = command(list(arguments), prog_name="glocal", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except typer.Exit as ended:
        code = ended.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Exception as error:  # noqa: BLE001
        code = _failed(error)
    if code == 130:
        how = {"sweep": " with --resume", "suite": "", "extract": "", "align": ""}.get("".join(arguments[:1]))
        again = "" if how is None else f" To go on, give the same command again{how}."
        say(f"interrupted; files that existed before are unchanged.{again}")
    return code


@cache
def _command() -> Any:
    """The whole command, whose help texts are no markup."""
    from rich.markup import escape

    root: Any = typer.main.get_command(app)
    commands = [root]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        paragraphs = (command.help or "").split("\n\n")
        command.help = escape("\n\n".join(" ".join(one.split()) for one in paragraphs))
        for param in command.params:
            param.help = escape(getattr(param, "help", None) or "")
    return root


def _options(command: Any, arguments: Sequence[str]) -> dict[str, str]:
    """The options of the command that the arguments name, by the names that Python has for them."""
    for word in arguments:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return {}
        if not hasattr(command, "commands"):
            break
    return {param.name: param.opts[0] for param in command.params if param.opts[0].startswith("--")}


def _failed(error: BaseException) -> int:
    """Print what is wrong in one sentence and return the exit code; raise what nobody foresaw."""
    if isinstance(error, GLocalError):
        say(f"error: {in_options(str(error))}")
        return 2 if isinstance(error, ParameterError) else 1
    if isinstance(error, BrokenPipeError):
        return 1
    if isinstance(error, MemoryError):
        say("error: there is not enough memory for this. Use fewer objects or local images, or float32.")
        return 1
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    if isinstance(error, OSError) and error.filename is None and error.errno in full:
        say(f"error: cannot write standard output: {error.strerror}.")
        return 1
    if not hasattr(error, "format_message"):
        raise error
    message = " ".join(str(error.format_message()).replace("Value error, ", "").split()).rstrip(".")
    if not message:  # no arguments: the help was printed
        return 2
    asked = getattr(getattr(error, "ctx", None), "command_path", "glocal")
    say(f"error: {message}{'' if message.endswith('?') else '.'} See {asked} --help.")
    return 2


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    if issubclass(category, GLocalWarning):
        say(f"warning: {in_options(str(message))}")
    else:
        say(f"warning: {category.__name__}: {message} ({filename}:{lineno})")
