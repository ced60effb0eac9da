"""What a terminal shows: live progress on standard error, tables on standard output. Loaded only where there is one."""

from __future__ import annotations

import contextlib
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from glocal.errors import printable

_GAP = 3  # between the columns of a table
_WINDOW = 300.0  # seconds that a rate is the mean of: steps may be slow
_BAR = 10


class _Words(ProgressColumn):
    """What is being done: the one column that gives way where the terminal is narrow."""

    def __init__(self) -> None:
        super().__init__(table_column=Column())

    def render(self, task: Task) -> Text:
        return Text(printable(task.description), no_wrap=True, overflow="ellipsis")


class _Bar(BarColumn):
    """A bar where the total is known; elsewhere its room belongs to the words."""

    def render(self, task: Task) -> Any:
        return Text("") if task.total is None else super().render(task)


class _Rate(ProgressColumn):
    """``340 rows/s``; nothing before there is one."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{quantity(rate, str(task.fields['unit']))}/s")


class _Remaining(TimeRemainingColumn):
    """``0:00:12 left``; where the total is unknown the time since the beginning."""

    def render(self, task: Task) -> Text:
        return TimeElapsedColumn().render(task) if task.total is None else super().render(task) + " left"


def quantity(value: float, unit: str) -> str:
    """``0.034 cells``, ``8.4 epochs``, ``1250 rows``."""
    return f"{value:.0f} {unit}".rstrip() if value >= 10 else f"{value:.2g} {unit}".rstrip()


def bar(what: str, total: int | None, unit: str) -> tuple[Progress, TaskID]:
    """A bar that is not shown yet."""
    fixed = [Column(no_wrap=True) for _ in range(3)]
    count, rate = (
        (DownloadColumn(table_column=fixed[0]), TransferSpeedColumn(table_column=fixed[1]))
        if unit == "B"
        else (MofNCompleteColumn(table_column=fixed[0]), _Rate(table_column=fixed[1]))
    )
    progress = Progress(
        SpinnerColumn(), _Words(), _Bar(bar_width=_BAR), count, rate, _Remaining(table_column=fixed[2]),
        console=Console(stderr=True), transient=True, speed_estimate_period=_WINDOW, redirect_stdout=False,
    )  # fmt: skip
    return progress, progress.add_task(what, total=total, unit=unit)


def move(progress: Progress, task: TaskID, done: float | None, total: float | None, what: str | None) -> None:
    """Move a bar; None leaves a part as it is."""
    told: dict[str, Any] = {"completed": done, "total": total, "description": what}
    progress.update(task, **{key: value for key, value in told.items() if value is not None})


@contextlib.contextmanager
def shown(what: RenderableType) -> Iterator[Callable[[RenderableType], None]]:
    """Something live on standard error; yields a function that puts something else in its place."""
    with Live(what, console=Console(stderr=True), transient=True, redirect_stdout=False) as live:
        yield live.update


def line(what: str) -> tuple[Progress, TaskID]:
    """A live line without an end: what is being done and the time since it began."""
    progress = Progress(
        SpinnerColumn(), _Words(), TimeElapsedColumn(), console=Console(stderr=True), transient=True,
        redirect_stdout=False,
    )  # fmt: skip
    return progress, progress.add_task(what, total=None)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], keys: int) -> None:
    """A table in the width of the terminal: intervals go below their values, then columns below the others.

    The first `keys` columns name the line and are repeated in each part.
    """
    size = shutil.get_terminal_size()  # NOTE rich takes a dumb terminal for 80 columns wide unless it is told both
    console = Console(highlight=False, width=size.columns, height=size.lines)
    if sum(_widths(headers, rows)) + _GAP * len(headers) > console.width:
        rows = [[cell.replace(" [", "\n[") for cell in row] for row in rows]
        sizes = _widths([""] * len(headers), rows)
        headers = [
            "\n".join(textwrap.wrap(head, max(size, 1), break_long_words=False))
            for head, size in zip(headers, sizes, strict=True)
        ]
    widths = _widths(headers, rows)
    for number, part in enumerate(_parts(widths, keys, console.width)):
        if number:
            console.print()
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        for place in part:
            table.add_column(Text(headers[place]), justify="left" if place < keys else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[place]) for place in part))
        console.print(table)


def _widths(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    columns = zip(headers, *rows, strict=True)
    return [max(len(part) for cell in column for part in (cell.splitlines() or [""])) for column in columns]


def _parts(widths: Sequence[int], keys: int, width: int) -> Iterator[list[int]]:
    """Columns that fit side by side, at least one beside the keys."""
    key = list(range(min(keys, len(widths))))
    part: list[int] = []
    for place in range(len(key), len(widths)):
        if part and sum(widths[i] + _GAP for i in [*key, *part, place]) > width + _GAP - 1:
            yield [*key, *part]
            part = []
        part.append(place)
    yield [*key, *part]
