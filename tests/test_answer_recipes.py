"""The recipes of docs/data.md read tables of other programs, as these programs write them."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from world import ROOT, folder

from glocal import Answers
from glocal.errors import DataWarning

PAGE = (ROOT / "docs" / "data.md").read_text("utf-8").partition("## Recipes for other tables")[2]
RECIPES = dict(re.findall(r"(?ms)^### ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE))


def run(recipe):
    """Run a recipe in this folder."""
    exec(compile(RECIPES[recipe], recipe, "exec"), {"__name__": "recipe"})


def read(recipe):
    """Run a recipe in this folder and read the answers that it writes."""
    run(recipe)
    return Answers.load("answers.npz" if Path("answers.npz").exists() else "answers.csv")


def named(answers):
    """The names of the objects of each answer."""
    return [" ".join(answers.names[i] for i in row) for row in answers.objects]


JSPSYCH = [
    {"trial_type": "instructions", "rt": 9000, "subject": "ann"},
    {"task": "triplet", "stimuli": ["egg", "cup", "hat"], "response": 2, "rt": 1250},
    {"task": "triplet", "stimuli": ["egg", "cup", "hat"], "response": None, "rt": None},
    {"task": "triplet", "stimuli": ["cup", "cup", "egg"], "response": 2, "rt": 500},
    {"task": "triplet", "stimuli": ["egg", "cup", "hat"], "response": 0, "rt": 750},
]


@pytest.mark.parametrize("form", ["JSON", "CSV"])
def test_jspsych(here, form):
    """Trials of other screens and without a response are no answers, buttons count from 0, times
    are in milliseconds, and equal images make a catch trial.
    """
    trials = [{"subject": "bob", **trial} for trial in JSPSYCH]
    if form == "JSON":
        folder(here, data_json=json.dumps(trials))
    else:
        table = pd.DataFrame(trials)
        table["stimuli"] = table["stimuli"].map(json.dumps, na_action="ignore")
        table.to_csv("data.csv", index=False)
        run("jsPsych, CSV")
    answers = read("jsPsych, JSON")
    assert named(answers) == ["egg cup hat", "cup hat egg"]
    assert answers.person.tolist() == ["bob", "bob"]
    assert answers.seconds.tolist() == [1.25, 0.75]
    assert answers.catch_passed.tolist() == [True]


def test_qualtrics(here):
    """Each filled cell of a row of a participant is an answer, about the images of its question."""
    wide = """ResponseId,Finished,Q1,Q2
Response ID,Finished,"Which of these
is the odd one?","Which, ""really"", is it?"
"{""ImportId"":""_recordId""}","{""ImportId"":""finished""}","{""ImportId"":""QID1""}","{""ImportId"":""QID2""}"
R_1,True,egg.jpg,cup.jpg
R_2,True,hat.jpg,
"""
    shown = "question,a,b,c\nQ1,egg.jpg,cup.jpg,hat.jpg\nQ2,dog.jpg,cup.jpg,cat.jpg\n"
    folder(here, qualtrics_csv=wide, questions_csv=shown)
    with pytest.warns(DataWarning, match="1 × no answer"):
        answers = read("Qualtrics")
    rows = [row.replace(".jpg", "") for row in named(answers)]
    assert rows == ["cup hat egg", "egg cup hat", "dog cat cup"]
    assert answers.person.tolist() == ["R_1", "R_2", "R_1"]


def test_a_row_for_each_stimulus(here):
    """The stimuli of a trial are one answer, and the marked one is odd."""
    folder(here, long_csv="trial,image,is_odd\n1,x,0\n2,z,1\n1,y,1\n1,z,0\n2,x,0\n2,y,0\n")
    assert named(read("A row for each stimulus")) == ["x z y", "x y z"]


def test_salmon(here):
    """The winner is nearer to the head, -1 is no time, and a head among the choices makes a catch
    trial.
    """
    responses = """head,left,right,winner,loser,puid,response_time
0,1,2,2,1,ann,1.5
3,0,1,0,1,bob,-1
1,3,1,1,3,bob,0.9
"""
    folder(here, responses_csv=responses, targets_txt="ant\nbee\ncat\ndog\n")
    answers = read("salmon")
    assert (answers.kind, named(answers)) == ("anchor", ["ant cat bee", "dog ant bee"])
    np.testing.assert_array_equal(answers.seconds, [1.5, np.nan])
    assert (answers.catch_passed.tolist(), [*answers.catch_person]) == ([True], ["bob"])


def test_cblearn(here):
    """A negative response chooses the second of the two others, as does False."""
    for response in ([1, -1], [True, False]):
        np.savez("queries.npz", query=[[3, 0, 1], [2, 0, 3]], response=response)
        answers = read("cblearn")
        assert (answers.kind, answers.objects.tolist()) == ("anchor", [[3, 0, 1], [2, 3, 0]])


def test_nights(here):
    """A row is an answer for each side with votes, weighted by them, and rows without votes or of
    another split are none.
    """
    table = """id,left_vote,right_vote,ref_path,left_path,right_path,split
0,6.0,0.0,ref/0.png,d/0_0.png,d/0_1.png,train
1,2,6,ref/1.png,d/1_0.png,d/1_1.png,train
2,0,0,ref/2.png,d/2_0.png,d/2_1.png,train
3,1,0,ref/3.png,d/3_0.png,d/3_1.png,test
"""
    folder(here, data_csv=table)
    answers = read("NIGHTS")
    first = "ref/0.png d/0_0.png d/0_1.png"
    second = ["ref/1.png d/1_0.png d/1_1.png", "ref/1.png d/1_1.png d/1_0.png"]
    assert (answers.kind, named(answers)) == ("anchor", [first, *second])
    assert answers.weights.tolist() == answers.votes.tolist() == [6, 2, 6]


def test_recipes_are_short():
    """A recipe has at most twelve lines."""
    for recipe, code in RECIPES.items():
        assert len([line for line in code.splitlines() if line]) <= 12, recipe


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
