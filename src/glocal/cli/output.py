"""Talk on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer

from glocal.errors import printable
from glocal.results import DIFFERENCE, Score, to_json

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


OPTIONS: dict[str, str] = {}
"""The options of all commands by the names that Python has for them; the application fills it."""


def in_options(sentence: str) -> str:
    """A message of the library with the options of the command line in place of Python's arguments.

    ``base=1`` becomes ``--base 1``, ``resume=True`` ``--resume``, and ``object_ids`` ``--object-ids``. What is no
    option, and parts of paths, stay as they are.
    """

    def option(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if name not in OPTIONS or (value is None and "_" not in name):
            return match[0]
        return OPTIONS[name] if value in (None, "True") else f"{OPTIONS[name]} {value}"

    return re.sub(
        r"(?<![\w./-])(?P<name>[a-z]+(?:_[a-z]+)*)(?:='?(?P<value>[^\s',;()]*[^\s',;().])'?)?(?![\w/-]|\.\w)",
        option,
        sentence,
    )


def say(sentence: str) -> None:
    """One line on standard error."""
    typer.echo(printable(sentence), err=True)


def put(*lines: str) -> None:
    """Lines on standard output."""
    for line in lines:
        typer.echo(printable(line))


def put_json(result: Any) -> None:
    """One JSON object on standard output."""
    typer.echo(to_json(result))


def put_table(headers: Sequence[str], rows: Sequence[Sequence[str]], keys: int = 1) -> None:
    """A table on standard output: fitted to a terminal, or plain aligned text where that is none, for scripts.

    The first `keys` columns name the line; they are aligned to the left in a terminal, the first one everywhere.
    """
    headers, rows = [printable(head) for head in headers], [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from glocal.cli.live import print_table

        print_table(headers, rows, keys)
        return
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    for row in [headers, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        put("  ".join(cells).rstrip())


def put_scores(scores: Iterable[Score]) -> None:
    """Scores on standard output: a line for each metric, a column for each arm and for each paired difference."""
    table: dict[str, dict[str, str]] = {}
    for row in scores:
        line = table.setdefault(row.metric.removesuffix(DIFFERENCE), {})
        if row.metric.endswith(DIFFERENCE):
            p = "" if row.p is None else f"  p {row.p:.2g}"
            line[f"less {row.settings['baseline']}"] = interval(row.value, row.low, row.high, None, sign="+") + p
        else:
            line[row.transform] = interval(row.value, row.low, row.high, None)
            line["n"] = str(row.n)
    columns = [*dict.fromkeys(column for line in table.values() for column in line if column != "n"), "n"]
    put_table(["metric", *columns], [[name, *(line.get(key, "") for key in columns)] for name, line in table.items()])


def interval(
    value: float, low: float | None, high: float | None, why: str | None = "one cluster of scores, or all are equal",
    *, sign: str = "",
) -> str:  # fmt: skip
    """``0.469 [0.451, 0.487]``; where there is no interval, why, or for None (not asked for) the value alone."""
    if low is not None and high is not None and not math.isnan(low + high):  # a data frame has NaN for None
        return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
    return f"{value:{sign}.3f}" + (f" (no interval: {why})" if why else "")


def is_live() -> bool:
    """Whether standard error is a terminal on which a line can be written again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


@contextlib.contextmanager
def progress_bar(
    what: str, total: int | None = None, *, unit: str = "", lines: bool = False
) -> Iterator[Callable[..., None]]:
    """A bar with rate and remaining time on standard error where that is a terminal.

    Yields a function of the number done so far, of the total where it was not known before, and of what is being done;
    each may be None. Elsewhere nothing is shown, or with `lines` a line for every tenth, with the time
    that is left.
    """
    if not is_live():
        yield _tenths(what, total) if lines else lambda done, total=None, doing=None: None
        return
    from glocal.cli.live import bar, move

    progress, task = bar(what, total, unit)
    with progress:
        yield lambda done, total=None, doing=None: move(progress, task, done, total, doing)


def _tenths(what: str, total: int | None) -> Callable[..., None]:
    known, began = total, time.monotonic()

    def tell(done: int | None, total: int | None = None, doing: str | None = None) -> None:
        whole = total or known
        if done and whole and (done == whole or done * 10 // whole > (done - 1) * 10 // whole):
            left = (time.monotonic() - began) * (whole - done) / done
            say(f"{done} of {whole}: {doing or what}" + (f", about {_duration(left)} left" if done < whole else ""))

    return tell


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextlib.contextmanager
def others_to_stderr() -> Iterator[None]:
    """What the code of others prints goes to standard error: standard output holds the result alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """A live line with the elapsed time on standard error, if that is a terminal; yields a function of what is done."""
    if not is_live():
        yield lambda doing: None
        return
    from glocal.cli.live import line

    progress, task = line(what)
    with progress:
        yield lambda doing: progress.update(task, description=f"{what}: {doing}")
