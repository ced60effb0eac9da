"""Each person compared with the others, and what the doctor finds planted in answers of
each kind.
"""

from dataclasses import replace

import numpy as np
import pytest

from glocal.data.answers import Answers
from glocal.data.check.answers import check_people
from glocal.data.people import asked_once, people, question_numbers
from glocal.errors import DataError

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
    columns = ["answers", "shared", "agreement"]
    np.testing.assert_allclose(people(weighted)[columns], people(answers.select(rows))[columns])


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
    always = ["answers", "shared", "agreement", "repeats", "alike"]
    assert list(bare) == always
    assert bare["agreement"].isna().all()
    assert not bare["shared"].any()
    some = replace(
        answers, catch_passed=answers.catch_passed[24:], catch_person=answers.catch_person[24:]
    )
    assert np.isnan(people(some)["catch"][0])
    assert people(some)["catch_trials"].tolist() == [0] + 29 * [24]
    with pytest.raises(DataError, match="who gave them"):
        people(Answers(answers.objects, kind="anchor"))


@kinds
@pytest.mark.parametrize("shared", [True, False])
def test_the_doctor_finds_planted_persons_and_none_among_clean_ones(kind, shared):
    """The doctor finds three of 30 people who answer fast and inattentively, and nobody
    else.
    """
    for faulty in (0, 3):
        answers = simulated(kind, faulty=faulty, shared=shared, seed=faulty + shared)
        findings = list(check_people(answers))
        assert [finding.check for finding in findings] == ["fast", "catch"][: 2 * (faulty > 0)]
        for finding in findings:
            assert finding.message.startswith("persons: 3 of 30 ")
            assert "(first: 0, 1, 2)" in finding.message
