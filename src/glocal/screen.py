"""Results as text that fits a screen: tables, blocks of scores, and what a notebook shows."""

from __future__ import annotations

import html
import shutil
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = 80  # the width of results as text, unless a terminal says another
_PIPE = 10_000  # columns: wider than any table
_MAX_LINES = 8  # of a table in the text of a result
_MAX_REPR = 200  # characters
_GAP = 2  # columns between cells


class Cell(NamedTuple):
    """A number of a table, and its interval with notes."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


class Printable(ABC):
    """A result whose text is what its command prints, shortened to the beginning of its table."""

    @abstractmethod
    def summary(self) -> str:
        """Say in a sentence what was measured."""

    @abstractmethod
    def table(self) -> pd.DataFrame:
        """Return all of it as a data frame."""

    def text_lines(self) -> list[str]:
        """The lines of the table; a result that is printed shows the first of them."""
        return []

    def __str__(self) -> str:
        lines = self.text_lines()
        rest = ["… .table() has all"] if len(lines) > _MAX_LINES else []
        return "\n".join([*lines[:_MAX_LINES], *rest, *wrapped(self.summary(), COLUMNS)])

    def __repr__(self) -> str:
        text = f"{type(self).__name__}: {self.summary()}"
        return text if len(text) <= _MAX_REPR else f"{text[: _MAX_REPR - 1]}…"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return f"<p>{html.escape(self.summary())}</p>{self.table().to_html(index=False)}"


def screen_width() -> int:
    """The columns of the terminal at standard output, or of the variable COLUMNS; else no limit."""
    return shutil.get_terminal_size((_PIPE, 24)).columns


def wrapped(sentence: str, width: int) -> list[str]:
    """Break a sentence into lines at its spaces; its indent stays, and words are never broken."""
    indent = sentence[: len(sentence) - len(sentence.lstrip(" "))]
    lines = textwrap.wrap(
        sentence.replace(" %", "\N{NO-BREAK SPACE}%"),
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}%", " %") for line in lines] or [""]


def plural(noun: str, number: int) -> str:
    """A noun in the singular if the number is 1, else in the plural."""
    return noun if number == 1 else f"{noun}s"


def text_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay rows of texts out in columns, the first to the left and the others to the right.

    >>> text_table([["arm", "mAP"], ["original", "0.5"]])
    ['arm       mAP', 'original  0.5']
    """
    rows = [[*row] for row in rows]
    first_width, *widths = (max(map(_length, column)) for column in zip(*rows, strict=True))
    lines = []
    for first, *others in rows:
        line = first + " " * (first_width - _length(first))
        for text, width in zip(others, widths, strict=True):
            padding = _GAP + width - _length(text)
            line += " " * padding + text
        lines.append(line.rstrip())
    return lines


def fits(lines: Iterable[str], width: int) -> bool:
    """Whether no line is wider than the screen."""
    return all(_length(line) <= width for line in lines)


def block(title: str, lines: Sequence[tuple[str, Sequence[Cell]]], width: int) -> list[str]:
    """A title, and below it a line for each name with its cells.

    Where a line would be wider than the screen, intervals take lines of their own, and then names.
    """
    heading = wrapped(title, width)
    in_one_line = text_table([name, *map(str, cells)] for name, cells in lines)
    if fits(in_one_line, width - _GAP):
        return heading + _indented(in_one_line)
    in_two_lines = text_table(row for name, cells in lines for row in _two_rows(name, cells))
    if fits(in_two_lines, width - _GAP):
        return heading + _indented(in_two_lines)
    below_names = text_table(row for _, cells in lines for row in _two_rows("", cells))
    text = []
    for number, (name, _) in enumerate(lines):
        text += textwrap.wrap(name, width - _GAP)  # breaks a name that is too long anywhere
        text += below_names[2 * number : 2 * number + 2]
    return heading + _indented(text)


def row_blocks(headers: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the rows of a table that is too wide, each as its first text and a line a column."""
    for first, *others in rows:
        yield first
        for header, text in zip(headers[1:], others, strict=True):
            if text:
                yield from wrapped(f"  {header}: {text}", width)


def _two_rows(name: str, cells: Sequence[Cell]) -> list[list[str]]:
    """The values of a line, and below them their intervals."""
    values = [cell.value for cell in cells]
    intervals = [cell.interval for cell in cells]
    return [[name, *values], ["", *intervals]]


def _indented(lines: Iterable[str]) -> list[str]:
    return [" " * _GAP + line for line in lines if line]


def _length(text: str) -> int:
    """The columns of a text, in which some letters take two."""
    from rich.cells import cell_len

    return cell_len(text)
