"""The HTML of the pages, from templates that escape all values and hold no script and no style."""

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


def owner_page(study: Study, collected: Collected) -> str:
    """The page of the owner: a table of how much each person has answered, and how well."""
    answers = collected.table.assign(is_unsure=collected.table["choice"] < 0)
    by_person = answers.groupby("person")
    ids = {*collected.people["id"], *study.personal_ids}
    people = collected.people.astype(object).set_index("id")
    people = people.reindex(sorted(ids, key=lambda person: (len(person), person)))
    rows = people[["name"]].rename(columns={"name": "Site id"})
    counts = by_person.size().reindex(rows.index, fill_value=0)
    rows["Answers"] = [f"{count} of {study.settings.per_person}" for count in counts]
    rows["Can’t tell"] = by_person["is_unsure"].sum().reindex(rows.index, fill_value=0)
    rows["Median s"] = by_person["seconds"].median().round(1)
    n_answers = int(collected.is_answer.sum())
    total: dict[str, Any] = {"Answers": n_answers}
    checks = {"Repeats alike": collected.repeats_agree, "Catch passed": collected.catch_passed}
    for title, is_good in checks.items():
        rows[title] = is_good.groupby(answers["person"]).agg(_share)
        total[title] = _share(is_good)
    rows["Opened"] = people["opened"]
    rows["Refused"] = people["contested"]
    last = pd.to_datetime(by_person["time"].max().astype(float), unit="s")
    last = last.dt.strftime("%Y-%m-%d %H:%M").reindex(rows.index)
    rows["Last answer (UTC)"] = last.where(people["consented"].notna(), "has not begun")
    table = pd.concat([rows.astype(object), pd.DataFrame(total, ["All"], dtype=object)])
    table = table.map(lambda cell: "" if pd.isna(cell) else cell)
    html = table.rename_axis(columns="Person").to_html(border=0)
    # NOTE pandas aligns the head by a style, which the policy forbids
    html = html.replace(' style="text-align: right;"', "")
    return _render("owner.html", title=study.title, answers=n_answers, table=Markup(html))


def problem_page(sentence: str) -> str:
    """A page that says one sentence, in place of one that cannot be shown."""
    return _render("problem.html", title="This page cannot be shown", sentence=sentence)


def _share(is_good: pd.Series) -> str:
    return f"{int(is_good.sum())} of {len(is_good)}" if len(is_good) else ""


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
    """Markdown as markup; headings are one level lower, since the title of the page is the first.

    HTML is shown as text.
    """
    parser = MarkdownIt("commonmark", {"html": False})
    parser.disable("image")  # NOTE a picture from elsewhere would be a request to elsewhere
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
