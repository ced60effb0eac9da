"""Print results on standard output, and messages and progress on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

import typer

from glocal.errors import printable
from glocal.results import flattened, to_json
from glocal.scores import Score
from glocal.screen import Cell, block, fits, row_blocks, screen_width, text_table, wrapped

IS_JSON: ContextVar[bool] = ContextVar("is_json", default=False)
"""Whether the running command prints its result as one JSON object."""
IS_QUIET: ContextVar[bool] = ContextVar("is_quiet", default=False)
"""Whether the running command prints no message but errors."""
_LOG = logging.getLogger("glocal.cli")

OPTIONS: dict[str, str] = {}
"""The options of the running command, by their names in Python; the application fills this in."""
_ARGUMENT = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]*))?`")
_QUOTES = "'\""


def in_options(sentence: str) -> str:
    """Replace Python arguments in a message of the library by options of the running command.

    Only text between backticks is an argument: `base=1` becomes --base 1, `resume=True` --resume,
    `resume=False` --no-resume, `base=None` "no --base", and `object_ids` --object-ids. An argument
    that is not an option of the command stays unchanged.
    """
    return _ARGUMENT.sub(_option, sentence)


def _option(argument: re.Match[str]) -> str:
    """The option for an argument of Python; the argument itself if there is no such option."""
    name = argument["name"]
    value = argument["value"]
    flag = OPTIONS.get(name) or OPTIONS.get(name.removesuffix("s"))
    if flag is None:
        return argument[0]
    if value in (None, "True"):
        return flag
    if value == "False":
        return flag.replace("--", "--no-", 1)
    if value == "None":
        return f"no {flag}"
    return f"{flag} {value.strip(_QUOTES)}"


def is_live() -> bool:
    """Whether standard error is a terminal on which a line can be overwritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


@cache
def _console() -> Any:
    """The terminal at standard error; messages appear above the progress and break at words."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_message(sentence: str) -> None:
    """Print one line on standard error, unless only errors are wanted."""
    if not IS_QUIET.get():
        print_error(sentence)


def print_error(sentence: str) -> None:
    """Print one line on standard error."""
    if is_live():
        _console().print(printable(sentence))
    else:
        typer.echo(printable(sentence), err=True)


@contextlib.contextmanager
def held_back(category: type[Warning]) -> Iterator[list[str]]:
    """Collect the messages of a category of warnings; others are shown at the end of the block."""
    messages: list[str] = []
    issued: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as issued:
            yield messages
    finally:
        for each in issued:
            if issubclass(each.category, category):
                messages.append(str(each.message))
            else:
                warnings.showwarning(each.message, each.category, each.filename, each.lineno)


def print_result(record: Any, *sentences: str, table: Iterable[str] = ()) -> None:
    """Print a result on standard output: one JSON object, or a table and sentences.

    The lines of the table, such as commands to copy, are printed as they are, and sentences are
    broken at the width of a terminal. Without either, all fields of the record are printed.
    """
    text = to_json(record)
    if IS_JSON.get():
        typer.echo(text)
        return
    lines = [*table]
    if not (lines or sentences):
        fields = flattened(json.loads(text)).items()
        sentences = tuple(f"{name}: {value}" for name, value in fields if value is not None)
    for sentence in sentences:
        lines += wrapped(printable(sentence), screen_width())
    for line in lines:
        typer.echo(printable(line))


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; if it is wider than the terminal, a block a row."""
    lines = text_table([headers, *rows])
    return lines if fits(lines, screen_width()) else [*row_blocks(headers, rows, screen_width())]


def catalogue(entries: Iterable[Iterable[str | None]]) -> Iterator[str]:
    """Yield the lines of entries, each a name, facts, a description, and a warning if there is."""
    for name, facts, description, warning in entries:
        yield f"{name}  {facts}"
        yield f"    {description}. {warning or ''}".rstrip()


def metric_lines(scores: Sequence[Score]) -> list[str]:
    """A line per metric and a column per arm and paired difference, or a block a metric."""
    by_metric: dict[str, list[Score]] = {}
    for score in scores:
        by_metric.setdefault(score.quantity, []).append(score)
    cells = {metric: _cells(rows, scores[0].network) for metric, rows in by_metric.items()}
    columns = dict.fromkeys(name for line in cells.values() for name in line)
    table = [["metric", *columns, "n"]]
    blocks: list[str] = []
    for metric, rows in by_metric.items():
        line = cells[metric]
        title = metric + rows[0].note
        texts = [str(line.get(name, "")) for name in columns]
        table.append([title, *texts, str(rows[0].n)])
        named = [(name, [cell]) for name, cell in line.items()]
        blocks += block(f"{title}, n {rows[0].n:,}", named, screen_width())
    lines = text_table(table)
    return lines if fits(lines, screen_width()) else blocks


def _cells(scores: Iterable[Score], network: str | None) -> dict[str, Cell]:
    """The cells of a metric by their column: an arm, a network, or a difference with its p."""
    cells = {}
    for score in scores:
        name = score.transform if score.network == network else score.network or ""
        if score.baseline is not None:
            name = f"minus {score.baseline_network or score.baseline}"
        cells[name] = score.cell("" if score.p is None else f"  p {score.p:.2g}")
    return cells


@contextlib.contextmanager
def progress_bar(
    what: str, total: int | None = None, *, unit: str = ""
) -> Iterator[Callable[..., None]]:
    """Show progress on standard error if that is a terminal.

    Yields a function of the count so far, the total (if it was not known before) and the present
    step; each may be left out. Meanwhile the output of other code goes to standard error.
    """
    with contextlib.redirect_stdout(sys.stderr):
        if _LOG.isEnabledFor(logging.INFO):
            yield partial(_log_progress, what, unit)
        elif is_live() and not IS_QUIET.get():
            with _bar(unit) as bar:
                task = bar.add_task(printable(what), total=total or None)
                yield partial(_show_progress, bar, task, what)
        else:
            yield lambda *_, **__: None


def _log_progress(
    what: str,
    unit: str,
    count: float | None = None,
    total: float | None = None,
    doing: str | None = None,
) -> None:
    """Log a line for a step."""
    numbers = [f"{number:g}" for number in (count, total) if number is not None]
    _LOG.info(" ".join([what, " of ".join(numbers), unit, doing or ""]))


def _show_progress(
    bar: Any,
    task: Any,
    what: str,
    count: float | None = None,
    total: float | None = None,
    doing: str | None = None,
) -> None:
    """Move a bar, and name the present step before it."""
    description = None if doing is None else printable(f"{what}: {doing}")
    bar.update(task, completed=count, total=total or None, description=description)


def _bar(unit: str) -> Any:
    """A bar of rich, which counts a unit."""
    from rich import progress

    count = progress.DownloadColumn() if unit == "B" else progress.MofNCompleteColumn()
    columns: list[Any] = [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=20),
        count,
        "" if unit == "B" else unit,
        progress.TimeElapsedColumn(),
        "<",
        progress.TimeRemainingColumn(),
    ]
    return progress.Progress(*columns, console=_console(), transient=True, redirect_stdout=False)
