"""The HTML of the pages, from templates that escape what they are given and hold no script and no style."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd
from markdown_it import MarkdownIt
from markupsafe import Markup

if TYPE_CHECKING:
    from glocal_collect.export import Collected
    from glocal_collect.study import Study

_QUESTIONS = {
    "odd-one-out": ("Which image is the odd one out?", ("1", "2", "3")),
    "anchor": ("Which image is more like the reference?", ("1", "2")),
}


def person_page(study: Study, *, consented: bool, participant: bool) -> str:
    """The page that asks: consent, instructions, trials, thanks.

    `participant` says that the link brought the id of a recruiting site, which is stored.
    """
    question, keys = _QUESTIONS[study.settings.kind]
    return _rendered(
        "person.html", title=study.title, kind=study.settings.kind, question=question, keys=keys,
        consent=_html(study.text("consent")), instructions=_html(study.text("instructions")), consented=consented,
        participant=participant,
    )  # fmt: skip


def owner_page(study: Study, found: Collected) -> str:
    """The page of the owner: a table of who has answered what, and how well."""
    table, of = found.table.assign(unsure=found.table["choice"] < 0), study.settings.per_person
    by_person = table.groupby("person")
    shown, people = pd.DataFrame(index=found.people["id"]), found.people.set_index("id")
    answers = by_person.size().reindex(shown.index, fill_value=0)
    shown["Site id"] = people["name"]
    shown["Answers"] = [f"{number} of {of}" for number in answers]
    shown["Can’t tell"] = by_person["unsure"].sum().reindex(shown.index, fill_value=0)
    shown["Median s"] = by_person["seconds"].median().round(1)
    for title, true in (("Repeats alike", found.alike), ("Catch passed", found.passed)):
        shown[title] = true.groupby(table["person"]).agg(_share)
    shown["Opened"], shown["Refused"] = people["opened"], people["contested"]
    last = pd.to_datetime(by_person["time"].max().astype(float), unit="s").dt.strftime("%Y-%m-%d %H:%M")
    shown["Last answer (UTC)"] = last.reindex(shown.index).where(people["consented"].notna(), "has not begun")
    number = int(found.told.sum())
    total = {"Answers": number, "Repeats alike": _share(found.alike), "Catch passed": _share(found.passed)}
    shown = pd.concat([shown.astype(object), pd.DataFrame(total, ["All"], dtype=object)]).fillna("")
    # NOTE pandas styles the head, which the policy forbids
    html = shown.rename_axis(columns="Person").to_html(border=0).replace(' style="text-align: right;"', "")
    return _rendered("owner.html", title=study.title, answers=number, table=Markup(html))


def problem_page(sentence: str) -> str:
    """A page that says one sentence, in place of one that cannot be shown."""
    return _rendered("problem.html", title="This page cannot be shown", sentence=sentence)


def _share(true: pd.Series) -> str:
    return f"{int(true.sum())} of {len(true)}" if len(true) else ""


def _rendered(name: str, **shown: Any) -> str:
    return _templates().get_template(name).render(**shown)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("glocal_collect"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip


def _html(markdown: str) -> Markup:
    """Markdown as markup, headings one level lower: the title of the page is the first. HTML in it is shown as text."""
    parser = MarkdownIt("commonmark", {"html": False})
    parser.disable("image")  # NOTE a picture from elsewhere would be a request to elsewhere
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
