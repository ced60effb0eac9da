"""Each person compared with the others, and what the doctor finds planted in answers of
each kind.
"""

from dataclasses import replace

import numpy as np
import pytest

from glocal.data.answers import Answers
from glocal.data.check.answers import check_people
from glocal.data.features import Features
from glocal.data.people import asked_once, log10_odds_threshold, people, question_numbers
from glocal.errors import DataError
from glocal.evaluation.agreement import answer_credit

KINDS = {"odd-one-out": 3, "anchor": 3, "nearest-of-n": 5}
kinds = pytest.mark.parametrize("kind", KINDS)
Q = 30  # number of people
EACH = 120  # number of answers of each person
Z = np.random.default_rng(7).normal(size=(40, 6))


def simulated(kind, *, faulty=0, shared=True, seed=0):
    """Answers of 30 people to 200 common questions, or to questions of their own.

    The first `faulty` people answer at random, the others by the softmax of 6 times the cosines.
    """
    rng = np.random.default_rng(seed)
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    n_questions = 200 if shared else 2 * Q * EACH
    bank = np.array([rng.permutation(len(Z))[: KINDS[kind]] for _ in range(n_questions)])
    bank = bank[np.sort(np.unique(np.sort(bank, axis=1), axis=0, return_index=True)[1])]
    rows = np.arange(Q * EACH)
    if shared:
        rows = np.concatenate([rng.permutation(len(bank))[:EACH] for _ in range(Q)])
    person = np.repeat(np.arange(Q), EACH)
    questions = Answers(bank[rows], kind=kind)
    S = 6 * cosines(unit, questions)
    S[person < faulty] = 0
    choice = (S + rng.gumbel(size=S.shape)).argmax(axis=1)
    by_choice = np.stack([questions.with_choice(j) for j in range(len(questions.pairs))])
    objects = by_choice[choice, np.arange(len(rows))]
    chance = 1 / len(questions.pairs)
    trials = np.repeat(np.arange(Q), 24)
    passed = rng.random(len(trials)) < np.where(trials < faulty, chance, 0.98)
    seconds = np.exp(rng.normal(np.where(person < faulty, -1.2, 1.2), 0.3))
    return Answers(
        objects, kind=kind, person=person, seconds=seconds, catch_passed=passed, catch_person=trials
    )


def cosines(unit, questions):
    """The cosine of every candidate pair of every question."""
    objects = questions.objects
    pairs = [(unit[objects[:, i]] * unit[objects[:, j]]).sum(1) for i, j in questions.pairs]
    return np.stack(pairs, axis=1)


def by_hand(answers, who):
    """The agreement of a person with the majority of the others, by loops."""

    def question(row):
        head = [] if answers.kind == "odd-one-out" else [row[0]]
        return (*head, *sorted(row[len(head) :]))

    def choice(row):
        return row[2] if answers.kind == "odd-one-out" else row[1]

    rows = list(zip(answers.objects.tolist(), answers.person.tolist(), strict=True))
    earned = []
    for mine in (row for row, person in rows if person == who):
        votes = {}
        for other, person in rows:
            if person != who and question(other) == question(mine):
                votes[choice(other)] = votes.get(choice(other), 0) + 1
        if votes:
            best = [name for name, n in votes.items() if n == max(votes.values())]
            earned.append((choice(mine) in best) / len(best))
    return np.mean(earned), len(earned)


@kinds
def test_agreement_with_the_others_equals_loops(kind):
    """Agreement with the majority of the others, ties shared, equals explicit loops."""
    answers = simulated(kind)
    table = people(answers)
    agreement, shared = by_hand(answers, 11)
    assert table["agreement"][11] == pytest.approx(agreement)
    assert table["shared"][11] == shared


@kinds
def test_votes_are_copies(kind):
    """An answer with 2 votes counts as two answers by the same person, in every number."""
    answers = simulated(kind)
    votes = np.random.default_rng(1).integers(1, 4, len(answers))
    rows = np.repeat(np.arange(len(answers)), votes)
    weighted = Answers.from_array(answers.objects, votes=votes, kind=kind, person=answers.person)
    credit = answer_credit(Z, answers)
    columns = ["answers", "shared", "agreement", "low", "high", "model", "odds"]
    np.testing.assert_allclose(
        people(weighted, credit)[columns], people(answers.select(rows), credit[rows])[columns]
    )


@pytest.mark.parametrize("last", [12, 2**31 - 1])
def test_questions_are_numbered_in_the_order_of_their_objects(last):
    """The numbers are those of sorted unique rows, also of rows too large for one integer each;
    a row that is marked as asked once has no equal, and most such rows are marked.
    """
    rng = np.random.default_rng(0)
    rows = np.array([rng.permutation([*range(12), last])[:3] for _ in range(150)])
    _, number, times = np.unique(
        np.sort(rows, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    assert question_numbers(Answers.from_array(rows)).tolist() == number.tolist()
    is_alone = times[number] == 1
    is_marked = asked_once(rows)
    assert not (is_marked & ~is_alone).any()
    assert is_marked.sum() > 0.5 * is_alone.sum() > 0


def test_what_is_not_known_is_not_told():
    """A value that is unknown for one person is NaN, and one that is unknown for all
    has no column.
    """
    answers = simulated("anchor", shared=False)
    bare = people(Answers(answers.objects, kind="anchor", person=answers.person))
    always = ["answers", "shared", "agreement", "low", "high", "repeats", "alike", "odds"]
    assert list(bare) == always
    assert bare["agreement"].isna().all()
    assert not bare[["shared", "odds"]].any(axis=None)
    some = replace(
        answers, catch_passed=answers.catch_passed[24:], catch_person=answers.catch_person[24:]
    )
    assert np.isnan(people(some)["catch"][0])
    assert people(some)["catch_trials"].tolist() == [0] + 29 * [24]
    with pytest.raises(DataError, match="who gave them"):
        people(Answers(answers.objects, kind="anchor"))


def test_the_odds_are_those_of_the_formula():
    """The odds of answering at random, and of answering inattentively, equal the formula for each
    person.
    """
    table = people(simulated("nearest-of-n", faulty=2))
    for i, row in table.iterrows():
        others = table.drop(index=i)
        a = np.average(others["agreement"], weights=others["shared"])
        r = row["agreement"]
        passed = row["catch"]
        odds = row["shared"] * (r * np.log10(0.25 / a) + (1 - r) * np.log10(0.75 / (1 - a)))
        assert row["odds"] == pytest.approx(odds)
        odds = row["catch_trials"] * (
            passed * np.log10(0.25 / 0.95) + (1 - passed) * np.log10(0.75 / 0.05)
        )
        assert row["odds_inattentive"] == pytest.approx(odds)
    assert 10 ** log10_odds_threshold(Q) == pytest.approx(100 * Q)


def test_where_no_question_is_shared_a_model_tells():
    """Without shared questions, agreement with a model, NaN where it has none, tells who answers at
    random.
    """
    answers = simulated("anchor", faulty=3, shared=False)
    credit = answer_credit(Z, answers)
    credit[::7] = np.nan
    table = people(answers, credit)
    of_11 = (answers.person == 11) & ~np.isnan(credit)
    assert table["model"][11] == pytest.approx(credit[of_11].mean())
    assert table.index[table["odds"] > log10_odds_threshold(Q)].tolist() == [0, 1, 2]


def test_the_odds_by_a_model_count_the_answers_that_it_judges():
    """Answers that the model cannot judge change no odds, whether they are there or not."""
    answers = simulated("anchor", faulty=3, shared=False)
    credit = answer_credit(Z, answers)
    is_known = np.random.default_rng(0).random(len(credit)) < 0.5
    table = people(answers, np.where(is_known, credit, np.nan))
    judged = people(answers.select(is_known), credit[is_known])
    np.testing.assert_allclose(table["odds"], judged["odds"])


@kinds
@pytest.mark.parametrize("shared", [True, False])
def test_the_doctor_finds_planted_persons_and_none_among_clean_ones(kind, shared):
    """The doctor finds three of 30 people who answer at random, fast and inattentively, and nobody
    else.
    """
    for faulty in (0, 3):
        answers = simulated(kind, faulty=faulty, shared=shared, seed=faulty + shared)
        findings = list(check_people(answers, answer_credit(Z, answers)))
        assert [finding.check for finding in findings] == ["random", "fast", "catch"][
            : 3 * (faulty > 0)
        ]
        for finding in findings:
            assert finding.message.startswith("persons: 3 of 30 ")
            assert "(0, 1, 2), 360 of 3600" in finding.message


def test_features_are_a_model_of_people():
    """As a model of people, features choose by cosine in the answers that they cover,
    joined by name.
    """
    answers = simulated("odd-one-out")
    order = np.random.default_rng(3).permutation(len(Z))[:-5]
    names = [f"object {i}" for i in range(len(Z))]
    features = Features(Z[order], tuple(names[i] for i in order))
    table = people(replace(answers, names=tuple(names)), features)
    credit = answer_credit(features.standardization(Z, "float64"), answers)
    has_features = np.isin(answers.objects, order).all(axis=1)
    for person in (0, 17):
        rows = has_features & (answers.person == person)
        assert table["model"][person] == pytest.approx(credit[rows].mean())


@pytest.mark.parametrize("model", [np.zeros((3600, 2)), np.zeros(5), np.array(["a"] * 3600)])
def test_what_is_no_model_is_refused(as_a_user, model):
    """A model without exactly one number for each answer is refused in a sentence."""
    with pytest.raises(DataError, match="the model holds"):
        people(simulated("anchor"), model)


@pytest.mark.parametrize("different", [0, 24, 60])
def test_odds_are_finite_where_all_others_agree_always(different):
    """If all others agree in all answers, a person who does not has large and finite odds."""
    bank = np.array([np.random.default_rng(i).permutation(12)[:3] for i in range(60)])
    bank = bank[np.unique(np.sort(bank, axis=1), axis=0, return_index=True)[1]]
    turned = np.where((np.arange(len(bank)) < different)[:, None], np.roll(bank, 1, axis=1), bank)
    answers = Answers(
        np.concatenate([bank, bank, bank, turned]), person=np.repeat(list("abcd"), len(bank))
    )
    table = people(answers)
    assert table["agreement"][list("abc")].tolist() == [1, 1, 1]
    assert np.isfinite(table["odds"]).all()
    assert (table["odds"]["d"] > log10_odds_threshold(4)) == (different > 0)
