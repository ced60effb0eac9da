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
_UNBROKEN_PER_CENT = "\N{NO-BREAK SPACE}%"


class Cell(NamedTuple):
    """A number of a table, and its interval with notes."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        text = f"{self.value} {self.interval}"
        return text.rstrip()


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
        table_lines = self.text_lines()
        lines = table_lines[:_MAX_LINES]
        if len(table_lines) > _MAX_LINES:
            lines.append("… .table() has all")
        sentence = self.summary()
        lines += wrapped(sentence, COLUMNS)
        return "\n".join(lines)

    def __repr__(self) -> str:
        name = type(self).__name__
        text = f"{name}: {self.summary()}"
        if len(text) <= _MAX_REPR:
            return text
        beginning = text[: _MAX_REPR - 1]
        return f"{beginning}…"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        summary = self.summary()
        sentence = html.escape(summary)
        frame = self.table()
        table = frame.to_html(index=False)
        return f"<p>{sentence}</p>{table}"


def screen_width() -> int:
    """The columns of the terminal at standard output, or of the variable COLUMNS; else no limit."""
    fallback = (_PIPE, 24)
    size = shutil.get_terminal_size(fallback)
    return size.columns


def wrapped(sentence: str, width: int) -> list[str]:
    """Break a sentence into lines at its spaces; its indent stays, and words are never broken."""
    words = sentence.lstrip(" ")
    n_spaces = len(sentence) - len(words)
    unbroken = sentence.replace(" %", _UNBROKEN_PER_CENT)
    lines = textwrap.wrap(
        unbroken,
        width,
        subsequent_indent=" " * n_spaces,
        break_long_words=False,
        break_on_hyphens=False,
    )
    if not lines:
        return [""]
    return [line.replace(_UNBROKEN_PER_CENT, " %") for line in lines]


def plural(noun: str, number: int) -> str:
    """A noun in the singular if the number is 1, else in the plural."""
    return noun if number == 1 else f"{noun}s"


def text_table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay rows of texts out in columns, the first to the left and the others to the right.

    >>> text_table([["arm", "mAP"], ["original", "0.5"]])
    ['arm       mAP', 'original  0.5']
    """
    rows = [[*row] for row in rows]
    widths = []
    for column in zip(*rows, strict=True):
        lengths = map(_length, column)
        width = max(lengths)
        widths.append(width)
    first_width = widths[0]
    other_widths = widths[1:]
    lines = []
    for first, *others in rows:
        padding = first_width - _length(first)
        line = first + " " * padding
        for text, width in zip(others, other_widths, strict=True):
            padding = _GAP + width - _length(text)
            line += " " * padding + text
        line = line.rstrip()
        lines.append(line)
    return lines


def fits(lines: Iterable[str], width: int) -> bool:
    """Whether no line is wider than the screen."""
    return all(_length(line) <= width for line in lines)


def block(title: str, lines: Sequence[tuple[str, Sequence[Cell]]], width: int) -> list[str]:
    """A title, and below it a line for each name with its cells.

    Where a line would be wider than the screen, intervals take lines of their own, and then names.
    """
    heading = wrapped(title, width)
    indented_width = width - _GAP
    rows = [[name, *map(str, cells)] for name, cells in lines]
    in_one_line = text_table(rows)
    if fits(in_one_line, indented_width):
        return heading + _indented(in_one_line)
    double_rows = []
    nameless_rows = []
    for name, cells in lines:
        double_rows += _two_rows(name, cells)
        nameless_rows += _two_rows("", cells)
    in_two_lines = text_table(double_rows)
    if fits(in_two_lines, indented_width):
        return heading + _indented(in_two_lines)
    below_names = text_table(nameless_rows)
    text = []
    for number, (name, _) in enumerate(lines):
        text += textwrap.wrap(name, indented_width)  # breaks a name that is too long anywhere
        first = 2 * number
        text += below_names[first : first + 2]
    return heading + _indented(text)


def row_blocks(headers: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the rows of a table that is too wide, each as its first text and a line a column."""
    other_headers = headers[1:]
    for first, *others in rows:
        yield first
        for header, text in zip(other_headers, others, strict=True):
            if text:
                yield from wrapped(f"  {header}: {text}", width)


def _two_rows(name: str, cells: Sequence[Cell]) -> list[list[str]]:
    """The values of a line, and below them their intervals."""
    values = [cell.value for cell in cells]
    intervals = [cell.interval for cell in cells]
    row_of_values = [name, *values]
    row_of_intervals = ["", *intervals]
    return [row_of_values, row_of_intervals]


def _indented(lines: Iterable[str]) -> list[str]:
    indent = " " * _GAP
    return [indent + line for line in lines if line]


def _length(text: str) -> int:
    """The columns of a text, in which some letters take two."""
    from rich.cells import cell_len

    return cell_len(text)
