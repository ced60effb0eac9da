"""Lists of published things: a line of facts and a description for each, within 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from glocal.cli.output import print_lines

_COLUMNS = 100
_INDENT = " " * 4


def put_catalogue(entries: Iterable[Sequence[str]]) -> None:
    """Print entries, each a name, facts and last a description, broken between words."""
    for name, *facts, description in entries:
        head = f"{name}  {', '.join(facts)}"
        print_lines(*_wrap(head, ""), *_wrap(description, _INDENT))


def _wrap(text: str, indent: str) -> list[str]:
    """The lines of a text, of which the first has this indent; names and addresses stay whole."""
    return textwrap.wrap(
        text.strip(),
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
