"""The sentences of a text in Markdown, without code, tables, headings and targets of links."""

import re
from typing import NamedTuple

NOT_PROSE = (
    r"(?s)\A---\n.*?^---$",  # what a card says to the hub
    r"(?s)^ *```.*?^ *```",
    r"(?s)\$\$.*?\$\$",
    r"(?s)<picture>.*?</picture>",
    r"!\[[^\]]*\]\([^)]*\)",
    r"^ {4}.*$",
    r"^\|.*$",
    r"^#.*$",
)
ITEM = re.compile(r"(?m)^ *(?:[-*]|\d+\.) ")
END = re.compile(r"(?<!\bal)[.!?][\"')*_]*\s+(?=[A-Z0-9λτα`\"'(*_\[.])")


STUMBLES = {
    "a clause as a noun": r"(?i)\bwhoever\b|\bwhat (?:clip|a fit|the fit) (?:makes|was told)\b",
    "a subject that cannot act": r"\b(?:setting|table|line|rule)s? (?:promises?|lets? in)\b",
    "a bare of": r", of \.\d|\bthat of (?:a|an|this)\b|\bis the mean's\b",
    "a verb left out": r"\bthe (?:last|first) two rough\b|\bas far as\b|\bfor want of\b",
    "a verb with another preposition": r"\bagrees? in \.\d|\ballow no gain\b|\bpass for\b",
    "a private sense": r"\bis (?:people's|of people)\b|\b(?:certain|rough) difference\b",
    "a class instead of per class": r"\banswers a (?:class|person|image)\b|\bimages a kind\b",
    "an inversion": r"\bnor (?:may|does|is)\b|\band so (?:do|does|is|are)\b|\bso it is for\b",
}
"""Patterns of sentences at which readers stumbled, each as what can be counted of it."""


class Statistics(NamedTuple):
    """Of the sentences of a text."""

    number: int
    mean_words: float
    longest: str


def sentences(text):
    """Return the sentences of a text, a list item being one or more of its own; a piece of code is
    a word.
    """
    for pattern in NOT_PROSE:
        text = re.sub(f"(?m){pattern}", "\n", text)
    text = re.sub(r"``?[^`]+``?|\$[^$\n]+\$", "`", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    blocks = re.split(r"\n\s*\n", ITEM.sub("\n\n", text))
    parts = [" ".join(part.split()) for block in blocks for part in END.split(block)]
    return [part for part in parts if n_words(part)]


def n_words(sentence):
    """Return the number of words, each with a letter, a digit or a piece of code."""
    return sum(bool(re.search(r"[\w`]", word)) for word in sentence.split())


def statistics(text):
    """Return the number of sentences, their mean number of words, and the longest."""
    found = sentences(text)
    mean_words = sum(map(n_words, found)) / len(found)
    return Statistics(len(found), mean_words, max(found, key=n_words))


def stumbles(text):
    """Return the sentences of a text that have one of the patterns, each with its name."""
    return [
        (name, sentence)
        for sentence in sentences(text)
        for name, pattern in STUMBLES.items()
        if re.search(pattern, sentence)
    ]
