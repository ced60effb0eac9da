"""Write docs/cli/ from the command line itself; with --check, report whether it is out of date.

Only names that every version of typer gives its commands and parameters are read, so that the
pages do not depend on the version installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer

from glocal.cli.app import app

FOLDER = Path(__file__).with_name("cli")
SUBJECTS = {
    "Decide": "whether any of it serves your images",
    "Fit": "from answers to a transform",
    "Use": "apply and share transforms, find anomalies",
    "Measure": "scores, suites and reports",
    "Prepare": "features, answers and studies",
}
"""What the commands of each page are for, by the groups of ``glocal --help``."""
WRITTEN = (
    "<!-- Written by docs/cli_reference.py. Do not edit: "
    "change the help texts and run it again. -->"
)
INDEX = """\
# Command line

{written}

Results go to standard output, messages to standard error. `--json` puts exactly one JSON object on
standard output. Every command also has `-h` or `--help`, `-q` or `--quiet` (errors alone),
and `-v` or `--verbose` (a line for each step); `glocal --version` prints the version. In Python,
`logging.getLogger("glocal")` has the same lines, and is silent by default.

| commands | for |
|---|---|
{groups}

| exit code | meaning |
|---|---|
| 0 | done, perhaps with warnings |
| 1 | bad content: a file that is missing, damaged or of the wrong kind; one sentence says which |
| 2 | a wrong command line: an unknown or missing option, a value out of its range |
| 130 | interrupted, by Ctrl-C or SIGTERM; files that existed before are unchanged |

## Shared options

A command that names one of these options, and has no line of its own for it, means this.

{shared}"""
_RANGE_AND_DEFAULT = re.compile(r"\s*\[((?:at |above |below |default: )[^\[\]]*)\]$")
_OPTION = re.compile(r"(?<![`\w-])(--[a-z][a-z-]*)(?: ([a-z][a-z-]*)\b)?")


def commands(command: Any, name: str = "glocal") -> Iterator[tuple[str, Any]]:
    """The whole name of each command that does something, and the command, as the help has them."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
        return
    for word, part in subcommands.items():
        if not part.hidden:
            yield from commands(part, f"{name} {word}")


def examples(command: Any) -> list[str]:
    """The command lines after ``Example:`` in the help of a command, each on one line."""
    _, *lines = (command.help or "").split("Example: ")
    return [" ".join(line.split()) for line in lines]


def pages() -> dict[str, str]:
    """The pages by their names; a row that five commands have in common is on the index only."""
    named = list(commands(typer.main.get_command(app)))
    counts = Counter(row for _, command in named for row in _rows(command).values())
    shared = {row: None for row, count in counts.items() if count >= 5}
    top = typer.main.get_command(app).commands
    lines = []
    texts = {}
    for group, subject in SUBJECTS.items():
        words = [word for word, command in top.items() if command.rich_help_panel == group]
        sections = [
            _section(name, command, shared) for name, command in named if name.split()[1] in words
        ]
        intro = f"# Commands: {group.lower()}\n\n{WRITTEN}\n\n{subject[0].upper()}{subject[1:]}.\n"
        texts[group.lower()] = intro + "".join(sections)
        listing = ", ".join(f"`{word}`" for word in words)
        lines.append(f"| [{group}]({group.lower()}.md): {listing} | {subject} |")
    texts["index"] = INDEX.format(written=WRITTEN, groups="\n".join(lines), shared=_table(shared))
    return texts


def _section(name: str, command: Any, shared: Container[str]) -> str:
    """The section of a command: its description, examples, and options."""
    description = (command.help or "").partition("Example: ")[0].strip()
    description = _with_options_as_code(description)
    lines = "\n".join(examples(command))
    rows = _rows(command)
    own = [row for row in rows.values() if row not in shared]
    also = ", ".join(f"`{option}`" for option, row in rows.items() if row in shared)
    return "".join(
        [
            f"\n## {name}\n\n{description}\n\n```sh\n{lines}\n```\n\n",
            f"{_table(own)}\n" if own else "",
            f"[Shared options](index.md#shared-options): {also}.\n",
        ]
    )


def _with_options_as_code(text: str) -> str:
    return _OPTION.sub(_as_code, text)


def _as_code(option: re.Match[str]) -> str:
    """An option of a sentence as code, with its value if it is one of its choices."""
    name, word = option.groups()
    if word in _choices_by_option().get(name, ()):
        return f"`{name} {word}`"
    return f"`{name}`{option[0].removeprefix(name)}"


@cache
def _choices_by_option() -> dict[str, set[str]]:
    """The choices of each option that has some, of all commands."""
    choices: dict[str, set[str]] = {}
    for _, command in commands(typer.main.get_command(app)):
        for param in command.params:
            choices.setdefault(param.opts[0], set()).update(_choices(param))
    return choices


def _choices(param: Any) -> Sequence[str]:
    return getattr(getattr(param, "type_descriptor", None), "choices", None) or ()


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
        if choices := _choices(param):
            meaning += f" One of {', '.join(choices)}."
        meaning = _with_options_as_code(meaning.replace("|", "\\|"))
        default = _with_options_as_code(default) or _default(param)
        row = f"| {_names(param)} | {default} | {meaning} |"
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
    """Write the pages, or check them; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if docs/cli is out of date")
    is_check = parser.parse_args().check
    for page, text in pages().items():
        file = FOLDER / f"{page}.md"
        if not is_check:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif not file.is_file() or file.read_text(encoding="utf-8") != text:
            sys.stderr.write(
                "docs/cli is out of date: run docs/cli_reference.py and commit what it writes.\n"
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
