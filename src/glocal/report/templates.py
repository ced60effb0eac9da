"""The templates of the page and of the figure of axes."""

from __future__ import annotations

import importlib.resources
from typing import Any

from glocal.errors import import_optional


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return (importlib.resources.files("glocal.report") / name).read_text(encoding="utf-8")


def render(name: str, **values: Any) -> str:
    """Fill a template of this package, with all texts escaped."""
    jinja2 = import_optional("jinja2", "a report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    text: str = environment.get_template(name).render(**values)
    return text
