"""One thing has one word: the glossary of docs/concepts.md binds options, keys, names and pages."""

import ast
import csv
import inspect
import re
from dataclasses import fields

import pytest
import typer
from sentences import stumbles
from test_docs import PAGES, ROOT, TEXTS

import glocal
from glocal.cli.app import app
from glocal.errors import MissingDependencyError
from glocal.results import FitRecord, HeldOutScores, KeepRecord, KeepScores
from glocal.scores import Score
from glocal.transform.formats import record_json
from glocal.transform.record import TransformRecord

OTHERS = [
    ROOT / "packages" / "glocal-collect" / "README.md",
    ROOT / "benchmarks" / "DATA.md",
    *(ROOT / "src" / "glocal" / "transform" / "pretrained").glob("*/README.md"),
]
"""Pages that are not in the folder of the docs."""
EXCEPTIONS = {
    ("benchmarks/DATA.md", "triplets"): "others distribute files of this name",
    ("docs/data.md", "triplets"): "others distribute files of this name",
    ("docs/cli/prepare.md", "triplets"): "the name of a published file",
}
"""Where a word may stand all the same, each a page or a name, and why."""


REPLACED_NAMES = {
    "agreement": "accuracy_cosine accuracy_dot",
    "tie rate": "tie_rate_cosine tie_rate_dot",
    "neighbours kept": "kept kept_raw kept_low kept_high kept_centred",
    "answer": "triplets n_triplets",
    "trial": "screens",
    "rows of length 1": "normalise normalised",
}
REPLACED_PHRASES = {
    "agreement": "odd-one-out accuracy, accuracy on answers",
    "neighbours kept": "neighbours that stay, neighbourhoods kept",
    "original": "untransformed, unaligned, gain over the features as they are",
    "mean subtracted": "own means subtracted, column means subtracted, demeaned",
    "centred": "centered",
    "people": "persons, raters, annotators",
    "participants": "subjects, respondents",
    "question": "query set",
    "held-out": "hold-out set, held out set",
    "method": "algorithm",
    "arm": "competitor",
    "one example a class": "one-shot, one image a class, 1 image a class, single-shot",
    "rows of length 1": "unit rows",
    "transform": "mapping matrix, projection head",
}
"""What is not written for a word of the glossary, in code and in sentences."""
NAMES = {name: word for word, names in REPLACED_NAMES.items() for name in names.split()}
PHRASES = {text: word for word, texts in REPLACED_PHRASES.items() for text in texts.split(", ")}


def test_every_replaced_word_has_its_word_in_the_glossary():
    """What is written instead stands in the table of docs/concepts.md."""
    table = TEXTS[ROOT / "docs" / "concepts.md"].split("| word |")[1].split("\n\n")[0]
    words = {line.strip("| ").partition(" |")[0] for line in table.splitlines()[2:]}
    assert {*NAMES.values(), *PHRASES.values()} <= words


def options():
    """The options and arguments of all commands, and the values that they may have."""
    commands = [typer.main.get_command(app)]
    for command in commands:  # which grows
        commands += getattr(command, "commands", {}).values()
        for param in command.params:
            choices = getattr(getattr(param, "type_descriptor", None), "choices", None) or ()
            yield from (*(name.lstrip("-") for name in param.opts), *choices)


def public_names():
    """The names that the package offers, their parameters, and their attributes."""
    for name in glocal.__all__:
        yield name
        try:
            offered = getattr(glocal, name)
        except MissingDependencyError:  # of torch, without which a network cannot run
            continue
        if inspect.isclass(offered):
            yield from (attribute for attribute in dir(offered) if not attribute.startswith("_"))
        is_error = inspect.isclass(offered) and issubclass(offered, Exception)
        if callable(offered) and not is_error:
            yield from inspect.signature(offered).parameters


def keys(text):
    """The keys in a text of JSON, at all levels."""
    return re.findall(r'"([^"]+)":', text)


def record_keys():
    """The keys of records and rows, and the titles of the published tables."""
    for record in (HeldOutScores, KeepRecord, KeepScores, FitRecord, TransformRecord):
        yield from record.model_fields
    yield from (entry.name for entry in fields(Score))
    yield from keys(record_json(glocal.pretrained("clip-vit-b-32").record))
    yield from keys((ROOT / "docs" / "evidence.json").read_text("utf-8"))
    for file in (ROOT / "docs" / "all-results").glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as stream:
            yield from next(csv.reader(stream))


@pytest.mark.parametrize("names", [options, public_names, record_keys])
def test_no_name_is_one_that_is_not_written(names):
    """No option, public name, key or title is a word that the glossary replaces."""
    written = {name.replace("-", "_") for name in names()}
    assert written
    assert {name: NAMES[name] for name in written & {*NAMES}} == {}


def phrases_in(words):
    """The phrases in a text on one line for which the glossary has another word."""
    return [phrase for phrase in PHRASES if re.search(rf"(?i)\b{re.escape(phrase)}\b", words)]


def prose(text):
    """The text of a page without blocks of code and quotations, and its code in lines apart."""
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    text = re.sub(r"(?m)^ {4}.*$|^> .*$", "", text)
    code = re.findall(r"`([^`\n]+)`", text)
    return re.sub(r"`[^`\n]+`", "`", text), code


@pytest.mark.parametrize("page", PAGES + OTHERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_page_has_a_word_that_is_not_written(page):
    """The prose of the pages has none of these phrases, and their code none of these names."""
    place = page.relative_to(ROOT).as_posix()
    if place == "docs/log.md":
        return
    text = re.sub(r"(?s)\| word \|.*?\n\n", "", page.read_text("utf-8"))
    words, code = prose(text)
    words = " ".join(words.split())
    phrases = phrases_in(words)
    parts = {part for line in code for part in re.findall(r"[\w]+", line)}
    names = parts & {*NAMES}
    assert [word for word in (*phrases, *names) if (place, word) not in EXCEPTIONS] == []


SOURCES = {
    "glocal": ROOT / "src",
    "glocal-collect": ROOT / "packages" / "glocal-collect" / "src",
}


def docstrings(path):
    """The text of each docstring of a file, of constants too, without indents and examples."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                text = re.sub(r"(?m)^ *(?:>>>|\.\.\.) .*$", "", text)
                yield re.sub(r"(?m)^ +", "", text)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_docstrings_read_as_the_pages_do(source):
    """No docstring has a sentence of a pattern at which readers stumbled, or a phrase for which the
    glossary has another word.
    """
    refused = []
    for path in source.rglob("*.py"):
        for text in docstrings(path):
            words, _ = prose(text.replace("``", "`"))
            phrases = phrases_in(" ".join(words.split()))
            refused += [(path.name, *problem) for problem in stumbles(text)]
            refused += [(path.name, phrase, PHRASES[phrase]) for phrase in phrases]
    assert refused == []


def test_each_exception_is_needed():
    """An exception names a page and a word that it has; there are few."""
    for page, word in EXCEPTIONS:
        assert word in (ROOT / page).read_text("utf-8"), page
        assert word in NAMES or word in PHRASES
    assert len(EXCEPTIONS) <= 15
