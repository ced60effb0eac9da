"""Results on standard output; talk and progress on standard error."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Annotated, Any

import typer

from glocal.errors import printable
from glocal.results import DIFFERENCE, Score, to_json

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print everything that is known about the result.")]

OPTIONS: dict[str, str] = {}
"""The options of the command that runs, by their names in Python; the application fills it."""
_ARGUMENT = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]*))?`")
_PAIR = re.compile(r"\{([^:{}]+): ([^:{}]+)\}")  # an entry of a dict, which an option takes as NAME=VALUE
_AS_OPTION = r"\1=\2"
_QUOTES = "'\""
_EVERY = 10.0  # seconds between two lines about progress where no bar can be drawn


def in_options(sentence: str) -> str:
    """A message of the library with options of the running command in place of Python's arguments.

    Only what stands between backticks is an argument: `base=1` becomes --base 1, `resume=True`
    --resume, `object_ids` --object-ids, and `columns={ROLE: COLUMN}` --column ROLE=COLUMN. What is
    no option of the command stays as it is.
    """

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        flag = OPTIONS.get(name) or OPTIONS.get(name.removesuffix("s"))
        if flag is None:
            return match[0]
        if value in (None, "True"):
            return flag
        return f"{flag} {_PAIR.sub(_AS_OPTION, value).strip(_QUOTES)}"

    return _ARGUMENT.sub(option, sentence)


def is_live() -> bool:
    """Whether standard error is a terminal on which a line can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


@cache
def _console() -> Any:
    """The terminal at standard error: what is said goes above the progress that is shown, broken between words."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def say(sentence: str) -> None:
    """One line on standard error."""
    if is_live():
        _console().print(printable(sentence))
    else:
        typer.echo(printable(sentence), err=True)


def put(*lines: str) -> None:
    """Lines on standard output."""
    for line in lines:
        typer.echo(printable(line))


def put_json(result: Any) -> None:
    """One JSON object on standard output."""
    typer.echo(to_json(result))


def show(as_json: bool, record: Any, *lines: str) -> None:
    """A result on standard output, as one JSON object or as lines."""
    put_json(record) if as_json else put(*lines)


def put_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output; where it is wider than the terminal, a block of lines for each row."""
    cells = [[printable(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if sys.stdout.isatty() and sum(widths) + 2 * (len(widths) - 1) > shutil.get_terminal_size().columns:
        name = max(map(len, cells[0]))
        for row in cells[1:]:
            put(*(f"{head.ljust(name)}  {cell}" for head, cell in zip(cells[0], row, strict=True) if cell), "")
        return
    for row in (cells[0], ["-" * width for width in widths], *cells[1:]):
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        put("  ".join([row[0].ljust(len(first)), *others]).rstrip())


def put_scores(scores: Iterable[Score]) -> None:
    """Scores on standard output: a line for each metric, a column for each arm and for each paired difference."""
    table: dict[str, dict[str, str]] = {}
    for row in scores:
        line = table.setdefault(row.metric.removesuffix(DIFFERENCE), {})
        if row.metric.endswith(DIFFERENCE):
            p = "" if row.p is None else f"  p {row.p:.2g}"
            line[f"less {row.settings['baseline']}"] = interval(row.value, row.low, row.high, sign="+") + p
        else:
            line[row.transform] = interval(row.value, row.low, row.high)
            line["n"] = str(row.n)
    columns = [*dict.fromkeys(column for line in table.values() for column in line if column != "n"), "n"]
    put_table(["metric", *columns], [[name, *(line.get(key, "") for key in columns)] for name, line in table.items()])


def interval(value: float, low: float | None, high: float | None, *, sign: str = "") -> str:
    """``0.469 [0.451, 0.487]``, or the value alone where there is no interval."""
    if low is None or high is None or math.isnan(low + high):  # a data frame has NaN for None
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


@contextlib.contextmanager
def progress_bar(what: str, total: int | None = None, *, unit: str = "") -> Iterator[Callable[..., None]]:
    """What is being done, on standard error: a bar in a terminal, elsewhere a line every ten seconds.

    Yields a function of the number done so far, of the total where it was not known before, and of what is being done;
    each may be left out. What other code prints meanwhile goes to standard error.
    """
    with contextlib.redirect_stdout(sys.stderr), _bar(what, unit) if is_live() else _lines(what, unit) as tell:
        tell(total=total)
        yield tell


@contextlib.contextmanager
def _bar(what: str, unit: str) -> Iterator[Callable[..., None]]:
    from rich import progress as parts

    columns = [
        parts.SpinnerColumn(), parts.TextColumn("{task.description}", markup=False), parts.BarColumn(bar_width=20),
        *([parts.DownloadColumn()] if unit == "B" else [parts.MofNCompleteColumn(), parts.TextColumn(unit)]),
        parts.TimeElapsedColumn(), parts.TextColumn("<"), parts.TimeRemainingColumn(),
    ]  # fmt: skip
    with parts.Progress(*columns, console=_console(), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(printable(what), total=None)

        def tell(done: float | None = None, total: float | None = None, doing: str | None = None) -> None:
            bar.update(task, completed=done, total=total, description=doing and printable(f"{what}: {doing}"))

        yield tell


@contextlib.contextmanager
def _lines(what: str, unit: str) -> Iterator[Callable[..., None]]:
    last, known = time.monotonic(), None

    def tell(done: float | None = None, total: float | None = None, doing: str | None = None) -> None:
        nonlocal last, known
        known = total or known
        if done is not None and time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            say(f"{what}: {done:g}{f' of {known:g}' if known else ''} {unit}{f', {doing}' if doing else ''}")

    yield tell
