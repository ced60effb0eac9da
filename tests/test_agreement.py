"""Agreement with people: the accuracy and the loss on answers, and the ceiling that people set."""

import math
from dataclasses import replace

import numpy as np
import oracle
import pytest
import world

from glocal.data.answers import Answers
from glocal.errors import DataWarning, GLocalError
from glocal.evaluation.agreement import (
    answer_credit,
    ceiling,
    ceiling_in_words,
    heldout_rows,
    odd_one_out,
)
from glocal.evaluation.intervals import FRACTION, answer_estimate

RNG = np.random.default_rng(1)
Z = RNG.normal(size=(15, 4))
ANSWERS = world.answers(300, 15)
ROWS = ANSWERS.objects
WEIGHTS = RNG.integers(0, 4, size=300)
KINDS = [world.answers(300, 15, kind) for kind in world.WIDTH]
TIED = RNG.integers(0, 2, size=(15, 3)).astype(float)  # exact ties and rows of zeros


def looped(Z, answers, similarity):
    """The credit, ties and loss of each answer by plain Python loops."""
    scores = []
    for row in answers.objects.tolist():
        pairs = [(Z[row[i]], Z[row[j]]) for i, j in oracle.candidates(answers.kind, row)]
        dots = np.array([a @ b for a, b in pairs])
        norms = np.array([np.linalg.norm(a) * np.linalg.norm(b) for a, b in pairs])
        S = dots if similarity == "dot" else dots / np.where(norms, norms, 1)
        best = S - S.max() >= -1e-12
        loss = math.log(np.exp(dots).sum()) - dots[0]
        scores.append((best[0] / best.sum(), best.sum() > 1, loss))
    return np.array(scores).T


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("Z", [Z, TIED], ids=["apart", "tied"])
@pytest.mark.parametrize("answers", KINDS, ids=lambda one: one.kind)
def test_accuracy_and_loss_equal_explicit_loops(answers, Z, similarity):
    """Accuracy is the weighted share of right choices, with ties shared, and the loss is that of
    dot products under either similarity.
    """
    weights = RNG.uniform(size=len(answers))
    weighted = Answers.from_array(answers.objects, kind=answers.kind, weights=weights)
    credit, tied, loss = looped(Z, answers, similarity)
    credits = odd_one_out(Z, answers, similarity=similarity).units.values
    np.testing.assert_allclose(credits, credit, atol=1e-15)
    for scored, w in ((answers, None), (weighted, weights)):
        score = odd_one_out(Z, scored, similarity=similarity)
        expected = [np.average(values, weights=w) for values in (credit, tied, loss)]
        assert (score.accuracy, score.tie_rate, score.loss) == pytest.approx(expected, rel=1e-12)
        ends = answer_estimate(credit, answers.objects, w).interval(FRACTION)
        assert (score.low, score.high) == pytest.approx(ends, rel=1e-9)
    assert (score.n, score.chance) == (len(answers), pytest.approx(answers.chance))
    assert odd_one_out(Z, answers, interval=False).low is None


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e8, 1e-200])
@pytest.mark.parametrize("answers", KINDS, ids=lambda one: one.kind)
def test_a_collapsed_model_scores_chance(answers, value):
    """If all objects are at one point, every answer is a tie, and accuracy and loss are those of
    guessing.
    """
    for similarity in ("cosine", "dot"):
        result = odd_one_out(np.full((15, 2), value), answers, similarity=similarity)
        assert (result.accuracy, result.tie_rate, result.loss) == pytest.approx(
            (answers.chance, 1, answers.chance_loss)
        )


def test_an_integer_weight_is_that_many_copies():
    """Accuracy, tie rate and loss with integer weights equal those of copied answers, ties
    included.
    """
    tied = np.round(Z)  # whole numbers tie
    weighted = odd_one_out(tied, Answers.from_array(ROWS, weights=WEIGHTS), similarity="dot")
    copied = odd_one_out(
        tied, Answers.from_array(np.repeat(ROWS, WEIGHTS, axis=0)), similarity="dot"
    )
    for name in ("accuracy", "tie_rate", "loss", "low"):
        assert getattr(weighted, name) == pytest.approx(getattr(copied, name), rel=1e-9)
    assert weighted.tie_rate > 0


def test_persons_who_differ_widen_the_interval():
    """If one of three persons agrees, one does not and one does in part, the interval is more than
    twice as wide as without persons.
    """
    ordered = ANSWERS.select(np.argsort(answer_credit(Z, ANSWERS)))
    with_persons = replace(ordered, person=np.repeat(["a", "b", "c"], 100))
    alone = odd_one_out(Z, ordered)
    wide = odd_one_out(Z, with_persons)
    assert wide.accuracy == alone.accuracy
    assert wide.high - wide.low > 2 * (alone.high - alone.low)


def test_float16_features_are_scored_in_float64():
    """Scores are computed in float64 whatever the dtype of the embedding."""
    half = Z.astype(np.float16)
    double = odd_one_out(half.astype(np.float64), ANSWERS)
    assert odd_one_out(half, ANSWERS).record() == double.record()


def test_answers_that_cannot_be_scored_are_refused(as_a_user):
    """No answers, an index beyond the rows and an unknown similarity are refused."""
    none = Answers.from_array(np.empty((0, 3), dtype=int))
    beyond = Answers.from_array([[0, 1, 15]])
    for call, noun in (
        (lambda: odd_one_out(Z, none), "no answer"),
        (lambda: odd_one_out(Z, [[0, 1, 2]]), "from_array"),
        (lambda: odd_one_out(Z, beyond), "object 15"),
        (lambda: answer_credit(Z, beyond), "object 15"),
        (lambda: odd_one_out(Z, ANSWERS, similarity="euclid"), "euclid"),
    ):
        with pytest.raises(GLocalError, match=noun):
            call()


def test_arms_on_held_out_answers_are_rowed_beside_the_first():
    """Each arm has a row of accuracy, and each arm but the first a row of its paired, weighted
    difference.
    """
    heldout = Answers.from_array(ROWS, weights=WEIGHTS)
    widths = {"original": 4, "two": 2, "one": 1}
    arms = {name: answer_credit(Z[:, :p], heldout) for name, p in widths.items()}
    rows = heldout_rows(arms, heldout)
    names = [(row.transform, row.metric.removeprefix("accuracy_cosine")) for row in rows]
    differences = [("two", "_difference"), ("one", "_difference")]
    assert names == [("original", ""), ("two", ""), ("one", ""), *differences]
    values = [np.average(credit, weights=WEIGHTS) for credit in arms.values()]
    values += [value - values[0] for value in values[1:]]
    assert [row.value for row in rows] == pytest.approx(values)
    estimate = answer_estimate(arms["two"] - arms["original"], ROWS, heldout.weights)
    ends = (*estimate.interval(), estimate.p)
    assert (rows[3].low, rows[3].high, rows[3].p) == pytest.approx(ends)
    assert {(row.task, row.split, row.n) for row in rows} == {
        ("odd-one-out", "heldout", len(heldout))
    }


PAPER = [
    ([2, 2, 2, 2, 2, 2], 1, 1),
    ([2, 2, 2, 2, 1], 4 / 5, 4 / 5),
    ([2, 2, 1, 1, 0], 2 / 5, 0),
    ([0, 1, 2, 0, 1, 2], 1 / 3, 0),
    ([0, 0, 0, 1, 1], 3 / 5, 3 / 10),  # without one answer 0, the others are a tie
    ([2, 2, 1], None, 1 / 3),  # too few answers for an upper end
    ([2, 1], None, 0),
]


def asked(odds, first=0):
    """Answers to one question: which of three objects is the odd one."""
    return [[*(first + k for k in range(3) if k != odd), first + odd] for odd in odds]


REPEATED = np.concatenate(
    [asked(odds, 3 * number) for number, (odds, _, _) in enumerate(PAPER[:5])]
)


@pytest.mark.parametrize(("odds", "majority", "left_out"), PAPER)
def test_bounds_on_paper(odds, majority, left_out):
    """The bounds on one question are those computed by hand, also with votes for equal answers."""
    different, counts = np.unique(asked(odds), axis=0, return_counts=True)
    for answers in (Answers.from_array(asked(odds)), Answers.from_array(different, votes=counts)):
        result = ceiling(answers)
        upper = None if result.majority is None else result.majority[0]
        assert (upper, result.leave_one_out[0]) == pytest.approx((majority, left_out))
        assert result.answers_a_question == len(odds)
        words = ceiling_in_words(map(vars, result.scores))
        assert (" at least " in words) == (majority is None)


def test_bounds_are_means_over_questions_and_over_answers():
    """The majority share is a mean over questions and the leave-one-out bound a mean over answers,
    in any order; a question that was asked once does not count.
    """
    result = ceiling(Answers.from_array(RNG.permutation([*REPEATED, [15, 16, 17]])))
    sizes = np.array([len(odds) for odds, *_ in PAPER[:5]], dtype=float)
    shares, earned = np.array([bounds for _, *bounds in PAPER[:5]], dtype=float).T
    sets = np.arange(15).reshape(5, 3)
    for bound, values, weights in (
        (result.majority, shares, None),
        (result.leave_one_out, earned, sizes),
    ):
        estimate = answer_estimate(values, sets, weights)
        assert bound == pytest.approx((estimate.mean, *estimate.interval(FRACTION)))
    assert result.n_answers == len(REPEATED)


def test_questions_asked_once_and_weights_that_are_no_counts_have_no_ceiling():
    """There is no ceiling without repeated questions, with weights, with shares of votes, or
    without answers.
    """
    assert ceiling(Answers.from_array([[0, 1, 2], [0, 1, 3]])) is None
    for details in ({"weights": np.full(len(REPEATED), 2)}, {"votes": np.full(len(REPEATED), 0.5)}):
        assert ceiling(Answers.from_array(REPEATED, **details)) is None
    assert ceiling(Answers.from_array(np.empty((0, 3), dtype=int))) is None


def test_a_few_repeated_questions_have_no_ceiling():
    """There is no ceiling if fewer answers than `least` are to repeated questions; otherwise
    `least` changes nothing.
    """
    repeated = Answers.from_array(REPEATED)
    once = world.answers(4000, 1000).objects
    assert ceiling(Answers.from_array(np.concatenate([REPEATED, once])), least=0.1) is None
    assert ceiling(repeated, least=0.9).majority == ceiling(repeated).majority


def test_the_least_share_is_of_answers():
    """Five of 100 questions have a ceiling if they were asked 20 times each."""
    rows = np.arange(300).reshape(100, 3)
    result = ceiling(Answers.from_array(rows[[*range(5)] * 19 + [*range(100)]]), least=0.5)
    assert (result.n_answers, result.majority[0]) == (100, 1.0)


def test_the_ceiling_of_a_kind_counts_its_alternatives():
    """In questions about a reference, the order of the alternatives does not matter, but another
    reference makes another question.
    """
    rows = [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [1, 0, 2, 3]]
    result = ceiling(Answers.from_array(rows, kind="nearest-of-n"))
    assert (result.leave_one_out[0], result.n_answers) == (pytest.approx(1 / 3), 3)


@pytest.mark.data
def test_the_published_repeated_answers_have_their_ceiling(data_dir):
    """About 20 answers to each of 500 questions have the majority share 0.6717 and the
    leave-one-out bound 0.6426.
    """
    answers = Answers.load(data_dir / "things/repeated_answers.csv")
    result = ceiling(answers)
    assert result.majority[0] == pytest.approx(0.6717, abs=5e-5)
    assert result.leave_one_out[0] == pytest.approx(0.6426, abs=5e-5)
    assert (result.n_answers, answers.n_people) == (9988, 325)
    spose = odd_one_out(np.load(data_dir / "things/spose_49d.npy"), answers, similarity="dot")
    assert 0.8 < (spose.accuracy - 1 / 3) / (result.leave_one_out[0] - 1 / 3) < 1.1


def test_few_answers_are_said_to_be_too_few():
    """Agreement on fewer than 30 answers warns, unless no interval is requested."""
    with pytest.warns(DataWarning, match="too few"):
        odd_one_out(Z, ANSWERS.select(np.arange(300) < 29))
    assert odd_one_out(Z, ANSWERS.select(np.arange(300) < 30)).n == 30
    assert odd_one_out(Z, ANSWERS.select(np.arange(300) < 29), interval=False).n == 29
