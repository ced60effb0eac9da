"""The HTML of the pages, from templates that escape all values and hold no script and no style."""

from functools import cache
from typing import Any

import jinja2
import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

from glocal_collect.overview import cells
from glocal_collect.study import Study

_QUESTIONS = {
    "odd-one-out": ("Which image is the odd one out?", ("1", "2", "3")),
    "anchor": ("Which image is more like the reference?", ("1", "2")),
}


def person_page(study: Study, *, has_begun: bool, is_recruited: bool) -> str:
    """The page for participants: consent, instructions, trials, thanks.

    `is_recruited` says that the link contains the id of a recruiting site, which is stored.
    """
    question, keys = _QUESTIONS[study.settings.kind]
    return _render(
        "person.html",
        title=study.title,
        kind=study.settings.kind,
        question=question,
        keys=keys,
        consent=_html(study.text("consent")),
        instructions=_html(study.text("instructions")),
        has_begun=has_begun,
        is_recruited=is_recruited,
    )


def owner_page(study: Study, table: pd.DataFrame) -> str:
    """The page of the owner: how much each person has answered, as a bar, and how well."""
    texts = cells(table)
    html = texts.loc[:, texts.any()].rename_axis(columns="Person").to_html(border=0)
    # NOTE pandas aligns the head by an inline style, which the content security policy forbids
    html = html.replace(' style="text-align: right;"', "")
    has_finished = table["finished"].notna()
    return _render(
        "owner.html",
        title=study.title,
        people=list(table.assign(has_finished=has_finished).itertuples()),
        n_finished=has_finished.sum(),
        answers=table["answers"].sum(),
        has_marked=(table["is_marked"] & table["excluded"].isna()).any(),
        table=Markup(html),
    )


def problem_page(sentence: str) -> str:
    """The page of one sentence that replaces a page that cannot be shown."""
    return _render("problem.html", title="This page cannot be shown", sentence=sentence)


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("glocal_collect"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def _html(markdown: str) -> Markup:
    """Markdown as HTML, with headings one level lower, since the title of the page is the first.

    HTML in the Markdown is shown as text.
    """
    parser = MarkdownIt("commonmark", {"html": False})
    parser.disable("image")  # NOTE an image of another site would send that site a request
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
