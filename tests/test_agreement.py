"""Agreement with people: that and the loss on answers, and the ceiling that people set."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import oracle
import pandas as pd
import pytest
import world

from glocal import Answers, GLocalError, odd_one_out, simulated_answers
from glocal.data.people import different_rows
from glocal.errors import DataWarning
from glocal.evaluation.ceiling import ceiling, ceiling_in_words
from glocal.evaluation.intervals import ObjectValues

RNG = np.random.default_rng(1)
Z = RNG.normal(size=(15, 4))
ANSWERS = world.answers(300, 15)
KINDS = [world.answers(300, 15, kind) for kind in world.WIDTH]
TIED = RNG.integers(0, 2, size=(15, 3)).astype(float)  # exact ties and rows of zeros


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("Z", [Z, TIED, Z.astype("f2")])
@pytest.mark.parametrize("answers", KINDS)
def test_accuracy_and_loss_equal_explicit_loops(answers, Z, similarity):
    """Accuracy is the weighted share of right choices, with ties shared, and the loss is that of
    dot products under either similarity, in float64.
    """
    weights = RNG.uniform(size=300)
    person = np.arange(300) // 50
    asked = replace(answers, weights=weights, person=person)
    score = odd_one_out(Z, asked, similarity=similarity)
    files = (Z.astype(float), answers.objects, weights, answers.kind)
    expected = [*oracle.agreement(*files, similarity), float(oracle.global_loss(*files))]
    assert (score.agreement, score.tie_rate, score.loss) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(score.units.persons, person)
    np.testing.assert_array_equal(score.units.weights, weights)
    assert score.n == 300
    assert score.chance == answers.chance


def test_answers_that_cannot_be_scored_are_refused(as_a_user):
    """No answers, an index beyond the rows and an unknown similarity are refused, and a warning
    says that fewer than 30 answers are too few for the interval.
    """
    none, few, enough = (ANSWERS.select(np.arange(300) < n) for n in (0, 29, 30))
    beyond = Answers.from_array([[0, 1, 15]])
    for answers, noun in ((none, "no answer"), ([[0, 1, 2]], "from_array"), (beyond, "object 15")):
        with pytest.raises(GLocalError, match=noun):
            odd_one_out(Z, answers)
    with pytest.raises(GLocalError, match="euclid"):
        odd_one_out(Z, ANSWERS, similarity="euclid")
    with pytest.warns(DataWarning, match="too few"):
        odd_one_out(Z, few)
    assert odd_one_out(Z, few, interval=False).low is None
    assert odd_one_out(Z, enough).n == 30


# the odd ones that people named | the shares of the majority and of the others | without the others
PAPER = """
222222 1 1
22221 4/5 4/5
22110 2/5 0
012012 1/3 0
00011 3/5 3/10
221 nan 1/3
21 nan 0
"""
BOUNDS = [
    ([*map(int, odds)], *(float(part if part == "nan" else Fraction(part)) for part in bounds))
    for odds, *bounds in map(str.split, PAPER.strip().split("\n"))
]


def asked(odds, first=0):
    """Answers to one question: which of three objects is the odd one."""
    return [[*(first + k for k in range(3) if k != odd), first + odd] for odd in odds]


REPEATED = np.concatenate([asked(odds, 3 * k) for k, (odds, _, _) in enumerate(BOUNDS[:5])])


@pytest.mark.parametrize("odds, majority, left_out", BOUNDS)
def test_bounds_on_paper(odds, majority, left_out):
    """The bounds on one question are those computed by hand, also with votes for equal answers:
    too few answers have no upper bound, and without one answer the others may tie.
    """
    different, counts = np.unique(asked(odds), axis=0, return_counts=True)
    for answers in (Answers.from_array(asked(odds)), Answers.from_array(different, votes=counts)):
        result = ceiling(answers)
        upper = np.nan if result.majority is None else result.majority[0]
        expected = pytest.approx((majority, left_out), nan_ok=True)
        assert (upper, result.leave_one_out[0]) == expected
        words = ceiling_in_words(result.scores)
        assert (" at least " in words) == (result.majority is None)


def test_bounds_are_means_over_questions_and_over_answers():
    """The majority share is a mean over questions and the leave-one-out bound a mean over answers,
    in any order; a question that was asked once does not count.
    """
    result = ceiling(Answers.from_array(RNG.permutation([*REPEATED, [15, 16, 17]])))
    odds, majority, left_out = zip(*BOUNDS[:5], strict=True)
    sets = np.arange(15).reshape(5, 3)
    sizes = np.array([*map(len, odds)], dtype=float)
    over_questions = ObjectValues(values=np.array(majority), objects=sets)
    over_answers = ObjectValues(values=np.array(left_out), objects=sets, weights=sizes)
    assert result.majority == pytest.approx(over_questions.bounded())
    assert result.leave_one_out == pytest.approx(over_answers.bounded())
    assert result.n_answers == len(REPEATED)


def test_questions_asked_once_and_weights_that_are_no_counts_have_no_ceiling():
    """There is no ceiling without repeated questions, with weights, with shares of votes, without
    answers, or if less than a tenth of the answers are to questions that were repeated by chance.
    """
    two = np.full(len(REPEATED), 2)
    for details in ({"weights": two}, {"votes": two / 4}):
        assert ceiling(Answers.from_array(REPEATED, **details)) is None
    for rows in (REPEATED[:1], REPEATED[:0]):
        assert ceiling(Answers(rows)) is None
    rows = np.arange(300).reshape(100, 3)
    assert ceiling(Answers.from_array(rows[[*range(4), *range(100)]])) is None  # 8 of 104
    assert ceiling(Answers.from_array(rows[[*range(6), *range(100)]])).n_answers == 12


def test_questions_that_chance_repeats_do_not_dilute_those_asked_of_all():
    """With 53 questions asked of 30 people each, the ceiling is the same as without the questions
    that random sampling asked twice or thrice, though these are more.
    """
    answers = simulated_answers(world.normal(20, 4), 60_000, seed=3)
    _, question = different_rows(np.sort(answers.objects, axis=1))
    everybody = pd.Series(question).groupby(question).cumcount() < 30
    design = np.flatnonzero(everybody & (question < 53))
    by_chance = np.flatnonzero(question >= 53)[:600]
    both = answers.select(np.concatenate([design, by_chance]))
    repeats = np.bincount(question[by_chance])
    assert np.count_nonzero(repeats >= 2) > 100 > np.count_nonzero(repeats >= 5)
    result = ceiling(both)
    assert result.answers_a_question == 30
    alone = ceiling(answers.select(design))
    assert result.n_answers == 53 * 30
    assert (result.leave_one_out, result.majority) == (alone.leave_one_out, alone.majority)
    lower, upper = result.leave_one_out[0], result.majority[0]
    assert 0.5 < lower < upper < lower + 0.05
    diluted = ceiling(answers.select(by_chance))
    assert diluted.majority is None


def test_the_ceiling_of_a_kind_counts_its_alternatives():
    """In questions about a reference, the order of the alternatives does not matter, but another
    reference makes another question.
    """
    rows = world.matrix("0 1 2 3; 0 1 3 2; 0 2 1 3; 1 0 2 3", int)
    result = ceiling(Answers.from_array(rows, kind="nearest-of-n"))
    assert result.leave_one_out[0] == pytest.approx(1 / 3)
    assert result.n_answers == 3


@pytest.mark.data
def test_the_published_repeated_answers_have_their_ceiling(data_dir):
    """About 20 answers to each of 500 questions have the majority share 0.6717 and the
    leave-one-out bound 0.6426.
    """
    answers = Answers.load(data_dir / "things/repeated_answers.csv")
    result = ceiling(answers)
    bound = result.leave_one_out[0]
    assert (result.majority[0], bound) == pytest.approx((0.6717, 0.6426), abs=5e-5)
    assert result.n_answers == 9988
    assert answers.n_people == 325
    spose = odd_one_out(np.load(data_dir / "things/spose_49d.npy"), answers, similarity="dot")
    assert 0.8 < (spose.agreement - 1 / 3) / (bound - 1 / 3) < 1.1
