"""Each person compared with the others, and what the doctor finds planted in answers of
each kind.
"""

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import world
from world import chosen, normal

from glocal import Answers
from glocal.data.check import check_people
from glocal.data.people import asked_once, describe, question_numbers
from glocal.errors import DataError

KINDS = {"odd-one-out": 3, "anchor": 3, "nearest-of-n": 4}
kinds = pytest.mark.parametrize("kind", KINDS)
Q = 30  # number of people
EACH = 120  # number of answers of each person
Z = normal(40, 6, seed=7)
Z /= np.linalg.norm(Z, axis=1, keepdims=True)


def simulated(kind, *, faulty=0, shared=True, seed=0):
    """Answers of 30 people, by the softmax of 6 times the cosines, to 200 common questions or to
    questions of their own; the first `faulty` people are fast, and guess in catch trials.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(Q), EACH)
    bank = rng.permutation([*combinations(range(len(Z)), KINDS[kind])]).astype("i4")
    rows = np.concatenate([rng.permutation(200)[:EACH] for _ in range(Q)])
    questions = Answers(bank[rows if shared else np.arange(len(person))], kind=kind)
    trials = np.repeat(np.arange(Q), 24)
    return replace(
        chosen(questions, np.sqrt(6) * Z, seed),
        person=person,
        seconds=np.exp(rng.normal(np.where(person < faulty, -1.2, 1.2), 0.3)),
        catch_passed=rng.random(len(trials)) < np.where(trials < faulty, 0.5, 0.98),
        catch_person=trials,
    )


def by_hand(answers, who):
    """The agreement of a person with the majority of the others, by loops."""
    head = 0 if answers.kind == "odd-one-out" else 1
    objects = answers.objects.tolist()
    questions = [(*row[:head], *sorted(row[head:])) for row in objects]
    choices = [row[1 if head else 2] for row in objects]
    rows = list(zip(questions, choices, answers.person, strict=True))
    earned = []
    for question, choice, person in rows:
        if person == who:
            votes = Counter(vote for q, vote, p in rows if q == question and p != who)
            best = [name for name, n in votes.items() if n == max(votes.values())]
            earned += [(choice in best) / len(best)] if best else []
    return np.mean(earned), len(earned)


@kinds
def test_agreement_with_the_others_equals_loops(kind):
    """Agreement with the majority of the others, ties shared, equals explicit loops."""
    answers = simulated(kind).select(np.arange(5 * EACH))
    row = describe(answers).loc[3, ["agreement", "shared"]]
    assert tuple(row) == pytest.approx(by_hand(answers, 3))


@kinds
def test_votes_are_copies(kind):
    """An answer with 2 votes counts as two answers by the same person, in every number."""
    answers = simulated(kind)
    votes = np.random.default_rng(1).integers(1, 4, len(answers))
    rows = np.repeat(np.arange(len(answers)), votes)
    weighted = Answers.from_array(answers.objects, votes=votes, kind=kind, person=answers.person)
    columns = ["answers", "shared", "agreement"]
    np.testing.assert_allclose(describe(weighted)[columns], describe(answers.select(rows))[columns])


@pytest.mark.parametrize("last", [12, 2**31 - 1])
def test_questions_are_numbered_in_the_order_of_their_objects(last):
    """The numbers are those of sorted unique rows, also of rows too large for one integer each;
    a row that is marked as asked once has no equal, and most such rows are marked.
    """
    rows = np.array([*range(12), last])[world.answers(150, 13).objects]
    _, numbers, times = np.unique(
        np.sort(rows, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    assert question_numbers(Answers.from_array(rows)).tolist() == numbers.tolist()
    is_alone = times[numbers] == 1
    is_marked = asked_once(rows)
    assert not (is_marked & ~is_alone).any()
    assert is_marked.sum() > 0.5 * is_alone.sum() > 0


def test_what_is_not_known_is_not_told():
    """A value that is unknown for one person is NaN, and one that is unknown for all
    has no column.
    """
    answers = simulated("anchor", shared=False)
    bare = Answers(answers.objects, kind="anchor", person=answers.person)
    table = describe(bare)
    assert " ".join(table) == "answers shared agreement repeats alike"
    assert table["agreement"].isna().all()
    some = describe(
        replace(
            bare, catch_passed=answers.catch_passed[24:], catch_person=answers.catch_person[24:]
        )
    )
    assert np.isnan(some["catch"][0])
    assert some["catch_trials"].tolist() == [0] + 29 * [24]
    with pytest.raises(DataError, match="who gave them"):
        describe(replace(bare, person=None))


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
            assert finding.message.startswith("participants: 3 of 30 ")
            assert "(first: 0, 1, 2)" in finding.message
