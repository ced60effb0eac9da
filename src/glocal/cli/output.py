"""Print results on standard output, and messages and progress on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any

import typer

from glocal.errors import printable
from glocal.results import flattened, to_json
from glocal.scores import DIFFERENCE, Score
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

    def option(match: re.Match[str]) -> str:
        name = match["name"]
        value = match["value"]
        flag = OPTIONS.get(name) or OPTIONS.get(name.removesuffix("s"))
        if flag is None:
            return match[0]
        if value in (None, "True"):
            return flag
        if value == "False":
            return flag.replace("--", "--no-", 1)
        if value == "None":
            return f"no {flag}"
        return f"{flag} {value.strip(_QUOTES)}"

    return _ARGUMENT.sub(option, sentence)


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


def score_lines(scores: Sequence[Score]) -> list[str]:
    """A line per metric and a column per arm and paired difference, or a block a metric."""
    table: dict[str, dict[str, Cell]] = {}
    first: dict[str, Score] = {}
    for row in scores:
        metric = row.metric.removesuffix(DIFFERENCE)
        name = row.transform if row.network == scores[0].network else row.network or ""
        if row.baseline is not None:
            name = f"less {row.baseline_network or row.baseline}"
        title = metric + first.setdefault(metric, row).note
        p = "" if row.p is None else f"  p {row.p:.2g}"
        table.setdefault(title, {})[name] = row.cell(p)
    columns = dict.fromkeys(name for line in table.values() for name in line)
    rows = [["metric", *columns, "n"]]
    blocks = []
    for (title, line), score in zip(table.items(), first.values(), strict=True):
        rows.append([title, *(str(line.get(name, "")) for name in columns), str(score.n)])
        cells = [(name, [cell]) for name, cell in line.items()]
        blocks += block(f"{title}, n {score.n:,}", cells, screen_width())
    lines = text_table(rows)
    return lines if fits(lines, screen_width()) else blocks


@contextlib.contextmanager
def progress_bar(
    what: str, total: int | None = None, *, unit: str = ""
) -> Iterator[Callable[..., None]]:
    """Show progress on standard error if that is a terminal.

    Yields a function of the count so far, the total (if it was not known before) and the present
    step; each may be left out. Meanwhile the output of other code goes to standard error.
    """
    is_logged = _LOG.isEnabledFor(logging.INFO)
    is_shown = is_live() and not is_logged and not IS_QUIET.get()
    bar = _bar(unit) if is_shown else None
    task = None if bar is None else bar.add_task(printable(what), total=total or None)

    def report(
        count: float | None = None, total: float | None = None, doing: str | None = None
    ) -> None:
        if is_logged:
            numbers = [f"{number:g}" for number in (count, total) if number is not None]
            _LOG.info(" ".join([what, " of ".join(numbers), unit, doing or ""]))
        if bar is not None:
            description = doing and printable(f"{what}: {doing}")
            bar.update(task, completed=count, total=total or None, description=description)

    with contextlib.redirect_stdout(sys.stderr), bar or contextlib.nullcontext():
        yield report


def _bar(unit: str) -> Any:
    """A bar of rich, which counts a unit."""
    from rich import progress

    columns = [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=20),
        *([progress.DownloadColumn()] if unit == "B" else [progress.MofNCompleteColumn(), unit]),
        progress.TimeElapsedColumn(),
        "<",
        progress.TimeRemainingColumn(),
    ]
    return progress.Progress(*columns, console=_console(), transient=True, redirect_stdout=False)
