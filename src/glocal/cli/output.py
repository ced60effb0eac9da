"""Print results on standard output, and messages and progress on standard error."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import Annotated, Any

import typer
from typer import Option

from glocal.errors import printable
from glocal.results import DIFFERENCE, Score, to_json

AsJson = Annotated[bool, Option("--json", help="Print one JSON object on standard output.")]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Print every field of the result.")]

OPTIONS: dict[str, str] = {}
"""The options of the running command, by their names in Python; the application fills this in."""
_ARGUMENT = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]*))?`")
_DICT_ENTRY = re.compile(r"\{([^:{}]+): ([^:{}]+)\}")
_AS_OPTION = r"\1=\2"  # an option takes an entry of a dict as NAME=VALUE
_QUOTES = "'\""
_INDENT = " " * 4
_SECONDS_BETWEEN_LINES = 10.0  # between lines of progress, if no bar can be drawn


def in_options(sentence: str) -> str:
    """Replace Python arguments in a message of the library by options of the running command.

    Only text between backticks is an argument: `base=1` becomes --base 1, `resume=True` --resume,
    `object_ids` --object-ids, and `columns={ROLE: COLUMN}` --column ROLE=COLUMN. An argument that
    is not an option of the command stays unchanged.
    """

    def option(match: re.Match[str]) -> str:
        name = match["name"]
        value = match["value"]
        flag = OPTIONS.get(name) or OPTIONS.get(name.removesuffix("s"))
        if flag is None:
            return match[0]
        if value in (None, "True"):
            return flag
        return f"{flag} {_DICT_ENTRY.sub(_AS_OPTION, value).strip(_QUOTES)}"

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
    """Print one line on standard error."""
    if is_live():
        _console().print(printable(sentence))
    else:
        typer.echo(printable(sentence), err=True)


def print_lines(*lines: str) -> None:
    """Print lines on standard output."""
    for line in lines:
        typer.echo(printable(line))


def print_json(result: Any) -> None:
    """Print one JSON object on standard output."""
    typer.echo(to_json(result))


def print_result(as_json: bool, record: Any, *lines: str) -> None:
    """Print a result on standard output, as one JSON object or as lines."""
    if as_json:
        print_json(record)
    else:
        print_lines(*lines)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; in a terminal that is too narrow, each row becomes a block of lines."""
    header, *body = [list(map(printable, row)) for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    table_width = sum(widths) + 2 * (len(widths) - 1)
    if sys.stdout.isatty() and table_width > shutil.get_terminal_size().columns:
        title_width = max(map(len, header))
        for row in body:
            cells = zip(header, row, strict=True)
            print_lines(*(f"{title:{title_width}}  {cell}" for title, cell in cells if cell), "")
        return
    rule = ["-" * width for width in widths]
    for row in (header, rule, *body):
        first, *others = map(str.rjust, row, widths)
        print_lines("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())


def print_catalogue(entries: Iterable[Sequence[str]]) -> None:
    """Print entries, each a name, facts and last a description, within 100 columns.

    Names and addresses are not broken across lines.
    """
    wrap = partial(
        textwrap.wrap,
        width=100,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for name, *facts, description in entries:
        print_lines(*wrap(f"{name}  {', '.join(facts)}".strip()))
        print_lines(*wrap(description.strip(), initial_indent=_INDENT))


def print_scores(scores: Iterable[Score]) -> None:
    """Print scores with one line per metric, and one column per arm and paired difference."""
    table: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for row in scores:
        line = table.setdefault(row.metric.removesuffix(DIFFERENCE), {})
        if row.metric.endswith(DIFFERENCE):
            p = "" if row.p is None else f"  p {row.p:.2g}"
            line[f"less {row.settings['baseline']}"] = row.text("+") + p
        else:
            line[row.transform] = row.text()
            counts[row.metric] = row.n
    columns = dict.fromkeys(name for line in table.values() for name in line)
    rows = [
        [metric, *(line.get(name, "") for name in columns), str(counts[metric])]
        for metric, line in table.items()
    ]
    print_table(["metric", *columns, "n"], rows)


@contextlib.contextmanager
def progress_bar(
    what: str, total: int | None = None, *, unit: str = ""
) -> Iterator[Callable[..., None]]:
    """Show progress on standard error: a bar in a terminal, elsewhere a line every ten seconds.

    Yields a function of the count so far, the total (if it was not known before) and the present
    step; each may be left out. Meanwhile the output of other code goes to standard error.
    """
    reporter = _bar(what, unit) if is_live() else _lines(what, unit)
    with contextlib.redirect_stdout(sys.stderr), reporter as report:
        report(total=total)
        yield report


@contextlib.contextmanager
def _bar(what: str, unit: str) -> Iterator[Callable[..., None]]:
    from rich import progress

    columns = [
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=20),
        *([progress.DownloadColumn()] if unit == "B" else [progress.MofNCompleteColumn(), unit]),
        progress.TimeElapsedColumn(),
        "<",
        progress.TimeRemainingColumn(),
    ]
    with progress.Progress(
        *columns, console=_console(), transient=True, redirect_stdout=False
    ) as bar:
        task = bar.add_task(printable(what), total=None)

        def report(
            count: float | None = None, total: float | None = None, doing: str | None = None
        ) -> None:
            description = doing and printable(f"{what}: {doing}")
            bar.update(task, completed=count, total=total or None, description=description)

        yield report


@contextlib.contextmanager
def _lines(what: str, unit: str) -> Iterator[Callable[..., None]]:
    last_time = time.monotonic()
    last_total: float | None = None

    def report(
        count: float | None = None, total: float | None = None, doing: str | None = None
    ) -> None:
        nonlocal last_time, last_total
        last_total = total or last_total
        if count is None or time.monotonic() - last_time < _SECONDS_BETWEEN_LINES:
            return
        last_time = time.monotonic()
        all_of_them = f" of {last_total:g}" if last_total else ""
        step = f", {doing}" if doing else ""
        print_message(f"{what}: {count:g}{all_of_them} {unit}{step}")

    yield report
