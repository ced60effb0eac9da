"""A transform records which answers it was fitted to."""

import re

import numpy as np
import pytest
import world

from glocal import Answers, Features, FitData
from glocal.data import seen as module
from glocal.data.seen import Seen, seen, sketch

X = Features(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32))
ANSWERS = world.answers(900, 60)


def shares(fitted, X, answers):
    """The shares of questions and objects that a sketch knows."""
    known = seen({"fitted": fitted}, X, answers)
    return known.questions, known.objects


def test_the_same_answers_are_seen_whatever_their_order():
    """The same answers are recognised with rows, answers and pairs in another order, and on a
    float64 copy of the features.
    """
    order = np.random.default_rng(1).permutation(60)
    other = Features(X.matrix[order].astype(np.float64))
    renamed = Answers(np.argsort(order)[ANSWERS.objects[::-1, [1, 0, 2]]])
    assert shares(sketch(X, ANSWERS), other, renamed) == (1.0, 1.0)


def test_new_questions_about_the_same_objects_are_told_from_new_objects():
    """New questions about seen objects are distinguished from answers about other objects."""
    fitted = sketch(X, ANSWERS.select(np.arange(450)))
    questions, objects = shares(fitted, X, ANSWERS.select(np.arange(450, 900)))
    assert questions < 0.1 < objects
    others = Features(np.random.default_rng(2).normal(size=(60, 5)))
    assert shares(fitted, others, ANSWERS) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["MAX_HASHES", "MAX_HASHES_OF_MANY"])
def test_a_sketch_of_many_answers_estimates_the_share(monkeypatch, name):
    """With only 100 hashes, half of the questions are still recognised as about a half; the share
    of so few questions that no 30 can be compared is not known.
    """
    monkeypatch.setattr(module, name, 100)
    monkeypatch.setattr(module, "MANY_ANSWERS", 450 if name == "MAX_HASHES" else 449)
    fitted = sketch(X, ANSWERS.select(np.arange(450)))
    assert len(fitted["questions"]) < 600
    assert shares(fitted, X, ANSWERS)[0] == pytest.approx(0.5, abs=0.12)
    assert shares(fitted, X, ANSWERS.select(np.arange(60))) == (None, 1.0)


def test_the_fitted_data_are_known_by_their_hash():
    """The recorded data are seen, however few hashes a sketch has; no record tells nothing."""
    few = ANSWERS.select(np.arange(20))
    hashes = FitData(X, few).hashes(local=False)
    fitted = sketch(X, ANSWERS)
    record = {"fitted": fitted | {"questions": "AAAA"}, "fit": {"provenance": {"data": hashes}}}
    assert seen(record, X, few) == Seen(1.0, 1.0)
    assert seen(record, X, ANSWERS).questions == 0
    assert seen({}, X, few) is None


WARNINGS = """
.11 1. 11% of these questions
.1  .5 50% of these objects
nan .5 50% of these objects, and .* not known
nan .1 not known"""


@pytest.mark.parametrize("row", WARNINGS.strip().split("\n"))
def test_a_warning_names_what_is_not_new(row):
    """Above a tenth it names the share of the questions, else that of the objects; what is not
    known is said.
    """
    questions, objects, words = row.split(maxsplit=2)
    known = Seen(None if questions == "nan" else float(questions), float(objects))
    assert re.search(words, known.warning())
    assert Seen(0.1, 0.1).warning() is None
