"""Write docs/licences.md: the licence of every package that glocal brings, as its own metadata state it.

.venv-newest/bin/python docs/licences.py    (make newest makes that environment, which has all extras)
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).with_name("licences.md")
PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_SHIPPED = ("test", "docs", "dev")  # extras of those who work on glocal
_LONGEST = 60
# what long names in metadata stand for
_SHORT = {
    "Apache Software License": "Apache-2.0", "Apache 2.0": "Apache-2.0", "Apache License 2.0": "Apache-2.0",
    "MIT License": "MIT", "BSD License": "BSD", "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
}  # fmt: skip
_HEAD = """# Licences

glocal is under the [MIT licence](https://opensource.org/license/mit) and contains no code of others. It uses these
packages, each under its own licence, as the package's metadata state it (`docs/licences.py`, {date}). None that glocal
needs, nor any that an extra for users brings, is under the GPL; a test keeps it so.

{weak}

The PyTorch of PyPI for Linux brings NVIDIA's CUDA libraries (`nvidia-…`, `cuda-…`), which are not open source and have
NVIDIA's own terms. The build for processors alone, from the index that
[pytorch.org](https://pytorch.org/get-started/locally/) names, does without them.

The terms of data and transforms are another matter: `glocal data list` says them for each file and data set before it
is fetched.
"""


def closure(requirements: Iterable[str]) -> dict[str, str | None]:
    """The installed packages that requirements bring, each with its licence; None for one that is not installed."""
    found: dict[str, str | None] = {}
    waiting = [(Requirement(one), "") for one in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            found[name] = None
            continue
        found[name] = licence(package.metadata)
        waiting += [(Requirement(one), asked) for one in package.requires or () for asked in ("", *requirement.extras)]
    return dict(sorted(found.items()))


def licence(metadata: object) -> str:
    """The licence that the metadata of a package state: as an expression, else as classifiers, else in words."""
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    named = [
        line.rsplit(" :: ", 1)[1] for line in metadata.get_all("Classifier") or () if line.startswith("License ::")
    ]
    named = [_SHORT.get(name, name) for name in named if name != "OSI Approved"]
    if named:
        return ", ".join(sorted(set(named)))
    lines = (metadata.get("License") or "").strip().splitlines() or ["not stated"]
    words = _SHORT.get(lines[0].strip(), lines[0].strip())
    return words if len(words) <= _LONGEST else words[:_LONGEST] + " …"


def needed() -> dict[str, str | None]:
    """The licences of what every installation has."""
    return closure(PROJECT["dependencies"])


def of_extras() -> dict[str, tuple[str | None, list[str]]]:
    """The licences of what the extras add, and the extras that bring each package."""
    base = needed()
    found: dict[str, tuple[str | None, list[str]]] = {}
    for extra in sorted(set(PROJECT["optional-dependencies"]) - set(NOT_SHIPPED)):
        for name, stated in closure(PROJECT["optional-dependencies"][extra]).items():
            if name not in base:
                found.setdefault(name, (stated, []))[1].append(extra)
    return dict(sorted(found.items()))


def strong_copyleft() -> list[str]:
    """Packages that only the GPL or AGPL allows to use; one that another licence allows too is none of them."""
    both = {**needed(), **{name: stated for name, (stated, _) in of_extras().items()}}
    strong = re.compile(r"(?<!L)(?<!Lesser )(?<!Library or Lesser )\bA?GPL|(?<!Lesser )General Public License")
    return [
        f"{name} ({stated})"
        for name, stated in both.items()
        if any(all(strong.search(part) for part in one.split(" OR ")) for one in (stated or "").split(" AND "))
    ]


def weak_copyleft() -> list[str]:
    """Packages of the extras whose changed files, or whose own changed code, must stay open."""
    both = {**needed(), **{name: stated for name, (stated, _) in of_extras().items()}}
    return [f"{name} ({stated})" for name, stated in both.items() if re.search(r"LGPL|MPL|Mozilla|EPL", stated or "")]


def page() -> str:
    """The text of the page."""
    weak = f"Free to use, while changes of the package itself have to stay open: {', '.join(weak_copyleft())}."
    lines = [_HEAD.format(date=datetime.now(UTC).date(), weak=weak), "## In every installation", ""]
    lines += ["| package | licence |", "|---|---|"]
    lines += [f"| {name} | {stated or 'not installed here'} |" for name, stated in needed().items()]
    lines += ["", "## With extras", "", "| package | licence | extras |", "|---|---|---|"]
    lines += [
        f"| {name} | {stated or 'not installed here'} | {', '.join(extras)} |"
        for name, (stated, extras) in of_extras().items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
