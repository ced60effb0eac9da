"""Odd-one-out agreement with people."""

import math

import numpy as np
import pytest

from glocal.data.answers import Answers
from glocal.errors import DataError
from glocal.evaluation.alignment import answer_credit, heldout_rows, odd_one_out
from glocal.evaluation.statistics import triplet_estimate

RNG = np.random.default_rng(1)
Z = RNG.normal(size=(15, 4))
ANSWERS = np.array([RNG.permutation(15)[:3] for _ in range(300)])
WEIGHTS = RNG.integers(0, 4, size=300)


def test_the_rows_are_named_after_what_they_hold():
    """Accuracy, loss and tie rate are rows of one task, with the similarity that decided in the name."""
    found = odd_one_out(Z, Answers.from_array(ANSWERS), similarity="dot")
    rows = [("accuracy_dot", found.accuracy), ("loss", found.loss), ("tie_rate_dot", found.tie_rate)]
    assert [(row.task, row.metric, row.value) for row in found.scores] == [("odd-one-out", *row) for row in rows]


def test_arms_on_held_out_answers_are_rowed_beside_the_first():
    """Each arm has its accuracy and each but the first its paired difference, weighted, over objects."""
    given = Answers.from_array(ANSWERS, weights=WEIGHTS)
    arms = {name: answer_credit(Z[:, :p], given) for name, p in (("original", 4), ("two", 2), ("one", 1))}
    rows = heldout_rows(arms, given)
    assert [(row.transform, row.metric) for row in rows] == [
        *((name, "accuracy_cosine") for name in arms),
        ("two", "accuracy_cosine_difference"),
        ("one", "accuracy_cosine_difference"),
    ]
    values = [np.average(credit, weights=WEIGHTS) for credit in arms.values()]
    assert [row.value for row in rows] == pytest.approx([*values, values[1] - values[0], values[2] - values[0]])
    estimate = triplet_estimate(arms["two"] - arms["original"], ANSWERS, given.weights)
    assert (rows[3].low, rows[3].high, rows[3].p) == pytest.approx((*estimate.interval(), estimate.p))
    assert {(row.task, row.split, row.n) for row in rows} == {("odd-one-out", "heldout", len(given))}


def looped(Z, answers, weights, kind):
    """Weighted accuracy and loss by plain Python."""
    right = loss = total = 0.0
    for (a, b, o), w in zip(answers.tolist(), weights.tolist(), strict=True):
        dots = [float(Z[i] @ Z[j]) for i, j in ((a, b), (a, o), (b, o))]
        norms = [np.linalg.norm(Z[i]) * np.linalg.norm(Z[j]) for i, j in ((a, b), (a, o), (b, o))]
        decide = dots if kind == "dot" else [d / n for d, n in zip(dots, norms, strict=True)]
        right += w * (decide[0] == max(decide))
        loss -= w * math.log(math.exp(dots[0]) / sum(math.exp(d) for d in dots))
        total += w
    return right / total, loss / total


@pytest.mark.parametrize("kind", ["cosine", "dot"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_accuracy_and_loss_equal_explicit_loops(kind, weights):
    """Accuracy is the weighted share of right choices; the loss is that of dot products whichever decides."""
    score = odd_one_out(Z, Answers.from_array(ANSWERS, weights=weights), similarity=kind)
    accuracy, loss = looped(Z, ANSWERS, np.ones(300) if weights is None else weights, kind)
    assert score.accuracy == pytest.approx(accuracy, rel=1e-12)
    assert score.loss == pytest.approx(loss, rel=1e-12)
    assert (score.n, score.similarity, score.chance, score.tie_rate) == (300, kind, 1 / 3, 0.0)


def test_an_integer_weight_is_that_many_copies():
    """Accuracy, tie rate and loss under integer weights are those of the answers copied."""
    tied = np.round(Z)  # whole numbers tie
    weighted = odd_one_out(tied, Answers.from_array(ANSWERS, weights=WEIGHTS), similarity="dot", interval=False)
    copied = odd_one_out(
        tied, Answers.from_array(np.repeat(ANSWERS, WEIGHTS, axis=0)), similarity="dot", interval=False
    )
    assert weighted.accuracy == pytest.approx(copied.accuracy, rel=1e-12)
    assert weighted.loss == pytest.approx(copied.loss, rel=1e-12)
    assert weighted.tie_rate == pytest.approx(copied.tie_rate, rel=1e-12)
    assert weighted.tie_rate > 0


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_a_collapsed_embedding_scores_chance(kind):
    """One point for all objects is accuracy 1/3, tie rate 1 and log 3 nats, never a perfect score."""
    score = odd_one_out(np.ones((15, 4)), Answers.from_array(ANSWERS), similarity=kind)
    assert score.accuracy == pytest.approx(1 / 3, rel=1e-12)
    assert score.tie_rate == 1.0
    assert score.loss == pytest.approx(math.log(3), rel=1e-12)


def test_answers_drawn_at_random_score_chance():
    """Answers that know nothing of the embedding score 1/3 within their interval."""
    rng = np.random.default_rng(0)
    answers = np.array([rng.permutation(60)[:3] for _ in range(4000)])
    score = odd_one_out(rng.normal(size=(60, 8)), Answers.from_array(answers))
    assert score.low < 1 / 3 < score.high
    assert score.high - score.low < 0.2


def test_the_embedding_people_answer_by_scores_best(world):
    """The simulated people's own embedding agrees with them more than the features do."""
    mind = odd_one_out(world.mind, world.triplets, similarity="dot", interval=False)
    features = odd_one_out(world.objects.standardization(world.objects.matrix), world.triplets, interval=False)
    assert mind.accuracy > features.accuracy + 0.1
    assert mind.loss < math.log(3)


def test_the_interval_is_that_of_the_credits():
    """`low` and `high` are the clustered interval of the mean credit, and None where none was asked for."""
    triplets = Answers.from_array(ANSWERS, weights=WEIGHTS)
    score = odd_one_out(Z, triplets)
    S = Z @ Z.T / np.outer(np.linalg.norm(Z, axis=1), np.linalg.norm(Z, axis=1))
    a, b, o = ANSWERS.T
    earned = ((S[a, b] > S[a, o]) & (S[a, b] > S[b, o])).astype(float)
    assert (score.low, score.high) == pytest.approx(
        triplet_estimate(earned, ANSWERS, WEIGHTS.astype(float)).interval(fraction=True), rel=1e-12
    )
    without = odd_one_out(Z, triplets, interval=False)
    assert (without.low, without.high) == (None, None)
    assert without.accuracy == score.accuracy


def test_many_answers_are_scored_in_chunks():
    """Many answers, which are scored in several chunks, have the accuracy and loss of the few that they repeat."""
    once = odd_one_out(Z, Answers.from_array(ANSWERS, weights=WEIGHTS))
    copies = -(-100_000 // len(ANSWERS))
    many = Answers.from_array(np.tile(ANSWERS, (copies, 1)), weights=np.tile(WEIGHTS, copies))
    score = odd_one_out(Z, many, interval=False)
    assert score.n == copies * once.n
    assert score.accuracy == pytest.approx(once.accuracy, rel=1e-12)
    assert score.loss == pytest.approx(once.loss, rel=1e-12)


def test_float16_features_are_scored_in_float64():
    """Scores are computed in float64 whatever the dtype of the embedding."""
    half = Z.astype(np.float16)
    triplets = Answers.from_array(ANSWERS)
    assert odd_one_out(half, triplets) == odd_one_out(half.astype(np.float64), triplets)


def test_answers_that_cannot_be_scored_are_refused():
    """No answer at all, or one that names no row, is an error."""
    with pytest.raises(DataError, match="there is no triplet to score"):
        odd_one_out(Z, Answers.from_array(np.empty((0, 3), dtype=int)))
    with pytest.raises(DataError, match=r"name object 15 but features has 15 rows"):
        odd_one_out(Z, Answers.from_array([[0, 1, 15]]))


def test_the_credit_of_an_object_without_a_row_is_refused():
    """`answer_credit` names an index that is no row, in place of the credit of another row or of none."""
    with pytest.raises(DataError, match="object 15"):
        answer_credit(Z, Answers.from_array([[0, 1, 15]]))
