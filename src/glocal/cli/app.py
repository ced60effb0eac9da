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
from glocal.errors import GLocalError, GLocalWarning, is_interrupt

app = typer.Typer(
    name="glocal",
    help="Align features with people's odd-one-out answers; keep each image's neighbours.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("extract")(extract.extract)
app.command("fit")(fit.fit)
app.command("sweep")(sweep.sweep)
app.command("suite")(suite.suite)
app.command("align")(align.align)
app.command("apply")(apply.apply)
app.command("demo")(demo.demo)
app.command("report")(report.report)
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(data.app, name="data")
app.add_typer(transforms.app, name="transforms")
for _plugin in entry_points(group="glocal.commands"):  # of other distributions: an entry point is a typer app
    app.add_typer(_plugin.load(), name=_plugin.name)


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
        0: the command succeeded; 1: bad content, explained in one sentence; 2: unknown or missing options;
        130: interrupted, by Ctrl-C or SIGTERM.
    """
    try:
        result = _command()(list(arguments), prog_name="glocal", standalone_mode=False)
    except GLocalError as error:
        if is_interrupt(error):
            return _interrupted(arguments)
        say(f"error: {in_options(str(error))}")
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(arguments)
    except typer.Exit as ended:
        return _interrupted(arguments) if ended.exit_code == 130 else ended.exit_code
    except BrokenPipeError:
        return 1
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise
        say(f"error: cannot write standard output: {error.strerror}.")
        return 1
    except MemoryError:
        say("error: there is not enough memory for this. Use fewer objects or local images, or float32.")
        return 1
    except Exception as error:
        if is_interrupt(error):
            return _interrupted(arguments)
        if not hasattr(error, "format_message"):
            raise
        return _usage_error(error)
    if result == 130:
        return _interrupted(arguments)
    return result if isinstance(result, int) else 0


@cache
def _command() -> Any:
    root = typer.main.get_command(app)
    commands = [root]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        OPTIONS.update({param.name: param.opts[0] for param in command.params if param.opts[0].startswith("--")})
    return root


def _interrupted(arguments: Sequence[str]) -> int:
    again = " with --resume" if "sweep" in arguments[:1] else ""
    say(f"interrupted; files that existed before are unchanged. To go on, give the same command again{again}.")
    return 130


def _usage_error(error: Exception) -> int:
    """A value of the wrong kind is bad content (1); an unknown or missing option is a usage error (2)."""
    message = " ".join(str(error.format_message()).split()).rstrip(".")  # type: ignore[attr-defined]
    bad_value = isinstance(error, typer.BadParameter) and type(error).__name__ != "MissingParameter"
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(str(error.format_message()), err=True)  # type: ignore[attr-defined]
        return 2
    asked = getattr(getattr(error, "ctx", None), "command_path", "glocal")
    say(f"error: {message}" + ("" if message.endswith("?") else ".") + ("" if bad_value else f" See {asked} --help."))
    return 1 if bad_value else 2


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
) -> None:
    if issubclass(category, GLocalWarning):
        say(f"warning: {in_options(str(message))}")
    else:
        say(f"warning: {category.__name__}: {message} ({filename}:{lineno})")
