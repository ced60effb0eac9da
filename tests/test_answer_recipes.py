"""The recipes of docs/data.md read tables of other programs, as these programs write them."""

import re

from world import ROOT, folder

from glocal import Answers

PAGE = (ROOT / "docs" / "data.md").read_text("utf-8").partition("## Recipes for other tables")[2]
RECIPES = dict(re.findall(r"(?ms)^### ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE))


def read(recipe):
    """Run a recipe in this folder and read the answers that it writes."""
    exec(compile(RECIPES[recipe], recipe, "exec"), {"__name__": "recipe"})
    return Answers.load("answers.npz")


def named(answers):
    """The names of the objects of each answer."""
    return [" ".join(answers.names[i] for i in row) for row in answers.objects]


def test_ratings_of_pairs(here):
    """For each reference, every two known ratings that differ give an answer, weighted by their
    difference.
    """
    folder(here, ratings_csv="first,second,rating\nball,cup,1\nball,egg,3\ncup,egg,1\nball,hat,2\n")
    answers = read("Ratings of pairs")
    assert answers.kind == "anchor"
    weight_of = dict(zip(named(answers), answers.weights, strict=True))
    assert weight_of == {
        "ball egg cup": 2,
        "ball egg hat": 1,
        "ball hat cup": 1,
        "egg ball cup": 2,
    }
