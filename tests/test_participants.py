"""The people who answer as if at random are marked by a model that is fitted without them."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import world

from glocal.aligner import participants as module
from glocal.aligner.participants import MIN_ANSWERS, log10_odds, participants
from glocal.aligner.penalty import choose_global
from glocal.data.answers import Answers
from glocal.data.features import Features
from glocal.data.people import people
from glocal.data.world import simulated_answers

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits
MIND = np.random.default_rng(3).normal(size=(40, 4))
NOISE = np.random.default_rng(4).normal(size=(40, 4))
FEATURES = Features(np.hstack([MIND, NOISE]))
NAMES = tuple(f"{i}.png" for i in range(40))


@pytest.fixture(autouse=True)
def _three_folds(monkeypatch):
    """Fit three models in each round."""
    monkeypatch.setattr(module, "_FOLDS", 3)


def study(n_people, each, careless, n_objects=40, names=None):
    """Answers of people, the first `careless` of whom answer at random."""
    objects = simulated_answers(1.5 * MIND[:n_objects], n_people * each, seed=5).objects
    person = np.repeat(np.arange(n_people), each)
    rng = np.random.default_rng(6)
    objects = np.where((person < careless)[:, None], rng.permuted(objects, axis=1), objects)
    return Answers(objects, person=person, names=names)


def marked(table):
    return table.index[table["is_marked"]].tolist()


@pytest.mark.nightly
@pytest.mark.parametrize("features", [FEATURES, None])
def test_careless_people_are_marked_and_no_others(features):
    """If two of eight people answer at random, they are marked and nobody else, with features and
    without.
    """
    table = participants(study(8, 200, 2, 40 if features else 20), features)
    assert marked(table) == [0, 1]
    assert table["model"][2:].min() > table["model"][:2].max()


def test_a_person_does_not_fit_the_model_that_judges_them():
    """A person whose answers are the opposite of all others agrees less with the model than a
    careless person.
    """
    answers = study(6, 200, 0)
    objects = np.where(answers.person[:, None] == 0, answers.objects[:, ::-1], answers.objects)
    table = participants(replace(answers, objects=objects), FEATURES)
    assert table["model"][0] < 1 / 3 < table["model"][1:].min()
    assert marked(table) == [0]


@pytest.mark.nightly
def test_a_model_is_fitted_without_those_it_scores_and_without_the_marked(monkeypatch):
    """No person is both fitted and scored, and nobody else is left out of a fit, except, from the
    second round on, the people who were marked in the round before.
    """
    spy = Mock(side_effect=choose_global)
    monkeypatch.setattr(module, "choose_global", spy)
    assert marked(participants(study(6, 200, 2), FEATURES)) == [0, 1]
    folds = [fold for call in spy.call_args_list for fold in call.args[1]]
    assert len(folds) > 3  # models of a round
    for number, fold in enumerate(folds):
        expected = {*range(6)} - {*fold.answers.person} - ({0, 1} if number >= 3 else set())
        assert {*fold.data.answers.person} == expected
    assert sorted(n for fold in folds[-3:] for n in {*fold.answers.person}) == [*range(6)]


def test_rounds_go_on_until_the_same_people_are_marked(monkeypatch):
    """Somebody who is marked only once others are left out is marked too."""
    rounds = []

    def credit(answers, is_careless, features):
        rounds.append({*answers.person[is_careless]})
        n_marked = min(len(rounds), 4)
        rng = np.random.default_rng(0)
        return np.where(answers.person < n_marked, rng.random(len(answers)) < 1 / 3, 0.9)

    monkeypatch.setattr(module, "_credit", credit)
    assert marked(participants(study(12, 200, 0))) == [0, 1, 2, 3]
    assert rounds == [{*range(n)} for n in range(5)]


def test_only_answers_that_the_model_knows_count():
    """The odds are those of the answers about objects with features, and people with few of these
    are not marked, however random their answers are.
    """
    answers = study(6, 250, 1, names=NAMES)
    table = participants(answers, Features(FEATURES.matrix[:28], NAMES[:28]))
    is_known = pd.Series((answers.objects < 28).all(axis=1))
    n_known = is_known.groupby(answers.person).sum()
    assert n_known.max() < MIN_ANSWERS
    np.testing.assert_allclose(table["odds"], log10_odds(table["model"], n_known, 1 / 3))
    assert table["odds"][0] > 1
    assert marked(table) == []


def test_more_objects_than_a_model_without_features_takes_mark_nobody():
    """With 400 objects and no features, no model is fitted and nobody is marked."""
    answers = Answers(np.arange(1200).reshape(400, 3) % 400, person=np.arange(400) % 2)
    table = participants(answers)
    assert table["model"].isna().all()
    assert marked(table) == marked(participants(answers.select(np.arange(0)))) == []


def test_repeats_compare_an_answer_with_the_last_one_of_the_same_person():
    """A repeat is compared with the last answer of the same person: of three answers, the third
    equals the second, which does not equal the first.
    """
    rows = world.matrix("0 2 1; 1 0 2; 0 1 2; 3 4 5; 0 1 2", int)
    table = people(Answers.from_array(rows, person=[*"aaaab"]))
    assert table["repeats"].tolist() == [2, 0]
    assert table["alike"]["a"] == 0.5
    assert np.isnan(table["alike"]["b"])
