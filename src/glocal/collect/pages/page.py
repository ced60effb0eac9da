"""The HTML of the pages, from templates that escape what they are given and hold no script and no style."""

from __future__ import annotations

from functools import cache
from typing import Any

from glocal.extras import needed

POLICY = (
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'none'; frame-ancestors 'none'; "
    "script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
)
_QUESTIONS = {
    "odd-one-out": ("Which image is the odd one out?", ("1", "2", "3")),
    "anchor": ("Which image is more like the reference?", ("1", "2")),
}


def person_page(
    *, title: str, kind: str, consent: str, instructions: str, consented: bool, participant: bool = False
) -> str:
    """The page that asks: consent, instructions, trials, thanks.

    `consent` and `instructions` are Markdown, `kind` is odd-one-out or anchor, `participant` says that the link brought
    the id of a recruiting site, which is stored.
    """
    question, keys = _QUESTIONS[kind]
    return _rendered(
        "person.html", title=title, kind=kind, question=question, keys=keys, consent=_html(consent),
        instructions=_html(instructions), consented=consented, participant=participant,
    )  # fmt: skip


def owner_page(*, title: str) -> str:
    """The page of the owner: what has come in, what it is worth, and a button that fits."""
    return _rendered("owner.html", title=title)


def problem_page(sentence: str) -> str:
    """A page that says one sentence, in place of one that cannot be shown."""
    return _rendered("problem.html", title="This page cannot be shown", sentence=sentence)


def _rendered(name: str, **shown: Any) -> str:
    return str(_templates().get_template(name).render(**shown))


@cache
def _templates() -> Any:
    jinja2 = needed("jinja2", "a page of a study", extra="collect")
    return jinja2.Environment(
        loader=jinja2.PackageLoader("glocal.collect.pages"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def _html(markdown: str) -> Any:
    """Markdown as markup, headings one level lower: the title of the page is the first. HTML in it is shown as text."""
    from markupsafe import Markup

    parser = needed("markdown_it", "a page of a study").MarkdownIt("commonmark", {"html": False})
    parser.disable("image")  # NOTE a picture from elsewhere would be a request to elsewhere
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
