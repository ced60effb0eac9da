"""Text, JSON and TOML from files: of bounded size and depth, and one sentence where they are damaged."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from glocal.errors import FileError
from glocal.files.paths import PathLike, existing_file, one_line, unreadable

_DEPTH = 100  # lists in lists: Python's own limit of recursion is 1000 calls, several of them a level
_JSON_BYTES = 1 << 28
_TOML_BYTES = 1 << 18  # the time of tomllib grows with the square of a dotted key


def read_lines(path: PathLike, *, what: str) -> tuple[str, ...]:
    """Read a UTF-8 text file as its stripped lines; trailing empty lines are dropped."""
    _, text = read_text(path, what, "Save it as UTF-8.")
    lines = [line.strip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


def parse_json(text: str) -> Any:
    """The value of a JSON text; a ValueError where the text is not JSON, or more than 100 lists and objects deep."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is more than {_DEPTH} lists or objects deep") from error
    check_depth(value)
    return value


def read_json(path: PathLike, *, what: str, fix: str) -> Any:
    """The value of a JSON file of up to 256 MB; `what` names its role and `fix` what to do where it is damaged."""
    path, text = read_text(path, what, fix, _JSON_BYTES)
    try:
        return parse_json(text)
    except ValueError as error:
        raise FileError(f"{what} file {path} is not readable JSON ({one_line(error)}). {fix}") from error


def read_object(path: PathLike, *, what: str, fix: str) -> dict[str, Any]:
    """`read_json` of a file that must hold one JSON object."""
    value = read_json(path, what=what, fix=fix)
    if not isinstance(value, dict):
        raise FileError(f"{what} file {path} holds a JSON {type(value).__name__}; it must hold one object. {fix}")
    return value


def read_toml(path: PathLike, *, what: str, fix: str) -> dict[str, Any]:
    """The tables of a TOML file of up to 256 kB; otherwise like `read_json`."""
    path, text = read_text(path, what, fix, _TOML_BYTES)
    try:
        values = tomllib.loads(text)
        check_depth(values)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{what} file {path} is not TOML ({one_line(error)}). {fix}") from error
    return values


def check_depth(value: Any) -> None:
    """Raise a ValueError where lists and objects lie more than 100 deep in each other."""
    level = [value]
    for _ in range(_DEPTH):
        inner = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level = [item for part in inner for item in part if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError(f"it is more than {_DEPTH} lists or objects deep")


def read_text(path: PathLike, what: str, fix: str, largest: int = sys.maxsize) -> tuple[Path, str]:
    """The text of a file in UTF-8, or one sentence."""
    path = existing_file(path, what=what)
    try:
        with path.open("rb") as stream:
            data = stream.read() if largest == sys.maxsize else stream.read(largest + 1)
    except OSError as error:
        raise unreadable(path, what, error) from error
    if len(data) > largest:
        raise FileError(f"{what} file {path} has more than {largest} bytes, the most that is read. {fix}")
    try:
        return path, data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{what} file {path} is not UTF-8 text ({one_line(error)}). {fix}") from error
