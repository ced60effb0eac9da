"""People who answer as if at random are marked by models that are fitted without them."""

from dataclasses import replace
from math import lgamma, log
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pytest
from world import normal, table

from glocal import (
    Answers,
    Exact,
    Features,
    FitData,
    import_answers,
    learning_curve,
    people,
    simulated_answers,
)
from glocal.aligner import people as module
from glocal.aligner.keep import keep_curve
from glocal.aligner.people import fit_rates, judgements, log10_odds
from glocal.aligner.search import PathSearch
from glocal.data.people import describe

pytestmark = pytest.mark.usefixtures("without_type_checks")  # many fits
MIND = normal(40, 4, seed=3)
NOISE = normal(40, 4, seed=4)
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


@pytest.fixture
def searches(monkeypatch):
    """The list of all `PathSearch` that are made."""
    made = []
    begin = PathSearch.__init__

    def note(self, *args, **options):
        made.append(self)
        begin(self, *args, **options)

    monkeypatch.setattr(PathSearch, "__init__", note)
    return made


@pytest.mark.parametrize("features", [FEATURES, None])
def test_a_fit_that_judges_is_cold_and_made_without_those_it_scores_and_the_marked(
    monkeypatch, searches, features
):
    """Each fit starts at the scaled identity. No person is both fitted and scored, and nobody else
    is left out of a fit, except, from the second round on, those marked in the round before.
    """
    minimise = create_autospec(Exact.minimise, side_effect=Exact.minimise)
    monkeypatch.setattr(Exact, "minimise", minimise)
    assert marked(people(study(6, 200, 2, 20), features)) == [0, 1]
    assert len(minimise.call_args_list) >= 6
    calls = [call.args for call in minimise.call_args_list]
    assert {start for _, _, _, start, *_ in calls} == {None}, "where fits start"
    assert {arm.method for _, _, arm, *_ in calls} == {"global" if features else "naive"}
    n_rounds = len(searches)
    assert n_rounds > 1
    for number, search in enumerate(searches):
        for fold in search.folds:
            expected = {*range(6)} - {*fold.answers.person} - ({0, 1} if number else set())
            assert {*fold.data.answers.person} == expected
    scored = [person for fold in searches[-1].folds for person in {*fold.answers.person}]
    assert sorted(scored) == [*range(6)]


def test_without_features_answers_are_compared_by_dot_products(searches):
    """The agreement of a person is the credit by the similarities that were fitted, not by cosines:
    a code of the objects gives each the length that the answers ask for. The second round keeps λ.
    """
    table = people(study(6, 200, 2, 20))
    (settings,) = searches[-1].fits.solutions
    heldout = searches[-1].heldout
    S = heldout.similarities(searches[-1].embeddings(settings.lmbda))
    credit = (S[:, 0] > S[:, 1:].max(axis=1)).astype(float)
    of_people = pd.Series(credit).groupby(heldout.answers.person).mean()
    np.testing.assert_allclose(table["model"], of_people)


@pytest.mark.filterwarnings("ignore:.*which is chance")
@pytest.mark.parametrize(
    "fit_to",
    [
        lambda answers: people(answers, FEATURES), pytest.param(people, marks=pytest.mark.nightly),
        lambda answers: keep_curve(FitData(FEATURES, answers), keep=None),
        lambda answers: learning_curve(FEATURES, answers),
    ],
)  # fmt: skip
def test_random_answers_to_questions_of_their_own_agree_at_chance(fit_to, searches):
    """Random answers, each to another question, agree at chance in each fold, at each λ: nobody's
    answers are in the fit that scores them, whatever it starts from.
    """
    answers = study(6, 150, 6, 20)
    _, first = np.unique(np.sort(answers.objects, axis=1), axis=0, return_index=True)
    fit_to(answers.select(np.sort(first)))
    deviations = []
    for search in searches:
        ends = np.cumsum([len(fold.answers) for fold in search.folds])[:-1]
        for settings in search.fits.solutions:
            for credit in np.split(search.global_scores(settings.lmbda).credit, ends):
                deviations.append((credit.mean() - 1 / 3) * np.sqrt(len(credit) * 9 / 2))
    assert len(deviations) >= 6
    assert np.abs(deviations).max() < 3.5, "standard errors"


def test_rounds_go_on_until_the_same_people_are_marked(monkeypatch):
    """Somebody who is marked only once others are left out is marked too."""
    rounds = []

    def credit(_model, is_careless, _step):
        rounds.append({*answers.person[is_careless]})
        n_marked = min(len(rounds), 4)
        rng = np.random.default_rng(0)
        return np.where(answers.person < n_marked, rng.random(len(answers)) < 1 / 3, 0.9), 0

    answers = study(12, 200, 0)
    monkeypatch.setattr(module.AnswerModel, "credit", credit)
    assert marked(people(answers)) == [0, 1, 2, 3]
    assert rounds == [{*range(n)} for n in range(5)]


def test_only_answers_that_the_model_knows_count():
    """The judgement is that of the answers with a weight above 0 about objects with features."""
    answers = study(6, 120, 1, names=NAMES)
    features = Features(FEATURES.matrix[:28], NAMES[:28])
    is_known = (answers.objects < 28).all(axis=1)
    some = people(answers, features)
    columns = ["model", "log10_odds", "is_marked", "judgement"]
    pd.testing.assert_frame_equal(
        some[columns], people(answers.select(is_known), features)[columns]
    )
    weighted = people(replace(answers, weights=is_known.astype(float)), features)
    pd.testing.assert_frame_equal(weighted[columns], some[columns])
    assert some["answers"].tolist() == 6 * [120]


@pytest.mark.parametrize("n", [400, 0])
def test_without_a_model_nobody_is_judged(n):
    """With 400 objects and no features, with one person, or without answers, nobody is judged."""
    answers = Answers(np.arange(3 * n).reshape(n, 3) % 400, person=np.arange(n) % 2)
    alone = study(1, 40, 0)
    for persons in (people(answers), people(alone, FEATURES)):
        assert set(persons["judgement"]) <= {"no model"}
        assert persons[["model", "log10_odds"]].isna().all(axis=None)
        assert marked(persons) == []
    pd.testing.assert_frame_equal(people(alone, judge=False), describe(alone))


def test_the_odds_equal_the_formulas():
    """The odds are those of the binomial against the beta-binomial distribution."""
    k, n, a, b = 70, 100, 9.0, 6.0
    careful = lgamma(k + a) + lgamma(n - k + b) - lgamma(n + a + b)
    careful -= lgamma(a) + lgamma(b) - lgamma(a + b)
    odds = log10_odds(np.array([k]), np.array([n]), np.array([[a, b]]), 0.25)
    at_random = k * log(0.25) + (n - k) * log(0.75)
    assert odds == pytest.approx((at_random - careful) / log(10))


def drawn(n_people, mean, spread, n=300, seed=0):
    """The numbers of agreeing answers of people whose rates have this mean and spread."""
    rng = np.random.default_rng(seed)
    total = mean * (1 - mean) / spread**2 - 1
    rates = rng.beta(mean * total, (1 - mean) * total, n_people)
    return rng.binomial(n, rates), np.full(n_people, n)


def mean_and_spread(a, b):
    mean = a / (a + b)
    return mean, np.sqrt(mean * (1 - mean) / (a + b + 1))


def test_the_rates_of_careful_people_are_recovered():
    """Of 4,000 people the mean and the spread of the rates are found to .005; of ten the spread
    is found, and of nine with equal rates it is at least .1. No careful rate is below chance.
    """
    assert mean_and_spread(*fit_rates(*drawn(4000, 0.6, 0.08), 1 / 3)) == pytest.approx(
        (0.6, 0.08), abs=0.005
    )
    same = np.full(10, 60)
    n = np.full(10, 100)
    assert mean_and_spread(*fit_rates(same, n, 1 / 3))[1] < 0.02
    assert mean_and_spread(*fit_rates(same // 3, n, 1 / 3))[0] == pytest.approx(1 / 3)
    assert mean_and_spread(*fit_rates(same[1:], n[1:], 1 / 3)) == pytest.approx(
        (0.6, 0.1), abs=1e-4
    )


# agreeing of n answers, beside 20 people of .52 to .68; chance is 1/3
JUDGEMENTS = """
100 300 | as if at random
114 300 | as if at random | since p is .0502
115 300 | cannot be told | since p is .039
180 300 | careful, 1 : 1,000,000
120 300 | cannot be told | since it is significantly above chance
30 80 | as if at random
37 80 | cannot be told | since the odds are above 1 : 10
34 80 | cannot be told | since the odds are near 1 : 1
20 300 | as if at random | since less than chance is no care
0 10 | cannot be told | since 3 of 10 would not be told either
10 10 | cannot be told | for the same reason
0 0 | no model"""


@table("numbers, judgement, why", JUDGEMENTS)
def test_a_judgement_follows_from_the_odds_that_the_others_give(numbers, judgement, why):
    """A person is marked above odds of 10 : 1 if the agreement is not significantly above chance,
    and judged only if an agreement at chance would be marked; no cell is empty.
    """
    person = [int(number) for number in numbers.split()]
    others = np.repeat([156, 174, 186, 204], 5)
    scores = pd.DataFrame({"agreeing": [*others, person[0]], "n": [*np.full(20, 300), person[1]]})
    table = judgements(scores, np.zeros(21, dtype=bool), 1 / 3)
    assert table["judgement"].iloc[-1].startswith(judgement)
    assert np.isnan(table["log10_odds"].iloc[-1]) == (judgement == "no model")
    assert table["is_marked"].iloc[-1] == judgement.startswith(module.RANDOM)


def test_a_person_is_compared_with_the_others_who_were_not_marked():
    """Neither the person nor anybody marked before changes the careful rates."""
    agreeing, n = drawn(21, 0.6, 0.05)
    agreeing[:2] = 100, 60
    was_marked = np.arange(21) < 2
    rates = module.careful_rates(agreeing, n, was_marked, 1 / 3)
    np.testing.assert_array_equal(rates[0], fit_rates(agreeing[2:], n[2:], 1 / 3))
    np.testing.assert_array_equal(
        rates[5], fit_rates(*np.delete([agreeing, n], [0, 1, 5], 1), 1 / 3)
    )


@pytest.mark.data
@pytest.mark.nightly
def test_planted_people_of_a_real_study_are_found(data_dir, monkeypatch):
    """Without features, eleven people of the video study who get answers at random are found, and
    at most three hundredths of the others marked.
    """
    monkeypatch.setattr(module, "_FOLDS", 5)
    answers = import_answers(data_dir / "videos" / "answers.csv").answers
    rng = np.random.default_rng(0)
    careless = rng.choice(np.unique(answers.person), 11, replace=False)
    rows = np.isin(answers.person, careless)
    objects = answers.objects.copy()
    objects[rows] = rng.permuted(objects[rows], axis=1)
    is_marked = people(replace(answers, objects=objects))["is_marked"]
    is_planted = is_marked.index.isin(careless)
    assert is_marked[is_planted].mean() >= 0.75
    assert is_marked[~is_planted].mean() <= 0.03
