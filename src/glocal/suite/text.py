"""Names of files, and tables as CSV and Markdown: a name in a cell never acts as markup or a formula."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from glocal.errors import printable

if TYPE_CHECKING:
    import pandas as pd

_MARKDOWN = str.maketrans({"\\": "\\\\", "|": "\\|", "<": "\\<"})
_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r]")
_NUMBERS = re.compile(
    r"[-+]?([\d.]+(e[-+]?\d+)?( \[[-+\d., ]+\]| \(no interval\))?\*?)?"
)  # ours: "-", "-0.004 [-0.008, +0.000]*"


def file_stems(names: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """A file name without its extension for each tuple of names.

    The parts are joined by hyphens, and what file systems or shells refuse becomes one. Where two tuples would share a
    name, on a file system that does not tell upper from lower case too, the later one gets a number.

    >>> file_stems([("clip", "a b"), ("clip", "a-b"), ("clip-a", "b")])
    {('clip', 'a b'): 'clip-a-b', ('clip', 'a-b'): 'clip-a-b-2', ('clip-a', 'b'): 'clip-a-b-3'}
    """
    stems: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for parts in names:
        if parts in stems:
            continue
        plain = re.sub(r"[^\w.-]+", "-", "-".join(parts))[:80]
        stem, number = plain, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{plain}-{number}"
        stems[parts] = stem
        taken.add(stem.casefold())
    return stems


def csv(table: pd.DataFrame) -> str:
    """A table as CSV; a text that a spreadsheet would take for a formula has an apostrophe before it.

    >>> import pandas as pd
    >>> print(csv(pd.DataFrame({"arm": ["=1+1", "a"], "gain": ["-0.5 [-0.6, +0.1]", "-"]})), end="")
    arm,gain
    '=1+1,"-0.5 [-0.6, +0.1]"
    a,-
    """
    shown: str = table.rename(columns=_plain).map(_plain).to_csv(index=False)
    return shown


def markdown(table: pd.DataFrame) -> str:
    r"""A table in GitHub's Markdown; a bar in a name does not end its cell.

    >>> import pandas as pd
    >>> print(markdown(pd.DataFrame({"arm": ["a|b"], "n": [0.5]})), end="")
    | arm | n |
    | --- | --- |
    | a\|b | 0.5 |
    """
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *_cells(table)]
    escaped = [[printable(" ".join(cell.split())).translate(_MARKDOWN) for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in escaped)


def _plain(value: object) -> object:
    formula = isinstance(value, str) and _FORMULA.match(value) and not _NUMBERS.fullmatch(value)
    return f"'{value}" if formula else value


def _cells(table: pd.DataFrame) -> list[list[str]]:
    return [[_text(value) for value in line] for line in table.astype(object).to_numpy().tolist()]


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"  # noqa: PLR0124 - NaN is not a value
    return "" if value is None else str(value)
