"""The application: commands, exit codes, and how errors and warnings are shown."""

from __future__ import annotations

import _thread
import contextlib
import errno
import io
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

import typer

from glocal._version import __version__
from glocal.cli import (
    align,
    apply,
    data,
    evaluate,
    extract,
    fit,
    report,
    suite,
    transforms,
    verdict,
)
from glocal.cli.options import OUTPUT, bounds_in_words
from glocal.cli.output import IS_JSON, IS_QUIET, OPTIONS, in_options, print_error, print_message
from glocal.errors import (
    GLocalError,
    GLocalWarning,
    MissingDependencyError,
    ParameterError,
    one_line,
)

_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    name="glocal",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)
_COMMANDS: dict[str, dict[str, Any]] = {
    "Decide": {"try": verdict.verdict, "demo": suite.demo},
    "Fit": {"fit": fit.fit, "sweep": fit.sweep, "align": align.align},
    "Use": {"apply": apply.apply, "transforms": transforms.app, "anomaly": apply.anomaly},
    "Measure": {"evaluate": evaluate.app, "suite": suite.suite, "report": report.report},
    "Prepare": {"extract": extract.extract, "data": data.app},
}
"""The commands, and the applications of several commands, by the headings of the help."""
_COLLECT = (
    "glocal collect needs glocal-collect, which is not installed. Install it from a checkout: "
    "pip install ./packages/glocal-collect."
)
_UNAVAILABLE = {"collect": _COLLECT}
"""Messages for unavailable commands of other packages; loading an entry point updates them."""
_AFTER_INTERRUPTION = {
    "sweep": " --resume goes on with it.",
    "suite": " Run it again: what is scored is kept.",
    "extract": " Run it again: what is extracted is kept.",
    "align": " Run it again: extracted features are kept.",
}
"""What applies to a command that was interrupted."""
_interruptions: list[int] = []
"""The signals that have interrupted this process."""
_VALUES = {
    "bool": "",
    "path": "FILE",
    "int": "NUMBER",
    "int range": "NUMBER",
    "float": "NUMBER",
    "str": "TEXT",
    "list[str]": "TEXT",
}
"""What stands for a value in the help, by its type."""
_MAX_VALUE = 16  # columns
_INTERRUPTED = 130
"""The exit code of an interruption, also where typer has replaced it."""
_LOG = logging.getLogger("glocal")
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _add_plugins() -> None:
    """Add the commands of other distributions: each entry point is a typer application.

    An entry point that fails is named in a warning; all other commands stay available.
    """
    for entry_point in entry_points(group="glocal.commands"):
        name = entry_point.name
        try:
            app.add_typer(entry_point.load(), name=name, rich_help_panel="Prepare")
            _UNAVAILABLE.pop(name, None)
        except Exception as error:  # noqa: BLE001
            reason = f"{type(error).__name__}: {one_line(error)}"
            _UNAVAILABLE[name] = (
                f"glocal {name} cannot be used, since its package cannot be loaded "
                f"({reason[:300]}). Install a version of it that fits this version of glocal."
            )
            print_message(f"warning: {_UNAVAILABLE[name]}")


for _group, _commands in _COMMANDS.items():
    for _name, _entry in _commands.items():
        if isinstance(_entry, typer.Typer):
            app.add_typer(_entry, name=_name, rich_help_panel=_group)
        else:
            app.command(_name, rich_help_panel=_group)(_entry)
_add_plugins()


def _print_version(requested: bool) -> bool:
    if requested:
        typer.echo(f"glocal {__version__}")
        raise typer.Exit
    return requested


@app.callback()
def _root(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Align features with people's odd-one-out answers; keep each image's neighbours."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code that `execute` returns.

    SIGTERM, by which batch systems end jobs that are out of time, is an interruption like Ctrl-C.
    """
    with contextlib.suppress(ValueError):  # only the main thread can set a signal handler
        signal.signal(signal.SIGTERM, interrupt)
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # of a job in the background
            signal.signal(signal.SIGINT, interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe on Windows lacks λ and names of files
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    sys.unraisablehook = _show_unraisable
    warnings.simplefilter("always", GLocalWarning)
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: Sequence[str]) -> int:
    """Run one command in this process and return its exit code; its errors are printed, not raised.

    Parameters
    ----------
    arguments
        The words after ``glocal``, as in
        ``execute(["evaluate", "odd-one-out", "--features", "features.npy"])``.

    Returns
    -------
    int
        0: the command succeeded. 1: bad content, explained in one sentence. 2: a wrong command
        line, with an unknown or missing option or a value outside its range. 130: interrupted by
        Ctrl-C or SIGTERM.
    """
    command_name = next((word for word in arguments if not word.startswith("-")), "")
    try:
        code = _run(command_name, arguments)
        return _report_interruption(command_name) if code == _INTERRUPTED else code
    except KeyboardInterrupt:
        return _report_interruption(command_name)
    except Exception as error:  # noqa: BLE001
        # typer wraps an end of input, and in some versions an interruption, in Abort
        cause = error.__cause__ if isinstance(error, typer.Abort) else None
        if isinstance(cause, KeyboardInterrupt) or _interruptions:
            return _report_interruption(command_name)
        return _report(cause or error)
    finally:
        IS_QUIET.set(False)
        IS_JSON.set(False)
        _LOG.handlers.clear()
        _LOG.setLevel(logging.NOTSET)


def _run(command_name: str, arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    if command_name in _UNAVAILABLE:
        raise MissingDependencyError(_UNAVAILABLE[command_name])
    command = _command()
    OPTIONS.clear()
    OPTIONS.update(_options(command, arguments))
    try:
        result = command(list(arguments), prog_name="glocal", standalone_mode=False)
    except typer.Exit as ended:
        return ended.exit_code
    return result if isinstance(result, int) else 0


def _report_interruption(command_name: str) -> int:
    """Say that a command was interrupted and what then applies to it; return the exit code."""
    advice = _AFTER_INTERRUPTION.get(command_name, "")
    print_error(f"interrupted; earlier files are unchanged.{advice}")
    return _INTERRUPTED


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal: raise KeyboardInterrupt, and record it, since libraries may replace it."""
    _interruptions.append(number)
    raise KeyboardInterrupt


def _show_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Interrupt again if a library has swallowed an interruption; print any other error."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt) and _interruptions:
        # later and from another thread, because an exception in this function is swallowed too
        threading.Timer(0.01, _thread.interrupt_main, _interruptions[-1:]).start()
    else:
        sys.__unraisablehook__(unraisable)


@cache
def _command() -> Any:
    """The root command; it and all others have the options -q and -v."""
    root: Any = typer.main.get_command(app)
    commands = [root]
    for command in commands:  # which grows
        subcommands = getattr(command, "commands", {})
        panel = None if subcommands else OUTPUT
        command.params += _verbosity(panel)
        context = typer.Context(command, **_HELP)
        for param in command.get_params(context):
            if param.name == "help":
                param.rich_help_panel = panel
            _describe_value(param)
        commands += subcommands.values()
    return root


def _describe_value(param: Any) -> None:
    """Describe the value of an option in the help in words, in place of its type in Python."""
    kind = param.display_type(None).strip("<>")
    name = param.metavar or _VALUES.get(kind, kind)
    if name == kind and len(kind) > _MAX_VALUE:
        name = "CHOICE"
        description, bracket, details = param.help.partition(" [")
        param.help = f"{description} One of {kind.replace('|', ', ')}.{bracket}{details}"
    range_in_words = bounds_in_words({"ge": param.min, "le": param.max})
    if range_in_words:
        param.help = f"{param.help} [{range_in_words}]"
    param.display_type_rich = lambda ctx: name
    param._get_number_range_help_str = lambda: None


@cache
def _verbosity(panel: str | None) -> list[Any]:
    """The options that say how much a command prints on standard error, in a panel of the help."""
    template = typer.Typer(add_completion=False)

    @template.command()
    def _options_of_all(
        quiet: bool = typer.Option(
            False,
            "-q",
            "--quiet",
            callback=_keep_quiet,
            help="Print no messages but errors.",
            rich_help_panel=panel,
        ),
        verbose: bool = typer.Option(
            False,
            "-v",
            "--verbose",
            callback=_log_steps,
            help="Print a line for each step.",
            rich_help_panel=panel,
        ),
    ) -> None:
        pass

    options = typer.main.get_command(template).params
    for option in options:
        option.expose_value = False
    return options


def _keep_quiet(is_given: bool) -> None:
    """Print no messages but errors."""
    if is_given:
        IS_QUIET.set(True)


def _log_steps(is_given: bool) -> None:
    """Print what the library logs."""
    if is_given and not _LOG.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        _LOG.addHandler(handler)
        _LOG.setLevel(logging.INFO)


def _options(command: Any, arguments: Sequence[str]) -> dict[str, str]:
    """The options of the command that the arguments name, by their names in Python."""
    for word in arguments:
        if word.startswith("-"):  # -q and -v may stand first
            continue
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return {}
        if not hasattr(command, "commands"):
            break
    return {param.name: param.opts[0] for param in command.params if param.opts[0].startswith("--")}


def _report(error: BaseException) -> int:
    """Print an error as one sentence and return the exit code; raise an unforeseen error again."""
    if isinstance(error, GLocalError):
        print_error(f"error: {in_options(str(error))}")
        return 2 if isinstance(error, ParameterError) else 1
    if isinstance(error, BrokenPipeError):
        return 1
    if hasattr(error, "format_message"):  # a wrong command line
        if message := " ".join(error.format_message().split()):  # else the help was printed
            print_error(f"error: {message}")
        return 2
    # of any step: no memory, an unusable path, a full disk
    if isinstance(error, MemoryError):
        sentence = "not enough memory. Use fewer columns, objects or local images, or float32."
    elif isinstance(error, OSError) and error.filename is not None:
        sentence = f"cannot use {error.filename}: {error.strerror}. Check the path."
    elif isinstance(error, OSError) and error.errno in _FULL_DISK:
        sentence = f"cannot write standard output: {error.strerror}."
    else:
        raise error
    print_error(f"error: {sentence}")
    return 1


_print_once = cache(print_message)
"""Print a sentence only once, since two arms, or a sweep and its refit, may give the same warning.

Python's own filter "once" forgets its past warnings whenever filters change.
"""


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: Any = None,
) -> None:
    """Print a warning as one sentence, once."""
    sentence = in_options(str(message))
    if not issubclass(category, GLocalWarning):
        sentence = f"{category.__name__}: {message} ({filename}:{lineno})"
    _print_once(f"warning: {sentence}")
