"""Write docs/cli.md from the command line itself; with --check, report whether it is out of date.

Only names that every version of typer gives its commands and parameters are read, so that the page
does not depend on the version installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from glocal.cli.app import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
# Command line

<!-- Written by docs/cli_reference.py. Do not edit: change the help texts and run it again. -->

Results go to standard output, messages to standard error. `--json` puts exactly one JSON object on
standard output. Every command also has `-h` or `--help`, `-q` or `--quiet` (errors alone),
and `-v` or `--verbose` (a line for each step); `glocal --version` prints the version. In Python,
`logging.getLogger("glocal")` has the same lines, and is silent by default.

| exit code | meaning |
|---|---|
| 0 | done, perhaps with warnings |
| 1 | bad content: a file that is missing, damaged or of the wrong kind; one sentence says which |
| 2 | a wrong command line: an unknown or missing option, a value out of its range |
| 130 | interrupted, by Ctrl-C or SIGTERM; files that existed before are unchanged |

## Shared options

A command that names one of these options, and has no line of its own for it, means this.

"""
_RANGE_AND_DEFAULT = re.compile(r"\s*\[((?:at |above |below |default: )[^\[\]]*)\]$")
_OPTION = re.compile(r"(?<![`\w-])--[a-z][a-z-]*")  # two hyphens in a sentence would become a dash


def commands(command: Any, name: str = "glocal") -> Iterator[tuple[str, Any]]:
    """Each command that does something, in the order of the help.

    With it comes its whole name less the word ``run``.
    """
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
        return
    for word, part in subcommands.items():
        if part.hidden:
            continue
        yield from commands(part, name if word == "run" else f"{name} {word}")


def examples(command: Any) -> list[str]:
    """The command lines after ``Example:`` in the help of a command, each on one line."""
    _, *lines = (command.help or "").split("Example: ")
    return [" ".join(line.split()) for line in lines]


def page() -> str:
    """The whole page; a row that five commands have in common is in the first table only."""
    named = list(commands(typer.main.get_command(app)))
    counts = Counter(row for _, command in named for row in _rows(command).values())
    shared = {row: None for row, count in counts.items() if count >= 5}
    parts = [HEAD, _table(shared)]
    for name, command in named:
        description = (command.help or "").partition("Example: ")[0].strip()
        description = _OPTION.sub(r"`\g<0>`", description)
        lines = "\n".join(examples(command))
        parts.append(f"\n## {name}\n\n{description}\n\n```sh\n{lines}\n```\n\n")
        rows = _rows(command)
        if own := [row for row in rows.values() if row not in shared]:
            parts.append(_table(own) + "\n")
        also = ", ".join(f"`{option}`" for option, row in rows.items() if row in shared)
        parts.append(f"[Shared options](#shared-options): {also}.\n")
    return "".join(parts)


def _table(rows: Iterable[str]) -> str:
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows]) + "\n"


def _rows(command: Any) -> dict[str, str]:
    """The line of the table for each parameter of a command, by its option."""
    rows = {}
    for param in command.params:
        text = " ".join((getattr(param, "help", None) or "").split())
        match = _RANGE_AND_DEFAULT.search(text)
        allowed, _, default = (match.group(1) if match else "").partition("default: ")
        meaning = _RANGE_AND_DEFAULT.sub("", text)
        if allowed:
            meaning += f" Range: {allowed.rstrip('; ')}."
        if choices := getattr(getattr(param, "type_descriptor", None), "choices", None):
            meaning += f" One of {', '.join(choices)}."
        meaning = _OPTION.sub(r"`\g<0>`", meaning.replace("|", "\\|"))
        row = f"| {_names(param)} | {default or _default(param)} | {meaning} |"
        rows[param.opts[0]] = row
    return rows


def _names(param: Any) -> str:
    if not _is_option(param):
        return f"`{param.name.upper()}`"
    names = [*param.opts, *param.secondary_opts]
    value = ""
    if not getattr(param, "is_flag", False):
        value = " " + param.opts[0].lstrip("-").replace("-", "_").upper()
    return " / ".join(f"`{name}{value}`" for name in names)


def _default(param: Any) -> str:
    if param.required:
        return "*required*"
    if param.secondary_opts:
        return f"`{(param.opts if param.default else param.secondary_opts)[0]}`"
    is_value = isinstance(param.default, str | int | float | Path)
    return f"`{param.default}`" if is_value and not isinstance(param.default, bool) else ""


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def main() -> int:
    """Write the page, or check it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if docs/cli.md is out of date")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.stderr.write(
            "docs/cli.md is out of date: run docs/cli_reference.py and commit what it writes.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
