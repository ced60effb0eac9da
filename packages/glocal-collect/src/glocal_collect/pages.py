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
    table = found.table.assign(unsure=found.table["choice"] < 0)
    one = {
        "answers": ("time", "size"),
        "unsure": ("unsure", "sum"),
        "seconds": ("seconds", "median"),
        "last": ("time", "max"),
    }
    rows = found.people.set_index("id").join(table.groupby("person").agg(**one))
    shares = {"alike": found.alike, "passed": found.passed}
    for name, true in shares.items():
        rows[name] = pd.Series(
            {who: _share(part) for who, part in true.groupby(table["person"].loc[true.index])}, dtype=str
        )
    rows["last"] = pd.to_datetime(rows["last"].astype(float), unit="s").dt.strftime("%Y-%m-%d %H:%M")
    total = {"answers": int(found.told.sum()), **{name: _share(true) for name, true in shares.items()}}
    shown = [dict(zip(("id", *rows.columns), row, strict=True)) for row in rows.astype(object).fillna("").itertuples()]
    return _rendered("owner.html", title=study.title, rows=shown, total=total, of=study.settings.per_person)


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
