"""The templates of the page and of the figure of axes, and the words that they have for an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from glocal.errors import import_optional
from glocal.evaluation.axes import MIN_STABILITY
from glocal.evaluation.view import Axis
from glocal.results import to_json

_MAX_CHARACTERS = 42  # of the names at one end of an axis together


def render(name: str, **values: Any) -> str:
    """Fill a template of this package, with all texts escaped."""
    jinja2 = import_optional("jinja2", "a report")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("glocal.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # the filter tojson also escapes what could end a script element, or begin another
    environment.policies |= {"json.dumps_function": to_json, "json.dumps_kwargs": {}}
    environment.filters["fitting"] = fitting_names
    environment.tests["unsure"] = is_unsure
    template = environment.get_template(name)
    text: str = template.render(**values)
    return text


def is_unsure(axis: Axis) -> bool:
    """Whether fits to parts of the answers disagree about an axis."""
    stability = axis.get("stability")
    return stability is not None and bool(stability < MIN_STABILITY)


def fitting_names(names: Sequence[str]) -> str:
    """Join as many of the names as fit beside an axis, at least one.

    >>> fitting_names(["hot_dog", "cat", "a" * 40])
    'hot dog, cat'
    """
    words = [name.replace("_", " ") for name in names]
    fitting = ""
    for number in range(1, len(words) + 1):
        text = ", ".join(words[:number])
        if number > 1 and len(text) > _MAX_CHARACTERS:
            break
        fitting = text
    return fitting[: _MAX_CHARACTERS + 6]
