"""The pages of a study: their markup, and what a person meets in a browser."""

import re

import pytest

pytest.importorskip("jinja2")
pytest.importorskip("markdown_it")

from glocal.collect.pages import default_consent, default_instructions, owner_page, person_page, problem_page
from glocal.collect.pages import static_file as static

HOSTILE = "<script>hurt()</script>\"'><img src=x onerror=hurt()>"


def page(**changed) -> str:
    given = {"title": "T", "kind": "odd-one-out", "consent": "# Yes?", "instructions": "Look.", "consented": False}
    return person_page(**given | changed)


def test_markdown_of_a_study_becomes_markup_and_html_in_it_text():
    """Headings, emphasis and links are markup one level below the title; HTML, scripts and foreign images are not."""
    written = (
        f"# Head\n\n**bold** [here](https://a.test) [bad](javascript:hurt())\n\n{HOSTILE}\n\n![p](https://b.test/x.png)"
    )
    for made in (page(consent=written), page(instructions=written)):
        assert "<h2>Head</h2>" in made
        assert '<strong>bold</strong> <a href="https://a.test">here</a>' in made
        assert "<script>hurt" not in made
        assert 'href="javascript' not in made
        assert "<img src=" not in made


def test_a_title_is_text():
    """What is given as a title or a sentence is never markup."""
    for made in (page(title=HOSTILE), owner_page(title=HOSTILE), problem_page(HOSTILE)):
        assert "<script>hurt" not in made
        assert "&lt;script&gt;hurt" in made


def test_pages_hold_no_script_and_no_style_and_ask_only_their_server():
    """The strict policy finds nothing to stop: every address is relative, and nothing is inline."""
    for made in (page(), page(kind="anchor"), owner_page(title="T"), problem_page("No.")):
        assert re.findall(r"<script(?![^>]* src=)[^>]*>|<style|\sstyle=|\son\w+=", made) == []
        for address in re.findall(r'(?:src|href)="([^"]+)"', made):
            assert address == "#" or static(address.removeprefix("../static/")), address


def test_static_files_are_served_by_name_alone():
    """A file of the pages has its media type; no other name, and no path, finds anything."""
    assert static("person.js")[1] == "text/javascript"
    assert static("style.css")[1] == "text/css"
    assert [static(name) for name in ("", ".", "..", "../page.py", "../templates/person.html", "no.js")] == [None] * 6


@pytest.mark.parametrize("kind", ["odd-one-out", "anchor"])
def test_a_new_study_has_texts(kind):
    """The default texts of each kind name its question, and the page says what is stored."""
    made = page(kind=kind, consent=default_consent(), instructions=default_instructions(kind))
    assert "What is stored" in made
    assert ("reference" in default_instructions(kind)) == (kind == "anchor")
    assert made.count("aria-keyshortcuts") == (5 if kind == "anchor" else 6)
    assert "recruiting site" in page(participant=True)
    assert "recruiting site" not in made
