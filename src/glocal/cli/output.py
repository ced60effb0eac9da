"""Talk on standard error, results on standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import typer

from glocal.records import to_json


def say(sentence: str) -> None:
    """One line on standard error."""
    typer.echo(sentence, err=True)


def put_json(result: Any) -> None:
    """One JSON object on standard output."""
    typer.echo(to_json(result))


def put_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A plain aligned table on standard output, the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    for row in [headers, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        typer.echo("  ".join(cells).rstrip())


def interval(value: float, low: float | None, high: float | None) -> str:
    """``0.469 [0.451, 0.487]``."""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


@contextlib.contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar on standard error where that is a terminal; yields a function of the number done so far, and of the total.

    The total is given either here or, where it is not known yet, with each number.
    """
    if not sys.stderr.isatty():
        yield lambda done, total=None: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, total=None: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def others_to_stderr() -> Iterator[None]:
    """What the code of others prints goes to standard error: standard output holds the result alone."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def status(what: str) -> Iterator[Callable[[str], None]]:
    """A live line on standard error where that is a terminal; yields a function of what is being done."""
    if not sys.stderr.isatty():
        yield lambda doing: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as line:
        yield lambda doing: line.update(f"{what}: {doing}")


@contextlib.contextmanager
def solver_status(what: str) -> Iterator[Callable[[int, Any], None]]:
    """A live line with evaluations and objective; yields the solver's `on_step`."""
    with status(what) as doing:
        yield lambda evaluations, at: doing(f"{evaluations} evaluations, objective {at.value:.6f}")
