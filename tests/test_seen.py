"""A transform records which answers it was fitted to."""

import numpy as np
import pytest

from glocal.data import seen as module
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.seen import seen, sketch


@pytest.fixture
def study():
    """60 objects and 900 answers about them."""
    rng = np.random.default_rng(0)
    X = Features(rng.normal(size=(60, 5)).astype(np.float32))
    return X, Answers(np.array([rng.permutation(60)[:3] for _ in range(900)]))


def test_the_same_answers_are_seen_whatever_their_order(study):
    """The same answers are recognised with rows, answers and pairs in another order, and on a
    float64 copy of the features.
    """
    X, answers = study
    order = np.random.default_rng(1).permutation(60)
    other = Features(X.matrix[order].astype(np.float64))
    renamed = Answers(np.argsort(order)[answers.objects[::-1][:, [1, 0, 2]]])
    shares = seen(sketch(X, answers), other, renamed)
    assert (shares.questions, shares.objects) == (1.0, 1.0)
    assert "fitted to answers to 100%" in shares.warning()


def test_new_questions_about_the_same_objects_are_told_from_new_objects(study):
    """New questions about seen objects are distinguished from answers about other objects."""
    X, answers = study
    fitted = sketch(X, answers.select(np.arange(450)))
    new_questions = seen(fitted, X, answers.select(np.arange(450, 900)))
    assert new_questions.questions < 0.1 < new_questions.objects
    assert "objects" in new_questions.warning()
    others = Features(np.random.default_rng(2).normal(size=(60, 5)))
    new_objects = seen(fitted, others, answers)
    assert (new_objects.questions, new_objects.objects, new_objects.warning()) == (0.0, 0.0, None)


def test_a_sketch_of_many_answers_estimates_the_share(study, monkeypatch):
    """With only 100 hashes, half of the questions are still recognised as about a half."""
    monkeypatch.setattr(module, "MAX_HASHES", 100)
    X, answers = study
    fitted = sketch(X, answers.select(np.arange(450)))
    assert seen(fitted, X, answers).questions == pytest.approx(0.5, abs=0.12)
    assert len(fitted["questions"]) < 600
