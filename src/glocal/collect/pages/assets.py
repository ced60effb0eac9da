"""The texts of a new study, and the files that pages load."""

from __future__ import annotations

import importlib.resources

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def default_consent() -> str:
    """Markdown of ``consent.md`` in a new study."""
    return _folder("texts").joinpath("consent.md").read_text(encoding="utf-8")


def default_instructions(kind: str) -> str:
    """Markdown of ``instructions.md`` in a new study of this kind."""
    return _folder("texts").joinpath(f"{kind}.md").read_text(encoding="utf-8")


def static_file(name: str) -> tuple[bytes, str] | None:
    """Content and media type of a file of the pages, None if there is none of this name."""
    for file in _folder("static").iterdir():
        if file.name == name:
            return file.read_bytes(), _TYPES[name[name.rindex(".") :]]
    return None


def _folder(name: str) -> importlib.resources.abc.Traversable:
    return importlib.resources.files("glocal.collect.pages") / name
